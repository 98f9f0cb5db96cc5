// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Copies on DMA channels: what a channel gets, how its descriptors are counted, and when it is given up.
//!
//! A transfer has one driver at a time: the task that waits for it, or a work item. The driver submits descriptors and
//! sleeps. Their callbacks, which run in any order and any context, only count down here and return when the driver
//! must be woken. So only the driver can end the transfer.

use crate::logic::steps::{Step, MAX_STEP};

/// Most descriptors that a transfer has submitted at a time.
pub const WINDOW: u32 = 1024;

/// Which chunks a channel takes, and which ones it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Parameter `dmamin`: the longest chunk that the CPU copies nevertheless.
    pub min: u64,
    /// Longest chunk.
    pub max: u64,
    /// Addresses and lengths must be multiples of a power of two; this is one less.
    pub mask: u64,
}

/// Properties of a channel and its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nature {
    /// Longest mapping.
    pub mapping: u64,
    /// Longest segment that the device declares, or 0.
    pub segment: u64,
    /// The channel's copies must be aligned to 2 to the power of this.
    pub shift: u32,
    /// Mappings must be aligned to this, a power of two, or 0 for no alignment.
    pub line: u32,
}

/// The first part of a step, and which hardware copies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Length in bytes; 0 only if the step's is.
    pub len: u64,
    /// Whether the channel copies it, or the CPU.
    pub engine: bool,
}

impl Limits {
    /// Returns the limits of a channel, with a parameter `dmamin`.
    #[must_use]
    pub fn new(min: u64, nature: &Nature) -> Self {
        let max = if nature.segment == 0 { nature.mapping } else { nature.mapping.min(nature.segment) };
        // With an alignment that no address has, the CPU copies everything.
        let align = 1u64.checked_shl(nature.shift).unwrap_or(1 << 63).max(nature.line.into());
        Self { min, max, mask: align.saturating_sub(1) }
    }

    /// Cuts a chunk off the start of a step.
    #[must_use]
    pub fn cut(&self, step: &Step) -> Chunk {
        let by_cpu = |len: u64| Chunk { len, engine: false };
        let within = step.left & self.mask;
        if within != step.right & self.mask {
            // The two sides are never aligned at the same offset.
            return by_cpu(step.len);
        }
        if within != 0 {
            let head = self.mask.saturating_add(1).saturating_sub(within);
            return by_cpu(head.min(step.len));
        }
        let len = step.len.min(self.max).min(MAX_STEP) & !self.mask;
        if len > self.min && len != 0 {
            Chunk { len, engine: true }
        } else {
            by_cpu(step.len)
        }
    }
}

/// Most copies that a channel has at a time, so that those of one user do not delay those of others without bound.
const MOST: u32 = 4096;

/// Whether a channel with `count` copies gets no more for now.
#[must_use]
pub const fn full(count: u32) -> bool {
    count >= MOST
}

/// Whether a channel that has just refused a copy and has `count` others may take it later. A refusal by an idle
/// channel is an error.
#[must_use]
pub const fn full_for_now(count: u32) -> bool {
    count != 0
}

/// Returns the rest of a step after `len` bytes.
#[must_use]
pub const fn after(step: Step, len: u64) -> Step {
    Step { left: step.left.wrapping_add(len), right: step.right.wrapping_add(len), len: step.len.saturating_sub(len) }
}

/// The driver of a transfer, which is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The task that waits for it.
    Task,
    /// A work item.
    Work,
}

/// The state of a transfer, in one word, so that it changes atomically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TransferState {
    /// Number of descriptors that the channel has.
    outstanding: u32,
    /// The driver is woken when no more than this number are outstanding.
    mark: u32,
    /// Whether a descriptor has failed.
    failed: bool,
    /// Whether the driver sleeps.
    asleep: bool,
    /// Whether the driver is a work item, or a task.
    by_work: bool,
}

