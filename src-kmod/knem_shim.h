/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's C functions for its Rust; glue/ffi.rs declares the same. They are limited to what only C can provide:
 * the kernel's inline functions and macros, module parameters, per-CPU variables and the hash table.
 */
#ifndef KNEM_SHIM_H
#define KNEM_SHIM_H

#include <linux/types.h>

struct cpumask;
struct cred;
struct file;
struct knem_node;
struct mm_struct;
struct page;
struct poll_table_struct;
struct rb_root;
struct wait_queue_head;

/* The driver's version, and its length. */
extern const char knem_shim_version[];
extern const size_t knem_shim_version_len;

/* Module parameters. Those that can be changed while the module is loaded are read at each use. */
extern unsigned int knem_param_memlock;
extern unsigned long knem_param_max_pinned_mb;
extern unsigned long knem_param_max_user_pinned_mb;
extern unsigned int knem_param_unpinned;
extern unsigned int knem_param_max_segments;
extern unsigned int knem_param_pinlocal;
extern unsigned int knem_param_pinlocalread;
extern unsigned int knem_param_forceflags;
extern unsigned int knem_param_ignoreflags;
extern unsigned int knem_param_thread;
extern unsigned int knem_param_sync;
extern unsigned int knem_param_debug;
extern int knem_param_binding;
extern unsigned long knem_param_statslen;
extern unsigned int knem_param_statsverbose;
extern unsigned int knem_param_max_regions;
extern unsigned int knem_param_max_contexts;
extern unsigned int knem_param_max_queued;
extern unsigned long knem_param_max_slots;
extern unsigned long knem_param_max_slots_mb;
extern unsigned int knem_param_strict_ns;
extern unsigned int knem_param_strict_dumpable;

/* Copies between user memory and the direct map; return the number of bytes not copied. */
unsigned long knem_shim_to_user(void __user *to, const void *from, unsigned long n);
unsigned long knem_shim_from_user(void *to, const void __user *from, unsigned long n);
/* The same, but they stop at the first page that is not present instead of waiting for it. */
unsigned long knem_shim_to_user_nofault(void __user *to, const void *from, unsigned long n);
unsigned long knem_shim_from_user_nofault(void *to, const void __user *from, unsigned long n);
/* Reads 1 to 8 64-bit words of user memory; returns whether all could be read. */
bool knem_shim_read_words(u64 *to, unsigned long address, unsigned long words);
/* Write a number to user memory; return whether that was possible. */
bool knem_shim_write_u32(unsigned long address, u32 value);
bool knem_shim_write_u64(unsigned long address, u64 value);
/* Faults in user memory for reading or writing; returns false if it cannot be used so. */
bool knem_shim_fault_in(unsigned long address, unsigned long n, bool write);
/* Copies within the direct map. */
void knem_shim_copy(void *to, const void *from, unsigned long n);

/* Lets other tasks run; must be called regularly in long loops. */
void knem_shim_resched(void);
/* Whether the calling task has been killed. */
bool knem_shim_killed(void);

/*
 * Address of a page in the direct map, without a tag: a run of pages, whose tags differ, is accessed through the
 * address of the first.
 */
void *knem_shim_page_address(const struct page *page);

/* Called when the account of pinned pages is opened, and when it is closed. */
int knem_pin_begin(void);
void knem_pin_end(void);
/*
 * Pins user pages, for writing or only reading, for the time of a call or longer, as pin_user_pages_fast(). See
 * knem_pin.c.
 */
int knem_pin(unsigned long start, int count, bool write, bool longterm, struct page **pages);
/*
 * Pins pages of any address space for the time of a call, as knem_pin(). -EFAULT also if its processes have exited.
 * Without wait, -EAGAIN if the call would have to wait for the lock of the address space or for a page.
 */
int knem_pin_remote(struct mm_struct *mm, unsigned long start, int count, bool write, bool wait, struct page **pages);
void knem_unpin(struct page **pages, unsigned long count, bool dirty);
/* Replaces pointers to page structures, at least one, by the addresses of the pages in the direct map. */
void knem_pages_to_addresses(u64 *words, unsigned long count);
/* Unpins pages by such addresses, at least one, and destroys the list. */
void knem_unpin_addresses(u64 *words, unsigned long count, bool dirty);
/*
 * Unpins the pages of the first extents of a list, as long as each is on one page. The list has at least one extent and
 * begins at an offset of a region. Returns the number of these extents. logic/extent.rs declares the same structure.
 */
