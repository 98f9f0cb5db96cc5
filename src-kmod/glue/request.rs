// SPDX-License-Identifier: GPL-2.0-only
//! A copy request, from its checks to the task that executes it. The order of the checks is part of the interface
//! (knem(4)). A request that is refused changes nothing.

use crate::glue::charge::{Payer, Terms};
use crate::glue::completion::Completion;
use crate::glue::context::Context;
use crate::glue::copy::{self, Direction};
use crate::glue::counters::Timer;
use crate::glue::dma;
use crate::glue::job::{DmaMode, Job, Side};
use crate::glue::memory::{Memory, Reach, View};
use crate::glue::pin::{How, Pages, Stop, BATCH, FEW, SMALL};
use crate::glue::regions::Claimed;
use crate::glue::segments::{Failure, Segments};
use crate::glue::window::Walk;
use crate::glue::{counters, params, task};
use crate::logic::access::Want;
use crate::logic::counter::Counter;
use crate::logic::flags::{self, Worker};
use crate::logic::memlock::FLOOR;
use crate::logic::refusal::Refusal;
use crate::logic::segment::{self, Cursor};
use crate::logic::statistics::Path;
use crate::logic::steps;
use crate::uapi::{Cookie, ParamIovec, STATUS_FAILED, STATUS_PENDING, STATUS_SUCCESS};
use core::mem::{replace, MaybeUninit};
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;

/// A region and the offset at which a copy starts.
pub(crate) type Start = (Cookie, u64);

/// Memory for a request that outlives the call.
type Home = KBox<MaybeUninit<Job>>;

/// Consecutive times that a copy may find that the page it has just faulted in is not present any more.
const MOST_IDLE: u32 = 1000;

/// Who executes a request. Decided once, from the flags; DMA is dropped later only if memory does not stay pinned.
enum Carrier {
    /// The calling task, before the call returns.
    Caller,
    /// The context's worker thread, with or without a DMA channel.
    Thread(Home, Option<DmaMode>),
    /// A DMA channel, driven by the calling task.
    Engine(Home, DmaMode),
}

/// A request.
pub(crate) struct Request<'a> {
    context: &'a Context,
    /// Its time, for the statistics. `None` if the calling task copies; whether the time is measured then depends on
    /// the length.
    timer: Option<Timer>,
    flags: flags::Copy,
    completion: Option<Completion>,
    carrier: Carrier,
}

impl<'a> Request<'a> {
    /// Creates a request whose flags are valid, and which has to be [started](Request::start). It is built in place and
    /// not moved.
    pub(crate) const fn new(context: &'a Context, flags: flags::Copy) -> Self {
        Self { context, timer: None, flags, completion: None, carrier: Carrier::Caller }
    }

    /// Starts the request. `slot` is the slot that gets the result, if the status array gets it.
    ///
    /// # Errors
    /// EINVAL if DMA is requested and there is no channel; EAGAIN, ERESTARTNOINTR and EINTR as
    /// [`Context::start_thread`]; EBUSY if the queue of events or of requests is full; ENOMEM.
    #[inline]
    pub(crate) fn start(&mut self, slot: Option<u32>) -> Result {
        self.context.mark_used();
        if slot.is_some() || self.flags.outlives_call() {
            return self.find_help(slot);
        }
        counters::count(Counter::Submitted);
        Ok(())
    }