const FAILED: u64 = 1 << 63;
const ASLEEP: u64 = 1 << 62;
const BY_WORK: u64 = 1 << 61;
const MARK_SHIFT: u32 = 32;
const MARK: u64 = 0xff_ffff;

impl TransferState {
    const fn unpack(word: u64) -> Self {
        Self {
            outstanding: word as u32,
            mark: ((word >> MARK_SHIFT) & MARK) as u32,
            failed: word & FAILED != 0,
            asleep: word & ASLEEP != 0,
            by_work: word & BY_WORK != 0,
        }
    }

    const fn pack(self) -> u64 {
        let mut word = self.outstanding as u64 | ((self.mark as u64 & MARK) << MARK_SHIFT);
        if self.failed {
            word |= FAILED;
        }
        if self.asleep {
            word |= ASLEEP;
        }
        if self.by_work {
            word |= BY_WORK;
        }
        word
    }
}

/// Storage of a transfer's state, initially 0.
pub trait Word {
    /// Returns the word.
    fn get(&self) -> u64;
    /// Changes `from` to `to`, fully ordered. Returns whether the word was `from`.
    fn change(&self, from: u64, to: u64) -> bool;
}

/// Changes the state atomically, and returns what `change` returns.
fn update<T>(word: &impl Word, change: impl Fn(&mut TransferState) -> T) -> T {
    loop {
        let old = word.get();
        let mut state = TransferState::unpack(old);
        let outcome = change(&mut state);
        if word.change(old, state.pack()) {
            return outcome;
        }
    }
}

/// Counts a descriptor that the driver is about to submit.
pub fn launch(word: &impl Word) {
    update(word, |state| state.outstanding = state.outstanding.saturating_add(1));
}

/// Uncounts a descriptor that could not be submitted, for which there will be no callback.
pub fn retract(word: &impl Word) {
    update(word, |state| state.outstanding = state.outstanding.saturating_sub(1));
}

/// Counts down a descriptor that has ended. Returns the driver if it must be woken, which happens once for each time
/// that it goes to sleep.
pub fn land(word: &impl Word, ok: bool) -> Option<Driver> {
    update(word, |state| {
        state.outstanding = state.outstanding.saturating_sub(1);
        state.failed |= !ok;
        if !state.asleep || state.outstanding > state.mark {
            return None;
        }
        state.asleep = false;
        Some(if state.by_work { Driver::Work } else { Driver::Task })
    })
}

/// Announces that the driver sleeps until no more than `mark` descriptors are outstanding. Returns false if that is the
/// case already.
#[must_use]
pub fn sleep(word: &impl Word, mark: u32) -> bool {
    update(word, |state| {
        state.mark = mark;
        state.asleep = state.outstanding > mark;
        state.asleep
    })
}

/// Records that the driver is awake, for any reason.
pub fn wake(word: &impl Word) {
    update(word, |state| state.asleep = false);
}

/// Whether the driver sleeps and has not been woken yet.
#[must_use]
pub fn asleep(word: &impl Word) -> bool {
    TransferState::unpack(word.get()).asleep
}

/// Records that the driving task leaves the transfer to the work item. Must be called while the driver is awake.
pub fn hand_over(word: &impl Word) {
    update(word, |state| state.by_work = true);
}

/// Returns how many descriptors the channel has.
#[must_use]
pub fn outstanding(word: &impl Word) -> u32 {
    TransferState::unpack(word.get()).outstanding
}

/// Whether a descriptor has failed.
#[must_use]
pub fn failed(word: &impl Word) -> bool {
    TransferState::unpack(word.get()).failed
}

/// Returns the mark for a driver that cannot submit more: half of the outstanding descriptors, so that the channel
/// always has some.
#[must_use]
pub const fn refill_mark(outstanding: u32) -> u32 {
    outstanding >> 1
}

/// Factor by which the timeout of a transfer is extended if its channel makes progress for others.
const CROWDED: u64 = 8;