struct knem_extent {
	u64 bias;
	u64 end;
};
unsigned long knem_unpin_singles(const struct knem_extent *extents, unsigned long count, u64 offset, bool dirty);
/* Unpins pages that are contiguous in the direct map. */
void knem_unpin_range(const void *address, unsigned long count, bool dirty);
/* Bytes between the structures of contiguous pages, which are in one array, or compat.h does not compile. */
extern const size_t knem_page_stride;

/* Number of pages of memory in the machine. */
unsigned long knem_shim_ram_pages(void);
/* First address after user memory. */
unsigned long knem_shim_user_end(void);
/* Bits that are no part of the calling task's addresses: arm64's tags, if the task has turned them on. */
unsigned long knem_shim_address_tags(void);

/* Number of pages that are pinned through the driver: a sum over the CPUs, exact wherever that matters. */
int knem_shim_pinned_init(void);
void knem_shim_pinned_destroy(void);
void knem_shim_pinned_add(s64 pages);
/* Adds pages unless the sum would be more than most; returns whether it has. */
bool knem_shim_pinned_charge(s64 pages, s64 most);
s64 knem_shim_pinned(void);
/* The highest number that was seen: exact when it was read, otherwise without what CPUs have counted locally. */
s64 knem_shim_pinned_peak(void);
void knem_shim_pinned_peak_clear(void);

/* Add pages to those that the address space counts as pinned. The second does not if that would exceed most. */
void knem_shim_add_pinned(struct mm_struct *mm, s64 pages);
bool knem_shim_charge_pinned(struct mm_struct *mm, s64 pages, s64 most);
/* A counted reference to the calling task's credentials, which keep the user and its count of locked memory. */
const struct cred *knem_shim_cred(void);
void knem_shim_cred_get(const struct cred *cred);
void knem_shim_cred_put(const struct cred *cred);
/* Add pages to those that the user has locked. The second does not if that would exceed most. */
void knem_shim_add_locked(const struct cred *cred, s64 pages);
bool knem_shim_charge_locked(const struct cred *cred, s64 pages, s64 most);
/* The calling process's RLIMIT_MEMLOCK in pages, and whether the caller may exceed it. */
unsigned long knem_shim_memlock_pages(void);
bool knem_shim_may_exceed_memlock(void);

/* Real user id of the calling task, and in the upper half its effective one, in the initial user namespace. */
u64 knem_shim_ids(void);
/* Numbers of the calling task's namespaces, which the kernel never uses twice. */
u64 knem_shim_user_namespace(void);
u64 knem_shim_pid_namespace(void);
/* Whether the calling task is in the initial user and pid namespaces, and not in those of a container. */
bool knem_shim_in_initial_namespaces(void);
/* Whether other processes of its user may inspect the calling task. */
bool knem_shim_dumpable(void);
/* Whether the calling task may exceed resource limits. */
bool knem_shim_may_exceed_limits(void);
/* Emits a trace event, and with the parameter debug a log line, that the calling task was refused a command. */
void knem_shim_refused(unsigned int command, int error);

/* Returns index if it is less than size, also in speculative execution. */
unsigned long knem_shim_nospec(unsigned long index, unsigned long size);
/* Stores a byte with release semantics. */
void knem_shim_store_release(u8 *to, u8 value);

/* Wait queues, where tasks sleep until ready(data) is true. */
void knem_shim_wait_init(struct wait_queue_head *queue);
void knem_shim_wake(struct wait_queue_head *queue);
int knem_shim_wait(struct wait_queue_head *queue, bool (*ready)(void *), void *data);
/* For a worker thread: also until a signal arrives, or the time has passed unless that is 0. */
void knem_shim_wait_in_thread(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds);
/* Regardless of signals, until the time has passed unless that is 0. */
void knem_shim_wait_quietly(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds);
void knem_shim_poll(struct file *file, struct wait_queue_head *queue, struct poll_table_struct *table);

/*
 * Worker threads; see knem_thread.c. A worker calls turn(data) until that returns false. If its process exits before,
 * it calls killed(data) instead. When none of its code runs any more, a work item calls gone(data) once.
 */
