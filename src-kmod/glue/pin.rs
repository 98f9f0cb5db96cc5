// SPDX-License-Identifier: GPL-2.0-only
//! Pins user memory, batch by batch, and keeps memory pinned.

use crate::glue::account::Account;
use crate::glue::charge::{Charge, Payer, Terms};
use crate::glue::extents::Extents;
use crate::glue::segments::Segments;
use crate::glue::{ffi, task};
use crate::logic::extent::{self, Extent};
use crate::logic::refusal::Refusal;
use crate::logic::segment::{self, Cursor, Measure};
use crate::logic::steps::Piece;
use crate::uapi::ParamIovec;
use core::mem::MaybeUninit;
use kernel::bindings;
use kernel::mm::Mm;
use kernel::page::{PAGE_MASK, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// Number of pages that are pinned at a time, 2 MiB; the scheduler and signals are checked between batches.
pub(crate) const BATCH: usize = 512;
/// Number of contiguous pages that are a long run.
const LONG: usize = 8;
/// Number of page pointers that are kept on the stack; buffers of up to 128 KiB need no other memory.
pub(crate) const SMALL: usize = 32;

/// Memory for a pointer to a page. The kernel writes it before it is read.
pub(crate) type Slot = MaybeUninit<*mut bindings::page>;

/// Memory for [`SMALL`] page pointers, to be kept on the stack.
pub(crate) const FEW: [Slot; SMALL] = [Slot::uninit(); SMALL];

/// Memory for the page pointers of a batch.
pub(crate) struct Pages(KBox<MaybeUninit<[*mut bindings::page; BATCH]>>);

// SAFETY: The pointers are only numbers here, which any task may use.
unsafe impl Send for Pages {}
// SAFETY: The pointers can only be accessed through an exclusive reference.
unsafe impl Sync for Pages {}

impl Pages {
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(KBox::new_uninit(GFP_KERNEL_ACCOUNT)?))
    }

    /// Returns the memory as slots.
    pub(crate) fn as_mut(&mut self) -> &mut [Slot] {
        // SAFETY: The box has memory for `BATCH` pointers and is borrowed exclusively; slots need no initialisation.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), BATCH) }
    }
}

/// How pages are pinned.
#[derive(Clone, Copy)]
pub(crate) enum How<'a> {
    /// Pages of the calling process, for an unbounded time: the kernel moves them out of memory that must stay movable.
    Long,
    /// Pages of the calling process, while they are copied.
    Calling,
    /// Pages of any address space, while they are copied. With `wait`, the calling task may wait for a page, or for the
    /// lock of the address space, until it is killed.
    Of { mm: &'a Mm, wait: bool },
}

/// Why no page was pinned.
pub(crate) enum Stop {
    /// The task would have to wait, which it must not.
    Busy,
    /// The page cannot be pinned.
    Error(Error),
}

impl Stop {
    /// Returns the error for a task that may wait; EFAULT if it would have to wait nevertheless.
    pub(crate) fn or_fault(self) -> Error {
        match self {
            Self::Busy => EFAULT,
            Self::Error(error) => error,
        }
    }
}

