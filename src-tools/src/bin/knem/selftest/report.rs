// SPDX-License-Identifier: CECILL-B
//! The report of a self-test, as text and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::Outcome;
use crate::style::{Styled, BAD, GOOD, NOTE};
use crate::table::{Column, Table};

/// All checks.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Number of checks that passed.
    pub(super) passed: usize,
    /// Number of checks that were skipped.
    pub(super) skipped: usize,
    /// Number of checks that failed.
    pub(super) failed: usize,
    /// The checks.
    pub(super) checks: Vec<Line>,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    /// Its id.
    pub(super) id: &'static str,
    about: &'static str,
    /// "passed", "skipped" or "failed".
    pub(super) state: &'static str,
    /// Reason, unless it passed.
    reason: Option<String>,
}

impl Report {
    /// Adds a check.
    pub(super) fn add(&mut self, id: &'static str, about: &'static str, outcome: &Outcome) {
        let (count, state, reason) = match outcome {
            Outcome::Passed => (&mut self.passed, "passed", None),
            Outcome::Skipped(reason) => (&mut self.skipped, "skipped", Some(reason.clone())),
            Outcome::Failed(reason) => (&mut self.failed, "failed", Some(reason.clone())),
        };
        *count += 1;
        self.checks.push(Line { id, about, state, reason });
    }

    /// Returns a line for each check, then the reasons and the totals.
    pub(super) fn text(&self) -> String {
        let mut table = Table::new(&[Column::left("STATE"), Column::left("TEST"), Column::left("WHAT")]);
        for check in &self.checks {
            let state = match check.state {
                "passed" => Styled(GOOD, "ok"),
                "skipped" => Styled(NOTE, "skipped"),
                _ => Styled(BAD, "FAILED"),
            };
            table.row([state.to_string(), check.id.to_owned(), check.about.to_owned()]);
        }
        let mut text = table.text();
        for (state, title) in [("skipped", "Skipped"), ("failed", "Failed")] {
            for check in self.checks.iter().filter(|check| check.state == state) {
                let _ = writeln!(text, "{title}: {}: {}", check.id, check.reason.as_deref().unwrap_or_default());
            }
        }
        let _ = writeln!(text, "{} ok, {} skipped, {} failed", self.passed, self.skipped, self.failed);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Document;

    fn report() -> Report {
        let mut report = Report::default();
        report.add("open", "the device opens and speaks this interface", &Outcome::Passed);
        report.add("other-user", "another user may not use a region", &Outcome::Skipped("needs root".to_owned()));
        report.add("bounds", "offset and bound choose a part", &Outcome::Failed("byte 7 has changed".to_owned()));
        report
    }

    #[test]
    fn the_table_reads_well() {
        insta::assert_snapshot!("selftest", anstream::adapter::strip_str(&report().text()).to_string());
    }

    #[test]
    fn programs_get_states() {
        let text = Document::new("knem-selftest", 1, report()).text().unwrap();
        crate::json::tests::is_documented(&text);
        insta::assert_snapshot!("selftest_json", text);
    }
}
