// SPDX-License-Identifier: CECILL-B
//! Raw access to the device: every command, with any argument.

use std::ffi::{c_int, c_void};
use std::fmt::Debug;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use knem_core::uapi::{self, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded, ParamIovec};
use nix::errno::Errno;
use nix::fcntl::{open, OFlag};
use nix::libc;
use nix::sys::stat::Mode;

/// A region that may be read.
pub const READ: u32 = uapi::PROT_READ;
/// A region that may be written.
pub const WRITE: u32 = uapi::PROT_WRITE;
/// `current_status` of a request that has succeeded.
pub const SUCCESS: u32 = uapi::STATUS_SUCCESS as u32;
/// `current_status` of a request that has failed.
pub const FAILED: u32 = uapi::STATUS_FAILED as u32;
/// Content of fields that the driver must not read, as in real clients.
pub const GARBAGE: u32 = 0xdead_beef;

/// All commands.
pub const COMMANDS: [u32; 11] = [
    uapi::CMD_GET_INFO,
    uapi::CMD_CREATE_REGION,
    uapi::CMD_DESTROY_REGION,
    uapi::CMD_COPY,
    uapi::CMD_INLINE_COPY,
    uapi::CMD_COPY_BOUNDED,
    uapi::CMD_INLINE_COPY_BOUNDED,
    uapi::CMD_BIND_OFFLOAD,
    uapi::CMD_INIT_SEND,
    uapi::CMD_INIT_ASYNC_RECV,
    uapi::CMD_SYNC_RECV,
];

static NODE: OnceLock<PathBuf> = OnceLock::new();

/// Sets the device that is tested.
pub fn set_node(path: PathBuf) {
    NODE.set(path).expect("set once");
}

/// Returns the device that is tested.
pub fn node() -> &'static Path {
    NODE.get().map_or(Path::new(uapi::DEVICE_FILENAME), PathBuf::as_path)
}

/// An open file descriptor of the device.
#[derive(Debug)]
pub struct Knem(OwnedFd);

impl Knem {
    /// Opens the device as clients do.
    pub fn open() -> Self {
        Self::open_as(OFlag::O_RDWR).expect("the device opens")
    }

    /// Opens the device with any flags.
    pub fn open_as(flags: OFlag) -> Result<Self, Errno> {
        open(node(), flags | OFlag::O_CLOEXEC, Mode::empty()).map(Self)
    }

    /// Returns a second descriptor of the same open file.
    pub fn duplicate(&self) -> Self {
        Self(self.0.try_clone().expect("dup"))
    }

    /// Returns the descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Issues any command with any address.
    pub fn command_at(&self, command: u32, address: u64) -> Result<(), Errno> {
        // SAFETY: The driver checks the address. Where it is valid, the caller has memory for the command's structure.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), command.into(), address as usize as *mut c_void) };
        Errno::result(result).map(drop)
    }

    /// Issues any command with any structure.
    pub fn command<T>(&self, command: u32, argument: &mut T) -> Result<(), Errno> {
        self.command_at(command, (&raw mut *argument).expose_provenance() as u64)
    }

    /// Returns what the driver reports about itself.
    pub fn info(&self) -> CmdInfo {
        let mut info = CmdInfo { abi: GARBAGE, features: GARBAGE, ignored_flags: GARBAGE, forced_flags: GARBAGE };
        self.command(uapi::CMD_GET_INFO, &mut info).expect("GET_INFO");
        info
    }

    /// Creates a region and returns its cookie.
    pub fn create(&self, segments: &[ParamIovec], protection: u32, flags: u32) -> Result<u64, Errno> {
        let mut argument = CmdCreateRegion {
            iovec_array: list_address(segments),
            iovec_nr: count(segments),
            flags,
            protection,
            pad1: GARBAGE,
            cookie: 0,
        };
        self.command(uapi::CMD_CREATE_REGION, &mut argument)?;
        assert_eq!(argument.pad1, GARBAGE, "padding is preserved");
        assert_ne!(argument.cookie, 0, "no region has cookie 0");
        Ok(argument.cookie)
    }

    /// Withdraws a region.
    pub fn destroy(&self, mut cookie: u64) -> Result<(), Errno> {
        self.command(uapi::CMD_DESTROY_REGION, &mut cookie)
    }

    /// Copies from a region to segments, and returns the status.
    pub fn read(&self, cookie: u64, offset: u64, segments: &[ParamIovec], flags: u32) -> Result<u32, Errno> {
        self.inline(Inline { cookie, offset, segments, flags, ..Inline::default() })
    }

    /// Copies from segments to a region, and returns the status.
    pub fn write(&self, cookie: u64, offset: u64, segments: &[ParamIovec], flags: u32) -> Result<u32, Errno> {
        self.inline(Inline { cookie, offset, segments, flags, write: 1, ..Inline::default() })
    }