impl How<'_> {
    /// Pins pages from an address on, as many as `pages` holds. Returns how many were pinned, at least one; this many
    /// slots are initialised.
    fn pin(self, address: u64, writable: bool, pages: &mut [Slot]) -> Result<usize, Stop> {
        let start = usize::try_from(address).map_err(|_| Stop::Error(EFAULT))? & PAGE_MASK;
        let count = c_int::try_from(pages.len()).unwrap_or(0);
        let got = match self {
            // SAFETY: `pages` has memory for `count` pointers, and the kernel checks the address.
            Self::Long => unsafe { ffi::knem_pin(start, count, writable, true, pages.as_mut_ptr().cast()) },
            // SAFETY: As above, `pages` has memory for `count` pointers, and the kernel checks the address.
            Self::Calling => unsafe { ffi::knem_pin(start, count, writable, false, pages.as_mut_ptr().cast()) },
            // SAFETY: As above. `mm` is a reference that keeps the structure, and C checks whether the address space
            // still exists.
            Self::Of { mm, wait } => unsafe {
                ffi::knem_pin_remote(mm.as_raw(), start, count, writable, wait, pages.as_mut_ptr().cast())
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
/// `pages` are the pages that the segments touch from `from` on for `bytes` bytes, in that order. Each is pinned as
/// often as it occurs there.
pub(crate) struct Batch<'a> {
    segments: &'a [ParamIovec],
    from: Cursor,
    bytes: u64,
    pages: &'a mut [*mut bindings::page],
}

impl<'a> Batch<'a> {
    /// Pins the memory of segments from a byte on: as many pages as `pages` holds and `bytes` bytes at most, fewer if a
    /// later page cannot be pinned.
    pub(crate) fn pin(
        how: How<'_>,
        segments: &'a [ParamIovec],
        from: Cursor,
        bytes: u64,
        writable: bool,
        pages: &'a mut [Slot],
    ) -> Result<Self, Stop> {
        let (mut count, mut covered) = (0usize, 0u64);
        'all: for mut piece in segment::pieces_from(segments, from, bytes) {
            while piece.len != 0 {
                let buffer = pages.get_mut(count..).unwrap_or(&mut []);
                let wanted = usize::try_from(segment::touched(piece, PAGE_SHIFT as u32)).unwrap_or(usize::MAX);
                let wanted = wanted.min(buffer.len());
                let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else { break 'all };
                let got = match how.pin(piece.addr, writable, buffer) {
                    Ok(got) => got,
                    Err(stop) if count == 0 => return Err(stop),
                    Err(_) => break 'all,
                };
                let len = reach(piece, got);
                count = count.saturating_add(got);
                covered = covered.saturating_add(len);
                piece = after(piece, len);
            }
        }
        let pages = pages.get_mut(..count).unwrap_or(&mut []);
        // SAFETY: `How::pin` initialised the first `count` slots, which have the layout of a pointer and stay borrowed
        // exclusively.
        let pages = unsafe { core::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), pages.len()) };
        // INVARIANT: The pages were pinned just now, in the order of the segments.
        Ok(Self { segments, from, bytes: covered, pages })
    }

    /// Number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of pages.
    pub(crate) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// The memory, as addresses of the direct map.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let (mut user, mut current) = (segment::pieces_from(self.segments, self.from, self.bytes), Piece::default());
        let mut pages: &[*mut bindings::page] = self.pages;
        core::iter::from_fn(move || {
            if current.len == 0 {
                current = user.next()?;
            }
            let touched = usize::try_from(segment::touched(current, PAGE_SHIFT as u32)).unwrap_or(usize::MAX);
            let run = contiguous(pages.get(..touched.min(pages.len())).unwrap_or(&[]))?;
            let first = *run.first()?;
            let len = reach(current, run.len());
            // SAFETY: The page is pinned, hence its structure is valid and it is in the direct map.
            let address = unsafe { ffi::knem_shim_page_address(first) } as u64;
            let piece = Piece { addr: address | (current.addr & (PAGE_SIZE as u64 - 1)), len };
            current = after(current, len);
            pages = pages.get(run.len()..).unwrap_or(&[]);
            Some(piece)
        })
    }

    /// Unpins the pages, and marks them dirty if `dirty`. Must be called once, at the end.
    pub(crate) fn unpin(&mut self, dirty: bool) {
        // SAFETY: By the invariant each page was pinned, and this is called once. C does not change the array.
        unsafe { ffi::knem_unpin(self.pages.as_mut_ptr(), self.pages.len() as c_ulong, dirty) };
    }
}

/// Returns the rest of a piece after its first `len` bytes.
fn after(piece: Piece, len: u64) -> Piece {
    Piece { addr: piece.addr.wrapping_add(len), len: piece.len.saturating_sub(len) }
}

/// Returns how many bytes of a piece are on its first `pages` pages.
fn reach(piece: Piece, pages: usize) -> u64 {
    let within = piece.addr & (PAGE_SIZE as u64 - 1);
    (pages as u64).saturating_mul(PAGE_SIZE as u64).saturating_sub(within).min(piece.len)
}

/// Why memory does not stay pinned.
pub(crate) enum Refused {
    /// A limit forbids it.
    Limit(Refusal),
    /// It cannot be pinned, or not for an unbounded time.
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
    /// The first byte that may have been written, and the last one plus one. None was as long as the first is not less
    /// than the second.
    written: (Atomic<u64>, Atomic<u64>),
    charge: Charge,
}

impl Pinned {
    /// Creates empty memory, for reading or also for writing, that is charged to the calling process.
    ///
    /// # Errors
    /// As [`Payer::calling`].
    #[inline]
    pub(crate) fn none(account: &Account, writable: bool) -> Result<Self> {
        let charge = Charge::new(Some(Payer::calling(account)?));
        // INVARIANT: There are no extents, hence no page that must be pinned.
        Ok(Self { extents: Extents::new(), writable, written: (Atomic::new(u64::MAX), Atomic::new(0)), charge })
    }

    /// Pins the memory of all segments and charges it to the calling process, which must be the one that called
    /// [`Pinned::none`]. Must be called once.
    ///
    /// # Errors
    /// [`Refused::Limit`] as [`Charge::add`]; ENOMEM; EFAULT if a page cannot be pinned for the access; EINTR if the
    /// caller is killed; others as the kernel's `pin_user_pages_fast()`. Nothing stays pinned then.
    pub(crate) fn fill(&mut self, segments: &Segments) -> Result<(), Refused> {
        let filled = self.pin(segments);
        if filled.is_err() {
            self.unpin();
        }
        filled
    }

