// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions that only C can provide, one line each: the kernel's inline functions and macros, module parameters and
 * per-CPU counters. Rust makes the decisions. See knem_shim.h for the purpose of each.
 */
#include <linux/cred.h>
#include <linux/fault-inject-usercopy.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/percpu_counter.h>
#include <linux/pfn.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>
#include <linux/wait.h>

#include "compat.h"
#include "knem_shim.h"

#ifdef CONFIG_HIGHMEM
#error "knem keeps addresses of the direct map and does not support CONFIG_HIGHMEM"
#endif

MODULE_VERSION(KNEM_VERSION);
/* How the Rust part was built, and why; printed by modinfo, /proc/driver/knem/info and knem. */
MODULE_INFO(rust, KNEM_RUST);
const char knem_shim_version[] = KNEM_VERSION;
const size_t knem_shim_version_len = sizeof(knem_shim_version) - 1;

unsigned int knem_param_memlock = 2;
module_param_named(memlock, knem_param_memlock, uint, 0644);
MODULE_PARM_DESC(memlock, "Enforce RLIMIT_MEMLOCK on pinned memory (2: per user, 1: per address space, 0: do not enforce) [2]");

unsigned int knem_param_unpinned = 1;
module_param_named(unpinned, knem_param_unpinned, uint, 0644);
MODULE_PARM_DESC(unpinned, "Create regions that exceed a limit without pinning them (0: refuse them) [1]");

unsigned int knem_param_debug;
module_param_named(debug, knem_param_debug, uint, 0644);
MODULE_PARM_DESC(debug, "Log refused commands [0]");

unsigned int knem_param_thread = 1;
module_param_named(thread, knem_param_thread, uint, 0444);
MODULE_PARM_DESC(thread, "Enable offloading copies to a kernel thread (0: ignore the flags) [1]");

int knem_param_binding = 1;
module_param_named(binding, knem_param_binding, int, 0644);
MODULE_PARM_DESC(binding, "Bind the worker thread to the CPUs of its process (-1: to all other CPUs, 0: do not bind) [1]");

unsigned int knem_param_sync;
module_param_named(sync, knem_param_sync, uint, 0444);
MODULE_PARM_DESC(sync, "Ignore the asynchronous flags [0]");

unsigned long knem_param_statslen = PAGE_SIZE;
module_param_named(statslen, knem_param_statslen, ulong, 0644);
MODULE_PARM_DESC(statslen, "Limit the statistics text, in bytes [page size]");

unsigned int knem_param_statsverbose;
module_param_named(statsverbose, knem_param_statsverbose, uint, 0644);
MODULE_PARM_DESC(statsverbose, "List contexts and regions in the statistics [0]");

unsigned int knem_param_max_regions = 1 << 20;
module_param_named(max_regions, knem_param_max_regions, uint, 0644);
MODULE_PARM_DESC(max_regions, "Limit the regions per context [1048576]");

unsigned int knem_param_max_contexts = 4096;
module_param_named(max_contexts, knem_param_max_contexts, uint, 0644);
MODULE_PARM_DESC(max_contexts, "Limit the contexts per user [4096]");

unsigned int knem_param_max_queued = 65536;
module_param_named(max_queued, knem_param_max_queued, uint, 0644);
MODULE_PARM_DESC(max_queued, "Limit the requests per context that wait for the worker thread [65536]");

unsigned long knem_param_max_slots = 1 << 24;
module_param_named(max_slots, knem_param_max_slots, ulong, 0644);
MODULE_PARM_DESC(max_slots, "Limit the slots of a status array [16777216]");

unsigned long knem_param_max_slots_mb;
module_param_named(max_slots_mb, knem_param_max_slots_mb, ulong, 0644);
MODULE_PARM_DESC(max_slots_mb, "Limit the memory of status arrays and events per user, in MiB (0: the larger of 96 MiB and 1/64 of RAM) [0]");