    /// Starts a request that has a slot, or is for DMA or the worker thread.
    #[inline(never)]
    fn find_help(&mut self, slot: Option<u32>) -> Result {
        let (context, flags) = (self.context, self.flags);
        self.timer = Some(Timer::start());
        let no_engine = flags.dma() && !dma::available();
        // The thread is started before the request is counted, because the call is restarted if a signal has to be
        // handled first.
        let thread = match flags.worker() {
            Worker::Thread if !no_engine => context.start_thread(),
            _ => Ok(()),
        };
        if thread.is_err_and(|error| error == ERESTARTNOINTR) {
            return Err(ERESTARTNOINTR);
        }
        counters::count(Counter::Submitted);
        if no_engine {
            counters::count(Counter::RejectedFlags);
            return Err(Refusal::BadFlags.into());
        }
        thread.inspect_err(|error| {
            counters::count(if *error == EAGAIN { Counter::RejectedThread } else { Counter::RejectedMemory });
        })?;
        let threaded = flags.worker() == Worker::Thread;
        if let (Some(slot), Some(offload)) = (slot, context.offload()) {
            // The check of the flags has found the status array, so that a request with a slot has an offload.
            self.completion = Some(Completion::new(offload.completions().clone(), slot, flags.notify(), threaded)?);
        }
        let engine = flags.dma().then_some(if flags.detached() { DmaMode::Detached } else { DmaMode::Attached });
        let home = || KBox::new_uninit(GFP_KERNEL_ACCOUNT).inspect_err(|_| counters::count(Counter::RejectedMemory));
        self.carrier = match (threaded, engine) {
            (true, engine) => Carrier::Thread(home()?, engine),
            (false, Some(mode)) => Carrier::Engine(home()?, mode),
            (false, None) => Carrier::Caller,
        };
        Ok(())
    }

    /// Copies between regions, `bound` bytes at most. Returns the status for the caller.
    ///
    /// # Errors
    /// EINVAL, EPERM, EACCES.
    pub(crate) fn copy(&mut self, source: Start, destination: Start, bound: u64) -> Result<u8> {
        let from = find(source.0, Want::Read)?;
        let to = find(destination.0, Want::Write)?;
        counters::count(Counter::Processed);
        let pinned = |region: &Claimed| region.region().memory().pinned().is_some();
        if matches!(self.carrier, Carrier::Caller) && pinned(&from) && pinned(&to) {
            return Ok(self.run_regions((from, source.1), (to, destination.1), bound));
        }
        let (from, to) = (Side::Region(from, source.1), Side::Region(to, destination.1));
        let timer = self.timer.unwrap_or_else(Timer::start);
        let job = Job::new(from, to, bound, timer).inspect_err(|_| counters::count(Counter::RejectedMemory))?;
        Ok(self.run(job))
    }

    /// Copies between a region and the caller's memory, `bound` bytes at most. Returns the status for the caller.
    ///
    /// # Errors
    /// EFAULT or EINVAL for the segments, ENOMEM; EINVAL, EPERM, EACCES for the region; the errors of pinning.
    pub(crate) fn inline(&mut self, local: (u64, u32), direction: Direction, remote: Start, bound: u64) -> Result<u8> {
        let mut segments = Segments::none();
        segments.fill(local.0, local.1).inspect_err(|failure| {
            counters::count(match failure {
                Failure::NoMemory(_) => Counter::RejectedMemory,
                Failure::Argument(_) => Counter::RejectedArgument,
            });
        })?;
        let write = direction == Direction::Write;
        let region = find(remote.0, if write { Want::Write } else { Want::Read })?;
        counters::count(Counter::Processed);
        let (foreign, pins) = (region.is_foreign(), self.flags.pins(write, params::pin_reads()));
        let bytes = steps::bytes(region.region().memory().length(), remote.1, segments.measure().bytes, 0, bound);
        let path = if pins && !foreign { Path::Pinned } else { Path::Mapped };
        let timer = *self.timer.get_or_insert_with(|| Timer::of(path, bytes));
        if foreign && matches!(self.carrier, Carrier::Caller) {
            return self.run_foreign(region, remote, &segments, direction, bytes, pins);
        }
        if !pins {
            return self.run_mapped(region, remote.1, &segments, direction, bytes);
        }
        if matches!(self.carrier, Carrier::Caller) {
            return self.run_windows(region, remote.1, &segments, direction, bytes);
        }
        // Pinning may wait, during which the request must not keep the memory of another user.
        let held = (!foreign).then_some(region);
        // Memory of a request that outlives the call may stay pinned for an unbounded time, and is charged as a region
        // is.
        let memory = Memory::new(self.context.account(), &mut segments, !write);
        let local = Side::Local(memory.inspect_err(|_| counters::count(Counter::RejectedPin))?);
        let region = match held {
            Some(region) => region,
            None => find(remote.0, if write { Want::Write } else { Want::Read })?,
        };
        let region = Side::Region(region, remote.1);
        let job = match direction {
            Direction::Read => Job::new(region, local, bound, timer),
            Direction::Write => Job::new(local, region, bound, timer),
        };
        let job = job.inspect_err(|_| counters::count(Counter::RejectedPin))?;
        counters::count(Counter::ProcessedPinned);
        Ok(self.run(job))
    }

