// SPDX-License-Identifier: CECILL-B
//! Times of an operation, and their summary.

use std::collections::BTreeMap;

/// Times in nanoseconds, and the median of each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    all: Vec<u64>,
    rounds: Rounds,
    /// Times of finished rounds.
    finished: usize,
}

/// Medians in nanoseconds by round; a round without a copy has none.
pub(crate) type Rounds = BTreeMap<u32, u64>;

/// Summary of several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Number of times.
    pub(crate) count: usize,
    /// The shortest.
    pub(crate) best_ns: u64,
    /// Tenth percentile.
    pub(crate) p10_ns: u64,
    /// Median; the longer of the two middle ones.
    pub(crate) median_ns: u64,
    /// Ninetieth percentile.
    pub(crate) p90_ns: u64,
    /// Confidence interval of the median at 95 %; not known from fewer than six times.
    pub(crate) median_between_ns: Option<(u64, u64)>,
}

impl Times {
    /// Adds a time.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.all.push(nanoseconds);
    }

    /// The times since the last round are those of this one.
    pub(crate) fn end_of_round(&mut self, round: u32) {
        let mut times = self.all.split_off(self.finished);
        times.sort_unstable();
        if let Some(median) = times.get(times.len() / 2) {
            self.rounds.insert(round, (*median).max(1));
        }
        self.all.append(&mut times);
        self.finished = self.all.len();
    }

    /// The median of each round.
    pub(crate) fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// Returns the summary; a time of 0 counts as one nanosecond.
    pub(crate) fn summary(mut self) -> Summary {
        self.all.sort_unstable();
        let count = self.all.len();
        let at = |index: usize| self.all.get(index).copied().unwrap_or_default().max(1);
        // The nearest rank: an observed time, not an interpolation.
        let percentile = |percent: usize| at((count * percent).div_ceil(100).saturating_sub(1));
        Summary {
            count,
            best_ns: at(0),
            p10_ns: percentile(10),
            median_ns: at(count / 2),
            p90_ns: percentile(90),
            median_between_ns: median_ranks(count).map(|(low, high)| (at(low), at(high))),
        }
    }
}

/// Returns the ranks of the sorted times, from 0, between which the median is with a confidence of at least 95 %.
///
/// The number of times below the median has a binomial distribution, whatever the distribution of the times is. So the
/// interval omits as many at each end as have a probability of at most 2.5 %.
fn median_ranks(count: usize) -> Option<(usize, usize)> {
    // Above this, 0.5 to that power underflows, and the interval is narrow anyway.
    const MOST: usize = 1000;
    let scale = count.div_ceil(MOST).max(1);
    let sample = count / scale;
    let mut term = 0.5f64.powi(i32::try_from(sample).ok()?);
    let (mut below, mut left_out) = (0.0, 0);
    while left_out < sample {
        below += term;
        if below > 0.025 {
            break;
        }
        left_out += 1;
        #[allow(clippy::cast_precision_loss)] // At most a thousand.
        let ratio = (sample - left_out + 1) as f64 / left_out as f64;
        term *= ratio;
    }
    let left_out = left_out * scale;
    (left_out > 0 && 2 * left_out <= count).then(|| (left_out - 1, count - left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(times: &[u64]) -> Summary {
        Times { all: times.to_vec(), ..Times::default() }.summary()
    }

    #[test]
    fn best_and_median() {
        let interval = |times| {
            let Summary { best_ns, median_ns, .. } = summary(times);
            (best_ns, median_ns)
        };
        assert_eq!(interval(&[30, 10, 20]), (10, 20));
        assert_eq!(interval(&[40, 10, 30, 20]), (10, 30));
        assert_eq!(interval(&[7]), (7, 7));
        assert_eq!(interval(&[0, 0]), (1, 1));
    }

    #[test]
    fn percentiles_are_observed_times() {
        let times: Vec<u64> = (1..=10).rev().map(|n| n * 10).collect();
        let Summary { count, p10_ns, p90_ns, .. } = summary(&times);
        assert_eq!((count, p10_ns, p90_ns), (10, 10, 90));
        let Summary { p10_ns, p90_ns, .. } = summary(&[5]);
        assert_eq!((p10_ns, p90_ns), (5, 5));
    }

    #[test]
    fn a_round_has_its_own_median() {
        let mut times = Times::default();
        for (round, of_round) in [(0, vec![3, 1, 2]), (1, vec![]), (2, vec![30, 10])] {
            of_round.into_iter().for_each(|time| times.add(time));
            times.end_of_round(round);
        }
        assert_eq!(times.rounds(), &Rounds::from([(0, 2), (2, 30)]));
        assert_eq!(times.summary().count, 5);
    }

    #[test]
    fn the_interval_is_that_of_tables() {
        // Ranks, counted from 1, as printed in tables of the sign test for 95 %.
        for (count, ranks) in [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))] {
            assert_eq!(median_ranks(count).map(|(low, high)| (low + 1, high + 1)), Some(ranks), "{count}");
        }
        assert_eq!(median_ranks(5), None);
        assert_eq!(median_ranks(0), None);
        let (low, high) = median_ranks(100_000).unwrap();
        assert!(low < 50_000 && 50_000 < high);
    }
}
