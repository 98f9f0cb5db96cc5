// SPDX-License-Identifier: CECILL-B
//! The status array, completion events, and requests that fill them.

use std::sync::atomic::{AtomicU8, Ordering};

use knem_core::uapi::{self, ParamIovec};
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::mman::MapFlags;

use crate::device::{Inline, Knem, READ, WRITE};
use crate::memory::{both, Mapping, PAGE};
use crate::waiting;

/// A request for the worker thread.
pub const THREAD: u32 = uapi::FLAG_MEMCPYTHREAD;
/// The same, with an event.
pub const NOTIFY: u32 = uapi::FLAG_MEMCPYTHREAD | uapi::FLAG_NOTIFY_FD;
/// State of a slot whose request has not completed.
pub const PENDING: u8 = uapi::STATUS_PENDING;
/// State of a slot whose request has succeeded.
pub const DONE: u8 = uapi::STATUS_SUCCESS;
/// A status that no driver stores.
pub const POISON: u8 = 0xee;

/// A mapped status array.
#[derive(Debug)]
pub struct Slots(Mapping);

impl Slots {
    /// Maps at least this number of slots, as clients do.
    pub fn map(knem: &Knem, slots: usize) -> Result<Self, Errno> {
        Mapping::try_of_file(knem.fd(), slots, both(), MapFlags::MAP_SHARED, 0).map(Self)
    }

    /// Returns the number of slots.
    pub fn count(&self) -> usize {
        self.0.len().next_multiple_of(PAGE)
    }

    fn slot(&self, index: u32) -> &AtomicU8 {
        let index = index as usize;
        assert!(index < self.count());
        let place = std::ptr::with_exposed_provenance_mut::<u8>(self.0.address() as usize + index);
        // SAFETY: The slot is inside the mapping, which is a whole number of pages, and both sides access it
        // atomically.
        unsafe { AtomicU8::from_ptr(place) }
    }

    /// Returns a slot's state.
    pub fn get(&self, index: u32) -> u8 {
        self.slot(index).load(Ordering::Acquire)
    }

    /// Writes a slot, as programs may.
    pub fn set(&self, index: u32, status: u8) {
        self.slot(index).store(status, Ordering::Release);
    }

    /// Waits for a slot's final state, and returns it.
    pub fn wait(&self, index: u32) -> u8 {
        waiting::until(&format!("slot {index} is final"), || self.get(index) != PENDING);
        self.get(index)
    }

    /// Returns the memory of the array.
    pub fn memory(&self) -> &Mapping {
        &self.0
    }

    /// Unmaps it.
    pub fn unmap(self) {
        drop(self.0);
    }
}

/// A context with a status array, and a region to copy from and to.
#[derive(Debug)]
pub struct Asynchronous {
    /// The open file descriptor.
    pub knem: Knem,
    /// Its status array.
    pub slots: Slots,
    /// Memory of the region.
    pub memory: Mapping,
    /// The region, readable and writable.
    pub region: u64,
    /// Memory for the other side, as long as the region.
    pub local: Mapping,
}

impl Asynchronous {
    /// Creates a context with this number of slots, and a region that holds these bytes.
    pub fn new(slots: usize, bytes: &[u8]) -> Self {
        let knem = Knem::open();
        let slots = Slots::map(&knem, slots).expect("the status array can be mapped");
        let (memory, local) = (Mapping::holding(bytes), Mapping::new(bytes.len().max(1)));
        let region = knem.create(&[memory.part(0, bytes.len())], READ | WRITE, 0).expect("created");
        Self { knem, slots, memory, region, local }
    }

    /// Requests an asynchronous read of the whole region, and returns `current_status`.
    pub fn read(&self, index: u32, flags: u32) -> Result<u32, Errno> {
        self.read_into(&[self.local.segment()], index, flags)
    }

    /// Requests an asynchronous read into these segments, and returns `current_status`.
    pub fn read_into(&self, segments: &[ParamIovec], index: u32, flags: u32) -> Result<u32, Errno> {
        let request = Inline { cookie: self.region, segments, flags, ..Inline::default() };
        self.knem.inline_at(request, index)
    }

    /// Requests an asynchronous write of the local memory, and returns `current_status`.
    pub fn write(&self, index: u32, flags: u32) -> Result<u32, Errno> {
        let segments = &[self.local.segment()];
        self.knem.inline_at(Inline { cookie: self.region, segments, flags, write: 1, ..Inline::default() }, index)
    }

    /// Fills the local memory with a byte that the region does not hold.
    pub fn blank(&mut self) {
        self.local.bytes_mut().fill(POISON);
    }
}

/// Work that keeps the worker thread of a context busy for a while, so that later requests have to wait.
#[derive(Debug)]
pub struct Plug {
    source: u64,
    destination: u64,
    _memory: Mapping,
}

impl Plug {
    const LENGTH: usize = 8 << 20;

    /// Prepares the regions.
    pub fn new(knem: &Knem) -> Self {
        let memory = Mapping::holding(&vec![1; 2 * Self::LENGTH]);
        let source = knem.create(&[memory.part(0, Self::LENGTH)], READ, 0).expect("created");
        let destination = knem.create(&[memory.part(Self::LENGTH, Self::LENGTH)], WRITE, 0).expect("created");
        Self { source, destination, _memory: memory }
    }

    /// Requests `times` copies of 8 MiB from the worker thread, which report to slot `index`.
    pub fn insert(&self, knem: &Knem, index: u32, times: usize) {
        for _ in 0..times {
            let (source, destination) = ((self.source, 0), (self.destination, 0));
            assert_eq!(knem.copy_at(source, destination, None, THREAD, index), Ok(u32::from(PENDING)));
        }
    }

    /// Withdraws its regions.
    pub fn remove(self, knem: &Knem) {
        assert_eq!((knem.destroy(self.source), knem.destroy(self.destination)), (Ok(()), Ok(())));
    }
}

/// Reads events into a buffer of this number of bytes, and returns them.
pub fn events(knem: &Knem, bytes: usize) -> Result<Vec<u32>, Errno> {
    let mut buffer = vec![0; bytes];
    let length = nix::unistd::read(knem.fd(), &mut buffer)?;
    assert_eq!(length % 4, 0, "events are whole");
    Ok(buffer[..length].chunks(4).map(|event| u32::from_ne_bytes(event.try_into().expect("four bytes"))).collect())
}

/// Waits for a number of events and reads them.
pub fn wait_events(knem: &Knem, count: usize) -> Vec<u32> {
    let read = events(knem, count * 4).expect("read");
    assert_eq!(read.len(), count, "a blocking read fills its buffer");
    read
}

/// Returns what poll() reports at once.
pub fn poll_now(knem: &Knem) -> PollFlags {
    poll_for(knem, PollTimeout::ZERO)
}

/// Returns what poll() reports within a timeout.
pub fn poll_for(knem: &Knem, timeout: PollTimeout) -> PollFlags {
    let mut list = [PollFd::new(knem.fd(), PollFlags::POLLIN | PollFlags::POLLOUT | PollFlags::POLLRDNORM)];
    poll(&mut list, timeout).expect("poll");
    list[0].revents().expect("known events")
}

/// Returns a list's address, as the commands expect it.
pub fn address(list: &[ParamIovec]) -> u64 {
    list.as_ptr().expose_provenance() as u64
}
