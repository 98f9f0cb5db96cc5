// SPDX-License-Identifier: CECILL-B
//! Output as CSV: a line for each method and size.

use std::fmt::Write;

use super::json::direction;
use crate::bench::results::Results;

/// Returns the text. Fields are names, words and integers, which need no quotes; unknown values are empty.
pub(crate) fn text(results: &Results) -> String {
    let mut text =
        "method,direction,size_bytes,iterations,best_ns,p10_ns,median_ns,p90_ns,median_low_ns,median_high_ns,\
                    best_bytes_per_second,median_bytes_per_second,of_memcpy_permille,of_best_peer_permille,verified\n"
            .to_owned();
    let known = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    for compared in &results.rows {
        let (row, times) = (&compared.row, &compared.row.times);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            row.method.name(),
            direction(row.into_peer),
            row.size,
            times.count,
            times.best_ns,
            times.p10_ns,
            times.median_ns,
            times.p90_ns,
            known(times.median_between_ns.map(|(low, _)| low)),
            known(times.median_between_ns.map(|(_, high)| high)),
            compared.best_bandwidth,
            compared.bandwidth,
            known(compared.of_memcpy_permille),
            known(compared.of_best_peer_permille),
            row.verified
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::methods::Method;
    use crate::bench::results::samples;

    #[test]
    fn every_line_has_every_field() {
        let text = text(&samples::results(&[Method::KnemCached, Method::VmWrite], &[4096, 1 << 20]));
        insta::assert_snapshot!("bench_csv", text);
        assert!(text.lines().all(|line| line.split(',').count() == 15));
    }
}
