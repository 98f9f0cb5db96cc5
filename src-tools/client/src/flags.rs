// SPDX-License-Identifier: CECILL-B
//! Request flags that callers can set, and the names of all flags.
//!
//! Asynchronous flags are not among them: the kernel uses the caller's memory after the call has returned, which a
//! borrow cannot express. `Submission` sets them, for a `Memory`.

use std::ops::BitOr;

use knem_core::uapi;

macro_rules! flag_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$flag_doc:meta])* $flag:ident = $value:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(u32);

        impl $name {
            /// No flag.
            pub const NONE: Self = Self(0);
            $($(#[$flag_doc])* pub const $flag: Self = Self(uapi::$value);)*

            /// Returns the flags as the driver receives them.
            pub const fn bits(self) -> u32 {
                self.0
            }
        }

        impl BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }
    };
}

flag_set! {
    /// Flags of creating a region.
    RegionFlags {
        /// The first accepted request destroys the region.
        SINGLE_USE = FLAG_SINGLEUSE,
        /// Users other than the owner may use the region.
        ANY_USER_ACCESS = FLAG_ANY_USER_ACCESS,
    }
}

flag_set! {
    /// Flags of a copy.
    CopyFlags {
        /// Use a DMA engine.
        DMA = FLAG_DMA,
        /// Pin the caller's own memory instead of copying through its mapping.
        PIN_LOCAL = FLAG_PINLOCAL,
    }
}

/// Returns the names of the flags in `bits`, as in the header without `KNEM_FLAG_`; unknown bits in hexadecimal.
pub fn flag_names(bits: u32) -> Vec<String> {
    const SINGLE_BITS: [(u32, &str); 8] = [
        (uapi::FLAG_DMA, "DMA"),
        (uapi::FLAG_ASYNCDMACOMPLETE, "ASYNCDMACOMPLETE"),
        (uapi::FLAG_DMATHREAD, "DMATHREAD"),
        (uapi::FLAG_MEMCPYTHREAD, "MEMCPYTHREAD"),
        (uapi::FLAG_PINLOCAL, "PINLOCAL"),
        (uapi::FLAG_SINGLEUSE, "SINGLEUSE"),
        (uapi::FLAG_NOTIFY_FD, "NOTIFY_FD"),
        (uapi::FLAG_ANY_USER_ACCESS, "ANY_USER_ACCESS"),
    ];
    let mut names: Vec<String> =
        SINGLE_BITS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned()).collect();
    let unknown = SINGLE_BITS.iter().fold(bits, |rest, (bit, _)| rest & !bit);
    if unknown != 0 {
        names.push(format!("{unknown:#x}"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join() {
        assert_eq!((RegionFlags::SINGLE_USE | RegionFlags::ANY_USER_ACCESS).bits(), uapi::FLAG_ANY_CREATE_MASK);
        assert_eq!(CopyFlags::NONE.bits(), 0);
    }

    #[test]
    fn only_synchronous_ones_can_be_chosen() {
        assert_eq!((CopyFlags::DMA | CopyFlags::PIN_LOCAL).bits() & uapi::FLAG_ANY_ASYNC_MASK, 0);
    }

    #[test]
    fn have_names() {
        assert!(flag_names(0).is_empty());
        assert_eq!(flag_names(uapi::FLAG_PINLOCAL | uapi::FLAG_DMA), ["DMA", "PINLOCAL"]);
        assert_eq!(flag_names(0x300 | uapi::FLAG_NOTIFY_FD), ["NOTIFY_FD", "0x300"]);
    }
}
