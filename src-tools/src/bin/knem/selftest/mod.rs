// SPDX-License-Identifier: CECILL-B
//! `knem selftest`: tests the installed driver.

mod asynchronous;
mod copies;
mod limits;
mod other_user;
mod report;
mod surroundings;

use std::io::Write;
use std::path::Path;

use knem::{Device, Error};

use self::report::Report;
use crate::cli::SelftestArgs;
use crate::exit::Failure;
use crate::json::Document;
use crate::style;

pub(crate) use self::other_user::be_other_user;

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The driver is right.
    Passed,
    /// The check cannot run here, for this reason.
    Skipped(String),
    /// The driver is wrong, as described.
    Failed(String),
}

/// The driver under test.
pub(crate) struct Subject<'a> {
    /// Opens the driver again.
    open: &'a dyn Fn() -> Result<Device, Error>,
    /// The node, unless the driver is a fake one.
    path: Option<&'a Path>,
    /// State before the first check.
    before: surroundings::Before,
}

/// A check: its id, its subject, and its function. An error counts as a failure.
struct Check {
    id: &'static str,
    about: &'static str,
    run: fn(&Subject<'_>) -> Result<Outcome, Error>,
}

const CHECKS: [Check; 19] = [
    Check { id: "open", about: "the device opens and has this version of the interface", run: copies::opens },
    Check { id: "read", about: "copies from a region are complete and write nothing else", run: copies::read },
    Check { id: "write", about: "copies into a region are complete and write nothing else", run: copies::write },
    Check { id: "region", about: "copies from region to region", run: copies::region_to_region },
    Check { id: "pinned", about: "copies with the local memory pinned", run: copies::pinned },
    Check { id: "bounds", about: "offset and bound select a part of a region", run: copies::bounds },
    Check { id: "vectors", about: "several segments are one stream of bytes", run: copies::vectors },
    Check { id: "large", about: "a region of 32 MiB", run: copies::large },
    Check { id: "processes", about: "copies between two processes in both directions", run: surroundings::processes },
    Check { id: "async", about: "the worker thread copies and sets the status", run: asynchronous::status },
    Check { id: "events", about: "completion events can be polled and read", run: asynchronous::events },
    Check { id: "single-use", about: "a single-use region can be used only once", run: limits::single_use },
    Check { id: "withdrawn", about: "a destroyed region cannot be used", run: limits::withdrawn },
    Check { id: "unknown", about: "an unknown cookie is refused", run: limits::unknown },
    Check { id: "protection", about: "the protection of a region is enforced", run: limits::protection },
    Check { id: "other-user", about: "another user cannot use a region", run: other_user::foreign_cookie },
    Check { id: "memlock", about: "the limit of locked memory is enforced and reported", run: other_user::limit },
    Check { id: "counted", about: "the statistics count the requests", run: surroundings::counted },
    Check { id: "nothing-left", about: "nothing is left pinned", run: surroundings::nothing_left },
];

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &SelftestArgs) -> Result<(), Failure> {
    // A driver that cannot be opened is not a failed test: it has its own exit status.
    drop(Device::open_at(path)?);
    let open = || Device::open_at(path);
    let report = check_all(&Subject { open: &open, path: Some(path), before: surroundings::Before::read(path) });
    if arguments.json {
        Document::new("knem-selftest", 1, &report).print()?;
    } else {
        write!(style::output(), "{}", report.text())?;
    }
    match report.failed {
        0 => Ok(()),
        1 => Err(Failure::Other("1 test failed".to_owned())),
        count => Err(Failure::Other(format!("{count} tests failed"))),
    }
}

fn check_all(subject: &Subject<'_>) -> Report {
    let mut report = Report::default();
    for check in &CHECKS {
        let outcome = (check.run)(subject).unwrap_or_else(|error| outcome_of(&error));
        report.add(check.id, check.about, &outcome);
    }
    report
}

