// SPDX-License-Identifier: GPL-2.0-only
//! Completion events of a context (NOTIFY_FD): the slots of completed requests, in the order of their completion.
//!
//! A context has an event queue from its opening on, so that it can be polled at any time. Memory for the events is
//! allocated when the first request asks for one.
//!
//! Locks: `Events::queue`, a spinlock and a leaf; `Events::growth`, a mutex, is held while the memory is allocated.

use crate::glue::account::{Account, ArrayMemory};
use crate::glue::wait::{WaitQueue, READABLE};
use crate::glue::{counters, task};
use crate::logic::counter::Counter;
use crate::logic::events::Ring;
use crate::logic::refusal::Refusal;
use kernel::bindings;
use kernel::prelude::*;
use kernel::sync::{Mutex, SpinLock};
use kernel::uaccess::{UserPtr, UserSlice, UserSliceWriter};
use kernel::{new_mutex, new_spinlock};

/// Size of an event in bytes: the slot's index, in the byte order of the machine.
const EVENT: usize = size_of::<u32>();
/// Number of events that are taken out and copied to user space at a time.
const BATCH: usize = 64;
/// Number of entries of a new queue after which other tasks may run.
const STRIDE: usize = 4096;

/// The events of a context.
#[pin_data]
pub(crate) struct Events {
    #[pin]
    queue: SpinLock<EventQueue>,
    /// Held while memory for the queue is allocated.
    #[pin]
    growth: Mutex<()>,
    /// The account to which the memory is charged.
    account: Account,
    #[pin]
    readers: WaitQueue,
}

struct EventQueue {
    ring: Ring,
    /// An entry for each slot of the status array, once a request has asked for an event.
    entries: KVVec<u32>,
    /// Charges them to the user.
    memory: Option<ArrayMemory>,
}

impl EventQueue {
    fn take(&mut self, batch: &mut [u32; BATCH], most: usize) -> usize {
        let mut count = 0usize;
        for event in batch.iter_mut().take(most) {
            let Some(index) = self.ring.take() else { break };
            *event = self.entries.get(index as usize).copied().unwrap_or(0);
            count = count.saturating_add(1);
        }
        count
    }

    fn put_back(&mut self, events: &[u32]) {
        for event in events.iter().rev() {
            let index = self.ring.put_back();
            self.store(index, *event);
        }
    }

    fn store(&mut self, index: u64, event: u32) {
        if let Some(slot) = self.entries.as_mut_slice().get_mut(index as usize) {
            *slot = event;
        }
    }
}

/// Allocates entries for the events of `slots` requests, the most that can be outstanding.
///
/// # Errors
/// ENOMEM; EINTR if the caller is killed.
fn entries(slots: u64) -> Result<KVVec<u32>> {
    let count = usize::try_from(slots).map_err(|_| ENOMEM)?;
    let mut entries = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
    for n in 0..count {
        entries.push_within_capacity(0).map_err(|_| ENOMEM)?;
        if n % STRIDE == 0 {
            if task::killed() {
                return Err(EINTR);
            }
            task::resched();
        }
    }
    Ok(entries)
}

impl Events {
    /// Creates a queue without entries. They will be charged to `account`.
    pub(crate) fn new(account: Account) -> impl PinInit<Self> {
        pin_init!(Self {
            queue <- new_spinlock!(
                EventQueue { ring: Ring::new(0), entries: KVVec::new(), memory: None },
                "knem::Events::queue"
            ),
            growth <- new_mutex!((), "knem::Events::growth"),
            account,
            readers <- WaitQueue::new(),
        })
    }

    /// Reserves an entry for an event, in a status array of `slots` slots.
    ///
    /// # Errors
    /// EBUSY if as many events as there are slots are reserved or unread. The first time also ENOMEM, see
    /// [`ArrayMemory::charge`], and EINTR if the caller is killed.
    pub(crate) fn reserve(&self, slots: u64) -> Result {
        let mut queue = self.queue.lock();
        if queue.memory.is_none() {
            drop(queue);
            self.grow(slots).inspect_err(|_| counters::count(Counter::RejectedMemory))?;
            queue = self.queue.lock();
        }
        Ok(queue.ring.reserve()?)
    }

