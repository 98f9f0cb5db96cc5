// SPDX-License-Identifier: GPL-2.0-only
//! A list of extents, in place while it is short.

use crate::logic::extent::{self, Append, Extent};
use crate::logic::plan::Piece;
use core::mem::MaybeUninit;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// As many extents are kept without an allocation of their own: a contiguous or small buffer.
const INLINE: usize = 4;

/// Extents in order, without gaps.
///
/// # Invariants
/// The first `count` places are initialised, and there are as many.
pub(crate) struct Extents {
    /// The places, unless there are others.
    inline: [MaybeUninit<Extent>; INLINE],
    /// Memory for places, if it is memory for any. Its length is always 0: to count twice takes instructions.
    heap: KVVec<Extent>,
    count: usize,
}

impl Extents {
    /// No extents.
    pub(crate) const fn new() -> Self {
        // INVARIANT: None is needed.
        Self { inline: [MaybeUninit::uninit(); INLINE], heap: KVVec::new(), count: 0 }
    }

    /// The extents.
    pub(crate) fn as_slice(&self) -> &[Extent] {
        let start = if self.heap.capacity() == 0 { self.inline.as_ptr().cast() } else { self.heap.as_ptr() };
        // SAFETY: As many places are there and initialised, by the invariant.
        unsafe { core::slice::from_raw_parts(start, self.count) }
    }

    /// All places.
    fn places(&mut self) -> &mut [MaybeUninit<Extent>] {
        if self.heap.capacity() == 0 {
            return &mut self.inline;
        }
        // SAFETY: As much memory, of which nothing else refers to anything, and places need no initialisation.
        unsafe { core::slice::from_raw_parts_mut(self.heap.as_mut_ptr().cast(), self.heap.capacity()) }
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        extent::length(self.as_slice())
    }

    /// Adds a piece of the direct map at the end, the first of at most `more`.
    ///
    /// # Errors
    /// ENOMEM; the list is unchanged then.
    pub(crate) fn append(&mut self, piece: Piece, more: usize) -> Result {
        let last = self.as_slice().last().copied();
        let place = match extent::append(last, piece, PAGE_SIZE as u64).ok_or(ENOMEM)? {
            Append::Grow(grown) => self.count.checked_sub(1).map(|last| (last, grown)),
            Append::Push(extent) => {
                self.reserve(more)?;
                Some((self.count, extent))
            }
        };
        if let Some((index, extent)) = place {
            if let Some(place) = self.places().get_mut(index) {
                place.write(extent);
                // INVARIANT: Just written; where it was the last one there are no more than before.
                self.count = index.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Adds whole pages of the direct map at the end, which is not the start: `pages` are their addresses. All that there will be fit
    /// 63 bits. Returns how many were added: fewer than all for want of memory.
    pub(crate) fn append_pages(&mut self, pages: &[u64]) -> usize {
        let mut rest = pages;
        loop {
            let count = self.count;
            let Some((used, spare)) = self.places().split_at_mut_checked(count) else { break };
            let Some(last) = used.last_mut() else { break };
            // SAFETY: Initialised by the invariant.
            let last = unsafe { last.assume_init_mut() };
            let (written, appended) = extent::append_pages(last, rest, PAGE_SIZE as u64, spare);
            // INVARIANT: As many more were written.
            self.count = count.saturating_add(written);
            rest = rest.get(appended..).unwrap_or(&[]);
            if rest.is_empty() || self.reserve(rest.len()).is_err() {
                break;
            }
        }
        pages.len().saturating_sub(rest.len())
    }

    /// Gives back the memory that growing has taken in excess. To be called once, when the list is complete.
    pub(crate) fn trim(&mut self) {
        // More than is needed is no reason to fail: the list stays as it is then.
        if self.count < self.heap.capacity() {
            let _ = self.move_to_heap(self.count);
        }
    }

    /// Makes room for an extent; where there is none, for as many as may come of one batch of pages.
    fn reserve(&mut self, more: usize) -> Result {
        if self.count < self.places().len() {
            return Ok(());
        }
        let most = self.count.checked_add(more.max(1)).ok_or(ENOMEM)?;
        // Doubling at least keeps the cost of growing proportional to the length.
        self.move_to_heap(most.max(self.count.saturating_mul(2)))
    }

    /// Moves the extents to memory for `capacity`, which is not less than there are.
    fn move_to_heap(&mut self, capacity: usize) -> Result {
        let mut heap = KVVec::<Extent>::with_capacity(capacity, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let extents = self.as_slice();
        // SAFETY: New memory, for at least as many.
        unsafe { core::ptr::copy_nonoverlapping(extents.as_ptr(), heap.as_mut_ptr(), extents.len().min(capacity)) };
        // INVARIANT: Copied one line above.
        self.heap = heap;
        Ok(())
    }
}
