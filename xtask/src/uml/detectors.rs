// SPDX-License-Identifier: CECILL-B
//! `cargo xtask uml detectors`: tests that each detector works. Each gets a deliberate bug in a separate kernel, and
//! the run must fail with the report of that bug. The bugs are in `tests/uml/faults`.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

use super::{Bench, DEFAULT_KERNEL};
use knem_lab::cache::elapsed;
use knem_lab::lab::Lab;
use knem_lab::namespace;
use knem_lab::uml::{module, Flavour};
use knem_lab::vm::{Add, Options};

/// The module with the bugs, and its place in the guest.
const MODULE: &str = "knem_faults.ko";

/// Number of kernels that run at the same time: each keeps one CPU busy most of the time.
const AT_ONCE: usize = 2;

/// Expected result of a run.
enum Expected {
    /// Nothing to report, and status 0.
    Health,
    /// A run that fails with this text in a report.
    Report(&'static str),
}

/// One bug.
struct Case {
    /// The detector, and what it is shown.
    name: &'static str,
    /// What runs in the guest, in a shell, after the module is loaded.
    commands: &'static str,
    expected: Expected,
    /// Whether the scan for lost memory at the end is part of it.
    scan: bool,
}

/// The fault committed, without anything around it.
const fn fault(name: &'static str, commands: &'static str, report: &'static str) -> Case {
    Case { name, commands, expected: Expected::Report(report), scan: false }
}

/// Injection: works without being asked to fail, fails when asked, and is no report by itself.
const fn injection(name: &'static str, commands: &'static str) -> Case {
    Case { name, commands, expected: Expected::Health, scan: false }
}

const CASES: &[Case] = &[
    Case { name: "no bug, no report", commands: "commit allocation", expected: Expected::Health, scan: true },
    fault("KASAN: use after free", "commit use-after-free", "KASAN: slab-use-after-free"),
    fault("KASAN: out of bounds", "commit out-of-bounds", "KASAN: slab-out-of-bounds"),
    fault("KASAN: vmalloc out of bounds", "commit vmalloc-out-of-bounds", "KASAN: vmalloc-out-of-bounds"),
    fault("KASAN: double free", "commit double-free", "KASAN: double-free"),
    fault("lockdep: order of locks", "commit lock-order", "possible circular locking dependency"),
    fault("lockdep: RCU pointer without RCU", "commit rcu", "suspicious RCU usage"),
    fault(
        "atomic sleep: under a spinlock",
        "commit sleep-under-spinlock",
        "sleeping function called from invalid context",
    ),
    fault("UBSAN: shift", "commit shift", "UBSAN: shift-out-of-bounds"),
    fault("UBSAN: array index", "commit array-index", "UBSAN: array-index-out-of-bounds"),
    fault("debug objects: running timer set up", "commit object-state", "ODEBUG: init active"),
    fault(
        "hung task: sleep without end",
        "echo 2 > /proc/sys/kernel/hung_task_timeout_secs; commit hang",
        "blocked for more than",
    ),
    fault("WARN", "commit warning", "WARNING:"),
    fault("BUG", "commit bug", "BUG: failure at"),
    fault("pinned pages", "commit pin", "pages stay pinned"),
    Case {
        name: "kmemleak: memory lost",
        commands: "commit leak",
        expected: Expected::Report("kmemleak: unreferenced object"),
        scan: true,
    },
    injection("failslab", "inject failslab allocation"),
    injection("fail_page_alloc", "echo 4 > /sys/kernel/debug/fail_page_alloc/min-order; inject fail_page_alloc page"),
    injection("fail_usercopy", "inject fail_usercopy usercopy"),
];

/// Functions for the guest's shell. `inject` opens what it needs first: opening allocates, too.
const PRELUDE: &str = r#"
set -eu
insmod /root/knem_faults.ko
faults=/sys/kernel/debug/knem_faults
commit() { echo "$1" > $faults/trigger; }
inject() {
    attributes=/sys/kernel/debug/$1
    commit "$2"
    [ "$(cat $faults/refused)" = 0 ]
    exec 5> $faults/trigger
    for name in ignore-gfp-wait ignore-gfp-highmem; do
        [ ! -e "$attributes/$name" ] || echo N > "$attributes/$name"
    done
    echo Y > "$attributes/task-filter"
    echo -1 > "$attributes/times"
    echo 100 > "$attributes/probability"
    if (echo 1 > /proc/self/make-it-fail; echo "$2" >&5) 2> /dev/null; then
        echo "$2 was not made to fail" >&2
        exit 1
    fi
    echo 0 > "$attributes/probability"
    [ "$(cat $faults/refused)" = 1 ]
}
"#;

/// Runs all cases, or those with one of `names` in their names; fails if a detector does not report its bug.
pub fn run(names: &[String]) -> Result<()> {
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str())))
        .collect();
    if cases.is_empty() {
        bail!("no case has such a name");
    }
    namespace::enter()?;
    let lab = Lab::open()?;
    let bench = Bench::prepare(&lab, DEFAULT_KERNEL, Flavour::Debug)?;
    let source = lab.workspace.file("tests/uml/faults");
    let faults = module::build(&lab.cache, &bench.kernel, &source, MODULE, None)?;
    let next = AtomicUsize::new(0);
    let asleep = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let complaint = complaint(case, &bench, &faults);
                    let verdict = if complaint.is_none() { "ok" } else { "FAILED" };
                    println!("{:<40} {verdict:<7} {}", case.name, elapsed(start.elapsed()));
                    if let (Some(complaint), Ok(mut asleep)) = (complaint, asleep.lock()) {
                        asleep.push(format!("{}: {complaint}", case.name));
                    }
                }
            });
        }
    });
    let asleep = asleep.into_inner().unwrap_or_default();
    if !asleep.is_empty() {
        bail!("{} of {} cases failed:\n{}", asleep.len(), cases.len(), asleep.join("\n"));
    }
    println!("all {} cases as expected", cases.len());
    Ok(())
}

