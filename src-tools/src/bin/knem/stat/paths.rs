// SPDX-License-Identifier: CECILL-B
//! Copies by path.

use super::numbers::Numbers;
use super::report::{mean, Report};
use crate::table::{Column, Table};
use crate::units::float;

/// Returns a line for each path, with the 50th, 90th and 99th percentile of the times.
pub(crate) fn table(report: &Report, numbers: Numbers) -> Table {
    let mut table = Table::new(&[
        Column::left("PATH"),
        Column::right("COPIES").at_least(6),
        Column::right("FAILED"),
        Column::right("BYTES").at_least(6),
        Column::right("BYTES/S"),
        Column::right("SIZE").at_least(6),
        Column::right("50%").at_least(6),
        Column::right("90%").at_least(6),
        Column::right("99%").at_least(6),
    ]);
    for copies in report.profile.iter().flat_map(|profile| &profile.paths) {
        let quantile = |part| numbers.time(copies.times.quantile(part));
        table.row([
            copies.path.to_owned(),
            numbers.count(float(copies.count())),
            numbers.count(float(copies.failed)),
            numbers.bytes(float(copies.bytes)),
            numbers.bytes(report.rate(copies.bytes)),
            numbers.bytes(mean(copies.bytes, copies.count().saturating_sub(copies.failed))),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
        ]);
    }
    table
}
