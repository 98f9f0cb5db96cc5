// SPDX-License-Identifier: CECILL-B
//! Results of a benchmark: everything that the outputs show, computed once.

use super::environment::Environment;
use super::methods::Method;
use super::overlap::Overlap;
use super::times::{Rounds, Summary};

/// Results for one method and size, as measured.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The method.
    pub(crate) method: Method,
    /// Copied into the second process instead of from it.
    pub(crate) into_peer: bool,
    /// Size of each copy.
    pub(crate) size: usize,
    /// Times of the copies.
    pub(crate) times: Summary,
    /// Median in each round.
    pub(crate) rounds: Rounds,
    /// Every byte of every copy was compared.
    pub(crate) verified: bool,
}

/// Results for one method and size, compared with others of that size.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    /// The measured results.
    pub(crate) row: Row,
    /// Bandwidth of the median, in bytes per second.
    pub(crate) bandwidth: u64,
    /// Bandwidth of the best copy, in bytes per second.
    pub(crate) best_bandwidth: u64,
    /// Bandwidth in thousandths of memcpy's: the median of the ratios of each round.
    pub(crate) of_memcpy_permille: Option<u64>,
    /// Bandwidth in thousandths of that of the fastest peer, likewise.
    pub(crate) of_best_peer_permille: Option<u64>,
}

/// Cost of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegionCost {
    /// Its size.
    pub(crate) size: usize,
    /// Time to create it.
    pub(crate) create: Summary,
    /// Time to destroy it.
    pub(crate) destroy: Summary,
}

/// A method that was not measured, and why.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    /// The method.
    pub(crate) method: Method,
    /// Reason.
    pub(crate) reason: String,
}

/// Sizes that were not measured, and why.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// The sizes.
    pub(crate) sizes: Vec<usize>,
    /// Reason.
    pub(crate) reason: String,
}

/// A whole benchmark.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    /// Environment of the measurement.
    pub(crate) environment: Environment,
    /// Methods that were skipped.
    pub(crate) skipped: Vec<Skipped>,
    /// Sizes that were skipped.
    pub(crate) left_out: Option<LeftOut>,
    /// By size, then by method.
    pub(crate) rows: Vec<Compared>,
    /// What else was measured.
    pub(crate) beside: Beside,
}

/// What is measured beside the copies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// Cost of regions, by size.
    pub(crate) regions: Vec<RegionCost>,
    /// Overlap of copies and work, by size.
    pub(crate) overlaps: Vec<Overlap>,
}

impl Results {
    /// Compares the measured results.
    pub(crate) fn new(
        environment: Environment,
        (skipped, left_out): (Vec<Skipped>, Option<LeftOut>),
        rows: &[Row],
        beside: Beside,
    ) -> Self {
        let rows = rows.iter().map(|row| compare(row, rows)).collect();
        Self { environment, skipped, left_out, rows, beside }
    }

    /// Whether every byte of every copy was compared.
    pub(crate) fn verified(&self) -> bool {
        self.rows.iter().all(|compared| compared.row.verified)
    }
}

fn compare(row: &Row, rows: &[Row]) -> Compared {
    let of_size = || rows.iter().filter(|other| other.size == row.size);
    let memcpy = of_size().find(|other| other.method == Method::Memcpy);
    let best_peer = of_size().filter(|other| other.method.is_peer()).min_by_key(|other| other.times.median_ns);
    Compared {
        row: row.clone(),
        bandwidth: bytes_per_second(row.size, row.times.median_ns),
        best_bandwidth: bytes_per_second(row.size, row.times.best_ns),
        of_memcpy_permille: memcpy.and_then(|memcpy| permille(&memcpy.rounds, &row.rounds)),
        of_best_peer_permille: best_peer.and_then(|peer| permille(&peer.rounds, &row.rounds)),
    }
}

/// Returns the median over the rounds of `reference / times`, in thousandths. The size is the same, so this is the
/// ratio of the bandwidths. The speed of a machine changes during a benchmark; the two times of one round are measured
/// within moments.
fn permille(reference: &Rounds, times: &Rounds) -> Option<u64> {
    let mut ratios: Vec<u64> = times
        .iter()
        .filter_map(|(round, time)| Some(reference.get(round)?.saturating_mul(1000) / (*time).max(1)))
        .collect();
    ratios.sort_unstable();
    ratios.get(ratios.len() / 2).copied()
}

