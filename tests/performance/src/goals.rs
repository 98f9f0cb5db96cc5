// SPDX-License-Identifier: CECILL-B
//! The performance goals of the driver, and whether it reaches them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use knem_report::plot::size as size_text;

use crate::record::Record;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A ratio of speeds that must be at least this large, for these sizes.
struct Ratio(&'static str, &'static str, &'static str, f64, &'static [u64]);

/// Ratios for both kinds of runs.
const RATIOS: &[Ratio] = &[
    Ratio("region to region / memcpy", "knem-region", "memcpy", 0.90, &[MIB]),
    Ratio("region to region / memcpy", "knem-region", "memcpy", 1.0, &[4 * MIB, 16 * MIB, 64 * MIB]),
    Ratio("inline read / memcpy", "knem-cached", "memcpy", 0.80, &[MIB]),
    Ratio("inline read / memcpy", "knem-cached", "memcpy", 0.97, &[4 * MIB, 16 * MIB, 64 * MIB]),
    Ratio("inline read / process_vm_readv", "knem-cached", "vmread", 1.3, &[8 * KIB, 64 * KIB]),
    Ratio("inline read / process_vm_readv", "knem-cached", "vmread", 2.2, &[256 * KIB]),
    Ratio("inline read / process_vm_readv", "knem-cached", "vmread", 1.7, &[MIB]),
    Ratio("inline read / process_vm_readv", "knem-cached", "vmread", 1.5, &[4 * MIB, 16 * MIB]),
    Ratio("inline read / process_vm_readv", "knem-cached", "vmread", 1.35, &[64 * MIB]),
    Ratio("inline write / process_vm_writev", "knem-write", "vmwrite", 1.17, &[8 * KIB, 64 * KIB]),
    Ratio("inline write / process_vm_writev", "knem-write", "vmwrite", 1.98, &[256 * KIB]),
    Ratio("inline write / process_vm_writev", "knem-write", "vmwrite", 1.53, &[MIB]),
    Ratio("inline write / process_vm_writev", "knem-write", "vmwrite", 1.35, &[4 * MIB, 16 * MIB]),
    Ratio("inline write / process_vm_writev", "knem-write", "vmwrite", 1.22, &[64 * MIB]),
    Ratio("one-shot / process_vm_readv", "knem-oneshot", "vmread", 0.7, &[64 * KIB]),
    Ratio("one-shot / process_vm_readv", "knem-oneshot", "vmread", 1.0, &[256 * KIB, MIB, 4 * MIB, 16 * MIB]),
    Ratio("inline read / two copies", "knem-cached", "shm", 1.3, &[8 * KIB, 64 * KIB, 256 * KIB, MIB]),
    Ratio("inline read / two copies", "knem-cached", "shm", 1.15, &[4 * MIB, 16 * MIB]),
];

/// Thousandths of a copy that concurrent work must hide.
const OVERLAPS: &[(u64, f64)] = &[(MIB, 850.0), (4 * MIB, 950.0)];

/// Most instructions of a call relative to those of another one: names of tests/budget/budget.txt.
const INSTRUCTIONS: &[(&str, &str, &str, f64)] = &[
    ("8 B", "inline read, 8 bytes", "process_vm_readv, 8 bytes", 0.55),
    ("8 B", "inline write, 8 bytes", "process_vm_readv, 8 bytes", 0.7),
    ("8 B", "region to region, 8 bytes", "process_vm_readv, 8 bytes", 0.6),
    ("64 KiB", "one-shot, 65536 bytes", "process_vm_readv, 65536 bytes", 1.0),
    ("256 KiB", "one-shot, 262144 bytes", "process_vm_readv, 262144 bytes", 1.0),
];

/// A line of the table.
#[derive(Debug, PartialEq)]
struct Line {
    what: String,
    size: String,
    goal: String,
    figure: f64,
    reached: bool,
}

