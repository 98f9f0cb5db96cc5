// SPDX-License-Identifier: CECILL-B
//! Prints the Test Anything Protocol, version 14, on standard output, and collects the messages of panics.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::children;

/// How a test ended.
#[derive(Debug)]
pub enum Outcome {
    /// The rule holds.
    Passed,
    /// The rule does not hold; the messages.
    Failed(Vec<String>),
    /// The test could not run here; the reason.
    Skipped(String),
}

/// Numbers of tests by their outcome.
#[derive(Debug, Default)]
pub struct Totals {
    passed: usize,
    /// Number of failed tests.
    pub failed: usize,
    skipped: usize,
}

impl Totals {
    /// Counts an outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

/// Prints the plan.
pub fn plan(count: usize) {
    println!("TAP version 14\n1..{count}");
}

/// Prints the line of a test, and why it failed.
pub fn result(number: usize, name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => println!("ok {number} - {name}"),
        Outcome::Skipped(reason) => println!("ok {number} - {name} # SKIP {reason}"),
        Outcome::Failed(seen) => println!("not ok {number} - {name}\n{}", diagnostics(seen)),
    }
}

/// Formats a YAML block with the texts as they are.
fn diagnostics(seen: &[String]) -> String {
    let lines = seen.iter().flat_map(|text| text.lines()).map(|line| format!("    {line}\n"));
    format!("  ---\n  message: |\n{}  ...", lines.collect::<String>())
}

/// Prints the counts at the end.
pub fn totals(totals: &Totals) {
    println!("# {} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped);
}

/// Prints that the program ends early.
pub fn bail_out(reason: &str) {
    println!("Bail out! {reason}");
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn seen() -> MutexGuard<'static, Vec<String>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects panics for the report from now on; those of other processes are printed at once.
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

/// Discards the collected panics, before a new test.
pub fn forget_panics() {
    seen().clear();
}

/// Returns the messages of the panics since then, of all threads.
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
