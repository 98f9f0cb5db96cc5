// SPDX-License-Identifier: CECILL-B
//! The driver's worker threads, as `/proc` shows them.

use std::collections::BTreeSet;
use std::fs;

use crate::device::{Inline, Knem, READ};
use crate::slots::{Slots, DONE, PENDING, THREAD};
use crate::waiting;

/// A thread of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thread(u32);

impl Thread {
    /// Returns all that exist now: threads of processes, or kernel threads.
    pub fn all() -> BTreeSet<Self> {
        let entries = fs::read_dir("/proc").expect("/proc");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .flat_map(|process| fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten())
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Self)
            .filter(|thread| thread.exists())
            .collect()
    }

    /// Maps the status array of a context, makes a request without bytes, and finds the worker thread that this starts.
    pub fn of(knem: &Knem, slots: usize) -> (Self, Slots) {
        let before = Self::all();
        let slots = Slots::map(knem, slots).expect("mapped");
        start(knem, &slots);
        let mut found = None;
        waiting::until("the thread knem-ctx-* is there", || {
            found = Self::all().difference(&before).next().copied();
            found.is_some()
        });
        (found.expect("found"), slots)
    }

    /// Reads a file of the thread below `/proc`.
    pub fn read(self, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).ok()
    }

    /// Returns the CPUs that it may use, such as `0-1`.
    pub fn processors(self) -> String {
        let status = self.read("status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Returns the pid of its process; its own for a kernel thread.
    pub fn process(self) -> u32 {
        let status = self.read("status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }

    /// Returns its nice value and its policy.
    pub fn scheduling(self) -> (i64, i64) {
        let stat = self.read("stat").unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |n: usize| fields.get(n - 3).and_then(|field| field.parse().ok()).unwrap_or(-1);
        (field(19), field(41))
    }

    /// Whether it still exists.
    pub fn exists(self) -> bool {
        self.read("comm").is_some_and(|name| name.starts_with("knem-ctx-"))
    }
}

/// Makes a request without bytes to slot 0, which starts the worker thread.
pub fn start(knem: &Knem, slots: &Slots) {
    let region = knem.create(&[], READ, 0).expect("created");
    let request = Inline { cookie: region, flags: THREAD, ..Inline::default() };
    assert_eq!(knem.inline_at(request, 0), Ok(u32::from(PENDING)));
    assert_eq!(slots.wait(0), DONE);
    slots.set(0, PENDING);
    assert_eq!(knem.destroy(region), Ok(()));
}

/// Formats a list of CPUs as `/proc` does.
pub fn list(cpus: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => parts.push((*cpu, *cpu)),
        }
    }
    let part = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    parts.into_iter().map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_are_written_as_the_kernel_does() {
        assert_eq!(super::list(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(super::list(&[]), "");
    }
}
