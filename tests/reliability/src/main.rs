// SPDX-License-Identifier: CECILL-B
//! Tries to break a KNEM device: failing memory, killed processes, loading and unloading under traffic, memory that
//! never answers.
//!
//! As root, in a machine of its own: it changes settings of the kernel and of the module, and unloads it. Lines
//! `counted N NAME` are for the report (`make soak`). Exit status: 0 if all is as it must be.

mod crowd;
mod faults;
mod module;
mod nth;
mod report;
mod shared;
mod state;
mod storms;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::unistd::geteuid;

/// Try to break a KNEM device.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Repeat each scenario with each of its allocations, page allocations and user copies failing
    Faults {
        /// Only scenarios with one of these words in their names
        words: Vec<String>,
    },
    /// Kill, load, unload, stall and fail under load, for a time
    Storm {
        /// Which storms, without names all: kills, cycles, contexts, regions, stalls, chaos, failing
        names: Vec<String>,
        /// How long each of them lasts
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// What random numbers start from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print the names of scenarios
    List,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::List) {
        faults::all().iter().for_each(|scenario| println!("{}", scenario.name));
        return ExitCode::SUCCESS;
    }
    if !geteuid().is_root() {
        eprintln!("knem-reliability: run it as root, in a machine of its own");
        return ExitCode::FAILURE;
    }
    let good = match arguments.command {
        Command::Faults { words } => faults::run(&words),
        Command::Storm { names, seconds, seed } => storms::run(&names, seconds, seed),
        Command::List => true,
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
