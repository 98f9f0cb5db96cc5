// SPDX-License-Identifier: GPL-2.0-only
//! Copies by DMA engines.
//!
//! - `pool`: the channels that are claimed. `channel`: one of them.
//! - `flight`: what a transfer shares with its callbacks. `transfer`: the rest, which belongs to its driver alone.
//!
//! A transfer's memory stays pinned and mapped until its last descriptor has ended. Whoever waits for it may stop to do
//! so (killed, or the file is closed): a work item drives it then, and the module stays loaded as long.
//!
//! Locks, all of them mutexes that only processes take: `pool` (the list of channels; they are claimed under it), one in
//! each channel (descriptors are handed over in turn), and one in each flight (where a transfer is left; nobody ever
//! waits for it). Callbacks take no lock of ours but C's.

mod channel;
mod flight;
mod pool;
mod transfer;

use crate::glue::job::Job;
use crate::glue::{ffi, params, task};
use crate::logic::report::Engine;
use crate::uapi::STATUS_FAILED;
use kernel::prelude::*;
use transfer::Transfer;

/// What DMA needs while the module is loaded. No channel is claimed before one is asked for.
pub(crate) struct Engines(());

impl Engines {
    /// To be called once, before anyone can open the device.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load, before any other use.
        unsafe { pool::init() };
        // SAFETY: As above.
        kernel::error::to_result(unsafe { ffi::knem_dma_work_begin() })?;
        Ok(Self(()))
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        // No file is open. What is in flight keeps the module loaded, so nothing is; at most the end of a work item
        // or of a callback is still running. The channels' release waits for the one.
        pool::clear();
        // SAFETY: Begun by `new`. Transfers that have ended leave no timer behind. This waits for the other.
        unsafe { ffi::knem_dma_work_end() };
    }
}

/// What to say about engines. Looks for a channel as [`available`].
pub(crate) fn state() -> Engine {
    if !ffi::knem_dma_supported() {
        return Engine::NoKernelSupport;
    }
    if !params::dma() {
        return Engine::Disabled;
    }
    if available() {
        Engine::Available { chunk_min: params::dma_min() }
    } else {
        Engine::NoChannel
    }
}

/// Whether a request can have a channel now. Claims one if that is allowed and none is.
pub(crate) fn available() -> bool {
    pool::available()
}

/// Who waits until a transfer is done.
#[derive(Clone, Copy)]
pub(crate) enum Wait<'a> {
    /// The caller of an ioctl, until it is killed.
    Caller,
    /// A kernel thread, until this says that it is to stop.
    Thread(&'a dyn Fn() -> bool),
    /// Nobody.
    No,
}

impl Wait<'_> {
    /// Whether the task that drives does not want to any longer.
    fn over(self) -> bool {
        match self {
            Self::Caller | Self::No => task::killed(),
            Self::Thread(stopping) => stopping(),
        }
    }
}

/// What has become of a job.
pub(crate) enum Outcome {
    /// It is done, and has this status.
    Done(KBox<Job>, u8),
    /// It is finished later. Whoever has waited learns no more about it: it was killed or stopped, or the engine was
    /// given up and the job has failed.
    InFlight,
    /// This is left of it: for the CPU, or, if it still has an engine, for another [`run`].
    Rest(KBox<Job>),
}

/// Does a job of at least one byte with an engine. If none is available after all, the job is left for the CPU. Engines only get memory
/// that stays pinned. A task that works `in_turns` gets the rest back when the CPU has copied as much as it may in a turn, in the
/// place of the engine.
pub(crate) fn run(mut job: KBox<Job>, wait: Wait<'_>, in_turns: bool) -> Outcome {
    let mut node = None;
    if let Some((_, destination)) = job.places() {
        // Memory that is pinned for reading only may be shared with other processes, and must not change.
        if !destination.memory.writable() {
            return Outcome::Done(job, STATUS_FAILED);
        }
        destination.memory.mark_written(destination.offset, job.left());
        let first = destination.pieces().next();
        // SAFETY: An address of the direct map, of pinned memory.
        node = Some(first.map_or(NO_NODE, |piece| unsafe { ffi::knem_dma_node(piece.addr as *const c_void) }));
    }
    if let Some(channel) = node.and_then(pool::acquire) {
        match Transfer::new(job, channel, in_turns) {
            Ok(transfer) => return transfer.drive(wait),
            Err(back) => job = back,
        }
    }
    job.forgo_engine();
    Outcome::Rest(job)
}

/// Kernel's NUMA_NO_NODE.
const NO_NODE: c_int = -1;
