// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Host root of the driver's shared rooms: the same `uapi` and `logic` that Kbuild compiles into the
//! module, as a cargo crate for the tools, unit tests, property tests and fuzzing.
//!
//! The kernel's root is `knem_main.rs`. Both mount the rooms at the same paths, so that the shared
//! files need no `cfg`.
#![no_std]

pub mod logic;
pub mod uapi;