/// Whether to give up a channel that has completed nothing for a transfer for `idle` ms and nothing at all for
/// `channel_idle` ms, with a timeout of `timeout` ms.
#[must_use]
pub const fn overdue(idle: u64, channel_idle: u64, timeout: u64) -> bool {
    idle >= timeout && (channel_idle >= timeout || idle >= timeout.saturating_mul(CROWDED))
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Whether a descriptor has failed.
    pub failed: bool,
    /// Whether the channel was given up.
    pub timed_out: bool,
    /// Whether the driving task had to stop before everything was submitted.
    pub cut_short: bool,
}

impl End {
    /// Whether all bytes were copied.
    #[must_use]
    pub const fn success(self) -> bool {
        !self.failed && !self.timed_out && !self.cut_short
    }

    /// Whether the channel caused a failure.
    #[must_use]
    pub const fn engine_failed(self) -> bool {
        self.failed || self.timed_out
    }
}

/// A claimed channel, ranked for a transfer that needs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Distance of its NUMA node from the memory.
    pub distance: u32,
    /// Number of transfers that use it.
    pub load: u32,
}

/// Returns the index of the best channel: an idle one before a busy one, then the nearest, then the least busy.
pub fn choose(candidates: impl Iterator<Item = Option<Candidate>>) -> Option<(usize, Candidate)> {
    let rank = |candidate: &Candidate| (candidate.load != 0, candidate.distance, candidate.load);
    let mut best: Option<(usize, Candidate)> = None;
    // Counted here, because `Iterator::enumerate`, compiled with the kernel's overflow checks, contains a panic.
    let mut number = 0usize;
    for candidate in candidates {
        if let Some(candidate) = candidate {
            if best.as_ref().is_none_or(|(_, best)| rank(&candidate) < rank(best)) {
                best = Some((number, candidate));
            }
        }
        number = number.saturating_add(1);
    }
    best
}

/// Returns the distance below which another channel is worth claiming in addition to `best`.
#[must_use]
pub const fn worth_claiming(best: Option<Candidate>) -> u32 {
    match best {
        // Any distance, if there is no channel or none is idle.
        None | Some(Candidate { load: 1.., .. }) => u32::MAX,
        Some(Candidate { distance, .. }) => distance,
    }
}

/// Time after a failed attempt to claim a channel before the next one, in ms.
const HOLD_OFF: u64 = 1000;

/// The last failed attempt to claim a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    /// Its time, in ms.
    pub at: u64,
    /// How many channels were allowed then.
    pub allowed: u32,
}

