// SPDX-License-Identifier: CECILL-B
//! The packages and the release's tarball. The packages' files are staged as they will lie on the user's machine
//! (stage.rs), cargo-deb and cargo-generate-rpm pack them, lintian and rpmlint judge them, and repositories offer them
//! to apt and dnf.

mod cargo_deb;
pub mod cargo_tool;
pub(crate) mod changelog;
mod compare;
#[cfg(test)]
mod contents;
mod control;
pub mod dist;
pub(crate) mod epoch;
pub(crate) mod finish_rpm;
pub(crate) mod generate_rpm;
mod lint;
mod modules;
mod next;
pub mod object;
mod repack;
pub mod repo;
mod reproducible;
mod scripts;
mod signing;
mod stage;

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use cargo_deb::CargoDeb;
pub use compare::{compare, reference};
use generate_rpm::GenerateRpm;
use knem_lab::cache::{file_digest, hex, Cache};
use knem_lab::host;
use knem_lab::packages::Packages;
use knem_lab::workspace::Workspace;
pub use lint::{lint, lint_sources};
pub use next::{next, next_dnf_repository, next_version};
pub use reproducible::reproducible;
pub use signing::Key;
use stage::Stage;

/// The packages in `dist/`.
#[derive(Debug, Clone)]
pub struct Built {
    /// The .deb files.
    pub debs: Vec<PathBuf>,
    /// The .rpm files.
    pub rpms: Vec<PathBuf>,
}

/// Locks `dist/` against other runs as long as the result lives.
///
/// # Errors
/// When the lock cannot be taken.
pub fn lock(workspace: &Workspace) -> Result<File> {
    // A copy of the workspace has its own `dist/`.
    let place = hex(&Sha256::digest(workspace.root.as_os_str().as_bytes()));
    Cache::new(&workspace.cache).lock("repository", &format!("build-{}", &place[..20]))
}

/// Builds every package of the project into `dist/`.
///
/// # Errors
/// When something does not build.
pub fn build(workspace: &Workspace) -> Result<Built> {
    let epoch = epoch::of(workspace)?;
    // Before anything is removed: it may have to be built first, and cannot be fetched without a network.
    let packer = GenerateRpm::get(workspace, epoch)?;
    stage::sweep(&workspace.file("dist"), "rpm")?;
    let mut built = debs(workspace)?;
    let stage = workspace.file("dist/stage/rpm");
    built.rpms.push(packer.pack("src-tools", &stage, "x86_64")?);
    built.rpms.push(packer.pack("src-kmod", &stage, "noarch")?);
    Ok(built)
}

/// Builds the Debian packages alone into `dist/`.
///
/// # Errors
/// When something does not build.
pub fn debs(workspace: &Workspace) -> Result<Built> {
    // dpkg-dev has what cargo-deb looks up the libraries' packages with.
    host::need(&["cc", "dpkg-deb", "dpkg-scanpackages"])?;
    let epoch = epoch::of(workspace)?;
    let packer = CargoDeb::get(workspace, epoch)?;

    let dist = workspace.file("dist");
    stage::sweep(&dist, "deb")?;
    Stage::make(workspace, &dist.join("stage"), &workspace.version)?;

    let finished = |krate: &str, package: &str| {
        let deb = packer.pack(krate)?;
        repack::with_fields(&deb, &control::fields(workspace, package, &deb, &workspace.version)?, epoch)
    };
    let mut debs = vec![finished("knem-core", "knem2-dkms")?, finished("knem-tools", "knem-tools")?];
    debs.sort();
    Ok(Built { debs, rpms: Vec::new() })
}

/// Offers the Debian packages in a repository that stays as it is when others are built.
///
/// # Errors
/// When the repository cannot be built.
pub fn offered(workspace: &Workspace, built: Built) -> Result<Packages> {
    let cache = Cache::new(&workspace.cache);
    let mut key = vec![repo::LAYOUT.to_owned()];
    for deb in &built.debs {
        key.push(file_digest(deb)?);
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let epoch = epoch::of(workspace)?;
    let repository =
        cache.entry("repository", "keeping the packages", &key, |entry| repo::apt(&built.debs, entry, epoch, None))?;
    cache.keep_newest("repository", 20)?;
    let debs = built.debs.iter().filter_map(|deb| Some(repository.join(deb.file_name()?))).collect();
    Ok(Packages { repository, debs })
}

/// Builds the Debian packages, and offers them in a repository that stays as it is when another run in this tree builds
/// others.
///
/// # Errors
/// When something does not build.
pub fn apt_repository(workspace: &Workspace) -> Result<Packages> {
    let _lock = lock(workspace)?;
    offered(workspace, debs(workspace)?)
}

/// Builds the packages, and offers those for dnf in a repository that stays as it is when others are built.
///
/// # Errors
/// When something does not build.
pub fn dnf_repository(workspace: &Workspace) -> Result<PathBuf> {
    let _lock = lock(workspace)?;
    offered_to_dnf(workspace, &build(workspace)?)
}

/// The same of what is built.
fn offered_to_dnf(workspace: &Workspace, built: &Built) -> Result<PathBuf> {
    let cache = Cache::new(&workspace.cache);
    let mut key = vec![repo::LAYOUT.to_owned()];
    for rpm in &built.rpms {
        key.push(file_digest(rpm)?);
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let epoch = epoch::of(workspace)?;
    let repository = cache
        .entry("dnf-repository", "keeping the packages", &key, |entry| repo::dnf(&built.rpms, entry, epoch, None))?;
    cache.keep_newest("dnf-repository", 20)?;
    Ok(repository)
}

/// Empties a directory, or creates it.
fn fresh(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}
