// SPDX-License-Identifier: CECILL-B
//! What the driver holds for its callers: all of it must be gone when they are.

use std::fs;

use knem_conformance::counters::{pinned_pages, status_kilobytes};
use knem_conformance::waiting;

/// What must be the same after whatever happened in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Lines of `/proc/driver/knem/statistics`.
    driver: Vec<(&'static str, u64)>,
    /// Pages pinned and not unpinned, in the whole system.
    pinned_pages: i64,
    /// Memory of this process that counts as pinned.
    charged_kilobytes: i64,
    /// Uses of the module.
    uses: String,
}

/// Names of lines that count what there is, not what has happened.
const NAMES: [&str; 4] = ["pinned_bytes", "contexts", "regions", "regions_unpinned"];

impl State {
    /// As it is now.
    pub(crate) fn now() -> Self {
        let text = statistics();
        let value = |name: &'static str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            (name, value.unwrap_or_else(|| panic!("no line {name}")))
        };
        Self {
            driver: NAMES.map(value).to_vec(),
            pinned_pages: pinned_pages(),
            charged_kilobytes: status_kilobytes("VmPin"),
            uses: fs::read_to_string("/sys/module/knem/refcnt").unwrap_or_default(),
        }
    }

    /// Waits until it is so again: memory is released soon after its last use, not at once.
    pub(crate) fn comes_back(&self) -> Result<(), String> {
        if waiting::comes(|| Self::now() == *self) {
            return Ok(());
        }
        Err(format!("left behind: {:?}, which was {self:?}", Self::now()))
    }
}

/// The text of `/proc/driver/knem/statistics`.
pub(crate) fn statistics() -> String {
    fs::read_to_string("/proc/driver/knem/statistics").expect("/proc/driver/knem/statistics")
}