/// Returns the bandwidth, rounded down.
pub(crate) fn bytes_per_second(size: usize, nanoseconds: u64) -> u64 {
    let bytes_seconds = (size as u128).saturating_mul(1_000_000_000);
    u64::try_from(bytes_seconds / u128::from(nanoseconds.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod samples {
    //! Made-up results, for tests of outputs.

    use super::*;
    use crate::bench::environment::samples::environment;

    /// Times around a median.
    pub(crate) fn times(median_ns: u64) -> Summary {
        Summary {
            count: 20,
            best_ns: median_ns - median_ns / 10,
            p10_ns: median_ns - median_ns / 20,
            median_ns,
            p90_ns: median_ns + median_ns / 5,
            median_between_ns: Some((median_ns - median_ns / 50, median_ns + median_ns / 50)),
        }
    }

    /// A benchmark with these methods and sizes; every method has a speed and a start of its own.
    pub(crate) fn results(methods: &[Method], sizes: &[usize]) -> Results {
        let row = |method: Method, size: usize| {
            let (start, bytes_per_us) = match method {
                Method::KnemCached => (1_200, 9_000),
                Method::KnemOneshot => (4_500, 8_500),
                Method::KnemAsync => (6_000, 8_800),
                Method::KnemWrite => (1_400, 8_700),
                Method::KnemRegion => (1_500, 8_600),
                Method::KnemPinned => (2_500, 8_900),
                Method::VmRead => (1_700, 5_500),
                Method::VmWrite => (1_800, 5_300),
                Method::Shm => (600, 4_200),
                Method::Xpmem => (200, 7_000),
                Method::Memcpy => (60, 11_000),
            };
            let into_peer = method.into_peer(false);
            let times = times(start + size as u64 * 1_000 / bytes_per_us);
            Row { method, into_peer, size, times, rounds: Rounds::from([(0, times.median_ns)]), verified: true }
        };
        let rows: Vec<Row> = sizes.iter().flat_map(|size| methods.iter().map(|method| row(*method, *size))).collect();
        let region = |size: &usize| RegionCost {
            size: *size,
            create: times(900 + *size as u64 / 100),
            destroy: times(400 + *size as u64 / 200),
        };
        let overlap = |size: &usize| Overlap {
            size: *size,
            regions: false,
            submit: times(800),
            copy: times(6_000 + *size as u64 / 9),
            together: times(7_000 + *size as u64 / 8),
            hidden_permille: 870,
        };
        let with_knem: &[usize] = if methods.iter().any(|method| method.is_knem()) { sizes } else { &[] };
        let with_thread: &[usize] = if methods.contains(&Method::KnemAsync) { sizes } else { &[] };
        let beside = Beside {
            regions: with_knem.iter().map(region).collect(),
            overlaps: with_thread.iter().map(overlap).collect(),
        };
        let skipped = if methods.contains(&Method::Xpmem) {
            Vec::new()
        } else {
            vec![Skipped { method: Method::Xpmem, reason: "not here (/dev/xpmem does not exist)".to_owned() }]
        };
        Results::new(environment(), (skipped, None), &rows, beside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_size() {
        let methods = [Method::KnemCached, Method::VmRead, Method::Shm, Method::Memcpy];
        let results = samples::results(&methods, &[4096, 1 << 20]);
        let large = &results.rows[4];
        assert_eq!((large.row.method, large.row.size), (Method::KnemCached, 1 << 20));
        // 1200 + 2^20/9 ns against 60 + 2^20/11 and 1700 + 2^20/5.5.
        assert_eq!(large.of_memcpy_permille, Some(95_385 * 1000 / 117_708));
        assert_eq!(large.of_best_peer_permille, Some(192_350 * 1000 / 117_708));
        assert_eq!(results.rows[7].of_memcpy_permille, Some(1000));
    }

    #[test]
    fn a_ratio_is_of_two_times_of_one_round() {
        // The machine halves its speed in the last two rounds; the first has no copy by the other method.
        let (reference, times) =
            (Rounds::from([(1, 200), (2, 400), (3, 400)]), Rounds::from([(0, 1), (1, 100), (2, 200), (3, 200)]));
        assert_eq!(permille(&reference, &times), Some(2000));
        assert_eq!(permille(&Rounds::new(), &times), None);
    }

    #[test]
    fn without_the_others_there_is_no_ratio() {
        let results = samples::results(&[Method::KnemCached], &[4096]);
        assert_eq!((results.rows[0].of_memcpy_permille, results.rows[0].of_best_peer_permille), (None, None));
        assert!(results.verified());
    }

    #[test]
    fn bandwidth_is_exact() {
        assert_eq!(bytes_per_second(4 << 20, 1_000_000), 4_194_304_000);
        assert_eq!(bytes_per_second(1, 0), 1_000_000_000);
    }
}
