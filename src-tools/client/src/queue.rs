// SPDX-License-Identifier: CECILL-B
//! Asynchronous copies, as futures or with callbacks.

mod shared;
#[cfg(test)]
mod tests;
mod transfer;

use std::fmt;
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use knem_core::uapi;
use nix::errno::Errno;

use self::shared::Shared;
use self::transfer::Unused;
use crate::{submit, Cookie, CopyOptions, Device, Error, Memory, Submission, Worker};

pub use self::transfer::Transfer;

/// A queue of asynchronous copies, which the kernel makes in the order of their submission.
///
/// Each request returns a [`Transfer`]: a future for any executor, which can also be waited for without one, or be
/// given a callback. The queue manages the slots. It reads completion events in a thread of its own ([`Queue::new`]),
/// or when the program's event loop calls [`Queue::dispatch`] ([`Queue::without_thread`]).
///
/// The caller's side is a [`Memory`], which may change at any time. So dropping a transfer in flight is safe: the
/// kernel continues it, and its slot is reused when it has ended.
///
/// An open device can have only one queue. Put the queue into an [`Arc`] to use it from several threads or tasks.
///
/// ```
/// use knem::{fake::FakeDriver, CopyOptions, Device, Memory, Queue, RegionFlags};
/// use std::io::IoSlice;
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), knem::Error> {
/// // In a real program: Device::open()?
/// let device = Arc::new(Device::new(Box::new(FakeDriver::new().with_thread()))?);
/// let region = device.share(&[IoSlice::new(b"hello world")], RegionFlags::NONE)?;
/// let memory = Memory::copy_of(b"...........")?;
///
/// let queue = Queue::new(Arc::clone(&device), 16)?;
/// let left = queue.read(region.cookie(), &memory, 0..5, CopyOptions::default())?;
/// let right = queue.read(region.cookie(), &memory, 6..11, CopyOptions { offset: 6, ..CopyOptions::default() })?;
/// // In a task: left.await?; right.await?;
/// left.wait()?;
/// right.wait()?;
/// assert_eq!(memory.to_vec(), b"hello.world");
/// # Ok(())
/// # }
/// ```
pub struct Queue {
    shared: Arc<Shared>,
    helper: Option<Helper>,
}

/// The thread that reads events.
struct Helper {
    /// Closing it ends the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Creates a queue for up to `requests` requests at the same time, with a thread that reads their events.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::without_thread`]; [`Error::System`] with EAGAIN or EMFILE if the thread cannot start.
    pub fn new(device: Arc<Device>, requests: u32) -> Result<Self, Error> {
        let mut queue = Self::without_thread(device, requests)?;
        let failed = |source| Error::System { what: "starting the thread of a queue".to_owned(), source };
        let (stop, stopped) = UnixStream::pair().map_err(failed)?;
        let shared = Arc::clone(&queue.shared);
        let thread = thread::Builder::new()
            .name("knem-queue".to_owned())
            .spawn(move || shared.serve(&stopped))
            .map_err(failed)?;
        queue.helper = Some(Helper { stop: Some(stop), thread: Some(thread) });
        Ok(queue)
    }

    /// Creates a queue for up to `requests` requests at the same time, for an event loop, which waits until the queue's
    /// file descriptor ([`AsFd`]) is readable and calls [`Queue::dispatch`]. Only that call completes transfers.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with ENOSYS if the driver is no file, and with the errno of mapping the status array: EBUSY,
    /// EINVAL, ENOMEM.
    pub fn without_thread(device: Arc<Device>, requests: u32) -> Result<Self, Error> {
        if device.backend().fd().is_none() {
            return Err(Error::of("creating a queue", Errno::ENOSYS));
        }
        Ok(Self { shared: Arc::new(Shared::new(device, requests)?), helper: None })
    }

    /// Returns the device.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// Returns the maximum number of requests at the same time.
    pub fn capacity(&self) -> usize {
        self.shared.table().capacity()
    }

    /// Returns the number of requests that are in flight, or whose result has not been taken.
    pub fn in_use(&self) -> usize {
        self.shared.table().in_use()
    }

    /// Submits a copy from a region into a part of `memory`. With [`crate::CopyFlags::DMA`] a DMA engine makes it.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] (wait for a transfer, and try again) and those of [`Device::copy`].
    ///
    /// # Panics
    ///
    /// If the part is not inside the memory.
    pub fn read<'q>(
        &'q self,
        region: Cookie,
        memory: &'q Memory,
        part: Range<usize>,
        options: CopyOptions,
    ) -> Result<Transfer<'q>, Error> {
        self.submit(options, |submission| {
            submit::inline(&self.shared.device, false, region, (memory, part), options, submission)
        })
    }

    /// Submits a copy from a part of `memory` into a region.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] (wait for a transfer, and try again) and those of [`Device::copy`].
    ///
    /// # Panics
    ///
    /// If the part is not inside the memory.
    pub fn write<'q>(
        &'q self,
        region: Cookie,
        memory: &'q Memory,
        part: Range<usize>,
        options: CopyOptions,
    ) -> Result<Transfer<'q>, Error> {
        self.submit(options, |submission| {
            submit::inline(&self.shared.device, true, region, (memory, part), options, submission)
        })
    }

    /// Submits a copy from one region into another, from `offset` of the source to `destination_offset` of the
    /// destination.
    ///
    /// # Errors
    ///
    /// [`Error::QueueFull`] (wait for a transfer, and try again) and those of [`Device::copy`].
    pub fn copy(
        &self,
        source: Cookie,
        destination: Cookie,
        destination_offset: u64,
        options: CopyOptions,
    ) -> Result<Transfer<'_>, Error> {
        self.submit(options, |submission| {
            submit::copy(&self.shared.device, (source, destination, destination_offset), options, submission)
        })
    }

    fn submit(
        &self,
        options: CopyOptions,
        ask: impl FnOnce(Submission) -> Result<(), Error>,
    ) -> Result<Transfer<'_>, Error> {
        let slot = self.shared.take_slot()?;
        let with_engine = options.flags.bits() & uapi::FLAG_DMA != 0;
        let worker = if with_engine { Worker::EngineByThread } else { Worker::Thread };
        // Created before the request, so that the slot is released if that is refused or panics.
        let mut transfer = Transfer { queue: self, slot, finished: true };
        let unused = Unused(&transfer);
        ask(Submission { slot, worker, notify: true })?;
        mem::forget(unused);
        transfer.finished = false;
        Ok(transfer)
    }

    /// Completes the transfers that have ended and runs their callbacks; returns their number. Does not block.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with the errno of reading events: EINTR.
    pub fn dispatch(&self) -> Result<usize, Error> {
        self.shared.dispatch()
    }
}

impl AsFd for Queue {
    /// Returns the device's file descriptor, which is readable while there are unread completion events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("capacity", &self.capacity())
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

/// Ends the thread without waiting for requests. Callbacks that have not been called are dropped.
impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            drop(helper.stop.take());
            if let Some(thread) = helper.thread.take() {
                // A callback in the thread may have dropped the queue; the thread cannot join itself.
                if thread.thread().id() != thread::current().id() {
                    // It fails if a callback panicked, which the panic has reported.
                    let _ = thread.join();
                }
            }
        }
    }
}