unsigned int knem_param_strict_ns;
module_param_named(strict_ns, knem_param_strict_ns, uint, 0644);
MODULE_PARM_DESC(strict_ns, "Confine regions to the user and pid namespaces of their opener (0: no, 1: yes, 2: also refuse opening the device outside the initial namespaces) [0]");

unsigned int knem_param_strict_dumpable;
module_param_named(strict_dumpable, knem_param_strict_dumpable, uint, 0644);
MODULE_PARM_DESC(strict_dumpable, "Refuse regions of processes that are not dumpable [0]");

unsigned long knem_param_max_pinned_mb;
module_param_named(max_pinned_mb, knem_param_max_pinned_mb, ulong, 0644);
MODULE_PARM_DESC(max_pinned_mb, "Limit the memory pinned through the driver, in MiB (0: half of RAM) [0]");

unsigned long knem_param_max_user_pinned_mb;
module_param_named(max_user_pinned_mb, knem_param_max_user_pinned_mb, ulong, 0644);
MODULE_PARM_DESC(max_user_pinned_mb, "Limit the memory pinned through the driver per user, in MiB (0: 4/5 of max_pinned_mb) [0]");

unsigned int knem_param_max_segments = 1 << 20;
module_param_named(max_segments, knem_param_max_segments, uint, 0644);
MODULE_PARM_DESC(max_segments, "Limit the segments of a region or request [1048576]");

unsigned int knem_param_pinlocal;
module_param_named(pinlocal, knem_param_pinlocal, uint, 0444);
MODULE_PARM_DESC(pinlocal, "Force the flag PINLOCAL on every request [0]");

unsigned int knem_param_pinlocalread = 1;
module_param_named(pinlocalread, knem_param_pinlocalread, uint, 0444);
MODULE_PARM_DESC(pinlocalread, "Pin the caller's memory in requests that write to a region [1]");

unsigned int knem_param_forceflags;
module_param_named(forceflags, knem_param_forceflags, uint, 0444);
MODULE_PARM_DESC(forceflags, "Add these flags to every request [0]");

unsigned int knem_param_ignoreflags;
module_param_named(ignoreflags, knem_param_ignoreflags, uint, 0444);
MODULE_PARM_DESC(ignoreflags, "Remove these flags from every request [0]");

/*
 * _copy_to_user() and _copy_from_user() check the user address as copy_*_user() do, but not whether the kernel's side
 * is within one folio (HARDENED_USERCOPY): an extent may span several, all of them pinned.
 */
unsigned long knem_shim_to_user(void __user *to, const void *from, unsigned long n)
{
	return _copy_to_user(to, from, n);
}

unsigned long knem_shim_from_user(void *to, const void __user *from, unsigned long n)
{
	return _copy_from_user(to, from, n);
}

unsigned long knem_shim_to_user_nofault(void __user *to, const void *from, unsigned long n)
{
	pagefault_disable();
	n = _copy_to_user(to, from, n);
	pagefault_enable();
	return n;
}

/*
 * Not _copy_from_user(), which zeroes what it cannot copy: the rest of the region must not change. Here and below,
 * debug kernels inject failures (CONFIG_FAULT_INJECTION_USERCOPY), as in copy_*_user(); elsewhere the condition is a
 * constant.
 */
unsigned long knem_shim_from_user_nofault(void *to, const void __user *from, unsigned long n)
{
	if (should_fail_usercopy() || !access_ok(from, n))
		return n;
	barrier_nospec();
	pagefault_disable();
	n = raw_copy_from_user(to, from, n);
	pagefault_enable();
	return n;
}

