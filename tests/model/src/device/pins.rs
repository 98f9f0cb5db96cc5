// SPDX-License-Identifier: CECILL-B
//! The kernel's count of pinned pages, which must not contain pages that are no longer in use.

use std::fs;
use std::time::Duration;

/// Returns the number of pinned pages in the whole system, if the kernel counts them exactly.
#[must_use]
pub fn pinned() -> Option<i64> {
    // CPUs keep local counts for a while, unless this file is written.
    fs::write("/proc/sys/vm/stat_refresh", "1").ok()?;
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<i64>().ok();
    Some(value("nr_foll_pin_acquired ")? - value("nr_foll_pin_released ")?)
}

/// Waits until as many pages are pinned as before. A request that was cut short may release its pages a moment later.
pub(super) fn come_back_to(before: Option<i64>) -> Result<(), String> {
    let Some(before) = before else { return Ok(()) };
    let mut now = before;
    for _ in 0..3000 {
        now = pinned().unwrap_or(before);
        if now == before {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("{now} pages are pinned after everything was closed, {before} before it was opened"))
}
