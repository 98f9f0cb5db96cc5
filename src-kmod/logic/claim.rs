// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The states of a single-use region.
//!
//! A request first claims the region; once it is accepted it consumes it, and if it is refused after all it
//! gives it back. A request that finds the region claimed is refused as if the region were gone.
//! The caller does the changes of state with one atomic compare-and-exchange each.

/// Nobody uses the region.
pub const FREE: u32 = 0;
/// A request that may still be refused uses the region; or it was accepted, and the region is gone.
pub const CLAIMED: u32 = 1;

/// Place of a region's state, one of [`FREE`] and [`CLAIMED`].
pub trait Slot {
    /// Changes `from` to `to`, fully ordered; returns whether it was `from`.
    fn change(&self, from: u32, to: u32) -> bool;
}

/// Claims the region; returns false if another request has it.
pub fn claim(slot: &impl Slot) -> bool {
    slot.change(FREE, CLAIMED)
}

/// Gives a claimed region back.
pub fn give_back(slot: &impl Slot) {
    // Only the one that claimed it comes here, so the state cannot be anything else.
    let _ = slot.change(CLAIMED, FREE);
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{claim, give_back, Slot, FREE};
    use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
    use std::thread;

    impl Slot for AtomicU32 {
        fn change(&self, from: u32, to: u32) -> bool {
            self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }
    }

    #[test]
    fn one_of_many_gets_it() {
        for _ in 0..200 {
            let (slot, winners) = (AtomicU32::new(FREE), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        if claim(&slot) {
                            winners.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            });
            assert_eq!(winners.into_inner(), 1);
            assert!(!claim(&slot));
            give_back(&slot);
            assert!(claim(&slot));
        }
    }
}
