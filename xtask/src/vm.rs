// SPDX-License-Identifier: CECILL-B
//! `cargo xtask vm run`: a command on a stock kernel with the packages installed.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::programs;
use knem_lab::lab::Lab;
use knem_lab::userland::Way;
use knem_lab::vm::{Add, Options};
use knem_lab::{kmodules, namespace};
use knem_packages::apt_repository;

/// Command line of `run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Boot this kernel: a series such as 6.12, a flavour such as 6.12-rt, or a full release [default: the kernel of
    /// Debian 13]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
    /// Force how the driver's Rust part is built [default: on the `kernel` crate if the kernel has it]
    #[arg(long, value_name = "WAY", conflicts_with = "bare")]
    pub rust: Option<Way>,
    /// Do not install the packages.
    #[arg(long)]
    pub bare: bool,
    /// Copy a file or directory to the machine, to /root unless an absolute destination is given.
    #[arg(long = "add", value_name = "PATH[:DEST]")]
    pub adds: Vec<Add>,
    /// Build a test's kernel module, such as tests/dma, and copy it to /usr/local/lib/knem.
    #[arg(long = "kmodule", value_name = "DIRECTORY")]
    pub kmodules: Vec<String>,
    /// Number of CPUs.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    pub mem: u32,
    /// Time limit in seconds, including the boot.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// Command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command; returns its exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let Arguments { kernel, rust, bare, mut adds, kmodules: modules, cpus, mem: memory, timeout, command } = arguments;
    namespace::enter()?;
    let lab = Lab::open()?;
    let kernel = lab.kernel(kernel.as_deref())?;
    let image = if bare {
        lab.bare_image(kernel)?
    } else {
        let (image, installed) = lab.image(kernel, &apt_repository(&lab.workspace)?, rust)?;
        adds.extend(programs::of_the_tools(&lab.workspace, &installed)?);
        image
    };
    for sources in &modules {
        adds.push(kmodules::add(&lab, kernel, sources)?);
    }
    adds.extend(programs::wanted(&lab.workspace, &command)?);
    let timeout = Duration::from_secs(timeout);
    let options = Options { cpus, memory, timeout, bare, adds, ..Options::default() };
    lab.boot(&image, &[command], &options)?.status()
}
