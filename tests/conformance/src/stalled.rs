// SPDX-License-Identifier: CECILL-B
//! Memory whose first access blocks until the test releases it (userfaultfd).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::memory::{Mapping, PAGE};
use crate::skip;

/// `UFFDIO_API`, `UFFDIO_REGISTER`, `UFFDIO_UNREGISTER` of <linux/userfaultfd.h>.
const API: u32 = 0xc018_aa3f;
const REGISTER: u32 = 0xc020_aa00;
const UNREGISTER: u32 = 0x8010_aa01;
/// `UFFD_API`, `UFFDIO_REGISTER_MODE_MISSING`.
const VERSION: u64 = 0xaa;
const MISSING: u64 = 1;

/// Memory without pages; a task that accesses it blocks.
#[derive(Debug)]
pub struct Stalled {
    uffd: OwnedFd,
    memory: Mapping,
}

impl Stalled {
    /// Maps some pages. Skips the test where that is not possible.
    pub fn new(pages: usize) -> Self {
        // SAFETY: The call only creates a file descriptor and accesses no memory.
        let number = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) };
        let number =
            Errno::result(number).unwrap_or_else(|errno| skip(format!("no userfaultfd for kernel accesses: {errno}")));
        // SAFETY: The descriptor was created just now, and nothing else owns it.
        let uffd = unsafe { OwnedFd::from_raw_fd(i32::try_from(number).expect("a descriptor")) };
        let stalled = Self { uffd, memory: Mapping::new(pages * PAGE) };
        stalled.command(API, &mut [VERSION, 0, 0]);
        stalled.command(REGISTER, &mut [stalled.memory.address(), stalled.memory.len() as u64, MISSING, 0]);
        stalled
    }

    fn command(&self, number: u32, argument: &mut [u64]) {
        // SAFETY: The argument is at least as long as the command's structure.
        let result = unsafe { libc::ioctl(self.uffd.as_raw_fd(), number.into(), argument.as_mut_ptr()) };
        Errno::result(result).expect("userfaultfd");
    }

    /// Returns the memory.
    pub fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Waits until a task accesses it.
    pub fn is_touched(&self) {
        use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
        let fd = std::os::fd::AsFd::as_fd(&self.uffd);
        assert_eq!(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::NONE), Ok(1));
    }

    /// Unblocks all tasks, with pages of zeros.
    pub fn release(&self) {
        self.command(UNREGISTER, &mut [self.memory.address(), self.memory.len() as u64]);
    }
}
