// SPDX-License-Identifier: CECILL-B
//! The driver's counters, as `/proc/driver/knem/statistics` has them.

use anyhow::{Context, Result};

/// Counts up to a moment, or between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were submitted.
    pub submitted: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Bytes of copies that succeeded.
    pub bytes: u64,
    /// Bytes that are pinned now.
    pub pinned: u64,
}

impl Counters {
    /// Reads the text.
    ///
    /// # Errors
    /// If a counter is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let all = |matches: &dyn Fn(&[&str]) -> bool| -> Result<u64> {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .filter(|words| matches(words))
                .map(|words| words.last().copied().unwrap_or_default().parse::<u64>().context("a counter is a number"))
                .sum()
        };
        all(&|words| words.first() == Some(&"version")).and_then(|version| {
            (version == 1).then_some(()).context("these are no statistics of the driver, or of another version")
        })?;
        Ok(Self {
            submitted: all(&|words| words.first() == Some(&"submitted"))?,
            failed: all(&|words| words.first() == Some(&"path") && words.get(2) == Some(&"failed"))?,
            bytes: all(&|words| words.first() == Some(&"path") && words.get(2) == Some(&"bytes"))?,
            pinned: all(&|words| words.first() == Some(&"pinned_bytes"))?,
        })
    }

    /// Returns what was counted since `before`; `pinned` is the present value.
    pub fn since(self, before: Self) -> Self {
        Self {
            submitted: self.submitted.saturating_sub(before.submitted),
            failed: self.failed.saturating_sub(before.failed),
            bytes: self.bytes.saturating_sub(before.bytes),
            pinned: self.pinned,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_added_up() {
        let text = "version 1\nage_ns 5\npinned_bytes 4096\npinned_bytes_peak 9\nsubmitted 7\npath mapped bytes 10\n\
                    path mapped failed 1\npath thread bytes 5\npath mapped size 4096 3\n";
        let counters = Counters::parse(text).expect("statistics");
        assert_eq!(counters, Counters { submitted: 7, failed: 1, bytes: 15, pinned: 4096 });
        let before = Counters { submitted: 3, failed: 1, bytes: 5, pinned: 0 };
        assert_eq!(counters.since(before), Counters { submitted: 4, failed: 0, bytes: 10, pinned: 4096 });
    }

    #[test]
    fn another_text_is_refused() {
        assert!(Counters::parse("").is_err() && Counters::parse("version 2\nsubmitted 1\n").is_err());
    }
}
