// SPDX-License-Identifier: CECILL-B
//! Results of a benchmark, as a table and as JSON. Formats do not measure.

use serde::Serialize;

use super::times::Summary;
use crate::sizes::format_size;

/// Results for one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Bytes of each copy.
    pub(crate) size: usize,
    /// Copies that count.
    pub(crate) iterations: u32,
    /// Time of a copy.
    pub(crate) copy: Summary,
    /// Cost of a region of that size.
    pub(crate) region_cost: Option<RegionCost>,
    /// The bytes of every copy have been compared.
    pub(crate) verified: bool,
}

/// Cost of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionCost {
    /// Time to create it.
    pub(crate) create: Summary,
    /// Time to destroy it.
    pub(crate) destroy: Summary,
}

/// Heading of the table.
pub(crate) fn heading() -> String {
    format!("{:>10} {:>12} {:>12} {:>12} {:>12}\n", "size", "best MiB/s", "median MiB/s", "create ns", "destroy ns")
}

impl Row {
    /// A line of the table.
    pub(crate) fn line(&self) -> String {
        let cost = |time: fn(&RegionCost) -> u64| {
            self.region_cost.as_ref().map_or_else(|| "-".to_owned(), |cost| time(cost).to_string())
        };
        format!(
            "{:>10} {:>12.1} {:>12.1} {:>12} {:>12}  {}\n",
            format_size(self.size),
            self.mebibytes_per_second(self.copy.best_ns),
            self.mebibytes_per_second(self.copy.median_ns),
            cost(|cost| cost.create.median_ns),
            cost(|cost| cost.destroy.median_ns),
            if self.verified { "verified" } else { "not verified" }
        )
    }

    #[allow(clippy::cast_precision_loss)] // It is rounded to a tenth anyway.
    fn mebibytes_per_second(&self, nanoseconds: u64) -> f64 {
        (self.size as f64 / f64::from(1 << 20)) / (nanoseconds as f64 / 1e9)
    }

    fn bytes_per_second(&self, nanoseconds: u64) -> u64 {
        let bytes_seconds = (self.size as u128).saturating_mul(1_000_000_000);
        u64::try_from(bytes_seconds / u128::from(nanoseconds.max(1))).unwrap_or(u64::MAX)
    }
}

/// A benchmark, for programs.
#[derive(Serialize)]
pub(crate) struct Results {
    direction: &'static str,
    verified: bool,
    results: Vec<Result>,
}

/// Results for one size, for programs.
#[derive(Serialize)]
struct Result {
    size_bytes: usize,
    iterations: u32,
    best_ns: u64,
    median_ns: u64,
    best_bytes_per_second: u64,
    median_bytes_per_second: u64,
    region_create_best_ns: Option<u64>,
    region_create_median_ns: Option<u64>,
    region_destroy_best_ns: Option<u64>,
    region_destroy_median_ns: Option<u64>,
    verified: bool,
}

impl Results {
    /// The results of a benchmark in this direction.
    pub(crate) fn new(write: bool, rows: &[Row]) -> Self {
        Self {
            direction: if write { "write" } else { "read" },
            verified: rows.iter().all(|row| row.verified),
            results: rows.iter().map(Result::from).collect(),
        }
    }
}

impl From<&Row> for Result {
    fn from(row: &Row) -> Self {
        let cost = row.region_cost;
        Self {
            size_bytes: row.size,
            iterations: row.iterations,
            best_ns: row.copy.best_ns,
            median_ns: row.copy.median_ns,
            best_bytes_per_second: row.bytes_per_second(row.copy.best_ns),
            median_bytes_per_second: row.bytes_per_second(row.copy.median_ns),
            region_create_best_ns: cost.map(|cost| cost.create.best_ns),
            region_create_median_ns: cost.map(|cost| cost.create.median_ns),
            region_destroy_best_ns: cost.map(|cost| cost.destroy.best_ns),
            region_destroy_median_ns: cost.map(|cost| cost.destroy.median_ns),
            verified: row.verified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn row() -> Row {
        let summary = |best_ns, median_ns| Summary { best_ns, median_ns };
        Row {
            size: 4 << 20,
            iterations: 7,
            copy: summary(1_000_000, 2_000_000),
            region_cost: Some(RegionCost { create: summary(100, 200), destroy: summary(30, 40) }),
            verified: true,
        }
    }

    #[test]
    fn the_table_has_aligned_columns() {
        let unverified = Row { size: 4097, region_cost: None, verified: false, ..row() };
        assert_eq!(
            heading() + &row().line() + &unverified.line(),
            "      size   best MiB/s median MiB/s    create ns   destroy ns
     4 MiB       4000.0       2000.0          200           40  verified
    4097 B          3.9          2.0            -            -  not verified
"
        );
    }

    #[test]
    fn programs_get_integers_with_units() {
        let text = Document::new("knem-bench", 1, Results::new(false, &[row()])).text().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "knem-bench");
        assert_eq!(value["direction"], "read");
        let result = &value["results"][0];
        assert_eq!(result["size_bytes"], 4 << 20);
        assert_eq!(result["best_bytes_per_second"], 4_194_304_000_u64);
        assert_eq!(result["region_create_best_ns"], 100);
        assert_eq!(result["verified"], true);
    }
}
