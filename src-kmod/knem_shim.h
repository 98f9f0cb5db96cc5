/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's C offers to its Rust; glue/ffi.rs declares the same. Here is only what C alone can do: the
 * kernel's inline functions and macros, module parameters, per-processor variables and the hash table.
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

/* Module parameters; those that can be changed while the module is loaded are read anew at each use. */
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
/* The same, as far as the user memory is there: they wait for no page. */
unsigned long knem_shim_to_user_nofault(void __user *to, const void *from, unsigned long n);
unsigned long knem_shim_from_user_nofault(void *to, const void __user *from, unsigned long n);
/* Reads 1 to 8 words of user memory; whether all could be read. */
bool knem_shim_read_words(u64 *to, unsigned long address, unsigned long words);
/* Write a number to user memory; whether that could be done. */
bool knem_shim_write_u32(unsigned long address, u32 value);
bool knem_shim_write_u64(unsigned long address, u64 value);
/* Waits until user memory is there, to be read or written; false if it cannot be used so. */
bool knem_shim_fault_in(unsigned long address, unsigned long n, bool write);
/* Copies within the direct map. */
void knem_shim_copy(void *to, const void *from, unsigned long n);

/* Lets others run; to be called now and then in what may take long. */
void knem_shim_resched(void);
/* Whether the calling task has been killed. */
bool knem_shim_killed(void);

/* Address of a page in the direct map, without a tag: a run of pages, whose tags differ, is accessed through that of the first. */
void *knem_shim_page_address(const struct page *page);

/* Prepares pinning, as the account of pinned pages is opened, and ends it. */
int knem_pin_begin(void);
void knem_pin_end(void);
/* Pins user pages, for writing or only reading, for the time of a call or longer; as pin_user_pages_fast(). See knem_pin.c. */
int knem_pin(unsigned long start, int count, bool write, bool longterm, struct page **pages);
/*
 * Pins pages of any address space for the time of a call, as knem_pin(). -EFAULT also if its processes are gone. Without wait, -EAGAIN
 * where the lock of the address space or a page would have to be waited for.
 */
int knem_pin_remote(struct mm_struct *mm, unsigned long start, int count, bool write, bool wait, struct page **pages);
void knem_unpin(struct page **pages, unsigned long count, bool dirty);
/* Replaces pointers to page structures by the addresses of the pages in the direct map; at least one. */
void knem_pages_to_addresses(u64 *places, unsigned long count);
/* Unpins pages by such addresses, at least one, and destroys the list. */
void knem_unpin_addresses(u64 *places, unsigned long count, bool dirty);
/*
 * Of a list of extents, at least one, which begins at an offset of a region, unpins the pages of the first ones as long as each is on one page;
 * returns how many. logic/extent.rs has the same structure.
 */
struct knem_extent {
	u64 bias;
	u64 end;
};
unsigned long knem_unpin_singles(const struct knem_extent *extents, unsigned long count, u64 offset, bool dirty);
/* Unpins pages that follow each other in the direct map. */
void knem_unpin_range(const void *address, unsigned long count, bool dirty);
/* Bytes between the structures of pages that follow each other in memory: they are one array, or compat.h refuses to build. */
extern const size_t knem_page_stride;

/* Pages of memory in the machine. */
unsigned long knem_shim_ram_pages(void);
/* First address after user memory. */
unsigned long knem_shim_user_end(void);
/* Bits that are no part of the calling task's addresses: arm64's tags, if the task has turned them on. */
unsigned long knem_shim_address_tags(void);

/* Pages that are pinned through the driver: a sum over the processors, exact wherever that matters. */
int knem_shim_pinned_init(void);
void knem_shim_pinned_destroy(void);
void knem_shim_pinned_add(s64 pages);
/* Adds pages unless the sum would be more than most; returns whether it has. */
bool knem_shim_pinned_charge(s64 pages, s64 most);
s64 knem_shim_pinned(void);
/* The most that was seen pinned: exact where it was looked at, else to what processors count by themselves. */
s64 knem_shim_pinned_peak(void);
void knem_shim_pinned_peak_clear(void);

/* Adds pages to what the address space counts as pinned. The second, unless that would be more than most. */
void knem_shim_add_pinned(struct mm_struct *mm, s64 pages);
bool knem_shim_charge_pinned(struct mm_struct *mm, s64 pages, s64 most);
/* The calling task's credentials, counted: they keep the user whose locked memory the kernel counts. */
const struct cred *knem_shim_cred(void);
void knem_shim_cred_get(const struct cred *cred);
void knem_shim_cred_put(const struct cred *cred);
/* Adds pages to what the user has locked; the second, unless that would be more than most. */
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
/* Whether the calling task is in the machine's own user and pid namespace, and not in those of a container. */
bool knem_shim_in_initial_namespaces(void);
/* Whether the calling task may be looked into by others of its user. */
bool knem_shim_dumpable(void);
/* Whether the calling task may exceed limits. */
bool knem_shim_may_exceed_limits(void);
/* Tells tracing, and with the parameter debug the log, that the calling task was refused a command. */
void knem_shim_refused(unsigned int command, int error);

