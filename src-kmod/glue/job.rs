// SPDX-License-Identifier: GPL-2.0-only
//! A copy that was accepted, with all it needs: the task that has it can do it.

use crate::glue::completion::Completion;
use crate::glue::copy;
use crate::glue::counters::Timer;
use crate::glue::memory::{Memory, Place, Reach};
use crate::glue::pin::Stop;
use crate::glue::regions::Claimed;
use crate::glue::{counters, task};
use crate::logic::counter::Counter;
use crate::logic::plan;
use crate::logic::profile::Path;
use crate::uapi::{STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;

/// One side of a copy.
pub(crate) enum Side {
    /// A region, from a byte on.
    Region(Claimed, u64),
    /// Memory of the caller.
    Local(Memory),
}

impl Side {
    /// The memory.
    fn memory(&self) -> &Memory {
        match self {
            Self::Region(claimed, _) => claimed.region().memory(),
            Self::Local(memory) => memory,
        }
    }

    /// Whether it is a region of another user than the task's that has claimed it.
    fn is_foreign(&self) -> bool {
        matches!(self, Self::Region(claimed, _) if claimed.is_foreign())
    }

    /// Where the copy starts in it.
    fn offset(&self) -> u64 {
        match self {
            Self::Region(_, offset) => *offset,
            Self::Local(_) => 0,
        }
    }
}

/// How a copy has progressed.
pub(crate) enum Progress {
    /// There is more to copy.
    More,
    /// There is more to copy, and for now the task would have to wait for it.
    Blocked,
    /// It has ended, with this status.
    Done(u8),
}

/// A copy that owns its memory.
pub(crate) struct Job {
    source: Side,
    destination: Side,
    /// How far it has come.
    from: Reach,
    to: Reach,
    done: u64,
    bytes: u64,
    /// Whether it has memory of another user, which it must not keep without bound.
    foreign: bool,
    /// Steps in a row that could not go on.
    blocked: u32,
    completion: Option<Completion>,
    /// The job before this one in a file's queue; see `queue`.
    pub(super) next: Option<KBox<Job>>,
    engine: Option<Waits>,
    /// How it is made, and its time, for the statistics.
    path: Path,
    timer: Timer,
}

/// Milliseconds before a blocked copy is tried again.
pub(crate) const RETRY: u32 = 5;
/// So often in a row a copy may be blocked that has memory of another user: 10 s.
const MOST_BLOCKED: u32 = 2000;

/// Whether somebody waits for an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Whoever has submitted the job waits.
    Yes,
    /// Nobody does (ASYNCDMACOMPLETE).
    No,
}

