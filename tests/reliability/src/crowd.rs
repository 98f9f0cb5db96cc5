// SPDX-License-Identifier: CECILL-B
//! Processes that are killed.

use knem_conformance::children::Child;
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::WaitStatus;

/// Processes that run until they are killed; they are when this is dropped.
pub(crate) struct Crowd(Vec<Child>);

impl Crowd {
    /// Starts so many; each is given its number.
    pub(crate) fn start(count: usize, mut work: impl FnMut(usize)) -> Self {
        Self((0..count).map(|number| Child::start(|| work(number))).collect())
    }

    /// Kills one and starts another in its place.
    ///
    /// # Panics
    /// If it has not lived until now.
    pub(crate) fn replace(&mut self, number: usize, work: impl FnOnce()) {
        let old = std::mem::replace(&mut self.0[number], Child::start(work));
        let ended = end(old);
        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)), "process {number} has failed: {ended:?}");
    }

    /// Kills all, which must have lived until now.
    pub(crate) fn end(mut self) {
        for (number, child) in std::mem::take(&mut self.0).into_iter().enumerate() {
            let ended = end(child);
            let killed = matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _));
            assert!(killed, "process {number} has failed: {ended:?}");
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in self.0.drain(..) {
            end(child);
        }
    }
}

/// Kills a process and waits for its end.
pub(crate) fn end(child: Child) -> WaitStatus {
    let _ = kill(child.id(), Signal::SIGKILL);
    child.wait()
}
