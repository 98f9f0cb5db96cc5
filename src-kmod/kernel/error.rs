// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's errors.

use crate::alloc::AllocError;
use crate::ffi::c_int;
use core::num::NonZeroI32;

/// A negative errno, from -4095 to -1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

/// A result whose error is the kernel's unless another is named.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Errors by name.
pub mod code {
    use super::Error;

    macro_rules! codes {
        ($($name:ident = $number:literal),* $(,)?) => {
            $(
                #[doc = stringify!($name)]
                pub const $name: Error = match core::num::NonZeroI32::new(-$number) {
                    Some(number) => Error(number),
                    None => panic!(),
                };
            )*
        };
    }

    // The numbers of x86 and arm64; `standin.c` asserts them.
    codes! {
        EINTR = 4, EIO = 5, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22,
        ERESTARTNOINTR = 513,
    }
}

/// Largest errno; the kernel's `MAX_ERRNO`.
const MAX_ERRNO: i32 = 4095;

impl Error {
    /// Converts a negative errno. A number that is no errno becomes EINVAL.
    pub fn from_errno(errno: c_int) -> Self {
        match NonZeroI32::new(errno) {
            Some(number) if errno < 0 && errno >= -MAX_ERRNO => Self(number),
            _ => code::EINVAL,
        }
    }

    /// Returns the negative errno.
    pub fn to_errno(self) -> c_int {
        self.0.get()
    }
}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<core::convert::Infallible> for Error {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<AllocError> for Error {
    fn from(_: AllocError) -> Self {
        code::ENOMEM
    }
}

/// Converts a result of C: a negative number is an errno.
pub fn to_result(result: c_int) -> Result {
    if result < 0 {
        Err(Error::from_errno(result))
    } else {
        Ok(())
    }
}

/// Converts a result for C: to its value, or to the negative errno.
pub fn from_result<T: From<i16>>(f: impl FnOnce() -> Result<T>) -> T {
    match f() {
        Ok(value) => value,
        // The cast loses nothing: an errno is at most MAX_ERRNO.
        Err(error) => T::from(error.to_errno() as i16),
    }
}

/// Returns a pointer from C, or the error that it encodes (`IS_ERR`).
pub fn from_err_ptr<T>(pointer: *mut T) -> Result<*mut T> {
    let number = pointer as isize;
    if number < 0 && number >= -(MAX_ERRNO as isize) {
        return Err(Error::from_errno(number as c_int));
    }
    Ok(pointer)
}
