// SPDX-License-Identifier: CECILL-B
//! Mounts that end with the process: it moves to a private mount namespace, which ends with it and its children.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use nix::sched::{unshare, CloneFlags};

use crate::host;

/// Enters the private namespace. To be called by the main thread before there are others: threads started later inherit
/// it.
pub fn enter() -> Result<()> {
    static ENTERED: OnceLock<()> = OnceLock::new();
    if ENTERED.get().is_some() {
        return Ok(());
    }
    host::need_root("making a Debian userland")?;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("cannot make the mounts private")?;
    ENTERED.get_or_init(|| ());
    Ok(())
}

/// A mount that ends with its owner.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
}

impl Mount {
    /// Overlays `lower` (topmost first) at `at`; changes go to `upper`, or are impossible without one.
    pub fn overlay(lower: &[&Path], upper: Option<Upper<'_>>, at: &Path) -> Result<Self> {
        let mut options = String::from("lowerdir=");
        for (index, directory) in lower.iter().enumerate() {
            if index > 0 {
                options.push(':');
            }
            options.push_str(&option_path(directory)?);
        }
        if let Some(Upper { upper, work }) = upper {
            options.push_str(",upperdir=");
            options.push_str(&option_path(upper)?);
            options.push_str(",workdir=");
            options.push_str(&option_path(work)?);
            // The layers are stacked again later, on other mounts: nothing in them may depend on this one.
            options.push_str(",index=off,redirect_dir=off,metacopy=off");
        }
        mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .with_context(|| format!("cannot mount an overlay at {} ({options})", at.display()))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Shows `what` at `at` too.
    pub fn bind(what: &Path, at: &Path) -> Result<Self> {
        mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot bind {} to {}", what.display(), at.display()))?;
        Ok(Self { at: at.to_owned() })
    }

    /// Forbids to execute what is below `at`, as the mount option noexec does.
    pub fn noexec(at: &Path) -> Result<Self> {
        let mounted = Self::bind(at, at)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NOEXEC;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
            .with_context(|| format!("cannot mount {} noexec", at.display()))?;
        Ok(mounted)
    }

    /// Mounts a file system of the kernel.
    pub fn special(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<Self> {
        mount(Some(kind), at, Some(kind), flags, Some(options))
            .with_context(|| format!("cannot mount {kind} at {}", at.display()))?;
        Ok(Self { at: at.to_owned() })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // If this fails, the end of the namespace unmounts it.
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// The writable side of an overlay.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// Receives the changes.
    pub upper: &'a Path,
    /// The overlay's own scratch directory, on the same file system.
    pub work: &'a Path,
}

/// Escapes the two special characters of a path for an option of mount(2).
fn option_path(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path is not UTF-8")?;
    Ok(text.replace('\\', r"\\").replace(':', r"\:").replace(',', r"\,"))
}

/// Creates a directory and its parents.
pub fn directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}
