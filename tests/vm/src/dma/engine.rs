// SPDX-License-Identifier: CECILL-B
//! The engine that the tests bring: its module, its parameters, and a test's use of it.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;

use knem_conformance::parameters::with_parameter;
use knem_conformance::skip;

use crate::counters::{nothing_is_pinned, text};
use crate::device::Knem;
use crate::waiting;

/// Where the engine's module may be.
const MODULES: [&str; 2] = ["/usr/local/lib/knem/knem_test_dma.ko", "/root/knem_test_dma.ko"];

fn parameter(name: &str) -> String {
    format!("/sys/module/knem_test_dma/parameters/{name}")
}

/// Sets one of the engine's parameters.
pub(super) fn set(name: &str, value: u32) {
    std::fs::write(parameter(name), value.to_string()).unwrap_or_else(|error| panic!("{name}={value}: {error}"));
}

/// What one of the engine's parameters or counters is.
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

/// The engine as it should be.
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

/// What the engine counts.
const COUNTERS: [&str; 7] = ["copied", "failed", "refused", "aborted", "abandoned", "misaligned", "longest"];

/// A test with the engine as it should be, of which the driver may have as many channels as there are. Afterwards nothing
/// may be left of what it did.
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
        // Somebody has to look.
        assert_eq!(Knem::open().info().features, 0);
        get("in_use") == 0
    });
    set("present", 0);
    nothing_is_pinned();
    assert_eq!((get("abandoned"), get("misaligned")), (0, 0), "copies left at the end, copies not aligned");
}

/// What the driver says of its engine.
pub(super) fn engine_line() -> String {
    text().lines().find_map(|line| line.strip_prefix(" DMAEngine: ")).expect("the line").to_owned()
}
