// SPDX-License-Identifier: CECILL-B
//! Output as JSON. The keys are stable and documented in docs/command.md.

use serde::Serialize;

use super::table::into;
use crate::bench::environment::Environment;
use crate::bench::overlap::Overlap;
use crate::bench::results::{Compared, LeftOut, RegionCost, Results};
use crate::json::Document;

/// Version of the schema. In version 1 a result had no method, and included the cost of a region.
const VERSION: u32 = 2;

/// Returns the document.
pub(crate) fn document(results: &Results) -> Document<impl Serialize + '_> {
    Document::new(
        "knem-bench",
        VERSION,
        Content {
            environment: &results.environment,
            verified: results.verified(),
            skipped: results
                .skipped
                .iter()
                .map(|skipped| Skipped { method: skipped.method.name(), reason: &skipped.reason })
                .collect(),
            skipped_sizes: results.left_out.iter().flat_map(SkippedSize::all).collect(),
            results: results.rows.iter().map(Copies::from).collect(),
            regions: results.beside.regions.iter().map(Region::from).collect(),
            overlaps: results.beside.overlaps.iter().map(Overlapped::from).collect(),
        },
    )
}

#[derive(Serialize)]
struct Content<'a> {
    environment: &'a Environment,
    verified: bool,
    skipped: Vec<Skipped<'a>>,
    skipped_sizes: Vec<SkippedSize<'a>>,
    results: Vec<Copies>,
    regions: Vec<Region>,
    overlaps: Vec<Overlapped>,
}

#[derive(Serialize)]
struct Skipped<'a> {
    method: &'static str,
    reason: &'a str,
}

#[derive(Serialize)]
struct SkippedSize<'a> {
    size_bytes: usize,
    reason: &'a str,
}

impl<'a> SkippedSize<'a> {
    fn all(left_out: &'a LeftOut) -> impl Iterator<Item = Self> {
        left_out.sizes.iter().map(|size| Self { size_bytes: *size, reason: &left_out.reason })
    }
}

#[derive(Serialize)]
struct Copies {
    method: &'static str,
    direction: &'static str,
    size_bytes: usize,
    iterations: usize,
    best_ns: u64,
    p10_ns: u64,
    median_ns: u64,
    p90_ns: u64,
    median_low_ns: Option<u64>,
    median_high_ns: Option<u64>,
    round_median_ns: Vec<Option<u64>>,
    best_bytes_per_second: u64,
    median_bytes_per_second: u64,
    of_memcpy_permille: Option<u64>,
    of_best_peer_permille: Option<u64>,
    verified: bool,
}

impl From<&Compared> for Copies {
    fn from(compared: &Compared) -> Self {
        let (row, times) = (&compared.row, &compared.row.times);
        Self {
            method: row.method.name(),
            direction: direction(row.into_peer),
            size_bytes: row.size,
            iterations: times.count,
            best_ns: times.best_ns,
            p10_ns: times.p10_ns,
            median_ns: times.median_ns,
            p90_ns: times.p90_ns,
            median_low_ns: times.median_between_ns.map(|(low, _)| low),
            median_high_ns: times.median_between_ns.map(|(_, high)| high),
            round_median_ns: (0..=row.rounds.keys().next_back().copied().unwrap_or(0))
                .map(|round| row.rounds.get(&round).copied())
                .collect(),
            best_bytes_per_second: compared.best_bandwidth,
            median_bytes_per_second: compared.bandwidth,
            of_memcpy_permille: compared.of_memcpy_permille,
            of_best_peer_permille: compared.of_best_peer_permille,
            verified: row.verified,
        }
    }
}

/// Returns the word for a direction: what the first process does.
pub(crate) fn direction(into_peer: bool) -> &'static str {
    if into_peer {
        "write"
    } else {
        "read"
    }
}

#[derive(Serialize)]
struct Region {
    size_bytes: usize,
    iterations: usize,
    create_best_ns: u64,
    create_median_ns: u64,
    destroy_best_ns: u64,
    destroy_median_ns: u64,
}

impl From<&RegionCost> for Region {
    fn from(cost: &RegionCost) -> Self {
        Self {
            size_bytes: cost.size,
            iterations: cost.create.count,
            create_best_ns: cost.create.best_ns,
            create_median_ns: cost.create.median_ns,
            destroy_best_ns: cost.destroy.best_ns,
            destroy_median_ns: cost.destroy.median_ns,
        }
    }
}

#[derive(Serialize)]
struct Overlapped {
    size_bytes: usize,
    into: &'static str,
    iterations: usize,
    submit_median_ns: u64,
    copy_median_ns: u64,
    together_median_ns: u64,
    hidden_permille: u64,
}

impl From<&Overlap> for Overlapped {
    fn from(overlap: &Overlap) -> Self {
        Self {
            size_bytes: overlap.size,
            into: into(overlap),
            iterations: overlap.copy.count,
            submit_median_ns: overlap.submit.median_ns,
            copy_median_ns: overlap.copy.median_ns,
            together_median_ns: overlap.together.median_ns,
            hidden_permille: overlap.hidden_permille,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::methods::Method;
    use crate::bench::results::samples;

    #[test]
    fn keys_are_a_contract() {
        let results = samples::results(&[Method::KnemAsync, Method::KnemWrite, Method::VmRead], &[4096]);
        let mut results = results;
        let text = document(&results).text().unwrap();
        insta::assert_snapshot!("bench_json", text);
        results.left_out = Some(LeftOut { sizes: vec![1], reason: String::new() });
        results.skipped = samples::results(&[Method::Shm], &[1]).skipped;
        crate::json::tests::is_documented(&document(&results).text().unwrap());
    }

    #[test]
    fn what_is_not_known_is_null() {
        let results = samples::results(&[Method::KnemCached], &[1]);
        let text = document(&results).text().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["results"][0]["of_memcpy_permille"].is_null());
        assert_eq!(value["verified"], true);
    }
}
