// SPDX-License-Identifier: CECILL-B
//! Tests of a KNEM device, one for each rule of the interface.
//!
//! An ordinary program: it needs nothing but the device, which nobody else should use meanwhile, and does most as root.
//! Behind each name stands in parentheses what it is for: a section of the interface's specification, a requirement (R),
//! a weakness of the original driver (W). The tests speak to the driver with raw commands, because most of them ask for
//! what a library would refuse.

mod rules;

use std::process::ExitCode;

use knem_conformance::{
    children, counters, device, machine, memory, parameters, random, runner, skip, slots, stalled, threads, trials,
    waiting,
};

fn main() -> ExitCode {
    runner::main(rules::all())
}
