// SPDX-License-Identifier: CECILL-B
//! `make drills`: runs drills and prints a table of the results.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, Result};
use clap::Parser;
use knem_drills::cells;
use knem_drills::drill::{judge_all, Drill};
use knem_drills::log::Log;
use knem_drills::site::Site;
use knem_lab::cache::elapsed;
use knem_lab::namespace;
use knem_lab::workspace::Workspace;

/// Install, upgrade, interrupt, break and remove the packages in throw-away Debian trees, and boot the result
#[derive(Parser)]
#[command(name = "knem-drills", max_term_width = 100)]
struct Cli {
    /// Only those that run with every change.
    #[arg(long)]
    fast: bool,
    /// List the drills and do nothing.
    #[arg(long)]
    list: bool,
    /// How many at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    jobs: u16,
    /// Only these: an id such as D7, or a part of a name.
    names: Vec<String>,
}

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
    let drills = chosen(cli)?;
    if cli.list {
        for drill in &drills {
            let when = if drill.fast { "fast" } else { "" };
            println!("{:<4} {:<26} {when:<5} {}", drill.id, drill.name, drill.claim);
        }
        return Ok(true);
    }
    let start = Instant::now();
    namespace::enter()?;
    let logs = Workspace::find()?.target().join("drills");
    let site = Site::open(Log::fresh(&logs.join("site.log"))?)?;
    let verdicts = judge_all(&drills, &site, &logs, usize::from(cli.jobs))?;
    println!("\nDrills");
    for verdict in &verdicts {
        println!("  {}", verdict.line());
    }
    let failed = verdicts.iter().filter(|verdict| verdict.error.is_some()).count();
    println!("{} of {} drills passed in {}", verdicts.len() - failed, verdicts.len(), elapsed(start.elapsed()));
    Ok(failed == 0)
}

/// Returns the drills that the command line selects, in the order of the matrix.
fn chosen(cli: &Cli) -> Result<Vec<Drill>> {
    let all = cells::all();
    for name in &cli.names {
        if !all.iter().any(|drill| drill.is(name)) {
            bail!("there is no drill {name}; --list shows which there are");
        }
    }
    let wanted = |drill: &Drill| {
        (!cli.fast || drill.fast) && (cli.names.is_empty() || cli.names.iter().any(|name| drill.is(name)))
    };
    let drills: Vec<Drill> = all.into_iter().filter(wanted).collect();
    if drills.is_empty() {
        bail!("none of these drills is a fast one");
    }
    Ok(drills)
}