    /// Accepts the request: consumes a single-use region and stores PENDING in the slot.
    fn accept(&self, region: &mut Claimed, bytes: u64) {
        region.accept();
        if let Some(completion) = &self.completion {
            completion.start();
        }
        self.context.tally(bytes);
    }

    /// Ends a request that the calling task has executed: releases its regions, and then reports. Returns the status
    /// for the caller.
    fn settle<Held>(&mut self, held: Held, path: Path, bytes: u64, status: u8) -> u8 {
        self.timer.unwrap_or_else(Timer::start).stop(path, bytes, status);
        drop(held);
        if let Some(completion) = self.completion.take() {
            completion.publish(status);
            return if bytes == 0 { STATUS_PENDING } else { status };
        }
        status
    }

    /// Accepts and executes a copy between a region of another user and the caller's memory. While it waits for a page
    /// of the caller's, it holds nothing of the region: a caller that never gets the page cannot keep the memory of an
    /// owner that has destroyed the region or exited. The copy fails then. With `pins`, errors and counters are those
    /// of a request that pins.
    ///
    /// # Errors
    /// EFAULT with `pins` if the first page cannot be accessed as required; EINVAL if the region is destroyed before
    /// the copy begins; ENOMEM for a region that is not pinned.
    fn run_foreign(
        &mut self,
        region: Claimed,
        remote: Start,
        local: &Segments,
        way: Direction,
        bytes: u64,
        pins: bool,
    ) -> Result<u8> {
        let want = if way == Direction::Write { Want::Write } else { Want::Read };
        let once = region.region().is_single_use();
        let mut region = if once || pins {
            drop(region);
            if pins && !copy::fault_in(local, Cursor::default(), way, bytes.min(1)) {
                counters::count(Counter::RejectedPin);
                return Err(EFAULT);
            }
            if once {
                // The first use consumes the region, so that there is only one attempt: the caller's memory is faulted
                // in before. The copy finds out whether it is present.
                let _ = copy::fault_in(local, Cursor::default(), way, bytes);
            }
            find(remote.0, want)?
        } else {
            region
        };
        let mut reach =
            Reach::new(region.region().memory(), remote.1).inspect_err(|_| counters::count(Counter::RejectedMemory))?;
        if pins {
            counters::count(Counter::ProcessedPinned);
        }
        self.accept(&mut region, bytes);
        let (mut held, mut at, mut left, mut idle) = (Some(region), Cursor::default(), bytes, 0u32);
        let status = loop {
            if left == 0 {
                break STATUS_SUCCESS;
            }
            let Some(claimed) = &held else { break STATUS_FAILED };
            let memory = claimed.region().memory();
            let Ok(copied) = copy::present(memory, &mut reach, local, at, way, left) else { break STATUS_FAILED };
            reach.advance(memory, copied);
            at = at.after(local.as_slice(), copied);
            left = left.saturating_sub(copied);
            idle = if copied == 0 { idle.saturating_add(1) } else { 0 };
            if left == 0 {
                continue;
            }
            if task::killed() || idle > MOST_IDLE {
                break STATUS_FAILED;
            }
            if copied == 0 {
                held = None;
                if once || !copy::fault_in(local, at, way, left.min(steps::MAX_STEP)) {
                    break STATUS_FAILED;
                }
                held = find(remote.0, want).ok();
            }
            task::resched();
        };
        if status == STATUS_FAILED {
            counters::count(Counter::FailedUserCopy);
        }
        Ok(self.settle(held, Path::Mapped, bytes, status))
    }

