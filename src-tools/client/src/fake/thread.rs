// SPDX-License-Identifier: CECILL-B
//! The fake driver's worker thread: a status array and events. It is not a thread: requests complete at once, or when a
//! test calls for it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use knem_core::uapi;
use nix::errno::Errno;
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, MapFlags, ProtFlags};

/// The state of one open file of the driver.
pub(super) struct FakeThread {
    state: Mutex<State>,
    /// Events are written here,
    sender: UnixStream,
    /// and read here.
    receiver: UnixStream,
}

#[derive(Default)]
struct State {
    /// The array, which can be mapped once: a file in memory, and its length.
    array: Option<(File, usize)>,
    /// Pending requests with an event.
    notify: Vec<u32>,
    holding: bool,
    broken: bool,
}

impl FakeThread {
    /// Creates an open file whose array is not mapped yet.
    pub(super) fn new() -> Self {
        let (sender, receiver) = UnixStream::pair().expect("a pair of sockets");
        Self { state: Mutex::default(), sender, receiver }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&self) {
        self.state().holding = true;
    }

    pub(super) fn break_down(&self) {
        self.state().broken = true;
        // Wakes readers, which then fail.
        let _ = self.sender.shutdown(Shutdown::Both);
    }

    pub(super) fn map(&self, length: usize) -> Result<NonNull<u8>, Errno> {
        let mut state = self.state();
        if state.array.is_some() {
            return Err(Errno::EBUSY);
        }
        let length = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        let file = File::from(memfd_create("knem-status", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(length.get() as u64).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the kernel chooses the address, so the mapping replaces no other one.
        let start = unsafe {
            mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)
        }?;
        state.array = Some((file, length.get()));
        Ok(start.cast())
    }

    /// Accepts a request with these flags and makes its slot pending.
    pub(super) fn accept(&self, slot: u32, flags: u32) -> Result<(), Errno> {
        let mut state = self.state();
        let there = state.array.as_ref().is_some_and(|(_, length)| (slot as usize) < *length);
        if !there || flags & uapi::FLAG_MEMCPYTHREAD == 0 {
            return Err(Errno::EINVAL);
        }
        state.store(slot, uapi::STATUS_PENDING)?;
        if flags & uapi::FLAG_NOTIFY_FD != 0 {
            state.notify.push(slot);
        }
        Ok(())
    }

    /// Reports that the copy of a request has been made.
    pub(super) fn copied(&self, slot: u32) {
        if !self.state().holding {
            self.complete(slot, true);
        }
    }

    /// Completes a request: the slot is final before its event is sent.
    pub(super) fn complete(&self, slot: u32, success: bool) {
        let mut state = self.state();
        let status = if success { uapi::STATUS_SUCCESS } else { uapi::STATUS_FAILED };
        // Without an array there is no request.
        if state.store(slot, status).is_ok() {
            if let Some(index) = state.notify.iter().position(|waiting| *waiting == slot) {
                state.notify.remove(index);
                // It fails after `break_down`.
                let _ = (&self.sender).write_all(&slot.to_ne_bytes());
            }
        }
    }

    pub(super) fn read(&self, events: &mut [u8]) -> Result<usize, Errno> {
        if self.state().broken {
            return Err(Errno::EIO);
        }
        (&self.receiver).read(events).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl State {
    fn store(&self, slot: u32, status: u8) -> Result<(), Errno> {
        let (file, _) = self.array.as_ref().ok_or(Errno::EINVAL)?;
        file.write_all_at(&[status], slot.into()).map_err(|_| Errno::EIO)
    }
}