    /// Allocates the entries, unless they exist.
    fn grow(&self, slots: u64) -> Result {
        let _growth = self.growth.lock();
        if self.queue.lock().memory.is_some() {
            return Ok(());
        }
        let memory = ArrayMemory::charge(&self.account, slots.saturating_mul(EVENT as u64))?;
        let entries = entries(slots)?;
        let mut queue = self.queue.lock();
        // The queue is empty, and dropping vectors without memory does nothing.
        queue.ring = Ring::new(entries.len() as u64);
        queue.entries = entries;
        queue.memory = Some(memory);
        Ok(())
    }

    /// Wakes pollers after a change outside of the queue, such as the mapping of the status array.
    pub(crate) fn changed(&self) {
        self.readers.wake();
    }

    /// Releases a reserved entry.
    pub(crate) fn cancel(&self) {
        self.queue.lock().ring.cancel();
    }

    /// Fills a reserved entry, and wakes readers.
    pub(crate) fn push(&self, event: u32) {
        {
            let mut queue = self.queue.lock();
            let index = queue.ring.push();
            queue.store(index, event);
        }
        self.readers.wake();
    }

    fn any(&self) -> bool {
        self.queue.lock().ring.unread() != 0
    }

    /// Reads events into `length` bytes of the caller's memory. Waits until these are full, unless `patient` returns
    /// false when there is no event. Returns the number of bytes.
    ///
    /// # Errors
    /// EINVAL unless `length` is a multiple of the size of an event; EAGAIN if there is no event and `patient` is
    /// false, EINTR if a signal comes first, EFAULT, each only if there is no event to return. An event that is not
    /// returned is not lost.
    pub(crate) fn read(&self, buffer: UserPtr, length: usize, patient: impl Fn() -> bool) -> Result<usize> {
        if length % EVENT != 0 {
            return Err(Refusal::WrongState.into());
        }
        let mut writer = UserSlice::new(buffer, length).writer();
        let mut done = 0usize;
        while done < length {
            let some_or = |error| if done == 0 { Err(error) } else { Ok(done) };
            let wanted = length.saturating_sub(done) / EVENT;
            match self.deliver(&mut writer, wanted) {
                Err(error) => return some_or(error),
                Ok(0) if !patient() => return some_or(EAGAIN),
                Ok(0) => {
                    if let Err(error) = self.readers.wait(|| self.any()) {
                        return some_or(error);
                    }
                }
                Ok(count) => done = done.saturating_add(count.saturating_mul(EVENT)),
            }
        }
        Ok(done)
    }

    /// Copies a batch of at most `wanted` events to the caller, and returns how many.
    fn deliver(&self, writer: &mut UserSliceWriter, wanted: usize) -> Result<usize> {
        let mut batch = [0u32; BATCH];
        let count = self.queue.lock().take(&mut batch, wanted);
        let events = batch.get(..count).unwrap_or(&[]);
        // The lock is not held while user memory is written. The entries stay taken meanwhile.
        let copied = events.iter().try_for_each(|event| writer.write(event));
        let mut queue = self.queue.lock();
        match copied {
            Ok(()) => queue.ring.free(count as u64),
            Err(_) => queue.put_back(events),
        }
        drop(queue);
        if copied.is_err() && count != 0 {
            // Another reader may have gone to sleep while the events were taken.
            self.readers.wake();
        }
        copied.map(|()| count)
    }

    /// Registers a poll for wake-ups.
    ///
    /// # Safety
    /// As [`WaitQueue::poll`].
    pub(crate) unsafe fn register(&self, file: *mut bindings::file, table: *mut bindings::poll_table) {
        // SAFETY: The caller guarantees what `WaitQueue::poll` requires.
        unsafe { self.readers.poll(file, table) };
    }

    /// Returns the poll events that are ready.
    pub(crate) fn ready(&self) -> c_uint {
        if self.any() {
            READABLE
        } else {
            0
        }
    }
}
