// SPDX-License-Identifier: CECILL-B
//! The statistics of the driver: the text that reading the device returns.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;

use crate::profile::Profile;
use crate::{node, Error};

/// The contents of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Version of the module.
    pub module_version: String,
    /// Version of the interface.
    pub abi: u32,
    /// Request flags that the administrator has added to every request.
    pub forced_flags: u32,
    /// Request flags that the administrator has disabled.
    pub ignored_flags: u32,
    /// State of DMA support, as the driver writes it.
    pub dma_engine: String,
    /// State of debugging support, as the driver writes it.
    pub debug: String,
    /// The counters, in the text's order.
    pub counters: Vec<Counter>,
    /// Unknown lines: lists of contexts and regions, and additions of later drivers.
    pub other_lines: Vec<String>,
}

/// A number that the driver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Name for programs.
    pub key: &'static str,
    /// Name for people.
    pub label: &'static str,
    /// Value.
    pub value: i64,
}

/// The counters: label in the driver's text, name for programs, name for people.
const COUNTERS: [(&str, &str, &str); 12] = [
    ("Requests submitted", "requests_submitted", "Requests submitted"),
    ("Requests processed (total)", "processed_total", "Requests processed"),
    ("processed (using DMA)", "processed_dma", "  with DMA"),
    ("processed (offloaded to thread)", "processed_thread", "  by the kernel thread"),
    ("processed (with pinned local pages)", "processed_pinned", "  with pinned local pages"),
    ("Requests rejected (invalid flags)", "rejected_invalid_flags", "Requests rejected: invalid flags"),
    ("rejected (not enough memory)", "rejected_no_memory", "Requests rejected: not enough memory"),
    ("rejected (invalid ioctl argument)", "rejected_invalid_argument", "Requests rejected: invalid argument"),
    ("rejected (unexisting region cookie)", "rejected_cookie", "Requests rejected: no such region"),
    ("rejected (failed to pin local pages)", "rejected_pin", "Requests rejected: cannot pin local pages"),
    ("Requests failed during memcpy from/to user", "failed_user_copy", "Requests failed: copy from or to user memory"),
    ("failed during DMA copy", "failed_dma", "Requests failed: DMA copy"),
];
/// The counter that does not count requests.
const CLEANUP_TIMEOUT: (&str, &str, &str) =
    ("DMA copy cleanup timeout", "dma_cleanup_timeout", "DMA cleanups started by the timer");

/// Read limit, far above the length of the text. Another device may be endless.
const LONGEST: u64 = 1 << 20;
/// Number of characters of a line that an error shows.
const SHOWN: usize = 60;

/// Reads the statistics of the device at `path`.
///
/// # Errors
///
/// [`Error::NoDevice`] (ENOENT, ENODEV, ENXIO, or no character device), [`Error::Permission`] (EACCES, EPERM),
/// [`Error::StatisticsFormat`], or [`Error::System`] with the errno of read(2).
pub fn read(path: &Path) -> Result<Statistics, Error> {
    node::demand_device(path, true)?;
    let file = File::open(path).map_err(|error| node::explain(path, error))?;
    let mut bytes = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::System { what: format!("reading {}", path.display()), source })?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// Returns the counters of the compatible text, from the detailed statistics, which every user may read.
#[must_use]
pub fn counters_of(profile: &Profile) -> Vec<Counter> {
    let known = COUNTERS.iter().chain([&CLEANUP_TIMEOUT]);
    let values = profile.counters.iter().map(|(_, value)| i64::try_from(*value).unwrap_or(i64::MAX));
    known.zip(values).map(|((_, key, label), value)| Counter { key, label, value }).collect()
}

/// Sets all counters of the device at `path` to 0.
///
/// # Errors
///
/// [`Error::NoDevice`] (ENOENT, ENODEV, ENXIO), [`Error::ClearRefused`] (EACCES, EPERM, EBUSY).
pub fn clear(path: &Path) -> Result<(), Error> {
    node::demand_device(path, true)?;
    let mut file = OpenOptions::new().write(true).open(path).map_err(|error| match node::explain(path, error) {
        // Joining a group would not help.
        Error::Permission { .. } => Error::ClearRefused { errno: Errno::EACCES },
        other => other,
    })?;
    // The driver ignores the written bytes.
    file.write_all(b"1").map_err(|error| match error.raw_os_error() {
        Some(number) => Error::ClearRefused { errno: Errno::from_raw(number) },
        None => Error::System { what: "clearing the statistics".to_owned(), source: error },
    })
}

