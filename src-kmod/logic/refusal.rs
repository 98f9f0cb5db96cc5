// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Reasons to refuse a call, and their errnos.

/// A reason to refuse a call. The errno of each is part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// The file has no context: it was opened without write permission.
    NoContext,
    /// No command has this number.
    UnknownCommand,
    /// The request requires something that this driver, context or machine does not have.
    Unavailable,
    /// The flags contradict each other or the state of the context.
    BadFlags,
    /// No region has this cookie, or it was withdrawn.
    NoSuchCookie,
    /// The region belongs to another user.
    OtherUser,
    /// The region's protection does not allow the access.
    Protection,
    /// A segment is not within user memory.
    BadAddress,
    /// The sum of the segments' lengths exceeds 63 bits.
    LengthOverflow,
    /// There are more segments than allowed.
    TooManySegments,
    /// More memory would be pinned than a limit allows.
    PinLimit,
    /// The caller lacks the privilege.
    NotPrivileged,
    /// The context is in use for something else.
    Busy,
    /// The call is not allowed in the present state of the context.
    WrongState,
    /// The user has as many open contexts as allowed.
    TooManyContexts,
    /// The array would have more slots than allowed, or the user more memory for slots and events than allowed.
    SlotLimit,
    /// The worker thread cannot be started because of a limit on processes, such as pids.max or RLIMIT_NPROC.
    NoThread,
}

impl Refusal {
    /// Every reason in the order of its declaration, with its name in [`crate::logic::statistics`]'s text.
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

    /// Returns the errno, as a positive number (asm-generic/errno-base.h, errno.h).
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
        // Names and numbers as in errno(3) on the architectures for which Debian builds kernels with Rust.
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
