// SPDX-License-Identifier: CECILL-B
//! Packages of the next version, for tests of upgrades: the same sources with another version number, built in a copy
//! of the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{build, debs, fresh, offered, offered_to_dnf, Built};

use crate::dist;
use knem_lab::cache::Cache;
use knem_lab::packages::Packages;
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// What comes after 2.0.0 is 2.0.1: the next version's number.
///
/// # Errors
/// When the version is none with three numbers.
pub fn next_version(version: &str) -> Result<String> {
    let (head, last) = version.rsplit_once('.').with_context(|| format!("{version} is no version such as 2.0.0"))?;
    let last: u32 = last.parse().with_context(|| format!("{version} is no version such as 2.0.0"))?;
    Ok(format!("{head}.{}", last + 1))
}

/// Builds the Debian packages of the next version. They stay as they are, like those of
/// [`apt_repository`](super::apt_repository).
///
/// # Errors
/// When they cannot be built.
pub fn next(workspace: &Workspace) -> Result<Packages> {
    let _lock = Cache::new(&workspace.cache).lock("repository", "next")?;
    let (copy, built) = in_copy(workspace, debs)?;
    offered(&copy, built)
}

/// Builds all packages of the next version, and offers those for dnf like
/// [`dnf_repository`](super::dnf_repository).
///
/// # Errors
/// When they cannot be built.
pub fn next_dnf_repository(workspace: &Workspace) -> Result<PathBuf> {
    let _lock = Cache::new(&workspace.cache).lock("repository", "next")?;
    let (copy, built) = in_copy(workspace, build)?;
    offered_to_dnf(&copy, &built)
}

/// Builds in the copy, which is always in the same place: cargo then compiles again only what has changed.
fn in_copy(workspace: &Workspace, build: fn(&Workspace) -> Result<Built>) -> Result<(Workspace, Built)> {
    let place = workspace.target().join("next");
    let root = place.join("sources");
    fresh(&root)?;
    dist::copy_workspace(&workspace.root, &root)?;
    let version = next_version(&workspace.version)?;
    renumber(&root, &workspace.version, &version)?;
    let copy = workspace.elsewhere(&root, &place.join("target"))?;
    let built = build(&copy)?;
    Ok((copy, built))
}

/// Writes the new number where the version has its place: the manifest, the lock file that repeats it, and the history.
fn renumber(root: &Path, old: &str, new: &str) -> Result<()> {
    edit(&root.join("Cargo.toml"), |text| {
        text.replacen(&format!("version = \"{old}\""), &format!("version = \"{new}\""), 1)
    })?;
    edit(&root.join("debian/changelog"), |text| {
        let end = text.lines().find(|line| line.starts_with(" -- ")).unwrap_or_default();
        format!("knem ({new}-1) unstable; urgency=medium\n\n  * To upgrade to.\n\n{end}\n\n{text}")
    })?;
    // The members' own entries follow the manifest.
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run::quiet(cargo.current_dir(root).args(["update", "--quiet", "--workspace", "--offline"]))
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(path, change(&text)).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_on() {
        assert_eq!(next_version("2.0.0").expect("a version"), "2.0.1");
        assert_eq!(next_version("2.0.9").expect("a version"), "2.0.10");
        assert!(next_version("2").is_err() && next_version("2.0.x").is_err());
    }
}
