// SPDX-License-Identifier: CECILL-B
//! The test's own DMA engine: its module, its parameters, and its use by a test.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;

use knem_conformance::parameters::with_parameter;
use knem_conformance::skip;

use crate::counters::{nothing_is_pinned, text};
use crate::device::Knem;
use crate::waiting;

/// Possible paths of the engine's module.
const MODULES: [&str; 2] = ["/usr/local/lib/knem/knem_test_dma.ko", "/root/knem_test_dma.ko"];

fn parameter(name: &str) -> String {
    format!("/sys/module/knem_test_dma/parameters/{name}")
}

/// Sets one of the engine's parameters.
pub(super) fn set(name: &str, value: u32) {
    std::fs::write(parameter(name), value.to_string()).unwrap_or_else(|error| panic!("{name}={value}: {error}"));
}

/// Returns one of the engine's parameters or counters.
pub(super) fn get(name: &str) -> u64 {
    let text = std::fs::read_to_string(parameter(name)).expect("the engine's parameter");
    match text.trim() {
        "Y" => 1,
        "N" => 0,
        number => number.parse().expect("a number"),
    }
}

/// Loads the engine's module.
fn load_engine() {
    if Path::new("/sys/module/knem_test_dma").exists() {
        return;
    }
    let Some(module) = MODULES.into_iter().find(|path| Path::new(path).exists()) else {
        skip(format!("the test's DMA engine is not here: build tests/dma and bring it in as {}", MODULES[0]));
    };
    let output = Command::new("insmod").arg(module).output().expect("insmod runs");
    assert!(output.status.success(), "{module}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The engine's usual parameters.
const USUAL: [(&str, u32); 11] = [
    ("channels", 1),
    ("private", 0),
    ("disorder", 0),
    ("terminable", 1),
    ("align", 0),
    ("mask", 64),
    ("delay", 0),
    ("fail", 0),
    ("refuse", 0),
    ("reject", 0),
    ("most", 0),
];

/// The engine's counters.
const COUNTERS: [&str; 7] = ["copied", "failed", "refused", "aborted", "abandoned", "misaligned", "longest"];

/// Runs a test with the usual parameters except those in `unusual`; the driver may claim all channels. Afterwards the
/// engine must have no copies and no clients left.
pub(super) fn with_engine(unusual: &[(&str, u32)], test: impl FnOnce()) {
    load_engine();
    set("hang", 0);
    set("present", 0);
    for (name, value) in USUAL.iter().chain(unusual) {
        set(name, *value);
    }
    COUNTERS.into_iter().for_each(|name| set(name, 0));
    set("present", 1);
    let channels = get("channels").to_string();
    let outcome = catch_unwind(AssertUnwindSafe(|| with_parameter("dmachannels", &channels, test)));
    for (name, value) in [("hang", 0), ("delay", 0), ("fail", 0), ("refuse", 0), ("reject", 0)] {
        set(name, value);
    }
    if let Err(panic) = outcome {
        set("present", 0);
        resume_unwind(panic);
    }
    waiting::until("the engine has nothing left", || get("live") == 0);
    waiting::until("channels are given back", || {
        // The driver releases channels only when it checks for one.
        assert_eq!(Knem::open().info().features, 0);
        get("in_use") == 0
    });
    set("present", 0);
    nothing_is_pinned();
    assert_eq!((get("abandoned"), get("misaligned")), (0, 0), "copies left at the end, copies not aligned");
}

/// Returns what the driver reports about DMA.
pub(super) fn engine_line() -> String {
    text().lines().find_map(|line| line.strip_prefix(" DMAEngine: ")).expect("the line").to_owned()
}
