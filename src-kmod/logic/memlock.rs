// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Limits of pinned memory.

/// Pages of a window that is pinned regardless of the limits, so that limits slow a copy down but never stop it.
pub const FLOOR: u64 = 16;

/// How RLIMIT_MEMLOCK is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// Not at all: pinned memory is only counted.
    No,
    /// On the pinned memory of an address space, that of other drivers included.
    Space,
    /// On the locked memory of a user, as the kernel counts it for io_uring and others.
    User,
}

impl Enforced {
    /// Returns the meaning of the parameter `memlock`.
    #[must_use]
    pub const fn by(parameter: u32) -> Self {
        match parameter {
            0 => Self::No,
            1 => Self::Space,
            _ => Self::User,
        }
    }
}

/// Returns the machine's ceiling in pages: `param_mib` mebibytes, or half of the `ram` pages if that is 0.
#[must_use]
pub const fn ceiling(param_mib: u64, ram: u64, page_shift: u32) -> u64 {
    if param_mib == 0 {
        return ram >> 1;
    }
    match param_mib.checked_mul(1 << 20) {
        Some(bytes) => match bytes.checked_shr(page_shift) {
            Some(pages) => pages,
            None => 0,
        },
        None => u64::MAX,
    }
}

/// Returns a user's ceiling in pages: `param_mib` mebibytes, or four fifths of the `machine`'s ceiling if that is 0.
#[must_use]
pub const fn user_ceiling(param_mib: u64, machine: u64, page_shift: u32) -> u64 {
    if param_mib == 0 {
        return machine.saturating_sub(machine / 5);
    }
    ceiling(param_mib, 0, page_shift)
}

#[cfg(test)]
mod tests {
    use super::{ceiling, user_ceiling, Enforced};

    #[test]
    fn every_value_of_the_parameter_means_something() {
        assert_eq!(Enforced::by(0), Enforced::No);
        assert_eq!(Enforced::by(1), Enforced::Space);
        assert_eq!(Enforced::by(2), Enforced::User);
        assert_eq!(Enforced::by(u32::MAX), Enforced::User);
    }

    #[test]
    fn ceiling_defaults_to_half() {
        assert_eq!(ceiling(0, 1001, 12), 500);
        assert_eq!(ceiling(1, 1001, 12), 256);
        assert_eq!(ceiling(1, 1001, 16), 16);
        assert_eq!(ceiling(u64::MAX, 1001, 12), u64::MAX);
    }

    #[test]
    fn a_user_leaves_something_to_others() {
        assert_eq!(user_ceiling(0, 500, 12), 400);
        assert_eq!(user_ceiling(0, 1, 12), 1);
        assert_eq!(user_ceiling(0, u64::MAX, 12), u64::MAX - u64::MAX / 5);
        assert_eq!(user_ceiling(1, 500, 12), 256);
    }
}
