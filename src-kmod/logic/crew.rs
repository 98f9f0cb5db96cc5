// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The state of a context's worker thread that its queue of jobs depends on.

/// State of a context's worker thread. The lock of the queue protects it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// Whether there is a worker thread that will take jobs.
    present: bool,
    /// Whether the worker thread holds a job, or the whole stack of new jobs.
    busy: bool,
    /// Whether the context is closed, so that no more jobs are accepted.
    closed: bool,
}

impl Crew {
    /// Returns the state without a worker thread.
    #[must_use]
    pub const fn new() -> Self {
        Self { present: false, busy: false, closed: false }
    }

    /// Whether a job that is queued now will be executed, or failed by the worker thread that exits with its process.
    #[must_use]
    pub const fn takes_jobs(self) -> bool {
        self.present && !self.closed
    }

    /// Records that a worker thread is about to begin.
    pub fn arrive(&mut self) {
        self.present = true;
    }

    /// Records that the worker thread has exited with its process. The caller must end its jobs.
    pub fn leave(&mut self) {
        self.present = false;
        self.busy = false;
    }

    /// Records that the worker thread is about to take a job. Returns whether it may.
    pub fn begin(&mut self) -> bool {
        self.busy = !self.closed;
        self.busy
    }

    /// Records that the worker thread has put its job back or ended it.
    pub fn rest(&mut self) {
        self.busy = false;
    }

    /// Records that no more jobs are accepted or begun.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the context is closed.
    #[must_use]
    pub const fn closed(self) -> bool {
        self.closed
    }

    /// Whether the worker thread holds a job.
    #[must_use]
    pub const fn busy(self) -> bool {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::Crew;

    #[test]
    fn jobs_are_taken_only_while_there_is_a_worker() {
        let mut crew = Crew::new();
        assert!(!crew.takes_jobs());
        crew.arrive();
        assert!(crew.takes_jobs());
        crew.leave();
        assert!(!crew.takes_jobs(), "its process has ended");
        crew.arrive();
        assert!(crew.takes_jobs(), "another one");
        crew.close();
        assert!(!crew.takes_jobs());
        crew.arrive();
        assert!(!crew.takes_jobs(), "closed for good");
    }

    #[test]
    fn closing_lets_a_job_be_put_down_and_none_begin() {
        let mut crew = Crew::new();
        crew.arrive();
        assert!(crew.begin() && crew.busy());
        crew.close();
        assert!(crew.busy() && crew.closed(), "to be waited for");
        crew.rest();
        assert!(!crew.busy());
        assert!(!crew.begin() && !crew.busy());
    }

    #[test]
    fn a_worker_that_dies_is_not_busy() {
        let mut crew = Crew::new();
        crew.arrive();
        assert!(crew.begin());
        crew.leave();
        assert_eq!(crew, Crew::new());
    }
}
