// SPDX-License-Identifier: CECILL-B
//! A request of a queue, as the caller has it.

use std::fmt;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use nix::poll::PollTimeout;

use super::shared::{result, wait_readable, Entry, Watcher};
use super::Queue;
use crate::Error;

/// A copy in flight: a future of its result.
///
/// The result is ordered after the copied bytes. Dropping the transfer does not stop the copy.
#[must_use = "its result shows when the memory may be used"]
pub struct Transfer<'q> {
    pub(super) queue: &'q Queue,
    pub(super) slot: u32,
    /// Its slot has been released or passed to a callback.
    pub(super) finished: bool,
}

impl Transfer<'_> {
    /// Whether the queue has seen its end.
    pub fn is_finished(&self) -> bool {
        self.finished || matches!(self.queue.shared.table().entry(self.slot), Some(Entry::Done(_)))
    }

    /// Blocks until its end, without an executor.
    ///
    /// # Errors
    ///
    /// [`Error::CopyFailed`], and those of [`Queue::dispatch`].
    pub fn wait(mut self) -> Result<(), Error> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self).poll(&mut context) {
                return result;
            }
            if self.queue.helper.is_some() {
                thread::park();
            } else {
                // Another thread may read the event, so the file descriptor need not become readable.
                let a_moment = PollTimeout::from(10u8);
                wait_readable(self.queue.as_fd(), a_moment)
                    .map_err(|errno| Error::of("waiting for completion events", errno))?;
                self.queue.dispatch()?;
            }
        }
    }

    /// Calls a function with its result: in the queue's thread, in [`Queue::dispatch`], or in this thread if it has
    /// ended already. The function should be short, and must not wait for other transfers.
    pub fn on_completion(mut self, callback: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let mut table = self.queue.shared.table();
        let broken = table.broken;
        let outcome = match table.entry(self.slot) {
            Some(Entry::Done(status)) => result(*status),
            Some(Entry::Running(watcher)) => match broken {
                Some(errno) => Err(Error::of("reading completion events", errno)),
                None => {
                    *watcher = Watcher::Callback(Box::new(callback));
                    drop(table);
                    self.finished = true;
                    return;
                }
            },
            _ => return,
        };
        drop(table);
        drop(self);
        callback(outcome);
    }
}

impl Future for Transfer<'_> {
    type Output = Result<(), Error>;

    /// # Panics
    ///
    /// If it was ready before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.finished, "a transfer must not be polled after it was ready");
        let mut table = self.queue.shared.table();
        let broken = table.broken;
        let outcome = match table.entry(self.slot) {
            Some(Entry::Done(status)) => result(*status),
            Some(Entry::Running(watcher)) => match broken {
                Some(errno) => return Poll::Ready(Err(Error::of("reading completion events", errno))),
                None => {
                    match watcher {
                        Watcher::Task(waker) => waker.clone_from(context.waker()),
                        other => *other = Watcher::Task(context.waker().clone()),
                    }
                    return Poll::Pending;
                }
            },
            _ => return Poll::Pending,
        };
        table.release(self.slot);
        drop(table);
        self.finished = true;
        Poll::Ready(outcome)
    }
}

/// The copy continues; its slot is reused when it has ended.
impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let mut table = self.queue.shared.table();
        match table.entry(self.slot) {
            Some(Entry::Running(watcher)) => *watcher = Watcher::Abandoned,
            Some(Entry::Done(_)) => table.release(self.slot),
            _ => {}
        }
    }
}

impl fmt::Debug for Transfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("slot", &self.slot).field("finished", &self.is_finished()).finish()
    }
}

/// Wakes a thread that waits for a transfer.
pub(super) struct Unpark(pub(super) Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Releases the slot of a request that was not accepted.
pub(super) struct Unused<'t, 'q>(pub(super) &'t Transfer<'q>);

impl Drop for Unused<'_, '_> {
    fn drop(&mut self) {
        self.0.queue.shared.table().release(self.0.slot);
    }
}
