// SPDX-License-Identifier: GPL-2.0-only
//! The queue of jobs for the worker thread of a context.
//!
//! Submitters push jobs onto a stack. The worker takes the whole stack and reverses it: first in, first out, with
//! nothing but boxes. Between the worker's turns all jobs are here, so that another task can end them. Lock:
//! `JobQueue::state`, held for a few instructions, protects the jobs and the worker's state.

use crate::glue::job::Job;
use crate::glue::task;
use crate::logic::crew::Crew;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;

/// Jobs, and the state of the worker thread.
#[pin_data]
pub(crate) struct JobQueue {
    #[pin]
    state: SpinLock<QueueState>,
}

struct QueueState {
    crew: Crew,
    /// The job in progress.
    current: Option<KBox<Job>>,
    /// The jobs that follow it, the oldest first.
    turned: Jobs,
    /// The jobs that follow those, the newest first.
    newest: Option<KBox<Job>>,
}

impl JobQueue {
    /// Creates an empty queue without a worker thread.
    pub(crate) fn new() -> impl PinInit<Self> {
        let state = QueueState { crew: Crew::new(), current: None, turned: Jobs(None), newest: None };
        pin_init!(Self { state <- new_spinlock!(state, "knem::JobQueue::state") })
    }

    /// Adds a job. Returns it if there is no worker thread for it.
    pub(crate) fn push(&self, mut job: KBox<Job>) -> Result<(), KBox<Job>> {
        let mut state = self.state.lock();
        if !state.crew.takes_jobs() {
            drop(state);
            return Err(job);
        }
        job.next = state.newest.take();
        state.newest = Some(job);
        Ok(())
    }

    /// Whether there is a worker thread that will take jobs.
    pub(crate) fn takes_jobs(&self) -> bool {
        self.state.lock().crew.takes_jobs()
    }

    /// Records that a worker thread is about to begin.
    pub(crate) fn arrive(&self) {
        self.state.lock().crew.arrive();
    }

    /// Whether there is a job.
    pub(crate) fn any(&self) -> bool {
        let state = self.state.lock();
        state.current.is_some() || state.turned.0.is_some() || state.newest.is_some()
    }

    /// For the worker thread: takes the next job, if there is one and the queue is not closed.
    pub(crate) fn begin(&self) -> Option<KBox<Job>> {
        let pile = {
            let mut state = self.state.lock();
            if !state.crew.begin() {
                return None;
            }
            let job = match state.current.take() {
                None => state.turned.next(),
                current => current,
            };
            if job.is_some() {
                return job;
            }
            state.newest.take()
        };
        let mut jobs = Jobs::turned(pile);
        let job = jobs.next();
        let mut state = self.state.lock();
        if job.is_none() {
            state.crew.rest();
        }
        let empty = core::mem::replace(&mut state.turned, jobs);
        drop(state);
        drop(empty);
        job
    }

    /// For the worker thread: puts its job back as the next. Returns it once the queue is closed.
    pub(crate) fn park(&self, job: KBox<Job>) -> Result<(), KBox<Job>> {
        let mut state = self.state.lock();
        if state.crew.closed() {
            drop(state);
            return Err(job);
        }
        state.current = Some(job);
        state.crew.rest();
        Ok(())
    }

    /// For the worker thread: records that it holds no job.
    pub(crate) fn rest(&self) {
        self.state.lock().crew.rest();
    }

    /// Whether the worker thread holds a job.
    pub(crate) fn busy(&self) -> bool {
        self.state.lock().crew.busy()
    }

    /// Closes the queue: no more jobs are accepted or begun.
    pub(crate) fn close(&self) {
        self.state.lock().crew.close();
    }

    /// Records that there is no worker thread any more. Returns the job in progress and those after it, in order.
    pub(crate) fn lose_worker(&self) -> (Option<KBox<Job>>, Jobs, Jobs) {
        let mut state = self.state.lock();
        state.crew.leave();
        let current = state.current.take();
        let turned = core::mem::replace(&mut state.turned, Jobs(None));
        let pile = state.newest.take();
        drop(state);
        (current, turned, Jobs::turned(pile))
    }
}

/// Jobs in the order of their submission.
pub(crate) struct Jobs(Option<KBox<Job>>);

impl Jobs {
    /// Reverses a stack.
    fn turned(mut pile: Option<KBox<Job>>) -> Self {
        let mut jobs = Self(None);
        while let Some(mut job) = pile {
            pile = job.next.take();
            job.next = jobs.0.take();
            jobs.0 = Some(job);
        }
        jobs
    }
}

impl Iterator for Jobs {
    type Item = KBox<Job>;

    fn next(&mut self) -> Option<KBox<Job>> {
        let mut job = self.0.take()?;
        self.0 = job.next.take();
        Some(job)
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // Jobs are dropped one by one: a recursive drop of the boxes could overflow the stack.
        while let Some(job) = self.next() {
            drop(job);
            task::resched();
        }
    }
}
