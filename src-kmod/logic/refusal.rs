// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Why a call is refused, and the errno that says so.

/// A reason to refuse a call. The errno of each is part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// The file has no context: it was opened without write permission.
    NoContext,
    /// No command has this number.
    UnknownCommand,
    /// The request needs something that this driver, file or machine does not have.
    Unavailable,
    /// Flags that contradict each other or the state of the file.
    BadFlags,
    /// No region has this cookie (any more).
    NoSuchCookie,
    /// The region belongs to another user.
    OtherUser,
    /// The region's protection does not allow the access.
    Protection,
    /// A segment is no part of user memory.
    BadAddress,
    /// The lengths of the segments do not add up to a number of 63 bits.
    LengthOverflow,
    /// More segments than the driver takes.
    TooManySegments,
    /// More memory would be pinned than a limit allows.
    PinLimit,
    /// The caller lacks the privilege.
    NotPrivileged,
    /// The file is in use for something else.
    Busy,
    /// The call cannot be made in the file's present state.
    WrongState,
    /// The user has as many files open as a user may have.
    TooManyContexts,
    /// More slots than an array may have, or more memory for a user's slots and events than a user may have.
    SlotLimit,
    /// The worker thread may not start: a limit on processes, such as pids.max or RLIMIT_NPROC.
    NoThread,
}

impl Refusal {
    /// Every reason in the order of its declaration, with its name in [`crate::logic::profile`]'s text.
    pub const NAMES: [(Self, &'static str); 17] = [
        (Self::NoContext, "no_context"),
        (Self::UnknownCommand, "unknown_command"),
        (Self::Unavailable, "unavailable"),
        (Self::BadFlags, "bad_flags"),
        (Self::NoSuchCookie, "no_such_cookie"),
        (Self::OtherUser, "other_user"),
        (Self::Protection, "protection"),
        (Self::BadAddress, "bad_address"),
        (Self::LengthOverflow, "length_overflow"),
        (Self::TooManySegments, "too_many_segments"),
        (Self::PinLimit, "pin_limit"),
        (Self::NotPrivileged, "not_privileged"),
        (Self::Busy, "busy"),
        (Self::WrongState, "wrong_state"),
        (Self::TooManyContexts, "too_many_contexts"),
        (Self::SlotLimit, "slot_limit"),
        (Self::NoThread, "no_thread"),
    ];

    /// The errno, as a positive number (asm-generic/errno-base.h, errno.h).
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NotPrivileged | Self::OtherUser => 1,
            Self::NoContext => 9,
            Self::NoThread => 11,
            Self::TooManySegments | Self::PinLimit | Self::SlotLimit => 12,
            Self::Protection => 13,
            Self::BadAddress => 14,
            Self::Busy => 16,
            Self::Unavailable => 19,
            Self::BadFlags | Self::NoSuchCookie | Self::LengthOverflow | Self::WrongState => 22,
            Self::TooManyContexts => 28,
            Self::UnknownCommand => 38,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    #[test]
    fn every_reason_is_named_in_its_place() {
        for (n, (refusal, _)) in Refusal::NAMES.iter().enumerate() {
            assert_eq!(*refusal as usize, n);
        }
        assert_eq!(Refusal::NoThread as usize + 1, Refusal::NAMES.len(), "the last one");
    }

    #[test]
    fn errnos_are_those_of_the_interface() {
        // Names and numbers as in errno(3) on the architectures Debian builds Rust kernels for.
        for (refusal, errno) in [
            (Refusal::OtherUser, 1),
            (Refusal::NotPrivileged, 1),
            (Refusal::NoContext, 9),
            (Refusal::NoThread, 11),
            (Refusal::TooManySegments, 12),
            (Refusal::PinLimit, 12),
            (Refusal::Protection, 13),
            (Refusal::BadAddress, 14),
            (Refusal::Busy, 16),
            (Refusal::Unavailable, 19),
            (Refusal::BadFlags, 22),
            (Refusal::NoSuchCookie, 22),
            (Refusal::LengthOverflow, 22),
            (Refusal::WrongState, 22),
            (Refusal::TooManyContexts, 28),
            (Refusal::UnknownCommand, 38),
            (Refusal::SlotLimit, 12),
        ] {
            assert_eq!(refusal.errno(), errno, "{refusal:?}");
        }
    }
}
