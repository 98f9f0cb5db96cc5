// SPDX-License-Identifier: GPL-2.0-only
//! A job that an engine does, as its driver has it: there is one driver at a time, and it is who owns this.

use crate::glue::dma::channel::Using;
use crate::glue::dma::flight::Flight;
use crate::glue::dma::{pool, Outcome, Wait};
use crate::glue::job::Job;
use crate::glue::{counters, ffi, params, task};
use crate::logic::counter::Counter;
use crate::logic::dma::{self, End};
use crate::logic::plan::{Step, Steps, MAX_STEP, WORK};
use crate::uapi::{STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;
use kernel::sync::Arc;

/// A job with its engine.
pub(super) struct Transfer {
    job: KBox<Job>,
    flight: Arc<Flight>,
    channel: Using,
    /// Bytes of what was left of the job that were submitted or copied.
    submitted: u64,
    /// Whether the driver is a task that works in turns, how many bytes the CPU has copied in this one, and whether it is over.
    in_turns: bool,
    copied: u64,
    paused: bool,
    /// Whether the processor is to copy what is left.
    by_processor: bool,
    end: End,
    /// How many descriptors were outstanding when that last changed, and when that was.
    progress: (u32, u64),
}

/// What a chunk costs beside its bytes, in bytes, where it is asked whether others should run: a plan of a million chunks
/// of a byte each must let them.
const CHUNK_COST: u64 = 256;

impl Transfer {
    /// Prepares a transfer. Gives the job back if there is no memory for that.
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
                by_processor: false,
                end: End::default(),
                progress: (0, now()),
            }),
        }
    }

    /// Drives the transfer as the calling task, until it has ended or is left to the work item.
    pub(super) fn drive(mut self, wait: Wait<'_>) -> Outcome {
        let over = || wait.over();
        let stopping: Option<&dyn Fn() -> bool> = match wait {
            Wait::Thread(stopping) => Some(stopping),
            Wait::Caller | Wait::No => None,
        };
        loop {
            let Some(mark) = self.advance(&over) else {
                self.conclude();
                if self.paused && self.end.success() && self.submitted < self.job.left() {
                    return Outcome::Rest(self.rest());
                }
                let status = self.status();
                return Outcome::Done(self.job, status);
            };
            if !matches!(wait, Wait::No) {
                self.flight.wait(self.patience(), stopping);
                self.flight.wake();
                if over() {
                    self.cut_short();
                } else {
                    self.look_at_the_clock();
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

    /// What is left of the job, when all descriptors have ended.
    fn rest(mut self) -> KBox<Job> {
        self.job.advance(self.submitted);
        if self.by_processor {
            self.job.forgo_engine();
        }
        self.job
    }

    /// Leaves the transfer to the work item, which works without turns.
    fn leave(mut self, mark: u32) -> Outcome {
        self.flight.wake();
        (self.in_turns, self.paused) = (false, false);
        let mark = if self.complete() { 0 } else { mark };
        let (flight, time) = (self.flight.clone(), self.time());
        // SAFETY: A file is open, or being closed by the caller: the module is in use.
        unsafe { ffi::knem_dma_hold_module() };
        self.report_failure();
        flight.leave(self, mark, time);
        Outcome::InFlight
    }

    /// Submits what can be, and announces to sleep until the returned mark. `None`: all is submitted, and has ended.
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

    /// Whether nothing more is to be submitted.
    fn complete(&self) -> bool {
        let all = self.submitted >= self.job.left();
        all || self.paused || self.end.timed_out || self.end.cut_short || self.flight.failed()
    }

    /// Hands chunks to the engine and copies others, until the engine has enough, all is done, or the driver is `over`.
    fn submit(&mut self, over: &dyn Fn() -> bool) {
        // A transfer has nothing else.
        let Some((source, destination)) = self.job.places() else {
            self.end.cut_short = true;
            return;
        };
        let left = source.memory.pieces(source.offset.saturating_add(self.submitted));
        let right = destination.memory.pieces(destination.offset.saturating_add(self.submitted));
        let limits = self.channel.limits();
        let (mut submitted, mut by_processor) = (self.submitted, self.by_processor);
        let (mut cut_short, mut paused) = (false, false);
        let (mut since_look, mut copied) = (0u64, self.copied);
        'plan: for mut step in Steps::new(left, right, self.job.left().saturating_sub(submitted)) {
            while step.len != 0 {
                if since_look >= MAX_STEP {
                    if over() {
                        cut_short = true;
                        break 'plan;
                    }
                    if self.flight.failed() {
                        break 'plan;
                    }
                    task::resched();
                    since_look = 0;
                }
                if self.in_turns && copied >= WORK {
                    paused = true;
                    break 'plan;
                }
                let chunk = limits.cut(&step);
                let part = Step { len: chunk.len, ..step };
                let mut engine = chunk.engine && !by_processor;
                if engine {
                    match self.hand_over(part) {
                        Handed::Over => {}
                        Handed::Later => break 'plan,
                        Handed::Never => {
                            by_processor = true;
                            engine = false;
                        }
                    }
                }
                if !engine {
                    // SAFETY: Both sides are pinned and mapped for as many bytes, by the invariant of `Pinned`; the
                    // destination is pinned for writing. They may overlap.
                    unsafe {
                        ffi::knem_shim_copy(part.right as *mut c_void, part.left as *const c_void, part.len as c_ulong)
                    };
                    copied = copied.saturating_add(part.len);
                }
                submitted = submitted.saturating_add(chunk.len);
                since_look = since_look.saturating_add(chunk.len).saturating_add(CHUNK_COST);
                step = dma::after(step, chunk.len);
            }
        }
        self.channel.issue();
        self.submitted = submitted;
        self.by_processor = by_processor;
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
            // As soon as some of ours have ended.
            Err(_) if self.flight.outstanding() != 0 && !self.channel.useless() => Handed::Later,
            Err(error) => {
                if error == EIO {
                    self.channel.judge(false);
                }
                Handed::Never
            }
        }
    }

    /// Whoever waits does not want to any longer.
    fn cut_short(&mut self) {
        self.end.cut_short |= self.submitted < self.job.left();
    }

    /// Milliseconds that the engine has for something.
    fn timeout(&self) -> u64 {
        u64::from(params::dma_timeout().max(1))
    }

    /// Milliseconds until it is to be looked whether the engine does something.
    fn patience(&self) -> u32 {
        let idle = now().saturating_sub(self.progress.1);
        let left = self.timeout().saturating_sub(idle).max(1);
        // An engine that is late is looked at now and then.
        u32::try_from(left.max(self.timeout() >> 3)).unwrap_or(u32::MAX)
    }

    /// As [`Transfer::patience`], unless the engine is given up already.
    fn time(&self) -> Option<u32> {
        (!self.end.timed_out).then(|| self.patience())
    }

    /// Gives the engine up if it does nothing.
    fn look_at_the_clock(&mut self) {
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

    /// Says at once that an engine was given up that still has some of the memory.
    fn report_failure(&mut self) {
        if self.end.timed_out {
            self.job.publish(STATUS_FAILED);
        }
    }

    /// All descriptors have ended.
    fn conclude(&mut self) {
        self.end.failed = self.flight.failed();
        if self.end.engine_failed() {
            counters::count(Counter::FailedDma);
        }
        if self.end.engine_failed() {
            self.channel.judge(false);
        } else if !self.by_processor {
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

/// What has become of a chunk.
enum Handed {
    /// The engine has it.
    Over,
    /// The engine has enough for now.
    Later,
    /// The engine does not take it.
    Never,
}

/// The work item looks at a transfer that was left to it.
pub(super) fn look(mut transfer: Transfer) {
    transfer.look_at_the_clock();
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
            // A timer that is left would look at nothing, and outlive the module.
            flight.rest();
            let Transfer { job, channel, flight: own, .. } = transfer;
            job.finish(status);
            drop((channel, own, flight));
            // SAFETY: Held by `leave`. What is left of this function runs in the work queue, whose end is waited for.
            unsafe { ffi::knem_dma_let_module_go() };
        }
    }
}

/// Milliseconds since some time before.
fn now() -> u64 {
    ffi::knem_dma_now()
}
