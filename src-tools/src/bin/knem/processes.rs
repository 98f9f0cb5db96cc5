// SPDX-License-Identifier: CECILL-B
//! Names of processes and users.

use std::collections::HashMap;

use nix::unistd::{Uid, User};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Source of the names of processes and users.
pub(crate) trait Names {
    /// Returns the name of a process, if it exists and is visible.
    fn process(&mut self, pid: u32) -> Option<String>;
    /// Returns the name of a user, or the number.
    fn user(&mut self, uid: u32) -> String;
}

/// Names from the system.
#[derive(Default)]
pub(crate) struct SystemNames {
    processes: System,
    users: HashMap<u32, String>,
}

impl Names for SystemNames {
    fn process(&mut self, pid: u32) -> Option<String> {
        let pid = Pid::from_u32(pid);
        // It may have executed another program since the last call.
        self.processes.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            true,
            ProcessRefreshKind::nothing(),
        );
        Some(printable(&self.processes.process(pid)?.name().to_string_lossy()))
    }

    fn user(&mut self, uid: u32) -> String {
        let look_up =
            || User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        self.users.entry(uid).or_insert_with(look_up).clone()
    }
}

/// Replaces control and white space characters: a process chooses its name, which must not move the cursor or add
/// columns.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || c.is_whitespace() { '?' } else { c }).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made-up names.
    pub(crate) struct Fake;

    impl Names for Fake {
        fn process(&mut self, pid: u32) -> Option<String> {
            (pid != 999).then(|| ["xhpl", "osu_bw", "IMB-MPI1"][pid as usize % 3].to_owned())
        }

        fn user(&mut self, uid: u32) -> String {
            match uid {
                0 => "root".to_owned(),
                1000 => "alice".to_owned(),
                _ => uid.to_string(),
            }
        }
    }

    #[test]
    fn this_process_has_a_name() {
        let mut names = SystemNames::default();
        assert!(names.process(std::process::id()).is_some_and(|name| name.starts_with("knem")));
        assert_eq!(names.process(u32::MAX >> 1), None);
        assert_eq!(names.user(0), "root");
        assert_eq!(names.user(3_999_999_999), "3999999999");
    }

    #[test]
    fn names_cannot_disturb_the_screen() {
        assert_eq!(printable("a\u{1b}[2Jb c\n"), "a?[2Jb?c?");
    }
}
