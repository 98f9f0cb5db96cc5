// SPDX-License-Identifier: CECILL-B
//! XPMEM, if its module is loaded: a process offers its memory, another one attaches it to its own address space.
//!
//! Distributions have no library for it, so its ioctls are called directly.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use nix::errno::Errno;

use crate::exit::Failure;

/// Its device node.
const NODE: &str = "/dev/xpmem";
const MAGIC: u8 = b'x';
/// Both directions are allowed.
const READ_WRITE: i32 = 2;
/// Access rights are those of a file's mode.
const PERMIT_MODE: i32 = 1;
/// Owner only.
const MODE: u64 = 0o600;

/// Offers a part of the address space.
#[repr(C)]
struct Make {
    address: u64,
    size: usize,
    permit_type: i32,
    permit_value: u64,
    segment: i64,
}

/// Requests access to an offer.
#[repr(C)]
struct Get {
    segment: i64,
    flags: i32,
    permit_type: i32,
    permit_value: u64,
    access: i64,
}

/// Attaches it.
#[repr(C)]
struct Attach {
    access: i64,
    offset: i64,
    size: usize,
    address: u64,
    descriptor: i32,
    flags: i32,
}

/// Argument of detaching, of releasing access and of withdrawing an offer.
#[repr(C)]
struct Number(u64);

mod command {
    use super::{Attach, Get, Make, Number, MAGIC};
    nix::ioctl_readwrite_bad!(make, nix::request_code_none!(MAGIC, 1), Make);
    nix::ioctl_readwrite_bad!(remove, nix::request_code_none!(MAGIC, 2), Number);
    nix::ioctl_readwrite_bad!(get, nix::request_code_none!(MAGIC, 3), Get);
    nix::ioctl_readwrite_bad!(release, nix::request_code_none!(MAGIC, 4), Number);
    nix::ioctl_readwrite_bad!(attach, nix::request_code_none!(MAGIC, 5), Attach);
    nix::ioctl_readwrite_bad!(detach, nix::request_code_none!(MAGIC, 6), Number);
}

/// The open device.
pub(crate) struct Xpmem(File);

/// Memory of another process, attached.
pub(crate) struct Attached<'a> {
    xpmem: &'a Xpmem,
    access: i64,
    start: NonNull<u8>,
}

/// Memory of this process that other processes may attach.
pub(crate) struct Offered<'a> {
    xpmem: &'a Xpmem,
    segment: i64,
}

impl Xpmem {
    /// Opens it, or returns the reason why it cannot be used.
    pub(crate) fn open() -> Result<Self, String> {
        let opened = File::options().read(true).write(true).open(NODE);
        opened.map(Self).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("{NODE} does not exist"),
            _ => format!("cannot open {NODE}: {error}"),
        })
    }

    /// Offers memory at this address.
    ///
    /// # Safety
    ///
    /// Other processes may change the memory until the offer is dropped.
    pub(crate) unsafe fn offer(&self, address: usize, size: usize) -> Result<Offered<'_>, Failure> {
        let mut make = Make { address: address as u64, size, permit_type: PERMIT_MODE, permit_value: MODE, segment: 0 };
        // SAFETY: the structure is that of the command; the caller answers for the memory that it offers.
        unsafe { command::make(self.0.as_raw_fd(), &raw mut make) }
            .map_err(|errno| refused("offering memory", errno))?;
        Ok(Offered { xpmem: self, segment: make.segment })
    }

    /// Attaches what was offered.
    pub(crate) fn attach(&self, segment: i64, size: usize) -> Result<Attached<'_>, Failure> {
        let fd = self.0.as_raw_fd();
        let mut get = Get { segment, flags: READ_WRITE, permit_type: PERMIT_MODE, permit_value: 0, access: 0 };
        // SAFETY: the structure is that of the command and holds no address.
        unsafe { command::get(fd, &raw mut get) }.map_err(|errno| refused("requesting memory", errno))?;
        let access = get.access;
        let mut attach = Attach { access, offset: 0, size, address: 0, descriptor: fd, flags: 0 };
        // SAFETY: the structure is that of the command; with address 0 the kernel chooses the address.
        let attached = unsafe { command::attach(fd, &raw mut attach) };
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut(attach.address as usize));
        match (attached, start) {
            (Ok(_), Some(start)) => Ok(Attached { xpmem: self, access, start }),
            (outcome, _) => {
                self.give_back(access);
                Err(refused("attaching memory", outcome.err().unwrap_or(Errno::EFAULT)))
            }
        }
    }

    fn give_back(&self, access: i64) {
        // SAFETY: the argument is a number. Closing the file releases the access too if this fails.
        let _ = unsafe { command::release(self.0.as_raw_fd(), &mut Number(access as u64)) };
    }
}

impl Offered<'_> {
    /// Returns its id for other processes.
    pub(crate) fn segment(&self) -> i64 {
        self.segment
    }
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        // SAFETY: the argument is a number. Closing the file withdraws the offer too if this fails.
        let _ = unsafe { command::remove(self.xpmem.0.as_raw_fd(), &mut Number(self.segment as u64)) };
    }
}

impl Attached<'_> {
    /// Returns its address in this process.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let address = self.start.as_ptr().expose_provenance() as u64;
        // SAFETY: the address is that of the attached memory, into which there is no reference.
        let _ = unsafe { command::detach(self.xpmem.0.as_raw_fd(), &mut Number(address)) };
        self.xpmem.give_back(self.access);
    }
}

fn refused(what: &str, errno: Errno) -> Failure {
    Failure::Other(format!("XPMEM refused {what}: {}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_laid_out_as_in_c() {
        assert_eq!((size_of::<Make>(), size_of::<Get>(), size_of::<Attach>()), (40, 32, 40));
        assert_eq!(std::mem::offset_of!(Make, segment), 32);
        assert_eq!(std::mem::offset_of!(Get, access), 24);
        assert_eq!(std::mem::offset_of!(Attach, descriptor), 32);
    }

    #[test]
    fn its_absence_is_reported() {
        if !std::path::Path::new(NODE).exists() {
            assert!(Xpmem::open().err().unwrap().contains("does not exist"));
        }
    }
}
