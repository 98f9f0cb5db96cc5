// SPDX-License-Identifier: CECILL-B
//! The command line of `knem bench`.

use std::path::PathBuf;

use clap::Args;

/// Options of `knem bench`.
#[derive(Debug, Args)]
#[command(after_long_help = MORE)]
pub(crate) struct BenchArgs {
    /// Measure these methods, or the groups all, knem and peers, separated by commas [default: all that work here]
    #[arg(short, long, value_name = "LIST")]
    pub(crate) methods: Option<String>,

    /// Measure these sizes, or ranges that double, with suffixes K, M and G [default: 4K..64M]
    #[arg(short, long, value_name = "SIZES")]
    pub(crate) sizes: Option<String>,

    /// Measure N copies of each method and size [default: 10 to 100, fewer for larger sizes]
    #[arg(short, long, value_name = "N")]
    pub(crate) iterations: Option<u32>,

    /// Spread the measured copies over N rounds, each shuffled again
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: u32,

    /// Start each round with N copies that are not measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) warmup: u32,

    /// Measure four sizes with few copies: seconds instead of minutes
    #[arg(short, long)]
    pub(crate) quick: bool,

    /// Set the seed of the shuffled order, to repeat a run [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Run the first process on CPU A, the second on CPU B [default: two cores of one package]
    #[arg(long, value_name = "A,B")]
    pub(crate) cpus: Option<String>,

    /// Empty the caches before each copy
    #[arg(long)]
    pub(crate) cold: bool,

    /// Copy from the first process to the second instead of from the second to the first
    #[arg(short, long)]
    pub(crate) write: bool,

    /// Pin the local memory in every KNEM method instead of copying through its mapping
    #[arg(long)]
    pub(crate) pin_local: bool,

    /// Do not check the copied bytes
    #[arg(long)]
    pub(crate) no_verify: bool,

    /// Do not measure the time to create and destroy a region
    #[arg(long)]
    pub(crate) no_region_cost: bool,

    /// Plot bandwidth and time over size into FILE, .svg or .png; may be repeated
    #[arg(short, long, value_name = "FILE")]
    pub(crate) plot: Vec<PathBuf>,

    /// Write JSON
    #[arg(short, long, conflicts_with = "csv")]
    pub(crate) json: bool,

    /// Write CSV
    #[arg(long)]
    pub(crate) csv: bool,
}

/// Options of the second process of a benchmark.
#[derive(Debug, Args)]
pub(crate) struct BenchPeerArgs {
    /// Use the shared memory behind this file descriptor
    #[arg(long, value_name = "FD")]
    pub(crate) shared: i32,

    /// Run on this CPU
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<usize>,

    /// Do not open the device
    #[arg(long)]
    pub(crate) without_device: bool,
}

/// Description of `knem bench`.
pub(super) const BENCH: &str = "\
Measure copies between two processes, and verify every byte

Starts a second process and moves data from it to the first (with --write: from the first to the second), by each \
method and for each size. Every byte of every copy is compared with what it must be. The destination is overwritten \
before each copy, and the memory around it must not change. Filling and comparing are not part of the measured time. \
The time to create and destroy a region of each size is measured in the first process.

With --methods peers no driver is needed. The results depend on the machine and on its other load: benchmarks.md in \
the documentation describes how to measure and how to read them.";

/// Methods, columns and examples.
const MORE: &str = "\
Methods:
  knem-cached   from a region created beforehand, as with a registration cache
  knem-oneshot  from a single-use region created for each copy; includes passing its cookie
  knem-async    by the context's worker thread, on the CPU of the second process
  knem-write    into a region created beforehand
  knem-region   from region to region
  knem-pinned   as knem-cached, with the local memory pinned
  vmread        process_vm_readv, also called CMA
  vmwrite       process_vm_writev
  shm           two copies, through a ring in shared memory
  xpmem         by the CPU from attached memory, if XPMEM's module is loaded
  memcpy        within one process: the bandwidth of the memory

The group knem is all methods whose names begin with knem, peers is all others, all is both. A method given by its own name must work.

Columns:
  MiB/s     bandwidth of the median copy
  TIME      median time of a copy
  P10, P90  10th and 90th percentile of the time
  MEMCPY    bandwidth divided by that of memcpy of the same size
  PEER      bandwidth divided by that of the fastest of vmread, vmwrite, shm and xpmem
  BYTES     whether every byte of every copy was compared

With knem-async, a second table shows for sizes from 64K on how much of a copy by the worker thread is hidden behind work of the process (HIDDEN).

Examples:
  knem bench --quick                    Get a first impression
  knem bench --plot a.svg --plot a.png  Measure all methods, 4 KiB to 64 MiB, and plot them
  knem bench --cpus 0,32 --cold         Measure between two CPUs, with empty caches
  knem bench -m peers                   Measure the alternatives, without KNEM
  knem bench -m knem -s 1,4K..1M -j     Measure some methods and sizes, as JSON";
