// SPDX-License-Identifier: CECILL-B
//! The project's build and test commands, in Rust.
//!
//! From below upwards: programs of the host and a cache; the Debian archive and its kernels; userlands in layers made of them; virtual
//! machines booting those; and on top the checks and the demonstration. The packages stand beside all that.

pub mod archive;
pub mod arm64;
pub mod cache;
pub mod check;
pub mod chroot;
pub mod demo;
pub mod dist;
pub mod host;
pub mod kernels;
pub mod kmodules;
pub mod lab;
pub mod module;
pub mod namespace;
pub mod object;
pub mod packages;
pub mod programs;
pub mod run;
pub mod uml;
pub mod userland;
pub mod vm;
pub mod workspace;
