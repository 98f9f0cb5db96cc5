// SPDX-License-Identifier: GPL-2.0-only
//! Arguments in user memory: reads each once, and writes results back.

use crate::glue::ffi;
use crate::uapi;
use core::mem::MaybeUninit;
use kernel::prelude::*;
use kernel::transmute::AsBytes;
use kernel::uaccess::{UserPtr, UserSlice};

/// A structure of the interface that may be copied as bytes.
///
/// # Safety
/// Implementers must have no padding and allow every bit pattern.
pub(crate) unsafe trait Plain: Copy + Default {}

/// A structure of the interface as the `kernel` crate writes it.
#[repr(transparent)]
struct Wire<T>(T);

// SAFETY: By the contract of `Plain`, `T` has no padding, and `Wire` is transparent.
unsafe impl<T: Plain> AsBytes for Wire<T> {}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {
        // SAFETY: The members are integers, which allow every bit pattern, and `uapi` asserts that they fill the
        // structure.
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

/// Most 64-bit words of a structure.
const MOST: usize = 8;

/// The argument of an ioctl, a structure in the caller's memory.
#[derive(Clone, Copy)]
pub(crate) struct Argument(usize);

impl Argument {
    /// Returns the argument at address `arg`.
    pub(crate) fn new(arg: usize) -> Self {
        Self(arg)
    }

    fn slice<T>(self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.0), size_of::<T>())
    }

    /// Reads the structure.
    ///
    /// # Errors
    /// EFAULT.
    #[inline]
    pub(crate) fn read<T: Plain>(self) -> Result<T> {
        self.read_to(&mut MaybeUninit::uninit()).copied()
    }

    /// Reads the structure into `buffer`, where it can be used without a move.
    ///
    /// # Errors
    /// EFAULT.
    #[inline]
    pub(crate) fn read_to<T: Plain>(self, buffer: &mut MaybeUninit<T>) -> Result<&T> {
        let words = const {
            assert!(size_of::<T>() % 8 == 0 && size_of::<T>() <= 8 * MOST && align_of::<T>() == 8);
            size_of::<T>() / 8
        };
        // SAFETY: `buffer` has `words` 64-bit words, and C checks the user address.
        if !unsafe { ffi::knem_shim_read_words(buffer.as_mut_ptr().cast(), self.0 as c_ulong, words as c_ulong) } {
            return Err(EFAULT);
        }
        // SAFETY: C has written all words, and by the contract of `Plain` `T` allows every bit pattern.
        Ok(unsafe { buffer.assume_init_ref() })
    }

    /// Reads an array of structures, as many as `to` holds.
    ///
    /// # Errors
    /// EFAULT.
    #[inline]
    pub(crate) fn read_array<T: Plain>(self, to: &mut [MaybeUninit<T>]) -> Result<&[T]> {
        match to {
            [one] => Ok(core::slice::from_ref(self.read_to(one)?)),
            many => self.read_many(many),
        }
    }

    fn read_many<T: Plain>(self, to: &mut [MaybeUninit<T>]) -> Result<&[T]> {
        let length = size_of_val(to);
        for element in to.iter_mut() {
            element.write(T::default());
        }
        // SAFETY: The bytes are the memory of the slice, which was initialised just now and is borrowed exclusively. By
        // the contract of `Plain` `T` has no padding and allows every bit pattern.
        let bytes = unsafe { core::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<u8>(), length) };
        UserSlice::new(UserPtr::from_addr(self.0), length).reader().read_slice(bytes)?;
        // SAFETY: All elements are initialised, and `MaybeUninit` has the layout of its content.
        Ok(unsafe { core::slice::from_raw_parts(to.as_ptr().cast(), to.len()) })
    }

    /// Writes the structure.
    ///
    /// # Errors
    /// EFAULT.
    pub(crate) fn write<T: Plain>(self, value: T) -> Result {
        self.slice::<T>().writer().write(&Wire(value))
    }

    /// Writes the status at byte `offset` of the structure.
    ///
    /// # Errors
    /// EFAULT.
    #[inline]
    pub(crate) fn write_status(self, offset: usize, status: u8) -> Result {
        if ffi::knem_shim_write_u32(self.0.wrapping_add(offset) as c_ulong, status.into()) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Writes the cookie at byte `offset` of the structure.
    ///
    /// # Errors
    /// EFAULT.
    #[inline]
    pub(crate) fn write_cookie(self, offset: usize, cookie: uapi::Cookie) -> Result {
        if ffi::knem_shim_write_u64(self.0.wrapping_add(offset) as c_ulong, cookie) {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }
}
