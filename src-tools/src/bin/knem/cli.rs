// SPDX-License-Identifier: CECILL-B
//! The command line: every command, option and help text of `knem`.
//!
//! A file for each command, below `cli/`. They need clap and nothing else. Manual pages and completion scripts are made of
//! them (`generate`).

mod bench;
mod doctor;
#[cfg(test)]
mod documented;
mod info;
mod regions;
mod selftest;
mod stat;
mod top;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use bench::{BenchArgs, BenchPeerArgs};
pub(crate) use doctor::DoctorArgs;
#[cfg(test)]
pub(crate) use doctor::FINDINGS;
pub(crate) use info::InfoArgs;
pub(crate) use regions::RegionsArgs;
pub(crate) use selftest::SelftestArgs;
pub(crate) use stat::StatArgs;
pub(crate) use top::TopArgs;

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
  5  driver and command speak different versions of the interface
  6  knem doctor --strict: no problem, but a note";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what driver is there and what it offers
    Info(InfoArgs),
    /// Show what the driver has counted, once or every few seconds
    #[command(long_about = stat::STAT)]
    Stat(StatArgs),
    /// Watch the driver at work
    #[command(long_about = top::TOP)]
    Top(TopArgs),
    /// List open files and their regions, with the processes they belong to
    #[command(long_about = regions::REGIONS)]
    Regions(RegionsArgs),
    /// Find out what keeps KNEM from being used here, and the remedy
    #[command(long_about = doctor::DOCTOR)]
    Doctor(DoctorArgs),
    /// Measure and verify copies between two processes
    #[command(long_about = bench::BENCH)]
    Bench(BenchArgs),
    /// Test the installed driver
    #[command(long_about = selftest::SELFTEST)]
    Selftest(SelftestArgs),
    /// Write a completion script for a shell to standard output
    Completions {
        /// Shell to complete for
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the manual pages
    #[command(name = "__man", hide = true)]
    Man {
        /// Directory to write them into
        directory: PathBuf,
    },
    /// Be the second process of a benchmark
    #[command(name = "__bench-peer", hide = true)]
    BenchPeer(BenchPeerArgs),
    /// Be another user's process in a self-test
    #[command(name = "__selftest-other", hide = true)]
    SelftestOther,
}

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
