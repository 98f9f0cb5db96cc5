// SPDX-License-Identifier: GPL-2.0-only
//! Stand-in for the `kernel` crate of Rust-for-Linux, for kernels that are built without it.
//!
//! It has the names, signatures and behaviour of the part of the `kernel` crate that the driver uses, and nothing else
//! (`unused.rs` checks that). README.md lists the differences. Nothing here depends on a kernel's version or
//! configuration: `standin.c`, compiled against the headers of the running kernel, accesses the kernel's structures,
//! translates flags, and asserts every size and constant that Rust assumes.
#![no_std]

pub mod alloc;
pub mod bindings;
pub mod error;
pub mod ffi;
pub mod init;
pub mod mm;
pub mod module;
pub mod page;
pub mod prelude;
pub mod print;
pub mod rbtree;
pub mod sync;
pub mod task;
pub mod transmute;
pub mod types;
pub mod uaccess;

pub use module::{Module, ThisModule};