    /// Accepts and executes a copy between regions that stay pinned.
    fn run_regions(&mut self, source: (Claimed, u64), destination: (Claimed, u64), bound: u64) -> u8 {
        let ((mut from, source), (mut to, destination)) = (source, destination);
        let lengths = (from.region().memory().length(), to.region().memory().length());
        let bytes = steps::bytes(lengths.0, source, lengths.1, destination, bound);
        self.timer.get_or_insert_with(|| Timer::of(Path::Pinned, bytes));
        from.accept();
        self.accept(&mut to, bytes);
        let positions = (from.region().memory().position(source), to.region().memory().position(destination));
        let status = match positions {
            (Some(source), Some(destination)) => copy::pinned(source, destination, bytes, task::killed),
            // The caller has checked that both are pinned.
            _ => STATUS_FAILED,
        };
        self.settle((from, to), Path::Pinned, bytes, status)
    }

    /// Accepts and executes a copy through the caller's mapping.
    ///
    /// # Errors
    /// ENOMEM for a region that is not pinned.
    fn run_mapped(
        &mut self,
        mut region: Claimed,
        offset: u64,
        local: &Segments,
        way: Direction,
        bytes: u64,
    ) -> Result<u8> {
        let memory = region.region().memory();
        if memory.pinned().is_some() {
            self.accept(&mut region, bytes);
        }
        if let Some(position) = region.region().memory().position(offset) {
            let copied = copy::through(position, local.as_slice(), way, bytes, true);
            let status = if copied == bytes { STATUS_SUCCESS } else { STATUS_FAILED };
            if status == STATUS_FAILED {
                counters::count(Counter::FailedUserCopy);
            }
            return Ok(self.settle(region, Path::Mapped, bytes, status));
        }
        let memory = region.region().memory();
        let mut reach = Reach::new(memory, offset).inspect_err(|_| counters::count(Counter::RejectedMemory))?;
        self.accept(&mut region, bytes);
        let status = copy::mapped(region.region().memory(), &mut reach, local, way, bytes);
        Ok(self.settle(region, Path::Mapped, bytes, status))
    }

    /// Accepts and executes a request that pins the caller's side, within the call. Unless the caller requests pinning
    /// (PINLOCAL), memory that is present is copied through the mapping, which is faster and has the same result. The
    /// rest is pinned window by window.
    ///
    /// # Errors
    /// EFAULT if the first page cannot be accessed as required, EINTR if the caller is killed before the copy begins;
    /// ENOMEM.
    fn run_windows(
        &mut self,
        mut region: Claimed,
        offset: u64,
        local: &Segments,
        way: Direction,
        bytes: u64,
    ) -> Result<u8> {
        let memory = region.region().memory();
        let mut done = 0u64;
        if let Some(position) = memory.position(offset).filter(|_| !self.flags.pin_local()) {
            done = copy::through(position, local.as_slice(), way, bytes, false);
        }
        if done != 0 || bytes == 0 {
            counters::count(Counter::ProcessedPinned);
            self.accept(&mut region, bytes);
        }
        let mut result = Ok(STATUS_SUCCESS);
        if done != bytes {
            result = self.windows(&mut region, offset, local.as_slice(), way, (done, bytes));
        }
        let status = match result {
            Ok(status) => status,
            Err(error) if !region.is_accepted() => {
                counters::count(Counter::RejectedPin);
                return Err(error);
            }
            Err(_) => {
                counters::count(Counter::FailedUserCopy);
                STATUS_FAILED
            }
        };
        Ok(self.settle(region, Path::Pinned, bytes, status))
    }

