// SPDX-License-Identifier: CECILL-B
//! Limits the memory of commands, with the machine's control groups of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};

/// A control group with a memory limit, removed when this is dropped.
#[derive(Debug)]
pub struct Bound {
    group: PathBuf,
    /// The file in which the kernel counts how often it killed a process.
    kills: PathBuf,
}

impl Bound {
    /// Creates one with this number of MiB.
    ///
    /// # Errors
    /// If this machine has no control groups for memory, or they cannot be created.
    pub fn new(mib: u64) -> Result<Self> {
        let name = format!("knem-drills-{}", std::process::id());
        let (group, limit, kills) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            // Processes must not be in a group whose children have controllers, except in the root group.
            let _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
            (Path::new("/sys/fs/cgroup").join(name), "memory.max", "memory.events")
        } else {
            (Path::new("/sys/fs/cgroup/memory").join(name), "memory.limit_in_bytes", "memory.oom_control")
        };
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        let bound = Self { kills: group.join(kills), group };
        let path = bound.group.join(limit);
        fs::write(&path, (mib << 20).to_string()).with_context(|| format!("cannot set {}", path.display()))?;
        // Without this, excess memory would be swapped. Machines without swap may lack the file.
        let _ = fs::write(bound.group.join("memory.swap.max"), "0");
        Ok(bound)
    }

    /// Returns the same command with the limit.
    pub fn command(&self, command: &Command) -> Command {
        let mut bound = Command::new("sh");
        bound.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.group);
        bound.arg(command.get_program()).args(command.get_args());
        // The environment was cleared, and then set.
        bound.env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                bound.env(name, value);
            }
        }
        bound
    }

    /// Returns how many processes were killed for lack of memory.
    ///
    /// # Errors
    /// If the kernel does not report it.
    pub fn kills(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.kills)?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        match count.map(|count| count.trim().parse()) {
            Some(Ok(count)) => Ok(count),
            _ => bail!("{} does not contain how many were killed: {text}", self.kills.display()),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // The last process may still be exiting.
        for _ in 0..50 {
            if fs::remove_dir(&self.group).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}
