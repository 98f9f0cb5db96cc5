// SPDX-License-Identifier: CECILL-B
//! `dist/stage/`: one directory for each package, laid out like the root of the user's machine, and one for its scripts.
//!
//! The place is fixed, whatever cargo's target directory is, because the `[package.metadata.deb]` sections name it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// The staging directory.
#[derive(Debug)]
pub(crate) struct Stage {
    root: PathBuf,
}

impl Stage {
    /// Removes what an earlier build staged and packed, so that nothing old gets into a package.
    pub(crate) fn fresh(workspace: &Workspace) -> Result<Self> {
        let dist = workspace.file("dist");
        let root = dist.join("stage");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        for entry in fs::read_dir(&dist)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(Self { root })
    }

    /// A stage of its own, for tests.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where a package's file will be: `path` as on the user's machine, without the first slash.
    pub(crate) fn path(&self, package: &str, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(package).join(path)
    }

    /// Writes a file of a package.
    pub(crate) fn write(&self, package: &str, path: impl AsRef<Path>, contents: &[u8]) -> Result<()> {
        put(&self.path(package, path), contents)
    }

    /// Copies a file into a package.
    pub(crate) fn copy(&self, from: &Path, package: &str, path: impl AsRef<Path>) -> Result<()> {
        let contents = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(package, path, &contents)
    }

    /// Writes a file that is not in the package but goes into its making: a maintainer script, the copyright file.
    pub(crate) fn control(&self, package: &str, name: &str, contents: &[u8]) -> Result<()> {
        put(&self.root.join("control").join(package).join(name), contents)
    }
}

fn put(path: &Path, contents: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, contents).with_context(|| format!("cannot write {}", path.display()))
}
