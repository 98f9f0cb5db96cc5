// SPDX-License-Identifier: CECILL-B
//! Times of the same operation, and what they come to.

/// Times in nanoseconds.
#[derive(Default)]
pub(crate) struct Times(Vec<u64>);

/// What several times come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The shortest.
    pub(crate) best_ns: u64,
    /// The one in the middle; the longer one of two.
    pub(crate) median_ns: u64,
}

impl Times {
    /// One more.
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.0.push(nanoseconds);
    }

    /// Best and median; a clock that did not move counts as one nanosecond.
    pub(crate) fn summary(mut self) -> Summary {
        self.0.sort_unstable();
        let at = |index: usize| self.0.get(index).copied().unwrap_or_default().max(1);
        Summary { best_ns: at(0), median_ns: at(self.0.len() / 2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(times: &[u64]) -> (u64, u64) {
        let Summary { best_ns, median_ns } = Times(times.to_vec()).summary();
        (best_ns, median_ns)
    }

    #[test]
    fn best_and_median() {
        assert_eq!(summary(&[30, 10, 20]), (10, 20));
        assert_eq!(summary(&[40, 10, 30, 20]), (10, 30));
        assert_eq!(summary(&[7]), (7, 7));
        assert_eq!(summary(&[0, 0]), (1, 1));
    }
}