    /// Copies bytes `span.0` to `span.1` of the request with the caller's side pinned window by window: no more of it
    /// than is copied, and no more at a time than a batch. Accepts the request when its first window is pinned. Returns
    /// the status.
    ///
    /// # Errors
    /// The error that ended the copy, which may be accepted by then.
    fn windows(
        &self,
        region: &mut Claimed,
        offset: u64,
        segments: &[ParamIovec],
        way: Direction,
        span: (u64, u64),
    ) -> Result<u8> {
        let mut left = span.1.saturating_sub(span.0);
        let memory = region.region().memory();
        let mut reach = Reach::new(memory, offset)?;
        reach.advance(memory, span.0);
        let start = Cursor::default().after(segments, span.0);
        let pages = segment::touched_by(segment::pieces_from(segments, start, left), PAGE_SHIFT as u32, BATCH as u64);
        // A request that is no longer than the shortest window is not charged to its user, to save the cost.
        let payer = if pages <= FLOOR { None } else { Some(Payer::calling(self.context.account())?) };
        let mut walk = Walk::new(start, payer, Terms::calling());
        let mut small = FEW;
        let mut large;
        let buffer = if pages <= SMALL as u64 {
            &mut small
        } else {
            large = Pages::new()?;
            large.as_mut()
        };
        while left != 0 {
            let window = walk.open(How::Calling, segments, way == Direction::Read, left, buffer);
            let window = window.map_err(Stop::or_fault)?;
            if !region.is_accepted() {
                counters::count(Counter::ProcessedPinned);
                self.accept(region, span.1);
            }
            let memory = region.region().memory();
            let copied = copy::window(memory, &mut reach, View::Window(window), way).map_err(Stop::or_fault)?;
            walk.advance(segments, copied);
            reach.advance(memory, copied);
            left = left.saturating_sub(copied);
            if left != 0 && task::killed() {
                return Ok(STATUS_FAILED);
            }
            task::resched();
        }
        Ok(STATUS_SUCCESS)
    }

    /// Accepts a copy, and executes it or passes it to its carrier.
    fn run(&mut self, job: Job) -> u8 {
        let asynchronous = self.completion.is_some();
        let mut job = job.reporting(self.completion.take());
        job.accept();
        self.context.tally(job.bytes());
        if job.bytes() == 0 {
            job.end(STATUS_SUCCESS);
            // As in the original driver: a caller that passed a slot gets the result only there.
            return if asynchronous { STATUS_PENDING } else { STATUS_SUCCESS };
        }
        // DMA channels only get memory that stays pinned.
        let carrier = match replace(&mut self.carrier, Carrier::Caller) {
            Carrier::Thread(home, Some(_)) if job.positions().is_none() => Carrier::Thread(home, None),
            Carrier::Engine(..) if job.positions().is_none() => Carrier::Caller,
            carrier => carrier,
        };
        let status = match (carrier, self.context.offload()) {
            (Carrier::Thread(home, engine), Some(offload)) => {
                counters::count(Counter::ProcessedThread);
                Self::prepare(&mut job, engine);
                job.set_threaded();
                offload.submit(KBox::write(home, job));
                STATUS_PENDING
            }
            (Carrier::Engine(home, mode), _) => {
                Self::prepare(&mut job, Some(mode));
                Self::drive(KBox::write(home, job), mode)
            }
            // The check of the flags has found the status array, so that there is an offload for the worker thread.
            (Carrier::Caller | Carrier::Thread(..), _) => {
                let status = job.copy(task::killed);
                job.end(status);
                status
            }
        };
        // The result of the call must depend neither on which is faster nor on whether the CPU copies in the channel's
        // stead.
        if self.flags.dma() && self.flags.detached() {
            STATUS_PENDING
        } else {
            status
        }
    }

    /// Assigns the job to DMA, if it was requested.
    fn prepare(job: &mut Job, engine: Option<DmaMode>) {
        if let Some(mode) = engine {
            counters::count(Counter::ProcessedDma);
            job.set_engine(mode);
        }
    }

    /// Executes the job on a DMA channel for the calling task.
    fn drive(job: KBox<Job>, mode: DmaMode) -> u8 {
        let waiter = match mode {
            DmaMode::Attached => dma::Waiter::Caller,
            DmaMode::Detached => dma::Waiter::None,
        };
        match dma::run(job, waiter, false) {
            dma::RunResult::Done(job, status) => {
                job.finish(status);
                status
            }
            dma::RunResult::Rest(mut job) => {
                let status = job.copy(task::killed);
                job.finish(status);
                status
            }
            // Either the caller is killed and does not read the status; or the channel was given up, and still has some
            // of the memory; or the request is detached, and its caller gets PENDING.
            dma::RunResult::InFlight => STATUS_FAILED,
        }
    }
}

/// Finds the region with this cookie and claims it for this request.
///
/// # Errors
/// EINVAL, EPERM, EACCES.
#[inline(always)]
fn find(cookie: Cookie, want: Want) -> Result<Claimed> {
    Claimed::new(cookie, want).inspect_err(|_| counters::count(Counter::RejectedCookie))
}
