// SPDX-License-Identifier: CECILL-B
//! The command line: every command, option and help text of `knem`.
//!
//! This file needs clap and nothing else, so that other programs can include it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Show, measure and check KNEM: single-copy transfers between processes, through the kernel
#[derive(Debug, Parser)]
#[command(name = "knem", version, max_term_width = 100, help_expected = true, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    /// Device node to use
    #[arg(long, global = true, value_name = "PATH", default_value = "/dev/knem")]
    pub(crate) device: PathBuf,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Exit status, for help and manual page.
const EXIT_STATUS: &str = "\
Exit status:
  0  success
  1  failure, wrong data in a benchmark included
  2  wrong usage
  3  no device: the module is not loaded, or the node is missing
  4  permission denied
  5  driver and command speak different versions of the interface";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what driver is there and what it offers
    Info(InfoArgs),
    /// Show what the driver has counted since it was loaded
    Stat(StatArgs),
    /// Measure and verify copies between two processes
    Bench(BenchArgs),
    /// Write a completion script for a shell to standard output
    Completions {
        /// Shell that shall complete
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual page to standard output
    #[command(name = "__man", hide = true)]
    Man,
    /// Be the second process of a benchmark
    #[command(name = "__bench-peer", hide = true)]
    BenchPeer,
}

/// Options of `knem info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `knem stat`.
#[derive(Debug, Args)]
pub(crate) struct StatArgs {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Set all counters to 0, after showing them (administrators only)
    #[arg(long)]
    pub(crate) clear: bool,
}

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

/// Shells with completion scripts.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}
