// SPDX-License-Identifier: CECILL-B
//! Number format: with units for people, or exact.

use crate::table::MISSING;
use crate::units;

/// Number format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// Exact, without units.
    pub(crate) exact: bool,
}

impl Numbers {
    /// Formats a number of bytes.
    pub(crate) fn bytes(self, value: impl Into<Option<f64>>) -> String {
        self.write(value.into(), units::bytes)
    }

    /// Formats a count.
    pub(crate) fn count(self, value: impl Into<Option<f64>>) -> String {
        self.write(value.into(), units::count)
    }

    /// Formats a time in nanoseconds.
    pub(crate) fn time(self, value: impl Into<Option<f64>>) -> String {
        self.write(value.into(), units::nanoseconds)
    }

    fn write(self, value: Option<f64>, with_unit: fn(f64) -> String) -> String {
        match value {
            None => MISSING.to_owned(),
            Some(value) if self.exact && value.fract() == 0.0 => format!("{value:.0}"),
            Some(value) if self.exact => format!("{value:.3}"),
            Some(value) => with_unit(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn units_are_left_out_when_asked() {
        let (people, programs) = (Numbers { exact: false }, Numbers { exact: true });
        assert_eq!((people.bytes(4096.0), programs.bytes(4096.0)), ("4.00K".to_owned(), "4096".to_owned()));
        assert_eq!((people.time(1500.5), programs.time(1500.5)), ("1.50us".to_owned(), "1500.500".to_owned()));
        assert_eq!((people.count(None), programs.count(None)), ("-".to_owned(), "-".to_owned()));
    }
}
