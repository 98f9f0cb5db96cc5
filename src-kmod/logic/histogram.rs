// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Histograms with power-of-two buckets.

/// Number of buckets of a histogram. The last one counts everything from 2^38 on: 256 GiB, or 275 seconds.
pub const BUCKETS: usize = 40;

/// Returns the bucket of a value: 0 for 0, else the number of bits of the value. Bucket `n` counts the values from
/// `2^(n-1)` to `2^n - 1`.
#[must_use]
pub fn bucket(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub(value.leading_zeros()) as usize;
    bits.min(BUCKETS.saturating_sub(1))
}

/// Returns the least value of a bucket.
#[must_use]
pub fn least(bucket: usize) -> u64 {
    match bucket.checked_sub(1).and_then(|bits| u32::try_from(bits).ok()) {
        None => 0,
        Some(bits) => 1u64.checked_shl(bits).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::{bucket, least, BUCKETS};

    #[test]
    fn a_bucket_is_a_power_of_two() {
        for (value, expected) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (4095, 12), (4096, 13), (4097, 13)] {
            assert_eq!(bucket(value), expected, "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_least_value_is_in_its_bucket_and_the_one_before_is_not() {
        for n in 1..BUCKETS {
            assert_eq!(bucket(least(n)), n);
            assert_eq!(bucket(least(n) - 1), n - 1);
        }
        assert_eq!(least(0), 0);
    }
}
