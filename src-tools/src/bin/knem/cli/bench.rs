// SPDX-License-Identifier: CECILL-B
//! The command line of `knem bench`.

use clap::Args;

/// Options of `knem bench`.
#[derive(Debug, Args)]
#[command(long_about = BENCH)]
pub(crate) struct BenchArgs {
    /// Sizes, or ranges that double: 4K..64M, or 1,4095,64K..1M, with suffixes K, M and G
    #[arg(long, value_name = "SIZES", default_value = "4K..64M")]
    pub(crate) sizes: String,

    /// Measured copies of each size [default: 5 to 100, fewer for larger sizes]
    #[arg(long, value_name = "N")]
    pub(crate) iterations: Option<u32>,

    /// Copies of each size that are made first and not measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) warmup: u32,

    /// Copy into the other process's region rather than from it
    #[arg(long)]
    pub(crate) write: bool,

    /// Pin the local memory rather than copy through its mapping
    #[arg(long)]
    pub(crate) pin_local: bool,

    /// Do not check the copied bytes
    #[arg(long)]
    pub(crate) no_verify: bool,

    /// Do not measure how long creating and destroying a region takes
    #[arg(long)]
    pub(crate) no_region_cost: bool,

    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Description of `knem bench`.
const BENCH: &str = "\
Measure and verify copies between two processes

Starts a second process, which declares memory as a region, and copies from it. Of every copy, each byte is \
compared with what it must be; the destination is overwritten before, and the memory around it must stay as it \
was. Filling and comparing are not part of the measured time. Also measured, in the first process: how long \
creating and destroying a region of the same size takes.";