impl Attempt {
    /// Whether another attempt is due: after a while, or if another number of channels is allowed.
    #[must_use]
    pub const fn over(self, now: u64, allowed: u32) -> bool {
        self.allowed != allowed || now.saturating_sub(self.at) >= HOLD_OFF
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{
        after, choose, failed, full, full_for_now, hand_over, land, launch, outstanding, overdue, refill_mark, retract,
        sleep, wake, worth_claiming, Attempt, Candidate, Driver, End, Limits, Nature, TransferState, Word,
    };
    use crate::logic::steps::{Step, MAX_STEP};
    use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::thread;
    use std::vec::Vec;

    impl Word for AtomicU64 {
        fn get(&self) -> u64 {
            self.load(Ordering::SeqCst)
        }

        fn change(&self, from: u64, to: u64) -> bool {
            self.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        }
    }

    #[test]
    fn limits_are_the_narrowest_of_engine_device_and_caches() {
        let nature = Nature { mapping: 1 << 20, segment: 0, shift: 0, line: 0 };
        let limits = |nature: Nature| Limits::new(7, &nature);
        assert_eq!(limits(nature), Limits { min: 7, max: 1 << 20, mask: 0 });
        assert_eq!(limits(Nature { segment: 4096, ..nature }).max, 4096);
        assert_eq!(limits(Nature { segment: 2 << 20, ..nature }).max, 1 << 20);
        assert_eq!(limits(Nature { shift: 6, ..nature }).mask, 63);
        assert_eq!(limits(Nature { shift: 3, line: 128, ..nature }).mask, 127);
        assert_eq!(limits(Nature { shift: 200, ..nature }).mask, (1 << 63) - 1);
    }

    #[test]
    fn a_channel_has_a_bounded_number_of_copies() {
        assert_eq!((full(0), full(4095), full(4096), full(u32::MAX)), (false, false, true, true));
        assert_eq!((full_for_now(0), full_for_now(1)), (false, true));
    }

    fn step(left: u64, right: u64, len: u64) -> Step {
        Step { left, right, len }
    }

    fn cuts(limits: Limits, mut step: Step) -> Vec<(u64, bool)> {
        let mut out = Vec::new();
        while step.len != 0 {
            let chunk = limits.cut(&step);
            assert!(chunk.len != 0 && chunk.len <= step.len, "{limits:?} {step:?}");
            if chunk.engine {
                assert_eq!((step.left | step.right | chunk.len) & limits.mask, 0, "aligned");
                assert!(chunk.len > limits.min && chunk.len <= limits.max.min(MAX_STEP));
            }
            out.push((chunk.len, chunk.engine));
            step = after(step, chunk.len);
        }
        out
    }

    #[test]
    fn the_engine_gets_what_is_strictly_longer_than_dmamin() {
        let limits = Limits { min: 1024, max: u64::MAX, mask: 0 };
        assert_eq!(cuts(limits, step(1, 2, 1024)), [(1024, false)]);
        assert_eq!(cuts(limits, step(1, 2, 1025)), [(1025, true)]);
        assert_eq!(cuts(Limits { min: 0, ..limits }, step(1, 2, 1)), [(1, true)]);
        assert_eq!(cuts(Limits { min: u64::MAX, ..limits }, step(0, 0, MAX_STEP)), [(MAX_STEP, false)]);
    }

    #[test]
    fn long_steps_are_cut_and_short_rests_stay_here() {
        let limits = Limits { min: 1024, max: 4096, mask: 0 };
        assert_eq!(cuts(limits, step(0, 0, 9000)), [(4096, true), (4096, true), (808, false)]);
    }

    #[test]
    fn alignment_is_respected() {
        let limits = Limits { min: 64, max: 4096, mask: 63 };
        assert_eq!(cuts(limits, step(0, 64, 200)), [(192, true), (8, false)]);
        assert_eq!(cuts(limits, step(60, 124, 200)), [(4, false), (192, true), (4, false)]);
        assert_eq!(cuts(limits, step(60, 125, 200)), [(200, false)], "never aligned together");
        assert_eq!(cuts(limits, step(60, 60, 3)), [(3, false)]);
        assert_eq!(cuts(Limits { mask: 4095, max: 100, ..limits }, step(0, 0, 9000)), [(9000, false)]);
    }

    #[test]
    fn the_word_holds_the_state() {
        for bits in 0..8 {
            for (outstanding, mark) in [(0, 0), (1, 0), (u32::MAX, 0xff_ffff), (77, 33)] {
                let state = TransferState {
                    outstanding,
                    mark,
                    failed: bits & 1 != 0,
                    asleep: bits & 2 != 0,
                    by_work: bits & 4 != 0,
                };
                assert_eq!(TransferState::unpack(state.pack()), state);
            }
        }
        assert_eq!(TransferState::unpack(0).outstanding, 0);
    }

    #[test]
    fn the_driver_is_woken_once_for_each_sleep() {
        let word = AtomicU64::new(0);
        (0..4).for_each(|_| launch(&word));
        assert_eq!(land(&word, true), None, "awake");
        assert!(sleep(&word, 1));
        assert_eq!(land(&word, true), None);
        assert_eq!(land(&word, true), Some(Driver::Task));
        assert_eq!(land(&word, true), None);
        assert_eq!(outstanding(&word), 0);
        assert!(!sleep(&word, 0), "nothing to wait for");
    }

    #[test]
    fn a_descriptor_that_was_not_submitted_does_not_count() {
        let word = AtomicU64::new(0);
        launch(&word);
        launch(&word);
        retract(&word);
        assert!(sleep(&word, 0));
        assert_eq!(land(&word, true), Some(Driver::Task));
        assert!(!failed(&word));
    }

    #[test]
    fn one_failure_is_remembered() {
        let word = AtomicU64::new(0);
        (0..3).for_each(|_| launch(&word));
        land(&word, true);
        land(&word, false);
        land(&word, true);
        assert!(failed(&word));
        assert_eq!(outstanding(&word), 0);
    }

    #[test]
    fn a_work_item_that_has_taken_over_is_woken() {
        let word = AtomicU64::new(0);
        launch(&word);
        assert!(sleep(&word, 0));
        wake(&word);
        hand_over(&word);
        assert!(sleep(&word, 0));
        assert_eq!(land(&word, true), Some(Driver::Work));
    }

    #[test]
    fn no_wake_up_is_lost_or_doubled() {
        for _ in 0..50 {
            let (word, woken) = (AtomicU64::new(0), AtomicUsize::new(0));
            const EACH: usize = 200;
            (0..4 * EACH).for_each(|_| launch(&word));
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..EACH {
                            if land(&word, true).is_some() {
                                woken.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                    });
                }
                let mut slept = 0;
                // As a driver does: sleep, be woken, continue.
                for mark in [600, 300, 10, 0] {
                    if sleep(&word, mark) {
                        slept += 1;
                        while woken.load(Ordering::SeqCst) < slept {
                            thread::yield_now();
                        }
                    }
                    assert!(outstanding(&word) <= mark);
                }
                assert_eq!(woken.load(Ordering::SeqCst), slept);
            });
            assert_eq!(outstanding(&word), 0);
        }
    }

    #[test]
    fn an_engine_is_given_up_when_it_does_nothing() {
        assert!(!overdue(4999, u64::MAX, 5000));
        assert!(overdue(5000, 5000, 5000));
        assert!(!overdue(5000, 4999, 5000), "it serves others");
        assert!(overdue(40_000, 0, 5000), "but not for ever");
        assert!(overdue(0, 0, 0));
        assert_eq!((refill_mark(1024), refill_mark(1), refill_mark(0)), (512, 0, 0));
    }

    #[test]
    fn anything_wrong_is_no_success() {
        for bits in 0..8 {
            let end = End { failed: bits & 1 != 0, timed_out: bits & 2 != 0, cut_short: bits & 4 != 0 };
            assert_eq!(end.success(), bits == 0);
            assert_eq!(end.engine_failed(), bits & 3 != 0);
        }
    }

    #[test]
    fn the_nearest_idle_channel_is_chosen() {
        let candidate = |distance, load| Some(Candidate { distance, load });
        let best = |list: &[Option<Candidate>]| choose(list.iter().copied()).map(|(number, _)| number);
        assert_eq!(best(&[]), None);
        assert_eq!(best(&[None, None]), None);
        assert_eq!(best(&[candidate(20, 0), candidate(10, 0)]), Some(1));
        assert_eq!(best(&[candidate(20, 0), None, candidate(10, 1)]), Some(0));
        assert_eq!(best(&[candidate(20, 1), candidate(10, 9)]), Some(1));
        assert_eq!(best(&[candidate(10, 3), candidate(10, 2)]), Some(1));
        assert_eq!(worth_claiming(None), u32::MAX);
        assert_eq!(worth_claiming(candidate(20, 1)), u32::MAX);
        assert_eq!(worth_claiming(candidate(20, 0)), 20);
    }

    #[test]
    fn vain_attempts_are_not_repeated_at_once() {
        let attempt = Attempt { at: 5000, allowed: 2 };
        assert!(!attempt.over(5000, 2) && !attempt.over(5999, 2));
        assert!(attempt.over(6000, 2) && attempt.over(5000, 3));
    }
}
