// SPDX-License-Identifier: GPL-2.0-only
//! The thread of a file: does the file's asynchronous copies, one after the other, in the order of their submission.

use crate::glue::dma;
use crate::glue::ffi;
use crate::glue::job::{Job, Progress, Waits};
use crate::glue::offload::Offload;
use crate::glue::placement::Processors;
use crate::glue::task;
use crate::uapi::STATUS_FAILED;
use core::ptr::{null_mut, NonNull};
use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Full, Atomic};
use kernel::sync::Arc;

/// A running thread, until it is stopped.
pub(crate) struct Thread {
    /// The task, with a reference; null once it is stopped.
    task: Atomic<*mut bindings::task_struct>,
    /// What it works on. Declared after `task`, hence dropped when the thread is gone.
    offload: Arc<Offload>,
}

impl Thread {
    /// Starts a thread in the control groups of the calling task: it is accounted there, and confined to the processors
    /// of its cpuset. `ordinal` is for its name, which has nothing to do with cookies.
    ///
    /// Not to be called with the lock of an address space, which the kernel may take under those of control groups.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed meanwhile.
    pub(crate) fn start(offload: Arc<Offload>, ordinal: u64) -> Result<Self> {
        let data = Arc::as_ptr(&offload).cast_mut().cast::<c_void>();
        // SAFETY: The thread only uses `data` until it is stopped, and `Self` stops it before it lets go of it.
        let task = from_err_ptr(unsafe { ffi::knem_shim_thread(Some(main), data, ordinal as c_ulong) })?;
        let thread = Self { task: Atomic::new(task), offload };
        // From here on, an early return stops the task.
        // SAFETY: The reference keeps the task, which waits to be woken.
        kernel::error::to_result(unsafe { ffi::knem_shim_join_cgroups(task) })?;
        // The kernel gives a thread that begins a place by its own rules, so that it has to go itself where its cpuset
        // has just put it.
        // SAFETY: As above.
        thread.offload.confine(unsafe { Processors::of(task) }?);
        // SAFETY: As above.
        unsafe { ffi::knem_shim_wake_thread(task) };
        Ok(thread)
    }

    /// Stops the thread, which cuts a copy short, waits for that, and drops what is in the queue.
    pub(crate) fn stop(&self) {
        let task = self.task.xchg(null_mut(), Full);
        if let Some(task) = NonNull::new(task) {
            // SAFETY: Our reference keeps the task, and this is the only place that stops it, once.
            unsafe { ffi::knem_shim_thread_stop(task.as_ptr()) };
            // What the thread has left, and all if it had not begun: then it never ran. The jobs there keep what they
            // report to, which keeps the queue: somebody has to take them out. No more come: the file is closed.
            drop(self.offload.queue().take());
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop();
    }
}

// SAFETY: A task may be stopped by any other.
unsafe impl Send for Thread {}
// SAFETY: `stop` lets one caller win.
unsafe impl Sync for Thread {}

unsafe extern "C" fn main(data: *mut c_void) -> c_int {
    // SAFETY: `Thread::start` gave a pointer to an `Offload` that stays until this function has returned.
    let offload = unsafe { &*data.cast::<Offload>() };
    // SAFETY: Concerns the calling thread only.
    unsafe { ffi::knem_shim_thread_begin() };
    offload.place();
    while !stopping() {
        offload.wait(|| stopping());
        for job in offload.queue().take() {
            if stopping() {
                break;
            }
            carry_out(job);
        }
    }
    // What is left in the queue is whoever stops this thread's.
    0
}

/// Does one job.
fn carry_out(mut job: KBox<Job>) {
    let Some(waits) = job.engine() else {
        let status = loop {
            match job.step(false, interrupted) {
                Progress::Done(status) => break status,
                Progress::More => task::resched(),
                // SAFETY: Called by a thread that `Thread::start` made, which holds no lock.
                Progress::Blocked => unsafe { ffi::knem_shim_thread_pause() },
            }
            if interrupted() {
                break STATUS_FAILED;
            }
        };
        job.finish(status);
        return;
    };
    let wait = match waits {
        Waits::Yes => dma::Wait::Thread(&stopping),
        Waits::No => dma::Wait::No,
    };
    match dma::run(job, wait) {
        dma::Outcome::Done(job, status) => job.finish(status),
        dma::Outcome::InFlight => {}
    }
}

/// Whether the calling thread is to end.
fn stopping() -> bool {
    // SAFETY: Called by a thread that `Thread::start` made.
    unsafe { ffi::knem_shim_thread_stopping() }
}

/// As [`stopping`], between the steps of a copy; the machine may be suspended there.
fn interrupted() -> bool {
    // SAFETY: As above; no lock is held.
    unsafe { ffi::knem_shim_thread_interrupted() }
}
