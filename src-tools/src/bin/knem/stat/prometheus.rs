// SPDX-License-Identifier: CECILL-B
//! Prometheus text format, for the node exporter's textfile collector.
//!
//! Histograms are cumulative: `le` is the greatest value of a bucket, so a copy of 4096 bytes is in the bucket of 8191.
//! The set of buckets is constant; smaller values are in the first one.

use std::fmt::{Result, Write};

use knem::profile::{Copies, Profile};
use knem::Histogram;

use super::report::Report;

/// Powers of two whose buckets are written: sizes from below 64 bytes to below 1 GiB.
const SIZES: std::ops::RangeInclusive<u32> = 6..=30;
/// The same for times: from 128 ns to 17 s.
const TIMES: std::ops::RangeInclusive<u32> = 7..=34;

/// Family of the times. It has the labels of a histogram's buckets, so that `histogram_quantile()` accepts it.
const DURATIONS: &str = "knem_copy_duration_seconds_cumulative_total";

/// Returns the whole text.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> Result {
    let version = escaped(report.module_version.as_deref().unwrap_or(""));
    let abi = report.statistics.as_ref().map(|statistics| statistics.abi.to_string()).unwrap_or_default();
    family(out, "knem_info", "gauge", "The driver: its version, and the version of its interface.")?;
    writeln!(out, "knem_info{{abi=\"{abi}\",version=\"{version}\"}} 1")?;
    write_counters(out, report)?;
    if let Some(profile) = &report.profile {
        write_profile(out, profile)?;
    }
    Ok(())
}

fn write_counters(out: &mut String, report: &Report) -> Result {
    for (key, name, help) in [
        ("requests_submitted", "knem_requests_submitted_total", "Requests that passed the first checks."),
        ("processed_total", "knem_requests_processed_total", "Requests that were accepted."),
        ("processed_dma", "knem_requests_processed_dma_total", "Accepted requests that a DMA engine copied."),
        ("processed_thread", "knem_requests_processed_thread_total", "Accepted requests that a kernel thread copied."),
        (
            "processed_pinned",
            "knem_requests_processed_pinned_total",
            "Accepted requests that pinned the caller's pages.",
        ),
        ("dma_cleanup_timeout", "knem_dma_timeouts_total", "Times that a timer had to clean up after a DMA engine."),
        ("unknown_flags", "knem_commands_unknown_flags_total", "Commands with flags that the driver ignores."),
    ] {
        if let Some(counter) = report.counters.iter().find(|counter| counter.key == key) {
            family(out, name, "counter", help)?;
            writeln!(out, "{name} {}", counter.value)?;
        }
    }
    for (prefix, name, help) in [
        ("rejected_", "knem_requests_rejected_total", "Requests that were refused, by cause."),
        ("failed_", "knem_requests_failed_total", "Requests that failed during the copy, by cause."),
    ] {
        let counters = report.counters.iter().filter_map(|counter| Some((counter.key.strip_prefix(prefix)?, counter)));
        family(out, name, "counter", help)?;
        for (cause, counter) in counters {
            writeln!(out, "{name}{{cause=\"{cause}\"}} {}", counter.value)?;
        }
    }
    Ok(())
}

fn write_profile(out: &mut String, profile: &Profile) -> Result {
    for (name, help, value) in [
        ("knem_pinned_bytes", "Memory that is pinned now.", profile.pinned_bytes),
        ("knem_pinned_peak_bytes", "Peak of the pinned memory.", profile.pinned_bytes_peak),
        ("knem_contexts", "Contexts: opens of the device for writing.", profile.contexts),
        ("knem_regions", "Regions that have memory.", profile.regions),
        ("knem_regions_unpinned", "Regions that are pinned only while they are copied.", profile.regions_unpinned),
    ] {
        family(out, name, "gauge", help)?;
        writeln!(out, "{name} {value}")?;
    }
    family(out, "knem_counting_seconds", "gauge", "Time since the driver was loaded or its counters cleared.")?;
    writeln!(out, "knem_counting_seconds {}", seconds(profile.age_ns))?;
    for (name, help, value) in [
        ("knem_copied_bytes_total", "Bytes of copies that succeeded.", (|copies| copies.bytes) as fn(&Copies) -> u64),
        ("knem_copies_failed_total", "Copies that failed.", |copies| copies.failed),
    ] {
        family(out, name, "counter", help)?;
        for copies in &profile.paths {
            writeln!(out, "{name}{{path=\"{}\"}} {}", copies.path, value(copies))?;
        }
    }
    family(out, "knem_copy_size_bytes", "histogram", "Copies by size; the sum leaves out copies that failed.")?;
    for copies in &profile.paths {
        let written = |value: u64| value.to_string();
        buckets(out, "knem_copy_size_bytes_bucket", copies.path, &copies.sizes, SIZES, written)?;
        writeln!(out, "knem_copy_size_bytes_sum{{path=\"{}\"}} {}", copies.path, copies.bytes)?;
        writeln!(out, "knem_copy_size_bytes_count{{path=\"{}\"}} {}", copies.path, copies.sizes.count())?;
    }
    // Not a histogram for Prometheus, since it has no sum: the node exporter would add a sum of 0.
    family(out, DURATIONS, "counter", "Copies that took at most le seconds.")?;
    for copies in &profile.paths {
        buckets(out, DURATIONS, copies.path, &copies.times, TIMES, seconds)?;
    }
    family(out, "knem_calls_refused_total", "counter", "Calls that returned an error.")?;
    for refused in &profile.refused {
        let (call, errno) = (escaped(&refused.call), escaped(&refused.errno));
        writeln!(out, "knem_calls_refused_total{{call=\"{call}\",errno=\"{errno}\"}} {}", refused.count)?;
    }
    family(out, "knem_refusals_total", "counter", "Refusals by reason.")?;
    for reason in &profile.reasons {
        writeln!(out, "knem_refusals_total{{reason=\"{}\"}} {}", escaped(&reason.name), reason.count)?;
    }
    Ok(())
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) -> Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Writes the buckets of a histogram, cumulative.
fn buckets(
    out: &mut String,
    name: &str,
    path: &str,
    histogram: &Histogram,
    powers: std::ops::RangeInclusive<u32>,
    written: impl Fn(u64) -> String,
) -> Result {
    for power in powers {
        let greatest = (1u64 << power) - 1;
        writeln!(out, "{name}{{path=\"{path}\",le=\"{}\"}} {}", written(greatest), histogram.up_to(greatest))?;
    }
    writeln!(out, "{name}{{path=\"{path}\",le=\"+Inf\"}} {}", histogram.count())
}

/// Converts nanoseconds to seconds, exactly.
fn seconds(nanoseconds: u64) -> String {
    let (whole, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let text = format!("{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Escapes the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
