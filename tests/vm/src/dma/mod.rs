// SPDX-License-Identifier: CECILL-B
//! DMA engines: what the driver does with one that is orderly, disorderly, slow, failing, hanging, or gone.
//!
//! The engine is a module of ours (tests/dma), since virtual machines have none. It copies with the processor and behaves
//! as its parameters say. It also tells what its client did wrong: copies that were left when a channel was given back,
//! and copies that were not aligned.

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

/// Whoever asks waits for the engine.
const DMA: u32 = uapi::FLAG_DMA;
/// The slot tells when the engine is done.
const DETACHED: u32 = DMA | uapi::FLAG_ASYNCDMACOMPLETE;
/// The thread waits for the engine.
const THREADED: u32 = DMA | uapi::FLAG_DMATHREAD;
/// The same, and an event tells.
const NOTIFIED: u32 = THREADED | uapi::FLAG_NOTIFY_FD;

/// The driver's counters of engines.
const BY_DMA: &str = "processed (using DMA)";
const FAILED_DMA: &str = "failed during DMA copy";

/// All tests of engines.
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
