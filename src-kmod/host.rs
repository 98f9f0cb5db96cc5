// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Cargo's root of the code that the driver shares with the host: the `uapi` and `logic` that Kbuild compiles into the
//! module, as a crate for the tools, unit tests, property tests and fuzzing.
//!
//! The kernel's root is `knem_main.rs`. Both mount the modules at the same paths, so that the shared files need no
//! `cfg`.
#![no_std]

pub mod logic;
pub mod uapi;
