// SPDX-License-Identifier: CECILL-B
//! Runs a command as a batch system runs a job: an ordinary member of the group, in a control group with limits.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::resource::{setrlimit, Resource, RLIM_INFINITY};

use crate::children::{become_user, Child, STRANGER};
use crate::machine::{processors, ControlGroup};

/// CPU time in each 100 ms: a quota with which the tests end in time.
const QUOTA: &str = "150000 100000";
/// Number of tasks. The tests start some tens of threads at a time.
const TASKS: &str = "128";
/// Bytes of memory. The largest tests have a million regions and status arrays of 2^24 slots.
const MEMORY: &str = "1610612736";

/// Runs the command, and returns its exit status.
pub(crate) fn run(command: &[String]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        eprintln!("knem-limits confine: which command?");
        return ExitCode::FAILURE;
    };
    let group = ControlGroup::new(&["cpuset", "cpu", "pids", "memory"]);
    // The first CPU is excluded, so that the cpuset differs from the machine's.
    let all = processors();
    let inside = if all.len() > 1 { &all[1..] } else { &all[..] };
    let list: Vec<String> = inside.iter().map(usize::to_string).collect();
    for (file, value) in
        [("cpuset.cpus", list.join(",").as_str()), ("cpu.max", QUOTA), ("pids.max", TASKS), ("memory.max", MEMORY)]
    {
        group.set(file, value);
    }
    let child = Child::start(|| {
        group.join();
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).expect("setrlimit");
        become_user(STRANGER);
        panic!("{program}: {}", Command::new(program).args(arguments).exec());
    });
    match child.wait() {
        nix::sys::wait::WaitStatus::Exited(_, code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        ended => {
            eprintln!("knem-limits confine: {program}: {ended:?}");
            ExitCode::FAILURE
        }
    }
}
