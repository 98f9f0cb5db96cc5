// SPDX-License-Identifier: CECILL-B
//! The report as JSON.

use serde::Serialize;

use super::finding::{Finding, State};
use super::Report;

/// The document.
#[derive(Serialize)]
pub(super) struct Findings<'a> {
    command_version: &'static str,
    kernel: &'a str,
    user: &'a str,
    /// No problem was found: KNEM can be used by this user.
    usable: bool,
    exit_status: u8,
    problems: usize,
    notes: usize,
    unknown: usize,
    findings: &'a [Finding],
}

impl<'a> Findings<'a> {
    /// The document of a report.
    pub(super) fn new(report: &'a Report, exit_status: u8) -> Self {
        Self {
            command_version: env!("CARGO_PKG_VERSION"),
            kernel: &report.kernel,
            user: &report.user,
            usable: report.count(State::Problem) == 0,
            exit_status,
            problems: report.count(State::Problem),
            notes: report.count(State::Note),
            unknown: report.count(State::Unknown),
            findings: &report.findings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::report;
    use crate::json::Document;
    use crate::machine::fake::Fake;

    #[test]
    fn programs_get_ids_and_states() {
        let report = report(&Fake::new());
        let text = Document::new("knem-doctor", 1, Findings::new(&report, 1)).text().unwrap();
        crate::json::tests::is_documented(&text);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["schema"], &value["version"]), (&"knem-doctor".into(), &1.into()));
        assert_eq!((&value["usable"], &value["exit_status"]), (&false.into(), &1.into()));
        let loaded =
            value["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "module.loaded").unwrap();
        assert_eq!(
            *loaded,
            serde_json::json!({
                "id": "module.loaded",
                "group": "module",
                "subject": null,
                "state": "problem",
                "summary": "the module is not loaded",
                "meaning": "there is no device: programs do without KNEM, or fail",
                "remedies": ["see module.present; then: modprobe knem"],
                "details": [],
            })
        );
    }
}
