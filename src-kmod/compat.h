/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that older kernels lack or do differently: no other file depends on the kernel's version. Kbuild searches
 * for each interface in the headers of the kernel that the module is built for and defines COMPAT_HAVE_...;
 * distributions backport interfaces to older kernels, so that a version number proves nothing. docs/kernels.md has the
 * table.
 */
#ifndef COMPAT_H
#define COMPAT_H

#include <linux/backing-dev.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/coredump.h>
#include <linux/sched/task.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <uapi/linux/sched/types.h>

/*
 * The driver takes pages to be contiguous if their structures are. Without this option the structures of each memory
 * section are an array of their own, and two such arrays may be adjacent although their sections are not.
 */
#if !defined(CONFIG_FLATMEM) && !defined(CONFIG_SPARSEMEM_VMEMMAP)
#error "knem needs the page structures in one array: CONFIG_SPARSEMEM_VMEMMAP or CONFIG_FLATMEM"
#endif

#ifndef COMPAT_HAVE_VM_FLAGS_SET /* 6.3 */
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#ifndef COMPAT_HAVE_UNPIN_RANGE /* 5.14 */
static inline void unpin_user_page_range_dirty_lock(struct page *page, unsigned long count, bool dirty)
{
	while (count--) {
		unpin_user_pages_dirty_lock(&page, 1, dirty);
		page = nth_page(page, 1);
	}
}
#endif

#ifndef COMPAT_HAVE_LIST_COUNT_NODES /* 6.3 */
static inline size_t list_count_nodes(struct list_head *head)
{
	struct list_head *node;
	size_t count = 0;

	list_for_each(node, head)
		count++;
	return count;
}
#endif

#ifndef COMPAT_HAVE_KTHREAD_STOP_PUT /* 6.7 */
static inline int kthread_stop_put(struct task_struct *thread)
{
	int result = kthread_stop(thread);

	put_task_struct(thread);
	return result;
}
#endif

/*
 * Threads that belong to a process: since 6.4, and only if another driver selects them. Before 6.10 they do not report
 * that they are killed.
 */
#if defined(CONFIG_VHOST_TASK) && defined(COMPAT_HAVE_VHOST_TASK_KILL)
#include <linux/sched/vhost_task.h>
#define COMPAT_USER_WORKER
#endif

/* Gives the calling kernel thread the nice value of a task, and its policy unless that is a realtime policy. */
static inline void compat_schedule_as(struct task_struct *task)
{
#ifdef COMPAT_HAVE_SETATTR_NOCHECK /* exported since 5.16 */
	struct sched_attr attr = { .size = sizeof(attr), .sched_policy = task->policy, .sched_nice = task_nice(task) };

	/* SCHED_IDLE does not change the nice value. */
	set_user_nice(current, task_nice(task));
	if (task->policy == SCHED_NORMAL || task->policy == SCHED_BATCH || task->policy == SCHED_IDLE)
		sched_setattr_nocheck(current, &attr);
#else
	set_user_nice(current, task->policy == SCHED_IDLE ? MAX_NICE : task_nice(task));
#endif
}

/*
 * Replaces the mask that the calling task has inherited from a sched_setaffinity(2), which would restrict
 * set_cpus_allowed_ptr().
 */
static inline void compat_choose_cpus(const struct cpumask *mask)
{
#ifdef COMPAT_HAVE_USER_CPUS /* 5.15 */
	unsigned long flags;

	raw_spin_lock_irqsave(&current->pi_lock, flags);
	if (current->user_cpus_ptr)
		cpumask_copy(current->user_cpus_ptr, mask);
	raw_spin_unlock_irqrestore(&current->pi_lock, flags);
#endif
}

#ifndef COMPAT_HAVE_DMA_DEV_NEED_SYNC /* 6.10 */
#define dma_dev_need_sync(device) true
#endif

#ifdef COMPAT_HAVE_CHAN_DMA_DEV /* 5.11 */
#define compat_chan_dma_dev(entry) ((entry)->chan_dma_dev)
#else
#define compat_chan_dma_dev(entry) false
#endif

/*
 * On an architecture that copies inline (arm64) these two functions are inline before 6.12; since then they are
 * exported only if the kernel has Rust (lib/usercopy.c). 7.x has the same definitions itself.
 */
#if defined(COMPAT_HAVE_INLINE_COPY) && defined(INLINE_COPY_TO_USER) && defined(INLINE_COPY_FROM_USER)
#define _copy_to_user _inline_copy_to_user
#define _copy_from_user _inline_copy_from_user
#endif

#ifndef barrier_nospec /* 6.4; before that, of some architectures */
#define barrier_nospec() do { } while (0)
#endif

/* Begins to read user memory, up to user_access_end(). *from may be replaced by an address that faults. */
static __always_inline bool compat_user_read_begin(const u64 __user **from, size_t n)
{
#ifdef can_do_masked_user_access /* 6.11, of some architectures: no branch that the CPU could guess */
	if (can_do_masked_user_access()) {
		*from = masked_user_access_begin(*from);
		return true;
	}
#endif
	return user_access_begin(*from, n);
}

