// SPDX-License-Identifier: CECILL-B
//! Client library of KNEM: copies between the memory of two processes, once, inside the kernel.
//!
//! A process opens the [`Device`] and shares memory as a [`Region`]. It hands the region's [`Cookie`] to
//! any process it likes, which copies from or into the region with [`Device::read`] and
//! [`Device::write`]; the owner takes no part in that.
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
//! # Where to look
//!
//! | To | see |
//! |---|---|
//! | share memory that others read | [`Device::share`] |
//! | share memory that others write | [`Device::share_memory`], with a [`Memory`] |
//! | copy now | [`Device::read`], [`Device::write`], [`Device::copy`], and their [`CopyOptions`] |
//! | copy in the background: futures, callbacks, event loops | [`Queue`] and its [`Transfer`] |
//! | the same by slots and states, without a queue | [`Device::map_status`] |
//! | know what went wrong, and what to do | [`Error`] |
//! | see what the driver has counted | [`statistics`], [`profile`], [`listing`] |
//! | test without a device | [`fake`] |
//!
//! `docs/library.md` in the source tree goes through all of it, with a whole program at its end.
//!
//! # What is guaranteed
//!
//! - A region borrows its memory: it cannot be freed, moved or changed by this process while others may read it.
//! - Memory that others may change, or that the kernel goes on using after a call, is a [`Memory`], to whose bytes there are no references.
//! - Forgetting a region, request or transfer, or dropping it early, is harmless.
//! - The numbers and structures come from the driver's own source, `knem_core::uapi`. A driver is reached
//!   through the trait [`Backend`].

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
