// SPDX-License-Identifier: CECILL-B
//! `cargo xtask budget`: counts the instructions of the driver's calls, and compares them with tests/budget/budget.txt.
//!
//! They are counted in an emulator, so that the same kernel and the same driver give the same numbers on every machine.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use clap::Args;

use crate::programs;
use knem_lab::kernels::Kernel;
use knem_lab::lab::{words, Lab};
use knem_lab::packages::Packages;
use knem_lab::vm::Options;
use knem_lab::{namespace, run};
use knem_packages::apt_repository;

/// The kernel that it is counted on.
pub(crate) const KERNEL: &str = "7.3";

/// Where the numbers are kept.
const FILE: &str = "tests/budget/budget.txt";

/// By how many of a hundred a number may differ: on the kernel release in the file, and on another one.
const SAME: u64 = 3;
const OTHER: u64 = 10;
/// Smaller differences are ignored: an interrupt in the shortest call.
const SLACK: u64 = 12;

/// Arguments of `cargo xtask budget`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Record the counts as the new budget
    #[arg(long)]
    write: bool,
}

/// Numbers of instructions by what they are of, in the order in which they are counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    kernel: String,
    lines: Vec<(String, u64)>,
}

impl Counts {
    /// Reads the file's format: `kernel RELEASE`, and lines of a number and a name.
    fn parse(text: &str) -> Result<Self> {
        let mut counts = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (first, rest) = line.split_once(' ').with_context(|| format!("no number and name: {line}"))?;
            if first == "kernel" {
                counts.kernel = rest.to_owned();
            } else {
                let number = first.parse().with_context(|| format!("no number: {line}"))?;
                counts.lines.push((rest.trim().to_owned(), number));
            }
        }
        ensure!(!counts.lines.is_empty(), "there is no number");
        Ok(counts)
    }

    // REUSE-IgnoreStart
    fn text(&self) -> String {
        let mut text = format!(
            "# SPDX-License-Identifier: CECILL-B\n\
             # Instructions of a call, user and kernel, with warm caches. Written by `cargo xtask budget --write`.\n\
             kernel {}\n",
            self.kernel
        );
        for (name, number) in &self.lines {
            // A String takes everything.
            let _ = writeln!(text, "{number:9}  {name}");
        }
        text
    }
    // REUSE-IgnoreEnd

    fn of(&self, name: &str) -> Option<u64> {
        self.lines.iter().find(|line| line.0 == name).map(|line| line.1)
    }

    /// What differs from `allowed` by more than the tolerance, one line for each.
    fn differences(&self, allowed: &Self) -> Vec<String> {
        let percent = if self.kernel == allowed.kernel { SAME } else { OTHER };
        let mut found = Vec::new();
        for (name, number) in &self.lines {
            match allowed.of(name) {
                None => found.push(format!("{name}: {number}, not in {FILE}")),
                Some(budget) if number.abs_diff(budget) > SLACK.max(budget * percent / 100) => {
                    found.push(format!("{name}: {number}, recorded {budget}"));
                }
                Some(_) => {}
            }
        }
        let gone = allowed.lines.iter().filter(|line| self.of(&line.0).is_none());
        found.extend(gone.map(|line| format!("{}: not counted any more", line.0)));
        found
    }
}

/// Counts, and compares or records.
///
/// # Errors
/// When a number differs, or the machine fails.
pub fn run(arguments: &Arguments) -> Result<()> {
    namespace::enter()?;
    let lab = Lab::open()?;
    let packages = apt_repository(&lab.workspace)?;
    if !arguments.write {
        return check(&lab, &packages);
    }
    let counts = count(&lab, lab.kernel(Some(KERNEL))?, &packages)?;
    fs::write(lab.workspace.file(FILE), counts.text())?;
    run::step(&format!("recorded in {FILE}"));
    Ok(())
}

/// Counts and compares.
///
/// # Errors
/// As [`run`].
pub(crate) fn check(lab: &Lab, packages: &Packages) -> Result<()> {
    let counted = count(lab, lab.kernel(Some(KERNEL))?, packages)?;
    let allowed = Counts::parse(&fs::read_to_string(lab.workspace.file(FILE))?).context(FILE)?;
    let differences = counted.differences(&allowed);
    if !differences.is_empty() {
        bail!(
            "instructions differ from {FILE} (kernel {}, recorded on {}). If the change is meant: cargo xtask budget --write\n  {}",
            counted.kernel,
            allowed.kernel,
            differences.join("\n  ")
        );
    }
    println!("  {} numbers of instructions as recorded on kernel {}", counted.lines.len(), allowed.kernel);
    Ok(())
}

fn count(lab: &Lab, kernel: &Kernel, packages: &Packages) -> Result<Counts> {
    let (image, installed) = lab.image(kernel, packages, None)?;
    let command = words("knem-budget");
    let mut adds = programs::wanted(&lab.workspace, &command)?;
    adds.extend(programs::of_the_tools(&lab.workspace, &installed)?);
    let options = Options {
        cpus: 1,
        counting: true,
        echo: false,
        adds,
        timeout: Duration::from_secs(1800),
        ..Options::default()
    };
    let report = lab.boot(&image, &[command], &options)?;
    report.demand_success()?;
    let output = report.outcomes.first().context("no output")?;
    let mut counts = Counts::parse(&String::from_utf8_lossy(&output.stdout))?;
    counts.kernel.clone_from(&kernel.release);
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kernel: &str, lines: &[(&str, u64)]) -> Counts {
        Counts { kernel: kernel.to_owned(), lines: lines.iter().map(|&(name, n)| (name.to_owned(), n)).collect() }
    }

    #[test]
    fn what_is_written_is_read() {
        let some = counts("7.3.4", &[("a read, 8 bytes", 2000), ("b", 1)]);
        assert_eq!(Counts::parse(&some.text()).expect("read"), some);
        assert!(Counts::parse("kernel 7.3\n").is_err());
    }

    #[test]
    fn dearer_cheaper_new_and_gone_calls_differ() {
        let allowed = counts("7.3.4", &[("a", 10_000), ("b", 100), ("c", 5)]);
        let now = |kernel, a, b| counts(kernel, &[("a", a), ("b", b), ("c", 5)]);
        assert!(now("7.3.4", 10_300, 112).differences(&allowed).is_empty());
        assert_eq!(now("7.3.4", 10_301, 113).differences(&allowed).len(), 2);
        assert_eq!(now("7.3.4", 9_600, 100).differences(&allowed), ["a: 9600, recorded 10000"]);
        assert!(now("7.3.5", 10_900, 100).differences(&allowed).is_empty());
        assert_eq!(counts("7.3.4", &[("a", 10_000), ("d", 1), ("c", 5)]).differences(&allowed).len(), 2);
    }
}
