// SPDX-License-Identifier: GPL-2.0-only
//! A copy between pinned memories that was accepted, with all it needs: whoever has it can do it.

use crate::glue::completion::Completion;
use crate::glue::copy::{self, Place};
use crate::glue::pin::Pinned;
use crate::glue::region::Claimed;
use crate::glue::stats;
use crate::logic::plan;
use crate::logic::profile::Path;
use crate::uapi::STATUS_SUCCESS;
use kernel::prelude::*;

/// One side of a copy.
pub(crate) enum Side {
    /// A region, from a byte on.
    Region(Claimed, u64),
    /// Memory of the caller, pinned for the request.
    Local(Pinned),
}

impl Side {
    fn place(&self) -> Place<'_> {
        match self {
            Self::Region(claimed, offset) => Place { memory: claimed.region().memory(), offset: *offset },
            Self::Local(memory) => Place { memory, offset: 0 },
        }
    }

    fn length(&self) -> (u64, u64) {
        let place = self.place();
        (place.memory.length(), place.offset)
    }
}

/// A copy that owns its memory.
pub(crate) struct Job {
    source: Side,
    destination: Side,
    bytes: u64,
    /// How many of them are copied, where that is done in steps.
    done: u64,
    completion: Option<Completion>,
    /// The job before this one in a file's queue; see `queue`.
    pub(super) next: Option<KBox<Job>>,
    engine: Option<Waits>,
    /// How it is made, and when the request began, for the statistics.
    path: Path,
    started: u64,
}

/// How far a step has brought a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to do.
    More,
    /// It cannot go on now, but maybe soon.
    #[allow(dead_code)] // Pinned memory never blocks.
    Blocked,
    /// It is done, with this status.
    Done(u8),
}

/// Whether somebody waits for an engine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Whoever has submitted the job waits.
    Yes,
    /// Nobody does (ASYNCDMACOMPLETE).
    No,
}

impl Job {
    /// A copy of at most `bound` bytes, for a request that began at `started`.
    pub(crate) fn new(source: Side, destination: Side, bound: u64, started: u64) -> Self {
        let ((from_length, from), (to_length, to)) = (source.length(), destination.length());
        let bytes = plan::bytes(from_length, from, to_length, to, bound);
        Self {
            source,
            destination,
            bytes,
            done: 0,
            completion: None,
            next: None,
            engine: None,
            path: Path::Pinned,
            started,
        }
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

    /// Whether an engine is to do it, and if so, whether anybody waits for the engine.
    pub(crate) fn engine(&self) -> Option<Waits> {
        self.engine
    }

    /// Where the copy starts to read.
    pub(crate) fn source(&self) -> Place<'_> {
        self.source.place()
    }

    /// Where the copy starts to write.
    pub(crate) fn destination(&self) -> Place<'_> {
        self.destination.place()
    }

    /// How many bytes are copied.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
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

    /// Does the copy with this processor, until it is done or `interrupted`. Returns a status.
    pub(crate) fn copy(&self, interrupted: impl Fn() -> bool) -> u8 {
        copy::pinned(self.source(), self.destination(), self.bytes, interrupted)
    }

    /// Copies some of what is left with this CPU, until that is done or `interrupted`.
    pub(crate) fn step(&mut self, interrupted: impl Fn() -> bool) -> Progress {
        let after = |place: Place<'_>, done: u64| place.offset.saturating_add(done);
        let length = plan::next(self.bytes, self.done);
        let (source, destination) = (self.source(), self.destination());
        let source = Place { offset: after(source, self.done), ..source };
        let destination = Place { offset: after(destination, self.done), ..destination };
        let status = copy::pinned(source, destination, length, interrupted);
        self.done = self.done.saturating_add(length);
        if status == STATUS_SUCCESS && self.done < self.bytes {
            Progress::More
        } else {
            Progress::Done(status)
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
        stats::ended(self.path, self.started, self.bytes, status);
        drop(self);
        if let Some(completion) = completion {
            completion.publish(status);
        }
    }
}
