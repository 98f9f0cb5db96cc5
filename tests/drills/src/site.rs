// SPDX-License-Identifier: CECILL-B
//! What all drills share: the laboratory with its archive and kernels, and the packages that are drilled.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use knem_lab::kernels::Kernel;
use knem_lab::lab::Lab;
use knem_lab::packages::Packages;
use knem_lab::userland::Stack;
use knem_packages as packages;

use crate::log::Log;

/// A drill's view of what all share, with the drill's own log. Cheap to copy.
#[derive(Debug, Clone)]
pub struct Site {
    shared: Arc<Shared>,
    /// Where everything goes that is said.
    pub log: Log,
}

#[derive(Debug)]
struct Shared {
    lab: Lab,
    packages: Packages,
    /// Made when the first drill wants it.
    next: Mutex<Option<Arc<Packages>>>,
}

impl Site {
    /// Looks at the archive and builds the packages.
    ///
    /// # Errors
    /// When the archive cannot be read or the packages cannot be built.
    pub fn open(log: Log) -> Result<Self> {
        let lab = Lab::open()?;
        let packages = packages::apt_repository(&lab.workspace)?;
        Ok(Self { shared: Arc::new(Shared { lab, packages, next: Mutex::new(None) }), log })
    }

    /// The same with another log.
    pub fn with_log(&self, log: Log) -> Self {
        Self { shared: Arc::clone(&self.shared), log }
    }

    /// The laboratory.
    pub fn lab(&self) -> &Lab {
        &self.shared.lab
    }

    /// The packages of this version.
    pub fn packages(&self) -> &Packages {
        &self.shared.packages
    }

    /// This version.
    pub fn version(&self) -> &str {
        &self.lab().workspace.version
    }

    /// The same sources packaged as the [next version](Self::next_version).
    ///
    /// # Errors
    /// When they cannot be built.
    pub fn next(&self) -> Result<Arc<Packages>> {
        let mut next = self.shared.next.lock().ok().context("another drill failed while it made the next version")?;
        if let Some(packages) = &*next {
            return Ok(Arc::clone(packages));
        }
        let made = Arc::new(packages::next(&self.lab().workspace)?);
        *next = Some(Arc::clone(&made));
        Ok(made)
    }

    /// What the next version is called.
    ///
    /// # Errors
    /// When this version is none that can be counted on.
    pub fn next_version(&self) -> Result<String> {
        packages::next_version(self.version())
    }

    /// The newest kernel of a series, or the one of this release.
    ///
    /// # Errors
    /// When the archive does not have it.
    pub fn kernel(&self, wanted: &str) -> Result<&Kernel> {
        self.lab().kernel(Some(wanted))
    }

    /// The distribution without a kernel.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn bare(&self) -> Result<Stack> {
        self.lab().userlands().base()
    }

    /// The kernel's distribution with it and its headers, and nothing of Rust.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with_kernel(&self, kernel: &Kernel) -> Result<Stack> {
        self.lab().userlands().with_kernel(kernel)
    }

    /// The same with what builds on the kernel crate: Rust's toolchain and the kernel's source.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with_rust(&self, kernel: &Kernel) -> Result<Stack> {
        self.lab().userlands().with_rust(kernel)
    }

    /// A kernel without Rust with our packages installed and the module built.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn installed(&self, kernel: &Kernel) -> Result<Stack> {
        let (stack, report) = self.lab().userlands().with_packages(kernel, self.packages(), None)?;
        report.demand_module(&kernel.release)?;
        Ok(stack)
    }

    /// A kernel's Rust metadata as it was made before: a directory with one for the release.
    ///
    /// # Errors
    /// When it has to be made and cannot be.
    pub fn metadata(&self, kernel: &Kernel) -> Result<PathBuf> {
        self.lab().userlands().rust_metadata(kernel, self.packages())
    }
}
