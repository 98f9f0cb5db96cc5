// SPDX-License-Identifier: CECILL-B
//! `make soak`: tries to break the driver for as long as wanted, on User Mode Linux, and writes what was counted into
//! docs/reliability.md.

mod counts;
mod plan;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{bail, Context, Result};
use clap::Parser;
use knem_lab::cache::elapsed;
use knem_lab::lab::Lab;
use knem_lab::uml::Flavour;
use knem_lab::vm::Options;
use knem_lab::{namespace, run};
use knem_report::page;
use xtask::programs;
use xtask::uml::{Bench, DEFAULT_KERNEL};

use crate::counts::{wrapped, Counts};
use crate::plan::Boot;

/// Fail every allocation and user copy, kill, load and unload under traffic, and compare random sequences with a model.
#[derive(Debug, Parser)]
#[command(name = "knem-soak", max_term_width = 100)]
struct Cli {
    /// How long all of it may take
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    hours: f64,
    /// Only what runs with every change: some minutes on the debug kernel, and no report in docs/reliability.md
    #[arg(long, conflicts_with = "hours")]
    short: bool,
    /// Seed of the random numbers [default: another one for each run; 1 with --short]
    #[arg(long)]
    seed: Option<u64>,
    /// Only boots with one of these words in their names, and no report in docs/reliability.md
    only: Vec<String>,
}

/// Memory of the machines in MiB: most that the kernel takes.
const MEMORY: u32 = 2560;
/// On a machine with other things to do, what does not last for a set time takes as many times longer.
const PATIENCE: u64 = 6;

fn main() -> ExitCode {
    match soak(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn soak(cli: &Cli) -> Result<()> {
    // A change is judged by what it does, not by what no run has tried before: that is for the hours.
    let seed = cli.seed.unwrap_or_else(|| if cli.short { 1 } else { now() });
    let seconds = Duration::try_from_secs_f64(cli.hours * 3600.0).context("--hours is no such number")?.as_secs();
    let mut boots = if cli.short { plan::short(seed) } else { plan::full(seconds, seed) };
    boots.retain(|boot| cli.only.is_empty() || cli.only.iter().any(|word| boot.name.contains(word.as_str())));
    if boots.is_empty() {
        bail!("no boot has such a name");
    }
    namespace::enter()?;
    let lab = Lab::open()?;
    let start = Instant::now();
    let (mut counts, mut failed) = (Counts::default(), Vec::new());
    for boot in &boots {
        if let Err(error) = once(&lab, boot, &mut counts) {
            eprintln!("{}: {error:#}", boot.name);
            failed.push(boot.name);
        }
    }
    let table = counts.table();
    println!("\n{table}\n{} with seed {seed}", elapsed(start.elapsed()));
    if !failed.is_empty() {
        bail!("FAILED: {}", failed.join("; "));
    }
    if cli.short || !cli.only.is_empty() {
        return Ok(());
    }
    let date = run::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?;
    let head = format!(
        "`make soak HOURS={}`, ended {} UTC after {}, version {}, User Mode Linux {DEFAULT_KERNEL} with two CPUs, seed {seed}.",
        cli.hours,
        date.trim(),
        elapsed(start.elapsed()),
        lab.workspace.version
    );
    page::replace(&lab.workspace.file("docs/reliability.md"), "soak", &format!("{}\n{table}", wrapped(&head)))
}

/// A number that is another one each time.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
}

/// Runs the commands of a boot, and counts.
fn once(lab: &Lab, boot: &Boot, counts: &mut Counts) -> Result<()> {
    run::step(&format!("soak: {}", boot.name));
    let bench = Bench::prepare(lab, DEFAULT_KERNEL, boot.flavour)?;
    let options = Options {
        memory: MEMORY,
        cpus: 2,
        timeout: Duration::from_secs(boot.seconds * PATIENCE + 600),
        adds: programs::build(&lab.workspace)?,
        ..Options::default()
    };
    let report = bench.run(&boot.commands, &options, boot.flavour == Flavour::Debug)?;
    for outcome in &report.outcomes {
        counts.read(&String::from_utf8_lossy(&outcome.stdout));
    }
    counts.trouble += report.trouble.len();
    counts.pinned += report.trouble.iter().filter(|line| line.contains("stay pinned")).count();
    report.demand_success()
}