    /// As [`Pinned::fill`], but after an error what was pinned stays pinned.
    fn pin(&mut self, segments: &Segments) -> Result<(), Refused> {
        let mut terms = Terms::calling();
        let Measure { bytes, pages } = segments.measure();
        // A single batch is refused when it is charged.
        if pages > BATCH as u64 && terms.forbid(pages) {
            return Err(Refused::Limit(Refusal::PinLimit));
        }
        let mut small = FEW;
        let mut large;
        let buffer = if pages <= SMALL as u64 {
            &mut small
        } else {
            large = Pages::new()?;
            large.as_mut()
        };
        let (mut from, mut left) = (Cursor::default(), bytes);
        while left != 0 {
            let most = buffer.len() as u64;
            let expected = if left == bytes {
                pages.min(most)
            } else {
                let pieces = segment::pieces_from(segments.as_slice(), from, left);
                segment::touched_by(pieces, PAGE_SHIFT as u32, most)
            };
            self.charge.add(&mut terms, expected).map_err(Refused::Limit)?;
            let batch = Batch::pin(How::Long, segments.as_slice(), from, left, self.writable, buffer);
            let batch = batch.map_err(|stop| match stop {
                Stop::Busy => EAGAIN,
                Stop::Error(error) => error,
            })?;
            if batch.count() < expected {
                self.charge.remove(expected.saturating_sub(batch.count()));
            }
            let covered = batch.bytes();
            self.take(batch)?;
            left = left.saturating_sub(covered);
            if left != 0 {
                from = from.after(segments.as_slice(), covered);
                if task::killed() {
                    return Err(EINTR.into());
                }
                task::resched();
            }
        }
        self.extents.trim();
        Ok(())
    }

    /// Unpins all.
    fn unpin(&mut self) {
        let written = (self.written.0.load(Relaxed), self.written.1.load(Relaxed));
        // INVARIANT: The list is empty from here on, so that no page must be pinned for it.
        let gone = core::mem::replace(&mut self.extents, Extents::new());
        unpin_all(gone.as_slice(), written);
        self.charge.remove(u64::MAX);
    }

    /// Adds the pages of a batch, which were pinned just now.
    fn take(&mut self, batch: Batch<'_>) -> Result {
        let Batch { segments, from, bytes, pages: mut pointers } = batch;
        let (mut pieces, mut piece) = (segment::pieces_from(segments, from, bytes), Piece::default());
        // Long runs, as of huge pages, are added without computing each page's address.
        loop {
            if piece.len == 0 {
                let Some(next) = pieces.next() else { return Ok(()) };
                piece = next;
            }
            let touched = usize::try_from(segment::touched(piece, PAGE_SHIFT as u32)).unwrap_or(usize::MAX);
            let Some(run) = contiguous(pointers.get(..touched.min(pointers.len())).unwrap_or(&[])) else {
                return Ok(());
            };
            let (Some(first), count) = (run.first().copied(), run.len()) else { return Ok(()) };
            if count < LONG {
                break;
            }
            // SAFETY: The page is pinned, hence its structure is valid and it is in the direct map.
            let address = unsafe { ffi::knem_shim_page_address(first) } as u64;
            let memory = Piece { addr: address | (piece.addr & (PAGE_SIZE as u64 - 1)), len: reach(piece, count) };
            // INVARIANT: The pages of the piece are contiguous, and each was pinned once, for the extent that gets it.
            if let Err(error) = self.extents.append(memory, 1) {
                release(addresses(pointers), false);
                return Err(error);
            }
            piece = after(piece, memory.len);
            pointers = pointers.get_mut(count..).unwrap_or(&mut []);
        }
        let mut pages = addresses(pointers);
        for mut piece in Iterator::chain(core::iter::once(piece), pieces) {
            while piece.len != 0 {
                let taken = self.take_some(piece, pages).inspect_err(|_| release(pages, false))?;
                piece = after(piece, reach(piece, taken));
                pages = pages.get_mut(taken..).unwrap_or(&mut []);
            }
        }
        Ok(())
    }

    /// Adds pages from the start of a piece of user memory, given by their addresses. Returns how many.
    fn take_some(&mut self, piece: Piece, pages: &[u64]) -> Result<usize> {
        let within = piece.addr & (PAGE_SIZE as u64 - 1);
        let whole = usize::try_from(piece.len >> PAGE_SHIFT).unwrap_or(usize::MAX).min(pages.len());
        if within == 0 && whole != 0 && self.extents() != 0 {
            // INVARIANT: Each page was pinned once, for the extent that gets it.
            return match self.extents.append_pages(pages.get(..whole).unwrap_or(&[])) {
                0 => Err(ENOMEM),
                taken => Ok(taken),
            };
        }
        let first = pages.first().copied().ok_or(EFAULT)?;
        // INVARIANT: The page was pinned once, for the extent that gets it.
        self.extents.append(Piece { addr: first | within, len: reach(piece, 1) }, pages.len())?;
        Ok(1)
    }

