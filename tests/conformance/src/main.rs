// SPDX-License-Identifier: CECILL-B
//! Tests of a KNEM device, one for each rule of the interface.
//!
//! This is an ordinary program. It needs nothing but the device, which no other program may use meanwhile, and runs
//! most tests as root. The name of a test is followed in parentheses by what it tests: a section of the interface's
//! specification, a requirement (R), a weakness of the original driver (W). The tests use raw commands, because most of
//! them make requests that a library would refuse.

mod rules;

use std::process::ExitCode;

use knem_conformance::{
    children, counters, device, machine, memory, parameters, random, runner, skip, slots, stalled, threads, trials,
    waiting,
};

fn main() -> ExitCode {
    runner::main(rules::all())
}
