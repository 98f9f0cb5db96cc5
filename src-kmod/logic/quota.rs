// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! A quantity that must not exceed a limit, to which several tasks add concurrently.
//!
//! The sum is compared before it is stored. A refused attempt is never part of the sum that others compare with, so
//! that it makes no other attempt fail.

/// Storage of a quantity.
pub trait Tally {
    /// Returns the present sum.
    fn sum(&self) -> u64;

    /// Changes the sum from `from` to `to`.
    ///
    /// # Errors
    /// The sum, if it is not `from`.
    fn change(&self, from: u64, to: u64) -> Result<(), u64>;
}

/// Adds `amount` unless the sum would then exceed `most`. Returns whether it was added.
pub fn add_unless_over(tally: &impl Tally, amount: u64, most: u64) -> bool {
    let mut sum = tally.sum();
    loop {
        let Some(next) = sum.checked_add(amount).filter(|next| *next <= most) else { return false };
        match tally.change(sum, next) {
            Ok(()) => return true,
            Err(now) => sum = now,
        }
    }
}

/// Subtracts `amount` unless the sum would then be less than `least`. Returns whether it was subtracted.
pub fn subtract_unless_under(tally: &impl Tally, amount: u64, least: u64) -> bool {
    let mut sum = tally.sum();
    loop {
        let Some(next) = sum.checked_sub(amount).filter(|next| *next >= least) else { return false };
        match tally.change(sum, next) {
            Ok(()) => return true,
            Err(now) => sum = now,
        }
    }
}

/// Takes the next turn of something that is allowed once in `interval`. The tally is the time of the first free turn.
/// Returns how long to wait for the turn, in the unit of `now`.
pub fn turn(tally: &impl Tally, now: u64, interval: u64) -> u64 {
    let mut first = tally.sum();
    loop {
        let start = if first > now { first } else { now };
        match tally.change(first, start.saturating_add(interval)) {
            Ok(()) => return start.saturating_sub(now),
            Err(other) => first = other,
        }
    }
}

/// Returns how many bytes of status arrays and events a user may have: `param_mib` mebibytes, or if that is 0 the
/// larger of 96 MiB and 1/64 of `ram` bytes. 2^24 slots with their events need 80 MiB.
#[must_use]
pub const fn slot_memory(param_mib: u64, ram: u64) -> u64 {
    if param_mib != 0 {
        return param_mib.saturating_mul(1 << 20);
    }
    let (share, least) = (ram >> 6, 96 << 20);
    if share > least {
        share
    } else {
        least
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{add_unless_over, slot_memory, subtract_unless_under, turn, Tally};
    use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    impl Tally for AtomicU64 {
        fn sum(&self) -> u64 {
            self.load(SeqCst)
        }

        fn change(&self, from: u64, to: u64) -> Result<(), u64> {
            self.compare_exchange(from, to, SeqCst, SeqCst).map(drop)
        }
    }

    #[test]
    fn turns_are_an_interval_apart() {
        let first = AtomicU64::new(0);
        assert_eq!(turn(&first, 1000, 100), 0, "a free turn");
        assert_eq!(turn(&first, 1030, 100), 70);
        assert_eq!(turn(&first, 1030, 100), 170);
        assert_eq!(turn(&first, 5000, 100), 0, "none was taken for long");
        assert_eq!(turn(&first, u64::MAX, 100), 0);
        assert_eq!(turn(&first, 0, 100), u64::MAX);
    }

    #[test]
    fn the_bound_is_inclusive() {
        let sum = AtomicU64::new(0);
        assert!(add_unless_over(&sum, 10, 10));
        assert!(!add_unless_over(&sum, 1, 10));
        assert!(add_unless_over(&sum, 0, 10));
        assert!(!add_unless_over(&sum, u64::MAX, u64::MAX), "a sum that does not fit is over every bound");
        assert!(!add_unless_over(&sum, 0, 9), "over a bound that was lowered meanwhile");
        assert!(!subtract_unless_under(&sum, 11, 0));
        assert!(!subtract_unless_under(&sum, 10, 1));
        assert!(subtract_unless_under(&sum, 10, 0));
        assert_eq!(sum.into_inner(), 0);
    }

    #[test]
    fn refused_attempts_make_no_other_attempt_fail() {
        let sum = AtomicU64::new(0);
        thread::scope(|scope| {
            // This never fits.
            scope.spawn(|| (0..100_000).for_each(|_| assert!(!add_unless_over(&sum, 101, 100))));
            for _ in 0..2 {
                // Both fit at the same time.
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        assert!(add_unless_over(&sum, 50, 100));
                        assert!(subtract_unless_under(&sum, 50, 0));
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 0);
    }

    #[test]
    fn one_file_with_all_slots_fits_everywhere() {
        let all = (1 << 24) * 5;
        assert_eq!(slot_memory(0, 1 << 30), 96 << 20);
        assert!(slot_memory(0, 0) >= all);
        assert_eq!(slot_memory(0, 1 << 40), 1 << 34);
        assert_eq!(slot_memory(1, 1 << 40), 1 << 20);
        assert_eq!(slot_memory(u64::MAX, 0), u64::MAX);
    }
}