    /// Number of extents.
    pub(crate) fn extents(&self) -> usize {
        self.extents.as_slice().len()
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        self.extents.length()
    }

    /// Returns the memory from byte `offset` on, as addresses of the direct map.
    pub(crate) fn pieces(&self, offset: u64) -> extent::Pieces<'_> {
        extent::pieces(self.extents.as_slice(), offset)
    }

    /// Whether the memory may be written.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// Records that `bytes` bytes from `offset` on are about to be written, so that their pages are marked dirty when
    /// they are unpinned.
    pub(crate) fn mark_written(&self, offset: u64, bytes: u64) {
        // If nothing changes, CPUs keep sharing the cache line.
        move_to(&self.written.0, offset, |new, old| new < old);
        move_to(&self.written.1, offset.saturating_add(bytes), |new, old| new > old);
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        unpin_all(self.extents.as_slice(), (self.written.0.load(Relaxed), self.written.1.load(Relaxed)));
    }
}

/// Unpins the pages of extents whose owner gives them up. `written` as for [`extent::by_dirt`].
fn unpin_all(extents: &[Extent], written: (u64, u64)) {
    if written.0 >= written.1 {
        unpin_part(extents, 0, written, false);
        return;
    }
    let mut offset = 0u64;
    // Iterated by reference, since an array's own iterator contains a panic.
    for &(part, dirty) in &extent::by_written(extents, written) {
        offset = unpin_part(part, offset, written, dirty);
    }
}

/// Unpins extents. If `dirty`, each of them has bytes that were written; otherwise none has. Returns the offset after
/// them.
fn unpin_part(mut extents: &[Extent], mut offset: u64, written: (u64, u64), dirty: bool) -> u64 {
    while !extents.is_empty() {
        // SAFETY: By the invariant of `Pinned` each page was pinned once for its extent, and no request uses the pages
        // any more, since the owner of the extents gives them up. C reads `extents.len()` extents.
        let count = unsafe { ffi::knem_unpin_singles(extents.as_ptr(), extents.len() as c_ulong, offset, dirty) };
        offset = count.checked_sub(1).and_then(|last| extents.get(last)).map_or(offset, Extent::end);
        extents = extents.get(count..).unwrap_or(&[]);
        let Some((first, rest)) = extents.split_first() else { break };
        for (pages, dirty) in extent::by_dirt(first.piece(offset), offset, written, PAGE_SIZE as u64) {
            unpin(pages, dirty);
        }
        (extents, offset) = (rest, first.end());
    }
    offset
}

/// Returns the longest run of contiguous pages at the start of `pages`, or `None` if there are no pages.
///
/// All page structures are in one array (`compat.h`). Neighbours in it are neighbours in memory, so that no page
/// structure has to be read.
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

/// Replaces pointers to pinned pages by the pages' addresses in the direct map.
fn addresses<'a>(pages: &'a mut [*mut bindings::page]) -> &'a mut [u64] {
    let words: *mut u64 = pages.as_mut_ptr().cast();
    if !pages.is_empty() {
        // SAFETY: The slice has `len` pointers to pinned pages, which are in the direct map. A pointer is as large as a
        // number.
        unsafe { ffi::knem_pages_to_addresses(words, pages.len() as c_ulong) };
    }
    // SAFETY: C has replaced all `len` pointers by numbers of the same size, and the slice stays borrowed exclusively.
    unsafe { core::slice::from_raw_parts_mut(words, pages.len()) }
}

/// Unpins pages by their addresses, which this destroys.
fn release(pages: &mut [u64], dirty: bool) {
    if !pages.is_empty() {
        // SAFETY: Each page was pinned for the batch, and is unpinned here once because the caller drops the addresses.
        unsafe { ffi::knem_unpin_addresses(pages.as_mut_ptr(), pages.len() as c_ulong, dirty) };
        task::resched();
    }
}

/// Moves a bound to `new` if that is `beyond` the old one.
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
        // SAFETY: By the invariant of `Pinned` these pages are contiguous and were pinned once for this extent. Nothing
        // uses them any more, since the owner of the extent gives it up.
        unsafe { ffi::knem_unpin_range(address as *const c_void, count as c_ulong, dirty) };
        task::resched();
        pages = pages.saturating_sub(count);
        address = address.wrapping_add(count.saturating_mul(PAGE_SIZE as u64));
    }
}
