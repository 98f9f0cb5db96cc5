// SPDX-License-Identifier: CECILL-B
//! The environment of a benchmark: what is needed to interpret its results, or to repeat it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine and the settings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Environment {
    /// Name of the machine.
    pub(crate) host: String,
    /// Release of its kernel.
    pub(crate) kernel: String,
    /// Its CPU model.
    pub(crate) processor: String,
    /// The CPU reports a hypervisor.
    pub(crate) virtual_machine: bool,
    /// Version of the driver, if it was used.
    pub(crate) module_version: Option<String>,
    /// Version of this command.
    pub(crate) command_version: String,
    /// Start time in UTC.
    pub(crate) started: String,
    /// CPU of the first process.
    pub(crate) first_cpu: usize,
    /// CPU of the second process.
    pub(crate) second_cpu: usize,
    /// Their topology: same core, package or NUMA node.
    pub(crate) relation: String,
    /// Bytes that were written before each copy to empty the caches; 0 if they were not emptied.
    pub(crate) evicted_bytes: usize,
    /// Seed of the order.
    pub(crate) seed: u64,
    /// Number of rounds.
    pub(crate) rounds: u32,
    /// Unmeasured copies at the start of each round.
    pub(crate) warmup: u32,
    /// The clock: `tsc` or `monotonic`.
    pub(crate) clock: &'static str,
    /// Overhead of reading the clock, which is part of each time.
    pub(crate) clock_ns: u64,
    /// Median time of a request without effect (KNEM_CMD_GET_INFO), if the driver was used: part of the time of each
    /// request.
    pub(crate) null_call_ns: Option<u64>,
    /// Size of a chunk of the shared-memory ring.
    pub(crate) shm_chunk_bytes: usize,
    /// Number of chunks of the shared-memory ring.
    pub(crate) shm_chunks: usize,
}

impl Environment {
    /// Returns "warm" or "cold": the state of the caches before each copy.
    pub(crate) fn caches(&self) -> &'static str {
        if self.evicted_bytes > 0 {
            "cold"
        } else {
            "warm"
        }
    }
}

/// Returns the machine's name and kernel.
pub(crate) fn host_and_kernel() -> (String, String) {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    (read("hostname"), read("osrelease"))
}

/// Returns the CPU model, and whether the CPU reports a hypervisor.
pub(crate) fn processor(cpuinfo: &str) -> (String, bool) {
    let value = |key: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let name = value("model name").or_else(|| value("CPU implementer").map(|code| format!("CPU implementer {code}")));
    let flags = value("flags").unwrap_or_default();
    (name.unwrap_or_else(|| "unknown CPU".to_owned()), flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

/// Returns the current time in UTC, in seconds.
pub(crate) fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(now.as_secs())
}

/// Formats a time in seconds since 1970 as `2026-11-21 08:00:00 UTC`.
fn date(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years that start in March have their leap day at the end, and every 400 of them have the same number of days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
pub(crate) mod samples {
    //! A machine that does not exist, for tests of outputs.

    use super::Environment;

    pub(crate) fn environment() -> Environment {
        Environment {
            host: "node17".to_owned(),
            kernel: "7.2.12+deb13-amd64".to_owned(),
            processor: "Example 9000".to_owned(),
            virtual_machine: false,
            module_version: Some("2.0.0".to_owned()),
            command_version: "2.0.0".to_owned(),
            started: "2026-11-21 08:00:00 UTC".to_owned(),
            first_cpu: 0,
            second_cpu: 1,
            relation: "two cores, package 0, NUMA node 0".to_owned(),
            evicted_bytes: 0,
            seed: 4711,
            rounds: 5,
            warmup: 1,
            clock: "tsc",
            clock_ns: 20,
            null_call_ns: Some(90),
            shm_chunk_bytes: 32768,
            shm_chunks: 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }

    #[test]
    fn processors_are_recognised() {
        let (name, virtual_machine) =
            processor("processor\t: 0\nmodel name\t: Example 9000\nflags\t\t: fpu hypervisor sse\n");
        assert_eq!((name.as_str(), virtual_machine), ("Example 9000", true));
        assert_eq!(processor("model name : X\nflags : fpu\n"), ("X".to_owned(), false));
        assert_eq!(processor(""), ("unknown CPU".to_owned(), false));
    }

    #[test]
    fn this_machine_has_a_kernel() {
        assert!(!host_and_kernel().1.is_empty());
        assert!(now().ends_with(" UTC"));
    }
}