/* index if it is less than size, also in speculation. */
unsigned long knem_shim_nospec(unsigned long index, unsigned long size);
/* Stores a byte that others see only after all that was stored before. */
void knem_shim_store_release(u8 *to, u8 value);

/* Wait queues: tasks sleep until ready(data). */
void knem_shim_wait_init(struct wait_queue_head *queue);
void knem_shim_wake(struct wait_queue_head *queue);
int knem_shim_wait(struct wait_queue_head *queue, bool (*ready)(void *), void *data);
/* For a worker: also until a signal comes, or as many milliseconds have passed unless that is 0. */
void knem_shim_wait_in_thread(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds);
/* Without regard to signals, for as many milliseconds at most unless that is 0. */
void knem_shim_wait_quietly(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds);
void knem_shim_poll(struct file *file, struct wait_queue_head *queue, struct poll_table_struct *table);

/*
 * Worker threads; see knem_thread.c. A worker calls turn(data) until that returns false. If its process ends before, it calls
 * killed(data) instead. When nothing of it runs any more, gone(data) is called once, by a work item.
 */
struct knem_worker;
int knem_workers_begin(void);
void knem_workers_end(void);
/* A worker in the calling task's control groups, with its scheduling; it begins with knem_worker_go(), which has to follow. */
struct knem_worker *knem_worker_create(bool (*turn)(void *data), void (*killed)(void *data), void (*gone)(void *data), void *data,
				       unsigned long ordinal);
void knem_worker_go(struct knem_worker *worker);
/* For a worker: whether its turn has to end, for a signal, for the freezer, or since its group has used up its time. */
bool knem_worker_due(void);
/* For a worker: runs on these CPUs from now on. */
void knem_worker_bind(const struct cpumask *mask);
unsigned long knem_shim_cpumask_words(void);
/* The most workers that the calling task's user may have, as far as the kernel does not count them itself. */
unsigned long knem_worker_most(void);
/* Sleeps; -EINTR if the task is killed meanwhile. */
int knem_shim_sleep(u32 milliseconds);
/* The CPUs that the calling task may use now, those of its cpuset, and those of the machine. */
void knem_shim_allowed_cpus(struct cpumask *mask);
int knem_shim_cpuset_cpus(struct cpumask *mask);
void knem_shim_online_cpus(struct cpumask *mask);
/* The opener of the file: its real user id, and whether it is an administrator of the machine. */
u32 knem_shim_file_uid(const struct file *file);
bool knem_shim_file_admin(const struct file *file);
/* Whether reads of the file must not wait (O_NONBLOCK). */
bool knem_shim_nonblocking(const struct file *file);

/* Counters, as many as Rust says, one set for each processor. */
int knem_shim_counters_init(unsigned long number);
void knem_shim_counters_destroy(void);
void knem_shim_add(unsigned long counter, u64 by);
u64 knem_shim_counted(unsigned long counter);
/* Counts one at two counters, and by at a third. */
void knem_shim_add_copy(unsigned long size, unsigned long time, unsigned long sum, u64 by);
/* Counts a short copy by a path on this CPU; their number, and in the lower half where the latest that was timed was counted. */
u64 knem_shim_sample(unsigned long path);
/* Says where. */
void knem_shim_sampled(unsigned long path, u32 counter);
/* Nanoseconds of a clock that only goes forward. */
u64 knem_shim_now(void);

/* The calling process as a counted reference, and its number for the calling task, 0 where that cannot see it. */
struct pid *knem_shim_process(void);
void knem_shim_process_put(struct pid *process);
u32 knem_shim_process_number(struct pid *process);

/* Sleeps for a tick of the clock, or until the calling task is killed. */
void knem_shim_pause(void);

/* 64 random bits, which no process can predict. */
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
/* Nodes that are listed, in a tree by their ordinals, which differ. The caller excludes other changes; an empty tree is 0. */
void knem_tree_insert(struct rb_root *tree, struct knem_node *node, u64 ordinal);
/* Whether it was in the tree. It may be in no other unless this one is empty. */
bool knem_tree_remove(struct rb_root *tree, struct knem_node *node);
/* The first one from an ordinal on, or NULL. */
struct knem_node *knem_tree_from(const struct rb_root *tree, u64 ordinal);

#endif
