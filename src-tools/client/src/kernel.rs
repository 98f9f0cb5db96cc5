// SPDX-License-Identifier: CECILL-B
//! The driver in the kernel, through its device node.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr::NonNull;

use knem_core::uapi::{self, CmdBindOffload, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded};
use nix::errno::Errno;
use nix::sys::mman::{mmap, MapFlags, ProtFlags};

use crate::ioctl::{BindOffload, Command, CopyBounded, CreateRegion, DestroyRegion, GetInfo, InlineCopyBounded};
use crate::{node, Backend, Cookie, Error};

/// An open device node.
pub struct KernelDriver(File);

impl KernelDriver {
    /// Opens the node, close-on-exec.
    ///
    /// # Errors
    ///
    /// [`Error::NoDevice`] (ENOENT, ENODEV, ENXIO, or no character device), [`Error::Permission`] (EACCES, EPERM),
    /// [`Error::System`] with any other errno of open(2).
    pub fn open(path: &Path) -> Result<Self, Error> {
        node::demand_device(path, false)?;
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| node::explain(path, error))?;
        Ok(Self(file))
    }

    /// # Safety
    ///
    /// As [`Command::call`].
    unsafe fn call<C: Command>(&self, argument: &mut C::Argument) -> Result<(), Errno> {
        // SAFETY: this function has the same contract.
        unsafe { C::call(self.0.as_raw_fd(), argument) }
    }
}

/// A node that is open for reading and writing.
impl From<File> for KernelDriver {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Backend for KernelDriver {
    fn get_info(&self) -> Result<CmdInfo, Errno> {
        let mut info = CmdInfo::default();
        // SAFETY: the structure holds no address.
        unsafe { self.call::<GetInfo>(&mut info) }?;
        Ok(info)
    }

    unsafe fn create_region(&self, argument: &mut CmdCreateRegion) -> Result<(), Errno> {
        // SAFETY: the trait's contract is the command's.
        unsafe { self.call::<CreateRegion>(argument) }
    }

    fn destroy_region(&self, cookie: Cookie) -> Result<(), Errno> {
        // SAFETY: the argument holds no address.
        unsafe { self.call::<DestroyRegion>(&mut cookie.as_raw()) }
    }

    unsafe fn inline_copy_bounded(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        // SAFETY: the trait's contract is the command's.
        unsafe { self.call::<InlineCopyBounded>(argument) }
    }

    fn copy_bounded(&self, argument: &mut CmdCopyBounded) -> Result<(), Errno> {
        // SAFETY: the structure holds no address of this process.
        unsafe { self.call::<CopyBounded>(argument) }
    }

    unsafe fn submit_inline_copy(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        // SAFETY: the trait's contract is the command's.
        unsafe { self.call::<InlineCopyBounded>(argument) }
    }

    unsafe fn bind_offload(&self, argument: &mut CmdBindOffload) -> Result<(), Errno> {
        // SAFETY: the trait's contract is the command's.
        unsafe { self.call::<BindOffload>(argument) }
    }

    fn map_status(&self, length: usize) -> Result<NonNull<u8>, Errno> {
        let length = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let offset = i64::try_from(uapi::STATUS_ARRAY_FILE_OFFSET).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the kernel chooses the address, so the mapping replaces no other one.
        unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &self.0, offset) }.map(NonNull::cast)
    }

    fn read_events(&self, events: &mut [u8]) -> Result<usize, Errno> {
        (&self.0).read(events).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
