// SPDX-License-Identifier: CECILL-B
//! The driver's statistics and pinned memory, and copies between processes.

use std::path::Path;

use knem::{statistics, Error};
use nix::sys::resource::{getrlimit, Resource};

use super::{demand, Outcome, Subject};
use crate::bench;
use crate::exit::Failure;

/// The driver's list of contexts.
const CONTEXTS: &str = "/proc/driver/knem/contexts";

/// State before the first check.
#[derive(Debug, Default)]
pub(crate) struct Before {
    processed: Option<i64>,
    pinned: Option<String>,
}

impl Before {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Self {
        Self { processed: processed(path).ok().flatten(), pinned: pinned() }
    }
}

/// Returns the number of requests that the driver has processed since it was loaded.
fn processed(path: &Path) -> Result<Option<i64>, Error> {
    let statistics = statistics::read(path)?;
    let mut counters = statistics.counters.iter();
    Ok(counters.find(|counter| counter.key == "processed_total").map(|counter| counter.value))
}

/// Returns the pinned memory of this process, as the kernel reports it.
fn pinned() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmPin:")).map(|value| value.trim().to_owned())
}

pub(super) fn processes(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let Some(path) = subject.path else {
        return Ok(Outcome::Skipped("this driver works within one process".to_owned()));
    };
    match bench::exchange(path) {
        Ok(()) => Ok(Outcome::Passed),
        Err(Failure::Knem(error)) => Err(error),
        // The second process has the same limits as this one, but reports only a message.
        Err(failure) if failure.to_string().contains("cannot pin") => {
            let limit = getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft);
            Err(Error::PinRefused { bytes: bench::EXCHANGED, limit })
        }
        Err(failure) => Ok(Outcome::Failed(failure.to_string())),
    }
}

pub(super) fn counted(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let (Some(path), Some(before)) = (subject.path, subject.before.processed) else {
        return Ok(Outcome::Skipped("this driver has no statistics".to_owned()));
    };
    let after = processed(path)?.unwrap_or_default();
    // The number decreases if the statistics are cleared meanwhile.
    Ok(demand(after != before, "the number of processed requests has not changed"))
}

pub(super) fn nothing_left(subject: &Subject<'_>) -> Result<Outcome, Error> {
    if subject.path.is_none() {
        return Ok(Outcome::Skipped("this driver pins nothing".to_owned()));
    }
    let after = pinned();
    if after != subject.before.pinned {
        let text = |amount: Option<String>| amount.unwrap_or_else(|| "nothing".to_owned());
        let before = text(subject.before.pinned.clone());
        return Ok(Outcome::Failed(format!("this process has {} pinned, before the test {before}", text(after))));
    }
    Ok(match std::fs::read_to_string(CONTEXTS) {
        Ok(contexts) => demand(!mine(&contexts, std::process::id()), "a closed context is still listed"),
        // Drivers before 2.0 have no list.
        Err(_) => Outcome::Passed,
    })
}

/// Whether the list has a context of this process.
fn mine(contexts: &str, process: u32) -> bool {
    let pid = |line: &str| line.split_whitespace().nth(2).and_then(|word| word.parse().ok());
    contexts.lines().filter(|line| !line.starts_with('#')).filter_map(pid).any(|pid: u32| pid == process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_found_in_the_list() {
        let list = "# context uid pid regions bytes requests copied slots\n1 0 77 0 0 0 0 0\n2 5 78 1 4096 3 9 0\n";
        assert!(mine(list, 77) && mine(list, 78));
        assert!(!mine(list, 1) && !mine("", 77));
    }
}
