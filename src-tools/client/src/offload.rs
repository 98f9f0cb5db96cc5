// SPDX-License-Identifier: CECILL-B
//! Asynchronous copies: the status array, requests, and completion events.
//!
//! The caller's side of such a copy is a [`Memory`], whose bytes may change at any time and whose pages the kernel
//! holds until the copy has ended. So none of this needs `unsafe`, not even if a request is forgotten.

use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use knem_core::uapi::{self, CmdBindOffload};

use crate::slots::Slots;
use crate::{submit, Cookie, CopyOptions, Device, Error, Memory, Status};

/// The worker of an asynchronous copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Worker {
    /// The context's worker thread, in the order of submission.
    #[default]
    Thread,
    /// A DMA engine driven by the worker thread. Without an engine, the calling thread copies at once.
    EngineByThread,
    /// A DMA engine without a waiting thread. Without an engine, the calling thread copies at once.
    Engine,
}

/// The slot and the worker of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// The slot of the status array.
    pub slot: u32,
    /// The worker.
    pub worker: Worker,
    /// Whether its completion is also an event; not with [`Worker::Engine`].
    pub notify: bool,
}

impl Submission {
    pub(crate) fn flags(self) -> u32 {
        let worker = match self.worker {
            Worker::Thread => uapi::FLAG_MEMCPYTHREAD,
            Worker::EngineByThread => uapi::FLAG_DMATHREAD,
            Worker::Engine => uapi::FLAG_ASYNCDMACOMPLETE,
        };
        worker | if self.notify { uapi::FLAG_NOTIFY_FD } else { 0 }
    }
}

/// CPUs of the context's worker thread. It stays within the cpuset of the thread that maps the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement<'a> {
    /// The CPUs that the calling thread may use now.
    Here,
    /// The CPUs that the calling thread may not use now.
    Elsewhere,
    /// These CPUs, by number.
    Processors(&'a [usize]),
}

/// The mapped status array of an open device, which can be mapped once.
pub struct StatusArray<'a> {
    device: &'a Device,
    slots: Slots,
}

impl Device {
    /// Sets the CPUs of the worker thread. Must be called before [`Device::map_status`], which starts it.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with EBUSY after the array is mapped, EFAULT, or EINVAL.
    pub fn place_thread(&self, placement: Placement<'_>) -> Result<(), Error> {
        let mut mask = Vec::new();
        let flags = match placement {
            Placement::Here => uapi::BIND_FLAG_CURRENT,
            Placement::Elsewhere => uapi::BIND_FLAG_CURRENT_REVERSED,
            Placement::Processors(numbers) => {
                mask = mask_of(numbers);
                uapi::BIND_FLAG_CUSTOM
            }
        };
        let mut argument = CmdBindOffload {
            flags,
            mask_len: u32::try_from(mask.len() * size_of::<usize>()).unwrap_or(u32::MAX),
            mask_ptr: mask.as_ptr().expose_provenance() as u64,
        };
        // SAFETY: address and length are those of the mask, which lives until the call has returned.
        unsafe { self.backend().bind_offload(&mut argument) }
            .map_err(|errno| Error::of("placing the kernel's thread", errno))
    }

    /// Maps the status array with at least `slots` slots, and starts the worker thread.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with EBUSY if it is mapped already, EINVAL for more than `max_slots`, or ENOMEM.
    pub fn map_status(&self, slots: u32) -> Result<StatusArray<'_>, Error> {
        Ok(StatusArray { device: self, slots: Slots::map(self, slots)? })
    }
}

/// Returns a mask as for `sched_setaffinity(2)`.
fn mask_of(numbers: &[usize]) -> Vec<usize> {
    const BITS: usize = usize::BITS as usize;
    let words = numbers.iter().map(|number| number / BITS + 1).max().unwrap_or(0);
    let mut mask = vec![0; words];
    for number in numbers {
        if let Some(word) = mask.get_mut(number / BITS) {
            *word |= 1usize << (number % BITS);
        }
    }
    mask
}

