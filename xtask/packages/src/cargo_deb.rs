// SPDX-License-Identifier: CECILL-B
//! cargo-deb: packs what is staged, as the `[package.metadata.deb]` sections of src-kmod and src-tools say.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::cargo_tool;
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// The tool's name and the release that is used: the last one that Rust 1.85 builds.
const TOOL: (&str, &str) = ("cargo-deb", "3.6.3");

/// The tool, installed in the cache.
#[derive(Debug)]
pub(crate) struct CargoDeb {
    program: PathBuf,
    root: PathBuf,
    target: PathBuf,
    epoch: u64,
}

impl CargoDeb {
    /// Finds it in the cache, or builds it there.
    pub(crate) fn get(workspace: &Workspace, epoch: u64) -> Result<Self> {
        Ok(Self {
            program: cargo_tool::get(workspace, TOOL.0, TOOL.1)?,
            root: workspace.root.clone(),
            target: workspace.target(),
            epoch,
        })
    }

    /// Packs the crate's package into `dist/` and returns the file.
    pub(crate) fn pack(&self, krate: &str) -> Result<PathBuf> {
        let said = run::output(
            Command::new(&self.program)
                .current_dir(&self.root)
                // The command is built and stripped already; xz by one thread, so that the output does not depend on
                // the number of CPUs.
                .args(["--no-build", "--no-strip", "-p", krate, "-o"])
                .arg(self.root.join("dist"))
                .env("CARGO_TARGET_DIR", &self.target)
                .env("SOURCE_DATE_EPOCH", self.epoch.to_string()),
        )?;
        let path = said.lines().map(str::trim).rfind(|line| line.ends_with(".deb"));
        path.map(PathBuf::from).with_context(|| format!("cargo-deb did not say what it made of {krate}:\n{said}"))
    }
}
