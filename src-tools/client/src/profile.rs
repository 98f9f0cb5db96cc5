// SPDX-License-Identifier: CECILL-B
//! The detailed statistics of the driver, `/proc/driver/knem/statistics`: copies by path, with sizes and times, and
//! refusals by call and reason. Every user may read them.
//!
//! ```
//! let text = "version 1\nage_ns 5000000000\nsubmitted 3\npath mapped bytes 12288\npath mapped size 4096 3\n";
//! let profile = knem::profile::parse(text).unwrap();
//! assert_eq!(profile.counter("submitted"), 3);
//! assert_eq!((profile.copies(), profile.bytes()), (3, 12288));
//! ```

use std::io::ErrorKind;
use std::path::Path;

use knem_core::logic::counter::Counter;
use knem_core::logic::statistics::{PATHS, VERSION};
use serde::Serialize;

use crate::{Error, Histogram};

/// The directory of the statistics and of the lists of contexts and regions.
pub const DIRECTORY: &str = "/proc/driver/knem";

/// The contents of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Nanoseconds since the module was loaded, or its counters cleared.
    pub age_ns: u64,
    /// Bytes that are pinned now.
    pub pinned_bytes: u64,
    /// Peak of the pinned bytes.
    pub pinned_bytes_peak: u64,
    /// Contexts: opens of the device for writing.
    pub contexts: u64,
    /// Regions that have memory.
    pub regions: u64,
    /// Regions whose memory is pinned only while it is copied.
    pub regions_unpinned: u64,
    /// The counters of the compatible text and those that came later, by the driver's names.
    pub counters: Vec<(&'static str, u64)>,
    /// Copies by path: all of the driver's paths, in its order.
    pub paths: Vec<Copies>,
    /// Calls that returned an error.
    pub refused: Vec<Refused>,
    /// Refusals by reason.
    pub reasons: Vec<Reason>,
}

/// Copies of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copies {
    /// `mapped`: by the calling CPU, through the caller's mapping. `pinned`: by the calling CPU, between pinned pages.
    /// `thread`: by the context's worker thread. `dma`: by a DMA engine.
    pub path: &'static str,
    /// Bytes of the copies that succeeded.
    pub bytes: u64,
    /// Copies that failed.
    pub failed: u64,
    /// All copies by size in bytes.
    pub sizes: Histogram,
    /// All copies by time in nanoseconds.
    pub times: Histogram,
}

/// A call that returned an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The command's name without `KNEM_CMD_`, or the system call.
    pub call: String,
    /// The error's name.
    pub errno: String,
    /// Number of times.
    pub count: u64,
}

/// A reason of refusals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The driver's name for it.
    pub name: String,
    /// Number of times.
    pub count: u64,
}

/// Reads the statistics in `directory`, usually [`DIRECTORY`]; `None` if the driver has none.
///
/// # Errors
/// [`Error::ProfileFormat`] and [`Error::System`].
pub fn read(directory: &Path) -> Result<Option<Profile>, Error> {
    let path = directory.join("statistics");
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).map(Some),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::System { what: format!("reading {}", path.display()), source }),
    }
}

/// Parses the driver's text. Unknown lines of later drivers are ignored.
///
/// # Errors
/// [`Error::ProfileFormat`] with the line that cannot be parsed.
pub fn parse(text: &str) -> Result<Profile, Error> {
    let bad = |line: &str| Error::ProfileFormat { line: line.to_owned() };
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first.strip_prefix("version ").and_then(|version| version.parse().ok()) != Some(VERSION) {
        return Err(bad(first));
    }
    let mut profile = Profile::empty();
    for line in lines {
        profile.take(line).ok_or_else(|| bad(line))?;
    }
    Ok(profile)
}

