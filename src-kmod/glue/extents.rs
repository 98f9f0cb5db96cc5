// SPDX-License-Identifier: GPL-2.0-only
//! A list of extents, without an allocation while it is short.

use crate::logic::extent::{self, Append, Extent};
use crate::logic::steps::Piece;
use core::mem::MaybeUninit;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// Number of extents that are kept without an allocation: enough for a contiguous or small buffer.
const INLINE: usize = 4;

/// Extents in order, without gaps.
///
/// # Invariants
/// `count` is at most the number of entries, and the first `count` entries are initialised.
pub(crate) struct Extents {
    /// The entries, unless `heap` has memory.
    inline: [MaybeUninit<Extent>; INLINE],
    /// The entries, if it has memory. Its own length is always 0, because keeping two counts would cost instructions.
    heap: KVVec<Extent>,
    count: usize,
}

impl Extents {
    /// No extents.
    pub(crate) const fn new() -> Self {
        // INVARIANT: `count` is 0, so that no entry needs to be initialised.
        Self { inline: [MaybeUninit::uninit(); INLINE], heap: KVVec::new(), count: 0 }
    }

    /// The extents.
    pub(crate) fn as_slice(&self) -> &[Extent] {
        let start = if self.heap.capacity() == 0 { self.inline.as_ptr().cast() } else { self.heap.as_ptr() };
        // SAFETY: By the invariant, `start` points to at least `count` entries, of which the first `count` are
        // initialised.
        unsafe { core::slice::from_raw_parts(start, self.count) }
    }

    /// Returns all entries, used and spare.
    fn entries(&mut self) -> &mut [MaybeUninit<Extent>] {
        if self.heap.capacity() == 0 {
            return &mut self.inline;
        }
        // SAFETY: The vector has memory for `capacity` entries and is borrowed exclusively; `MaybeUninit` entries need
        // no initialisation.
        unsafe { core::slice::from_raw_parts_mut(self.heap.as_mut_ptr().cast(), self.heap.capacity()) }
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        extent::length(self.as_slice())
    }

    /// Appends a piece of the direct map, the first of up to `more`.
    ///
    /// # Errors
    /// ENOMEM. The list is unchanged then.
    pub(crate) fn append(&mut self, piece: Piece, more: usize) -> Result {
        let last = self.as_slice().last().copied();
        let change = match extent::append(last, piece, PAGE_SIZE as u64).ok_or(ENOMEM)? {
            Append::Grow(grown) => self.count.checked_sub(1).map(|last| (last, grown)),
            Append::Push(extent) => {
                self.reserve(more)?;
                Some((self.count, extent))
            }
        };
        if let Some((index, extent)) = change {
            if let Some(entry) = self.entries().get_mut(index) {
                entry.write(extent);
                // INVARIANT: The entry `index` was written just now, and those before it were initialised.
                self.count = index.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Appends whole pages of the direct map, whose addresses are `pages`, to a list that is not empty. The total
    /// length must fit 63 bits. Returns how many were appended: fewer than all if there is no memory.
    pub(crate) fn append_pages(&mut self, pages: &[u64]) -> usize {
        let mut rest = pages;
        loop {
            let count = self.count;
            let Some((used, spare)) = self.entries().split_at_mut_checked(count) else { break };
            let Some(last) = used.last_mut() else { break };
            // SAFETY: `last` is one of the first `count` entries, which are initialised by the invariant.
            let last = unsafe { last.assume_init_mut() };
            let (written, appended) = extent::append_pages(last, rest, PAGE_SIZE as u64, spare);
            // INVARIANT: `append_pages` initialised the next `written` entries.
            self.count = count.saturating_add(written);
            rest = rest.get(appended..).unwrap_or(&[]);
            if rest.is_empty() || self.reserve(rest.len()).is_err() {
                break;
            }
        }
        pages.len().saturating_sub(rest.len())
    }

    /// Frees memory that the list does not use. To be called once, when it is complete.
    pub(crate) fn trim(&mut self) {
        // Unused memory is no reason to fail: the list stays as it is.
        if self.count < self.heap.capacity() {
            let _ = self.move_to_heap(self.count);
        }
    }

    /// Ensures that there is an entry for another extent. If not, grows by as many as one batch of pages can need.
    fn reserve(&mut self, more: usize) -> Result {
        if self.count < self.entries().len() {
            return Ok(());
        }
        let most = self.count.checked_add(more.max(1)).ok_or(ENOMEM)?;
        // Doubling at least keeps the cost of growing proportional to the length.
        self.move_to_heap(most.max(self.count.saturating_mul(2)))
    }

    /// Moves the extents to newly allocated memory for `capacity` extents, which must not be less than `count`.
    fn move_to_heap(&mut self, capacity: usize) -> Result {
        let mut heap = KVVec::<Extent>::with_capacity(capacity, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let extents = self.as_slice();
        // SAFETY: `heap` is new memory for at least `capacity` extents, so that it does not overlap the old one.
        unsafe { core::ptr::copy_nonoverlapping(extents.as_ptr(), heap.as_mut_ptr(), extents.len().min(capacity)) };
        // INVARIANT: The first `count` entries were copied above.
        self.heap = heap;
        Ok(())
    }
}
