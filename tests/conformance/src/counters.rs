// SPDX-License-Identifier: CECILL-B
//! Compares the driver's counters before and after an action.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use nix::fcntl::OFlag;

use crate::device::Knem;
use crate::{skip, waiting};

/// Requests that were submitted.
pub const SUBMITTED: &str = "Requests submitted";
/// Requests that were accepted.
pub const PROCESSED: &str = "Requests processed (total)";
/// Requests whose local memory was pinned.
pub const PINNED: &str = "processed (with pinned local pages)";
/// Requests passed to the worker thread.
pub const OFFLOADED: &str = "processed (offloaded to thread)";
/// Requests refused for their flags.
pub const BAD_FLAGS: &str = "Requests rejected (invalid flags)";
/// Requests refused because there was no memory.
pub const NO_MEMORY: &str = "rejected (not enough memory)";
/// Requests refused for an unreadable list.
pub const BAD_ARGUMENT: &str = "rejected (invalid ioctl argument)";
/// Requests refused by the region.
pub const NO_COOKIE: &str = "rejected (unexisting region cookie)";
/// Requests refused because local memory could not be pinned.
pub const NO_PIN: &str = "rejected (failed to pin local pages)";
/// Requests that failed on memory of the caller.
pub const USER_COPY: &str = "Requests failed during memcpy from/to user";

/// Returns the text that the device prints.
pub fn text() -> String {
    let file = Knem::open_as(OFlag::O_RDONLY).expect("opens for reading");
    let mut bytes = vec![0; 65536];
    let length = nix::unistd::read(file.fd(), &mut bytes).expect("read");
    bytes.truncate(length);
    String::from_utf8(bytes).expect("text")
}

/// Returns all counters by their labels.
pub fn counters() -> BTreeMap<String, i64> {
    let counter = |line: &str| {
        let (label, value) = line.split_once(':')?;
        Some((label.trim().to_owned(), value.trim().parse().ok()?))
    };
    text().lines().filter_map(counter).collect()
}

/// Runs `action` and checks that it changes exactly these counters, by these amounts.
pub fn counts<R>(expected: &[(&str, i64)], action: impl FnOnce() -> R) -> R {
    let before = counters();
    let result = action();
    let changes: BTreeMap<String, i64> = counters()
        .into_iter()
        .map(|(label, value)| {
            let change = value - before.get(&label).copied().unwrap_or_default();
            (label, change)
        })
        .filter(|(_, change)| *change != 0)
        .collect();
    let expected: BTreeMap<String, i64> =
        expected.iter().map(|(label, change)| ((*label).to_owned(), *change)).collect();
    assert_eq!(changes, expected, "changes of the counters");
    result
}

/// Number of pages that other programs had pinned when this one started.
static BASELINE: AtomicI64 = AtomicI64::new(0);

/// Records the number of pages that other programs have pinned.
pub fn note_what_is_pinned() {
    BASELINE.store(all_pinned_pages().unwrap_or_default(), Ordering::Relaxed);
}

fn all_pinned_pages() -> Option<i64> {
    // CPUs keep local counts for up to a second, unless this file is written.
    let _ = std::fs::write("/proc/sys/vm/stat_refresh", "1");
    let text = std::fs::read_to_string("/proc/vmstat").expect("/proc/vmstat");
    let value =
        |name: &str| -> Option<i64> { text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok() };
    Some(value("nr_foll_pin_acquired ")? - value("nr_foll_pin_released ")?)
}

/// Returns the kernel's count of pages that are pinned in the whole system. It may lag behind by a second.
pub fn pinned_pages() -> i64 {
    let all = all_pinned_pages().unwrap_or_else(|| skip("this kernel does not count pins"));
    all - BASELINE.load(Ordering::Relaxed)
}

/// Waits until this number of pages is pinned: they are released soon after the last use.
pub fn pinned_pages_become(pages: i64) {
    let settled = waiting::comes(|| pinned_pages() == pages);
    assert!(settled, "{} pages are pinned, not {pages}", pinned_pages());
}

/// Waits until no page is pinned.
pub fn nothing_is_pinned() {
    pinned_pages_become(0);
}

/// A value of `/proc/self/status` in kilobytes.
pub fn status_kilobytes(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.unwrap_or_else(|| panic!("{name} is missing")).trim().trim_end_matches(" kB");
    value.parse().expect("a number")
}
