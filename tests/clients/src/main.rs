// SPDX-License-Identifier: CECILL-B
//! `make clients`: runs unmodified MPI libraries, UCX and NetPIPE over `/dev/knem`, and prints a table of the data that
//! they moved.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};
use clap::Parser;
use knem_clients::case::Case;
use knem_clients::site::Site;
use knem_clients::{matrix, table, times, uml, verdict};
use knem_lab::cache::elapsed;
use knem_lab::namespace;
use knem_lab::vm::{Options, Report};

/// Run Debian's own Open MPI, MPICH, UCX and NetPIPE over /dev/knem on stock kernels, and compare every byte they move.
#[derive(Parser)]
#[command(name = "knem-clients", max_term_width = 100)]
struct Cli {
    /// Only what runs with every change: few clients, on one kernel.
    #[arg(long)]
    short: bool,
    /// Also one message of more than 2 GiB, in a machine of 10 GiB.
    #[arg(long, conflicts_with = "short")]
    large: bool,
    /// In User Mode Linux instead of stock kernels: minutes for all, to look for faults.
    #[arg(long, conflicts_with_all = ["short", "large", "kernels"])]
    uml: bool,
    /// Time messages with KNEM, with CMA and with neither in User Mode Linux, and write docs/performance.md.
    #[arg(long, conflicts_with_all = ["short", "large", "kernels", "uml", "clients"])]
    times: bool,
    /// Kernel series [6.12 and the newest that is supported]
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Only clients with one of these words in their names.
    clients: Vec<String>,
}

/// Memory of the machines in MiB.
const MEMORY: u32 = 4096;
const MEMORY_LARGE: u32 = 10240;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let chosen = |cases: Vec<Case>| -> Vec<Case> {
        let wanted = |case: &Case| {
            let name = case.client.name().to_lowercase();
            cli.clients.is_empty() || cli.clients.iter().any(|word| name.contains(&word.to_lowercase()))
        };
        cases.into_iter().filter(wanted).collect()
    };
    let cases = chosen(if cli.short { matrix::short() } else { matrix::full() });
    if cases.is_empty() {
        bail!("no client has such a name");
    }
    let start = Instant::now();
    namespace::enter()?;
    let site = Site::open()?;
    if cli.times {
        return times::run(&site).map(|()| true);
    }
    if cli.uml {
        let machine = uml::Machine::prepare(&site)?;
        let mut lines = vec![table::head()];
        let good = judge("UML", &cases, &mut lines, |commands| machine.run(&site, commands))?;
        return Ok(finish(&lines, good, start));
    }
    let mut kernels = cli.kernels.clone();
    if kernels.is_empty() {
        kernels.push(site.lab.workspace.default_series.clone());
        if !cli.short {
            kernels.extend(site.lab.workspace.series.last().cloned());
        }
    }
    let mut lines = vec![table::head()];
    let mut good = true;
    for series in &kernels {
        good &= on_kernel(&site, series, &cases, MEMORY, &mut lines)?;
        if cli.large {
            good &= on_kernel(&site, series, &chosen(matrix::large()), MEMORY_LARGE, &mut lines)?;
        }
    }
    Ok(finish(&lines, good, start))
}

/// Prints the table.
fn finish(lines: &[String], good: bool, start: Instant) -> bool {
    println!("\nClients");
    for line in lines {
        println!("  {line}");
    }
    println!("{} in {}", if good { "all as it must be" } else { "FAILED" }, elapsed(start.elapsed()));
    good
}

/// Runs the cases on a kernel, in one boot.
fn on_kernel(site: &Site, series: &str, cases: &[Case], memory: u32, lines: &mut Vec<String>) -> Result<bool> {
    if cases.is_empty() {
        return Ok(true);
    }
    let kernel = site.lab.kernel(Some(series))?;
    let (image, _place) = site.image(kernel)?;
    let options = Options { memory, echo: false, timeout: Duration::from_secs(3600), ..Options::default() };
    judge(series, cases, lines, |commands| site.lab.boot(&image, commands, &options))
}

/// Runs the cases in one boot and adds their lines.
fn judge(
    kernel: &str,
    cases: &[Case],
    lines: &mut Vec<String>,
    boot: impl FnOnce(&[Vec<String>]) -> Result<Report>,
) -> Result<bool> {
    let commands: Vec<Vec<String>> = cases.iter().map(verdict::command).collect();
    let report = boot(&commands)?;
    let mut good = true;
    for (case, outcome) in cases.iter().zip(&report.outcomes) {
        let shown = match verdict::judge(case, outcome) {
            Ok(shown) => Some(shown),
            Err(error) => {
                eprintln!("{}\n{error:#}", table::line(kernel, case, None));
                good = false;
                None
            }
        };
        lines.push(table::line(kernel, case, shown.as_ref()));
    }
    report.demand_health()?;
    Ok(good)
}
