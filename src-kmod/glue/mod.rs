// SPDX-License-Identifier: GPL-2.0-only
//! Everything that speaks to the kernel.
//!
//! A request's way: `device` (file operations) -> `ioctl` (one command each) -> `table` (cookie to region) ->
//! `copy` (steps). `pin` makes `extents` of a caller's memory, `charge` accounts them, `region` keeps them.
//!
//! Locks: there is one, in each context, around its tree of regions (see `context`). It is a leaf: nothing is called
//! under it, and neither user memory nor the page tables are touched.

pub(crate) mod charge;
pub(crate) mod context;
pub(crate) mod copy;
pub(crate) mod device;
pub(crate) mod error;
pub(crate) mod extents;
pub(crate) mod ffi;
pub(crate) mod ioctl;
pub(crate) mod params;
pub(crate) mod pin;
pub(crate) mod region;
pub(crate) mod segments;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod user;

use kernel::prelude::*;

/// Says in the log when the module comes and goes.
pub(crate) struct Presence(());

impl Presence {
    /// Checks the parameters and says hello.
    ///
    /// # Errors
    /// EINVAL if the parameters contradict each other.
    pub(crate) fn new() -> Result<Self> {
        params::settle()?;
        pr_info!("{}: initialized\n", params::version());
        Ok(Self(()))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        pr_info!("{}: terminating\n", params::version());
    }
}