    /// Makes an inline copy, and returns the status.
    pub fn inline(&self, request: Inline<'_>) -> Result<u32, Errno> {
        self.inline_at(request, GARBAGE)
    }

    /// Makes an inline copy with a slot for its result, and returns the status.
    pub fn inline_at(&self, request: Inline<'_>, index: u32) -> Result<u32, Errno> {
        let argument = CmdInlineCopyBounded {
            local_iovec_array: list_address(request.segments),
            local_iovec_nr: count(request.segments),
            write: request.write,
            remote_cookie: request.cookie,
            remote_offset: request.offset,
            length: request.bound.unwrap_or(0),
            flags: request.flags,
            current_status: GARBAGE,
            async_status_index: index,
            pad: GARBAGE,
        };
        if request.bound.is_some() {
            return self.submit(uapi::CMD_INLINE_COPY_BOUNDED, argument, |argument| &mut argument.current_status);
        }
        let plain = uapi::CmdInlineCopy {
            local_iovec_array: argument.local_iovec_array,
            local_iovec_nr: argument.local_iovec_nr,
            write: argument.write,
            remote_cookie: argument.remote_cookie,
            remote_offset: argument.remote_offset,
            flags: argument.flags,
            current_status: GARBAGE,
            async_status_index: index,
            pad: GARBAGE,
        };
        self.submit(uapi::CMD_INLINE_COPY, plain, |argument| &mut argument.current_status)
    }

    /// Copies between regions, and returns the status.
    pub fn copy(
        &self,
        source: (u64, u64),
        destination: (u64, u64),
        bound: Option<u64>,
        flags: u32,
    ) -> Result<u32, Errno> {
        self.copy_at(source, destination, bound, flags, GARBAGE)
    }

    /// Copies between regions with a slot for the result, and returns the status.
    pub fn copy_at(
        &self,
        source: (u64, u64),
        destination: (u64, u64),
        bound: Option<u64>,
        flags: u32,
        index: u32,
    ) -> Result<u32, Errno> {
        let ((src_cookie, src_offset), (dst_cookie, dst_offset)) = (source, destination);
        if let Some(length) = bound {
            let argument = CmdCopyBounded {
                src_cookie,
                src_offset,
                dst_cookie,
                dst_offset,
                length,
                flags,
                current_status: GARBAGE,
                async_status_index: index,
                pad: GARBAGE,
            };
            return self.submit(uapi::CMD_COPY_BOUNDED, argument, |argument| &mut argument.current_status);
        }
        let argument = uapi::CmdCopy {
            src_cookie,
            src_offset,
            dst_cookie,
            dst_offset,
            flags,
            current_status: GARBAGE,
            async_status_index: index,
            pad: GARBAGE,
        };
        self.submit(uapi::CMD_COPY, argument, |argument| &mut argument.current_status)
    }

    /// Submits a copy and returns the status, the only field that the driver writes. On an error nothing is written
    /// back.
    fn submit<T: Copy + Debug + PartialEq>(
        &self,
        command: u32,
        argument: T,
        status_of: fn(&mut T) -> &mut u32,
    ) -> Result<u32, Errno> {
        let mut answer = argument;
        let outcome = self.command(command, &mut answer);
        let status = std::mem::replace(status_of(&mut answer), GARBAGE);
        assert_eq!(answer, argument, "inputs are preserved");
        if outcome.is_err() {
            assert_eq!(status, GARBAGE, "an error writes nothing back");
        }
        outcome.map(|()| status)
    }
}

/// A descriptor that was received from another process.
impl From<OwnedFd> for Knem {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl Knem {
    /// Takes over an inherited descriptor.
    pub fn inherited(number: c_int) -> Self {
        // SAFETY: The parent left the descriptor open for this process, and nothing else here uses it.
        Self(unsafe { OwnedFd::from_raw_fd(number) })
    }
}

/// An inline copy.
#[derive(Clone, Copy, Default)]
pub struct Inline<'a> {
    /// The region.
    pub cookie: u64,
    /// First byte of the region.
    pub offset: u64,
    /// Segments of the other side.
    pub segments: &'a [ParamIovec],
    /// 0 reads from the region.
    pub write: u32,
    /// Most bytes, or `None` for no bound.
    pub bound: Option<u64>,
    /// Flags.
    pub flags: u32,
}

/// A segment.
pub fn segment(base: u64, len: u64) -> ParamIovec {
    ParamIovec { base, len }
}

fn list_address(segments: &[ParamIovec]) -> u64 {
    if segments.is_empty() {
        // Never read.
        return 0xbad0_bad0_bad0_bad0;
    }
    segments.as_ptr().expose_provenance() as u64
}

fn count(segments: &[ParamIovec]) -> u32 {
    u32::try_from(segments.len()).expect("a 32-bit count")
}
