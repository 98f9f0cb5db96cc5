// SPDX-License-Identifier: GPL-2.0-only
//! A copy request's way from the checks to whoever does it. The order of the checks is part of the interface
//! (knem(4)); a request that is refused leaves everything as it was.

use crate::glue::completion::Completion;
use crate::glue::context::Context;
use crate::glue::copy::{self, Direction, Place};
use crate::glue::dma;
use crate::glue::job::{Job, Side, Waits};
use crate::glue::pin::{Lifetime, Pinned};
use crate::glue::region::Claimed;
use crate::glue::segments::{Failure, Segments};
use crate::glue::{params, stats, table, task};
use crate::logic::access::Want;
use crate::logic::counter::Counter;
use crate::logic::flags::{self, Worker};
use crate::logic::plan;
use crate::logic::profile::Path;
use crate::logic::refusal::Refusal;
use crate::uapi::{Cookie, STATUS_FAILED, STATUS_PENDING, STATUS_SUCCESS};
use core::mem::MaybeUninit;
use kernel::prelude::*;

/// A region and a byte of it where a copy starts.
pub(crate) type Start = (Cookie, u64);

/// A request that has passed the first checks, and counts.
pub(crate) struct Request<'a> {
    context: &'a Context,
    /// When it began, for the statistics.
    started: u64,
    flags: flags::Copy,
    completion: Option<Completion>,
    /// Where the request will live if it outlives the call.
    home: Option<KBox<MaybeUninit<Job>>>,
}

impl<'a> Request<'a> {
    /// Takes a request whose flags are fine. `slot` is where its result goes, if it goes to the status array.
    ///
    /// # Errors
    /// EINVAL if a DMA engine is asked for and there is none; EAGAIN, ERESTARTNOINTR and EINTR as [`Context::start_thread`]; EBUSY if the
    /// queue of events or of requests is full; ENOMEM.
    pub(crate) fn new(context: &'a Context, flags: flags::Copy, slot: Option<u32>) -> Result<Self> {
        let started = stats::now();
        context.mark_used();
        let no_engine = flags.dma && !dma::available();
        // Before the request counts: with a signal to be handled the call is repeated.
        let thread = match flags.worker() {
            Worker::Thread if !no_engine => context.start_thread(),
            _ => Ok(()),
        };
        if thread.is_err_and(|error| error == ERESTARTNOINTR) {
            return Err(ERESTARTNOINTR);
        }
        stats::count(Counter::Submitted);
        if no_engine {
            stats::count(Counter::RejectedFlags);
            return Err(Refusal::BadFlags.into());
        }
        thread.inspect_err(|error| {
            stats::count(if *error == EAGAIN { Counter::RejectedThread } else { Counter::RejectedMemory });
        })?;
        let completion = match (slot, context.offload()) {
            (Some(slot), Some(offload)) => {
                let queued = flags.worker() == Worker::Thread;
                Some(Completion::new(offload.reports().clone(), slot, flags.notify, queued)?)
            }
            // The flags' check has found the status array, so that there is an offload for each slot.
            _ => None,
        };
        let home = if flags.outlives_call() {
            let home = KBox::new_uninit(GFP_KERNEL_ACCOUNT);
            Some(home.inspect_err(|_| stats::count(Counter::RejectedMemory))?)
        } else {
            None
        };
        Ok(Self { context, started, flags, completion, home })
    }

    /// Copies between regions, `bound` bytes at most. Returns the status for the caller.
    ///
    /// # Errors
    /// EINVAL, EPERM, EACCES.
    pub(crate) fn copy(self, source: Start, destination: Start, bound: u64) -> Result<u8> {
        let from = find(source.0, Want::Read)?;
        let to = find(destination.0, Want::Write)?;
        stats::count(Counter::Processed);
        let (from, to) = (Side::Region(from, source.1), Side::Region(to, destination.1));
        let job = Job::new(from, to, bound, self.started);
        Ok(self.run(job))
    }

