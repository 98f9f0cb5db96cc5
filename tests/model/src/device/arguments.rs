// SPDX-License-Identifier: CECILL-B
//! Structures of commands, good and bad, and lists of segments.

use std::ffi::c_void;
use std::fmt::Debug;
use std::os::fd::{AsRawFd, BorrowedFd};

use knem_core::uapi::ParamIovec;
use nix::errno::Errno;
use nix::libc;

use super::memory::Mapping;
use super::Device;
use crate::command::{Argument, List};
use crate::memory::{Place, Segment, ARENA};

/// Content of fields that the driver must not read.
pub(super) const GARBAGE: u32 = 0xdead_beef;

/// A page for a structure that cannot be written.
#[derive(Debug)]
pub(super) struct Page(Mapping);

impl Page {
    pub(super) fn new() -> Self {
        Self(Mapping::anonymous(ARENA))
    }
}

/// A list of segments as the driver reads it.
pub(super) struct Given {
    segments: Vec<ParamIovec>,
    elsewhere: Option<(u64, u32)>,
}

impl Given {
    /// Returns address and number of elements.
    pub(super) fn given(&self) -> (u64, u32) {
        // The address of an empty array is never used.
        let address = match self.segments.len() {
            0 => 0xbad0_bad0_bad0_bad0,
            _ => self.segments.as_ptr().expose_provenance() as u64,
        };
        self.elsewhere.unwrap_or((address, self.segments.len() as u32))
    }
}

impl Device {
    pub(super) fn list(&self, list: &List) -> Given {
        let segment = |segment: &Segment| {
            let len = u64::from(segment.length);
            match segment.place {
                Place::Memory(start) => self.memory.part(start as usize, segment.length as usize),
                Place::Hole => ParamIovec { base: self.hole(), len },
                Place::Kernel => ParamIovec { base: 0xffff_8880_0000_0000, len },
                Place::Wrapping => ParamIovec { base: self.memory.address(), len: if len == 0 { 0 } else { u64::MAX } },
            }
        };
        let elsewhere = match list {
            List::Of(_) => None,
            List::Absent(count) => Some((self.hole(), *count)),
            List::TooLong => Some((self.hole(), self.max_segments.saturating_add(1))),
        };
        let segments = if let List::Of(segments) = list { segments.iter().map(segment).collect() } else { Vec::new() };
        Given { segments, elsewhere }
    }

    /// Issues a command with its structure, which must not change if the command is refused.
    pub(super) fn call<T: Copy + PartialEq + Debug>(
        &self,
        fd: BorrowedFd<'_>,
        command: u32,
        argument: Argument,
        value: &mut T,
    ) -> Result<(), Errno> {
        let before = *value;
        let address = match argument {
            Argument::Good => (&raw mut *value).cast::<c_void>(),
            Argument::Absent => std::ptr::with_exposed_provenance_mut(self.hole() as usize),
            Argument::ReadOnly => {
                let length = size_of::<T>();
                // SAFETY: The structure has only integers and no padding, so that all its bytes are initialised.
                let bytes = unsafe { std::slice::from_raw_parts((&raw const before).cast::<u8>(), length) };
                self.page.0.store(0, bytes);
                self.page.0.protect(0, ARENA, libc::PROT_READ);
                std::ptr::with_exposed_provenance_mut(self.page.0.address() as usize)
            }
        };
        // SAFETY: The structure is the command's, or nothing is mapped at the address, which the driver checks.
        let result = Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), command.into(), address) }).map(drop);
        if argument == Argument::ReadOnly {
            self.page.0.protect(0, ARENA, libc::PROT_READ | libc::PROT_WRITE);
        }
        if result.is_err() {
            assert_eq!(*value, before, "a command that is refused writes nothing back");
        }
        result
    }
}
