// SPDX-License-Identifier: CECILL-B
//! What tests of a KNEM device are made with: a runner that speaks TAP, raw commands, memory of many kinds, second
//! processes, counters, and what the machine can do.
//!
//! The tests themselves are in the program `knem-conformance`, and in `knem-vm-tests` those that load and unload the module.

pub mod children;
pub mod counters;
pub mod device;
pub mod machine;
pub mod memory;
pub mod parameters;
pub mod random;
pub mod report;
pub mod runner;
pub mod slots;
pub mod stalled;
pub mod threads;
pub mod waiting;

pub use crate::runner::skip;
