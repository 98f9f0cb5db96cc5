// SPDX-License-Identifier: GPL-2.0-only
//! Memory from the kernel's allocators. Any allocation may fail.

mod kbox;
mod kvec;

pub use kbox::KBox;
pub use kvec::{KVVec, KVec};

/// Allocation flags. The bits are the stand-in's own: `standin.c` translates them, as the kernel's differ between
/// releases.
#[derive(Clone, Copy)]
pub struct Flags(pub(crate) u32);

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitAnd for Flags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl core::ops::Not for Flags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

/// Flags by the kernel's names.
pub mod flags {
    use super::Flags;

    /// May sleep.
    pub const GFP_KERNEL: Flags = Flags(0);
    /// May sleep; charged to the memory control group of the calling task.
    pub const GFP_KERNEL_ACCOUNT: Flags = Flags(1);
    /// No warning in the log on failure.
    pub const __GFP_NOWARN: Flags = Flags(2);
    /// Filled with zeros.
    pub const __GFP_ZERO: Flags = Flags(4);
    /// Must not sleep, and may use reserves.
    pub const GFP_ATOMIC: Flags = Flags(8);
}

/// The error of a failed allocation.
#[derive(Clone, Copy, Debug)]
pub struct AllocError;

/// Alignment that `kmalloc` guarantees on every supported architecture, in bytes (`ARCH_KMALLOC_MINALIGN`; asserted in
/// C).
const ALIGNMENT: usize = 8;
