// SPDX-License-Identifier: CECILL-B
//! A single report: a summary, then the counters that every driver has.

use super::numbers::Numbers;
use super::report::Report;
use crate::table::{Column, Table, MISSING};
use crate::units::{age, float};

/// Returns the text for people.
pub(crate) fn text(report: &Report, numbers: Numbers) -> String {
    let mut text = glance(report, numbers);
    if !text.is_empty() {
        text.push('\n');
    }
    let mut table = Table::new(&[Column::left(""), Column::right("")]);
    for counter in &report.counters {
        table.row([counter.label.to_owned(), counter.value.to_string()]);
    }
    text += &table.body();
    for line in report.statistics.iter().flat_map(|statistics| &statistics.other_lines) {
        text += line;
        text.push('\n');
    }
    text
}

/// Returns the text for scripts: a name and a number on each line.
pub(crate) fn tabs(report: &Report) -> String {
    let exact = Numbers { exact: true };
    let mut table = Table::new(&[Column::left(""), Column::right("")]);
    for counter in &report.counters {
        table.row([counter.key.to_owned(), counter.value.to_string()]);
    }
    let profile = report.profile.as_ref();
    for (key, value) in [
        ("period_ns", report.period_ns),
        ("copies", profile.map(|profile| profile.copies())),
        ("bytes", profile.map(|profile| profile.bytes())),
        ("failed", Some(report.failed())),
        ("refused_calls", Some(report.refused())),
        ("pinned_bytes", profile.map(|profile| profile.pinned_bytes)),
        ("pinned_peak_bytes", profile.map(|profile| profile.pinned_bytes_peak)),
        ("contexts", profile.map(|profile| profile.contexts)),
        ("regions", profile.map(|profile| profile.regions)),
        ("regions_unpinned", profile.map(|profile| profile.regions_unpinned)),
    ] {
        table.row([key.to_owned(), value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())]);
    }
    table.row(["mean_size_bytes".to_owned(), exact.bytes(report.mean_size_bytes())]);
    table.row(["median_time_ns".to_owned(), exact.time(report.median_time_ns())]);
    table.tabs()
}

/// Returns the summary; empty for a driver without detailed statistics.
fn glance(report: &Report, numbers: Numbers) -> String {
    let Some(profile) = &report.profile else { return String::new() };
    let version = report.module_version.as_deref().unwrap_or("of unknown version");
    let things = |number: u64, one: &str, many: &str| {
        format!("{} {}", numbers.count(float(number)), if number == 1 { one } else { many })
    };
    let copied = match profile.copies() {
        0 => "nothing yet".to_owned(),
        copies => format!(
            "{} in {}, {} failed",
            numbers.bytes(float(profile.bytes())),
            things(copies, "copy", "copies"),
            numbers.count(float(profile.failed()))
        ),
    };
    let pinned = format!(
        "{} now, {} peak",
        numbers.bytes(float(profile.pinned_bytes)),
        numbers.bytes(float(profile.pinned_bytes_peak))
    );
    let mut open = format!(
        "{} with {}",
        things(profile.contexts, "context", "contexts"),
        things(profile.regions, "region", "regions")
    );
    if profile.regions_unpinned != 0 {
        open.push_str(&format!(", {} not pinned", profile.regions_unpinned));
    }
    let refused = match profile.refusals() {
        0 => "no calls".to_owned(),
        calls => format!("{}; `knem stat --refused` shows why", things(calls, "call", "calls")),
    };
    let typical = format!(
        "{} (mean size), {} (median time)",
        numbers.bytes(report.mean_size_bytes()),
        numbers.time(report.median_time_ns())
    );
    let mut table = Table::new(&[Column::left("").at_least(20), Column::left("")]);
    table.row(["Driver", version]);
    table.row(["Counting for".to_owned(), age(profile.age_ns)]);
    table.row(["Copied".to_owned(), copied]);
    if profile.copies() != 0 {
        table.row(["A copy".to_owned(), typical]);
    }
    table.row(["Pinned".to_owned(), pinned]);
    table.row(["Open".to_owned(), open]);
    table.row(["Refused".to_owned(), refused]);
    table.body()
}
