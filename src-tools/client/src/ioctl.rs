// SPDX-License-Identifier: CECILL-B
//! The ioctls that the library uses: each is a type that binds number, argument and direction.
//!
//! The numbers are those of `knem_core::uapi`. An assertion at compile time checks that size and
//! direction in the number are those of the argument here, so that a call cannot mix them up.

use std::os::fd::RawFd;

use knem_core::uapi;
use nix::errno::Errno;

/// Direction of a command's argument. The encoding in the number is the reverse of Linux's convention.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The driver reads it, and may write results back.
    In,
    /// The driver fills it.
    Out,
    /// The driver reads it and writes results back, and the number says so.
    InOut,
}

/// A command of the interface.
pub(crate) trait Command {
    /// The argument of the command.
    type Argument;

    /// Calls the driver behind `fd`.
    ///
    /// # Safety
    ///
    /// The memory at the addresses in `argument` may be used as the interface defines.
    unsafe fn call(fd: RawFd, argument: &mut Self::Argument) -> Result<(), Errno>;
}

/// Whether `number` carries the size of `T` and the interface's encoding of `direction`.
const fn fits<T>(number: u32, direction: Direction) -> bool {
    // GET_INFO is encoded as a pure write, DESTROY_REGION as a pure read: their direction bits are taken from there,
    // because architectures place them differently.
    const WRITE: u32 = uapi::CMD_GET_INFO & !SIZE_TYPE_NUMBER;
    const READ: u32 = uapi::CMD_DESTROY_REGION & !SIZE_TYPE_NUMBER;
    const SIZE_TYPE_NUMBER: u32 = 0x1fff_ffff;
    let encoded = match direction {
        Direction::In => READ,
        Direction::Out => WRITE,
        Direction::InOut => READ | WRITE,
    };
    (number >> 16) & 0x1fff == size_of::<T>() as u32
        && (number >> 8) & 0xff == uapi::CMD_MAGIC
        && number & !SIZE_TYPE_NUMBER == encoded
}

/// Returns the number; does not compile unless it fits.
const fn checked<T>(number: u32, direction: Direction) -> u32 {
    assert!(fits::<T>(number, direction));
    number
}

macro_rules! command {
    ($(#[$doc:meta])* $name:ident, $number:ident, $direction:ident, $argument:ty) => {
        $(#[$doc])*
        pub(crate) enum $name {}

        impl Command for $name {
            type Argument = $argument;

            unsafe fn call(fd: RawFd, argument: &mut $argument) -> Result<(), Errno> {
                mod system {
                    use crate::ioctl::{checked, Direction};
                    const NUMBER: u32 = checked::<$argument>(knem_core::uapi::$number, Direction::$direction);
                    nix::ioctl_readwrite_bad!(
                        /// The system call.
                        call, NUMBER, $argument
                    );
                }
                // SAFETY: `argument` is a valid, writable structure of the size that the number says.
                // By the function's contract the memory at the addresses may be used.
                unsafe { system::call(fd, argument) }.map(drop)
            }
        }
    };
}

command!(
    /// Queries the driver's version and features.
    GetInfo, CMD_GET_INFO, Out, knem_core::uapi::CmdInfo
);
command!(
    /// Creates a region.
    CreateRegion, CMD_CREATE_REGION, InOut, knem_core::uapi::CmdCreateRegion
);
command!(
    /// Destroys a region.
    DestroyRegion, CMD_DESTROY_REGION, In, knem_core::uapi::Cookie
);
command!(
    /// Copies from region to region.
    CopyBounded, CMD_COPY_BOUNDED, In, knem_core::uapi::CmdCopyBounded
);
command!(
    /// Copies between the caller's memory and a region.
    InlineCopyBounded, CMD_INLINE_COPY_BOUNDED, In, knem_core::uapi::CmdInlineCopyBounded
);
command!(
    /// Sets the CPUs of the worker thread.
    BindOffload, CMD_BIND_OFFLOAD, In, knem_core::uapi::CmdBindOffload
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_binding_is_noticed() {
        assert!(fits::<uapi::CmdInfo>(uapi::CMD_GET_INFO, Direction::Out));
        assert!(!fits::<uapi::CmdInfo>(uapi::CMD_GET_INFO, Direction::In));
        assert!(!fits::<uapi::CmdInfo>(uapi::CMD_CREATE_REGION, Direction::InOut));
        assert!(!fits::<uapi::CmdCopy>(uapi::CMD_COPY_BOUNDED, Direction::In));
    }
}