/* Returns the number of bytes that cannot be used. */
static inline size_t compat_fault_in(char __user *address, size_t n, bool write)
{
#ifdef COMPAT_HAVE_FAULT_IN /* 5.16 */
	return write ? fault_in_safe_writeable(address, n) : fault_in_readable(address, n);
#else
	return (write ? fault_in_pages_writeable(address, n) : fault_in_pages_readable(address, n)) ? n : 0;
#endif
}

#ifdef COMPAT_HAVE_NS_ID /* 6.18 */
#define compat_ns_id(ns) ((ns)->ns_id)
#else /* which may be used again once the namespace is gone */
#define compat_ns_id(ns) ((ns)->inum)
#endif

#ifdef COMPAT_HAVE_EXEC_STATE /* 7.2 */
#include <linux/sched/exec_state.h>
static inline bool compat_dumpable(void)
{
	bool dumpable;

	rcu_read_lock();
	dumpable = READ_ONCE(rcu_dereference(current->exec_state)->dumpable) == TASK_DUMPABLE_OWNER;
	rcu_read_unlock();
	return dumpable;
}
#else
static inline bool compat_dumpable(void)
{
	return current->mm && get_dumpable(current->mm) == SUID_DUMP_USER;
}
#endif

#ifdef COMPAT_HAVE_KMEMCG_TYPE
/*
 * Before 5.11 a page that is charged to a control group has a type, and vm_insert_page() refuses pages with one
 * (mm/memory.c: validate_page_before_insert()). Such a page is mapped by its number: without a reference, so that its
 * owner must outlive the mapping.
 */
#define COMPAT_VM_MIXEDMAP VM_PFNMAP
static inline int compat_vm_insert_page(struct vm_area_struct *vma, unsigned long address, struct page *page)
{
	if (vmf_insert_pfn(vma, address, page_to_pfn(page)) == VM_FAULT_NOPAGE)
		return 0;
	/* The caller may free the pages that are mapped already. */
	zap_vma_ptes(vma, vma->vm_start, vma->vm_end - vma->vm_start);
	return -ENOMEM;
}
#else
#define COMPAT_VM_MIXEDMAP VM_MIXEDMAP
#define compat_vm_insert_page vm_insert_page
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 18, 0)
/*
 * Before 5.18 a page table entry without a page, in a VM_MIXEDMAP area of another driver, counts as pinned, and its
 * element of the array is not written (mm/gup.c: follow_pfn_pte() tests FOLL_GET only). So the array is first filled
 * with a page that has no other use, and a result ends before the first element that still is this page. If the kernel
 * unpins the array (CMA, DAX), it also unpins that page, whose count is kept far above 0.
 */
#define COMPAT_FILLER
#define COMPAT_FILLER_COUNT (1 << 30)
extern struct page *compat_filler; /* see knem_pin.c */

static inline void compat_fill(struct page **pages, int count)
{
	while (count--)
		pages[count] = compat_filler;
}

/* Returns how many of the pages that the kernel reports as pinned are pinned. The others are unpinned. */
static inline int compat_filled(struct page **pages, int pinned)
{
	int n, good;

	if (pinned <= 0)
		return pinned;
	for (good = 0; good < pinned && pages[good] != compat_filler; good++)
		;
	for (n = good; n < pinned; n++)
		if (pages[n] != compat_filler)
			unpin_user_page(pages[n]);
	if (page_count(compat_filler) < COMPAT_FILLER_COUNT / 2)
		page_ref_add(compat_filler, COMPAT_FILLER_COUNT / 2);
	return good ? good : -EFAULT;
}

static inline int compat_gup(unsigned long start, int count, unsigned int flags, struct page **pages)
{
	compat_fill(pages, count);
	return compat_filled(pages, pin_user_pages_fast(start, count, flags, pages));
}
#else
#define compat_gup pin_user_pages_fast
#define compat_fill(pages, count) do { } while (0)
#define compat_filled(pages, pinned) (pinned)
#endif

/* pin_user_pages_remote(), for the time of a call. The caller holds the mmap lock for reading. */
static inline int compat_pin_user_pages_remote(struct mm_struct *mm, unsigned long start, int count, unsigned int flags,
					       struct page **pages, int *locked)
{
	compat_fill(pages, count);
#ifdef COMPAT_HAVE_PIN_REMOTE_VMAS /* until 6.4 */
	return compat_filled(pages, pin_user_pages_remote(mm, start, count, flags, pages, NULL, locked));
#else
	return compat_filled(pages, pin_user_pages_remote(mm, start, count, flags, pages, locked));
#endif
}

/* Kinds of areas that long-term pinning distinguishes. COMPAT_READ_ONLY requires nothing. */
enum compat_area { COMPAT_READ_ONLY, COMPAT_PRIVATE_READ_ONLY, COMPAT_WRITABLE, COMPAT_WRITTEN_BACK };

