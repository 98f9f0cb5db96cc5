// SPDX-License-Identifier: GPL-2.0-only
//! Finds items of the stand-in that the driver does not use: `cargo xtask object` compiles this with dead code as an
//! error.
//!
//! In its own crate every public item counts as used. Here the stand-in's modules and the driver are one crate that
//! exports nothing, so that the compiler sees all users.
#![no_std]
#![allow(unreachable_pub)]

extern crate self as kernel;

mod alloc;
mod bindings;
mod error;
mod ffi;
mod init;
#[path = "../knem_main.rs"]
mod knem_main;
mod mm;
mod module;
mod page;
mod prelude;
mod print;
mod rbtree;
mod sync;
mod task;
mod transmute;
mod types;
mod uaccess;

use knem_main::{glue, logic, uapi, __LOG_PREFIX};
pub use module::{Module, ThisModule};
