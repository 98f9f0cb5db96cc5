// SPDX-License-Identifier: GPL-2.0-only
//! User memory.

use crate::error::{code::*, Result};
use crate::ffi::{self, c_void};
use crate::transmute::AsBytes;

/// An address in user memory.
#[derive(Clone, Copy)]
pub struct UserPtr(usize);

impl UserPtr {
    /// Converts a number.
    pub fn from_addr(address: usize) -> Self {
        Self(address)
    }

    /// Converts a pointer from C.
    pub fn from_ptr(pointer: *mut c_void) -> Self {
        Self(pointer as usize)
    }
}

/// A range of user memory. The kernel checks it at each access.
pub struct UserSlice {
    start: UserPtr,
    length: usize,
}

/// Reads a range of user memory from its start to its end.
pub struct UserSliceReader(UserSlice);
/// Writes a range of user memory from its start to its end.
pub struct UserSliceWriter(UserSlice);

impl UserSlice {
    /// Returns the range of `length` bytes from `start` on.
    pub fn new(start: UserPtr, length: usize) -> Self {
        Self { start, length }
    }

    /// Returns a reader of the range.
    pub fn reader(self) -> UserSliceReader {
        UserSliceReader(self)
    }

    /// Returns a writer of the range.
    pub fn writer(self) -> UserSliceWriter {
        UserSliceWriter(self)
    }

    /// Removes `length` bytes from the start. Returns their address.
    ///
    /// # Errors
    /// EFAULT if the range has fewer.
    fn take(&mut self, length: usize) -> Result<usize> {
        let left = self.length.checked_sub(length).ok_or(EFAULT)?;
        let address = self.start.0;
        *self = Self { start: UserPtr(address.wrapping_add(length)), length: left };
        Ok(address)
    }
}

impl UserSliceReader {
    /// # Safety
    /// `to` must point to memory for `length` bytes.
    unsafe fn read_raw(&mut self, to: *mut c_void, length: usize) -> Result {
        let from = self.0.take(length)?;
        // SAFETY: The caller guarantees the memory; C checks the user address.
        match unsafe { ffi::standin_copy_from_user(to, from, length) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Fills a slice.
    ///
    /// # Errors
    /// EFAULT if the range is too short or cannot be read.
    pub fn read_slice(&mut self, to: &mut [u8]) -> Result {
        // SAFETY: The slice is memory for `to.len()` bytes.
        unsafe { self.read_raw(to.as_mut_ptr().cast(), to.len()) }
    }
}

impl UserSliceWriter {
    /// # Safety
    /// `from` must point to `length` initialised bytes.
    unsafe fn write_raw(&mut self, from: *const c_void, length: usize) -> Result {
        let to = self.0.take(length)?;
        // SAFETY: The caller guarantees the bytes; C checks the user address.
        match unsafe { ffi::standin_copy_to_user(to, from, length) } {
            0 => Ok(()),
            _ => Err(EFAULT),
        }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// EFAULT if the range is too short or cannot be written.
    pub fn write<T: AsBytes>(&mut self, value: &T) -> Result {
        // SAFETY: By the contract of `AsBytes` the value has no padding, so that all its bytes are initialised.
        unsafe { self.write_raw((&raw const *value).cast(), size_of::<T>()) }
    }

    /// Writes the part of `text` from `position` on, as much as the range holds, and advances `position`.
    ///
    /// # Errors
    /// EINVAL if `position` is negative; EFAULT if the range cannot be written.
    pub fn write_slice_file(&mut self, text: &[u8], position: &mut i64) -> Result<usize> {
        let start = usize::try_from(*position).map_err(|_| EINVAL)?;
        let left = text.get(start..).unwrap_or(&[]);
        let part = left.get(..left.len().min(self.0.length)).unwrap_or(&[]);
        // SAFETY: The slice has `part.len()` initialised bytes.
        unsafe { self.write_raw(part.as_ptr().cast(), part.len()) }?;
        *position = position.wrapping_add(part.len() as i64);
        Ok(part.len())
    }
}
