// SPDX-License-Identifier: GPL-2.0-only
//! The asynchronous side of a context, once its status array is mapped: the status array and events that requests
//! report to, and the queue of the worker thread.

use crate::glue::account::Account;
use crate::glue::affinity::{self, CpuSet};
use crate::glue::completion::Completions;
use crate::glue::events::Events;
use crate::glue::job::Job;
use crate::glue::queue::JobQueue;
use crate::glue::status::StatusArray;
use crate::glue::task;
use crate::glue::wait::WaitQueue;
use crate::uapi::STATUS_FAILED;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Acquire, ordering::Full, ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// The asynchronous side of a context. The context and each of its worker threads have a reference.
#[pin_data]
pub(crate) struct Offload {
    completions: Arc<Completions>,
    #[pin]
    queue: JobQueue,
    /// Whether the context is closed.
    stopping: Atomic<bool>,
    /// Number of worker threads that may still execute code of the module.
    workers: Atomic<i32>,
    /// Where a worker thread waits for jobs, and the task that closes the context waits for the worker thread.
    #[pin]
    changed: WaitQueue,
    /// The CPUs that were requested for the worker thread.
    wanted: Arc<CpuSet>,
    /// The account of the user that opened the context.
    account: Account,
}

/// How long closing a context waits for the last instructions of a worker thread, in milliseconds. One whose process is
/// stopped takes longer.
const FAREWELL: u32 = 200;

impl Offload {
    /// Creates a status array of `bytes` slots, a multiple of the page size, and an empty queue. The memory is charged
    /// to `account`, and the requests notify `events`.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn new(bytes: usize, wanted: Arc<CpuSet>, events: Arc<Events>, account: &Account) -> Result<Arc<Self>> {
        let completions = Completions::new(bytes, events, account)?;
        Arc::pin_init(
            pin_init!(Self {
                completions,
                queue <- JobQueue::new(),
                stopping: Atomic::new(false),
                workers: Atomic::new(0),
                changed <- WaitQueue::new(),
                wanted,
                account: account.clone(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the status array and events that requests report to.
    pub(crate) fn completions(&self) -> &Arc<Completions> {
        &self.completions
    }

    /// The status array.
    pub(crate) fn slots(&self) -> &StatusArray {
        self.completions.slots()
    }

    /// Whether there is a worker thread that will take jobs.
    pub(crate) fn has_worker(&self) -> bool {
        self.queue.takes_jobs()
    }

    /// The account of the user.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the CPUs for a worker thread that the calling task starts.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn cpus(&self) -> Result<CpuSet> {
        affinity::choose(&self.wanted, &self.account)
    }

    /// Counts a worker thread that is about to begin.
    pub(crate) fn arrive(&self) {
        self.workers.fetch_add(1, Full);
        self.queue.arrive();
    }

    /// Uncounts a worker thread that executes no code of the module any more.
    pub(crate) fn depart(&self) {
        self.workers.fetch_sub(1, Full);
        self.changed.wake();
    }

    /// Queues a job for the worker thread. If that has died since the request was checked, the job ends FAILED.
    pub(crate) fn submit(&self, job: KBox<Job>) {
        match self.queue.push(job) {
            Ok(()) => self.changed.wake(),
            Err(job) => job.finish(STATUS_FAILED),
        }
    }

    /// For a worker thread: takes the next job, which must then be parked, or ended and followed by [`Offload::rest`].
    pub(crate) fn begin(&self) -> Option<KBox<Job>> {
        self.queue.begin()
    }

    /// For a worker thread: puts back a job that must be continued. Once the context is closed, the job is returned and
    /// must be ended.
    pub(crate) fn park(&self, job: KBox<Job>) -> Result<(), KBox<Job>> {
        self.queue.park(job)
    }

    /// For a worker thread: records that it holds no job.
    pub(crate) fn rest(&self) {
        self.queue.rest();
        if self.stopping() {
            self.changed.wake();
        }
    }

    /// Whether the context is closed.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// For a worker thread: sleeps until there is a job, the context is closed, or a signal arrives.
    pub(crate) fn wait(&self) {
        self.changed.wait_in_thread(|| self.queue.any() || self.stopping(), 0);
    }

    /// For a worker thread: sleeps for some milliseconds, until the context is closed, or until a signal arrives.
    pub(crate) fn pause(&self, milliseconds: u32) {
        self.changed.wait_in_thread(|| self.stopping(), milliseconds);
    }

    /// For a worker thread that exits with its process: fails all jobs.
    pub(crate) fn lose_worker(&self) {
        let (current, mut jobs, mut newest) = self.queue.lose_worker();
        let fail = |job: KBox<Job>| {
            job.finish(STATUS_FAILED);
            task::resched();
        };
        current.into_iter().for_each(fail);
        jobs.by_ref().for_each(fail);
        newest.by_ref().for_each(fail);
    }

    /// Stops the job in progress, waits for that, and drops the other jobs. Called once, when there are no more
    /// requests.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Relaxed);
        self.queue.close();
        self.changed.wake();
        self.changed.wait_quietly(|| !self.queue.busy(), 0);
        drop(self.queue.lose_worker());
        // So that an immediate unload of the module succeeds.
        self.changed.wait_quietly(|| self.workers.load(Acquire) == 0, FAREWELL);
    }
}
