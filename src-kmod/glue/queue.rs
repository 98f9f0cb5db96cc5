// SPDX-License-Identifier: GPL-2.0-only
//! The jobs that wait for the worker thread of a context.
//!
//! Submitters pile jobs up; the worker takes the whole pile and turns it over: first in, first out, with nothing but
//! boxes. Between its turns all jobs are here, so that another task can end them. Lock: around the pile and the worker's state, for a few
//! instructions.

use crate::glue::job::Job;
use crate::glue::task;
use crate::logic::crew::Crew;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;

/// Jobs, and the state of the worker.
#[pin_data]
pub(crate) struct Queue {
    #[pin]
    state: SpinLock<State>,
}

struct State {
    crew: Crew,
    /// The job that was begun.
    current: Option<KBox<Job>>,
    /// Jobs that follow it, the oldest first.
    turned: Jobs,
    /// Jobs that follow those, the newest on top.
    newest: Option<KBox<Job>>,
}

impl Queue {
    /// An empty queue without a worker.
    pub(crate) fn new() -> impl PinInit<Self> {
        let state = State { crew: Crew::new(), current: None, turned: Jobs(None), newest: None };
        pin_init!(Self { state <- new_spinlock!(state, "knem::Queue::state") })
    }

    /// Adds a job. Returns it if there is no worker for it.
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

    /// Whether there is a worker that will take jobs.
    pub(crate) fn takes_jobs(&self) -> bool {
        self.state.lock().crew.takes_jobs()
    }

    /// A worker is about to begin.
    pub(crate) fn arrive(&self) {
        self.state.lock().crew.arrive();
    }

    /// Whether there is a job.
    pub(crate) fn any(&self) -> bool {
        let state = self.state.lock();
        state.current.is_some() || state.turned.0.is_some() || state.newest.is_some()
    }

    /// For the worker: takes the next job, if there is one and the queue is not closed.
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

    /// For the worker: puts its job back as the next. Returns it once the queue is closed.
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

    /// For the worker: it has no job in its hands.
    pub(crate) fn rest(&self) {
        self.state.lock().crew.rest();
    }

    /// Whether the worker has a job in its hands.
    pub(crate) fn busy(&self) -> bool {
        self.state.lock().crew.busy()
    }

    /// No more jobs are taken or begun.
    pub(crate) fn close(&self) {
        self.state.lock().crew.close();
    }

    /// There is no worker any more: takes the job that was begun, and those after it.
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
    /// Turns a pile over.
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
        // One by one: a box that drops the next one would use up the stack.
        while let Some(job) = self.next() {
            drop(job);
            task::resched();
        }
    }
}
