// SPDX-License-Identifier: GPL-2.0-only
//! Arguments in user memory: read once, written back whole.

use crate::uapi;
use kernel::prelude::*;
use kernel::transmute::{AsBytes, FromBytes};
use kernel::uaccess::{UserPtr, UserSlice};

/// A structure of the interface.
///
/// # Safety
/// Implementers have no padding and allow every bit pattern.
pub(crate) unsafe trait Plain: Copy {}

/// A structure of the interface as the `kernel` crate reads and writes it.
#[repr(transparent)]
struct Wire<T>(T);

// SAFETY: `T` allows every bit pattern, by the contract of `Plain`.
unsafe impl<T: Plain> FromBytes for Wire<T> {}
// SAFETY: `T` has no padding, by the contract of `Plain`.
unsafe impl<T: Plain> AsBytes for Wire<T> {}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {
        // SAFETY: Integers only, and `uapi` asserts that they fill the structure.
        $(unsafe impl Plain for $ty {})*
    };
}

plain!(
    u64,
    uapi::ParamIovec,
    uapi::CmdInfo,
    uapi::CmdBindOffload,
    uapi::CmdInitSend,
    uapi::CmdInitAsyncRecv,
    uapi::CmdSyncRecv,
    uapi::CmdCreateRegion,
    uapi::CmdCopy,
    uapi::CmdCopyBounded,
    uapi::CmdInlineCopy,
    uapi::CmdInlineCopyBounded,
);

/// The argument of an ioctl, a structure in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument(usize);

impl Argument {
    /// The structure at address `arg`.
    pub(crate) fn new(arg: usize) -> Self {
        Self(arg)
    }

    fn slice<T>(self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.0), size_of::<T>())
    }

    /// Reads it.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read<T: Plain>(self) -> Result<T> {
        Ok(self.slice::<T>().reader().read::<Wire<T>>()?.0)
    }

    /// Reads an array of structures, as many as `to` has.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn read_array<T: Plain>(self, to: &mut [T]) -> Result {
        let length = size_of_val(to);
        // SAFETY: The memory of the slice, as bytes: `T` has no padding and allows every bit pattern, by the contract of `Plain`.
        let bytes = unsafe { core::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<u8>(), length) };
        UserSlice::new(UserPtr::from_addr(self.0), length).reader().read_slice(bytes)
    }

    /// Writes it.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write<T: Plain>(self, value: T) -> Result {
        self.slice::<T>().writer().write(&Wire(value))
    }
}
