// SPDX-License-Identifier: CECILL-B
//! What all drills share: the laboratory with its archive and kernels, and the packages under test.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use knem_lab::kernels::Kernel;
use knem_lab::lab::Lab;
use knem_lab::packages::Packages;
use knem_lab::userland::Stack;
use knem_packages as packages;

use crate::log::Log;

/// A drill's view of the shared part, with the drill's own log. Cheap to copy.
#[derive(Debug, Clone)]
pub struct Site {
    shared: Arc<Shared>,
    /// The log for all output.
    pub log: Log,
}

#[derive(Debug)]
struct Shared {
    lab: Lab,
    packages: Packages,
    /// Built when the first drill needs it.
    next: Mutex<Option<Arc<Packages>>>,
}

impl Site {
    /// Reads the archive and builds the packages.
    ///
    /// # Errors
    /// If the archive cannot be read or the packages cannot be built.
    pub fn open(log: Log) -> Result<Self> {
        let lab = Lab::open()?;
        let packages = packages::apt_repository(&lab.workspace)?;
        Ok(Self { shared: Arc::new(Shared { lab, packages, next: Mutex::new(None) }), log })
    }

    /// The same with another log.
    pub fn with_log(&self, log: Log) -> Self {
        Self { shared: Arc::clone(&self.shared), log }
    }

    /// Returns the laboratory.
    pub fn lab(&self) -> &Lab {
        &self.shared.lab
    }

    /// Returns the packages of this version.
    pub fn packages(&self) -> &Packages {
        &self.shared.packages
    }

    /// Returns this version.
    pub fn version(&self) -> &str {
        &self.lab().workspace.version
    }

    /// Returns the same sources, packaged as the [next version](Self::next_version).
    ///
    /// # Errors
    /// If they cannot be built.
    pub fn next(&self) -> Result<Arc<Packages>> {
        let mut next = self.shared.next.lock().ok().context("another drill failed while it made the next version")?;
        if let Some(packages) = &*next {
            return Ok(Arc::clone(packages));
        }
        let made = Arc::new(packages::next(&self.lab().workspace)?);
        *next = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Returns the number of the next version.
    ///
    /// # Errors
    /// If this version cannot be incremented.
    pub fn next_version(&self) -> Result<String> {
        packages::next_version(self.version())
    }

    /// Returns the newest kernel of a series, or the one of this release.
    ///
    /// # Errors
    /// If the archive does not have it.
    pub fn kernel(&self, wanted: &str) -> Result<&Kernel> {
        self.lab().kernel(Some(wanted))
    }

    /// Returns the distribution without a kernel.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn bare(&self) -> Result<Stack> {
        self.lab().userlands().base()
    }

    /// Returns the kernel's distribution with it and its headers, and without Rust.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn with_kernel(&self, kernel: &Kernel) -> Result<Stack> {
        self.lab().userlands().with_kernel(kernel)
    }

    /// Returns the same with everything for a build on the kernel crate: Rust's toolchain and the kernel's source.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn with_rust(&self, kernel: &Kernel) -> Result<Stack> {
        self.lab().userlands().with_rust(kernel)
    }

    /// Returns a kernel without Rust with the packages installed and the module built.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn installed(&self, kernel: &Kernel) -> Result<Stack> {
        let (stack, report) = self.lab().userlands().with_packages(kernel, self.packages(), None)?;
        report.demand_module(&kernel.release)?;
        Ok(stack)
    }

    /// Returns a kernel's generated Rust metadata: a directory with one for the release.
    ///
    /// # Errors
    /// If it must be generated and that fails.
    pub fn metadata(&self, kernel: &Kernel) -> Result<PathBuf> {
        self.lab().userlands().rust_metadata(kernel, self.packages())
    }
}