/// What is wrong with a case, if anything.
fn complaint(case: &Case, bench: &Bench, faults: &Path) -> Option<String> {
    let options = Options {
        cpus: 2,
        memory: 1024,
        timeout: Duration::from_secs(240),
        bare: false,
        adds: vec![Add { path: faults.to_owned(), destination: format!("/root/{MODULE}").into() }],
        echo: false,
        ..Options::default()
    };
    let command = ["sh", "-c", &format!("{PRELUDE}{}", case.commands)].map(str::to_owned).to_vec();
    let report = bench.run(&[command], &options, case.scan);
    match &case.expected {
        Expected::Health => match report.and_then(|report| report.demand_success()) {
            Ok(()) => None,
            Err(error) => Some(format!("{error:#}")),
        },
        Expected::Report(text) => {
            // A kernel that died is an error, one that lives on a report: both fail a run.
            let said = match report.and_then(|report| report.demand_health()) {
                Ok(()) => "nothing".to_owned(),
                Err(error) if format!("{error:#}").contains(text) => return None,
                Err(error) => format!("{error:#}"),
            };
            Some(format!("no report with `{text}`; what was reported: {said}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_lab::vm::console;

    /// Each text looked for is one that fails an ordinary run.
    #[test]
    fn every_report_is_judged() {
        for case in CASES {
            let Expected::Report(text) = case.expected else { continue };
            // The runner's own finding is no line of the kernel's.
            if text == "pages stay pinned" {
                continue;
            }
            let line = match text {
                "ODEBUG: init active" => "WARNING: lib/debugobjects.c:1 at debug_print_object",
                "blocked for more than" => "INFO: task sh:1 blocked for more than 2 seconds.",
                "possible circular locking dependency" => "WARNING: possible circular locking dependency detected",
                "suspicious RCU usage" => "WARNING: suspicious RCU usage",
                other => other,
            };
            assert_eq!(console::problems(line).len(), 1, "{}", case.name);
        }
    }
}
