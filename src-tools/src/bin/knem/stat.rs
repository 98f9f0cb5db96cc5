// SPDX-License-Identifier: CECILL-B
//! `knem stat`: what the driver has counted.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{stdout, Write};
use std::path::Path;

use knem::statistics::{self, Statistics};
use serde::Serialize;

use crate::cli::StatArgs;
use crate::exit::Failure;
use crate::json::Document;

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &StatArgs) -> Result<(), Failure> {
    let statistics = statistics::read(path)?;
    if arguments.json {
        Document::new("knem-stat", 1, Counters::from(&statistics)).print()?;
    } else {
        write!(stdout(), "{}", Table(&statistics))?;
    }
    if arguments.clear {
        statistics::clear(path)?;
    }
    Ok(())
}

/// The statistics, for programs.
#[derive(Serialize)]
struct Counters<'a> {
    module_version: &'a str,
    abi: u32,
    forced_flags: u32,
    ignored_flags: u32,
    counters: BTreeMap<&'static str, i64>,
    other_lines: &'a [String],
}

impl<'a> From<&'a Statistics> for Counters<'a> {
    fn from(statistics: &'a Statistics) -> Self {
        Self {
            module_version: &statistics.module_version,
            abi: statistics.abi,
            forced_flags: statistics.forced_flags,
            ignored_flags: statistics.ignored_flags,
            counters: statistics.counters.iter().map(|counter| (counter.key, counter.value)).collect(),
            other_lines: &statistics.other_lines,
        }
    }
}

/// The statistics, for people.
struct Table<'a>(&'a Statistics);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = |width: fn(&statistics::Counter) -> usize| self.0.counters.iter().map(width).max().unwrap_or(0);
        let label_width = widths(|counter| counter.label.len());
        let value_width = widths(|counter| counter.value.to_string().len());
        for counter in &self.0.counters {
            writeln!(f, "{:label_width$}  {:>value_width$}", counter.label, counter.value)?;
        }
        for line in &self.0.other_lines {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics() -> Statistics {
        let text = "knem 2.0.0\n Driver ABI=0xd\n Requests submitted                           : 1234\n\
                    \x20         processed (using DMA)               : 5\n  Listed 0 regions\n";
        statistics::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_aligned() {
        assert_eq!(
            Table(&statistics()).to_string(),
            "Requests submitted  1234\n  with DMA             5\n  Listed 0 regions\n"
        );
    }

    #[test]
    fn programs_get_keys() {
        let text = Document::new("knem-stat", 1, Counters::from(&statistics())).text().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "knem-stat");
        assert_eq!(value["counters"]["requests_submitted"], 1234);
        assert_eq!(value["counters"]["processed_dma"], 5);
    }
}
