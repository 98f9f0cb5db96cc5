// SPDX-License-Identifier: CECILL-B
//! Logarithmic axes: positions are exponents of two, with labels at integers.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

use crate::sizes::format_size;

/// Margin between the outermost values and the ends of an axis, as an exponent of two, so that markers are not cut.
const MARGIN: f64 = 0.3;

/// An axis: from one power of two to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    /// Exponents at its ends.
    pub(super) range: Range<f64>,
    /// Exponents that have labels.
    pub(super) labels: Vec<f64>,
}

impl Axis {
    /// Creates an axis for these values with at most so many labels; it ends at `whole` exponents, or with a margin
    /// around the values.
    pub(super) fn of(values: impl Iterator<Item = f64>, most_labels: i32, whole: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for power in values.filter(|value| *value > 0.0).map(f64::log2) {
            (low, high) = (low.min(power), high.max(power));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        (low, high) = if whole { (low.floor(), high.ceil()) } else { (low - MARGIN, high + MARGIN) };
        if high - low < 1.0 {
            (low, high) = ((low - 0.5).floor(), (high + 0.5).ceil());
        }
        #[allow(clippy::cast_possible_truncation)] // Powers of two of 64-bit numbers.
        let (first, last) = (low.ceil() as i32, high.floor() as i32);
        let step = ((last - first) / most_labels.max(1) + 1).max(1);
        let step = usize::try_from(step).unwrap_or(1);
        Self { range: low..high, labels: (first..=last).step_by(step).map(f64::from).collect() }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, power: &f64, (first, last): (i32, i32)) -> i32 {
        let part = (power - self.range.start) / (self.range.end - self.range.start);
        #[allow(clippy::cast_possible_truncation)] // A position in the picture.
        let position = (f64::from(first) + part * f64::from(last - first)).round() as i32;
        position
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.labels.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Formats a number of bytes.
pub(super) fn size_label(power: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A power of two that is a size.
    let size = power.exp2().round() as usize;
    format_size(size)
}

/// Formats a number of bytes per second.
pub(super) fn bandwidth_label(power: f64) -> String {
    let units = ["B/s", "KiB/s", "MiB/s", "GiB/s", "TiB/s"];
    let (mut power, mut unit) = (power, 0);
    while power >= 10.0 && unit + 1 < units.len() {
        power -= 10.0;
        unit += 1;
    }
    format!("{} {}", number(power.exp2()), units[unit])
}

/// Formats microseconds, without the unit, which the axis shows.
pub(super) fn time_label(power: f64) -> String {
    number(power.exp2())
}

fn number(value: f64) -> String {
    if value >= 1.0 {
        format!("{value:.0}")
    } else {
        format!("1/{:.0}", 1.0 / value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_powers_of_two() {
        let axis = Axis::of([4096.0, 65536.0].into_iter(), 10, false);
        let range = 12.0 - MARGIN..16.0 + MARGIN;
        assert_eq!(axis, Axis { range, labels: vec![12.0, 13.0, 14.0, 15.0, 16.0] });
        assert_eq!(axis.labels.iter().map(|power| size_label(*power)).next_back(), Some("64 KiB".to_owned()));
    }

    #[test]
    fn there_are_not_too_many() {
        let axis = Axis::of([1.0, 1e9].into_iter(), 8, true);
        assert!(axis.labels.len() <= 8, "{axis:?}");
        assert_eq!(axis.range, 0.0..30.0);
    }

    #[test]
    fn one_value_has_a_margin() {
        let axis = Axis::of([5000.0].into_iter(), 8, true);
        assert_eq!(axis.range, 12.0..13.0);
        let axis = Axis::of([4096.0].into_iter(), 8, false);
        assert!(axis.range.start < 12.0 && axis.range.end > 12.0, "{axis:?}");
        assert!(!Axis::of(std::iter::empty(), 8, true).labels.is_empty());
    }

    #[test]
    fn labels_have_units() {
        assert_eq!(bandwidth_label(30.0), "1 GiB/s");
        assert_eq!(bandwidth_label(29.0), "512 MiB/s");
        assert_eq!(bandwidth_label(3.0), "8 B/s");
        assert_eq!(time_label(5.0), "32");
        assert_eq!(time_label(-2.0), "1/4");
    }
}
