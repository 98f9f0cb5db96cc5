// SPDX-License-Identifier: CECILL-B
//! A report as JSON.

use std::collections::BTreeMap;

use knem::explain;
use knem::Histogram;
use serde::Serialize;

use super::report::{Report, Since};
use crate::json::Document;

/// Version of the schema.
const VERSION: u32 = 1;

/// The content of the document. Values that the driver does not have, or that need permission to open the device, are
/// null.
#[derive(Serialize)]
pub(crate) struct Content<'a> {
    module_version: Option<&'a str>,
    abi: Option<u32>,
    forced_flags: Option<u32>,
    ignored_flags: Option<u32>,
    since: Since,
    restarted: bool,
    period_ns: Option<u64>,
    counters: BTreeMap<&'static str, i64>,
    other_lines: &'a [String],
    requests_per_second: Option<u64>,
    bytes_per_second: Option<u64>,
    copies: Option<u64>,
    bytes: Option<u64>,
    failed: u64,
    refused_calls: u64,
    mean_size_bytes: Option<u64>,
    median_time_ns: Option<u64>,
    pinned_bytes: Option<u64>,
    pinned_peak_bytes: Option<u64>,
    contexts: Option<u64>,
    regions: Option<u64>,
    regions_unpinned: Option<u64>,
    paths: Vec<Path<'a>>,
    refused: Vec<Refused<'a>>,
    reasons: Vec<Reason<'a>>,
}

#[derive(Serialize)]
struct Path<'a> {
    path: &'a str,
    copies: u64,
    bytes: u64,
    failed: u64,
    sizes_bytes: &'a Histogram,
    times_ns: &'a Histogram,
}

#[derive(Serialize)]
struct Refused<'a> {
    call: &'a str,
    errno: &'a str,
    count: u64,
    meaning: &'static str,
    remedy: &'static str,
}

#[derive(Serialize)]
struct Reason<'a> {
    name: &'a str,
    count: u64,
    meaning: &'static str,
    remedy: &'static str,
}

/// Returns the document of a report.
pub(crate) fn document(report: &Report) -> Document<Content<'_>> {
    Document::new("knem-stat", VERSION, Content::from(report))
}

impl<'a> From<&'a Report> for Content<'a> {
    fn from(report: &'a Report) -> Self {
        let statistics = report.statistics.as_ref();
        let profile = report.profile.as_ref();
        let paths = profile.map_or(&[][..], |profile| &profile.paths).iter().map(|copies| Path {
            path: copies.path,
            copies: copies.count(),
            bytes: copies.bytes,
            failed: copies.failed,
            sizes_bytes: &copies.sizes,
            times_ns: &copies.times,
        });
        let refused = profile.map_or(&[][..], |profile| &profile.refused).iter().map(|refused| {
            let explained = explain::refused(&refused.call, &refused.errno);
            let (call, errno, count) = (&refused.call, &refused.errno, refused.count);
            Refused { call, errno, count, meaning: explained.meaning, remedy: explained.remedy }
        });
        let reasons = profile.map_or(&[][..], |profile| &profile.reasons).iter().map(|reason| {
            let explained = explain::reason(&reason.name);
            Reason { name: &reason.name, count: reason.count, meaning: explained.meaning, remedy: explained.remedy }
        });
        Self {
            module_version: report.module_version.as_deref(),
            abi: statistics.map(|statistics| statistics.abi),
            forced_flags: statistics.map(|statistics| statistics.forced_flags),
            ignored_flags: statistics.map(|statistics| statistics.ignored_flags),
            since: report.since,
            restarted: report.restarted,
            period_ns: report.period_ns,
            counters: report.counters.iter().map(|counter| (counter.key, counter.value)).collect(),
            other_lines: statistics.map_or(&[], |statistics| &statistics.other_lines),
            requests_per_second: whole(report.rate(report.requests())),
            bytes_per_second: whole(profile.and_then(|profile| report.rate(profile.bytes()))),
            copies: profile.map(knem::profile::Profile::copies),
            bytes: profile.map(knem::profile::Profile::bytes),
            failed: report.failed(),
            refused_calls: report.refused(),
            mean_size_bytes: whole(report.mean_size_bytes()),
            median_time_ns: whole(report.median_time_ns()),
            pinned_bytes: profile.map(|profile| profile.pinned_bytes),
            pinned_peak_bytes: profile.map(|profile| profile.pinned_bytes_peak),
            contexts: profile.map(|profile| profile.contexts),
            regions: profile.map(|profile| profile.regions),
            regions_unpinned: profile.map(|profile| profile.regions_unpinned),
            paths: paths.collect(),
            refused: refused.collect(),
            reasons: reasons.collect(),
        }
    }
}

/// The nearest integer.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: Option<f64>) -> Option<u64> {
    value.map(|value| value.round() as u64)
}
