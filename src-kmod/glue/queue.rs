// SPDX-License-Identifier: GPL-2.0-only
//! The jobs that wait for the thread of a file.
//!
//! Submitters pile jobs up; the thread takes the whole pile and turns it over: first in, first out, with nothing but
//! boxes. Lock: around the pile, for a few instructions.

use crate::glue::job::Job;
use crate::glue::task;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;

/// Jobs, the newest on top.
#[pin_data]
pub(crate) struct Queue {
    #[pin]
    newest: SpinLock<Option<KBox<Job>>>,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self { newest <- new_spinlock!(None, "knem::Queue::newest") })
    }

    /// Adds a job.
    pub(crate) fn push(&self, mut job: KBox<Job>) {
        let mut newest = self.newest.lock();
        job.next = newest.take();
        *newest = Some(job);
    }

    /// Whether there is a job.
    pub(crate) fn any(&self) -> bool {
        self.newest.lock().is_some()
    }

    /// Takes all jobs.
    pub(crate) fn take(&self) -> Jobs {
        let mut pile = self.newest.lock().take();
        let mut jobs = Jobs(None);
        while let Some(mut job) = pile {
            pile = job.next.take();
            job.next = jobs.0.take();
            jobs.0 = Some(job);
        }
        jobs
    }
}

/// Jobs in the order of their submission.
pub(crate) struct Jobs(Option<KBox<Job>>);

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
