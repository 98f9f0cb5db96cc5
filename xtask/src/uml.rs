// SPDX-License-Identifier: CECILL-B
//! `cargo xtask uml run`: a command on the debug kernel with the driver loaded.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::programs;
use knem_lab::lab::Lab;
use knem_lab::namespace;
use knem_lab::uml::machine::{run_commands, Setup};
use knem_lab::uml::{module, Flavour, UmlKernel};
use knem_lab::userland::Stack;
use knem_lab::vm::{Add, Options, Report};
use knem_packages::apt_repository;

pub mod detectors;

/// Default series of the source.
pub const DEFAULT_KERNEL: &str = "7.2";

/// Command line of `run`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Use the kernel with KASAN, lockdep, kmemleak and the other detectors.
    #[arg(long)]
    pub debug: bool,
    /// Build the kernel from the source of this series.
    #[arg(long, value_name = "KERNEL", default_value = DEFAULT_KERNEL)]
    pub kernel: String,
    /// Do not load the driver.
    #[arg(long)]
    pub bare: bool,
    /// Copy a file or directory to the machine, to /root unless an absolute destination is given.
    #[arg(long = "add", value_name = "PATH[:DEST]")]
    pub adds: Vec<Add>,
    /// Build a test's kernel module, such as tests/dma, and copy it to /usr/local/lib/knem.
    #[arg(long = "kmodule", value_name = "DIRECTORY")]
    pub kmodules: Vec<String>,
    /// Number of CPUs.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cpus: u32,
    /// Memory in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2560, value_parser = clap::value_parser!(u32).range(256..=2600))]
    pub mem: u32,
    /// Time limit in seconds, including the boot.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub timeout: u64,
    /// Command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// A kernel, the driver built for it and a userland, which can be run repeatedly.
#[derive(Debug)]
pub struct Bench {
    /// The kernel.
    pub kernel: UmlKernel,
    root: Stack,
    driver: PathBuf,
    logs: PathBuf,
    cache: knem_lab::cache::Cache,
}

impl Bench {
    /// Builds the parts that are not in the cache.
    pub fn prepare(lab: &Lab, series: &str, flavour: Flavour) -> Result<Self> {
        let kernel = UmlKernel::of(lab, lab.kernel(Some(series))?, flavour)?;
        let root = lab.userlands().with_tools(&apt_repository(&lab.workspace)?)?;
        let driver = module::driver(lab, &kernel)?;
        Ok(Self { kernel, root, driver, logs: lab.workspace.target().join("uml"), cache: lab.cache.clone() })
    }

    /// Boots the kernel and runs commands.
    pub fn run(&self, commands: &[Vec<String>], options: &Options, scan: bool) -> Result<Report> {
        let setup = Setup { kernel: &self.kernel, root: &self.root, driver: &self.driver, scan };
        run_commands(&setup, commands, options, &self.logs, &self.cache)
    }
}

/// Runs the command; returns its exit status.
pub fn run(arguments: Arguments) -> Result<u8> {
    let Arguments { debug, kernel, bare, adds: added, kmodules, cpus, mem: memory, timeout, command } = arguments;
    namespace::enter()?;
    let lab = Lab::open()?;
    let flavour = if debug { Flavour::Debug } else { Flavour::Plain };
    let bench = Bench::prepare(&lab, &kernel, flavour)?;
    let mut adds = programs::wanted(&lab.workspace, &command)?;
    adds.extend(added);
    for sources in &kmodules {
        adds.push(module::add(&lab, &bench.kernel, sources)?);
    }
    let timeout = Duration::from_secs(timeout);
    let options = Options { cpus, memory, timeout, bare, adds, ..Options::default() };
    bench.run(&[command], &options, true)?.status()
}
