// SPDX-License-Identifier: GPL-2.0-only
//! Copies on DMA channels.
//!
//! - `pool`: the claimed channels. `channel`: one of them.
//! - `flight`: what a transfer shares with its callbacks. `transfer`: the rest, which only its driver uses.
//!
//! A transfer's memory stays pinned and mapped until its last descriptor has ended. The task that waits for a transfer
//! may stop waiting (it is killed, or the file is closed). A work item drives the transfer then, and the module stays
//! loaded until it has ended.
//!
//! Locks, all of them mutexes that are taken in process context only: `pool` (the list of channels, which are claimed
//! under it), one in each channel (which serialises submissions), and one in each flight (around a transfer that is
//! left to the work item; it is never contended). Callbacks take no locks but C's.

mod channel;
mod flight;
mod pool;
mod transfer;

use crate::glue::job::Job;
use crate::glue::{ffi, params, task};
use crate::logic::device_text::Engine;
use crate::uapi::STATUS_FAILED;
use kernel::prelude::*;
use transfer::Transfer;

/// Global state of DMA, while the module is loaded. No channel is claimed before one is requested.
pub(crate) struct Engines(());

impl Engines {
    /// Initialises the pool and the work queue. Must be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, before any other use of the pool.
        unsafe { pool::init() };
        // SAFETY: As above, this is called once and before any work item is queued.
        kernel::error::to_result(unsafe { ffi::knem_dma_work_begin() })?;
        Ok(Self(()))
    }
}

impl Drop for Engines {
    fn drop(&mut self) {
        // No file is open, and no transfer is in flight, since each of them keeps the module loaded. At most the end of
        // a work item or of a callback is still running. The release of the channels waits for callbacks.
        pool::clear();
        // SAFETY: `new` created the work queue. No timer is pending, since transfers stop theirs when they end; this
        // waits for work items that still run.
        unsafe { ffi::knem_dma_work_end() };
    }
}

/// Returns the state of DMA for the statistics. Claims a channel as [`available`] does.
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

/// Returns whether a request can get a channel now. Claims one if there is none and the parameters allow it.
pub(crate) fn available() -> bool {
    pool::available()
}

/// Who waits for the end of a transfer.
#[derive(Clone, Copy)]
pub(crate) enum Waiter<'a> {
    /// The caller of an ioctl, until it is killed.
    Caller,
    /// A worker thread, until this function returns that it must stop.
    Thread(&'a dyn Fn() -> bool),
    /// No task: a work item drives it.
    None,
}

impl Waiter<'_> {
    /// Whether the driving task must stop.
    fn over(self) -> bool {
        match self {
            Self::Caller | Self::None => task::killed(),
            Self::Thread(stopping) => stopping(),
        }
    }
}

/// The outcome of [`run`].
pub(crate) enum RunResult {
    /// The job has ended with this status.
    Done(KBox<Job>, u8),
    /// The job ends later, and the caller gets no result: it was killed or stopped, or the channel was given up and the
    /// job has failed.
    InFlight,
    /// The rest of the job, for the CPU or, if it still has a DMA channel, for another [`run`].
    Rest(KBox<Job>),
}

/// Executes a job of at least one byte on a DMA channel. If no channel is available any more, the job is returned for
/// the CPU. Channels only get memory that stays pinned. A task that works `in_turns` gets the rest back once the CPU
/// has copied as much in the channel's stead as a turn allows.
pub(crate) fn run(mut job: KBox<Job>, waiter: Waiter<'_>, in_turns: bool) -> RunResult {
    let mut node = None;
    if let Some((_, destination)) = job.positions() {
        // Memory that is pinned only for reading may be shared with other processes, and must not change.
        if !destination.memory.writable() {
            return RunResult::Done(job, STATUS_FAILED);
        }
        destination.memory.mark_written(destination.offset, job.left());
        let first = destination.pieces().next();
        // SAFETY: The piece is pinned memory of the job's destination, hence its address is one of the direct map.
        node = Some(first.map_or(NO_NODE, |piece| unsafe { ffi::knem_dma_node(piece.addr as *const c_void) }));
    }
    if let Some(channel) = node.and_then(pool::acquire) {
        match Transfer::new(job, channel, in_turns) {
            Ok(transfer) => return transfer.drive(waiter),
            Err(back) => job = back,
        }
    }
    job.forgo_engine();
    RunResult::Rest(job)
}

/// The kernel's NUMA_NO_NODE.
const NO_NODE: c_int = -1;
