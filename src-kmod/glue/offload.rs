// SPDX-License-Identifier: GPL-2.0-only
//! What a context has once its status array is mapped: what requests report to, and the queue of the worker thread.

use crate::glue::account::Account;
use crate::glue::completion::Reports;
use crate::glue::events::Events;
use crate::glue::job::Job;
use crate::glue::placement::{self, Processors};
use crate::glue::queue::Queue;
use crate::glue::status::StatusArray;
use crate::glue::task;
use crate::glue::wait::WaitQueue;
use crate::uapi::STATUS_FAILED;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Acquire, ordering::Full, ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// The asynchronous side of a context. The context has it, and each of its worker threads.
#[pin_data]
pub(crate) struct Offload {
    reports: Arc<Reports>,
    #[pin]
    queue: Queue,
    /// The context is closed.
    stopping: Atomic<bool>,
    /// Worker threads of which something may still run.
    workers: Atomic<i32>,
    /// Where a worker waits for jobs, and the task that closes the context for the worker.
    #[pin]
    changed: WaitQueue,
    /// Where the worker is wanted to run.
    wanted: Arc<Processors>,
    /// Of the user who has opened the context.
    account: Account,
}

/// How long closing a context waits for the last instructions of a worker, in milliseconds. One whose process is stopped takes longer.
const FAREWELL: u32 = 200;

impl Offload {
    /// An array of `bytes` slots, a multiple of the page size, with all that belongs to it. Its memory counts for `account`, and
    /// its requests notify `events`.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn new(
        bytes: usize,
        wanted: Arc<Processors>,
        events: Arc<Events>,
        account: &Account,
    ) -> Result<Arc<Self>> {
        let reports = Reports::new(bytes, events, account)?;
        Arc::pin_init(
            pin_init!(Self {
                reports,
                queue <- Queue::new(),
                stopping: Atomic::new(false),
                workers: Atomic::new(0),
                changed <- WaitQueue::new(),
                wanted,
                account: account.clone(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// What requests report to.
    pub(crate) fn reports(&self) -> &Arc<Reports> {
        &self.reports
    }

    /// The status array.
    pub(crate) fn slots(&self) -> &StatusArray {
        self.reports.slots()
    }

    /// Whether there is a worker that will take jobs.
    pub(crate) fn has_worker(&self) -> bool {
        self.queue.takes_jobs()
    }

    /// The account of the user.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// The CPUs for a worker that the calling task starts.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn processors(&self) -> Result<Processors> {
        placement::choose(&self.wanted, &self.account)
    }

    /// A worker is about to begin.
    pub(crate) fn arrive(&self) {
        self.workers.fetch_add(1, Full);
        self.queue.arrive();
    }

    /// Nothing of a worker runs any more.
    pub(crate) fn depart(&self) {
        self.workers.fetch_sub(1, Full);
        self.changed.wake();
    }

    /// Hands a job to the worker. If that has died since the request was checked, the job ends FAILED.
    pub(crate) fn submit(&self, job: KBox<Job>) {
        match self.queue.push(job) {
            Ok(()) => self.changed.wake(),
            Err(job) => job.finish(STATUS_FAILED),
        }
    }

    /// For a worker: the next job, to be parked, or to be ended and followed by [`Offload::rest`].
    pub(crate) fn begin(&self) -> Option<KBox<Job>> {
        self.queue.begin()
    }

    /// For a worker: puts a job back that is to be gone on with. Once the context is closed, the job is returned, to be ended.
    pub(crate) fn park(&self, job: KBox<Job>) -> Result<(), KBox<Job>> {
        self.queue.park(job)
    }

    /// For a worker: it has no job in its hands.
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

    /// For a worker: sleeps until there is a job, the context is closed, or a signal comes.
    pub(crate) fn wait(&self) {
        self.changed.wait_in_thread(|| self.queue.any() || self.stopping(), 0);
    }

    /// For a worker: sleeps for some milliseconds, until the context is closed, or a signal comes.
    pub(crate) fn pause(&self, milliseconds: u32) {
        self.changed.wait_in_thread(|| self.stopping(), milliseconds);
    }

    /// For a worker that dies with its process: ends all that it had to do.
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

    /// Cuts a job short that is being done, waits for that, and drops the others. Called once, when there are no more requests.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Relaxed);
        self.queue.close();
        self.changed.wake();
        self.changed.wait_quietly(|| !self.queue.busy(), 0);
        drop(self.queue.lose_worker());
        // For the next that unloads the module.
        self.changed.wait_quietly(|| self.workers.load(Acquire) == 0, FAREWELL);
    }
}