impl Profile {
    fn empty() -> Self {
        let copies =
            |path| Copies { path, bytes: 0, failed: 0, sizes: Histogram::default(), times: Histogram::default() };
        Self {
            age_ns: 0,
            pinned_bytes: 0,
            pinned_bytes_peak: 0,
            contexts: 0,
            regions: 0,
            regions_unpinned: 0,
            counters: Counter::NAMES.iter().map(|(_, name)| (*name, 0)).collect(),
            paths: PATHS.iter().map(|(_, name)| copies(*name)).collect(),
            refused: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Parses a line; `None` if it is invalid.
    fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            [key, value] => {
                let value = value.parse().ok()?;
                match key {
                    "age_ns" => self.age_ns = value,
                    "pinned_bytes" => self.pinned_bytes = value,
                    "pinned_bytes_peak" => self.pinned_bytes_peak = value,
                    "contexts" => self.contexts = value,
                    "regions" => self.regions = value,
                    "regions_unpinned" => self.regions_unpinned = value,
                    _ => self.set(key, value),
                }
            }
            ["path", path, what, ref values @ ..] => {
                // Unknown paths of later drivers are ignored.
                if let Some(copies) = self.paths.iter_mut().find(|copies| copies.path == path) {
                    copies.take(what, values)?;
                }
            }
            ["refused", call, errno, count] => {
                let (call, errno) = (call.to_owned(), errno.to_owned());
                self.refused.push(Refused { call, errno, count: count.parse().ok()? });
            }
            ["reason", name, count] => {
                self.reasons.push(Reason { name: name.to_owned(), count: count.parse().ok()? });
            }
            _ => {}
        }
        Some(())
    }

    fn set(&mut self, key: &str, value: u64) {
        if let Some(counter) = self.counters.iter_mut().find(|counter| counter.0 == key) {
            counter.1 = value;
        }
    }

    /// Returns a counter by the driver's name; 0 if there is none of this name.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.iter().find(|counter| counter.0 == name).map_or(0, |counter| counter.1)
    }

    /// Returns the completed copies of all paths.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.paths.iter().map(Copies::count).sum()
    }

    /// Returns the failed copies of all paths.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.paths.iter().map(|copies| copies.failed).sum()
    }

    /// Returns the bytes of successful copies of all paths.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.paths.iter().map(|copies| copies.bytes).sum()
    }

    /// Calls that returned an error.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.iter().map(|refused| refused.count).sum()
    }

    /// All copies by size in bytes.
    #[must_use]
    pub fn sizes(&self) -> Histogram {
        self.sum(|copies| &copies.sizes)
    }

    /// All copies by time in nanoseconds.
    #[must_use]
    pub fn times(&self) -> Histogram {
        self.sum(|copies| &copies.times)
    }

    fn sum(&self, which: fn(&Copies) -> &Histogram) -> Histogram {
        let mut sum = Histogram::default();
        self.paths.iter().for_each(|copies| sum.merge(which(copies)));
        sum
    }

    /// Returns the difference to an earlier state, with the elapsed time as `age_ns` and the present values of gauges.
    /// `None` if the counters were cleared in between, or the module was reloaded.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<Self> {
        let mut difference = self.clone();
        difference.age_ns = self.age_ns.checked_sub(before.age_ns)?;
        for ((_, value), (_, before)) in difference.counters.iter_mut().zip(&before.counters) {
            *value = value.checked_sub(*before)?;
        }
        for (copies, before) in difference.paths.iter_mut().zip(&before.paths) {
            copies.bytes = copies.bytes.checked_sub(before.bytes)?;
            copies.failed = copies.failed.checked_sub(before.failed)?;
            copies.sizes = copies.sizes.since(&before.sizes)?;
            copies.times = copies.times.since(&before.times)?;
        }
        for earlier in &before.refused {
            let same = |refused: &&mut Refused| (&refused.call, &refused.errno) == (&earlier.call, &earlier.errno);
            let now = difference.refused.iter_mut().find(same)?;
            now.count = now.count.checked_sub(earlier.count)?;
        }
        for earlier in &before.reasons {
            let now = difference.reasons.iter_mut().find(|reason| reason.name == earlier.name)?;
            now.count = now.count.checked_sub(earlier.count)?;
        }
        difference.refused.retain(|refused| refused.count != 0);
        difference.reasons.retain(|reason| reason.count != 0);
        Some(difference)
    }
}