impl StatusArray<'_> {
    /// Returns the number of slots.
    pub fn slots(&self) -> usize {
        self.slots.count()
    }

    /// Returns the status in a slot. A final status is ordered after the copied bytes.
    ///
    /// # Panics
    ///
    /// If the slot does not exist.
    pub fn status(&self, slot: u32) -> Status {
        self.slots.status(slot)
    }

    /// Submits a copy from a region into a part of `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::NotSubmitted`] (EINVAL), [`Error::QueueFull`] (EBUSY), [`Error::OtherUser`] (EPERM),
    /// [`Error::Protection`] (EACCES), [`Error::BadAddress`] (EFAULT), [`Error::OutOfMemory`] (ENOMEM);
    /// [`Error::System`] with EAGAIN if the worker thread cannot start.
    ///
    /// # Panics
    ///
    /// If the part is not inside the memory.
    pub fn read<'m>(
        &'m self,
        region: Cookie,
        memory: &'m Memory,
        part: Range<usize>,
        options: CopyOptions,
        submission: Submission,
    ) -> Result<Request<'m>, Error> {
        self.inline(false, region, (memory, part), options, submission)
    }

    /// Submits a copy from a part of `memory` into a region.
    ///
    /// # Errors
    ///
    /// Those of [`StatusArray::read`].
    ///
    /// # Panics
    ///
    /// If the part is not inside the memory.
    pub fn write<'m>(
        &'m self,
        region: Cookie,
        memory: &'m Memory,
        part: Range<usize>,
        options: CopyOptions,
        submission: Submission,
    ) -> Result<Request<'m>, Error> {
        self.inline(true, region, (memory, part), options, submission)
    }

    /// Submits a copy from one region into another, from `offset` of the source to `destination_offset` of the
    /// destination.
    ///
    /// # Errors
    ///
    /// Those of [`StatusArray::read`].
    pub fn copy(
        &self,
        source: Cookie,
        destination: Cookie,
        destination_offset: u64,
        options: CopyOptions,
        submission: Submission,
    ) -> Result<Request<'_>, Error> {
        submit::copy(self.device, (source, destination, destination_offset), options, submission)?;
        Ok(Request { array: self, slot: submission.slot })
    }

    fn inline<'m>(
        &'m self,
        write: bool,
        region: Cookie,
        (memory, part): (&'m Memory, Range<usize>),
        options: CopyOptions,
        submission: Submission,
    ) -> Result<Request<'m>, Error> {
        submit::inline(self.device, write, region, (memory, part), options, submission)?;
        Ok(Request { array: self, slot: submission.slot })
    }

    /// Reads completion events: the slots of requests with `notify`, in the order of their completion. Blocks until
    /// `events` is full, unless the file is non-blocking; returns the number of events.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with EAGAIN if there is none and the file does not block, EINTR, or EFAULT.
    pub fn read_events(&self, events: &mut [u32]) -> Result<usize, Error> {
        submit::read_events(self.device, events)
    }

    /// Returns the file descriptor to poll for events (`POLLIN`); `None` if the driver has none.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.device.backend().fd()
    }
}

impl fmt::Debug for StatusArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusArray").field("slots", &self.slots.count()).finish_non_exhaustive()
    }
}

/// An accepted request. It borrows its memory. Forgetting it is safe and does not stop the copy.
#[derive(Clone, Copy, Debug)]
#[must_use = "its status shows when the memory may be used"]
pub struct Request<'a> {
    array: &'a StatusArray<'a>,
    slot: u32,
}

impl Request<'_> {
    /// Returns its slot, which is also its event.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns its status, unless another request has the same slot.
    pub fn status(&self) -> Status {
        self.array.status(self.slot)
    }

    /// Yields the CPU until it has completed.
    ///
    /// # Errors
    ///
    /// [`Error::CopyFailed`].
    pub fn wait(self) -> Result<(), Error> {
        loop {
            match self.status() {
                Status::Pending => std::thread::yield_now(),
                Status::Success => return Ok(()),
                Status::Failed => return Err(Error::CopyFailed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeDriver;

    #[test]
    fn masks_are_as_long_as_needed() {
        assert_eq!(mask_of(&[]), Vec::<usize>::new());
        assert_eq!(mask_of(&[0, 3]), [9]);
        assert_eq!(mask_of(&[usize::BITS as usize]), [0, 1]);
    }

    #[test]
    fn flags_say_who_does_it() {
        let flags = |worker, notify| Submission { slot: 0, worker, notify }.flags();
        assert_eq!(flags(Worker::Thread, true), 0x48);
        assert_eq!(flags(Worker::EngineByThread, false), 0x04);
        assert_eq!(flags(Worker::Engine, false), 0x02);
    }

    #[test]
    fn a_driver_without_an_offload_says_so() {
        let device = Device::new(Box::new(FakeDriver::new())).unwrap();
        assert!(matches!(device.map_status(1), Err(Error::System { .. })));
        assert!(matches!(device.place_thread(Placement::Here), Err(Error::System { .. })));
    }
}
