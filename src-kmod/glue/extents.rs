// SPDX-License-Identifier: GPL-2.0-only
//! A list of extents, in place while it is short.

use crate::logic::extent::{self, Append, Extent};
use crate::logic::plan::Piece;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

/// As many extents are kept without an allocation of their own: a contiguous or small buffer.
const INLINE: usize = 4;

/// Extents in order, without gaps.
pub(crate) struct Extents {
    inline: [Extent; INLINE],
    /// Number of extents in `inline`; all of them are in `heap` once that has any.
    count: usize,
    heap: KVVec<Extent>,
}

impl Extents {
    /// No extents.
    pub(crate) const fn new() -> Self {
        Self { inline: [Extent::EMPTY; INLINE], count: 0, heap: KVVec::new() }
    }

    /// The extents.
    pub(crate) fn as_slice(&self) -> &[Extent] {
        if self.heap.is_empty() {
            self.inline.get(..self.count).unwrap_or(&[])
        } else {
            self.heap.as_slice()
        }
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        extent::length(self.as_slice())
    }

    /// Adds a piece of the direct map at the end.
    ///
    /// # Errors
    /// ENOMEM; the list is unchanged then.
    pub(crate) fn append(&mut self, piece: Piece) -> Result {
        let last = self.as_slice().last().copied();
        match extent::append(last, piece, PAGE_SIZE as u64).ok_or(ENOMEM)? {
            Append::Grow(grown) => {
                if let Some(last) = self.last_mut() {
                    *last = grown;
                }
                Ok(())
            }
            Append::Push(extent) => self.push(extent),
        }
    }

    fn last_mut(&mut self) -> Option<&mut Extent> {
        if self.heap.is_empty() {
            self.inline.get_mut(..self.count).and_then(|used| used.last_mut())
        } else {
            self.heap.as_mut_slice().last_mut()
        }
    }

    fn push(&mut self, extent: Extent) -> Result {
        if self.heap.is_empty() {
            if let Some(slot) = self.inline.get_mut(self.count) {
                *slot = extent;
                self.count = self.count.saturating_add(1);
                return Ok(());
            }
        }
        if self.heap.len() == self.heap.capacity() {
            // Doubling keeps the cost of growing proportional to the length.
            let capacity = self.as_slice().len().checked_mul(2).ok_or(ENOMEM)?;
            self.move_to_heap(capacity)?;
        }
        self.heap.push_within_capacity(extent).map_err(|_| ENOMEM)
    }

    /// Gives back the memory that growing has taken in excess. To be called once, when the list is complete.
    pub(crate) fn trim(&mut self) {
        let length = self.heap.len();
        // More than is needed is no reason to fail: the list stays as it is then.
        if length < self.heap.capacity() {
            let _ = self.move_to_heap(length);
        }
    }

    fn move_to_heap(&mut self, capacity: usize) -> Result {
        let mut heap = KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for extent in self.as_slice() {
            heap.push_within_capacity(*extent).map_err(|_| ENOMEM)?;
        }
        self.heap = heap;
        Ok(())
    }
}
