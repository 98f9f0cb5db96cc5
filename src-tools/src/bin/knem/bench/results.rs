// SPDX-License-Identifier: CECILL-B
//! Results of a benchmark: everything that the outputs show, computed once.

use super::environment::Environment;
use super::methods::Method;
use super::times::Summary;

/// Results for one method and size, as measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The method.
    pub(crate) method: Method,
    /// Copied into the second process instead of from it.
    pub(crate) into_peer: bool,
    /// Size of each copy.
    pub(crate) size: usize,
    /// Times of the copies.
    pub(crate) times: Summary,
    /// Every byte of every copy was compared.
    pub(crate) verified: bool,
}

/// Results for one method and size, compared with others of that size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    /// The measured results.
    pub(crate) row: Row,
    /// Bandwidth of the median, in bytes per second.
    pub(crate) bandwidth: u64,
    /// Bandwidth of the best copy, in bytes per second.
    pub(crate) best_bandwidth: u64,
    /// Bandwidth in thousandths of memcpy's.
    pub(crate) of_memcpy_permille: Option<u64>,
    /// Bandwidth in thousandths of that of the fastest peer.
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
    /// By size.
    pub(crate) regions: Vec<RegionCost>,
}

impl Results {
    /// Compares the measured results.
    pub(crate) fn new(
        environment: Environment,
        (skipped, left_out): (Vec<Skipped>, Option<LeftOut>),
        rows: &[Row],
        regions: Vec<RegionCost>,
    ) -> Self {
        let rows = rows.iter().map(|row| compare(*row, rows)).collect();
        Self { environment, skipped, left_out, rows, regions }
    }

    /// Whether every byte of every copy was compared.
    pub(crate) fn verified(&self) -> bool {
        self.rows.iter().all(|compared| compared.row.verified)
    }
}

fn compare(row: Row, rows: &[Row]) -> Compared {
    let of_size = || rows.iter().filter(|other| other.size == row.size);
    let memcpy = of_size().find(|other| other.method == Method::Memcpy).map(|other| other.times.median_ns);
    let best_peer = of_size().filter(|other| other.method.is_peer()).map(|other| other.times.median_ns).min();
    // The size is the same, so the ratio of bandwidths is the inverse ratio of times.
    let permille = |reference: u64| reference.saturating_mul(1000) / row.times.median_ns.max(1);
    Compared {
        row,
        bandwidth: bytes_per_second(row.size, row.times.median_ns),
        best_bandwidth: bytes_per_second(row.size, row.times.best_ns),
        of_memcpy_permille: memcpy.map(permille),
        of_best_peer_permille: best_peer.map(permille),
    }
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
            Row { method, into_peer, size, times: times(start + size as u64 * 1_000 / bytes_per_us), verified: true }
        };
        let rows: Vec<Row> = sizes.iter().flat_map(|size| methods.iter().map(|method| row(*method, *size))).collect();
        let region = |size: &usize| RegionCost {
            size: *size,
            create: times(900 + *size as u64 / 100),
            destroy: times(400 + *size as u64 / 200),
        };
        let regions =
            if methods.iter().any(|method| method.is_knem()) { sizes.iter().map(region).collect() } else { Vec::new() };
        let skipped = if methods.contains(&Method::Xpmem) {
            Vec::new()
        } else {
            vec![Skipped { method: Method::Xpmem, reason: "not here (/dev/xpmem does not exist)".to_owned() }]
        };
        Results::new(environment(), (skipped, None), &rows, regions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_size() {
        let methods = [Method::KnemCached, Method::VmRead, Method::Shm, Method::Memcpy];
        let results = samples::results(&methods, &[4096, 1 << 20]);
        let large = results.rows[4];
        assert_eq!((large.row.method, large.row.size), (Method::KnemCached, 1 << 20));
        // 1200 + 2^20/9 ns against 60 + 2^20/11 and 1700 + 2^20/5.5.
        assert_eq!(large.of_memcpy_permille, Some(95_385 * 1000 / 117_708));
        assert_eq!(large.of_best_peer_permille, Some(192_350 * 1000 / 117_708));
        assert_eq!(results.rows[7].of_memcpy_permille, Some(1000));
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
