// SPDX-License-Identifier: CECILL-B
//! Programs of the workspace for the machines, in `/usr/local/bin`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;
use crate::vm::Add;
use crate::workspace::Workspace;

/// Their directory in the machines.
const PLACE: &str = "/usr/local/bin";

/// The profile in the top Cargo.toml that they are built with.
pub const PROFILE: &str = "machine";

/// What the machines are: named, so that what runs while something is compiled is not linked as the programs are.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds programs in Rust. They need no C library in the machine, which may have a much older one than the host.
///
/// # Errors
/// When one does not build.
pub fn rust(workspace: &Workspace, names: &[&str]) -> Result<Vec<Add>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&workspace.root).args(["build", "--profile", PROFILE, "--target", TARGET, "--target-dir"]);
    cargo.arg(workspace.target()).env("RUSTFLAGS", "-C target-feature=+crt-static");
    for name in names {
        cargo.args(["--bin", name]);
    }
    run::run(&mut cargo)?;
    names.iter().map(|name| add(workspace.target().join(TARGET).join(PROFILE).join(name))).collect()
}

/// A program as a file of the machines.
///
/// # Errors
/// When the path has no name.
pub fn add(path: PathBuf) -> Result<Add> {
    let destination = Path::new(PLACE).join(path.file_name().context("a program has a name")?);
    Ok(Add { path, destination })
}