/* Words are read one by one: a call of copy_from_user() takes more instructions than all of them. */
bool knem_shim_read_words(u64 *to, unsigned long address, unsigned long words)
{
	const u64 __user *from = (const u64 __user *)address;

	might_fault();
	if (should_fail_usercopy() || !compat_user_read_begin(&from, words * sizeof(u64)))
		return false;
	switch (words) {
	case 8:
		unsafe_get_user(to[7], from + 7, fault);
		fallthrough;
	case 7:
		unsafe_get_user(to[6], from + 6, fault);
		fallthrough;
	case 6:
		unsafe_get_user(to[5], from + 5, fault);
		fallthrough;
	case 5:
		unsafe_get_user(to[4], from + 4, fault);
		fallthrough;
	case 4:
		unsafe_get_user(to[3], from + 3, fault);
		fallthrough;
	case 3:
		unsafe_get_user(to[2], from + 2, fault);
		fallthrough;
	case 2:
		unsafe_get_user(to[1], from + 1, fault);
		fallthrough;
	case 1:
		unsafe_get_user(to[0], from, fault);
		break;
	default:
		goto fault;
	}
	user_access_end();
	return true;
fault:
	user_access_end();
	return false;
}

bool knem_shim_write_u32(unsigned long address, u32 value)
{
	return !should_fail_usercopy() && !put_user(value, (u32 __user *)address);
}

bool knem_shim_write_u64(unsigned long address, u64 value)
{
	return !should_fail_usercopy() && !put_user(value, (u64 __user *)address);
}

bool knem_shim_fault_in(unsigned long address, unsigned long n, bool write)
{
	return !compat_fault_in((char __user *)address, n, write);
}

/* memmove(), since source and destination may overlap. Then the bytes are unspecified, but nothing worse may happen. */
void knem_shim_copy(void *to, const void *from, unsigned long n)
{
	memmove(to, from, n);
}

void knem_shim_resched(void)
{
	cond_resched();
}

bool knem_shim_killed(void)
{
	return fatal_signal_pending(current);
}

void *knem_shim_page_address(const struct page *page)
{
	/* page_address() would add the tag of this page (KASAN_SW_TAGS). */
	return __va(PFN_PHYS(page_to_pfn(page)));
}

unsigned long knem_shim_ram_pages(void)
{
	return totalram_pages();
}

unsigned long knem_shim_user_end(void)
{
	return TASK_SIZE_MAX;
}

unsigned long knem_shim_address_tags(void)
{
#ifdef CONFIG_ARM64_TAGGED_ADDR_ABI
	return test_thread_flag(TIF_TAGGED_ADDR) ? 0xffUL << 56 : 0;
#else
	return 0;
#endif
}

static struct percpu_counter knem_pinned;
/*
 * Number of pages, 1 MiB, that a CPU counts locally before it updates the shared count. Regions that come and go cancel
 * out, and pinning this many pages takes a hundred times longer than the update.
 */
#define KNEM_PINNED_BATCH 256

int knem_shim_pinned_init(void)
{
	int error = knem_pin_begin();

	if (error)
		return error;
	error = percpu_counter_init(&knem_pinned, 0, GFP_KERNEL);
	if (error)
		knem_pin_end();
	return error;
}

void knem_shim_pinned_destroy(void)
{
	percpu_counter_destroy(&knem_pinned);
	knem_pin_end();
}

static s64 knem_pinned_most;

/* Two CPUs at the same time may lose the higher number, which is only a statistic. */
static void knem_pinned_seen(s64 pages)
{
	if (pages > READ_ONCE(knem_pinned_most))
		WRITE_ONCE(knem_pinned_most, pages);
}

void knem_shim_pinned_add(s64 pages)
{
	percpu_counter_add_batch(&knem_pinned, pages, KNEM_PINNED_BATCH);
	if (pages > 0)
		knem_pinned_seen(max(percpu_counter_read(&knem_pinned), pages));
}

/* Near the limit tasks read and add one at a time. */
static DEFINE_SPINLOCK(knem_pinned_lock);

