// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The driver's counters.

/// One counter; its number indexes the driver's per-processor arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Requests that passed the first checks.
    Submitted,
    /// Requests that were accepted.
    Processed,
    /// Accepted requests that a DMA engine copied.
    ProcessedDma,
    /// Accepted requests that the kernel thread copied.
    ProcessedThread,
    /// Accepted requests that pinned the caller's pages.
    ProcessedPinned,
    /// Requests refused for flags that nothing here can honour.
    RejectedFlags,
    /// Requests refused for want of memory.
    RejectedMemory,
    /// Requests refused for an argument that cannot be read or makes no sense.
    RejectedArgument,
    /// Requests refused because a region does not exist or may not be used so.
    RejectedCookie,
    /// Requests refused because the caller's pages could not be pinned.
    RejectedPin,
    /// Requests that failed on the caller's memory.
    FailedUserCopy,
    /// Requests that failed on a DMA engine.
    FailedDma,
    /// Times that a DMA engine was looked after by a timer.
    DmaTimeout,
    /// Commands with flags that nobody knows, which are ignored.
    UnknownFlags,
}

/// Number of counters.
pub const COUNT: usize = 14;

const _: () = assert!(Counter::UnknownFlags as usize == COUNT - 1);

/// The value of every counter, in the order of [`Counter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub [u64; COUNT]);

impl Totals {
    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// What was counted since `start`, modulo 2^64 as the counters themselves.
    #[must_use]
    pub fn since(&self, start: &Self) -> Self {
        let mut out = *self;
        for (value, start) in out.0.iter_mut().zip(start.0) {
            *value = value.wrapping_sub(start);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Totals, COUNT};

    #[test]
    fn since_subtracts_each() {
        let (mut now, mut start) = (Totals([7; COUNT]), Totals([3; COUNT]));
        now.0[Counter::RejectedPin as usize] = 1;
        start.0[Counter::RejectedPin as usize] = u64::MAX;
        let since = now.since(&start);
        assert_eq!(since.get(Counter::Submitted), 4);
        assert_eq!(since.get(Counter::DmaTimeout), 4);
        assert_eq!(since.get(Counter::RejectedPin), 2);
    }
}
