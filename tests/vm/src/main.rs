// SPDX-License-Identifier: CECILL-B
//! Tests that load and unload the driver, and of the installed command; as root, in a virtual machine.
//!
//! `knem-conformance` tests what any KNEM device must do; these tests use its library.

mod command;
mod dma;
mod lifecycle;
mod loaded;
mod parameters;
mod profile;

use std::process::ExitCode;

use knem_conformance::{children, counters, device, memory, runner, slots, threads, trials, waiting};
use nix::unistd::geteuid;

fn main() -> ExitCode {
    if !geteuid().is_root() {
        eprintln!("knem-vm-tests: run it as root, in a virtual machine: it loads and unloads the module");
        return ExitCode::FAILURE;
    }
    runner::main(
        [command::trials(), parameters::trials(), dma::trials(), profile::trials(), lifecycle::trials()]
            .into_iter()
            .flatten()
            .collect(),
    )
}
