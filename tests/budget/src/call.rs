// SPDX-License-Identifier: CECILL-B
//! The driver's calls without any wrapper, and those of CMA for comparison.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, RawFd};

use knem_core::uapi::{
    self, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded, Cookie, ParamIovec, STATUS_SUCCESS,
};
use nix::sys::uio::{process_vm_readv, process_vm_writev, RemoteIoVec};
use nix::unistd::Pid;

use crate::memory::Buffer;

mod number {
    use super::{uapi, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded, Cookie};
    nix::ioctl_readwrite_bad!(get_info, uapi::CMD_GET_INFO, CmdInfo);
    nix::ioctl_readwrite_bad!(create, uapi::CMD_CREATE_REGION, CmdCreateRegion);
    nix::ioctl_readwrite_bad!(destroy, uapi::CMD_DESTROY_REGION, Cookie);
    nix::ioctl_readwrite_bad!(copy, uapi::CMD_COPY_BOUNDED, CmdCopyBounded);
    nix::ioctl_readwrite_bad!(inline, uapi::CMD_INLINE_COPY_BOUNDED, CmdInlineCopyBounded);
}

/// An open /dev/knem.
pub(crate) struct Knem(File);

impl Knem {
    /// # Panics
    /// If it cannot be opened.
    pub(crate) fn open() -> Self {
        Self(File::options().read(true).write(true).open(uapi::DEVICE_FILENAME).expect("/dev/knem"))
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub(crate) fn info(&self) {
        // SAFETY: The structure is the one that the command fills.
        unsafe { number::get_info(self.fd(), &mut CmdInfo::default()) }.expect("GET_INFO");
    }

    /// Declares a region of these segments, for reading and writing.
    pub(crate) fn create(&self, segments: &[ParamIovec], single_use: bool) -> Cookie {
        let mut command = CmdCreateRegion {
            iovec_array: segments.as_ptr() as u64,
            iovec_nr: segments.len() as u32,
            flags: if single_use { uapi::FLAG_SINGLEUSE } else { 0 },
            protection: uapi::PROT_READ | uapi::PROT_WRITE,
            ..CmdCreateRegion::default()
        };
        // SAFETY: The structure is the command's, and its segments are of buffers, which are never unmapped.
        unsafe { number::create(self.fd(), &mut command) }.expect("CREATE_REGION");
        command.cookie
    }

    pub(crate) fn destroy(&self, mut cookie: Cookie) {
        // SAFETY: The argument is the cookie, which the driver only reads.
        unsafe { number::destroy(self.fd(), &mut cookie) }.expect("DESTROY_REGION");
    }

    /// Copies between regions.
    pub(crate) fn copy(&self, source: Cookie, destination: Cookie, length: u64) {
        let mut command =
            CmdCopyBounded { src_cookie: source, dst_cookie: destination, length, ..CmdCopyBounded::default() };
        // SAFETY: The structure is the command's. The regions are of buffers, to whose bytes no Rust reference exists.
        unsafe { number::copy(self.fd(), &mut command) }.expect("COPY_BOUNDED");
        assert_eq!(command.current_status, STATUS_SUCCESS.into());
    }

    /// Copies between a region and these segments.
    pub(crate) fn inline(&self, segments: &[ParamIovec], write: bool, cookie: Cookie) {
        let mut command = CmdInlineCopyBounded {
            local_iovec_array: segments.as_ptr() as u64,
            local_iovec_nr: segments.len() as u32,
            write: write.into(),
            remote_cookie: cookie,
            length: u64::MAX,
            ..CmdInlineCopyBounded::default()
        };
        // SAFETY: The structure is the command's. The region and the segments are of buffers, to whose bytes no Rust
        // reference exists.
        unsafe { number::inline(self.fd(), &mut command) }.expect("INLINE_COPY_BOUNDED");
        assert_eq!(command.current_status, STATUS_SUCCESS.into());
    }
}

/// One segment.
pub(crate) fn segment(buffer: Buffer, len: usize) -> ParamIovec {
    ParamIovec { base: buffer.address(), len: len as u64 }
}

/// Reads or writes `len` bytes with process_vm_readv or process_vm_writev, of this process.
pub(crate) fn cross_memory(local: Buffer, remote: Buffer, len: usize, write: bool) {
    let remote = [RemoteIoVec { base: remote.address() as usize, len }];
    let local = local.address() as *mut u8;
    let done = if write {
        // SAFETY: The buffer has at least `len` bytes, and no other reference to them exists.
        let bytes = unsafe { std::slice::from_raw_parts(local, len) };
        process_vm_writev(Pid::this(), &[IoSlice::new(bytes)], &remote)
    } else {
        // SAFETY: As above, the buffer has at least `len` bytes, and no other reference to them exists.
        let bytes = unsafe { std::slice::from_raw_parts_mut(local, len) };
        process_vm_readv(Pid::this(), &mut [IoSliceMut::new(bytes)], &remote)
    };
    assert_eq!(done, Ok(len));
}
