// SPDX-License-Identifier: CECILL-B
//! Tools that cargo can install, at one release each: another could give other packages.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use knem_lab::cache::Cache;
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// Finds the program in the cache, or builds it there, which takes some minutes.
///
/// # Errors
/// When it cannot be fetched or built: the registry cannot be reached, or the compiler is older than the project's own
/// least one.
pub fn get(workspace: &Workspace, name: &str, version: &str) -> Result<PathBuf> {
    let entry =
        Cache::new(&workspace.cache).entry(name, &format!("building {name} {version}"), &[version], |directory| {
            let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            run::quiet(
                Command::new(cargo)
                    .args(["install", name, "--version", version, "--locked", "--root"])
                    .arg(directory)
                    // Our workspace's settings are not for it.
                    .env_remove("CARGO_TARGET_DIR")
                    .env_remove("RUSTFLAGS"),
            )
        })?;
    Ok(entry.join("bin").join(name))
}
