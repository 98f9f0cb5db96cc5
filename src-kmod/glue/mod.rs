// SPDX-License-Identifier: GPL-2.0-only
//! Everything that speaks to the kernel.
//!
//! A file uses only files below it. From the top, a request's way: `operations` (what C calls) -> `device` (file operations) ->
//! `ioctl` (one command each) -> `request` (its checks) -> `regions` (cookie to region, by the `table`) -> `job` (what it is to copy) ->
//! `copy` (steps), there and then, in the context's `thread` or on a `dma` engine. `pin` makes `extents` of a caller's memory, `charge`
//! accounts them, `region` keeps them. Where a limit forbids that, `memory` keeps the segments, and `window` pins them part by part.
//! `registry` has all contexts, for `stats` and `proc`, which show them with the `counters`.
//!
//! What a context has once its status array is mapped is in `offload`: `completion` (what requests report to: `status`, the slots, and
//! `events`, NOTIFY_FD), `queue` (the worker thread's jobs), `placement` (where the worker runs).
//!
//! Locks of a request are spinlocks and leaves, held for a few instructions: around a context's regions (`region`) and its binding
//! (`context`), a file's events (`events`) and jobs (`queue`), and the list of all contexts (`registry`). Under none of
//! them anything sleeps, is allocated or dropped. Mutexes are around the start of a thread (`context`) and around DMA
//! channels (`dma`). Under no lock user memory or page tables are touched.

pub(crate) mod account;
pub(crate) mod charge;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod device;
pub(crate) mod dma;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod extents;
pub(crate) mod ffi;
pub(crate) mod gfp;
pub(crate) mod ioctl;
pub(crate) mod job;
pub(crate) mod memory;
pub(crate) mod offload;
pub(crate) mod operations;
pub(crate) mod params;
pub(crate) mod pin;
pub(crate) mod placement;
pub(crate) mod proc;
pub(crate) mod queue;
pub(crate) mod region;
pub(crate) mod regions;
pub(crate) mod registry;
pub(crate) mod request;
pub(crate) mod segments;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod user;
pub(crate) mod wait;
pub(crate) mod window;

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
        pr_info!("{}: loaded\n", params::version());
        Ok(Self(()))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        pr_info!("{}: unloading\n", params::version());
    }
}
