// SPDX-License-Identifier: CECILL-B
//! The command line: every command, option and help text of `knem`.
//!
//! Each command has a file in `cli/`, which depends on clap only. `generate` builds the manual pages and the completion
//! scripts from these descriptions.

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
    /// Use this device node
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
    /// Show the driver, its features, parameters and limits, and who may open the device
    Info(InfoArgs),
    /// Show the driver's statistics, once or at an interval
    #[command(long_about = stat::STAT)]
    Stat(StatArgs),
    /// Show rates, sizes, times and the busiest processes on a live screen
    #[command(long_about = top::TOP)]
    Top(TopArgs),
    /// List contexts and their regions, with the processes that own them
    #[command(long_about = regions::REGIONS)]
    Regions(RegionsArgs),
    /// Find what keeps KNEM from being used here, and print remedies
    #[command(long_about = doctor::DOCTOR)]
    Doctor(DoctorArgs),
    /// Measure copies between two processes, and verify every byte
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
    /// Run as the second process of a benchmark
    #[command(name = "__bench-peer", hide = true)]
    BenchPeer(BenchPeerArgs),
    /// Run as the process of another user in a self-test
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
