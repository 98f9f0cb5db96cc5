// SPDX-License-Identifier: CECILL-B
//! Copies that go on after the call has returned: the status array, requests, and completion events.
//!
//! The caller's side of such a copy is a [`Memory`], which expects to be changed at any time and whose pages the kernel
//! keeps for as long as it copies. So nothing of this needs `unsafe`, not even when a request is forgotten.

use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use knem_core::uapi::{self, CmdBindOffload, CmdCopyBounded, CmdInlineCopyBounded};
use nix::errno::Errno;
use nix::sys::mman::munmap;

use crate::segments::Segments;
use crate::{Cookie, CopyOptions, Device, Error, Memory};

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
    fn flags(self) -> u32 {
        let worker = match self.worker {
            Worker::Thread => uapi::FLAG_MEMCPYTHREAD,
            Worker::EngineByThread => uapi::FLAG_DMATHREAD,
            Worker::Engine => uapi::FLAG_ASYNCDMACOMPLETE,
        };
        worker | if self.notify { uapi::FLAG_NOTIFY_FD } else { 0 }
    }
}

/// State of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not completed.
    Pending,
    /// Every byte was copied.
    Success,
    /// The copy stopped early; the destination's contents are unspecified.
    Failed,
}

impl Status {
    fn from_slot(slot: u8) -> Self {
        match slot {
            uapi::STATUS_PENDING => Self::Pending,
            uapi::STATUS_SUCCESS => Self::Success,
            // The driver stores nothing else, and whoever scribbles there has not made a success of it.
            _ => Self::Failed,
        }
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
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, by the one owner.
unsafe impl Send for StatusArray<'_> {}
// SAFETY: its bytes are only accessed atomically.
unsafe impl Sync for StatusArray<'_> {}

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
        const PAGE: usize = 4096;
        // The driver counts whole pages; a page that is larger than this one has more slots than are told of here.
        let length = (slots.max(1) as usize).next_multiple_of(PAGE);
        let start = self.backend().map_status(length).map_err(|errno| Error::of("mapping the status array", errno))?;
        Ok(StatusArray { device: self, start, length })
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
        self.length
    }

    /// What a slot says. Who sees a final state sees the bytes that were copied as well.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn status(&self, slot: u32) -> Status {
        assert!((slot as usize) < self.length, "slot {slot} of {}", self.length);
        // SAFETY: inside the mapping.
        let place = unsafe { self.start.as_ptr().add(slot as usize) };
        // SAFETY: mapped as long as `self`; both the kernel and this process access it atomically.
        Status::from_slot(unsafe { AtomicU8::from_ptr(place) }.load(Ordering::Acquire))
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
        let mut argument = CmdCopyBounded {
            src_cookie: source.as_raw(),
            src_offset: options.offset,
            dst_cookie: destination.as_raw(),
            dst_offset: destination_offset,
            length: options.bound.unwrap_or(u64::MAX),
            flags: options.flags.bits() | submission.flags(),
            async_status_index: submission.slot,
            ..CmdCopyBounded::default()
        };
        self.device.backend().copy_bounded(&mut argument).map_err(refused)?;
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
        let segments = Segments::part(memory, &part);
        let mut argument = CmdInlineCopyBounded {
            local_iovec_array: segments.address(),
            local_iovec_nr: segments.count()?,
            write: write.into(),
            remote_cookie: region.as_raw(),
            remote_offset: options.offset,
            length: options.bound.unwrap_or(u64::MAX),
            flags: options.flags.bits() | submission.flags(),
            async_status_index: submission.slot,
            ..CmdInlineCopyBounded::default()
        };
        // SAFETY: address and count are those of a list that lives until the call has returned. Its memory is a
        // `Memory`'s, which may change at any time: also after it is dropped, when the pages are no longer part of
        // this process.
        unsafe { self.device.backend().submit_inline_copy(&mut argument) }.map_err(refused)?;
        Ok(Request { array: self, slot: submission.slot })
    }

    /// Takes completion events: the slots of requests that asked for one, in the order of their completion. Waits until
    /// `events` is full, unless the file does not block; returns how many there are.
    pub fn read_events(&self, events: &mut [u32]) -> Result<usize, Error> {
        let mut bytes = vec![0; size_of_val(events)];
        let outcome = self.device.backend().read_events(&mut bytes);
        let length = outcome.map_err(|errno| Error::of("reading completion events", errno))?;
        let mut count = 0;
        for (event, four) in events.iter_mut().zip(bytes.get(..length).unwrap_or_default().chunks_exact(4)) {
            *event = four.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
            if cfg!(target_endian = "big") {
                *event = event.swap_bytes();
            }
            count += 1;
        }
        Ok(count)
    }

    /// The file, to be polled for events (`POLLIN`); `None` if the driver is no file.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.device.backend().fd()
    }
}

impl Drop for StatusArray<'_> {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and no reference into it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

impl fmt::Debug for StatusArray<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusArray").field("slots", &self.length).finish_non_exhaustive()
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

/// The reason of a refused request.
fn refused(errno: Errno) -> Error {
    match errno {
        // There are more reasons for it than with synchronous copies.
        Errno::EINVAL => Error::NotSubmitted,
        Errno::EBUSY => Error::QueueFull,
        errno => Error::of_copy(errno, false),
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

    #[test]
    fn other_states_are_no_success() {
        assert_eq!(
            [0, 1, 2, 77].map(Status::from_slot),
            [Status::Pending, Status::Success, Status::Failed, Status::Failed]
        );
    }
}
