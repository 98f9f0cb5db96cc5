// SPDX-License-Identifier: CECILL-B
//! Common state of all commands on kernels: the current archive, the layers, and the supported series.

use std::path::Path;

use anyhow::{bail, Context, Result};
use tempfile::TempDir;

use crate::archive::Archive;
use crate::cache::Cache;
use crate::chroot::Chroot;
use crate::kernels::{self, Kernel};
use crate::packages::Packages;
use crate::userland::{Installed, Userlands, Way};
use crate::vm::{self, Image, Options, Report};
use crate::workspace::Workspace;

/// Finds, prepares and boots kernels.
#[derive(Debug)]
pub struct Lab {
    /// The repository.
    pub workspace: Workspace,
    /// The cache of its layers, images and kernels.
    pub cache: Cache,
    archive: Archive,
    offered: Vec<Kernel>,
}

impl Lab {
    /// Reads the archive.
    pub fn open() -> Result<Self> {
        let workspace = Workspace::find()?;
        let cache = Cache::new(&workspace.cache);
        let archive = Archive::open(&cache)?;
        let mut offered = Vec::new();
        for lists in archive.all() {
            offered.extend(kernels::offered(lists.distribution.name, &lists.linux_packages()?));
        }
        // Those of the newest distribution last, where two have the same series.
        offered.sort_by(|left, right| kernels::compare(&left.release, &right.release));
        Ok(Self { workspace, cache, archive, offered })
    }

    /// All kernels the archive offers, oldest first.
    pub fn offered(&self) -> &[Kernel] {
        &self.offered
    }

    /// The old distributions that the mirror no longer has.
    pub fn missing(&self) -> Vec<&'static str> {
        self.archive.missing()
    }

    /// The kernel a series or release means; without one, the default series.
    pub fn kernel(&self, wanted: Option<&str>) -> Result<&Kernel> {
        let found = kernels::resolve(&self.offered, wanted.unwrap_or(&self.workspace.default_series));
        let missing = self.archive.missing();
        if missing.is_empty() {
            return found;
        }
        found.with_context(|| format!("the mirror has nothing of Debian {}", missing.join(" and ")))
    }

    /// The newest kernel of every supported series. One that the archive no longer has is an error, not a shorter list.
    pub fn supported(&self) -> Result<Vec<&Kernel>> {
        if self.workspace.series.is_empty() {
            bail!("Cargo.toml lists no supported kernel series");
        }
        self.workspace.series.iter().map(|series| self.kernel(Some(series))).collect()
    }

    /// A disk with the kernel alone.
    pub fn bare_image(&self, kernel: &Kernel) -> Result<Image> {
        let stack = self.userlands().with_kernel(kernel)?;
        Image::of(&stack, kernel, &self.cache)
    }

    /// A disk with our packages installed, and what the installation reported.
    pub fn image(&self, kernel: &Kernel, packages: &Packages, way: Option<Way>) -> Result<(Image, Installed)> {
        let (stack, report) = self.userlands().with_packages(kernel, packages, way)?;
        report.demand_module(&kernel.release)?;
        Ok((Image::of(&stack, kernel, &self.cache)?, report))
    }

    /// Boots an image and runs commands in it.
    pub fn boot(&self, image: &Image, commands: &[Vec<String>], options: &Options) -> Result<Report> {
        let logs = self.workspace.target().join("vm");
        vm::run_commands(image, commands, options, &logs, &self.cache)
    }

    /// Enters a tree to run commands in it; what its apt learns of repositories is kept in `lists`.
    ///
    /// # Errors
    /// When something cannot be mounted there.
    pub fn enter(&self, tree: &Path, lists: &Path) -> Result<Chroot> {
        Chroot::enter_with_lists(tree, &self.archive, &self.cache, Some(lists))
    }

    /// Creates a temporary directory on the disk of the layers, which is removed with its owner.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self, name: &str) -> Result<TempDir> {
        let scratch = self.cache.directory("scratch")?;
        Ok(tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(scratch)?)
    }

    /// The layers.
    pub fn userlands(&self) -> Userlands<'_> {
        Userlands::new(&self.workspace, &self.cache, &self.archive)
    }
}

/// Words of a command line, for a fixed command.
pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
