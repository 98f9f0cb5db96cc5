// SPDX-License-Identifier: GPL-2.0-only
//! The worker thread of a context: executes its asynchronous copies, one after the other, in the order of their
//! submission.
//!
//! It works in turns. C calls each turn; between two turns the thread may be stopped, frozen, throttled or killed, and
//! its job is in the queue. C keeps the module loaded until no code of the thread runs any more. The thread has a
//! reference to its context's `Offload`, and none to the file.

use crate::glue::account::Account;
use crate::glue::affinity::CpuSet;
use crate::glue::dma;
use crate::glue::ffi;
use crate::glue::job::{DmaMode, Job, Progress, RETRY};
use crate::glue::offload::Offload;
use crate::glue::task;
use crate::logic::refusal::Refusal;
use crate::uapi::STATUS_FAILED;
use kernel::error::{from_err_ptr, to_result};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// Global state of worker threads, while the module is loaded.
pub(crate) struct Workers(());

impl Workers {
    /// Initialises it. Must be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, before any worker is created.
        to_result(unsafe { ffi::knem_workers_begin() })?;
        Ok(Self(()))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // SAFETY: `new` initialised the state. No worker is left, since each of them kept the module loaded; this waits
        // for the last work item to return.
        unsafe { ffi::knem_workers_end() };
    }
}

/// A worker thread, from its start until no code of it runs any more.
struct Worker {
    offload: Arc<Offload>,
    /// The CPUs that it runs on.
    cpus: CpuSet,
    /// Whether it is bound to them.
    placed: Atomic<bool>,
    _seat: Seat,
}

/// A worker's share of its user's limit, until this is dropped.
struct Seat(Account);

impl Seat {
    /// Counts another worker for the user.
    ///
    /// # Errors
    /// EAGAIN if the user has as many kernel threads as it may have processes (RLIMIT_NPROC), unless the caller has
    /// CAP_SYS_RESOURCE. The kernel itself counts threads of processes.
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

/// Starts a worker as a thread of the calling task's process, or, on kernels without such threads, as a kernel thread
/// with that process's control groups and scheduling. `ordinal` is for its name, and no part of a cookie.
///
/// # Errors
/// EAGAIN if no more threads may start (pids.max, RLIMIT_NPROC); ENOMEM; ERESTARTNOINTR if a signal must be handled
/// first, after which the call is restarted; EINTR if the caller is killed.
pub(crate) fn start(offload: &Arc<Offload>, ordinal: u64) -> Result {
    let worker = Worker {
        offload: offload.clone(),
        cpus: offload.cpus()?,
        placed: Atomic::new(false),
        _seat: Seat::take(offload.account())?,
    };
    let data = KBox::into_raw(KBox::new(worker, GFP_KERNEL_ACCOUNT)?);
    // SAFETY: The functions expect a `Worker`, which `data` points to. It exists until `gone`, which C calls last,
    // takes it back.
    let worker = from_err_ptr(unsafe {
        ffi::knem_worker_create(Some(turn), Some(killed), Some(gone), data.cast(), ordinal as c_ulong)
    });
    match worker {
        Ok(worker) => {
            offload.arrive();
            // SAFETY: `worker` was created just now, and begins here once. The module cannot be unloaded, since the
            // caller has an open file.
            unsafe { ffi::knem_worker_go(worker) };
            Ok(())
        }
        Err(error) => {
            // SAFETY: `data` comes from `into_raw`, and there is no worker that could use it.
            drop(unsafe { KBox::from_raw(data) });
            Err(if error == ENOMEM || error == EINTR || error == ERESTARTNOINTR {
                error
            } else {
                Refusal::NoThread.into()
            })
        }
    }
}

/// Executes jobs until the turn must end, or sleeps if there are none. Returns whether C must call again.
///
/// # Safety
/// Must be called by a worker with the data of its start, before `gone`.
unsafe extern "C" fn turn(data: *mut c_void) -> bool {
    // SAFETY: `start` passed a pointer to a `Worker`, and `gone`, which takes it back, has not run yet.
    let worker = unsafe { &*data.cast::<Worker>() };
    let offload = &worker.offload;
    if !worker.placed.load(Relaxed) {
        worker.placed.store(true, Relaxed);
        worker.cpus.bind();
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

/// Begins or continues a job.
fn carry_on(offload: &Offload, mut job: KBox<Job>) {
    let interrupted = || offload.stopping() || task::killed();
    let waiter = job.engine().map(|mode| match mode {
        DmaMode::Attached => dma::Waiter::Thread(&interrupted),
        DmaMode::Detached => dma::Waiter::None,
    });
    let progress = match waiter {
        None => job.step(false, interrupted),
        Some(waiter) => match dma::run(job, waiter, true) {
            dma::RunResult::InFlight => return offload.rest(),
            dma::RunResult::Done(done, status) => {
                job = done;
                Progress::Done(status)
            }
            dma::RunResult::Rest(rest) => {
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

/// Fails all jobs, because the worker's process exits. The next request starts another worker.
///
/// # Safety
/// As [`turn`]; no turn may run any more.
unsafe extern "C" fn killed(data: *mut c_void) {
    // SAFETY: `start` passed a pointer to a `Worker`, and `gone`, which takes it back, has not run yet.
    let worker = unsafe { &*data.cast::<Worker>() };
    worker.offload.lose_worker();
}

/// Frees the data of a worker of which no code runs any more.
///
/// # Safety
/// Must be called once, with the data of a worker's start.
unsafe extern "C" fn gone(data: *mut c_void) {
    // SAFETY: The pointer comes from `into_raw` in `start`, and C calls this once, as its last use.
    let worker = unsafe { KBox::from_raw(data.cast::<Worker>()) };
    worker.offload.depart();
}
