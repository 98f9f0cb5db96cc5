// SPDX-License-Identifier: CECILL-B
//! Numbers with three digits and a unit. Units of bytes are powers of 1024, all others powers of 1000.

/// Formats a number of bytes: `0`, `512`, `4.00K`, `63.9M`.
pub(crate) fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["", "K", "M", "G", "T", "P", "E"])
}

/// Formats a count: `999`, `1.20k`, `35.0M`.
pub(crate) fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// Formats a time: `850ns`, `1.20us`, `35.0ms`, `120s`.
pub(crate) fn nanoseconds(value: f64) -> String {
    let units = ["ns", "us", "ms"];
    let mut value = value;
    for unit in units {
        if rounded(value) < 1000.0 {
            return digits(value, unit == "ns") + unit;
        }
        value /= 1000.0;
    }
    digits(value, false) + "s"
}

/// Formats an age: the two largest units of `3d 4h 5m 6s`.
pub(crate) fn age(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Converts a number for display: it is exact up to 2^53, and three digits are shown.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    for (n, unit) in units.iter().enumerate() {
        if rounded(value) < step || n + 1 == units.len() {
            return digits(value, n == 0) + unit;
        }
        value /= step;
    }
    String::new()
}

/// Rounds as the display does, so that 999.9 gets the next unit instead of becoming 1000.
fn rounded(value: f64) -> f64 {
    if value < 100.0 {
        value
    } else {
        value.round()
    }
}

/// Formats three digits. Whole numbers without a unit have no fraction.
fn digits(value: f64, whole_unit: bool) -> String {
    if whole_unit && value.fract() == 0.0 || value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.25, "0.25"),
            (512.0, "512"),
            (1023.0, "1023"),
            (1024.0, "1.00K"),
            (1536.0, "1.50K"),
            (10_240.0, "10.0K"),
            (1_048_575.0, "1.00M"),
            (67_108_864.0, "64.0M"),
            (1.0e12, "931G"),
        ];
        for (value, text) in cases {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(bytes(float(u64::MAX)), "16.0E");
    }

    #[test]
    fn counts_are_decimal() {
        for (value, text) in [(7.0, "7"), (999.0, "999"), (999.7, "1.00k"), (1200.0, "1.20k"), (35e6, "35.0M")] {
            assert_eq!(count(value), text);
        }
    }

    #[test]
    fn times_end_at_seconds() {
        for (value, text) in [(0.0, "0ns"), (850.0, "850ns"), (1200.0, "1.20us"), (35e6, "35.0ms"), (12e10, "120s")] {
            assert_eq!(nanoseconds(value), text);
        }
    }

    #[test]
    fn ages_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_600, "1h 0m"), (90_000, "1d 1h")] {
            assert_eq!(age(seconds * 1_000_000_000), text);
        }
    }
}
