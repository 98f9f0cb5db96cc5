// SPDX-License-Identifier: CECILL-B
//! The laboratory: prepares and boots stock kernels.
//!
//! Bottom up: programs of the host and a cache; the Debian archive and its kernels; userlands in layers; virtual
//! machines and the debug kernel, which boot those. Packages are passed in as files.

pub mod archive;
pub mod cache;
pub mod chroot;
pub mod host;
pub mod kernels;
pub mod kmodules;
pub mod lab;
pub mod module;
pub mod namespace;
pub mod packages;
pub mod programs;
pub mod run;
pub mod uml;
pub mod userland;
pub mod vm;
pub mod workspace;
