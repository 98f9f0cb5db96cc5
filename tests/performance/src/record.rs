// SPDX-License-Identifier: CECILL-B
//! The results of `knem bench --json` in several runs, round by round.

use std::collections::BTreeMap;

use anyhow::{ensure, Context, Result};
use knem_report::ratio::Quartiles;
use serde::Deserialize;

/// The part of a document of `knem bench` that is used here; docs/command.md has all keys.
#[derive(Debug, Deserialize)]
struct Document {
    environment: Environment,
    results: Vec<Copies>,
    regions: Vec<Region>,
    overlaps: Vec<Overlap>,
}

/// The environment of the measurement.
#[derive(Debug, Clone, Deserialize)]
pub struct Environment {
    /// The CPU.
    pub processor: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The clock.
    pub clock: String,
    /// Time of an empty request, in ns.
    pub null_call_ns: u64,
}

#[derive(Debug, Deserialize)]
struct Copies {
    method: String,
    size_bytes: u64,
    round_median_ns: Vec<Option<f64>>,
}

/// Cost of a region, in ns.
#[derive(Debug, Deserialize)]
struct Region {
    size_bytes: u64,
    create_median_ns: f64,
    destroy_median_ns: f64,
}

/// Copies concurrent with work, in ns.
#[derive(Debug, Clone, Deserialize)]
pub struct Overlap {
    /// Size in bytes.
    pub size_bytes: u64,
    /// `memory` or `region`.
    pub into: String,
    /// Time until the request is accepted.
    pub submit_median_ns: f64,
    /// Time of the copy alone.
    pub copy_median_ns: f64,
    /// Thousandths of the copy that are hidden.
    pub hidden_permille: f64,
}

/// Runs of one kind, one after the other.
#[derive(Debug, Default)]
pub struct Record {
    /// Environment of the first run; the null call is the median of all.
    pub environment: Option<Environment>,
    null_calls: Vec<f64>,
    /// Median of each round, by method and size, in ns.
    times: BTreeMap<(String, u64), Vec<f64>>,
    regions: BTreeMap<u64, (Vec<f64>, Vec<f64>)>,
    overlaps: BTreeMap<(u64, String), Vec<Overlap>>,
}

impl Record {
    /// Adds a run.
    ///
    /// # Errors
    /// If it is no document of `knem bench`.
    pub fn add(&mut self, json: &str) -> Result<()> {
        let document: Document = serde_json::from_str(json).context("no document of knem bench")?;
        self.null_calls.push(document.environment.null_call_ns as f64);
        self.environment.get_or_insert(document.environment);
        for copies in document.results {
            // A round without a copy keeps its position: ratios are of times of one round.
            let rounds = copies.round_median_ns.into_iter().map(|time| time.unwrap_or(f64::NAN));
            self.times.entry((copies.method, copies.size_bytes)).or_default().extend(rounds);
        }
        for region in document.regions {
            let (create, destroy) = self.regions.entry(region.size_bytes).or_default();
            create.push(region.create_median_ns);
            destroy.push(region.destroy_median_ns);
        }
        for overlap in document.overlaps {
            self.overlaps.entry((overlap.size_bytes, overlap.into.clone())).or_default().push(overlap);
        }
        ensure!(!self.times.is_empty(), "knem bench measured nothing");
        Ok(())
    }

    /// Returns the sizes, ascending.
    pub fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.times.keys().map(|(_, size)| *size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Returns the time of an empty request, in ns.
    pub fn null_call(&self) -> f64 {
        median(&self.null_calls).unwrap_or_default()
    }

    /// Returns the times of the rounds in ns, for a system call without the time of an empty one.
    fn rounds(&self, method: &str, size: u64) -> Option<Vec<f64>> {
        let all = self.times.get(&(method.to_owned(), size))?;
        let is_call = method.starts_with("knem-") || method.starts_with("vm");
        let off = if is_call { self.null_call() } else { 0.0 };
        // `max` would turn a round without a time into a number.
        let without = |time: &f64| if time - off < 1.0 { 1.0 } else { time - off };
        Some(all.iter().map(without).collect())
    }

    /// Returns the median time in ns, the call included.
    pub fn time(&self, method: &str, size: u64) -> Option<f64> {
        let known: Vec<f64> =
            self.times.get(&(method.to_owned(), size))?.iter().copied().filter(|time| !time.is_nan()).collect();
        median(&known)
    }

    /// Returns how many times as fast as `peer` a method is: quartiles of the ratios of each round.
    pub fn ratio(&self, method: &str, peer: &str, size: u64) -> Option<Quartiles> {
        let (below, above) = (self.rounds(method, size)?, self.rounds(peer, size)?);
        let (above, below): (Vec<f64>, Vec<f64>) =
            above.into_iter().zip(below).filter(|(above, below)| !above.is_nan() && !below.is_nan()).unzip();
        Quartiles::of_ratios(&above, &below)
    }

    /// Returns the cost of a region in ns: to create and to destroy it.
    pub fn region(&self, size: u64) -> Option<(f64, f64)> {
        let (create, destroy) = self.regions.get(&size)?;
        Some((median(create)?, median(destroy)?))
    }

    /// Returns the copies concurrent with work: the median run.
    pub fn overlap(&self, size: u64, into: &str) -> Option<Overlap> {
        let mut runs = self.overlaps.get(&(size, into.to_owned()))?.clone();
        runs.sort_by(|a, b| a.hidden_permille.total_cmp(&b.hidden_permille));
        runs.get(runs.len() / 2).cloned()
    }
}

fn median(values: &[f64]) -> Option<f64> {
    Quartiles::of(values).map(|quartiles| quartiles.median)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns a run whose machine is `factor` times as slow in its second round.
    pub(crate) fn run(factor: u32) -> String {
        let copies = |method: &str, time: u32| {
            format!(
                r#"{{"method":"{method}","size_bytes":1048576,"direction":"read","round_median_ns":[{},{},null]}}"#,
                time + 100,
                factor * time + 100
            )
        };
        let results = [copies("knem-cached", 1000), copies("vmread", 2000)].join(",");
        format!(
            r#"{{"environment":{{"processor":"X","kernel":"7.2","clock":"tsc","null_call_ns":100}},"results":[{results}],
            "regions":[{{"size_bytes":1048576,"create_median_ns":7,"destroy_median_ns":5}}],
            "overlaps":[{{"size_bytes":1048576,"into":"region","submit_median_ns":1,"copy_median_ns":2,"hidden_permille":900}}]}}"#
        )
    }

    #[test]
    fn ratios_are_of_rounds_and_without_the_call() {
        let mut record = Record::default();
        record.add(&run(1)).expect("a run");
        record.add(&run(3)).expect("another one");
        assert_eq!(record.sizes(), [1 << 20]);
        let ratio = record.ratio("knem-cached", "vmread", 1 << 20).expect("both");
        assert_eq!((ratio.low, ratio.median, ratio.high), (2.0, 2.0, 2.0));
        assert_eq!(record.time("knem-cached", 1 << 20), Some(1100.0));
        assert_eq!(record.region(1 << 20), Some((7.0, 5.0)));
        assert_eq!(record.overlap(1 << 20, "region").expect("measured").hidden_permille, 900.0);
        assert!(record.ratio("knem-cached", "shm", 1 << 20).is_none() && record.overlap(1, "region").is_none());
        assert!(record.add("{}").is_err());
    }
}
