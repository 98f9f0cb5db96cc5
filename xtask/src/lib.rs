// SPDX-License-Identifier: CECILL-B
//! The project's build and test commands, in Rust.
//!
//! The laboratory (`lab/`) runs machines, `knem-packages` builds the packages; this crate has the checks, the
//! demonstration, and the commands for both.

pub mod address;
pub mod arm64;
pub mod budget;
pub mod check;
pub mod demo;
pub mod programs;
pub mod release;
pub mod uml;
pub mod vm;
pub mod words;
