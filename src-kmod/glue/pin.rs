// SPDX-License-Identifier: GPL-2.0-only
//! Pinning user memory, batch by batch, and memory that stays pinned.

use crate::glue::account::Account;
use crate::glue::charge::{Charge, Payer, Terms};
use crate::glue::extents::Extents;
use crate::glue::segments::Segments;
use crate::glue::{ffi, task};
use crate::logic::extent;
use crate::logic::plan::Piece;
use crate::logic::refusal::Refusal;
use crate::logic::segment::{self, Cursor, Measure};
use crate::uapi::ParamIovec;
use kernel::bindings;
use kernel::mm::Mm;
use kernel::page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// As many pages are pinned at a time, 2 MiB; between batches the scheduler and signals are looked at.
pub(crate) const BATCH: usize = 512;
/// Pointers to as many pages are kept on the stack; buffers of up to 128 KiB need no other place.
pub(crate) const SMALL: usize = 32;

/// Room for pointers to pages.
pub(crate) struct Pages(KVec<*mut bindings::page>);

// SAFETY: The pointers are numbers, which may be used in any task.
unsafe impl Send for Pages {}
// SAFETY: As for `Send`.
unsafe impl Sync for Pages {}

impl Pages {
    /// Room for a batch, or for `pages` pages if that is less.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(pages: u64) -> Result<Self> {
        let count = usize::try_from(pages).unwrap_or(BATCH).min(BATCH);
        let mut room = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            room.push_within_capacity(core::ptr::null_mut()).map_err(|_| ENOMEM)?;
        }
        Ok(Self(room))
    }

    /// The room.
    pub(crate) fn as_mut(&mut self) -> &mut [*mut bindings::page] {
        self.0.as_mut_slice()
    }
}

/// How pages are pinned.
#[derive(Clone, Copy)]
pub(crate) enum How<'a> {
    /// Pages of the calling process, for as long as user space likes: the memory is moved out of areas that have to stay movable.
    Long,
    /// Pages of the calling process, while they are copied.
    Calling,
    /// Pages of any address space, while they are copied. `wait`: the calling task may wait for a page, or for the lock of the
    /// address space, until it is killed.
    Of { mm: &'a Mm, wait: bool },
}

/// Why no page was pinned.
pub(crate) enum Stop {
    /// The task would have to wait, and may not.
    Busy,
    /// The page cannot be pinned.
    Error(Error),
}

impl Stop {
    /// The error, for a task that may wait; EFAULT where it would have to all the same.
    pub(crate) fn or_fault(self) -> Error {
        match self {
            Self::Busy => EFAULT,
            Self::Error(error) => error,
        }
    }
}

impl How<'_> {
    /// Pins pages from an address on, as many as `pages` holds, and returns how many were pinned: at least one.
    fn pin(self, address: u64, writable: bool, pages: &mut [*mut bindings::page]) -> Result<usize, Stop> {
        let start = usize::try_from(address).map_err(|_| Stop::Error(EFAULT))? & PAGE_MASK;
        let count = c_int::try_from(pages.len()).unwrap_or(0);
        let got = match self {
            // SAFETY: `pages` has room for `count` pointers; the kernel checks the address.
            Self::Long => unsafe { ffi::knem_pin(start, count, writable, true, pages.as_mut_ptr()) },
            // SAFETY: As above.
            Self::Calling => unsafe { ffi::knem_pin(start, count, writable, false, pages.as_mut_ptr()) },
            // SAFETY: As above; the reference keeps the structure, and C checks whether its memory is still there.
            Self::Of { mm, wait } => unsafe {
                ffi::knem_pin_remote(mm.as_raw(), start, count, writable, wait, pages.as_mut_ptr())
            },
        };
        match usize::try_from(got) {
            Ok(0) => Err(Stop::Error(EFAULT)),
            Ok(got) => Ok(got.min(pages.len())),
            Err(_) => {
                let error = Error::from_errno(got);
                Err(if error == EAGAIN { Stop::Busy } else { Stop::Error(error) })
            }
        }
    }
}

/// A part of segments whose pages are pinned.
///
/// # Invariants
/// `pages` are the pages that the segments touch from `from` on, in that order, for `bytes` bytes; each is pinned as often as it
/// is in there.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    segments: &'a [ParamIovec],
    from: Cursor,
    bytes: u64,
    pages: &'a [*mut bindings::page],
}

impl<'a> Batch<'a> {
    /// Pins the memory of segments from a byte on: as much as `pages` has room for, `bytes` bytes at most, less where a later page
    /// cannot be pinned.
    pub(crate) fn pin(
        how: How<'_>,
        segments: &'a [ParamIovec],
        from: Cursor,
        bytes: u64,
        writable: bool,
        pages: &'a mut [*mut bindings::page],
    ) -> Result<Self, Stop> {
        let (mut count, mut covered) = (0usize, 0u64);
        'all: for mut piece in segment::pieces_from(segments, from, bytes) {
            while piece.len != 0 {
                let room = pages.get_mut(count..).unwrap_or(&mut []);
                let wanted = usize::try_from(segment::touched(piece, PAGE_SHIFT as u32)).unwrap_or(usize::MAX);
                let wanted = wanted.min(room.len());
                let Some(room) = room.get_mut(..wanted).filter(|room| !room.is_empty()) else { break 'all };
                let got = match how.pin(piece.addr, writable, room) {
                    Ok(got) => got,
                    Err(stop) if count == 0 => return Err(stop),
                    Err(_) => break 'all,
                };
                let len = reach(piece, got);
                count = count.saturating_add(got);
                covered = covered.saturating_add(len);
                piece = Piece { addr: piece.addr.wrapping_add(len), len: piece.len.saturating_sub(len) };
            }
        }
        // INVARIANT: Just pinned.
        Ok(Self { segments, from, bytes: covered, pages: pages.get(..count).unwrap_or(&[]) })
    }

