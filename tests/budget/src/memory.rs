// SPDX-License-Identifier: CECILL-B
//! Buffers with the physical layout that a measurement needs.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{madvise, mmap_anonymous, MapFlags, MmapAdvise, ProtFlags};

/// Sizes of a page and of a huge page in bytes.
pub(crate) const PAGE: usize = 4096;
const HUGE: usize = 2 << 20;

/// Size and kind of the pages below a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Pages of 4 KiB, faulted in such an order that neighbours are seldom contiguous in physical memory.
    Scattered,
    /// Transparent huge pages.
    Huge,
}

/// A buffer that is mapped, faulted in, and never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
}

impl Buffer {
    /// Maps `bytes` bytes that start at a huge page boundary.
    ///
    /// # Panics
    /// If there is no memory.
    pub(crate) fn new(bytes: usize, kind: Pages) -> Self {
        let length = NonZeroUsize::new(bytes + 2 * HUGE).expect("not 0");
        // SAFETY: The kernel chooses the address of the anonymous mapping, so that it overlaps no other one.
        let mapping = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
        }
        .expect("mapped")
        .cast::<u8>();
        let advice = if kind == Pages::Huge { MmapAdvise::MADV_HUGEPAGE } else { MmapAdvise::MADV_NOHUGEPAGE };
        // SAFETY: The range is the mapping above, and the advice does not change its contents.
        unsafe { madvise(mapping.cast(), length.get(), advice) }.expect("advised");
        let skip = mapping.as_ptr().align_offset(HUGE);
        // SAFETY: The offset is less than a huge page, and the mapping is two huge pages longer than the buffer.
        let start = unsafe { mapping.add(skip) };
        let pages = bytes.div_ceil(PAGE);
        for n in 0..pages {
            // 7919 is prime, and no number of pages here is a multiple of it: each page is touched once.
            let page = (n * 7919) % pages;
            // SAFETY: The page number is less than the number of pages, so that the address is within the buffer.
            let page = unsafe { start.add(page * PAGE) };
            // SAFETY: As above, the address is within the buffer, and no reference to its bytes exists.
            unsafe { page.write_volatile(1) };
        }
        Self { start }
    }

    /// Returns the address of the first byte.
    pub(crate) fn address(self) -> u64 {
        self.start.as_ptr() as u64
    }
}
