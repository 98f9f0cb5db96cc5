// SPDX-License-Identifier: CECILL-B
//! The commands the library uses, each a type that binds number, argument and direction.
//!
//! The numbers are those of `knem_core::uapi`. An assertion at compile time checks that size and
//! direction in the number are those of the argument here, so that a call cannot mix them up.

use std::os::fd::RawFd;

use knem_core::uapi;
use nix::errno::Errno;

/// What the driver does with a command's argument. The number has these directions the other way
/// round than Linux uses elsewhere.
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
    /// The structure that the command takes.
    type Argument;

    /// Gives the command to the driver behind `fd`.
    ///
    /// # Safety
    ///
    /// What the interface does with the addresses inside `argument` must be allowed.
    unsafe fn call(fd: RawFd, argument: &mut Self::Argument) -> Result<(), Errno>;
}

/// Whether `number` carries the size of `T` and the interface's encoding of `direction`.
const fn fits<T>(number: u32, direction: Direction) -> bool {
    // GET_INFO is encoded as a pure write, DESTROY_REGION as a pure read: their direction bits are taken from there, because
    // architectures place them differently.
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

/// The number, if it fits; otherwise it does not compile.
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
                // The addresses inside are the caller's duty.
                unsafe { system::call(fd, argument) }.map(drop)
            }
        }
    };
}

command!(
    /// Ask for the driver's version and features.
    GetInfo, CMD_GET_INFO, Out, knem_core::uapi::CmdInfo
);
command!(
    /// Declare a region.
    CreateRegion, CMD_CREATE_REGION, InOut, knem_core::uapi::CmdCreateRegion
);
command!(
    /// Withdraw a region.
    DestroyRegion, CMD_DESTROY_REGION, In, knem_core::uapi::Cookie
);
command!(
    /// Copy from region to region.
    CopyBounded, CMD_COPY_BOUNDED, In, knem_core::uapi::CmdCopyBounded
);
command!(
    /// Copy between the caller's memory and a region.
    InlineCopyBounded, CMD_INLINE_COPY_BOUNDED, In, knem_core::uapi::CmdInlineCopyBounded
);
command!(
    /// Choose where the kernel's thread runs.
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