impl Job {
    /// A copy of at most `bound` bytes.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(source: Side, destination: Side, bound: u64, timer: Timer) -> Result<Self> {
        let (from, to) = (source.offset(), destination.offset());
        let foreign = source.is_foreign() || destination.is_foreign();
        let bytes = plan::bytes(source.memory().length(), from, destination.memory().length(), to, bound);
        Ok(Self {
            from: Reach::new(source.memory(), from)?,
            to: Reach::new(destination.memory(), to)?,
            source,
            destination,
            done: 0,
            bytes,
            foreign,
            blocked: 0,
            completion: None,
            next: None,
            engine: None,
            path: Path::Pinned,
            timer,
        })
    }

    /// The same, with a place to report to.
    pub(crate) fn reporting(self, completion: Option<Completion>) -> Self {
        Self { completion, ..self }
    }

    /// Has an engine do it.
    pub(crate) fn set_engine(&mut self, waits: Waits) {
        self.engine = Some(waits);
        self.path = Path::Engine;
    }

    /// The thread has it. Where that has an engine do it, it counts as the engine's.
    pub(crate) fn set_threaded(&mut self) {
        if self.engine.is_none() {
            self.path = Path::Thread;
        }
    }

    /// The CPU does what is left of it. It still counts as the engine's.
    pub(crate) fn forgo_engine(&mut self) {
        self.engine = None;
    }

    /// Whether an engine is to do it, and if so, whether anybody waits for the engine.
    pub(crate) fn engine(&self) -> Option<Waits> {
        self.engine
    }

    /// Where the copy reads and writes, if both sides stay pinned. An engine needs that.
    pub(crate) fn places(&self) -> Option<(Place<'_>, Place<'_>)> {
        Some((self.from.place(self.source.memory())?, self.to.place(self.destination.memory())?))
    }

    /// How many bytes are copied.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many of them are still to be copied.
    pub(crate) fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.done)
    }

    /// The next `copied` bytes are copied.
    pub(crate) fn advance(&mut self, copied: u64) {
        self.from.advance(self.source.memory(), copied);
        self.to.advance(self.destination.memory(), copied);
        self.done = self.done.saturating_add(copied);
    }

    /// The request is accepted: single-use regions are consumed, and the slot says PENDING.
    pub(crate) fn accept(&mut self) {
        for side in [&mut self.source, &mut self.destination] {
            if let Side::Region(claimed, _) = side {
                claimed.accept();
            }
        }
        if let Some(completion) = &self.completion {
            completion.start();
        }
    }

    /// Copies the next part with this CPU, until that is `interrupted`. `wait`: the task may wait for memory that is not pinned.
    pub(crate) fn step(&mut self, wait: bool, interrupted: impl Fn() -> bool) -> Progress {
        let left = plan::next(self.bytes, self.done);
        if left == 0 {
            return Progress::Done(STATUS_SUCCESS);
        }
        let copied = if let Some((source, destination)) = self.places() {
            if copy::pinned(source, destination, left, interrupted) != STATUS_SUCCESS {
                return Progress::Done(STATUS_FAILED);
            }
            left
        } else {
            match self.window(left, wait) {
                Ok(bytes) => bytes,
                Err(Stop::Busy) if self.foreign && self.blocked >= MOST_BLOCKED => {
                    counters::count(Counter::FailedUserCopy);
                    return Progress::Done(STATUS_FAILED);
                }
                Err(Stop::Busy) => {
                    self.blocked = self.blocked.saturating_add(1);
                    return Progress::Blocked;
                }
                Err(Stop::Error(_)) => {
                    counters::count(Counter::FailedUserCopy);
                    return Progress::Done(STATUS_FAILED);
                }
            }
        };
        self.advance(copied);
        self.blocked = 0;
        if self.left() == 0 {
            Progress::Done(STATUS_SUCCESS)
        } else {
            Progress::More
        }
    }

    /// Copies a window of memory that is not pinned, `left` bytes at most; returns how many.
    fn window(&mut self, left: u64, wait: bool) -> Result<u64, Stop> {
        // Memory that may not be written may be shared with other processes, and must not change.
        if !self.destination.memory().writable() {
            return Err(Stop::Error(EFAULT));
        }
        let source = self.from.open(self.source.memory(), left, wait)?;
        let mut destination = self.to.open(self.destination.memory(), source.bytes(), wait)?;
        let bytes = destination.bytes();
        copy::views(&source, &mut destination, bytes);
        Ok(bytes)
    }

    /// Does the copy with this CPU in the calling task, until it is done or `interrupted`. Returns a status.
    pub(crate) fn copy(&mut self, interrupted: impl Fn() -> bool) -> u8 {
        // What waits in the kernel can be killed, and has no other bound.
        let wait = !self.foreign;
        loop {
            match self.step(wait, &interrupted) {
                Progress::Done(status) => return status,
                Progress::More => {}
                // It is killed: `interrupted` is true.
                Progress::Blocked => drop(task::sleep(RETRY)),
            }
            if interrupted() {
                return STATUS_FAILED;
            }
            task::resched();
        }
    }

    /// Reports before the end: somebody may still use the memory, and that does not matter to the result any more.
    pub(crate) fn publish(&mut self, status: u8) {
        if let Some(completion) = self.completion.take() {
            completion.publish(status);
        }
    }

    /// Ends the request: gives back its memory, which may sleep, and then reports. In this order, so that whoever
    /// sees the status finds the accounts settled.
    pub(crate) fn finish(self: KBox<Self>, status: u8) {
        KBox::into_inner(self).end(status);
    }

    /// As [`Job::finish`].
    pub(crate) fn end(mut self, status: u8) {
        let completion = self.completion.take();
        self.timer.stop(self.path, self.bytes, status);
        drop(self);
        if let Some(completion) = completion {
            completion.publish(status);
        }
    }
}
