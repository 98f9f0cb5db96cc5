// SPDX-License-Identifier: CECILL-B
//! `make bench`: measures the driver with `knem bench` in User Mode Linux, and writes docs/performance.md, its plot,
//! and the goals that are reached.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::Parser;
use knem_lab::lab::{words, Lab};
use knem_lab::namespace;
use knem_lab::uml::machine::{run_commands, Setup};
use knem_lab::uml::{module, Flavour, UmlKernel};
use knem_lab::vm::Options;
use knem_packages::apt_repository;
use knem_report::page;

use knem_performance::record::Record;
use knem_performance::{goals, tables};

/// The series whose source the kernel is built from.
const SERIES: &str = "7.2";
/// Memory in MiB.
const MEMORY: u32 = 2560;
/// The measurement: all methods, in rounds that are short compared with changes of the machine's speed.
const COMMAND: &str = "knem bench --json --sizes 8,4K..64M --rounds 20";

/// Measure copies by KNEM, by process_vm_readv and through shared memory in User Mode Linux, and write
/// docs/performance.md.
#[derive(Parser)]
#[command(name = "knem-performance", max_term_width = 100)]
struct Cli {
    /// Runs of each kind, one after the other in one boot.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    runs: u8,
    /// Print the tables, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    namespace::enter()?;
    let lab = Lab::open()?;
    let (rewritten, kept) = measure(&lab, cli.runs)?;
    let budget =
        fs::read_to_string(lab.workspace.file("tests/budget/budget.txt")).context("tests/budget/budget.txt")?;
    let text = document(&rewritten, &kept, &goals::table(&rewritten, &kept, &budget)?)?;
    println!("{text}");
    if cli.dry_run {
        return Ok(());
    }
    let plot = lab.workspace.file("docs/images/bandwidth.svg");
    fs::write(&plot, tables::plot(&rewritten)?).with_context(|| format!("cannot write {}", plot.display()))?;
    page::replace(&lab.workspace.file("docs/performance.md"), "bench", &text)
}

/// Runs with sources that are rewritten before each copy, and with sources that are not, in turns.
fn measure(lab: &Lab, runs: u8) -> Result<(Record, Record)> {
    let kernel = UmlKernel::of(lab, lab.kernel(Some(SERIES))?, Flavour::Plain)?;
    let root = lab.userlands().with_tools(&apt_repository(&lab.workspace)?)?;
    let driver = module::driver(lab, &kernel)?;
    let both = [words(COMMAND), words(&format!("{COMMAND} --no-verify"))];
    let commands: Vec<Vec<String>> = (0..runs).flat_map(|_| both.clone()).collect();
    let setup = Setup { kernel: &kernel, root: &root, driver: &driver, scan: false };
    let options =
        Options { memory: MEMORY, cpus: 2, echo: false, timeout: Duration::from_secs(3600), ..Options::default() };
    let report = run_commands(&setup, &commands, &options, &lab.workspace.target().join("uml"), &lab.cache)?;
    report.demand_success()?;
    let (mut rewritten, mut kept) = (Record::default(), Record::default());
    for pair in report.outcomes.chunks(2) {
        ensure!(pair.len() == 2, "the machine ran fewer commands");
        for (record, outcome) in [&mut rewritten, &mut kept].into_iter().zip(pair) {
            record.add(&String::from_utf8_lossy(&outcome.stdout))?;
        }
    }
    Ok((rewritten, kept))
}

/// Returns the generated part of docs/performance.md.
fn document(rewritten: &Record, kept: &Record, goals: &str) -> Result<String> {
    let environment = rewritten.environment.as_ref().context("nothing was measured")?;
    Ok(format!(
        "{}, User Mode Linux {}, clock {}. A call that does nothing takes {:.2} us: it is taken off the times of calls \
         in ratios, and not off times.\n\n![bandwidth](images/bandwidth.svg)\n\n### Source rewritten before each copy\n\n{}\
         ### Source not rewritten\n\n{}### Copies beside work, cost of regions\n\n{}### Goals\n\n{goals}",
        environment.processor,
        environment.kernel,
        environment.clock,
        rewritten.null_call() / 1000.0,
        tables::ratios(rewritten)?,
        tables::ratios(kept)?,
        tables::others(rewritten)?,
    ))
}
