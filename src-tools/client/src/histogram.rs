// SPDX-License-Identifier: CECILL-B
//! Histograms in powers of two, as the driver keeps them.

use knem_core::logic::histogram::{bucket, least, BUCKETS};
use serde::ser::{Serialize, SerializeSeq, Serializer};

/// A histogram. Each bucket counts the values from a power of two to below the next; the last one counts all larger
/// values as well.
///
/// ```
/// let mut sizes = knem::Histogram::default();
/// sizes.add(4096, 3); // three copies of 4096 to 8191 bytes
/// sizes.add(65536, 1);
/// assert_eq!(sizes.count(), 4);
/// assert_eq!(sizes.quantile(1.0), Some(131072.0));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram([u64; BUCKETS]);

/// A bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bucket {
    /// The smallest value of the bucket. The largest is less than twice as much.
    pub least: u64,
    /// Number of values.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    /// Adds a value `times` times.
    pub fn add(&mut self, value: u64, times: u64) {
        if let Some(count) = self.0.get_mut(bucket(value)) {
            *count = count.saturating_add(times);
        }
    }

    /// Adds another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Iterates over the buckets that are not empty, in ascending order.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.all().filter(|bucket| bucket.count != 0)
    }

    /// Iterates over all buckets.
    pub fn all(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.0.iter().enumerate().map(|(n, count)| Bucket { least: least(n), count: *count })
    }

    /// Returns the number of values in the buckets up to that of `value`.
    #[must_use]
    pub fn up_to(&self, value: u64) -> u64 {
        self.0.iter().take(bucket(value) + 1).fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Returns the difference to an earlier state of the histogram; `None` if a count decreased.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Self> {
        let mut difference = Self::default();
        for ((left, now), before) in difference.0.iter_mut().zip(self.0).zip(before.0) {
            *left = now.checked_sub(before)?;
        }
        Some(difference)
    }

    /// Estimates the value that this part (0 to 1) of all values is below, as if the values of a bucket were
    /// distributed evenly. `None` if there are no values.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = part.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        let mut end = 0.0;
        for Bucket { least, count } in self.buckets() {
            let (least, count) = (least as f64, count as f64);
            if below + count >= wanted {
                return Some(least + least * (wanted - below) / count);
            }
            below += count;
            end = 2.0 * least;
        }
        Some(end)
    }
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for bucket in self.buckets() {
            list.serialize_element(&bucket)?;
        }
        list.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: &[(u64, u64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (value, times) in values {
            histogram.add(*value, *times);
        }
        histogram
    }

    #[test]
    fn the_median_is_inside_its_bucket() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(histogram(&[(4096, 2)]).quantile(0.5), Some(6144.0));
        assert_eq!(histogram(&[(0, 5)]).quantile(0.5), Some(0.0));
        let both = histogram(&[(1024, 50), (1 << 20, 50)]);
        assert_eq!(both.quantile(0.5), Some(2048.0));
        assert_eq!(both.quantile(0.0), Some(1024.0));
        assert_eq!(both.quantile(1.0), Some(2_097_152.0));
    }

    #[test]
    fn less_than_before_is_no_difference() {
        let (less, more) = (histogram(&[(8, 1)]), histogram(&[(8, 3), (100, 1)]));
        assert_eq!(more.since(&less), Some(histogram(&[(8, 2), (100, 1)])));
        assert_eq!(less.since(&more), None);
    }

    #[test]
    fn buckets_add_up() {
        let mut sum = histogram(&[(1, 1), (4095, 2)]);
        sum.merge(&histogram(&[(4096, 4)]));
        assert_eq!(sum.count(), 7);
        assert_eq!(sum.up_to(4095), 3);
        assert_eq!(sum.up_to(u64::MAX), 7);
        let least: Vec<u64> = sum.buckets().map(|bucket| bucket.least).collect();
        assert_eq!(least, [1, 2048, 4096]);
    }
}
