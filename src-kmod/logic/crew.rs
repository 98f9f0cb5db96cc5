// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Whether a context has a worker thread, and what that is doing: the state that its queue of jobs depends on.

/// State of a context's worker thread. Its user guards it with the lock of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crew {
    /// There is a worker that will take jobs.
    present: bool,
    /// The worker has a job in its hands, or the whole pile.
    busy: bool,
    /// The context is closed: no more jobs.
    closed: bool,
}

impl Crew {
    /// No worker yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { present: false, busy: false, closed: false }
    }

    /// Whether a job that is queued now will be done, or ended by the worker that dies with its process.
    #[must_use]
    pub const fn takes_jobs(self) -> bool {
        self.present && !self.closed
    }

    /// A worker is about to begin.
    pub fn arrive(&mut self) {
        self.present = true;
    }

    /// The worker has died with its process. What it had to do is the caller's to end.
    pub fn leave(&mut self) {
        self.present = false;
        self.busy = false;
    }

    /// The worker is about to take a job. Returns whether it may.
    pub fn begin(&mut self) -> bool {
        self.busy = !self.closed;
        self.busy
    }

    /// The worker has put its job back or ended it.
    pub fn rest(&mut self) {
        self.busy = false;
    }

    /// No more jobs are taken or begun.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the context is closed.
    #[must_use]
    pub const fn closed(self) -> bool {
        self.closed
    }

    /// Whether the worker has a job in its hands.
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
