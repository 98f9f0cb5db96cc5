// SPDX-License-Identifier: CECILL-B
//! The driver's counters, before and after.

use std::collections::BTreeMap;

use nix::fcntl::OFlag;

use crate::device::Knem;

pub(crate) const SUBMITTED: &str = "Requests submitted";
pub(crate) const PROCESSED: &str = "Requests processed (total)";
pub(crate) const PINNED: &str = "processed (with pinned local pages)";
pub(crate) const BAD_FLAGS: &str = "Requests rejected (invalid flags)";
pub(crate) const NO_MEMORY: &str = "rejected (not enough memory)";
pub(crate) const BAD_ARGUMENT: &str = "rejected (invalid ioctl argument)";
pub(crate) const NO_COOKIE: &str = "rejected (unexisting region cookie)";
pub(crate) const NO_PIN: &str = "rejected (failed to pin local pages)";
pub(crate) const USER_COPY: &str = "Requests failed during memcpy from/to user";

/// The device's text.
pub(crate) fn text() -> String {
    let file = Knem::open_as(OFlag::O_RDONLY).expect("opens for reading");
    let mut bytes = vec![0; 65536];
    let length = nix::unistd::read(file.fd(), &mut bytes).expect("read");
    bytes.truncate(length);
    String::from_utf8(bytes).expect("text")
}

/// All counters by their labels.
pub(crate) fn counters() -> BTreeMap<String, i64> {
    let counter = |line: &str| {
        let (label, value) = line.split_once(':')?;
        Some((label.trim().to_owned(), value.trim().parse().ok()?))
    };
    text().lines().filter_map(counter).collect()
}

/// Runs `action` and compares what it changes in the counters: these by so much, and no others.
pub(crate) fn counts<R>(expected: &[(&str, i64)], action: impl FnOnce() -> R) -> R {
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

/// The kernel's count of pages pinned and not unpinned, in the whole system.
pub(crate) fn pinned_pages() -> i64 {
    // Processors keep their own counts for up to a second, unless they are asked.
    std::fs::write("/proc/sys/vm/stat_refresh", "1").expect("counts can be refreshed");
    let text = std::fs::read_to_string("/proc/vmstat").expect("/proc/vmstat");
    let value = |name: &str| -> i64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} is missing"));
        line.trim().parse().expect("a number")
    };
    value("nr_foll_pin_acquired ") - value("nr_foll_pin_released ")
}

/// Waits until no page is pinned, which happens soon after the last use.
pub(crate) fn nothing_is_pinned() {
    for _ in 0..100 {
        if pinned_pages() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{} pages are pinned still", pinned_pages());
}

/// A value of `/proc/self/status` in kilobytes.
pub(crate) fn status_kilobytes(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = line.unwrap_or_else(|| panic!("{name} is missing")).trim().trim_end_matches(" kB");
    value.parse().expect("a number")
}
