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

/// What `run` is told on the command line.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Series such as 6.12, flavour of one such as 6.12-rt, or full release [the kernel of Debian 13]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
    /// Force how the driver's Rust part is built [as on a machine that is prepared for the `kernel` crate, where the kernel has it]
    #[arg(long, value_name = "WAY", conflicts_with = "bare")]
    pub rust: Option<Way>,
    /// Leave our packages out.
    #[arg(long)]
    pub bare: bool,
    /// Bring in a file or directory; it goes below /root if no absolute destination is given.
    #[arg(long = "add", value_name = "PATH[:DEST]")]
    pub adds: Vec<Add>,
    /// Build a test's kernel module, such as tests/dma, for the kernel, and bring it in below /usr/local/lib/knem.
    #[arg(long = "kmodule", value_name = "DIRECTORY")]
    pub kmodules: Vec<String>,
    /// Processors.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Memory.
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(256..))]
    pub mem: u32,
    /// Seconds until the machine is given up, its boot included.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command; its exit status.
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
