// SPDX-License-Identifier: CECILL-B
//! The debug kernel: User Mode Linux from Debian's own kernel source, with the detectors that stock kernels are built
//! without.
//!
//! It is a process of this machine, so nothing is emulated and KVM is not needed. `docs/development.md` lists its
//! limits.

pub mod kernel;
pub mod machine;
pub mod module;
pub mod workshop;

pub use kernel::{Flavour, UmlKernel};