/// Returns the table of all goals, missed ones included.
///
/// # Errors
/// If something was not measured.
pub fn table(rewritten: &Record, kept: &Record, budget: &str) -> Result<String> {
    let mut lines = instructions(budget)?;
    for (kind, record) in [("rewritten", rewritten), ("kept", kept)] {
        for ratio in RATIOS {
            lines.extend(ratio.lines(kind, record)?);
        }
    }
    for (size, least) in OVERLAPS {
        for into in ["memory", "region"] {
            let figure = rewritten.overlap(*size, into).context("overlap was not measured")?.hidden_permille;
            lines.push(Line {
                what: format!("copy into {into} hidden behind work, %"),
                size: size_text(*size as f64),
                goal: format!(">= {:.0}", least / 10.0),
                figure: figure / 10.0,
                reached: figure >= *least,
            });
        }
    }
    let reached = lines.iter().filter(|line| line.reached).count();
    let mut text = format!(
        "{reached} of {} goals are reached.\n\n| Goal | Size | Required | Measured | |\n|---|---|---|---|---|\n",
        lines.len()
    );
    for line in &lines {
        let word = if line.reached { "reached" } else { "**missed**" };
        text.push_str(&format!("| {} | {} | {} | {:.2} | {word} |\n", line.what, line.size, line.goal, line.figure));
    }
    text.push('\n');
    Ok(text)
}

impl Ratio {
    fn lines(&self, kind: &str, record: &Record) -> Result<Vec<Line>> {
        let Self(what, method, peer, least, sizes) = self;
        let line = |size: &u64| {
            let figure =
                record.ratio(method, peer, *size).with_context(|| format!("{method} of {size} was not measured"))?;
            Ok(Line {
                what: format!("{what}, source {kind}"),
                size: size_text(*size as f64),
                goal: format!(">= {least:.2}"),
                figure: figure.median,
                reached: figure.median >= *least,
            })
        };
        sizes.iter().map(line).collect()
    }
}

fn instructions(budget: &str) -> Result<Vec<Line>> {
    let counts: BTreeMap<&str, f64> = budget
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter_map(|(number, name)| Some((name.trim(), number.parse().ok()?)))
        .collect();
    let count = |name: &str| {
        let name = format!("{name}, scattered pages");
        counts.get(name.as_str()).copied().with_context(|| format!("tests/budget/budget.txt has no line {name}"))
    };
    let line = |(size, what, peer, most): &(&str, &str, &str, f64)| {
        let figure = count(what)? / count(peer)?;
        let word = |name: &str| name.split(',').next().unwrap_or_default().to_owned();
        Ok(Line {
            what: format!("{} / {}, instructions", word(what), word(peer)),
            size: (*size).to_owned(),
            goal: format!("<= {most:.2}"),
            figure,
            reached: figure <= *most,
        })
    };
    INSTRUCTIONS.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::run;

    #[test]
    fn a_goal_is_reached_or_missed() {
        let mut record = Record::default();
        record.add(&run(2)).expect("a run");
        let of = |least, sizes| Ratio("inline read", "knem-cached", "vmread", least, sizes).lines("kept", &record);
        let lines = of(1.7, &[MIB]).expect("measured");
        assert!(lines[0].reached && lines[0].figure == 2.0 && lines[0].what == "inline read, source kept");
        assert!(!of(2.1, &[MIB]).expect("measured")[0].reached);
        assert!(of(1.0, &[KIB]).is_err(), "a size that was not measured");
    }

    #[test]
    fn the_budget_has_every_line() {
        let lines = instructions(include_str!("../../budget/budget.txt")).expect("all lines");
        assert_eq!(lines.len(), INSTRUCTIONS.len());
        assert!(lines.iter().all(|line| line.figure > 0.1 && line.figure < 10.0), "{lines:?}");
        assert!(instructions("kernel 7.3\n 1 getppid\n").is_err());
    }
}
