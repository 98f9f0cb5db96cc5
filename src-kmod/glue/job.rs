// SPDX-License-Identifier: GPL-2.0-only
//! A copy that was accepted, with everything that the task which executes it needs.

use crate::glue::completion::Completion;
use crate::glue::copy;
use crate::glue::counters::Timer;
use crate::glue::memory::{Memory, Position, Reach};
use crate::glue::pin::Stop;
use crate::glue::regions::Claimed;
use crate::glue::{counters, task};
use crate::logic::counter::Counter;
use crate::logic::statistics::Path;
use crate::logic::steps;
use crate::uapi::{STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;

/// One side of a copy.
pub(crate) enum Side {
    /// A region, from a byte offset on.
    Region(Claimed, u64),
    /// Memory of the caller.
    Local(Memory),
}

impl Side {
    /// Returns the memory.
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

    /// Returns the offset in the memory at which the copy starts.
    fn offset(&self) -> u64 {
        match self {
            Self::Region(_, offset) => *offset,
            Self::Local(_) => 0,
        }
    }
}

/// The result of a step of a copy.
pub(crate) enum Progress {
    /// There is more to copy.
    More,
    /// There is more to copy, but for now the task would have to wait for it.
    Blocked,
    /// The copy has ended with this status.
    Done(u8),
}

/// A copy that owns its memory.
pub(crate) struct Job {
    source: Side,
    destination: Side,
    /// The progress on both sides.
    from: Reach,
    to: Reach,
    done: u64,
    bytes: u64,
    /// Whether it uses memory of another user, which it must not keep without bound.
    foreign: bool,
    /// Number of consecutive steps that were blocked.
    blocked: u32,
    completion: Option<Completion>,
    /// The next job in a list of the queue; see `queue`.
    pub(super) next: Option<KBox<Job>>,
    engine: Option<DmaMode>,
    /// By which path it is copied, and its time, for the statistics.
    path: Path,
    timer: Timer,
}

/// Milliseconds before a blocked copy is retried.
pub(crate) const RETRY: u32 = 5;
/// Consecutive times that a copy may be blocked if it uses memory of another user: 10 s.
const MOST_BLOCKED: u32 = 2000;

/// Whether a task waits for the DMA channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DmaMode {
    /// The task that executes the job waits.
    Attached,
    /// No task waits (ASYNCDMACOMPLETE).
    Detached,
}

impl Job {
    /// Creates a copy of at most `bound` bytes.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(source: Side, destination: Side, bound: u64, timer: Timer) -> Result<Self> {
        let (from, to) = (source.offset(), destination.offset());
        let foreign = source.is_foreign() || destination.is_foreign();
        let bytes = steps::bytes(source.memory().length(), from, destination.memory().length(), to, bound);
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

    /// Returns the job with a completion to report to.
    pub(crate) fn reporting(self, completion: Option<Completion>) -> Self {
        Self { completion, ..self }
    }

    /// Assigns the job to a DMA channel.
    pub(crate) fn set_engine(&mut self, mode: DmaMode) {
        self.engine = Some(mode);
        self.path = Path::Engine;
    }

    /// Records that the worker thread has the job. If that uses a DMA channel, the job counts as one of DMA.
    pub(crate) fn set_threaded(&mut self) {
        if self.engine.is_none() {
            self.path = Path::Thread;
        }
    }

    /// Assigns the rest of the job to the CPU. It still counts as one of DMA.
    pub(crate) fn forgo_engine(&mut self) {
        self.engine = None;
    }

    /// Returns whether a DMA channel executes the job, and if so, whether a task waits for that.
    pub(crate) fn engine(&self) -> Option<DmaMode> {
        self.engine
    }

    /// Returns the positions in source and destination, if both sides stay pinned. DMA requires that.
    pub(crate) fn positions(&self) -> Option<(Position<'_>, Position<'_>)> {
        Some((self.from.position(self.source.memory())?, self.to.position(self.destination.memory())?))
    }

    /// Returns how many bytes the job copies.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how many bytes are left to copy.
    pub(crate) fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.done)
    }

    /// Records that the next `copied` bytes are copied.
    pub(crate) fn advance(&mut self, copied: u64) {
        self.from.advance(self.source.memory(), copied);
        self.to.advance(self.destination.memory(), copied);
        self.done = self.done.saturating_add(copied);
    }

    /// Accepts the request: consumes single-use regions and stores PENDING in the slot.
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

    /// Copies the next part with this CPU, until `interrupted` is true. With `wait`, the task may wait for memory that
    /// is not pinned.
    pub(crate) fn step(&mut self, wait: bool, interrupted: impl Fn() -> bool) -> Progress {
        let left = steps::next(self.bytes, self.done);
        if left == 0 {
            return Progress::Done(STATUS_SUCCESS);
        }
        let copied = if let Some((source, destination)) = self.positions() {
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

    /// Copies a window of memory that is not pinned, `left` bytes at most. Returns how many.
    fn window(&mut self, left: u64, wait: bool) -> Result<u64, Stop> {
        // Memory that must not be written may be shared with other processes, and must not change.
        if !self.destination.memory().writable() {
            return Err(Stop::Error(EFAULT));
        }
        let source = self.from.open(self.source.memory(), left, wait)?;
        let mut destination = self.to.open(self.destination.memory(), source.bytes(), wait)?;
        let bytes = destination.bytes();
        copy::views(&source, &mut destination, bytes);
        Ok(bytes)
    }

    /// Copies with this CPU in the calling task, until the copy is done or `interrupted` is true. Returns a status.
    pub(crate) fn copy(&mut self, interrupted: impl Fn() -> bool) -> u8 {
        // A task that waits in the kernel can be killed, but its wait has no other bound.
        let wait = !self.foreign;
        loop {
            match self.step(wait, &interrupted) {
                Progress::Done(status) => return status,
                Progress::More => {}
                // An error means that the task is killed; `interrupted` is true then.
                Progress::Blocked => drop(task::sleep(RETRY)),
            }
            if interrupted() {
                return STATUS_FAILED;
            }
            task::resched();
        }
    }

    /// Reports the status before the end of the request, whose memory may still be in use, but no longer affects the
    /// result.
    pub(crate) fn publish(&mut self, status: u8) {
        if let Some(completion) = self.completion.take() {
            completion.publish(status);
        }
    }

    /// Ends the request: releases its memory, which may sleep, and then reports. In this order, so that a process which
    /// sees the status finds the accounts settled.
    pub(crate) fn finish(self: KBox<Self>, status: u8) {
        KBox::into_inner(self).end(status);
    }

    /// Ends the request, as [`Job::finish`].
    pub(crate) fn end(mut self, status: u8) {
        let completion = self.completion.take();
        self.timer.stop(self.path, self.bytes, status);
        drop(self);
        if let Some(completion) = completion {
            completion.publish(status);
        }
    }
}
