// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The states of a single-use region.
//!
//! A request first claims the region. It consumes the region when it is accepted, and releases it if it is refused
//! after all. A request that finds the region claimed is refused as if the region did not exist. The caller makes each
//! change of state with one atomic compare-and-exchange.

/// No request uses the region.
pub const FREE: u32 = 0;
/// A request that may still be refused uses the region; or a request was accepted, and the region is consumed.
pub const CLAIMED: u32 = 1;

/// Storage of a region's state, one of [`FREE`] and [`CLAIMED`].
pub trait Slot {
    /// Changes `from` to `to`, fully ordered. Returns whether the state was `from`.
    fn change(&self, from: u32, to: u32) -> bool;
}

/// Claims the region. Returns false if another request has claimed it.
pub fn claim(slot: &impl Slot) -> bool {
    slot.change(FREE, CLAIMED)
}

/// Releases a claimed region.
pub fn give_back(slot: &impl Slot) {
    // This cannot fail: only the request that has claimed the region releases it.
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
