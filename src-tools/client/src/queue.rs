// SPDX-License-Identifier: CECILL-B
//! Copies in the background, as futures or with callbacks.

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

/// Copies that the kernel makes in the background, in the order in which they were asked for.
///
/// Each request gives a [`Transfer`]: a future for any executor, which can be waited for without one, too, or be given a callback.
/// The queue numbers the requests itself and learns of their end from the device's file: by a thread of its own
/// ([`Queue::new`]), or when the program's event loop calls [`Queue::dispatch`] ([`Queue::without_thread`]).
///
/// The caller's side is a [`Memory`], which may change at any time. So to drop a transfer that is under way does no harm: the kernel
/// goes on with it, and its number is used again when it has ended.
///
/// A device's file has one queue in its life. Put the queue into an [`Arc`] to use it from several threads or tasks.
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
/// let (left, right) = (queue.read(region.cookie(), &memory, 0..5, CopyOptions::default())?,
///                      queue.read(region.cookie(), &memory, 6..11, CopyOptions { offset: 6, ..CopyOptions::default() })?);
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

/// The thread that takes events.
struct Helper {
    /// Closing it ends the thread.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Makes a queue for so many requests at the same time, with a thread that learns of their ends.
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

    /// Makes a queue for so many requests at the same time, which belongs to an event loop: that waits until the queue's file
    /// ([`AsFd`]) is readable and calls [`Queue::dispatch`]. Transfers are only told of by that.
    pub fn without_thread(device: Arc<Device>, requests: u32) -> Result<Self, Error> {
        if device.backend().fd().is_none() {
            return Err(Error::of("making a queue", Errno::ENOSYS));
        }
        Ok(Self { shared: Arc::new(Shared::new(device, requests)?), helper: None })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// How many requests there can be at the same time.
    pub fn capacity(&self) -> usize {
        self.shared.table().capacity()
    }

    /// How many requests are under way, or have a result that nobody has taken.
    pub fn in_use(&self) -> usize {
        self.shared.table().in_use()
    }

    /// Has a part of `memory` filled from a region. With [`crate::CopyFlags::DMA`] an engine does it.
    ///
    /// # Errors
    ///
    /// Among others [`Error::QueueFull`]: wait for a transfer, and try again.
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

    /// Has a part of `memory` copied into a region.
    ///
    /// # Errors
    ///
    /// Among others [`Error::QueueFull`]: wait for a transfer, and try again.
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

    /// Has one region copied into another, from `offset` of the source to `destination_offset` of the destination.
    ///
    /// # Errors
    ///
    /// Among others [`Error::QueueFull`]: wait for a transfer, and try again.
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
        // Made before the request, so that the slot is free again if that is refused, or panics.
        let mut transfer = Transfer { queue: self, slot, finished: true };
        let unused = Unused(&transfer);
        ask(Submission { slot, worker, notify: true })?;
        mem::forget(unused);
        transfer.finished = false;
        Ok(transfer)
    }

    /// Tells the transfers that have ended, and runs their callbacks; returns how many there were. Does not wait.
    pub fn dispatch(&self) -> Result<usize, Error> {
        self.shared.dispatch()
    }
}

impl AsFd for Queue {
    /// The device's file, which is readable while there are ended transfers that have not been told.
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

/// Ends the thread, without waiting for requests; callbacks that have not been called are dropped.
impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(helper) = &mut self.helper {
            drop(helper.stop.take());
            if let Some(thread) = helper.thread.take() {
                // A callback may have dropped the queue: the thread ends by itself then.
                if thread.thread().id() != thread::current().id() {
                    // It fails if a callback panicked, which the panic itself has told.
                    let _ = thread.join();
                }
            }
        }
    }
}
