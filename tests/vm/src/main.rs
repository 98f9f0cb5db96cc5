// SPDX-License-Identifier: CECILL-B
//! Tests of the driver, run as root in a virtual machine against the real `/dev/knem`.
//!
//! They speak to the driver with raw commands, because most of them ask for what a library would
//! refuse. Options are those of every Rust test program: a part of a name, `--list`, `--skip`,
//! `--exact`. Tests run one at a time: they compare the driver's counters, and they fork.

mod access;
mod children;
mod command;
mod commands;
mod cookies;
mod copies;
mod counters;
mod device;
mod faults;
mod kinds;
mod lifecycle;
mod limits;
mod memory;
mod model;
mod modes;
mod offsets;
mod processes;
mod random;
mod regions;
mod single_use;
mod statistics;
mod vectors;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use nix::unistd::geteuid;

/// The tests of a module, named after it and after the rule that each of them checks.
macro_rules! trials {
    ($($test:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$($crate::trial(module_path!(), stringify!($test), $test)),*]
        }
    };
}
pub(crate) use trials;

fn trial(module: &str, name: &str, test: fn()) -> Trial {
    let module = module.rsplit("::").next().unwrap_or(module);
    Trial::test(format!("{module}::{name}"), move || {
        test();
        Ok(())
    })
}

fn main() -> ExitCode {
    if let Some(code) = children::role() {
        return code;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = [
        modes::trials(),
        commands::trials(),
        statistics::trials(),
        regions::trials(),
        cookies::trials(),
        single_use::trials(),
        access::trials(),
        copies::trials(),
        vectors::trials(),
        offsets::trials(),
        faults::trials(),
        kinds::trials(),
        limits::trials(),
        processes::trials(),
        model::trials(),
        command::trials(),
        // Last: they look at what the others have left.
        lifecycle::trials(),
    ]
    .concat_trials();
    if !arguments.list {
        if !geteuid().is_root() {
            eprintln!("knem-vm-tests: run it as root, in a virtual machine: it loads and unloads the module");
            return ExitCode::FAILURE;
        }
        if !std::path::Path::new(knem_core::uapi::DEVICE_FILENAME).exists() {
            eprintln!("knem-vm-tests: there is no {}: modprobe knem", knem_core::uapi::DEVICE_FILENAME);
            return ExitCode::from(3);
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Joins the modules' tests: `Trial` cannot be cloned, so that `concat` does not.
trait ConcatTrials {
    fn concat_trials(self) -> Vec<Trial>;
}

impl<const N: usize> ConcatTrials for [Vec<Trial>; N] {
    fn concat_trials(self) -> Vec<Trial> {
        self.into_iter().flatten().collect()
    }
}
