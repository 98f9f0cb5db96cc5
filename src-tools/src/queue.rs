// SPDX-License-Identifier: CECILL-B
//! Copies in the background, as futures or with callbacks.

use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use knem_core::uapi;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

use crate::slots::Slots;
use crate::{submit, Cookie, CopyOptions, Device, Error, Memory, Status, Submission, Worker};

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

/// What the queue shares with its thread.
struct Shared {
    device: Arc<Device>,
    slots: Slots,
    table: Mutex<Table>,
    /// Held by who looks for events and takes one: between the two nobody else may take it.
    reading: Mutex<()>,
}

struct Table {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Why no event will come any more.
    broken: Option<Errno>,
}

/// A slot of the queue.
enum Entry {
    Free,
    /// Its request is under way.
    Running(Watcher),
    /// Its request has ended, and the transfer does not know yet.
    Done(Status),
}

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Who wants to know of an end.
enum Watcher {
    Nobody,
    Task(Waker),
    Callback(Callback),
    /// The transfer was dropped.
    Abandoned,
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
        let slots = Slots::map(&device, requests)?;
        let count = requests.max(1);
        let table = Table {
            entries: (0..count).map(|_| Entry::Free).collect(),
            // The lowest is taken first.
            free: (0..count).rev().collect(),
            broken: None,
        };
        let shared = Shared { device, slots, table: Mutex::new(table), reading: Mutex::new(()) };
        Ok(Self { shared: Arc::new(shared), helper: None })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.shared.device
    }

    /// How many requests there can be at the same time.
    pub fn capacity(&self) -> usize {
        self.shared.table().entries.len()
    }

    /// How many requests are under way, or have a result that nobody has taken.
    pub fn in_use(&self) -> usize {
        let table = self.shared.table();
        table.entries.len() - table.free.len()
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

/// Gives a slot back whose request was not accepted.
struct Unused<'t, 'q>(&'t Transfer<'q>);

impl Drop for Unused<'_, '_> {
    fn drop(&mut self) {
        self.0.queue.shared.table().release(self.0.slot);
    }
}

impl Table {
    fn entry(&mut self, slot: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot as usize)
    }

    fn release(&mut self, slot: u32) {
        if let Some(entry) = self.entry(slot) {
            *entry = Entry::Free;
            self.free.push(slot);
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.device.backend().fd().expect("a queue is made of a device with a file only")
    }

    fn take_slot(&self) -> Result<u32, Error> {
        let mut table = self.table();
        if let Some(errno) = table.broken {
            return Err(Error::of("reading completion events", errno));
        }
        let slot = table.free.pop().ok_or(Error::QueueFull)?;
        if let Some(entry) = table.entry(slot) {
            *entry = Entry::Running(Watcher::Nobody);
        }
        Ok(slot)
    }

    /// The thread: takes events until its end of the pair is closed on the other side.
    fn serve(&self, stopped: &UnixStream) {
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
                // The transfers have been told.
                return;
            }
        }
    }

    fn dispatch(&self) -> Result<usize, Error> {
        let mut count = 0;
        while let Some(slot) = self.next_event()? {
            self.ended(slot);
            count += 1;
        }
        Ok(count)
    }

    /// Takes an event, if there is one. Never waits: between looking and taking nobody else takes one.
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

    /// A request has ended.
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

    /// No event will come any more: everybody is told.
    fn give_up(&self, errno: Errno) {
        let mut table = self.table();
        table.broken = Some(errno);
        let mut wakers = Vec::new();
        let mut callbacks = Vec::new();
        for entry in &mut table.entries {
            if let Entry::Running(watcher) = entry {
                match mem::replace(watcher, Watcher::Nobody) {
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
fn wait_readable(fd: BorrowedFd<'_>, timeout: PollTimeout) -> Result<bool, Errno> {
    let mut files = [PollFd::new(fd, PollFlags::POLLIN)];
    match poll(&mut files, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn result(status: Status) -> Result<(), Error> {
    match status {
        Status::Success => Ok(()),
        Status::Failed => Err(Error::CopyFailed),
        // A slot is final before its event comes.
        Status::Pending => Err(Error::UnexpectedStatus { status: uapi::STATUS_PENDING.into() }),
    }
}

/// A copy under way: a future of its result.
///
/// Whoever has the result sees the bytes that were copied. To drop it does not stop the copy.
#[must_use = "its result tells when the memory may be used"]
pub struct Transfer<'q> {
    queue: &'q Queue,
    slot: u32,
    /// Its slot is no longer its own.
    finished: bool,
}

impl Transfer<'_> {
    /// Whether it has ended, as far as the queue knows.
    pub fn is_finished(&self) -> bool {
        self.finished || matches!(self.queue.shared.table().entry(self.slot), Some(Entry::Done(_)))
    }

    /// Waits for its end without an executor.
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
                // Another thread may take the event, so that the file is not readable for this one.
                let a_moment = PollTimeout::from(10u8);
                wait_readable(self.queue.as_fd(), a_moment)
                    .map_err(|errno| Error::of("waiting for completion events", errno))?;
                self.queue.dispatch()?;
            }
        }
    }

    /// Has a function called with its result, by whoever learns of it: the queue's thread, a caller of [`Queue::dispatch`], or this
    /// thread, if it has ended already. The function should be short, and must not wait for other transfers.
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
        assert!(!self.finished, "a transfer that was ready is not asked again");
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

/// The copy goes on; its slot is used again when it has ended.
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
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeDriver;
    use crate::RegionFlags;
    use std::io::IoSlice;
    use std::sync::mpsc::channel;

    const NOW: CopyOptions = CopyOptions { offset: 0, bound: None, flags: crate::CopyFlags::NONE };

    fn device(driver: &FakeDriver) -> Arc<Device> {
        Arc::new(Device::new(Box::new(driver.clone())).unwrap())
    }

    fn driver() -> FakeDriver {
        FakeDriver::new().with_thread()
    }

    /// Waits for a future on this thread: what an executor does.
    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn futures_complete_in_any_order() {
        let device = device(&driver());
        let region = device.share(&[IoSlice::new(b"abcdef")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 8).unwrap();
        let memory = Memory::copy_of(b"......").unwrap();
        block_on(async {
            let first = queue.read(region.cookie(), &memory, 0..2, NOW).unwrap();
            let second = queue.read(region.cookie(), &memory, 4..6, CopyOptions { offset: 4, ..NOW }).unwrap();
            second.await.unwrap();
            first.await.unwrap();
        });
        assert_eq!(memory.to_vec(), b"ab..ef");
        assert_eq!(queue.in_use(), 0);
    }

    #[test]
    fn writes_and_copies_between_regions() {
        let device = device(&driver());
        let shared = Memory::copy_of(b"........").unwrap();
        let region = device.share_memory(&shared, 0..8, crate::Access::ReadWrite, RegionFlags::NONE).unwrap();
        let source = device.share(&[IoSlice::new(b"xyz")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 2).unwrap();
        let memory = Memory::copy_of(b"ab").unwrap();
        queue.write(region.cookie(), &memory, 0..2, NOW).unwrap().wait().unwrap();
        queue.copy(source.cookie(), region.cookie(), 5, NOW).unwrap().wait().unwrap();
        assert_eq!(shared.to_vec(), b"ab...xyz");
    }

    #[test]
    fn a_waiting_task_is_woken_by_the_thread() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 1).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        assert!(!transfer.is_finished());
        let later = driver.clone();
        let helper = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(20));
            later.complete(0, true);
        });
        block_on(transfer).unwrap();
        helper.join().unwrap();
    }

    #[test]
    fn failures_are_told() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 1).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        driver.complete(0, false);
        assert!(matches!(transfer.wait(), Err(Error::CopyFailed)));
    }

    #[test]
    fn callbacks_are_called_once() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 2).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let (send, receive) = channel();
        let again = send.clone();
        queue
            .read(region.cookie(), &memory, 0..3, NOW)
            .unwrap()
            .on_completion(move |result| send.send(result.is_ok()).unwrap());
        driver.complete(0, true);
        assert_eq!(receive.recv(), Ok(true));
        // One that has ended before.
        let transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        let slot = transfer.slot;
        driver.complete(slot, false);
        while !transfer.is_finished() {
            thread::yield_now();
        }
        transfer.on_completion(move |result| again.send(result.is_ok()).unwrap());
        assert_eq!(receive.recv(), Ok(false));
        assert_eq!(receive.recv().ok(), None, "both functions are gone");
        assert_eq!(queue.in_use(), 0);
    }

    #[test]
    fn an_event_loop_can_do_without_the_thread() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::without_thread(Arc::clone(&device), 4).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let mut transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut transfer).poll(&mut context).is_pending());
        assert_eq!(queue.dispatch().unwrap(), 0);
        assert!(!wait_readable(queue.as_fd(), PollTimeout::ZERO).unwrap());
        driver.complete(0, true);
        assert!(wait_readable(queue.as_fd(), PollTimeout::ZERO).unwrap());
        assert_eq!(queue.dispatch().unwrap(), 1);
        assert!(matches!(Pin::new(&mut transfer).poll(&mut context), Poll::Ready(Ok(()))));
        // Without a loop, waiting takes the events itself.
        let transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        driver.complete(transfer.slot, true);
        transfer.wait().unwrap();
    }

    #[test]
    fn a_full_queue_says_so_and_is_used_again() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::without_thread(Arc::clone(&device), 1).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let dropped = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        assert!(matches!(queue.read(region.cookie(), &memory, 0..3, NOW), Err(Error::QueueFull)));
        drop(dropped);
        assert_eq!(queue.in_use(), 1, "it is under way still");
        driver.complete(0, true);
        queue.dispatch().unwrap();
        assert_eq!(queue.in_use(), 0);
        // What is refused takes no room.
        let refused = queue.read(Cookie::from_raw(1), &memory, 0..3, NOW);
        assert!(matches!(refused, Err(Error::NotSubmitted)));
        assert_eq!(queue.in_use(), 0);
    }

    #[test]
    fn a_part_outside_of_the_memory_takes_no_room() {
        let device = device(&driver());
        let queue = Queue::without_thread(device, 1).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let outside = std::panic::AssertUnwindSafe(|| drop(queue.read(Cookie::from_raw(1), &memory, 2..9, NOW)));
        assert!(std::panic::catch_unwind(outside).is_err());
        assert_eq!(queue.in_use(), 0);
    }

    #[test]
    fn a_driver_that_breaks_down_is_told_of() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 2).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        let (send, receive) = channel();
        let transfer = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        let other = queue.read(region.cookie(), &memory, 0..3, NOW).unwrap();
        other.on_completion(move |result| send.send(result.is_err()).unwrap());
        driver.break_down();
        assert!(matches!(transfer.wait(), Err(Error::System { .. })));
        assert_eq!(receive.recv(), Ok(true));
        assert!(queue.read(region.cookie(), &memory, 0..3, NOW).is_err());
    }

    #[test]
    fn a_queue_can_be_dropped_with_requests_under_way() {
        let driver = driver().holding();
        let device = device(&driver);
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let queue = Queue::new(Arc::clone(&device), 2).unwrap();
        let memory = Memory::copy_of(b"...").unwrap();
        drop(queue.read(region.cookie(), &memory, 0..3, NOW).unwrap());
        drop(queue);
        drop(memory);
        driver.complete(0, true);
    }

    #[test]
    fn a_driver_without_a_thread_says_so() {
        let device = Arc::new(Device::new(Box::new(FakeDriver::new())).unwrap());
        assert!(matches!(Queue::new(device, 1), Err(Error::System { .. })));
    }
}
