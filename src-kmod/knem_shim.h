/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's C offers to its Rust; glue/ffi.rs declares the same. Here is only what C alone can do: the
 * kernel's inline functions and macros, module parameters, per-processor variables and the hash table.
 */
#ifndef KNEM_SHIM_H
#define KNEM_SHIM_H

#include <linux/types.h>

struct file;
struct knem_node;
struct mm_struct;
struct page;

/* The driver's version, and its length. */
extern const char knem_shim_version[];
extern const size_t knem_shim_version_len;

/* Module parameters; those that can be changed while the module is loaded are read anew at each use. */
extern unsigned int knem_param_memlock;
extern unsigned long knem_param_max_pinned_mb;
extern unsigned int knem_param_max_segments;
extern unsigned int knem_param_pinlocal;
extern unsigned int knem_param_pinlocalread;
extern unsigned int knem_param_forceflags;
extern unsigned int knem_param_ignoreflags;

/* Copies between user memory and the direct map; return the number of bytes not copied. */
unsigned long knem_shim_to_user(void __user *to, const void *from, unsigned long n);
unsigned long knem_shim_from_user(void *to, const void __user *from, unsigned long n);
/* Copies within the direct map. */
void knem_shim_copy(void *to, const void *from, unsigned long n);

/* Lets others run; to be called now and then in what may take long. */
void knem_shim_resched(void);
/* Whether the calling task has been killed. */
bool knem_shim_killed(void);

/* Address of a page in the direct map, and back. */
void *knem_shim_page_address(const struct page *page);
struct page *knem_shim_page(const void *address);
/* Pages of memory in the machine. */
unsigned long knem_shim_ram_pages(void);
/* First address after user memory. */
unsigned long knem_shim_user_end(void);

/* Pages that are pinned through the driver: a sum over the processors, exact wherever that matters. */
int knem_shim_pinned_init(void);
void knem_shim_pinned_destroy(void);
void knem_shim_pinned_add(s64 pages);
bool knem_shim_pinned_exceeds(s64 pages);
s64 knem_shim_pinned(void);

/* Adds pages to what the address space counts as pinned; returns the sum. */
s64 knem_shim_add_pinned(struct mm_struct *mm, s64 pages);
/* The calling process's RLIMIT_MEMLOCK in pages, and whether the caller may exceed it. */
unsigned long knem_shim_memlock_pages(void);
bool knem_shim_may_exceed_memlock(void);

/* Real user id of the calling task, in the initial user namespace. */
u32 knem_shim_uid(void);
/* Whether the opener of the file is an administrator of the machine. */
bool knem_shim_file_admin(struct file *file);
bool knem_shim_writable(const struct file *file);

/* Counters, one set for each processor. */
#define KNEM_COUNTERS 13
void knem_shim_count(unsigned long counter);
u64 knem_shim_counted(unsigned long counter);

/* Every region by its cookie; see knem_table.c. */
int knem_table_init(void);
void knem_table_destroy(void);
int knem_table_insert(struct knem_node *node, u64 cookie);
bool knem_table_remove(struct knem_node *node);
struct knem_node *knem_table_get(u64 cookie);
u64 knem_node_cookie(const struct knem_node *node);
bool knem_node_put(struct knem_node *node);
void knem_node_free(struct knem_node *node);

#endif
