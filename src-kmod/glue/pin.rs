// SPDX-License-Identifier: GPL-2.0-only
//! Pinning a caller's memory, and what is pinned.

use crate::glue::charge::Charge;
use crate::glue::extents::Extents;
use crate::glue::segments::Segments;
use crate::glue::{ffi, task};
use crate::logic::extent;
use crate::logic::plan::Piece;
use kernel::bindings;
use kernel::page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// As many pages are pinned at a time, 2 MiB; between batches the scheduler and signals are looked at.
const BATCH: usize = 512;
/// Pointers to as many pages are kept on the stack; buffers of up to 128 KiB need no other place.
const SMALL: usize = 32;

/// How long memory is to stay pinned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as user space likes: the memory is moved out of areas that have to stay movable, and accounted to
    /// the process.
    Region,
    /// Until the request that pins it is done.
    Request,
}

/// Pinned memory, unpinned when this is dropped.
///
/// # Invariants
/// Every page that an extent touches is pinned once for it (`FOLL_PIN`), for writing if `writable`, and the extents'
/// addresses are those of the direct map.
pub(crate) struct Pinned {
    extents: Extents,
    writable: bool,
    /// First and last byte, plus one, that may have been written; nothing as long as the first is after the last.
    written: (Atomic<u64>, Atomic<u64>),
    _charge: Charge,
}

impl Pinned {
    /// Pins the memory of all segments, for reading or also for writing.
    ///
    /// # Errors
    /// ENOMEM as [`Charge`], or where there is no memory; EFAULT if a page cannot be had so; EINTR if the caller is
    /// killed; others as the kernel's `pin_user_pages_fast()`. Nothing stays pinned then.
    pub(crate) fn new(segments: &Segments, writable: bool, lifetime: Lifetime) -> Result<Self> {
        let pages = segments.measure().pages;
        let charge = match lifetime {
            Lifetime::Region => Charge::region(pages)?,
            Lifetime::Request => Charge::request(pages)?,
        };
        // INVARIANT: Nothing is pinned, and there are no extents.
        let mut pinned = Self {
            extents: Extents::new(),
            writable,
            written: (Atomic::new(u64::MAX), Atomic::new(0)),
            _charge: charge,
        };
        let mut small = [core::ptr::null_mut(); SMALL];
        let mut large = KVec::new();
        let batch: &mut [*mut bindings::page] = if pages <= SMALL as u64 {
            &mut small
        } else {
            large = KVec::with_capacity(BATCH, GFP_KERNEL_ACCOUNT)?;
            for _ in 0..BATCH {
                large.push_within_capacity(core::ptr::null_mut()).map_err(|_| ENOMEM)?;
            }
            large.as_mut_slice()
        };
        for segment in segments.as_slice() {
            let piece = Piece { addr: segment.base, len: segment.len };
            pinned.pin(piece, lifetime, batch)?;
        }
        drop(large);
        pinned.extents.trim();
        Ok(pinned)
    }

    /// Pins one segment.
    fn pin(&mut self, mut piece: Piece, lifetime: Lifetime, batch: &mut [*mut bindings::page]) -> Result {
        let longterm = lifetime == Lifetime::Region;
        let space = task::space();
        while piece.len != 0 {
            let segment = crate::uapi::ParamIovec { base: piece.addr, len: piece.len };
            let (_, pages) = space.pages(&segment)?;
            let wanted = usize::try_from(pages).unwrap_or(usize::MAX).min(batch.len());
            let start = usize::try_from(piece.addr).map_err(|_| EFAULT)? & PAGE_MASK;
            // SAFETY: `batch` has room for `wanted` pointers; the kernel checks the address.
            let got = unsafe { ffi::knem_pin(start, wanted as c_int, self.writable, longterm, batch.as_mut_ptr()) };
            let got = match usize::try_from(got) {
                Err(_) => return Err(Error::from_errno(got)),
                Ok(0) => return Err(EFAULT),
                Ok(got) => got,
            };
            let pages = batch.get(..got).ok_or(EFAULT)?;
            piece = self.take(piece, pages)?;
            if piece.len != 0 {
                if task::killed() {
                    return Err(EINTR);
                }
                task::resched();
            }
        }
        Ok(())
    }

