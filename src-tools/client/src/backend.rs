// SPDX-License-Identifier: CECILL-B
//! The interface of a driver, which the real one and the fake one implement.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use knem_core::uapi::{CmdBindOffload, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded};
use nix::errno::Errno;

use crate::Cookie;

/// An open KNEM device.
///
/// Each method is one command of the interface. On an error the argument is left as it was.
#[expect(clippy::missing_errors_doc, reason = "each returns the errno of the driver's command: knem(4) lists them")]
pub trait Backend: Send + Sync {
    /// `KNEM_CMD_GET_INFO`.
    fn get_info(&self) -> Result<CmdInfo, Errno>;

    /// `KNEM_CMD_CREATE_REGION`.
    ///
    /// # Safety
    ///
    /// - `iovec_array` is the address of `iovec_nr` segments, readable during the call.
    /// - With `PROT_WRITE`, the segments' memory may change at any time until the region has been
    ///   destroyed and the last copy into it has ended.
    unsafe fn create_region(&self, argument: &mut CmdCreateRegion) -> Result<(), Errno>;

    /// `KNEM_CMD_DESTROY_REGION`.
    fn destroy_region(&self, cookie: Cookie) -> Result<(), Errno>;

    /// `KNEM_CMD_INLINE_COPY_BOUNDED`.
    ///
    /// # Safety
    ///
    /// - `local_iovec_array` is the address of `local_iovec_nr` segments, readable during the call.
    /// - With `write` 0, the segments' memory may be written during the call.
    /// - No asynchronous flag is set.
    unsafe fn inline_copy_bounded(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno>;

    /// `KNEM_CMD_COPY_BOUNDED`. The owners of both regions allowed it when they created them.
    fn copy_bounded(&self, argument: &mut CmdCopyBounded) -> Result<(), Errno>;

    // Asynchronous copies, which a driver need not support.

    /// `KNEM_CMD_INLINE_COPY_BOUNDED` with an asynchronous flag.
    ///
    /// # Safety
    ///
    /// - `local_iovec_array` is the address of `local_iovec_nr` segments, readable during the call.
    /// - The segments' pages may be used, and with `write` 0 changed, at any time until the request has completed, even
    ///   if they are mapped elsewhere by then.
    unsafe fn submit_inline_copy(&self, _argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// `KNEM_CMD_BIND_OFFLOAD`.
    ///
    /// # Safety
    ///
    /// `mask_ptr` is the address of `mask_len` bytes, readable during the call, if the flags are CUSTOM.
    unsafe fn bind_offload(&self, _argument: &mut CmdBindOffload) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    /// Maps `length` bytes of the status array. The caller unmaps them.
    fn map_status(&self, _length: usize) -> Result<NonNull<u8>, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Reads completion events, four bytes each.
    fn read_events(&self, _events: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    /// Returns the file descriptor, if there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
