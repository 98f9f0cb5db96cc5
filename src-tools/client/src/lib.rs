// SPDX-License-Identifier: CECILL-B
//! Client library of KNEM: single-copy transfers between the memory of two processes, through the kernel.
//!
//! A process opens the [`Device`] and shares memory as a [`Region`]. It sends the region's [`Cookie`] to another
//! process, which copies from or into the region with [`Device::read`] and [`Device::write`]; the owner is not involved
//! in the copy.
//!
//! ```no_run
//! use knem::{CopyOptions, Device, RegionFlags};
//! use std::io::IoSlice;
//!
//! # fn main() -> Result<(), knem::Error> {
//! let device = Device::open()?;
//! let data = vec![7u8; 65536];
//! let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
//! // Any process of this user may do this, with the cookie it was sent:
//! let mut copy = vec![0u8; 65536];
//! device.read(region.cookie(), &mut copy, CopyOptions::default())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Overview
//!
//! | To | see |
//! |---|---|
//! | share memory that other processes read | [`Device::share`] |
//! | share memory that other processes write | [`Device::share_memory`], with a [`Memory`] |
//! | copy synchronously | [`Device::read`], [`Device::write`], [`Device::copy`], and their [`CopyOptions`] |
//! | copy asynchronously with futures, callbacks or an event loop | [`Queue`] and its [`Transfer`] |
//! | copy asynchronously with slots and their status | [`Device::map_status`] |
//! | handle errors | [`Error`] |
//! | read the driver's statistics | [`statistics`], [`profile`], [`listing`] |
//! | test without the driver | [`fake`] |
//!
//! `docs/library.md` in the source tree explains all of it, and ends with a complete program.
//!
//! # Guarantees
//!
//! - A region borrows its memory: this process cannot free, move or change it while other processes may read it.
//! - Memory that other processes may change, or that the kernel uses after a call, is a [`Memory`], to whose bytes
//!   there are no references.
//! - Forgetting a region, request or transfer, or dropping it early, is safe.
//! - Numbers and structures are those of the driver's own source, `knem_core::uapi`. The trait [`Backend`] abstracts
//!   the driver.

#![warn(clippy::missing_errors_doc)]

mod arguments;
mod backend;
mod cookie;
mod device;
mod error;
pub mod explain;
pub mod fake;
mod flags;
mod histogram;
mod ioctl;
mod kernel;
pub mod listing;
mod memory;
mod node;
mod offload;
pub mod profile;
mod queue;
mod region;
mod segments;
mod slots;
pub mod statistics;
mod submit;

pub use crate::backend::Backend;
pub use crate::cookie::{Cookie, NotACookie};
pub use crate::device::{Access, CopyOptions, Device, Info};
pub use crate::error::Error;
pub use crate::flags::{flag_names, CopyFlags, RegionFlags};
pub use crate::histogram::{Bucket, Histogram};
pub use crate::kernel::KernelDriver;
pub use crate::memory::Memory;
pub use crate::node::{Kind, NodeFacts, Obstacle};
pub use crate::offload::{Placement, Request, StatusArray, Submission, Worker};
pub use crate::queue::{Queue, Transfer};
pub use crate::region::Region;
pub use crate::slots::Status;
pub use knem_core::uapi::DEVICE_FILENAME;

/// The project's address, a URL; empty if none is set.
pub const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The examples of the documentation, which are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct Guide;
