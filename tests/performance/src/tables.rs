// SPDX-License-Identifier: CECILL-B
//! The measurements as tables and a plot.

use anyhow::{Context, Result};
use knem_report::plot::{bandwidth, size as size_text, Line};
use knem_report::ratio::Quartiles;

use crate::record::Record;

/// Columns of ratios: heading, method, and the method it is compared with.
const RATIOS: [(&str, &str, &str); 7] = [
    ("inline read / CMA", "knem-cached", "vmread"),
    ("inline write / CMA", "knem-write", "vmwrite"),
    ("region / CMA", "knem-region", "vmread"),
    ("inline / memcpy", "knem-cached", "memcpy"),
    ("region / memcpy", "knem-region", "memcpy"),
    ("inline / two copies", "knem-cached", "shm"),
    ("one-shot / CMA", "knem-oneshot", "vmread"),
];

/// Lines of the plot.
const LINES: [(&str, &str); 3] = [("KNEM", "knem-cached"), ("CMA", "vmread"), ("two copies", "shm")];

/// Returns the ratios of speeds, a line for each size.
///
/// # Errors
/// If something was not measured.
pub fn ratios(record: &Record) -> Result<String> {
    let mut text = "| Size | inline read | ".to_owned();
    text.push_str(&RATIOS.map(|(heading, _, _)| heading).join(" | "));
    text.push_str(" |\n|---|---|");
    text.push_str(&"---|".repeat(RATIOS.len()));
    text.push('\n');
    for size in record.sizes() {
        let time = record.time("knem-cached", size).context("knem-cached was not measured")?;
        text.push_str(&format!("| {} | {:.1} us |", size_text(size as f64), time / 1000.0));
        for (heading, method, peer) in RATIOS {
            let Quartiles { low, median, high } = record.ratio(method, peer, size).context(heading)?;
            text.push_str(&format!(" {median:.2} ({low:.2} to {high:.2}) |"));
        }
        text.push('\n');
    }
    text.push('\n');
    Ok(text)
}

/// Returns the copies concurrent with work, and the costs of regions.
///
/// # Errors
/// If something was not measured.
pub fn others(record: &Record) -> Result<String> {
    let mut text = "| Size | into | submit | copy alone | hidden |\n|---|---|---|---|---|\n".to_owned();
    for size in record.sizes() {
        for into in ["memory", "region"] {
            let Some(overlap) = record.overlap(size, into) else { continue };
            text.push_str(&format!(
                "| {} | {into} | {:.1} us | {:.1} us | {:.0} % |\n",
                size_text(size as f64),
                overlap.submit_median_ns / 1000.0,
                overlap.copy_median_ns / 1000.0,
                overlap.hidden_permille / 10.0
            ));
        }
    }
    text.push_str("\n| Region | create | destroy |\n|---|---|---|\n");
    for size in record.sizes() {
        let (create, destroy) = record.region(size).context("the cost of regions was not measured")?;
        text.push_str(&format!(
            "| {} | {:.1} us | {:.1} us |\n",
            size_text(size as f64),
            create / 1000.0,
            destroy / 1000.0
        ));
    }
    text.push('\n');
    Ok(text)
}

/// Returns a plot of bandwidth over size as SVG.
///
/// # Errors
/// If something was not measured.
pub fn plot(record: &Record) -> Result<String> {
    let mut lines = Vec::new();
    for (name, method) in LINES {
        let point = |size: &u64| Some((*size as f64, *size as f64 / record.time(method, *size)?));
        let points: Vec<(f64, f64)> = record.sizes().iter().filter(|size| **size >= 4096).filter_map(point).collect();
        lines.push(Line { name: name.to_owned(), points });
    }
    bandwidth("One copy between two processes, in User Mode Linux", &lines)
}
