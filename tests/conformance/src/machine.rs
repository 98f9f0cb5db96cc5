// SPDX-License-Identifier: CECILL-B
//! What this machine supports; tests that need more are skipped.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::{geteuid, Pid};

use crate::skip;

/// The kernel's version and patchlevel.
pub fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { panic!("{release} is no release") };
    (major, minor)
}

/// Skips the test on kernels before this one, which behave differently.
pub fn need_kernel(since: (u32, u32), why: &str) {
    let (major, minor) = kernel();
    if (major, minor) < since {
        skip(format!("kernel {major}.{minor}: {why}"));
    }
}

/// Skips the test where the worker thread is a kernel thread: before Linux 6.10, and in a kernel without
/// `CONFIG_VHOST_TASK`.
pub fn need_threads_of_processes() {
    need_kernel((6, 10), "the thread is one of the kernel's");
    let symbols = fs::read_to_string("/proc/kallsyms").expect("/proc/kallsyms");
    if !symbols.lines().any(|line| line.ends_with(" vhost_task_create")) {
        skip("the thread is one of the kernel's: this kernel has no vhost_task_create");
    }
}

/// Skips the test unless it runs as root.
pub fn need_root() {
    if !geteuid().is_root() {
        skip("it takes root");
    }
}

/// Returns the CPUs that the calling thread may use.
pub fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("sched_getaffinity");
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect()
}

/// Skips the test unless there are several CPUs.
pub fn need_processors() -> Vec<usize> {
    let all = processors();
    if all.len() < 2 {
        skip("there is one processor");
    }
    all
}

/// Confines the calling thread to some CPUs during `work`.
pub fn on_processors<R>(cpus: &[usize], work: impl FnOnce() -> R) -> R {
    let before = sched_getaffinity(Pid::from_raw(0)).expect("sched_getaffinity");
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu).expect("a processor"));
    sched_setaffinity(Pid::from_raw(0), &set).expect("sched_setaffinity");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    sched_setaffinity(Pid::from_raw(0), &before).expect("sched_setaffinity");
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A control group, removed when this is dropped.
pub struct ControlGroup {
    path: PathBuf,
    /// Controllers that were not enabled before.
    enabled: Vec<String>,
}

impl ControlGroup {
    /// Creates a group below the root of the hierarchy with these controllers. Skips the test where that is not
    /// possible.
    pub fn new(controllers: &[&str]) -> Self {
        need_root();
        let root = Path::new("/sys/fs/cgroup");
        let Ok(offered) = fs::read_to_string(root.join("cgroup.controllers")) else {
            skip("/sys/fs/cgroup is no hierarchy of control groups, version 2");
        };
        let before = fs::read_to_string(root.join("cgroup.subtree_control")).expect("the controllers");
        let mut enabled = Vec::new();
        for controller in controllers {
            if !offered.split_whitespace().any(|word| word == *controller) {
                skip(format!("there is no cgroup controller {controller}"));
            }
            if let Err(error) = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}")) {
                skip(format!("the cgroup controller {controller} cannot be enabled: {error}"));
            }
            if !before.split_whitespace().any(|word| word == *controller) {
                enabled.push((*controller).to_owned());
            }
        }
        let path = root.join(format!("knem-conformance-{}", std::process::id()));
        fs::create_dir(&path).expect("a control group");
        Self { path, enabled }
    }

    /// Sets a value of the group.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{} = {value}: {error}", path.display()));
    }

    /// Returns a value of the group.
    pub fn get(&self, file: &str) -> String {
        let path = self.path.join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Moves the calling process into the group.
    pub fn join(&self) {
        self.set("cgroup.procs", "0");
    }

    /// The group's name as in `/proc/PID/cgroup`.
    pub fn name(&self) -> String {
        format!("0::/{}", self.path.file_name().and_then(|name| name.to_str()).expect("a name"))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Its last member may still be exiting.
        let removed = crate::waiting::comes(|| fs::remove_dir(&self.path).is_ok());
        if !removed {
            eprintln!("# {} cannot be removed", self.path.display());
        }
        // Restores the groups for other tests: with a cpuset of their own, threads of 5.10 would use fewer CPUs.
        for controller in &self.enabled {
            if let Err(error) = fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("-{controller}")) {
                eprintln!("# the cgroup controller {controller} cannot be disabled: {error}");
            }
        }
    }
}
