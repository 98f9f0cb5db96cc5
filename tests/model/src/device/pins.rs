// SPDX-License-Identifier: CECILL-B
//! The kernel's count of pinned pages: what nobody uses any more must not stay on it.

use std::fs;
use std::time::Duration;

/// Pages pinned and not unpinned, in the whole system; nothing where the kernel does not tell exactly.
#[must_use]
pub fn pinned() -> Option<i64> {
    // Processors keep counts of their own for a while, unless they are asked.
    fs::write("/proc/sys/vm/stat_refresh", "1").ok()?;
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<i64>().ok();
    Some(value("nr_foll_pin_acquired ")? - value("nr_foll_pin_released ")?)
}

/// Waits until as many pages are pinned as before. A request that was cut short may take a moment to let go.
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