    /// Copies between a region and the caller's memory, `bound` bytes at most. Returns the status for the caller.
    ///
    /// # Errors
    /// EFAULT or EINVAL for the segments, ENOMEM; EINVAL, EPERM, EACCES for the region; what pinning gives.
    pub(crate) fn inline(self, local: (u64, u32), direction: Direction, remote: Start, bound: u64) -> Result<u8> {
        let segments = Segments::read(local.0, local.1).inspect_err(|failure| {
            stats::count(match failure {
                Failure::NoMemory(_) => Counter::RejectedMemory,
                Failure::Argument(_) => Counter::RejectedArgument,
            });
        })?;
        let write = direction == Direction::Write;
        let region = find(remote.0, if write { Want::Write } else { Want::Read })?;
        stats::count(Counter::Processed);
        if !self.flags.pins(write, params::pin_reads()) {
            return Ok(self.run_mapped(region, remote.1, &segments, direction, bound));
        }
        // What outlives the call may stay as long as others like, and is accounted as a region is.
        let lifetime = if self.flags.outlives_call() { Lifetime::Region } else { Lifetime::Request };
        let pinned = Pinned::new(&segments, !write, lifetime);
        let local = Side::Local(pinned.inspect_err(|_| stats::count(Counter::RejectedPin))?);
        stats::count(Counter::ProcessedPinned);
        let region = Side::Region(region, remote.1);
        let job = match direction {
            Direction::Read => Job::new(region, local, bound, self.started),
            Direction::Write => Job::new(local, region, bound, self.started),
        };
        Ok(self.run(job))
    }

    /// Accepts a copy through the caller's mapping, and does it.
    fn run_mapped(self, mut region: Claimed, offset: u64, local: &Segments, way: Direction, bound: u64) -> u8 {
        region.accept();
        if let Some(completion) = &self.completion {
            completion.start();
        }
        let place = Place { memory: region.region().memory(), offset };
        let bytes = plan::bytes(place.memory.length(), offset, local.measure().bytes, 0, bound);
        self.context.tally(bytes);
        let status = copy::mapped(place, local, way, bytes);
        stats::ended(Path::Mapped, self.started, bytes, status);
        drop(region);
        if let Some(completion) = self.completion {
            completion.publish(status);
            return if bytes == 0 { STATUS_PENDING } else { status };
        }
        status
    }

    /// Accepts a copy between pinned memories, and does it or gives it to whoever does.
    fn run(mut self, job: Job) -> u8 {
        let asynchronous = self.completion.is_some();
        let mut job = job.reporting(self.completion.take());
        job.accept();
        self.context.tally(job.bytes());
        if job.bytes() == 0 {
            job.end(STATUS_SUCCESS);
            // As the original: who asked for a slot finds the result there, and only there.
            return if asynchronous { STATUS_PENDING } else { STATUS_SUCCESS };
        }
        let Some(home) = self.home else {
            let status = job.copy(task::killed);
            job.end(status);
            return status;
        };
        if self.flags.dma {
            stats::count(Counter::ProcessedDma);
            job.set_engine(if self.flags.detached { Waits::No } else { Waits::Yes });
        }
        if self.flags.worker() == Worker::Thread {
            job.set_threaded();
        }
        let job = KBox::write(home, job);
        match (self.flags.worker(), self.context.offload()) {
            (Worker::Thread, Some(offload)) => {
                stats::count(Counter::ProcessedThread);
                offload.submit(job);
                STATUS_PENDING
            }
            _ => Self::drive(job, self.flags.detached),
        }
    }

    /// Has an engine do the job for the calling task.
    fn drive(job: KBox<Job>, detached: bool) -> u8 {
        match dma::run(job, if detached { dma::Wait::No } else { dma::Wait::Caller }) {
            dma::Outcome::Done(job, status) => {
                job.finish(status);
                status
            }
            dma::Outcome::InFlight if detached => STATUS_PENDING,
            // The caller has been killed and will not look, or the engine was given up, which still has some of the memory.
            dma::Outcome::InFlight => STATUS_FAILED,
        }
    }
}

/// The region with this cookie, claimed for this request.
///
/// # Errors
/// EINVAL, EPERM, EACCES.
fn find(cookie: Cookie, want: Want) -> Result<Claimed> {
    table::get(cookie)
        .and_then(|region| Claimed::new(region, want))
        .inspect_err(|_| stats::count(Counter::RejectedCookie))
}
