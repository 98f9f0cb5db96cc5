// SPDX-License-Identifier: CECILL-B
//! The command line of `knem bench`.

use std::path::PathBuf;

use clap::Args;

/// Options of `knem bench`.
#[derive(Debug, Args)]
#[command(after_long_help = MORE)]
pub(crate) struct BenchArgs {
    /// Ways to copy, with commas between them, or the groups all, knem and peers [default: all that can run here]
    #[arg(short, long, value_name = "LIST")]
    pub(crate) methods: Option<String>,

    /// Sizes, or ranges that double, with suffixes K, M and G [default: 4K..64M]
    #[arg(short, long, value_name = "SIZES")]
    pub(crate) sizes: Option<String>,

    /// Measured copies of each method and size [default: 10 to 100, fewer for larger sizes]
    #[arg(short, long, value_name = "N")]
    pub(crate) iterations: Option<u32>,

    /// Rounds that the measured copies are spread over, each in an order of its own
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: u32,

    /// Copies that are made first in each round and not measured
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) warmup: u32,

    /// Four sizes and few copies: seconds rather than minutes
    #[arg(short, long)]
    pub(crate) quick: bool,

    /// Number that the order is made from, to repeat it [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// CPUs of the first and the second process [default: two cores of one package]
    #[arg(long, value_name = "A,B")]
    pub(crate) cpus: Option<String>,

    /// Empty the caches before each copy
    #[arg(long)]
    pub(crate) cold: bool,

    /// Copy from the first process to the second rather than from the second to the first
    #[arg(short, long)]
    pub(crate) write: bool,

    /// Pin the local memory rather than copy through its mapping, in every KNEM method
    #[arg(long)]
    pub(crate) pin_local: bool,

    /// Do not check the copied bytes
    #[arg(long)]
    pub(crate) no_verify: bool,

    /// Do not measure how long creating and destroying a region takes
    #[arg(long)]
    pub(crate) no_region_cost: bool,

    /// Draw bandwidth and time over size into a file that ends in .svg or .png (may be given again)
    #[arg(short, long, value_name = "FILE")]
    pub(crate) plot: Vec<PathBuf>,

    /// Write JSON
    #[arg(short, long, conflicts_with = "csv")]
    pub(crate) json: bool,

    /// Write CSV
    #[arg(long)]
    pub(crate) csv: bool,
}

/// What the second process of a benchmark is told.
#[derive(Debug, Args)]
pub(crate) struct BenchPeerArgs {
    /// Descriptor of the memory that both processes share
    #[arg(long, value_name = "FD")]
    pub(crate) shared: i32,

    /// CPU to run on
    #[arg(long, value_name = "CPU")]
    pub(crate) cpu: Option<usize>,

    /// Do without the device
    #[arg(long)]
    pub(crate) without_device: bool,
}

/// Description of `knem bench`.
pub(super) const BENCH: &str = "\
Measure and verify copies between two processes

Starts a second process, and moves data from it to the first (with --write: from the first to the second), by each \
method and for each size. Of every copy, each byte is compared with what it must be; the destination is overwritten \
before, and the memory around it must stay as it was. Filling and comparing are not part of the measured time. Also \
measured, in the first process: how long creating and destroying a region of the same size takes.

With --methods peers it needs no driver. The numbers are of a machine and of what else it does meanwhile; benchmarks.md, beside the other documentation, \
tells how to measure and how to read them.";

/// Methods, columns and examples.
const MORE: &str = "\
Methods:
  knem-cached   from a region that is there before, as with a registration cache
  knem-oneshot  a single-use region is created for each copy, and its cookie handed over
  knem-async    the kernel's thread copies, on the CPU of the second process
  knem-write    into a region that is there before
  knem-region   from region to region
  knem-pinned   as knem-cached, with the local memory pinned
  vmread        process_vm_readv, also called CMA
  vmwrite       process_vm_writev
  shm           two copies, through a ring in shared memory
  xpmem         by the processor from attached memory, where XPMEM's module is loaded
  memcpy        inside one process: what the memory can do

The group knem is those whose names begin so, peers all others, all both. Of methods that are named one by one, each must work.

Columns:
  MiB/s     bandwidth of the median copy
  TIME      median time of a copy
  P10, P90  times that a tenth and nine tenths of the copies did not exceed
  MEMCPY    bandwidth divided by that of memcpy of the same size
  PEER      bandwidth divided by that of the fastest of vmread, vmwrite, shm and xpmem
  BYTES     whether each byte of each copy was compared

With knem-async, a second table shows for sizes from 64K on how much of a copy by the worker thread is hidden behind work of the process (HIDDEN).

Examples:
  knem bench --quick                    Is it worth looking?
  knem bench --plot a.svg --plot a.png  All methods, 4 KiB to 64 MiB, with pictures
  knem bench --cpus 0,32 --cold         Between these CPUs, with empty caches
  knem bench -m peers                   Without KNEM: what it would have to beat
  knem bench -m knem -s 1,4K..1M -j     Some methods and sizes, as JSON";
