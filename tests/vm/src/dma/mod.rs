// SPDX-License-Identifier: CECILL-B
//! The driver with DMA engines that are orderly, out of order, slow, failing, hanging, or removed.
//!
//! The engine is a test module (tests/dma), since virtual machines have none. It copies with the CPU and behaves as its
//! parameters say. It also reports errors of its client: copies that were left when a channel was released, and copies
//! that were not aligned.

mod asynchronous;
mod channels;
mod copies;
mod engine;
mod errors;
mod hanging;
mod in_flight;
mod leaving;
mod pieces;
mod shapes;
mod storm;

use knem_core::uapi;

use crate::runner::Trial;

/// The caller waits for the engine.
const DMA: u32 = uapi::FLAG_DMA;
/// The slot gets the result when the engine is done.
const DETACHED: u32 = DMA | uapi::FLAG_ASYNCDMACOMPLETE;
/// The thread waits for the engine.
const THREADED: u32 = DMA | uapi::FLAG_DMATHREAD;
/// The same, with an event.
const NOTIFIED: u32 = THREADED | uapi::FLAG_NOTIFY_FD;

/// The driver's counters of DMA.
const BY_DMA: &str = "processed (using DMA)";
const FAILED_DMA: &str = "failed during DMA copy";

/// Returns all tests of DMA.
pub(crate) fn trials() -> Vec<Trial> {
    [
        channels::trials(),
        copies::trials(),
        pieces::trials(),
        asynchronous::trials(),
        errors::trials(),
        hanging::trials(),
        leaving::trials(),
        storm::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
