/* SPDX-License-Identifier: GPL-2.0-only */
/* The C side of the stand-in for the `kernel` crate: functions that ffi.rs declares, and that module.rs defines. */
#ifndef STANDIN_H
#define STANDIN_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct lock_class_key;
struct mm_struct;
struct mutex;
struct page;
struct vm_area_struct;

/* Defined by `module!`: 0 or a negative errno. */
int standin_load(void);
void standin_unload(void);

/* Prints a line of `length` bytes at a level of the log (KERN_ERR is 3). */
void standin_print(unsigned int level, const char *text, size_t length);

/* Flags: see kernel/alloc.rs. */
void *standin_kmalloc(size_t size, unsigned int flags);
void standin_kfree(const void *memory);
void *standin_kvmalloc(size_t size, unsigned int flags);
void standin_kvfree(const void *memory);
struct page *standin_page_alloc(unsigned int flags);
void standin_page_free(struct page *page);

/* name and class are for lockdep, and static. */
void standin_spin_init(spinlock_t *lock, const char *name, struct lock_class_key *class);
void standin_spin_lock(spinlock_t *lock);
void standin_spin_unlock(spinlock_t *lock);
void standin_mutex_init(struct mutex *lock, const char *name, struct lock_class_key *class);
void standin_mutex_lock(struct mutex *lock);
void standin_mutex_unlock(struct mutex *lock);

/* Return the number of bytes that were not copied. */
unsigned long standin_copy_from_user(void *to, const void __user *from, unsigned long length);
unsigned long standin_copy_to_user(void __user *to, const void *from, unsigned long length);

struct mm_struct *standin_current_mm(void);
void standin_mm_grab(struct mm_struct *mm);
void standin_mm_drop(struct mm_struct *mm);

/* A mapping that an mmap sets up: its lock is held for writing. */
unsigned long standin_vma_start(const struct vm_area_struct *vma);
unsigned long standin_vma_end(const struct vm_area_struct *vma);
bool standin_vma_shared(const struct vm_area_struct *vma);
int standin_vma_clear_mayexec(struct vm_area_struct *vma);
void standin_vma_set_dontexpand(struct vm_area_struct *vma);
void standin_vma_set_dontdump(struct vm_area_struct *vma);
void standin_vma_set_mixedmap(struct vm_area_struct *vma);
int standin_vma_insert_page(struct vm_area_struct *vma, unsigned long address, struct page *page);

#endif
