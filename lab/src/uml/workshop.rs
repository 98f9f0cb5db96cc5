// SPDX-License-Identifier: CECILL-B
//! A throw-away Debian tree with compilers. Unlike a [`Chroot`](crate::chroot::Chroot) it has no apt, and so it does
//! not keep other runs from installing packages during a build of many minutes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use nix::mount::MsFlags;
use tempfile::TempDir;

use crate::cache::Cache;
use crate::chroot::{command_in, devices};
use crate::namespace::{directory, Mount, Upper};
use crate::userland::Stack;

/// The tree; everything in it but what was bound to it is gone when this goes.
#[derive(Debug)]
pub struct Workshop {
    tree: PathBuf,
    /// Unmounted the last first, before the scratch directory goes.
    mounts: Vec<Mount>,
    _scratch: TempDir,
}

impl Workshop {
    /// Opens a tree of these layers.
    pub fn open(stack: &Stack, cache: &Cache) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("workshop-").tempdir_in(cache.directory("scratch")?)?;
        let [upper, work, tree] = ["upper", "work", "tree"].map(|name| scratch.path().join(name));
        for path in [&upper, &work, &tree] {
            directory(path)?;
        }
        let mut mounts = vec![Mount::overlay(&stack.paths(), Some(Upper { upper: &upper, work: &work }), &tree)?];
        mounts.push(Mount::special("tmpfs", &tree.join("tmp"), MsFlags::empty(), "mode=1777")?);
        mounts.extend(devices(&tree.join("dev"))?);
        Ok(Self { tree, mounts, _scratch: scratch })
    }

    /// Shows a directory of this machine at a place in the tree.
    pub fn bind(&mut self, what: &Path, at: &str) -> Result<()> {
        let there = self.tree.join(at.trim_start_matches('/'));
        directory(&there)?;
        self.mounts.push(Mount::bind(what, &there)?);
        Ok(())
    }

    /// A command to run in the tree.
    pub fn command(&self, program: &str) -> Command {
        command_in(&self.tree, program)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        while let Some(mount) = self.mounts.pop() {
            drop(mount);
        }
    }
}
