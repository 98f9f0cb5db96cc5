// SPDX-License-Identifier: CECILL-B
//! Runs tests one after the other and reports them as TAP, version 14.
//!
//! Tests run one at a time, because they compare the driver's counters, and fork. A test ends by returning, by a panic,
//! or by [`skip`]. If it does none of these in time, its name and what its tasks wait for are printed, and the program
//! ends.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::report::{self, Outcome, Totals};
use crate::{children, counters, device};

/// A test: one rule of the interface.
pub struct Trial {
    name: String,
    test: fn(),
}

impl Trial {
    /// Creates a test of a module. `section` is what it tests: a section of the specification, a requirement (R), a
    /// weakness (W).
    pub fn new(module: &str, rule: &str, section: &str, test: fn()) -> Self {
        let module = module.rsplit("::").next().unwrap_or(module);
        let section = if section.is_empty() { String::new() } else { format!(" ({section})") };
        Self { name: format!("{module}::{rule}{section}"), test }
    }
}

/// Lists the tests of a module, named after the module and the rule that each of them checks. The tests of a module
/// that is only a part of another one are named after the other: `trials![of "whole"; …]`.
#[macro_export]
macro_rules! trials {
    (of $module:expr; $($section:literal $test:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<$crate::runner::Trial> {
            vec![$($crate::runner::Trial::new($module, stringify!($test), $section, $test)),*]
        }
    };
    ($($section:literal $test:ident),* $(,)?) => {
        $crate::trials![of module_path!(); $($section $test),*];
    };
}

/// Options of a test program.
#[derive(Debug, Parser)]
struct Options {
    /// Only tests whose names have one of these words in them.
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Leave out tests whose names have this word in them.
    #[arg(long, value_name = "WORD")]
    skip: Vec<String>,
    /// The device.
    #[arg(long, value_name = "PATH", default_value = knem_core::uapi::DEVICE_FILENAME)]
    device: PathBuf,
    /// Name the tests and do nothing.
    #[arg(long)]
    list: bool,
    /// Seconds after which a test hangs.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    limit: u64,
}

/// The reason why a test cannot run here; [`skip`] unwinds with it.
struct Skip(String);

/// Ends the calling test, which cannot run here. Must be called on the test's own thread, not in a child.
pub fn skip(reason: impl Into<String>) -> ! {
    resume_unwind(Box::new(Skip(reason.into())))
}

/// The main function of a test program.
pub fn main(trials: Vec<Trial>) -> ExitCode {
    if let Some(code) = children::role() {
        return code;
    }
    let options = Options::parse();
    let has = |name: &str, words: &[String]| words.iter().any(|word| name.contains(word.as_str()));
    let chosen: Vec<Trial> = trials
        .into_iter()
        .filter(|trial| options.words.is_empty() || has(&trial.name, &options.words))
        .filter(|trial| !has(&trial.name, &options.skip))
        .collect();
    if options.list {
        chosen.iter().for_each(|trial| println!("{}", trial.name));
        return ExitCode::SUCCESS;
    }
    if !options.device.exists() {
        report::bail_out(&format!("there is no {}: is the module loaded?", options.device.display()));
        return ExitCode::from(3);
    }
    device::set_node(options.device);
    counters::note_what_is_pinned();
    report::catch_panics();
    run(chosen, Duration::from_secs(options.limit))
}

fn run(trials: Vec<Trial>, limit: Duration) -> ExitCode {
    report::plan(trials.len());
    start_watchdog(trials.iter().map(|trial| trial.name.clone()).collect(), limit);
    let mut totals = Totals::default();
    for (number, trial) in (1..).zip(&trials) {
        let outcome = attempt(number, trial.test);
        report::result(number, &trial.name, &outcome);
        totals.add(&outcome);
    }
    report::totals(&totals);
    if totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn attempt(number: usize, test: fn()) -> Outcome {
    report::forget_panics();
    STARTED.store(now(), Ordering::Relaxed);
    NUMBER.store(number, Ordering::Relaxed);
    let ended = catch_unwind(AssertUnwindSafe(test));
    NUMBER.store(0, Ordering::Relaxed);
    match ended {
        Ok(()) => Outcome::Passed,
        Err(payload) => match payload.downcast::<Skip>() {
            Ok(reason) => Outcome::Skipped(reason.0),
            Err(_) => Outcome::Failed(report::panics()),
        },
    }
}

/// Number of the running test, counted from 1; 0 between tests.
static NUMBER: AtomicUsize = AtomicUsize::new(0);
/// Time of its start, in milliseconds.
static STARTED: AtomicU64 = AtomicU64::new(0);

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Starts the watchdog, a thread that holds no lock while a test runs, so that tests may fork.
fn start_watchdog(names: Vec<String>, limit: Duration) {
    let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    now();
    std::thread::spawn(move || loop {
        std::thread::sleep(Duration::from_millis(250));
        let number = NUMBER.load(Ordering::Relaxed);
        let name = number.checked_sub(1).and_then(|index| names.get(index));
        let Some(name) = name else { continue };
        if now().saturating_sub(STARTED.load(Ordering::Relaxed)) > limit {
            let message = format!("no end after {} s", limit / 1000);
            report::result(number, name, &Outcome::Failed(vec![message, children::where_tasks_wait()]));
            report::bail_out("a test hangs");
            // SAFETY: The call ends the program at once, regardless of what the test's thread is doing.
            unsafe { nix::libc::_exit(1) };
        }
    });
}
