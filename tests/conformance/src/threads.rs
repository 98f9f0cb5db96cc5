// SPDX-License-Identifier: CECILL-B
//! The driver's threads, as `/proc` shows them.

use std::collections::BTreeSet;
use std::fs;

use crate::device::Knem;
use crate::slots::Slots;
use crate::waiting;

/// A thread of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Thread(u32);

impl Thread {
    /// All there are now.
    pub fn all() -> BTreeSet<Self> {
        let entries = fs::read_dir("/proc").expect("/proc");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .map(Self)
            .filter(|thread| thread.read("comm").is_some_and(|name| name.starts_with("knem-ctx-")))
            .collect()
    }

    /// Maps the status array of a file, and finds the thread that this starts.
    pub fn of(knem: &Knem, slots: usize) -> (Self, Slots) {
        let before = Self::all();
        let slots = Slots::map(knem, slots).expect("mapped");
        let mut found = None;
        waiting::until("the thread knem-ctx-* is there", || {
            found = Self::all().difference(&before).next().copied();
            found.is_some()
        });
        (found.expect("found"), slots)
    }

    /// A file of it below `/proc`.
    pub fn read(self, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0)).ok()
    }

    /// The processors it may use, such as `0-1`.
    pub fn processors(self) -> String {
        let status = self.read("status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Whether it is a thread of the kernel: it has no memory of its own.
    pub fn is_of_the_kernel(self) -> bool {
        self.read("status").is_some_and(|status| !status.contains("VmSize:"))
    }

    /// Whether it has not ended.
    pub fn exists(self) -> bool {
        self.read("comm").is_some_and(|name| name.starts_with("knem-ctx-"))
    }
}

/// A list of processors as `/proc` writes it.
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
