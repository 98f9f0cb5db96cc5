// SPDX-License-Identifier: CECILL-B
//! The driver's counters, before and after.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use nix::fcntl::OFlag;

use crate::device::Knem;
use crate::{skip, waiting};

/// Requests that count.
pub const SUBMITTED: &str = "Requests submitted";
/// Requests that were accepted.
pub const PROCESSED: &str = "Requests processed (total)";
/// Requests whose local memory was pinned.
pub const PINNED: &str = "processed (with pinned local pages)";
/// Requests given to the thread.
pub const OFFLOADED: &str = "processed (offloaded to thread)";
/// Refused for flags.
pub const BAD_FLAGS: &str = "Requests rejected (invalid flags)";
/// Refused for want of memory.
pub const NO_MEMORY: &str = "rejected (not enough memory)";
/// Refused for an unreadable list.
pub const BAD_ARGUMENT: &str = "rejected (invalid ioctl argument)";
/// Refused by the region.
pub const NO_COOKIE: &str = "rejected (unexisting region cookie)";
/// Refused because local memory could not be pinned.
pub const NO_PIN: &str = "rejected (failed to pin local pages)";
/// Failed in memory of the caller.
pub const USER_COPY: &str = "Requests failed during memcpy from/to user";

/// The device's text.
pub fn text() -> String {
    let file = Knem::open_as(OFlag::O_RDONLY).expect("opens for reading");
    let mut bytes = vec![0; 65536];
    let length = nix::unistd::read(file.fd(), &mut bytes).expect("read");
    bytes.truncate(length);
    String::from_utf8(bytes).expect("text")
}

/// All counters by their labels.
pub fn counters() -> BTreeMap<String, i64> {
    let counter = |line: &str| {
        let (label, value) = line.split_once(':')?;
        Some((label.trim().to_owned(), value.trim().parse().ok()?))
    };
    text().lines().filter_map(counter).collect()
}

/// Runs `action` and compares what it changes in the counters: these by so much, and no others.
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

/// Pages that somebody else had pinned when the program started.
static BASELINE: AtomicI64 = AtomicI64::new(0);

/// Remembers what others have pinned.
pub fn note_what_is_pinned() {
    BASELINE.store(all_pinned_pages().unwrap_or_default(), Ordering::Relaxed);
}

fn all_pinned_pages() -> Option<i64> {
    // Processors keep their own counts for up to a second, unless they are asked.
    let _ = std::fs::write("/proc/sys/vm/stat_refresh", "1");
    let text = std::fs::read_to_string("/proc/vmstat").expect("/proc/vmstat");
    let value =
        |name: &str| -> Option<i64> { text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok() };
    Some(value("nr_foll_pin_acquired ")? - value("nr_foll_pin_released ")?)
}

/// The kernel's count of pages pinned and not unpinned, in the whole system. It may lag behind for a second.
pub fn pinned_pages() -> i64 {
    let all = all_pinned_pages().unwrap_or_else(|| skip("this kernel does not count pins"));
    all - BASELINE.load(Ordering::Relaxed)
}

/// Waits until so many pages are pinned: they are released soon after the last use.
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
