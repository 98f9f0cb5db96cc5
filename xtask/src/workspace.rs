// SPDX-License-Identifier: CECILL-B
//! Where things are: the repository, the one version number, the list of supported kernels, and the cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// The repository this xtask was built from, and what its top `Cargo.toml` says.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Top of the repository.
    pub root: PathBuf,
    /// The one version number.
    pub version: String,
    /// Kernel series the driver supports, oldest first, as in `7.2`.
    pub series: Vec<String>,
    /// Where images, kernels and downloads are kept between runs.
    pub cache: PathBuf,
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
}

#[derive(Deserialize)]
struct Metadata {
    knem: Knem,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Knem {
    kernel_series: Vec<String>,
}

impl Workspace {
    /// Finds the workspace from the place this crate was compiled in, or from `cargo run`'s environment.
    pub fn find() -> Result<Self> {
        let own =
            env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = own.parent().context("xtask is not inside a workspace")?.to_owned();
        let path = root.join("Cargo.toml");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest = toml::from_str(&text)
            .with_context(|| format!("{} lacks version or [workspace.metadata.knem]", path.display()))?;
        Ok(Self {
            root,
            version: manifest.workspace.package.version,
            series: manifest.workspace.metadata.knem.kernel_series,
            cache: cache_directory()?,
        })
    }

    /// Cargo's target directory: where other builds of this run put their results.
    pub fn target(&self) -> PathBuf {
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), |directory| self.root.join(directory))
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
