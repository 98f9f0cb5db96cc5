// SPDX-License-Identifier: CECILL-B
//! Medians and quartiles. The speed of a machine varies over time: a ratio is computed from two times of one round, and
//! the median of these ratios is reported, not the ratio of two medians.

/// Quartiles of measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// The first quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The third quartile.
    pub high: f64,
}

impl Quartiles {
    /// Returns the quartiles of the values, or none without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted.get((sorted.len().saturating_sub(1) * part + 2) / 4).copied();
        Some(Self { low: at(1)?, median: at(2)?, high: at(3)? })
    }

    /// Returns the quartiles of `above[i] / below[i]`, the times of each round.
    pub fn of_ratios(above: &[f64], below: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> =
            above.iter().zip(below).filter(|(_, below)| **below > 0.0).map(|(above, below)| above / below).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_and_many() {
        assert_eq!(Quartiles::of(&[]), None);
        assert_eq!(Quartiles::of(&[3.0]), Some(Quartiles { low: 3.0, median: 3.0, high: 3.0 }));
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(Quartiles::of(&values), Some(Quartiles { low: 25.0, median: 50.0, high: 75.0 }));
    }

    #[test]
    fn a_ratio_is_of_one_round() {
        // A machine that halves its speed in the last rounds: each round has the ratio 2.
        let (above, below) = ([2.0, 2.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0]);
        assert_eq!(Quartiles::of_ratios(&above, &below).expect("ratios").median, 2.0);
    }
}