/// Parses the driver's text.
///
/// # Errors
///
/// [`Error::StatisticsFormat`] with the line.
pub fn parse(text: &str) -> Result<Statistics, Error> {
    let bad = |line: &str| Error::StatisticsFormat { line: line.chars().take(SHOWN).collect() };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let module_version = first.strip_prefix("knem ").ok_or_else(|| bad(first))?.to_owned();
    let mut statistics = Statistics {
        module_version,
        abi: 0,
        forced_flags: 0,
        ignored_flags: 0,
        dma_engine: String::new(),
        debug: String::new(),
        counters: Vec::new(),
        other_lines: Vec::new(),
    };
    for line in lines {
        let content = line.trim();
        if let Some(value) = content.strip_prefix("Driver ABI=") {
            statistics.abi = hexadecimal(value).ok_or_else(|| bad(line))?;
        } else if let Some(value) = content.strip_prefix("Flags: ") {
            let (forced, ignored) = flags(value).ok_or_else(|| bad(line))?;
            statistics.forced_flags = forced;
            statistics.ignored_flags = ignored;
        } else if let Some(value) = content.strip_prefix("DMAEngine: ") {
            value.clone_into(&mut statistics.dma_engine);
        } else if let Some(value) = content.strip_prefix("Debug: ") {
            value.clone_into(&mut statistics.debug);
        } else if let Some((label, value)) = counter(content) {
            let (_, key, label) = *label;
            let value = value.parse().map_err(|_| bad(line))?;
            statistics.counters.push(Counter { key, label, value });
        } else {
            statistics.other_lines.push(line.to_owned());
        }
    }
    if statistics.abi == 0 {
        return Err(bad("no line \"Driver ABI\""));
    }
    Ok(statistics)
}

/// Returns the table entry and the value of a line.
fn counter(line: &str) -> Option<(&'static (&'static str, &'static str, &'static str), &str)> {
    let (label, value) = line.split_once(':')?;
    let label = label.trim_end();
    COUNTERS.iter().chain([&CLEANUP_TIMEOUT]).find(|entry| entry.0 == label).map(|entry| (entry, value.trim()))
}

fn flags(text: &str) -> Option<(u32, u32)> {
    let (forced, ignored) = text.split_once(", ")?;
    Some((hexadecimal(forced.strip_prefix("forcing ")?)?, hexadecimal(ignored.strip_prefix("ignoring ")?)?))
}

fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
knem 2.0.0
 Driver ABI=0xd
 Flags: forcing 0x10, ignoring 0x3
 DMAEngine: NoKernelSupport
 Debug: NotBuilt
 Requests submitted                           : 21
 Requests processed (total)                   : 16
          processed (using DMA)               : 1
          processed (offloaded to thread)     : 2
          processed (with pinned local pages) : 3
 Requests rejected (invalid flags)            : 4
          rejected (not enough memory)        : 5
          rejected (invalid ioctl argument)   : 6
          rejected (unexisting region cookie) : 7
          rejected (failed to pin local pages): 8
 Requests failed during memcpy from/to user   : 9
          failed during DMA copy              : 10
 DMA copy cleanup timeout                     : 11
";

    #[test]
    fn every_line_is_understood() {
        let statistics = parse(TEXT).unwrap();
        assert_eq!(statistics.module_version, "2.0.0");
        assert_eq!((statistics.abi, statistics.forced_flags, statistics.ignored_flags), (0xd, 0x10, 3));
        assert_eq!((&*statistics.dma_engine, &*statistics.debug), ("NoKernelSupport", "NotBuilt"));
        let values: Vec<i64> = statistics.counters.iter().map(|counter| counter.value).collect();
        assert_eq!(values, [21, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(statistics.other_lines, [""; 0]);
    }

    #[test]
    fn both_texts_have_the_same_counters() {
        let totals: Vec<i64> = parse(TEXT).unwrap().counters.iter().map(|counter| counter.value).collect();
        let names = knem_core::logic::counter::Counter::NAMES.iter();
        let lines: String = names.zip(&totals).map(|((_, name), value)| format!("{name} {value}\n")).collect();
        let profile = crate::profile::parse(&format!("version 1\n{lines}unknown_flags 99\n")).unwrap();
        assert_eq!(counters_of(&profile), parse(TEXT).unwrap().counters);
    }

    #[test]
    fn a_git_version_is_kept_whole() {
        let text = TEXT.replace("knem 2.0.0", "knem 1.1.3.90 (git20181112.810af32)");
        assert_eq!(parse(&text).unwrap().module_version, "1.1.3.90 (git20181112.810af32)");
    }

    #[test]
    fn unknown_lines_are_kept() {
        let text = format!("{TEXT} Context 0000beef\n  Listed 0 regions\n Listed 1 contexts\n");
        assert_eq!(parse(&text).unwrap().other_lines.len(), 3);
    }

    #[test]
    fn a_device_without_an_end_is_no_knem() {
        let error = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("check the path") && error.len() < 600, "{error}");
        assert!(matches!(read(Path::new("/")), Err(Error::NoDevice { .. })));
    }

    #[test]
    fn negative_numbers_are_numbers() {
        let text = TEXT.replace(": 21", ": -1");
        assert_eq!(parse(&text).unwrap().counters[0].value, -1);
    }

    #[test]
    fn other_texts_are_refused_with_the_line() {
        for (text, place) in [
            ("", "\"\""),
            ("root:x:0:0", "root:x:0:0"),
            ("knem 2.0.0\n", "Driver ABI"),
            ("knem 2.0.0\n Driver ABI=13\n", "ABI=13"),
            ("knem 2.0.0\n Driver ABI=0xd\n Requests submitted : many\n", "many"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(place), "{error}");
        }
    }
}
