// SPDX-License-Identifier: CECILL-B
//! Histograms as text: a line for each power of two, with the copies by path and a bar for their sum.

use knem::profile::{Copies, Profile};
use knem::{Bucket, Histogram};

use super::numbers::Numbers;
use crate::table::{Column, Table};
use crate::units::float;

/// Length of the longest bar.
const BAR: usize = 24;

/// Which histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// Copies by their size.
    Sizes,
    /// Copies by the time they took.
    Times,
}

impl Distribution {
    /// Returns the table, with bars for people.
    pub(crate) fn table(self, profile: &Profile, numbers: Numbers, bars: bool) -> Table {
        let (head, all) = match self {
            Self::Sizes => ("SIZE FROM", profile.sizes()),
            Self::Times => ("TIME FROM", profile.times()),
        };
        let mut columns = vec![Column::right(head), Column::right("COPIES").at_least(6)];
        columns.extend(["MAPPED", "PINNED", "THREAD", "DMA"].map(|head| Column::right(head).at_least(6)));
        columns.extend(bars.then(|| Column::left("")));
        let mut table = Table::new(&columns);
        let most = all.buckets().map(|bucket| bucket.count).max().unwrap_or(1);
        for Bucket { least, count } in between_ends(&all) {
            let from = match self {
                Self::Sizes => numbers.bytes(float(least)),
                Self::Times => numbers.time(float(least)),
            };
            let by_path = profile.paths.iter().map(|copies| numbers.count(float(at(self.of(copies), least))));
            let mut cells = vec![from, numbers.count(float(count))];
            cells.extend(by_path);
            cells.extend(bars.then(|| bar(count, most)));
            table.row(cells);
        }
        table
    }

    fn of(self, copies: &Copies) -> &Histogram {
        match self {
            Self::Sizes => &copies.sizes,
            Self::Times => &copies.times,
        }
    }
}

/// Returns the buckets from the first to the last that is not empty.
fn between_ends(histogram: &Histogram) -> Vec<Bucket> {
    let ends: Vec<u64> = histogram.buckets().map(|bucket| bucket.least).collect();
    match (ends.first(), ends.last()) {
        (Some(first), Some(last)) => {
            histogram.all().filter(|bucket| (*first..=*last).contains(&bucket.least)).collect()
        }
        _ => Vec::new(),
    }
}

fn at(histogram: &Histogram, least: u64) -> u64 {
    histogram.all().find(|bucket| bucket.least == least).map_or(0, |bucket| bucket.count)
}

/// Returns a bar of proportional length, at least one character if the count is not 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn bar(count: u64, most: u64) -> String {
    let length = (float(count) / float(most) * BAR as f64).round() as usize;
    "#".repeat(length.max(usize::from(count != 0)))
}

#[cfg(test)]
mod tests {
    use super::bar;

    #[test]
    fn bars_are_shares() {
        assert_eq!(bar(10, 10).len(), 24);
        assert_eq!(bar(5, 10).len(), 12);
        assert_eq!(bar(1, 1_000_000).len(), 1);
        assert_eq!(bar(0, 10).len(), 0);
    }
}
