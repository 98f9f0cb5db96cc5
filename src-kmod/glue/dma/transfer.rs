// SPDX-License-Identifier: GPL-2.0-only
//! A job on a DMA channel, owned by its driver. There is one driver at a time.

use crate::glue::dma::channel::Using;
use crate::glue::dma::flight::Flight;
use crate::glue::dma::{pool, RunResult, Waiter};
use crate::glue::job::Job;
use crate::glue::{counters, ffi, params, task};
use crate::logic::counter::Counter;
use crate::logic::dma::{self, End};
use crate::logic::steps::{Step, Steps, MAX_STEP, WORK};
use crate::uapi::{STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;
use kernel::sync::Arc;

/// A job with its channel.
pub(super) struct Transfer {
    job: KBox<Job>,
    flight: Arc<Flight>,
    channel: Using,
    /// Bytes of the job, as it was at the start of the transfer, that were submitted or copied.
    submitted: u64,
    /// Whether the driver is a task that works in turns, how many bytes the CPU has copied in this turn, and whether
    /// the turn is over.
    in_turns: bool,
    copied: u64,
    paused: bool,
    /// Whether the CPU copies the rest.
    by_cpu: bool,
    end: End,
    /// Number of outstanding descriptors at its last change, and the time of that.
    progress: (u32, u64),
}

/// Cost of a chunk in addition to its bytes, in bytes, for the checks whether other tasks need the CPU: a million
/// chunks of one byte each must let them run.
const CHUNK_COST: u64 = 256;

impl Transfer {
    /// Prepares a transfer. Returns the job if there is no memory.
    pub(super) fn new(job: KBox<Job>, channel: Using, in_turns: bool) -> Result<Self, KBox<Job>> {
        match Flight::new() {
            Err(_) => Err(job),
            Ok(flight) => Ok(Self {
                job,
                flight,
                channel,
                submitted: 0,
                in_turns,
                copied: 0,
                paused: false,
                by_cpu: false,
                end: End::default(),
                progress: (0, now()),
            }),
        }
    }

    /// Drives the transfer in the calling task, until it has ended or is left to the work item.
    pub(super) fn drive(mut self, waiter: Waiter<'_>) -> RunResult {
        let over = || waiter.over();
        let stopping: Option<&dyn Fn() -> bool> = match waiter {
            Waiter::Thread(stopping) => Some(stopping),
            Waiter::Caller | Waiter::None => None,
        };
        loop {
            let Some(mark) = self.advance(&over) else {
                self.conclude();
                if self.paused && self.end.success() && self.submitted < self.job.left() {
                    return RunResult::Rest(self.rest());
                }
                let status = self.status();
                return RunResult::Done(self.job, status);
            };
            if !matches!(waiter, Waiter::None) {
                self.flight.wait(self.patience(), stopping);
                self.flight.wake();
                if over() {
                    self.cut_short();
                } else {
                    self.check_timeout();
                    if !self.end.timed_out {
                        continue;
                    }
                }
                if self.flight.outstanding() == 0 {
                    continue;
                }
            }
            return self.leave(mark);
        }
    }

    /// Returns the rest of the job. All descriptors must have ended.
    fn rest(mut self) -> KBox<Job> {
        self.job.advance(self.submitted);
        if self.by_cpu {
            self.job.forgo_engine();
        }
        self.job
    }

    /// Leaves the transfer to the work item, which does not work in turns.
    fn leave(mut self, mark: u32) -> RunResult {
        self.flight.wake();
        (self.in_turns, self.paused) = (false, false);
        let mark = if self.complete() { 0 } else { mark };
        let (flight, time) = (self.flight.clone(), self.time());
        // SAFETY: The module cannot be unloaded now, since a file is open or is being closed by the caller.
        unsafe { ffi::knem_dma_hold_module() };
        self.report_failure();
        flight.leave(self, mark, time);
        RunResult::InFlight
    }

    /// Submits what can be submitted, and announces a sleep until the returned mark. Returns `None` if all was
    /// submitted and has ended.
    fn advance(&mut self, over: &dyn Fn() -> bool) -> Option<u32> {
        loop {
            let before = self.submitted;
            if !self.complete() {
                self.submit(over);
            }
            let complete = self.complete();
            let outstanding = self.flight.outstanding();
            if self.submitted != before || outstanding != self.progress.0 {
                self.progress = (outstanding, now());
            }
            let mark = if complete { 0 } else { dma::refill_mark(outstanding) };
            if self.flight.sleep(mark) {
                return Some(mark);
            }
            if complete {
                return None;
            }
        }
    }

    /// Whether nothing more will be submitted.
    fn complete(&self) -> bool {
        let all = self.submitted >= self.job.left();
        all || self.paused || self.end.timed_out || self.end.cut_short || self.flight.failed()
    }

    /// Submits chunks to the channel and copies others, until the channel has enough, all is done, or `over` is true.
    fn submit(&mut self, over: &dyn Fn() -> bool) {
        // `run` has checked that both sides stay pinned.
        let Some((source, destination)) = self.job.positions() else {
            self.end.cut_short = true;
            return;
        };
        let left = source.memory.pieces(source.offset.saturating_add(self.submitted));
        let right = destination.memory.pieces(destination.offset.saturating_add(self.submitted));
        let limits = self.channel.limits();
        let (mut submitted, mut by_cpu) = (self.submitted, self.by_cpu);
        let (mut cut_short, mut paused) = (false, false);
        let (mut since_check, mut copied) = (0u64, self.copied);
        'steps: for mut step in Steps::new(left, right, self.job.left().saturating_sub(submitted)) {
            while step.len != 0 {
                if since_check >= MAX_STEP {
                    if over() {
                        cut_short = true;
                        break 'steps;
                    }
                    if self.flight.failed() {
                        break 'steps;
                    }
                    task::resched();
                    since_check = 0;
                }
                if self.in_turns && copied >= WORK {
                    paused = true;
                    break 'steps;
                }
                let chunk = limits.cut(&step);
                let part = Step { len: chunk.len, ..step };
                let mut engine = chunk.engine && !by_cpu;
                if engine {
                    match self.hand_over(part) {
                        Handed::Over => {}
                        Handed::Later => break 'steps,
                        Handed::Never => {
                            by_cpu = true;
                            engine = false;
                        }
                    }
                }
                if !engine {
                    // SAFETY: By the invariant of `Pinned`, both sides are pinned and mapped for the length of `part`,
                    // and the destination is pinned for writing, as `run` has checked. The two may overlap, which C
                    // allows.
                    unsafe {
                        ffi::knem_shim_copy(part.right as *mut c_void, part.left as *const c_void, part.len as c_ulong)
                    };
                    copied = copied.saturating_add(part.len);
                }
                submitted = submitted.saturating_add(chunk.len);
                since_check = since_check.saturating_add(chunk.len).saturating_add(CHUNK_COST);
                step = dma::after(step, chunk.len);
            }
        }
        self.channel.issue();
        self.submitted = submitted;
        self.by_cpu = by_cpu;
        self.copied = copied;
        self.paused = paused;
        self.end.cut_short |= cut_short;
    }

    fn hand_over(&self, part: Step) -> Handed {
        if self.flight.outstanding() >= dma::WINDOW {
            return Handed::Later;
        }
        match self.channel.submit(part, &self.flight) {
            Ok(()) => Handed::Over,
            // Again as soon as some of this transfer's have ended.
            Err(_) if self.flight.outstanding() != 0 && !self.channel.useless() => Handed::Later,
            Err(error) => {
                if error == EIO {
                    self.channel.judge(false);
                }
                Handed::Never
            }
        }
    }

    /// Cuts the transfer short, because the driving task must stop.
    fn cut_short(&mut self) {
        self.end.cut_short |= self.submitted < self.job.left();
    }

    /// Returns how many milliseconds the channel may take to complete something.
    fn timeout(&self) -> u64 {
        u64::from(params::dma_timeout().max(1))
    }

    /// Returns the milliseconds until the next check whether the channel makes progress.
    fn patience(&self) -> u32 {
        let idle = now().saturating_sub(self.progress.1);
        let left = self.timeout().saturating_sub(idle).max(1);
        // A channel that is late is checked every eighth of the timeout.
        u32::try_from(left.max(self.timeout() >> 3)).unwrap_or(u32::MAX)
    }

    /// Returns [`Transfer::patience`], unless the channel is given up already.
    fn time(&self) -> Option<u32> {
        (!self.end.timed_out).then(|| self.patience())
    }

    /// Gives the channel up if it makes no progress.
    fn check_timeout(&mut self) {
        let (outstanding, now) = (self.flight.outstanding(), now());
        if self.progress.0 != outstanding {
            self.progress = (outstanding, now);
        }
        let idle = now.saturating_sub(self.progress.1);
        if outstanding == 0 || self.end.timed_out || !dma::overdue(idle, self.channel.idle(), self.timeout()) {
            return;
        }
        self.end.timed_out = true;
        counters::count(Counter::DmaTimeout);
        pool::forget(&self.channel);
        self.channel.give_up();
    }

    /// Publishes the failure of a job whose channel was given up but still has some of the memory.
    fn report_failure(&mut self) {
        if self.end.timed_out {
            self.job.publish(STATUS_FAILED);
        }
    }

    /// Records the result. All descriptors must have ended.
    fn conclude(&mut self) {
        self.end.failed = self.flight.failed();
        if self.end.engine_failed() {
            counters::count(Counter::FailedDma);
        }
        if self.end.engine_failed() {
            self.channel.judge(false);
        } else if !self.by_cpu {
            self.channel.judge(true);
        }
    }

    fn status(&self) -> u8 {
        if self.end.success() {
            STATUS_SUCCESS
        } else {
            STATUS_FAILED
        }
    }
}

/// The result of submitting a chunk.
enum Handed {
    /// The channel has it.
    Over,
    /// The channel has enough for now.
    Later,
    /// The channel does not take it.
    Never,
}

/// Checks and drives a transfer that was left to the work item.
pub(super) fn check(mut transfer: Transfer) {
    transfer.check_timeout();
    let flight = transfer.flight.clone();
    match transfer.advance(&|| false) {
        Some(_) => {
            transfer.report_failure();
            let time = transfer.time();
            flight.put_back(transfer, time);
        }
        None => {
            transfer.conclude();
            let status = transfer.status();
            // A pending timer would have nothing to check, and could fire after the module is unloaded.
            flight.rest();
            let Transfer { job, channel, flight: own, .. } = transfer;
            job.finish(status);
            drop((channel, own, flight));
            // SAFETY: `leave` holds the module. The rest of this function runs in the work queue, whose end module
            // unload waits for.
            unsafe { ffi::knem_dma_let_module_go() };
        }
    }
}

/// Returns the milliseconds since some fixed time.
fn now() -> u64 {
    ffi::knem_dma_now()
}
