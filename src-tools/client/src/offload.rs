// SPDX-License-Identifier: CECILL-B
//! Copies that go on after the call has returned: the status array, requests, and completion events.
//!
//! The caller's side of such a copy is a [`Memory`], which expects to be changed at any time and whose pages the kernel
//! keeps for as long as it copies. So nothing of this needs `unsafe`, not even when a request is forgotten.

use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use knem_core::uapi::{self, CmdBindOffload};

use crate::slots::Slots;
use crate::{submit, Cookie, CopyOptions, Device, Error, Memory, Status};

/// Who does a copy after the call has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Worker {
    /// The thread that the kernel has for the device's file, in the order of submission.
    #[default]
    Thread,
    /// A DMA engine that the thread drives. Without an engine, the calling thread copies at once.
    EngineByThread,
    /// A DMA engine; nobody waits for it. Without an engine, the calling thread copies at once.
    Engine,
}

/// Where a request reports to, and who does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Submission {
    /// The slot of the status array.
    pub slot: u32,
    /// Who does it.
    pub worker: Worker,
    /// Whether its completion is also an event; only with a worker that has the thread.
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

/// Which processors the kernel's thread of a device's file runs on. It stays within the cpuset of whoever maps the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement<'a> {
    /// Those that the calling thread may use now.
    Here,
    /// Those that the calling thread may not use now.
    Elsewhere,
    /// These, by their numbers.
    Processors(&'a [usize]),
}

/// The status array of a device's file, mapped. There is one for each open device, once in its life.
pub struct StatusArray<'a> {
    device: &'a Device,
    slots: Slots,
}

impl Device {
    /// Chooses where the kernel's thread runs, from its start on: before [`Device::map_status`].
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

    /// Maps the status array with at least so many slots, and starts the kernel's thread.
    pub fn map_status(&self, slots: u32) -> Result<StatusArray<'_>, Error> {
        Ok(StatusArray { device: self, slots: Slots::map(self, slots)? })
    }
}

/// A mask as for `sched_setaffinity(2)`.
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
    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots.count()
    }

    /// What a slot says. Who sees a final state sees the bytes that were copied as well.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn status(&self, slot: u32) -> Status {
        self.slots.status(slot)
    }

    /// Has a part of `memory` filled from a region.
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

    /// Has a part of `memory` copied into a region.
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

    /// Has one region copied into another, from `offset` of the source to `destination_offset` of the destination.
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

    /// Takes completion events: the slots of requests that asked for one, in the order of their completion. Waits until
    /// `events` is full, unless the file does not block; returns how many there are.
    pub fn read_events(&self, events: &mut [u32]) -> Result<usize, Error> {
        submit::read_events(self.device, events)
    }

    /// The file, to be polled for events (`POLLIN`); `None` if the driver is no file.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.device.backend().fd()
    }
}

impl fmt::Debug for StatusArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusArray").field("slots", &self.slots.count()).finish_non_exhaustive()
    }
}

/// A request that was accepted. It borrows the memory it uses; to forget it does no harm, and does not stop it.
#[derive(Clone, Copy, Debug)]
#[must_use = "its state tells when the memory may be used"]
pub struct Request<'a> {
    array: &'a StatusArray<'a>,
    slot: u32,
}

impl Request<'_> {
    /// Its slot, which is also its event.
    pub fn slot(&self) -> u32 {
        self.slot
    }

    /// Its state, as long as no other request was given the same slot.
    pub fn status(&self) -> Status {
        self.array.status(self.slot)
    }

    /// Gives the processor to others until it has completed.
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