bool knem_shim_pinned_charge(s64 pages, s64 most)
{
	/* What the CPUs may have counted locally, and what each may add at this moment. */
	s64 slack = (KNEM_PINNED_BATCH + pages) * (s64)num_online_cpus();
	bool fits;

	if (percpu_counter_read(&knem_pinned) + pages + slack <= most) {
		knem_shim_pinned_add(pages);
		return true;
	}
	spin_lock(&knem_pinned_lock);
	fits = percpu_counter_sum(&knem_pinned) + pages <= most;
	if (fits)
		knem_shim_pinned_add(pages);
	spin_unlock(&knem_pinned_lock);
	return fits;
}

s64 knem_shim_pinned(void)
{
	s64 pages = percpu_counter_sum(&knem_pinned);

	knem_pinned_seen(pages);
	return pages;
}

s64 knem_shim_pinned_peak(void)
{
	return READ_ONCE(knem_pinned_most);
}

void knem_shim_pinned_peak_clear(void)
{
	WRITE_ONCE(knem_pinned_most, 0);
	knem_pinned_seen(percpu_counter_sum(&knem_pinned));
}

void knem_shim_add_pinned(struct mm_struct *mm, s64 pages)
{
	atomic64_add(pages, &mm->pinned_vm);
}

bool knem_shim_charge_pinned(struct mm_struct *mm, s64 pages, s64 most)
{
	s64 before = atomic64_read(&mm->pinned_vm);

	do {
		if (before + pages > most)
			return false;
	} while (!atomic64_try_cmpxchg(&mm->pinned_vm, &before, before + pages));
	return true;
}

const struct cred *knem_shim_cred(void)
{
	return get_current_cred();
}

void knem_shim_cred_get(const struct cred *cred)
{
	get_cred(cred);
}

void knem_shim_cred_put(const struct cred *cred)
{
	put_cred(cred);
}

void knem_shim_add_locked(const struct cred *cred, s64 pages)
{
	atomic_long_add(pages, &cred->user->locked_vm);
}

bool knem_shim_charge_locked(const struct cred *cred, s64 pages, s64 most)
{
	long before = atomic_long_read(&cred->user->locked_vm);

	do {
		if (before + pages > most)
			return false;
	} while (!atomic_long_try_cmpxchg(&cred->user->locked_vm, &before, before + pages));
	return true;
}

unsigned long knem_shim_memlock_pages(void)
{
	return rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}

bool knem_shim_may_exceed_memlock(void)
{
	return capable(CAP_IPC_LOCK);
}

u64 knem_shim_ids(void)
{
	const struct cred *cred = current_cred();

	return (u64)__kuid_val(cred->euid) << 32 | __kuid_val(cred->uid);
}

u64 knem_shim_user_namespace(void)
{
	return compat_ns_id(&current_user_ns()->ns);
}

u64 knem_shim_pid_namespace(void)
{
	return compat_ns_id(&task_active_pid_ns(current)->ns);
}

bool knem_shim_in_initial_namespaces(void)
{
	return current_user_ns() == &init_user_ns && task_active_pid_ns(current) == &init_pid_ns;
}

bool knem_shim_dumpable(void)
{
	return compat_dumpable();
}

bool knem_shim_may_exceed_limits(void)
{
	return capable(CAP_SYS_RESOURCE);
}

unsigned long knem_shim_nospec(unsigned long index, unsigned long size)
{
	return array_index_nospec(index, size);
}

void knem_shim_store_release(u8 *to, u8 value)
{
	smp_store_release(to, value);
}

/* Assumed by glue/ffi.rs. */
static_assert(sizeof(struct wait_queue_head) <= 128 && __alignof__(struct wait_queue_head) <= 8);

void knem_shim_wait_init(struct wait_queue_head *queue)
{
	init_waitqueue_head(queue);
}

void knem_shim_wake(struct wait_queue_head *queue)
{
	wake_up(queue);
}

int knem_shim_wait(struct wait_queue_head *queue, bool (*ready)(void *), void *data)
{
	return wait_event_interruptible(*queue, ready(data));
}

