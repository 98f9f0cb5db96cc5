// SPDX-License-Identifier: CECILL-B
//! The driver's counters that are part of the interface: one for each number in the statistics text of the original
//! driver.

pub use knem_core::logic::counter::Counter;

/// Number of counters.
pub const LINES: usize = Counter::DmaTimeout as usize + 1;

/// Their values, in the order of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub [u64; LINES]);

impl Counters {
    /// Returns the value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Returns what was counted since `start`.
    #[must_use]
    pub fn since(&self, start: &Self) -> Self {
        Self(std::array::from_fn(|n| self.0[n].wrapping_sub(start.0[n])))
    }
}
