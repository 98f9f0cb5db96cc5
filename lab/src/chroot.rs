// SPDX-License-Identifier: CECILL-B
//! Running commands in a Debian tree: separate process and mount namespaces, a minimal /dev, and apt with the cache.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::MsFlags;
use tempfile::TempDir;

use crate::archive::{self, Archive};
use crate::cache::Cache;
use crate::namespace::{directory, Mount, Upper};

/// A tree prepared for running commands in it. Dropping it undoes all mounts.
#[derive(Debug)]
pub struct Chroot {
    root: PathBuf,
    mounts: Vec<Mount>,
    scratch: TempDir,
    /// Where downloaded packages are kept, for all runs.
    debs: PathBuf,
    apt_options: Vec<String>,
}

impl Chroot {
    /// Prepares the tree at `root`.
    ///
    /// # Errors
    /// When a mount fails, usually without root or without [`crate::namespace::enter`].
    pub fn enter(root: &Path, archive: &Archive, cache: &Cache) -> Result<Self> {
        Self::enter_with_lists(root, archive, cache, None)
    }

    /// As [`enter`](Self::enter), but what apt learns of repositories is kept in `lists`, for the next time this tree
    /// is entered.
    ///
    /// # Errors
    /// As [`enter`](Self::enter).
    pub fn enter_with_lists(root: &Path, archive: &Archive, cache: &Cache, lists: Option<&Path>) -> Result<Self> {
        {
            let _turn = cache.lock("debs", "tidying")?;
            // Left by a killed run.
            cache.remove_older("scratch", Duration::from_secs(24 * 3600))?;
            // Packages of kernels that have left the archive.
            cache.remove_older("debs", Duration::from_secs(60 * 24 * 3600))?;
        }
        let scratch = tempfile::Builder::new().prefix("scratch-").tempdir_in(cache.directory("scratch")?)?;
        let mut mounts = vec![
            Mount::special(
                "sysfs",
                &root.join("sys"),
                // Read-only: udev's tools in the tree must not change the machine's devices.
                MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
                "",
            )?,
            Mount::special("tmpfs", &root.join("tmp"), MsFlags::empty(), "mode=1777")?,
            Mount::special("tmpfs", &root.join("run"), MsFlags::empty(), "mode=755")?,
        ];
        mounts.extend(devices(&root.join("dev"))?);
        mounts.extend(network(root)?);

        // apt locks its archives and does not wait for another apt. So each has a directory of its own, above the
        // packages known.
        let debs = cache.directory("debs")?;
        directory(&debs.join("partial"))?;
        mounts.push(above(&debs, &scratch.path().join(DEBS), &root.join("var/cache/apt/archives"))?);

        // The snapshot itself never changes; what apt adds for a local repository goes to the writable side.
        let known = lists.map_or_else(|| scratch.path().join("lists"), Path::to_owned);
        let lists = archive.of(&distribution_of(root)?)?.lists();
        mounts.push(above(&lists, &known, &root.join("var/lib/apt/lists"))?);

        let mut apt_options = archive::proxy_options()?;
        apt_options.extend(
            [
                "Acquire::Languages=none",
                "Acquire::Retries=3",
                "Acquire::GzipIndexes=true",
                "APT::Keep-Downloaded-Packages=true",
                // apt's unprivileged user may not read the cache's directories.
                "APT::Sandbox::User=root",
                "Dpkg::Use-Pty=0",
                // Durability is not needed.
                "DPkg::Options::=--force-unsafe-io",
            ]
            .map(str::to_owned),
        );
        Ok(Self { root: root.to_owned(), mounts, scratch, debs, apt_options })
    }

    /// A command to run in the tree. Its processes end with it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = command_in(&self.root, program);
        for name in ["http_proxy", "https_proxy", "no_proxy", "ftp_proxy"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// apt-get in the tree.
    pub fn apt_get(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("apt-get");
        for option in &self.apt_options {
            command.args(["-o", option]);
        }
        command.args(arguments);
        command
    }
}

impl Drop for Chroot {
    fn drop(&mut self) {
        // Last mounted, first unmounted.
        while self.mounts.pop().is_some() {}
        // What was downloaded is shared; a rename is never seen half done. Not to keep it only costs another download.
        for entry in fs::read_dir(self.scratch.path().join(DEBS).join("upper")).into_iter().flatten().flatten() {
            let path = entry.path();
            let whole = entry.file_type().is_ok_and(|kind| kind.is_file());
            if whole && path.extension().is_some_and(|kind| kind == "deb") {
                let _ = fs::rename(&path, self.debs.join(entry.file_name()));
            }
        }
    }
}

/// The downloads of one run, in its scratch directory.
const DEBS: &str = "debs";

/// The code name of the distribution that a tree is of.
fn distribution_of(root: &Path) -> Result<String> {
    let path = root.join("usr/lib/os-release");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.with_context(|| format!("{} names no distribution", path.display()))?.trim_matches('"').to_owned())
}

/// Shows `what` at `at`, with changes going to `place`.
fn above(what: &Path, place: &Path, at: &Path) -> Result<Mount> {
    let (upper, work) = (place.join("upper"), place.join("work"));
    for path in [upper.as_path(), &work, at] {
        directory(path)?;
    }
    Mount::overlay(&[what], Some(Upper { upper: &upper, work: &work }), at)
}

/// Creates a command to run in a tree, with an environment independent of this machine. Its processes end with it.
pub(crate) fn command_in(root: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child"])
        .arg(format!("--root={}", root.display()))
        .args(["--mount-proc=/proc", program]);
    command.env_clear();
    command.envs([
        ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        // The lab boots kernels with its own initramfs.
        ("INITRD", "No"),
    ]);
    command
}

/// The devices every program may expect, and none of the machine's disks.
pub(crate) fn devices(dev: &Path) -> Result<Vec<Mount>> {
    let mut mounts = vec![Mount::special("tmpfs", dev, MsFlags::empty(), "mode=755")?];
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = dev.join(name);
        File::create(&node)?;
        mounts.push(Mount::bind(&Path::new("/dev").join(name), &node)?);
    }
    for name in ["pts", "shm"] {
        directory(&dev.join(name))?;
    }
    mounts.push(Mount::special("devpts", &dev.join("pts"), MsFlags::empty(), "newinstance,ptmxmode=0666,mode=620")?);
    mounts.push(Mount::special("tmpfs", &dev.join("shm"), MsFlags::empty(), "mode=1777")?);
    for (link, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(link))?;
    }
    Ok(mounts)
}

/// Lets the tree resolve names as the machine does.
fn network(root: &Path) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for name in ["resolv.conf", "hosts"] {
        let Ok(here) = fs::canonicalize(Path::new("/etc").join(name)) else {
            continue;
        };
        let there = root.join("etc").join(name);
        if fs::symlink_metadata(&there).map_or(true, |metadata| metadata.is_symlink()) {
            // A link would lead out of the tree, or nowhere.
            let _ = fs::remove_file(&there);
            File::create(&there).with_context(|| format!("cannot make {}", there.display()))?;
        }
        mounts.push(Mount::bind(&here, &there)?);
    }
    Ok(mounts)
}
