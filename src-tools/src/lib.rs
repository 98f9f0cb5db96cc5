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
//! Copies can also go on in the background: [`Device::map_status`] gives a [`StatusArray`], which takes requests and tells
//! when they have completed.
//!
//! The numbers and structures come from the driver's own source, `knem_core::uapi`. A driver is reached
//! through the trait [`Backend`]; [`fake`] has one that needs no kernel module, for tests.

mod backend;
mod cookie;
mod device;
mod error;
pub mod fake;
mod flags;
mod ioctl;
mod kernel;
mod memory;
mod node;
mod offload;
mod region;
mod segments;
pub mod statistics;

pub use crate::backend::Backend;
pub use crate::cookie::Cookie;
pub use crate::device::{Access, CopyOptions, Device, Info};
pub use crate::error::Error;
pub use crate::flags::{flag_names, CopyFlags, RegionFlags};
pub use crate::kernel::KernelDriver;
pub use crate::memory::Memory;
pub use crate::node::{NodeFacts, Obstacle};
pub use crate::offload::{Placement, Request, Status, StatusArray, Submission, Worker};
pub use crate::region::Region;
pub use knem_core::uapi::DEVICE_FILENAME;
