// SPDX-License-Identifier: CECILL-B
//! The workspace: the repository, the version, the supported kernels, and the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The repository this program was built from, and what its top `Cargo.toml` says.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Top of the repository.
    pub root: PathBuf,
    /// The version of all packages.
    pub version: String,
    /// The project's address, empty if none is set.
    pub repository: String,
    /// Kernel series the driver supports, oldest first, as in `7.2`.
    pub series: Vec<String>,
    /// The default series: that of the distribution.
    pub default_series: String,
    /// The first series whose `kernel` crate the driver can be built on.
    pub crate_from: String,
    /// Where images, kernels and downloads are kept between runs.
    pub cache: PathBuf,
    /// Cargo's target directory.
    target: PathBuf,
}

#[derive(Deserialize)]
struct Manifest {
    workspace: Table,
}

#[derive(Deserialize)]
struct Table {
    package: Package,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Package {
    version: String,
    repository: String,
}

#[derive(Deserialize)]
struct Metadata {
    knem: Knem,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Knem {
    kernel_series: Vec<String>,
    kernel_default: String,
    kernel_crate_from: String,
}

impl Workspace {
    /// Finds the workspace from the place this crate was compiled in, or from `cargo run`'s environment.
    pub fn find() -> Result<Self> {
        let own =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        // The crate that cargo runs may be another one of the workspace, deeper down.
        let root = own.ancestors().find(|directory| directory.join("Cargo.lock").is_file());
        let root = root.with_context(|| format!("{} is not inside a workspace", own.display()))?.to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |name| root.join(name));
        Self::at(root, target)
    }

    /// Opens a copy of this workspace in another directory, with its own target directory and possibly another version.
    ///
    /// # Errors
    /// When there is no such copy.
    pub fn elsewhere(&self, root: &Path, target: &Path) -> Result<Self> {
        Self::at(root.to_owned(), target.to_owned())
    }

    fn at(root: PathBuf, target: PathBuf) -> Result<Self> {
        let path = root.join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = toml::from_str(&text)
            .with_context(|| format!("{} lacks version or [workspace.metadata.knem]", path.display()))?;
        let knem = manifest.workspace.metadata.knem;
        Ok(Self {
            root,
            version: manifest.workspace.package.version,
            repository: manifest.workspace.package.repository,
            series: knem.kernel_series,
            default_series: knem.kernel_default,
            crate_from: knem.kernel_crate_from,
            cache: cache_directory()?,
            target,
        })
    }

    /// Cargo's target directory: where other builds of this run put their results.
    pub fn target(&self) -> PathBuf {
        self.target.clone()
    }

    /// `path` inside the repository.
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }
}

/// `$KNEM_CACHE`, or the customary place below the home directory.
fn cache_directory() -> Result<PathBuf> {
    if let Some(path) = env::var_os("KNEM_CACHE").filter(|path| !path.is_empty()) {
        return std::path::absolute(path).context("KNEM_CACHE is not a usable path");
    }
    let home = env::var_os("HOME").context("neither KNEM_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/knem"))
}
