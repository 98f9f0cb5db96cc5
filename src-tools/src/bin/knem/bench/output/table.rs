// SPDX-License-Identifier: CECILL-B
//! Output as a table for people.

use std::fmt::Write;

use crate::bench::overlap::Overlap;
use crate::bench::results::{Beside, Compared, LeftOut, RegionCost, Results};
use crate::sizes::format_size;
use crate::style::{Styled, FAINT, GOOD, NOTE};
use crate::table::{Column, Table, MISSING};
use crate::units::{float, nanoseconds};

/// Returns the whole text: environment, skipped methods and sizes, copies, and the cost of regions.
pub(crate) fn text(results: &Results) -> String {
    let mut text = head(results);
    text += &left_out(results);
    let _ = write!(text, "\n{}", copies(&results.rows));
    let Beside { regions, overlaps } = &results.beside;
    if !regions.is_empty() {
        let _ = write!(text, "\nCost of a region, median:\n{}", costs(regions));
    }
    if !overlaps.is_empty() {
        let _ =
            write!(text, "\nCopies by the worker thread beside work of the process, median:\n{}", overlap(overlaps));
    }
    text
}

/// Returns the skipped methods, one per line, and the skipped sizes, with the reasons.
pub(crate) fn left_out(results: &Results) -> String {
    let mut text = String::new();
    for skipped in &results.skipped {
        let _ = writeln!(text, "Not measured: {}: {}", skipped.method.name(), skipped.reason);
    }
    if let Some(LeftOut { sizes, reason }) = &results.left_out {
        let sizes: Vec<String> = sizes.iter().map(|size| format_size(*size)).collect();
        let _ = writeln!(text, "Not measured: {}: {reason}", sizes.join(", "));
    }
    text
}

fn head(results: &Results) -> String {
    let of = &results.environment;
    let driver = of.module_version.as_ref().map(|version| format!(", KNEM {version}")).unwrap_or_default();
    let mut text = format!("{}, Linux {}{driver}, {}\n", of.host, of.kernel, of.processor);
    let _ = writeln!(text, "CPUs {} and {}: {}", of.first_cpu, of.second_cpu, of.relation);
    let rounds = if of.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", of.rounds) };
    let _ = writeln!(text, "Caches {}, {rounds}, --seed {}, {}", of.caches(), of.seed, of.started);
    if of.virtual_machine {
        let _ = writeln!(text, "This is a virtual machine: the results are not those of the hardware.");
    }
    text
}

/// Returns a line for each method and size. The last word shows whether the bytes were compared.
fn copies(rows: &[Compared]) -> String {
    let mut table = Table::new(&[
        Column::right("SIZE"),
        Column::left("METHOD"),
        Column::right("MiB/s"),
        Column::right("TIME"),
        Column::right("P10"),
        Column::right("P90"),
        Column::right("MEMCPY"),
        Column::right("PEER"),
        Column::left("BYTES"),
    ]);
    for compared in rows {
        let (row, times) = (&compared.row, &compared.row.times);
        let ratio = |permille: Option<u64>| {
            permille.map_or_else(|| MISSING.to_owned(), |permille| format!("{:.2}x", float(permille) / 1000.0))
        };
        let peer = ratio(compared.of_best_peer_permille);
        let peer = match compared.of_best_peer_permille {
            Some(1001..) if row.method.is_knem() => Styled(GOOD, peer).to_string(),
            Some(..=999) if row.method.is_knem() => Styled(NOTE, peer).to_string(),
            _ => peer,
        };
        table.row([
            format_size(row.size),
            row.method.name().to_owned(),
            format!("{:.1}", float(compared.bandwidth) / f64::from(1 << 20)),
            nanoseconds(float(times.median_ns)),
            Styled(FAINT, nanoseconds(float(times.p10_ns))).to_string(),
            Styled(FAINT, nanoseconds(float(times.p90_ns))).to_string(),
            ratio(compared.of_memcpy_permille),
            peer,
            (if row.verified { "verified" } else { "not verified" }).to_owned(),
        ]);
    }
    table.text()
}

fn costs(regions: &[RegionCost]) -> String {
    let mut table = Table::new(&[Column::right("REGION"), Column::right("CREATE"), Column::right("DESTROY")]);
    for cost in regions {
        table.row([
            format_size(cost.size),
            nanoseconds(float(cost.create.median_ns)),
            nanoseconds(float(cost.destroy.median_ns)),
        ]);
    }
    table.text()
}

fn overlap(overlaps: &[Overlap]) -> String {
    let mut table = Table::new(&[
        Column::right("SIZE"),
        Column::left("INTO"),
        Column::right("SUBMIT"),
        Column::right("COPY"),
        Column::right("BOTH"),
        Column::right("HIDDEN"),
    ]);
    for overlap in overlaps {
        table.row([
            format_size(overlap.size),
            into(overlap).to_owned(),
            nanoseconds(float(overlap.submit.median_ns)),
            nanoseconds(float(overlap.copy.median_ns)),
            nanoseconds(float(overlap.together.median_ns)),
            format!("{:.0}%", float(overlap.hidden_permille) / 10.0),
        ]);
    }
    table.text()
}

/// Word for where a copy goes.
pub(crate) fn into(overlap: &Overlap) -> &'static str {
    if overlap.regions {
        "region"
    } else {
        "memory"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::methods::Method;
    use crate::bench::results::samples;

    fn plain(results: &Results) -> String {
        anstream::adapter::strip_str(&text(results)).to_string()
    }

    #[test]
    fn fits_a_small_terminal() {
        let methods: Vec<Method> = Method::ALL.into_iter().filter(|method| *method != Method::Xpmem).collect();
        let text = plain(&samples::results(&methods, &[4096, 4097, 64 << 20]));
        insta::assert_snapshot!("bench_table", text);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn one_method_has_nothing_to_be_compared_with() {
        let mut results = samples::results(&[Method::KnemCached], &[1 << 20]);
        results.environment.virtual_machine = true;
        results.environment.rounds = 1;
        results.left_out = Some(LeftOut {
            sizes: vec![8 << 20, 16 << 20],
            reason: "cannot pin that much: raise the limit".to_owned(),
        });
        results.environment.evicted_bytes = 64 << 20;
        results.rows[0].row.verified = false;
        insta::assert_snapshot!("bench_table_single", plain(&results));
    }
}