    /// Number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of pages.
    pub(crate) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// The memory, as addresses of the direct map, each with the number of pages that it is on.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (Piece, usize)> + 'a {
        let (mut user, mut current) = (segment::pieces_from(self.segments, self.from, self.bytes), Piece::default());
        let mut pages = self.pages;
        core::iter::from_fn(move || {
            if current.len == 0 {
                current = user.next()?;
            }
            let touched = usize::try_from(segment::touched(current, PAGE_SHIFT as u32)).unwrap_or(usize::MAX);
            let run = contiguous(pages.get(..touched.min(pages.len())).unwrap_or(&[]))?;
            let first = *run.first()?;
            let len = reach(current, run.len());
            // SAFETY: A pinned page, of ordinary memory.
            let address = unsafe { ffi::knem_shim_page_address(first) } as u64;
            let piece = Piece { addr: address | (current.addr & (PAGE_SIZE as u64 - 1)), len };
            current = Piece { addr: current.addr.wrapping_add(len), len: current.len.saturating_sub(len) };
            pages = pages.get(run.len()..).unwrap_or(&[]);
            Some((piece, run.len()))
        })
    }

    /// Unpins the pages, as changed ones if they are `dirty`.
    pub(crate) fn unpin(self, dirty: bool) {
        release(self.pages, dirty);
    }
}

/// How many bytes of a piece are on its first `pages` pages.
fn reach(piece: Piece, pages: usize) -> u64 {
    let within = piece.addr & (PAGE_SIZE as u64 - 1);
    (pages as u64).saturating_mul(PAGE_SIZE as u64).saturating_sub(within).min(piece.len)
}

/// Why memory does not stay pinned.
pub(crate) enum Refused {
    /// A limit forbids it.
    Limit(Refusal),
    /// It cannot be pinned, at least not for long.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Memory that stays pinned until this is dropped.
///
/// # Invariants
/// Every page that an extent touches is pinned once for it (`FOLL_PIN`), for writing if `writable`, and the extents'
/// addresses are those of the direct map.
pub(crate) struct Pinned {
    extents: Extents,
    writable: bool,
    /// First and last byte, plus one, that may have been written; nothing as long as the first is after the last.
    written: (Atomic<u64>, Atomic<u64>),
    charge: Charge,
}

impl Pinned {
    /// Pins the memory of all segments, for reading or also for writing, and accounts it to the calling process.
    ///
    /// # Errors
    /// [`Refused::Limit`] as [`Charge::add`]; ENOMEM; EFAULT if a page cannot be pinned so; EINTR if the caller is killed;
    /// others as the kernel's `pin_user_pages_fast()`. Nothing stays pinned then.
    pub(crate) fn new(account: &Account, segments: &Segments, writable: bool) -> Result<Self, Refused> {
        let mut terms = Terms::calling();
        let Measure { bytes, pages } = segments.measure();
        if terms.forbid(pages) {
            return Err(Refused::Limit(Refusal::PinLimit));
        }
        // INVARIANT: Nothing is pinned, and there are no extents.
        let mut pinned = Self {
            extents: Extents::new(),
            writable,
            written: (Atomic::new(u64::MAX), Atomic::new(0)),
            charge: Charge::new(Some(Payer::calling(account)?)),
        };
        let mut small = [core::ptr::null_mut(); SMALL];
        let mut large;
        let room: &mut [*mut bindings::page] = if pages <= SMALL as u64 {
            &mut small
        } else {
            large = Pages::new(pages)?;
            large.as_mut()
        };
        let (mut from, mut left) = (Cursor::default(), bytes);
        while left != 0 {
            let pieces = segment::pieces_from(segments.as_slice(), from, left);
            let expected = segment::touched_by(pieces, PAGE_SHIFT as u32, room.len() as u64);
            pinned.charge.add(&mut terms, expected).map_err(Refused::Limit)?;
            let batch = Batch::pin(How::Long, segments.as_slice(), from, left, writable, room);
            let batch = batch.map_err(|stop| match stop {
                Stop::Busy => EAGAIN,
                Stop::Error(error) => error,
            })?;
            pinned.charge.remove(expected.saturating_sub(batch.count()));
            pinned.take(batch)?;
            let covered = batch.bytes();
            from = from.after(segments.as_slice(), covered);
            left = left.saturating_sub(covered);
            if left != 0 {
                if task::killed() {
                    return Err(EINTR.into());
                }
                task::resched();
            }
        }
        pinned.extents.trim();
        Ok(pinned)
    }

    /// Takes over freshly pinned pages.
    fn take(&mut self, batch: Batch<'_>) -> Result {
        let mut taken = 0usize;
        for (piece, pages) in batch.pieces() {
            // INVARIANT: The pages of the piece follow each other, and each is pinned once, for the extent that gets them.
            if let Err(error) = self.extents.append(piece) {
                release(batch.pages.get(taken..).unwrap_or(&[]), false);
                return Err(error);
            }
            taken = taken.saturating_add(pages);
        }
        Ok(())
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
    let stride = ffi::knem_page_stride;
    let follows = |page: &&*mut bindings::page| {
        let follows = **page == previous.wrapping_byte_add(stride);
        previous = **page;
        follows
    };
    let count = pages.iter().skip(1).take_while(follows).count().saturating_add(1);
    pages.get(..count)
}

/// Unpins pages that no extent has.
fn release(pages: &[*mut bindings::page], dirty: bool) {
    // SAFETY: Each was pinned, and is unpinned here once. The function does not change the array.
    unsafe { ffi::knem_unpin(pages.as_ptr().cast_mut(), pages.len() as c_ulong, dirty) };
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
