// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The driver's counters.

/// A counter. Its number is its index in the driver's per-CPU arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Requests that passed the first checks.
    Submitted,
    /// Requests that were accepted.
    Processed,
    /// Accepted requests for a DMA channel.
    ProcessedDma,
    /// Accepted requests for the worker thread.
    ProcessedThread,
    /// Accepted requests that pinned the caller's pages.
    ProcessedPinned,
    /// Requests refused because no available hardware can honour their flags.
    RejectedFlags,
    /// Requests refused because there was no memory.
    RejectedMemory,
    /// Requests refused because an argument cannot be read or is not valid.
    RejectedArgument,
    /// Requests refused because a region does not exist or the access is not permitted.
    RejectedCookie,
    /// Requests refused because the caller's pages could not be pinned.
    RejectedPin,
    /// Requests that failed on the caller's memory.
    FailedUserCopy,
    /// Requests that failed on a DMA channel.
    FailedDma,
    /// Times that a DMA channel was given up because it made no progress.
    DmaTimeout,
    /// Commands with unknown flags, which are ignored.
    UnknownFlags,
    /// Requests refused because the worker thread could not be started.
    RejectedThread,
}

/// Number of counters.
pub const COUNT: usize = 15;

const _: () = assert!(Counter::RejectedThread as usize == COUNT - 1);

impl Counter {
    /// Every counter, with its name in [`crate::logic::statistics`]'s text.
    pub const NAMES: [(Self, &'static str); COUNT] = [
        (Self::Submitted, "submitted"),
        (Self::Processed, "processed"),
        (Self::ProcessedDma, "processed_dma"),
        (Self::ProcessedThread, "processed_thread"),
        (Self::ProcessedPinned, "processed_pinned"),
        (Self::RejectedFlags, "rejected_flags"),
        (Self::RejectedMemory, "rejected_memory"),
        (Self::RejectedArgument, "rejected_argument"),
        (Self::RejectedCookie, "rejected_cookie"),
        (Self::RejectedPin, "rejected_pin"),
        (Self::FailedUserCopy, "failed_user_copy"),
        (Self::FailedDma, "failed_dma"),
        (Self::DmaTimeout, "dma_timeout"),
        (Self::UnknownFlags, "unknown_flags"),
        (Self::RejectedThread, "rejected_thread"),
    ];
}

/// The value of every counter, in the order of [`Counter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub [u64; COUNT]);

impl Totals {
    /// The value of one counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, COUNT};

    #[test]
    fn every_counter_is_named_in_its_place() {
        for (n, (counter, _)) in Counter::NAMES.iter().enumerate() {
            assert_eq!(*counter as usize, n);
        }
        assert_eq!(Counter::NAMES.len(), COUNT);
    }
}