/// Converts an error to a failure, or to a skipped check if the caller's limit of locked memory is too low.
fn outcome_of(error: &Error) -> Outcome {
    match error {
        Error::PinRefused { bytes, limit: Some(limit) } if !fits(*bytes, *limit) => Outcome::Skipped(format!(
            "it needs {bytes} bytes of locked memory, the limit is {limit} (ulimit -l; see knem doctor --check limits)"
        )),
        _ => Outcome::Failed(error.to_string()),
    }
}

/// Whether the pages of `bytes` bytes at any alignment are within a limit.
fn fits(bytes: u64, limit: u64) -> bool {
    const PAGES_AT_THE_ENDS: u64 = 2 * 4096;
    bytes.saturating_add(PAGES_AT_THE_ENDS) <= limit
}

impl Subject<'_> {
    fn open(&self) -> Result<Device, Error> {
        (self.open)()
    }
}

/// Passes if the condition holds, else fails with this message.
fn demand(so: bool, otherwise: &str) -> Outcome {
    if so {
        Outcome::Passed
    } else {
        Outcome::Failed(otherwise.to_owned())
    }
}

/// Passes if the request was refused for the right reason; fails for any other reason, or if it was not refused.
fn refused<T>(outcome: Result<T, Error>, rightly: impl Fn(&Error) -> bool, what: &str) -> Outcome {
    match outcome {
        Err(error) if rightly(&error) => Outcome::Passed,
        Err(error) => Outcome::Failed(format!("{what} was refused for another reason: {error}")),
        Ok(_) => Outcome::Failed(format!("{what} was not refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem::fake::FakeDriver;

    fn report_of(driver: &FakeDriver) -> Report {
        let open = || Device::new(Box::new(driver.clone()));
        check_all(&Subject { open: &open, path: None, before: surroundings::Before::default() })
    }

    fn ids(report: &Report, state: &str) -> Vec<&'static str> {
        report.checks.iter().filter(|check| check.state == state).map(|check| check.id).collect()
    }

    #[test]
    fn a_driver_that_is_right_passes() {
        let driver = FakeDriver::new();
        let report = report_of(&driver);
        assert_eq!(ids(&report, "failed"), [""; 0]);
        let not_in_a_fake = ["processes", "async", "events", "other-user", "memlock", "counted", "nothing-left"];
        assert_eq!(ids(&report, "skipped"), not_in_a_fake);
        assert_eq!(driver.region_count(), 0);
    }

    #[test]
    fn a_driver_that_copies_wrongly_fails() {
        let report = report_of(&FakeDriver::new().with_wrong_last_byte());
        let failed = ids(&report, "failed");
        for id in ["read", "write", "pinned", "vectors", "large"] {
            assert!(failed.contains(&id), "{id}: {failed:?}");
        }
    }

    #[test]
    fn a_small_limit_is_no_failure_and_a_wrong_refusal_is() {
        let refused = |bytes, limit| outcome_of(&Error::PinRefused { bytes, limit });
        assert!(matches!(refused(65_536, Some(65_536)), Outcome::Skipped(_)));
        assert!(matches!(refused(65_536, Some(1 << 20)), Outcome::Failed(_)));
        assert!(matches!(refused(65_536, None), Outcome::Failed(_)));
        assert!(matches!(outcome_of(&Error::OtherUser), Outcome::Failed(_)));
    }

    #[test]
    fn names_are_unique() {
        let mut ids = CHECKS.map(|check| check.id);
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn refusals_are_distinguished() {
        let is = |error: &Error| matches!(error, Error::Protection);
        assert_eq!(refused::<()>(Err(Error::Protection), is, "x"), Outcome::Passed);
        assert!(matches!(refused::<()>(Err(Error::OtherUser), is, "x"), Outcome::Failed(_)));
        assert_eq!(refused(Ok(()), is, "x"), Outcome::Failed("x was not refused".to_owned()));
    }
}
