// SPDX-License-Identifier: CECILL-B
//! The same trees in User Mode Linux, which is nearly as fast as the host.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use knem_lab::uml::machine::{run_commands, Setup};
use knem_lab::uml::{module, Flavour, UmlKernel};
use knem_lab::userland::Stack;
use knem_lab::vm::{Options, Report};

use crate::site::Site;

/// The series whose source the kernel is built from, as for `xtask uml`.
pub const SERIES: &str = "7.2";

/// Memory in MiB: the most that the kernel supports.
const MEMORY: u32 = 2600;

/// A kernel, the driver built for it, and the trees.
#[derive(Debug)]
pub struct Machine {
    kernel: UmlKernel,
    driver: PathBuf,
    root: Stack,
}

impl Machine {
    /// Builds what is not in the cache.
    ///
    /// # Errors
    /// If any of it cannot be built.
    pub fn prepare(site: &Site) -> Result<Self> {
        let kernel = UmlKernel::of(&site.lab, site.lab.kernel(Some(SERIES))?, Flavour::Plain)?;
        let driver = module::driver(&site.lab, &kernel)?;
        let below = site.lab.userlands().with_tools(site.packages())?;
        let root = site.with_trees(&below, "clients in User Mode Linux")?;
        Ok(Self { kernel, driver, root })
    }

    /// Runs commands in one boot.
    ///
    /// # Errors
    /// If the kernel does not boot or shut down properly.
    pub fn run(&self, site: &Site, commands: &[Vec<String>]) -> Result<Report> {
        let setup = Setup { kernel: &self.kernel, root: &self.root, driver: &self.driver, scan: false };
        let options =
            Options { memory: MEMORY, cpus: 2, echo: false, timeout: Duration::from_secs(3600), ..Options::default() };
        run_commands(&setup, commands, &options, &site.lab.workspace.target().join("uml"), &site.lab.cache)
    }
}
