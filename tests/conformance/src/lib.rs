// SPDX-License-Identifier: CECILL-B
//! Library for tests of a KNEM device: a runner that prints TAP, raw commands, memory of many kinds, further processes,
//! counters, and what the machine supports.
//!
//! The tests are in the program `knem-conformance`, and those that load and unload the module in `knem-vm-tests`.

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