    /// Takes over freshly pinned pages, which hold the first part of `piece`; returns what is left of that.
    fn take(&mut self, mut piece: Piece, mut pages: &[*mut bindings::page]) -> Result<Piece> {
        while let Some(run) = contiguous(pages) {
            let within = piece.addr & (PAGE_SIZE as u64 - 1);
            let len = (run.len() as u64).saturating_mul(PAGE_SIZE as u64).saturating_sub(within).min(piece.len);
            let Some(&first) = run.first() else { break };
            // SAFETY: A pinned page, of ordinary memory.
            let address = unsafe { ffi::knem_shim_page_address(first) } as u64;
            // INVARIANT: The pages of the run are contiguous, and each is pinned once, for the extent that gets them.
            if let Err(error) = self.extents.append(Piece { addr: address | within, len }) {
                release(pages);
                return Err(error);
            }
            piece = Piece { addr: piece.addr.wrapping_add(len), len: piece.len.saturating_sub(len) };
            pages = pages.get(run.len()..).unwrap_or(&[]);
        }
        Ok(piece)
    }

    /// Number of extents.
    pub(crate) fn extents(&self) -> usize {
        self.extents.as_slice().len()
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        self.extents.length()
    }

    /// The memory from byte `offset` on, as addresses of the direct map.
    pub(crate) fn pieces(&self, offset: u64) -> extent::Pieces<'_> {
        extent::pieces(self.extents.as_slice(), offset)
    }

    /// Whether the memory may be written.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Says that `bytes` bytes from `offset` on are about to be written, so that their pages are marked dirty when they
    /// are unpinned.
    pub(crate) fn mark_written(&self, offset: u64, bytes: u64) {
        // Where nothing changes, the line stays shared between processors.
        move_to(&self.written.0, offset, |new, old| new < old);
        move_to(&self.written.1, offset.saturating_add(bytes), |new, old| new > old);
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let written = (self.written.0.load(Relaxed), self.written.1.load(Relaxed));
        let mut offset = 0u64;
        for piece in extent::pieces(self.extents.as_slice(), 0) {
            for (pages, dirty) in extent::by_dirt(piece, offset, written, PAGE_SIZE as u64) {
                unpin(pages, dirty);
            }
            offset = offset.saturating_add(piece.len);
        }
    }
}

/// The longest run of pages at the start of `pages` that follow each other in memory; `None` if there are no pages.
///
/// All page structures are one array (`compat.h`): neighbours in it are neighbours in memory, and no page has to be looked at.
fn contiguous(pages: &[*mut bindings::page]) -> Option<&[*mut bindings::page]> {
    let mut previous = *pages.first()?;
    // SAFETY: A constant of the kernel's configuration.
    let stride = unsafe { ffi::knem_page_stride };
    let follows = |page: &&*mut bindings::page| {
        let follows = **page == previous.wrapping_byte_add(stride);
        previous = **page;
        follows
    };
    let count = pages.iter().skip(1).take_while(follows).count().saturating_add(1);
    pages.get(..count)
}

/// Unpins pages that no extent has.
fn release(pages: &[*mut bindings::page]) {
    // SAFETY: Each was pinned, and is unpinned here once. The function does not change the array.
    unsafe { ffi::knem_unpin(pages.as_ptr().cast_mut(), pages.len()) };
}

/// Changes a bound, where `beyond` says that the new one is.
fn move_to(bound: &Atomic<u64>, new: u64, beyond: impl Fn(u64, u64) -> bool) {
    let mut old = bound.load(Relaxed);
    while beyond(new, old) {
        match bound.cmpxchg(old, new, Relaxed) {
            Ok(_) => break,
            Err(now) => old = now,
        }
    }
}

/// Unpins whole pages of an extent.
fn unpin(whole: Piece, dirty: bool) {
    let (mut address, mut pages) = (whole.addr, whole.len >> PAGE_SHIFT);
    while pages != 0 {
        let count = pages.min(BATCH as u64);
        // SAFETY: By the invariant of `Pinned` these pages follow each other in memory and were pinned once for
        // this extent; nobody uses them any more, as its owner is being dropped.
        unsafe { ffi::knem_unpin_range(address as *const c_void, count as c_ulong, dirty) };
        task::resched();
        pages = pages.saturating_sub(count);
        address = address.wrapping_add(count.saturating_mul(PAGE_SIZE as u64));
    }
}