void knem_shim_wait_in_thread(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds)
{
	if (milliseconds)
		wait_event_freezable_timeout(*queue, ready(data), msecs_to_jiffies(milliseconds) + 1);
	else
		wait_event_freezable(*queue, ready(data));
}

void knem_shim_wait_quietly(struct wait_queue_head *queue, bool (*ready)(void *), void *data, u32 milliseconds)
{
	if (milliseconds)
		wait_event_timeout(*queue, ready(data), msecs_to_jiffies(milliseconds) + 1);
	else
		wait_event(*queue, ready(data));
}

void knem_shim_poll(struct file *file, struct wait_queue_head *queue, struct poll_table_struct *table)
{
	poll_wait(file, queue, table);
}

u32 knem_shim_file_uid(const struct file *file)
{
	return __kuid_val(file->f_cred->uid);
}

bool knem_shim_file_admin(const struct file *file)
{
	return file_ns_capable(file, &init_user_ns, CAP_SYS_ADMIN);
}

bool knem_shim_nonblocking(const struct file *file)
{
	return READ_ONCE(file->f_flags) & O_NONBLOCK;
}

void knem_shim_pause(void)
{
	schedule_timeout_killable(1);
}

u64 knem_shim_random(void)
{
	return get_random_u64();
}

/*
 * Counters only grow; Rust subtracts their values at the last clearing. They are too many for the memory that modules
 * share for static per-CPU variables.
 */
static u64 __percpu *knem_counters;
static unsigned long knem_counters_nr;

int knem_shim_counters_init(unsigned long number)
{
	knem_counters = __alloc_percpu(array_size(number, sizeof(u64)), __alignof__(u64));
	if (!knem_counters)
		return -ENOMEM;
	knem_counters_nr = number;
	return 0;
}

void knem_shim_counters_destroy(void)
{
	knem_counters_nr = 0;
	free_percpu(knem_counters);
}

void knem_shim_add(unsigned long counter, u64 by)
{
	if (counter < knem_counters_nr)
		this_cpu_add(knem_counters[counter], by);
}

/* One call, since every copy ends with it. */
void knem_shim_add_copy(unsigned long size, unsigned long time, unsigned long sum, u64 by)
{
	if (size >= knem_counters_nr || time >= knem_counters_nr || sum >= knem_counters_nr)
		return;
	this_cpu_inc(knem_counters[size]);
	this_cpu_inc(knem_counters[time]);
	this_cpu_add(knem_counters[sum], by);
}

/* Short copies by path: their number, and the counter of the latest one whose time was measured. */
struct knem_sample {
	u32 latest;
	u32 count;
};
static DEFINE_PER_CPU(struct knem_sample[4], knem_samples);

u64 knem_shim_sample(unsigned long path)
{
	if (path >= ARRAY_SIZE(knem_samples))
		return 0;
	return (u64)this_cpu_inc_return(knem_samples[path].count) << 32 | this_cpu_read(knem_samples[path].latest);
}

void knem_shim_sampled(unsigned long path, u32 counter)
{
	if (path < ARRAY_SIZE(knem_samples))
		this_cpu_write(knem_samples[path].latest, counter);
}

u64 knem_shim_counted(unsigned long counter)
{
	u64 sum = 0;
	int cpu;

	if (counter < knem_counters_nr)
		for_each_possible_cpu(cpu)
			sum += READ_ONCE(per_cpu_ptr(knem_counters, cpu)[counter]);
	return sum;
}

u64 knem_shim_now(void)
{
	return ktime_get_ns();
}

struct pid *knem_shim_process(void)
{
	return get_pid(task_tgid(current));
}

void knem_shim_process_put(struct pid *process)
{
	put_pid(process);
}

u32 knem_shim_process_number(struct pid *process)
{
	return pid_vnr(process);
}