static inline enum compat_area compat_area(const struct vm_area_struct *vma)
{
	/* Since 6.5 only private mappings of files matter. */
	if (LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0) && (!vma->vm_file || vma->vm_flags & VM_SHARED))
		return COMPAT_READ_ONLY;
	if (!(vma->vm_flags & VM_WRITE))
		return (vma->vm_flags & (VM_READ | VM_SHARED | VM_MAYWRITE)) == (VM_READ | VM_MAYWRITE) ?
			       COMPAT_PRIVATE_READ_ONLY :
			       COMPAT_READ_ONLY;
	/* As vma_needs_dirty_tracking() of 6.5. */
	if (vma->vm_flags & VM_SHARED &&
	    ((vma->vm_ops && (vma->vm_ops->page_mkwrite || vma->vm_ops->pfn_mkwrite)) ||
	     (vma->vm_file && mapping_can_writeback(vma->vm_file->f_mapping))))
		return COMPAT_WRITTEN_BACK;
	return COMPAT_WRITABLE;
}

/* Determines the kind of the area at an address. Lowers the number of pages to those before an area of another kind. */
static inline int compat_area_at(unsigned long tagged, int *count, enum compat_area *kind)
{
	unsigned long start = untagged_addr(tagged), end = start;
	unsigned long wanted = start + ((unsigned long)*count << PAGE_SHIFT);
	const struct vm_area_struct *vma;

	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	vma = find_vma(current->mm, start);
	/* If there is no area, a stack may have to grow, which the kernel decides. */
	*kind = vma && vma->vm_start <= start ? compat_area(vma) : COMPAT_WRITABLE;
	while (vma && vma->vm_start <= end && end < wanted && compat_area(vma) == *kind) {
		end = vma->vm_end;
		vma = find_vma(current->mm, end);
	}
	mmap_read_unlock(current->mm);
	*count = (min(wanted, max(end, start + PAGE_SIZE)) - start) >> PAGE_SHIFT;
	return 0;
}

/* pin_user_pages_fast(), with what later kernels do themselves for FOLL_LONGTERM. */
static inline int compat_pin_user_pages_fast(unsigned long start, int count, unsigned int flags, struct page **pages)
{
	enum compat_area kind;
	int pinned;

	if (flags & FOLL_LONGTERM && (LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0) || !(flags & FOLL_WRITE))) {
		pinned = compat_area_at(start, &count, &kind);
		if (pinned)
			return pinned;
		/* Before 6.5 the kernel allows this, but the file system is not notified of the writes. */
		if (flags & FOLL_WRITE && kind == COMPAT_WRITTEN_BACK)
			return -EFAULT;
		/*
		 * Memory that is pinned for reading may diverge from its owner's mapping when the owner writes to it
		 * next (zero page, private mapping of a file, after a fork). It does not if it is pinned as if for
		 * writing.
		 *
		 * Since 6.2 the kernel copies such pages itself (FAULT_FLAG_UNSHARE). But if a huge page maps a private
		 * mapping of a file, such as constants of a program, the fault splits it, maps the huge page again, and
		 * is repeated forever (mm/memory.c: wp_huge_pmd(), then do_read_fault(); seen on 7.3). A write fault
		 * copies at once.
		 */
		if (!(flags & FOLL_WRITE) && kind == COMPAT_WRITABLE) {
			pinned = compat_gup(start, count, flags | FOLL_WRITE, pages);
			if (pinned != -EFAULT)
				return pinned;
			/* Not writable for another reason, such as a protection key. The next page may be. */
			count = 1;
		}
#ifdef COMPAT_HAVE_ANON_EXCLUSIVE
		/* The owner may make the area writable later. hugetlbfs does not support FOLL_FORCE. */
		if (!(flags & FOLL_WRITE) && kind == COMPAT_PRIVATE_READ_ONLY) {
			pinned = compat_gup(start, count, flags | FOLL_WRITE | FOLL_FORCE, pages);
			if (pinned != -EFAULT)
				return pinned;
		}
#endif
	}
	return compat_gup(start, count, flags, pages);
}

/*
 * The Rust object makes indirect calls and returns through the kernel's thunks, which the kernel may patch. A kernel
 * that is built without thunks, or is older than they are, exports none: then the module has its own, which do what
 * unpatched ones do.
 */
#define COMPAT_THUNK(name, branch) \
	asm(".pushsection .text\n" \
	    ".globl " #name "\n" \
	    ".type " #name ", @function\n" \
	    #name ":\n" \
	    "\t" branch "\n" \
	    "\tint3\n" \
	    ".size " #name ", . - " #name "\n" \
	    ".popsection\n")

#if defined(CONFIG_X86_64) && !defined(COMPAT_HAVE_INDIRECT_THUNK) /* CONFIG_MITIGATION_RETPOLINE */
#define COMPAT_INDIRECT_THUNK COMPAT_THUNK(__x86_indirect_thunk_r11, "jmp *%r11")
#else
#define COMPAT_INDIRECT_THUNK static_assert(true)
#endif

#if defined(CONFIG_X86_64) && !defined(COMPAT_HAVE_RETURN_THUNK) /* 5.19, CONFIG_MITIGATION_RETHUNK */
#define COMPAT_RETURN_THUNK COMPAT_THUNK(__x86_return_thunk, "ret")
#else
#define COMPAT_RETURN_THUNK static_assert(true)
#endif

#endif