struct knem_worker;
int knem_workers_begin(void);
void knem_workers_end(void);
/*
 * Creates a worker in the calling task's control groups, with its scheduling. It begins with knem_worker_go(), which
 * must follow.
 */
struct knem_worker *knem_worker_create(bool (*turn)(void *data), void (*killed)(void *data), void (*gone)(void *data), void *data,
				       unsigned long ordinal);
void knem_worker_go(struct knem_worker *worker);
/*
 * For a worker: whether its turn must end, because of a signal or the freezer or because its group has used up its
 * time.
 */
bool knem_worker_due(void);
/* For a worker: binds it to these CPUs. */
void knem_worker_bind(const struct cpumask *mask);
unsigned long knem_shim_cpumask_words(void);
/* The most workers that the calling task's user may have, if the kernel does not count them itself. */
unsigned long knem_worker_most(void);
/* Sleeps; returns -EINTR if the task is killed meanwhile. */
int knem_shim_sleep(u32 milliseconds);
/* The CPUs that the calling task may use now, those of its cpuset, and those of the machine. */
void knem_shim_allowed_cpus(struct cpumask *mask);
int knem_shim_cpuset_cpus(struct cpumask *mask);
void knem_shim_online_cpus(struct cpumask *mask);
/* The opener of the file: its real user id, and whether it is an administrator of the machine (CAP_SYS_ADMIN). */
u32 knem_shim_file_uid(const struct file *file);
bool knem_shim_file_admin(const struct file *file);
/* Whether reads of the file must not wait (O_NONBLOCK). */
bool knem_shim_nonblocking(const struct file *file);

/* Counters, a set for each CPU; Rust determines how many. */
int knem_shim_counters_init(unsigned long number);
void knem_shim_counters_destroy(void);
void knem_shim_add(unsigned long counter, u64 by);
u64 knem_shim_counted(unsigned long counter);
/* Adds 1 to two counters, and `by` to a third. */
void knem_shim_add_copy(unsigned long size, unsigned long time, unsigned long sum, u64 by);
/*
 * Counts a short copy by a path on this CPU. Returns the number of these in the upper half, and in the lower half the
 * counter of the latest one whose time was measured.
 */
u64 knem_shim_sample(unsigned long path);
/* Sets that counter. */
void knem_shim_sampled(unsigned long path, u32 counter);
/* Time of a monotonic clock in nanoseconds. */
u64 knem_shim_now(void);

/* A counted reference to the calling process, and its pid for the calling task, 0 if that cannot see it. */
struct pid *knem_shim_process(void);
void knem_shim_process_put(struct pid *process);
u32 knem_shim_process_number(struct pid *process);

/* Sleeps for a tick of the clock, or until the calling task is killed. */
void knem_shim_pause(void);

/* 64 random bits from the kernel's generator, which no process can predict. */
u64 knem_shim_random(void);

/* /proc/driver/knem; see knem_proc.c. */
int knem_proc_create(void (*statistics)(struct seq_file *seq),
		     int (*seek)(void *cursor, const struct file *file, unsigned int which, u64 position),
		     void (*write)(struct seq_file *seq, const void *cursor, unsigned int which), size_t cursor);
void knem_proc_remove(void);
bool knem_proc_write(struct seq_file *seq, const void *text, unsigned long length);

/* Every region by its cookie; see knem_table.c. */
int knem_table_init(void);
void knem_table_destroy(void);
int knem_table_insert(struct knem_node *node, u64 cookie);
bool knem_table_remove(struct knem_node *node);
struct knem_node *knem_table_get(u64 cookie);
bool knem_node_put(struct knem_node *node);
void knem_node_free(struct knem_node *node);
/*
 * A tree of listed nodes by their ordinals, which differ. The caller excludes concurrent changes. An empty tree is all
 * zeros.
 */
void knem_tree_insert(struct rb_root *tree, struct knem_node *node, u64 ordinal);
/* Removes a node; returns whether it was in the tree. It must not be in another tree unless this one is empty. */
bool knem_tree_remove(struct rb_root *tree, struct knem_node *node);
/* Returns the first node from an ordinal on, or NULL. */
struct knem_node *knem_tree_from(const struct rb_root *tree, u64 ordinal);

#endif
