// SPDX-License-Identifier: CECILL-B
//! State that a queue shares with its thread: slots, their watchers, and the dispatch of events.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use knem_core::uapi;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::slots::Slots;
use crate::{submit, Device, Error, Status};

/// State that the queue shares with its thread.
pub(super) struct Shared {
    pub(super) device: Arc<Device>,
    slots: Slots,
    table: Mutex<Table>,
    /// Held from polling for an event until it is read, so that no other thread reads it in between.
    reading: Mutex<()>,
}

/// The slots and their watchers.
pub(super) struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Error after which no more events can be read.
    pub(super) broken: Option<Errno>,
}

/// A slot of the queue.
pub(super) enum Entry {
    Free,
    /// Its request is in flight.
    Running(Watcher),
    /// Its request has ended, and the transfer has not taken the result.
    Done(Status),
}

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The watcher of a request.
pub(super) enum Watcher {
    None,
    Task(Waker),
    Callback(Callback),
    /// The transfer was dropped; the slot is released at the end.
    Abandoned,
}

impl Table {
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn in_use(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }

    pub(super) fn release(&mut self, slot: u32) {
        if let Some(entry) = self.entry(slot) {
            *entry = Entry::Free;
            self.free.push(slot);
        }
    }
}

impl Shared {
    pub(super) fn new(device: Arc<Device>, requests: u32) -> Result<Self, Error> {
        let slots = Slots::map(&device, requests)?;
        let count = requests.max(1);
        let table = Table {
            entries: (0..count).map(|_| Entry::Free).collect(),
            // The lowest slot is taken first.
            free: (0..count).rev().collect(),
            broken: None,
        };
        Ok(Self { device, slots, table: Mutex::new(table), reading: Mutex::new(()) })
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.device.backend().fd().expect("the constructor has checked that the device has a file descriptor")
    }

    pub(super) fn take_slot(&self) -> Result<u32, Error> {
        let mut table = self.table();
        if let Some(errno) = table.broken {
            return Err(Error::of("reading completion events", errno));
        }
        let slot = table.free.pop().ok_or(Error::QueueFull)?;
        if let Some(entry) = table.entry(slot) {
            *entry = Entry::Running(Watcher::None);
        }
        Ok(slot)
    }

    /// Body of the thread: reads events until the other end of the socket pair is closed.
    pub(super) fn serve(&self, stopped: &UnixStream) {
        loop {
            let mut files =
                [PollFd::new(self.fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
            let outcome = poll(&mut files, PollTimeout::NONE);
            let is_ready = |file: Option<&PollFd<'_>>| file.and_then(PollFd::any).unwrap_or(false);
            match outcome {
                Ok(_) if is_ready(files.get(1)) => return,
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return self.give_up(errno),
            }
            if self.dispatch().is_err() {
                // `give_up` has completed the transfers.
                return;
            }
        }
    }

    pub(super) fn dispatch(&self) -> Result<usize, Error> {
        let mut count = 0;
        while let Some(slot) = self.next_event()? {
            self.ended(slot);
            count += 1;
        }
        Ok(count)
    }

    /// Reads an event, if there is one. Never blocks: no other thread can read it after the poll.
    fn next_event(&self) -> Result<Option<u32>, Error> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = wait_readable(self.fd(), PollTimeout::ZERO);
        let taken = ready.map_err(|errno| Error::of("waiting for completion events", errno)).and_then(|ready| {
            let mut event = [0];
            Ok((ready && submit::read_events(&self.device, &mut event)? == 1).then(|| event[0]))
        });
        if let Err(Error::System { source, .. }) = &taken {
            self.give_up(source.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        }
        taken
    }

    /// Handles the end of a request.
    fn ended(&self, slot: u32) {
        let mut table = self.table();
        let status = self.slots.status(slot);
        let Some(entry @ Entry::Running(_)) = table.entry(slot) else { return };
        match mem::replace(entry, Entry::Done(status)) {
            Entry::Running(Watcher::Task(waker)) => {
                drop(table);
                waker.wake();
            }
            Entry::Running(Watcher::Callback(callback)) => {
                table.release(slot);
                drop(table);
                callback(result(status));
            }
            Entry::Running(Watcher::Abandoned) => table.release(slot),
            _ => {}
        }
    }

    /// Completes all transfers with an error, because no more events can be read.
    fn give_up(&self, errno: Errno) {
        let mut table = self.table();
        table.broken = Some(errno);
        let mut wakers = Vec::new();
        let mut callbacks = Vec::new();
        for entry in &mut table.entries {
            if let Entry::Running(watcher) = entry {
                match mem::replace(watcher, Watcher::None) {
                    Watcher::Task(waker) => wakers.push(waker),
                    Watcher::Callback(callback) => {
                        *watcher = Watcher::Abandoned;
                        callbacks.push(callback);
                    }
                    other => *watcher = other,
                }
            }
        }
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
        for callback in callbacks {
            callback(Err(Error::of("reading completion events", errno)));
        }
    }
}

/// Waits until a file is readable.
pub(super) fn wait_readable(fd: BorrowedFd<'_>, timeout: PollTimeout) -> Result<bool, Errno> {
    let mut files = [PollFd::new(fd, PollFlags::POLLIN)];
    match poll(&mut files, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(super) fn result(status: Status) -> Result<(), Error> {
    match status {
        Status::Success => Ok(()),
        Status::Failed => Err(Error::CopyFailed),
        // A slot is final before its event is sent.
        Status::Pending => Err(Error::UnexpectedStatus { status: uapi::STATUS_PENDING.into() }),
    }
}
