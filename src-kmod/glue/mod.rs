// SPDX-License-Identifier: GPL-2.0-only
//! The part of the driver that calls the kernel.
//!
//! A file uses only files below it. The path of a request, from the top: `operations` (entry points that C calls) ->
//! `device` (file operations) -> `ioctl` (one function a command) -> `request` (checks) -> `regions` (finds a region by
//! its cookie in the `table`) -> `job` (a copy that was accepted) -> `copy` (its steps), in the calling task, in the
//! context's worker `thread` or on a `dma` channel. `pin` pins the caller's memory and keeps it as `extents`, `charge`
//! accounts the pages, `region` keeps them. Where a limit forbids pinning, `memory` keeps the segments, and `window`
//! pins them part by part. `registry` lists all contexts for `stats` and `proc`, which print them with the `counters`.
//!
//! `offload` holds what a context has once its status array is mapped: `completion` (where requests report: slots in
//! `status`, and `events` for NOTIFY_FD), `queue` (jobs for the worker thread) and `affinity` (the CPUs that the
//! worker runs on).
//!
//! The locks on a request's path are spinlocks and leaves, held for a few instructions. They protect a context's
//! regions (`region`), its binding (`context`), its events (`events`), its jobs (`queue`), and the list of all contexts
//! (`registry`). No task sleeps, allocates or drops anything under them. Mutexes protect the start of a worker thread
//! (`context`) and the DMA channels (`dma`). User memory and page tables are touched under no lock.

pub(crate) mod account;
pub(crate) mod affinity;
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

/// Logs when the module is loaded and unloaded.
pub(crate) struct Presence(());

impl Presence {
    /// Checks the parameters and logs that the module is loaded.
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
