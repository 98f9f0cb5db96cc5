// SPDX-License-Identifier: CECILL-B
//! Buffers whose pages are where a measurement needs them.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{madvise, mmap_anonymous, MapFlags, MmapAdvise, ProtFlags};

/// Bytes in a page and in a huge page.
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

/// Mapped, faulted in, and never unmapped.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
}

impl Buffer {
    /// Maps `bytes` bytes, which start on a huge page's boundary.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub(crate) fn new(bytes: usize, kind: Pages) -> Self {
        let length = NonZeroUsize::new(bytes + 2 * HUGE).expect("not 0");
        // SAFETY: A fresh anonymous mapping overlaps nothing.
        let mapping = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
        }
        .expect("mapped")
        .cast::<u8>();
        let advice = if kind == Pages::Huge { MmapAdvise::MADV_HUGEPAGE } else { MmapAdvise::MADV_NOHUGEPAGE };
        // SAFETY: The advice changes no content.
        unsafe { madvise(mapping.cast(), length.get(), advice) }.expect("advised");
        let skip = mapping.as_ptr().align_offset(HUGE);
        // SAFETY: The mapping is two huge pages longer than the buffer.
        let start = unsafe { mapping.add(skip) };
        let pages = bytes.div_ceil(PAGE);
        for n in 0..pages {
            // 7919 is prime, and no number of pages here is a multiple of it: each page is touched once.
            let page = (n * 7919) % pages;
            // SAFETY: Within the buffer.
            let page = unsafe { start.add(page * PAGE) };
            // SAFETY: As above; nothing refers to it.
            unsafe { page.write_volatile(1) };
        }
        Self { start }
    }

    /// Address of the first byte.
    pub(crate) fn address(self) -> u64 {
        self.start.as_ptr() as u64
    }
}
