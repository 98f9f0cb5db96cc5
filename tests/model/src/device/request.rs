// SPDX-License-Identifier: CECILL-B
//! Requests, each with its own command.

use std::os::fd::{AsRawFd, BorrowedFd};

use knem_core::uapi::{
    self, CmdCopy, CmdCopyBounded, CmdCreateRegion, CmdInitAsyncRecv, CmdInlineCopy, CmdInlineCopyBounded, CmdSyncRecv,
    ParamIovec,
};
use nix::errno::Errno;
use nix::libc;

use super::arguments::{Given, GARBAGE};
use super::{ground, Device};
use crate::command::{Command, Offset, Request, Spot};
use crate::outcome::Outcome;

/// Issues a command whose structure has one output field, and reports whether other fields have changed.
macro_rules! call {
    ($device:ident, $fd:expr, $request:ident, $command:ident, $structure:ident { $($field:ident: $value:expr),* $(,)? } -> $out:ident) => {{
        let mut structure = $structure { $($field: $value,)* $out: GARBAGE };
        let before = structure;
        let result = $device.call($fd, uapi::$command, $request.argument, &mut structure);
        let out = std::mem::replace(&mut structure.$out, GARBAGE);
        match result {
            Err(errno) => Outcome::Refused(errno),
            Ok(()) if structure != before => Outcome::Broken(format!("{before:?} became {structure:?}")),
            Ok(()) => Outcome::Status(out),
        }
    }};
}

impl Device {
    pub(super) fn request(&self, command: &Command) -> Outcome {
        let (Command::Copy { request, .. } | Command::Inline { request, .. } | Command::Receive { request, .. }) =
            command
        else {
            return Outcome::Done;
        };
        let fd = match self.fd(request.fd) {
            Ok(fd) => fd,
            Err(errno) => return Outcome::Refused(errno),
        };
        ground::being(&self.settings, request.user, || match command {
            Command::Copy { source, destination, .. } => self.copy(fd, request, *source, *destination),
            Command::Inline { local, write, remote, .. } => {
                self.inline(fd, request, &self.list(local), *write, *remote)
            }
            Command::Receive { local, cookie, wait, .. } => {
                let list = self.list(local);
                let (recv_iovec_array, recv_iovec_nr) = list.given();
                let (send_cookie, flags, pad) = (cookie.value(&self.cookies), request.flags, GARBAGE);
                if *wait {
                    return call!(self, fd, request, CMD_SYNC_RECV, CmdSyncRecv {
                        recv_iovec_array: recv_iovec_array, recv_iovec_nr: recv_iovec_nr, send_cookie: send_cookie,
                        flags: flags, pad: pad,
                    } -> status);
                }
                let status_index = request.slot;
                let mut receive =
                    CmdInitAsyncRecv { recv_iovec_array, recv_iovec_nr, status_index, send_cookie, flags, pad };
                let before = receive;
                let result = self.call(fd, uapi::CMD_INIT_ASYNC_RECV, request.argument, &mut receive);
                match result {
                    Ok(()) if receive != before => Outcome::Broken(format!("{before:?} became {receive:?}")),
                    result => result.into(),
                }
            }
            _ => Outcome::Done,
        })
    }

    fn copy(&self, fd: BorrowedFd<'_>, request: &Request, source: Spot, destination: Spot) -> Outcome {
        let (src_cookie, src_offset) = self.spot(source);
        let (dst_cookie, dst_offset) = self.spot(destination);
        let (flags, async_status_index, pad) = (request.flags, request.slot, GARBAGE);
        match request.bound {
            None => call!(self, fd, request, CMD_COPY, CmdCopy {
                src_cookie: src_cookie, src_offset: src_offset, dst_cookie: dst_cookie, dst_offset: dst_offset,
                flags: flags, async_status_index: async_status_index, pad: pad,
            } -> current_status),
            Some(length) => call!(self, fd, request, CMD_COPY_BOUNDED, CmdCopyBounded {
                src_cookie: src_cookie, src_offset: src_offset, dst_cookie: dst_cookie, dst_offset: dst_offset,
                length: length, flags: flags, async_status_index: async_status_index, pad: pad,
            } -> current_status),
        }
    }

    fn inline(&self, fd: BorrowedFd<'_>, request: &Request, list: &Given, write: u32, remote: Spot) -> Outcome {
        let (local_iovec_array, local_iovec_nr) = list.given();
        let (remote_cookie, remote_offset) = self.spot(remote);
        let (flags, async_status_index, pad) = (request.flags, request.slot, GARBAGE);
        match request.bound {
            None => call!(self, fd, request, CMD_INLINE_COPY, CmdInlineCopy {
                local_iovec_array: local_iovec_array, local_iovec_nr: local_iovec_nr, write: write,
                remote_cookie: remote_cookie, remote_offset: remote_offset,
                flags: flags, async_status_index: async_status_index, pad: pad,
            } -> current_status),
            Some(length) => call!(self, fd, request, CMD_INLINE_COPY_BOUNDED, CmdInlineCopyBounded {
                local_iovec_array: local_iovec_array, local_iovec_nr: local_iovec_nr, write: write,
                remote_cookie: remote_cookie, remote_offset: remote_offset, length: length,
                flags: flags, async_status_index: async_status_index, pad: pad,
            } -> current_status),
        }
    }

    fn spot(&self, spot: Spot) -> (u64, u64) {
        let offset = if let Offset::At(offset) = spot.offset { offset } else { 0 };
        (spot.cookie.value(&self.cookies), offset)
    }

    /// Returns a copy between the test's own regions.
    pub(super) fn between(
        &self,
        src_cookie: u64,
        dst_cookie: u64,
        length: u64,
        flags: u32,
        slot: u32,
    ) -> CmdCopyBounded {
        CmdCopyBounded { src_cookie, dst_cookie, length, flags, async_status_index: slot, ..CmdCopyBounded::default() }
    }

    /// Submits a copy, and returns its status.
    pub(super) fn submit_own(&self, fd: BorrowedFd<'_>, mut request: CmdCopyBounded) -> Result<u32, Errno> {
        request.current_status = GARBAGE;
        self.call(fd, uapi::CMD_COPY_BOUNDED, crate::command::Argument::Good, &mut request)?;
        Ok(request.current_status)
    }
}

/// Creates a region of the test, which all users may use.
pub(super) fn region(fd: BorrowedFd<'_>, memory: ParamIovec, protection: u32) -> u64 {
    let mut create = CmdCreateRegion {
        iovec_array: (&raw const memory).expose_provenance() as u64,
        iovec_nr: 1,
        flags: uapi::FLAG_ANY_USER_ACCESS,
        protection,
        pad1: GARBAGE,
        cookie: 0,
    };
    // SAFETY: The structure is the command's, and its list has one element.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), uapi::CMD_CREATE_REGION.into(), &raw mut create) };
    Errno::result(result).expect("the test's own region");
    create.cookie
}
