// SPDX-License-Identifier: CECILL-B
//! One member of the group against another: an attacker with limits, beside a victim of another user that must not be
//! affected.
//!
//! `knem-limits` runs the tests, as root in a virtual machine. `knem-limits confine COMMAND...` runs a command as an
//! ordinary member in a control group with cpuset, cpu.max, pids.max and memory.max; all tests of the interface are
//! also run that way.

mod confine;
mod memory;
mod party;
mod pins;
mod thread;

use std::process::ExitCode;

use knem_conformance::{
    children, counters, device, machine, memory as mapping, runner, slots, stalled, trials, waiting,
};
use nix::unistd::geteuid;

fn main() -> ExitCode {
    if !geteuid().is_root() {
        eprintln!("knem-limits: run it as root, in a virtual machine: it makes control groups and becomes other users");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, command)) = arguments.split_first() {
        if first == "confine" {
            return confine::run(command);
        }
    }
    runner::main([pins::trials(), thread::trials(), memory::trials()].into_iter().flatten().collect())
}
