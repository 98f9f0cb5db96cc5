// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The indices of a bounded queue of completion events.
//!
//! A request reserves an entry when it is submitted, so that its event cannot be lost, and fills the entry when it
//! completes. Readers take events out, copy them to their memory, and only then free the entries. If the copy fails,
//! the events are put back. The caller owns the storage; this module has its indices.

use crate::logic::refusal::Refusal;

/// Which entries of the storage are in use. Every entry is free, reserved, unread or taken.
///
/// # Invariants
/// `reserved + unread + taken <= capacity`; `head < capacity` unless that is 0.
#[derive(Clone, Debug)]
pub struct Ring {
    capacity: u64,
    /// Index of the oldest unread event.
    head: u64,
    reserved: u64,
    unread: u64,
    /// Events that readers are copying.
    taken: u64,
}

impl Ring {
    /// Creates an empty queue over `capacity` entries.
    #[must_use]
    pub const fn new(capacity: u64) -> Self {
        Self { capacity, head: 0, reserved: 0, unread: 0, taken: 0 }
    }

    /// Number of events that can be taken.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.unread
    }

    /// Reserves an entry for the event of a request.
    ///
    /// # Errors
    /// [`Refusal::Busy`] (EBUSY) if every entry is in use.
    pub fn reserve(&mut self) -> Result<(), Refusal> {
        let used = self.reserved.saturating_add(self.unread).saturating_add(self.taken);
        if used >= self.capacity {
            return Err(Refusal::Busy);
        }
        self.reserved = self.reserved.saturating_add(1);
        Ok(())
    }

    /// Releases a reservation.
    pub fn cancel(&mut self) {
        self.reserved = self.reserved.saturating_sub(1);
    }

    /// Turns a reservation into an unread event, the newest. Returns the index at which to store it.
    pub fn push(&mut self) -> u64 {
        let index = self.index(self.unread);
        self.reserved = self.reserved.saturating_sub(1);
        self.unread = self.unread.saturating_add(1);
        index
    }

    /// Takes the oldest unread event. Returns its index.
    pub fn take(&mut self) -> Option<u64> {
        let index = self.head;
        self.unread = self.unread.checked_sub(1)?;
        self.taken = self.taken.saturating_add(1);
        self.head = self.index(1);
        Some(index)
    }

    /// Frees the entries of `count` events that were taken.
    pub fn free(&mut self, count: u64) {
        self.taken = self.taken.saturating_sub(count);
    }

    /// Makes a taken event unread again, as the oldest. Returns the index at which to store it. Must be called for the
    /// newest of the taken events first.
    pub fn put_back(&mut self) -> u64 {
        self.taken = self.taken.saturating_sub(1);
        self.unread = self.unread.saturating_add(1);
        self.head = match self.head.checked_sub(1) {
            Some(head) => head,
            None => self.capacity.saturating_sub(1),
        };
        self.head
    }

    /// Returns the index `steps` after the head; `steps <= capacity`.
    fn index(&self, steps: u64) -> u64 {
        let index = self.head.saturating_add(steps);
        if index >= self.capacity {
            index.saturating_sub(self.capacity)
        } else {
            index
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::Ring;
    use crate::logic::refusal::Refusal;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn exactly_the_capacity_can_be_outstanding() {
        let mut ring = Ring::new(3);
        for _ in 0..3 {
            assert_eq!(ring.reserve(), Ok(()));
        }
        assert_eq!(ring.reserve(), Err(Refusal::Busy));
        ring.push();
        assert_eq!(ring.reserve(), Err(Refusal::Busy), "an unread event keeps its entry");
        assert_eq!(ring.take(), Some(0));
        assert_eq!(ring.reserve(), Err(Refusal::Busy), "one that is being copied as well");
        ring.free(1);
        assert_eq!(ring.reserve(), Ok(()));
        ring.cancel();
        assert_eq!(ring.reserve(), Ok(()));
        assert_eq!(Ring::new(0).reserve(), Err(Refusal::Busy));
    }

    proptest! {
        /// Compares with a plain queue: nothing is lost, duplicated or reordered, even when readers fail.
        #[test]
        fn behaves_as_a_queue(capacity in 1..9u64, actions in prop::collection::vec(0..5u8, 0..200)) {
            let mut ring = Ring::new(capacity);
            let mut store = vec![u32::MAX; capacity as usize];
            let (mut reserved, mut unread, mut next) = (0u64, VecDeque::new(), 0u32);
            for action in actions {
                match action {
                    0 => {
                        let free = reserved + (unread.len() as u64) < capacity;
                        prop_assert_eq!(ring.reserve().is_ok(), free);
                        reserved += u64::from(free);
                    }
                    1 if reserved > 0 => {
                        ring.cancel();
                        reserved -= 1;
                    }
                    2 if reserved > 0 => {
                        store[ring.push() as usize] = next;
                        unread.push_back(next);
                        reserved -= 1;
                        next += 1;
                    }
                    3 => {
                        let taken: Vec<u32> = (0..3).map_while(|_| ring.take()).map(|at| store[at as usize]).collect();
                        for event in &taken {
                            prop_assert_eq!(Some(*event), unread.pop_front());
                        }
                        ring.free(taken.len() as u64);
                    }
                    4 => {
                        // A reader whose copy fails.
                        let taken: Vec<u32> = (0..3).map_while(|_| ring.take()).map(|at| store[at as usize]).collect();
                        for event in taken.into_iter().rev() {
                            store[ring.put_back() as usize] = event;
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(ring.unread(), unread.len() as u64);
            }
        }
    }
}
