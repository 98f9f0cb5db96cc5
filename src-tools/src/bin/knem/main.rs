// SPDX-License-Identifier: CECILL-B
//! The command `knem`.

mod address;
mod bench;
mod cli;
mod doctor;
mod exit;
mod generate;
mod info;
mod json;
mod machine;
mod processes;
mod regions;
mod selftest;
mod signals;
mod sizes;
mod stat;
mod style;
mod table;
mod top;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Info(arguments) => info::run(&cli.device, arguments),
        Command::Stat(arguments) => stat::run(&cli.device, arguments),
        Command::Top(arguments) => top::run(&cli.device, arguments),
        Command::Regions(arguments) => regions::run(&cli.device, arguments),
        Command::Doctor(arguments) => doctor::run(&cli.device, arguments),
        Command::Selftest(arguments) => selftest::run(&cli.device, arguments),
        Command::Bench(arguments) => bench::run(&cli.device, arguments),
        Command::Completions { shell } => generate::completions(*shell),
        Command::Man { directory } => generate::manual_pages(directory),
        Command::BenchPeer(arguments) => bench::serve(&cli.device, arguments),
        Command::SelftestOther => selftest::be_other_user(),
    }
}
