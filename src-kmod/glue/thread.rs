// SPDX-License-Identifier: GPL-2.0-only
//! The worker thread of a context: does its asynchronous copies, one after the other, in the order of their submission.
//!
//! It works in turns, which C calls and between which it may be stopped, frozen, throttled or killed. Then its job is in the queue. C keeps
//! the module loaded until nothing of the worker runs any more; the worker keeps its context's `Offload`, and no file.

use crate::glue::account::Account;
use crate::glue::dma;
use crate::glue::ffi;
use crate::glue::job::{Job, Progress, Waits, RETRY};
use crate::glue::offload::Offload;
use crate::glue::placement::Processors;
use crate::glue::task;
use crate::logic::refusal::Refusal;
use crate::uapi::STATUS_FAILED;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// What worker threads need while the module is loaded.
pub(crate) struct Workers(());

impl Workers {
    /// To be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load, before any other use.
        to_result(unsafe { ffi::knem_workers_begin() })?;
        Ok(Self(()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // SAFETY: Begun by `new`. No worker is left, each of which kept the module; this waits for the end of the last work item.
        unsafe { ffi::knem_workers_end() };
    }
}

/// A worker, from its start until nothing of it runs any more.
struct Worker {
    offload: Arc<Offload>,
    /// Where it is to run.
    processors: Processors,
    /// Whether it is there.
    placed: Atomic<bool>,
    _seat: Seat,
}

/// A worker's place among those of its user, until this is dropped.
struct Seat(Account);

impl Seat {
    /// A place for one more worker.
    ///
    /// # Errors
    /// EAGAIN if the user has as many kernel threads as it may have processes (RLIMIT_NPROC), unless the caller has CAP_SYS_RESOURCE. Threads
    /// of processes are counted by the kernel.
    fn take(account: &Account) -> Result<Self> {
        let most = ffi::knem_worker_most() as u64;
        let taken = account.workers().add_unless_over(1, most)
            || (task::may_exceed_limits() && account.workers().add_unless_over(1, u64::MAX));
        if !taken {
            return Err(Refusal::NoThread.into());
        }
        Ok(Self(account.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.workers().subtract(1);
    }
}

/// Starts a worker as a thread of the calling task's process, or a kernel thread that is as much like one as the kernel allows.
/// `ordinal` is for its name, and no part of a cookie.
///
/// # Errors
/// EAGAIN if no more threads may start (pids.max, RLIMIT_NPROC); ENOMEM; ERESTARTNOINTR if a signal is to be handled first, after which the
/// call has to be repeated; EINTR if the caller is killed.
pub(crate) fn start(offload: &Arc<Offload>, ordinal: u64) -> Result {
    let worker = Worker {
        offload: offload.clone(),
        processors: offload.processors()?,
        placed: Atomic::new(false),
        _seat: Seat::take(offload.account())?,
    };
    let data = KBox::into_raw(KBox::new(worker, GFP_KERNEL_ACCOUNT)?);
    // SAFETY: The functions belong to the data, which stays until the last of them, `gone`, takes it back.
    let worker = from_err_ptr(unsafe {
        ffi::knem_worker_create(Some(turn), Some(killed), Some(gone), data.cast(), ordinal as c_ulong)
    });
    match worker {
        Ok(worker) => {
            offload.arrive();
            // SAFETY: Created, and begun once. The caller has an open file.
            unsafe { ffi::knem_worker_go(worker) };
            Ok(())
        }
        Err(error) => {
            // SAFETY: From `into_raw`; there is no worker that could use it.
            drop(unsafe { KBox::from_raw(data) });
            Err(if error == ENOMEM || error == EINTR || error == ERESTARTNOINTR {
                error
            } else {
                Refusal::NoThread.into()
            })
        }
    }
}

/// Does jobs until there is a reason to pause, or sleeps if there are none. Returns whether the worker is to be called again.
///
/// # Safety
/// Called by a worker with the data of its start, before `gone`.
unsafe extern "C" fn turn(data: *mut c_void) -> bool {
    // SAFETY: `start` made this of a `Worker`, and `gone` has not run.
    let worker = unsafe { &*data.cast::<Worker>() };
    let offload = &worker.offload;
    if !worker.placed.load(Relaxed) {
        worker.placed.store(true, Relaxed);
        worker.processors.bind();
    }
    loop {
        if offload.stopping() {
            return false;
        }
        match offload.begin() {
            Some(job) => carry_on(offload, job),
            None => offload.wait(),
        }
        if ffi::knem_worker_due() {
            return true;
        }
    }
}

/// Goes on with a job.
fn carry_on(offload: &Offload, mut job: KBox<Job>) {
    let interrupted = || offload.stopping() || task::killed();
    let wait = job.engine().map(|waits| match waits {
        Waits::Yes => dma::Wait::Thread(&interrupted),
        Waits::No => dma::Wait::No,
    });
    let progress = match wait {
        None => job.step(false, interrupted),
        Some(wait) => match dma::run(job, wait, true) {
            dma::Outcome::InFlight => return offload.rest(),
            dma::Outcome::Done(done, status) => {
                job = done;
                Progress::Done(status)
            }
            dma::Outcome::Rest(rest) => {
                job = rest;
                Progress::More
            }
        },
    };
    if let Progress::Done(status) = progress {
        job.finish(status);
        return offload.rest();
    }
    if let Err(job) = offload.park(job) {
        job.finish(STATUS_FAILED);
        return offload.rest();
    }
    if let Progress::Blocked = progress {
        offload.pause(RETRY);
    }
}

/// The worker's process ends: what it had to do has failed. The next request starts another worker.
///
/// # Safety
/// As [`turn`]; no turn runs any more.
unsafe extern "C" fn killed(data: *mut c_void) {
    // SAFETY: As in `turn`.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.offload.lose_worker();
}

/// Nothing of the worker runs any more.
///
/// # Safety
/// Called once, with the data of a worker's start.
unsafe extern "C" fn gone(data: *mut c_void) {
    // SAFETY: From `into_raw` in `start`; this is the last use.
    let worker = unsafe { KBox::from_raw(data.cast::<Worker>()) };
    worker.offload.depart();
}
