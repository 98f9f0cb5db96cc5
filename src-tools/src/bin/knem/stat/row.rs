// SPDX-License-Identifier: CECILL-B
//! A report as a line of a continuing table.

use super::numbers::Numbers;
use super::report::Report;
use crate::table::{Column, Table};
use crate::units::float;

/// Returns a table of one line, whose headers can be omitted. It fits into 80 columns if numbers have units.
pub(crate) fn row(report: &Report, numbers: Numbers) -> Table {
    let width = |people: usize, programs: usize| if numbers.exact { programs } else { people };
    let mut table = Table::new(&[
        Column::right("REQ/S").at_least(width(6, 12)),
        Column::right("BYTES/S").at_least(width(7, 16)),
        Column::right("FAILED/S").at_least(width(8, 12)),
        Column::right("REFUSED/S").at_least(width(9, 12)),
        Column::right("SIZE").at_least(width(6, 14)),
        Column::right("TIME").at_least(width(6, 14)),
        Column::right("PINNED").at_least(width(6, 14)),
        Column::right("CONTEXTS").at_least(width(8, 8)),
        Column::right("REGIONS").at_least(width(7, 8)),
    ]);
    let profile = report.profile.as_ref();
    table.row([
        numbers.count(report.rate(report.requests())),
        numbers.bytes(profile.and_then(|profile| report.rate(profile.bytes()))),
        numbers.count(report.rate(report.failed())),
        numbers.count(report.rate(report.refused())),
        numbers.bytes(report.mean_size_bytes()),
        numbers.time(report.median_time_ns()),
        numbers.bytes(profile.map(|profile| float(profile.pinned_bytes))),
        numbers.count(profile.map(|profile| float(profile.contexts))),
        numbers.count(profile.map(|profile| float(profile.regions))),
    ]);
    table
}
