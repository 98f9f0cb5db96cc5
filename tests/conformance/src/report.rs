// SPDX-License-Identifier: CECILL-B
//! The Test Anything Protocol, version 14, on standard output; and what panics said.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::children;

/// How a test ended.
#[derive(Debug)]
pub enum Outcome {
    /// The rule holds.
    Passed,
    /// It does not; what was seen.
    Failed(Vec<String>),
    /// It could not be tested here, and why.
    Skipped(String),
}

/// How many tests ended how.
#[derive(Debug, Default)]
pub struct Totals {
    passed: usize,
    /// Number of failed tests.
    pub failed: usize,
    skipped: usize,
}

impl Totals {
    /// Counts one more.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

/// The beginning.
pub fn plan(count: usize) {
    println!("TAP version 14\n1..{count}");
}

/// One test's line, and why it failed.
pub fn result(number: usize, name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => println!("ok {number} - {name}"),
        Outcome::Skipped(reason) => println!("ok {number} - {name} # SKIP {reason}"),
        Outcome::Failed(seen) => println!("not ok {number} - {name}\n{}", diagnostics(seen)),
    }
}

/// A block of YAML with the texts as they are.
fn diagnostics(seen: &[String]) -> String {
    let lines = seen.iter().flat_map(|text| text.lines()).map(|line| format!("    {line}\n"));
    format!("  ---\n  message: |\n{}  ...", lines.collect::<String>())
}

/// The end, with the counts.
pub fn totals(totals: &Totals) {
    println!("# {} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped);
}

/// An end before the end.
pub fn bail_out(reason: &str) {
    println!("Bail out! {reason}");
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn seen() -> MutexGuard<'static, Vec<String>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on panics are kept for the report; those of other processes are printed at once.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = describe(panic);
        if children::is_one() {
            eprintln!("# in another process: {text}");
        } else {
            seen().push(text);
        }
    }));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let place = panic.location().map(|place| format!("{}:{}: ", place.file(), place.line())).unwrap_or_default();
    format!("{place}{}", text.unwrap_or("a panic without a text"))
}

/// A new test begins.
pub fn forget_panics() {
    seen().clear();
}

/// What the panics since then said, of all threads.
pub fn panics() -> Vec<String> {
    std::mem::take(&mut *seen())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_are_a_block_of_their_own() {
        let seen = ["a.rs:1: left\n  right".to_owned(), "b".to_owned()];
        assert_eq!(diagnostics(&seen), "  ---\n  message: |\n    a.rs:1: left\n      right\n    b\n  ...");
    }

    #[test]
    fn every_outcome_is_counted_once() {
        let mut totals = Totals::default();
        for outcome in [Outcome::Passed, Outcome::Failed(Vec::new()), Outcome::Passed, Outcome::Skipped(String::new())]
        {
            totals.add(&outcome);
        }
        assert_eq!((totals.passed, totals.failed, totals.skipped), (2, 1, 1));
    }
}