impl Copies {
    /// Returns the number of completed copies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.sizes.count()
    }

    /// Parses the end of a line; `None` if it is invalid.
    fn take(&mut self, what: &str, values: &[&str]) -> Option<()> {
        let numbers: Option<Vec<u64>> = values.iter().map(|value| value.parse().ok()).collect();
        match (what, &numbers?[..]) {
            ("bytes", [value]) => self.bytes = *value,
            ("failed", [value]) => self.failed = *value,
            ("size", [least, count]) => self.sizes.add(*least, *count),
            ("time_ns", [least, count]) => self.times.add(*least, *count),
            ("bytes" | "failed" | "size" | "time_ns", _) => return None,
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_core::logic::refusal::Refusal;
    use knem_core::logic::statistics::{self as driver, Call, Now, Path as By};
    use knem_core::uapi;

    /// The driver's own text, of these counters.
    fn text(value: impl Fn(usize) -> u64) -> String {
        let now =
            Now { age_ns: 1_000, pinned_bytes: 2, pinned_bytes_peak: 3, contexts: 4, regions: 5, regions_unpinned: 6 };
        let mut text = String::new();
        driver::write(&mut text, now, value).unwrap();
        text
    }

    #[test]
    fn the_drivers_text_is_understood() {
        let size = driver::size(By::Thread, 5000);
        let refused = driver::refused(Call::Command(uapi::CMD_COPY), 13);
        let profile = parse(&text(|n| match n {
            n if n == size => 7,
            n if n == refused => 2,
            n if n == driver::bytes(By::Thread) => 35_000,
            n if n == Counter::Submitted as usize => 9,
            _ => 0,
        }))
        .unwrap();
        assert_eq!((profile.age_ns, profile.pinned_bytes, profile.pinned_bytes_peak), (1_000, 2, 3));
        assert_eq!((profile.contexts, profile.regions, profile.counter("submitted")), (4, 5, 9));
        assert_eq!((profile.copies(), profile.bytes(), profile.refusals()), (7, 35_000, 2));
        assert_eq!(profile.sizes().buckets().next().map(|bucket| bucket.least), Some(4096));
        assert_eq!(profile.refused[0].call, "COPY");
        assert_eq!(profile.refused[0].errno, "EACCES");
        assert_eq!(
            profile.paths.iter().map(|copies| copies.path).collect::<Vec<_>>(),
            ["mapped", "pinned", "thread", "dma"]
        );
    }

    #[test]
    fn nothing_of_the_text_is_lost() {
        let profile = parse(&text(|n| 1 + n as u64)).unwrap();
        assert!(profile.counters.iter().all(|(_, value)| *value != 0));
        assert!(profile.paths.iter().all(|copies| copies.bytes != 0 && copies.failed != 0));
        assert!(profile.paths.iter().all(|copies| copies.sizes.buckets().count() == 40));
        assert_eq!(profile.refused.len(), driver::CALLS.len() * driver::ERRNOS.len());
        assert_eq!(profile.reasons.len(), Refusal::NAMES.len());
    }

    #[test]
    fn what_came_later_is_left_out() {
        let more = text(|_| 0) + "news 5\npath teleport bytes 7\npath dma colour 3\na line of five words here\n";
        assert_eq!(parse(&more).unwrap(), parse(&text(|_| 0)).unwrap());
    }

    #[test]
    fn nonsense_is_refused_with_the_line() {
        for (text, place) in [
            ("", "\"\""),
            ("version 2\n", "version 2"),
            ("knem 2.0.0\n", "knem"),
            ("version 1\nage_ns many\n", "many"),
            ("version 1\npath dma bytes\n", "path dma bytes"),
            ("version 1\nrefused COPY EPERM x\n", "EPERM x"),
        ] {
            let sentence = parse(text).unwrap_err().to_string();
            assert!(sentence.contains(place), "{sentence}");
        }
    }

    #[test]
    fn differences_are_what_happened_in_between() {
        let before =
            parse("version 1\nage_ns 5\nsubmitted 3\nregions 4\nrefused COPY EPERM 1\nreason other_user 1\n").unwrap();
        let after = parse(
            "version 1\nage_ns 9\nsubmitted 5\nregions 2\npath dma bytes 8\npath dma size 8 1\n\
             refused COPY EPERM 1\nrefused open EPERM 2\nreason other_user 3\n",
        )
        .unwrap();
        let difference = after.since(&before).unwrap();
        assert_eq!((difference.age_ns, difference.counter("submitted"), difference.regions), (4, 2, 2));
        assert_eq!((difference.bytes(), difference.copies(), difference.refusals()), (8, 1, 2));
        assert_eq!(difference.refused.len(), 1);
        assert_eq!(difference.reasons[0].count, 2);
    }

    #[test]
    fn clearing_and_loading_again_are_noticed() {
        let before = parse("version 1\nage_ns 5\nsubmitted 3\nrefused COPY EPERM 1\n").unwrap();
        for text in [
            "version 1\nage_ns 4\nsubmitted 3\nrefused COPY EPERM 1\n",
            "version 1\nage_ns 6\nsubmitted 2\nrefused COPY EPERM 1\n",
            "version 1\nage_ns 6\nsubmitted 3\n",
        ] {
            assert_eq!(parse(text).unwrap().since(&before), None, "{text}");
        }
    }

    #[test]
    fn a_driver_without_them_is_no_error() {
        assert_eq!(read(Path::new("/nowhere")).unwrap(), None);
    }
}
