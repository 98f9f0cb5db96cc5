// SPDX-License-Identifier: CECILL-B
//! The laboratory: stock kernels, prepared and booted.
//!
//! From below upwards: programs of the host and a cache; the Debian archive and its kernels; userlands in layers made of them; virtual
//! machines and the debug kernel booting those. Packages come in as files.

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
