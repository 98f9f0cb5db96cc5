// SPDX-License-Identifier: GPL-2.0-only
/* Pins user memory. compat.h has what older kernels require beyond the calls. */
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "compat.h"
#include "knem_shim.h"

#ifdef COMPAT_FILLER
struct page *compat_filler;
#endif

int knem_pin_begin(void)
{
#ifdef COMPAT_FILLER
	compat_filler = alloc_page(GFP_KERNEL);
	if (!compat_filler)
		return -ENOMEM;
	page_ref_add(compat_filler, COMPAT_FILLER_COUNT);
#endif
	return 0;
}

void knem_pin_end(void)
{
#ifdef COMPAT_FILLER
	init_page_count(compat_filler);
	__free_page(compat_filler);
#endif
}

int knem_pin(unsigned long start, int count, bool write, bool longterm, struct page **pages)
{
	unsigned int flags = (write ? FOLL_WRITE : 0) | (longterm ? FOLL_LONGTERM : 0);

	int pinned = compat_pin_user_pages_fast(start, count, flags, pages);

	/*
	 * Device memory without page structures returns -EEXIST since 5.18; file systems without pages of their own
	 * (DAX) return -EOPNOTSUPP.
	 */
	return pinned == -EEXIST || pinned == -EOPNOTSUPP ? -EFAULT : pinned;
}

int knem_pin_remote(struct mm_struct *mm, unsigned long start, int count, bool write, bool wait, struct page **pages)
{
	unsigned int flags = (write ? FOLL_WRITE : 0) | (wait ? 0 : FOLL_NOWAIT);
	int locked = 1, pinned;

	if (wait && mm == current->mm)
		return knem_pin(start, count, write, false, pages);
	if (!mmget_not_zero(mm))
		return -EFAULT;
	if (wait ? mmap_read_lock_killable(mm) : !mmap_read_trylock(mm)) {
		mmput_async(mm);
		return wait ? -EINTR : -EAGAIN;
	}
	/* With a pointer to `locked` the kernel releases the lock while it waits for a page. */
	pinned = compat_pin_user_pages_remote(mm, start, count, flags, pages, wait ? &locked : NULL);
	if (locked)
		mmap_read_unlock(mm);
	/* This may be the last user: the address space is then torn down asynchronously. */
	mmput_async(mm);
	if (!pinned)
		return wait ? -EFAULT : -EAGAIN;
	return pinned == -EEXIST ? -EFAULT : pinned == -EBUSY ? -EAGAIN : pinned;
}

void knem_unpin(struct page **pages, unsigned long count, bool dirty)
{
	unpin_user_pages_dirty_lock(pages, count, dirty);
}

/*
 * The direct map is linear, and all page structures are in one array (compat.h), so that addresses are computed from
 * the first page's.
 */
void knem_pages_to_addresses(u64 *words, unsigned long count)
{
	const struct page *first = (const struct page *)words[0];
	u64 base = (u64)knem_shim_page_address(first);

	for (; count; count--, words++)
		*words = base + ((const struct page *)*words - first) * PAGE_SIZE;
}

void knem_unpin_addresses(u64 *words, unsigned long count, bool dirty)
{
	struct page **pages = (struct page **)words, *first = virt_to_page((void *)words[0]);
	u64 base = words[0];
	unsigned long n;

	for (n = 0; n < count; n++)
		pages[n] = first + ((s64)(words[n] - base) >> PAGE_SHIFT);
	unpin_user_pages_dirty_lock(pages, count, dirty);
}

unsigned long knem_unpin_singles(const struct knem_extent *extents, unsigned long count, u64 offset, bool dirty)
{
	const struct knem_extent *extent = extents, *end = extents + count, *stop;
	u64 base = (extents->bias + offset) & PAGE_MASK;
	struct page *pages[16], *first = virt_to_page((void *)base), **page;

	do {
		page = pages;
		stop = extent + min_t(size_t, end - extent, ARRAY_SIZE(pages));
		for (; extent < stop; extent++) {
			u64 address = extent->bias + offset;

			if ((address & ~PAGE_MASK) + (extent->end - offset) > PAGE_SIZE)
				break;
			offset = extent->end;
			*page++ = first + ((s64)(address - base) >> PAGE_SHIFT);
		}
		if (page != pages)
			unpin_user_pages_dirty_lock(pages, page - pages, dirty);
		cond_resched();
	} while (extent == stop && extent < end);
	return extent - extents;
}

void knem_unpin_range(const void *address, unsigned long count, bool dirty)
{
	unpin_user_page_range_dirty_lock(virt_to_page(address), count, dirty);
}

const size_t knem_page_stride = sizeof(struct page);
