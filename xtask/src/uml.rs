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

/// The series whose source is used unless another is asked for.
pub const DEFAULT_KERNEL: &str = "7.2";

/// What `run` is told on the command line.
#[derive(Debug, Args)]
pub struct Arguments {
    /// With KASAN, lockdep, kmemleak and the other detectors.
    #[arg(long)]
    pub debug: bool,
    /// Series whose source the kernel is built from.
    #[arg(long, value_name = "KERNEL", default_value = DEFAULT_KERNEL)]
    pub kernel: String,
    /// Do not load the driver.
    #[arg(long)]
    pub bare: bool,
    /// Bring in a file or directory; it goes below /root if no absolute destination is given.
    #[arg(long = "add", value_name = "PATH[:DEST]")]
    pub adds: Vec<Add>,
    /// Build a test's kernel module, such as tests/dma, for the kernel, and bring it in below /usr/local/lib/knem.
    #[arg(long = "kmodule", value_name = "DIRECTORY")]
    pub kmodules: Vec<String>,
    /// Processors.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cpus: u32,
    /// Memory.
    #[arg(long, value_name = "MIB", default_value_t = 2560, value_parser = clap::value_parser!(u32).range(256..=2600))]
    pub mem: u32,
    /// Seconds until the kernel is given up, its boot included.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub timeout: u64,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// A kernel, the driver built for it and a userland: what can be run any number of times.
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
    /// Makes what is not in the cache.
    pub fn prepare(lab: &Lab, series: &str, flavour: Flavour) -> Result<Self> {
        let kernel = UmlKernel::of(lab, lab.kernel(Some(series))?, flavour)?;
        let root = lab.userlands().with_tools(&apt_repository(&lab.workspace)?)?;
        let driver = module::driver(lab, &kernel)?;
        Ok(Self { kernel, root, driver, logs: lab.workspace.target().join("uml"), cache: lab.cache.clone() })
    }

    /// Runs commands in a fresh kernel.
    pub fn run(&self, commands: &[Vec<String>], options: &Options, scan: bool) -> Result<Report> {
        let setup = Setup { kernel: &self.kernel, root: &self.root, driver: &self.driver, scan };
        run_commands(&setup, commands, options, &self.logs, &self.cache)
    }
}

/// Runs the command; its exit status.
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
