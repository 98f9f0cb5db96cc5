// SPDX-License-Identifier: CECILL-B
//! A userland as something that boots: kernel, initramfs and an ext4 disk image, made without mounting anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use super::initramfs;
use crate::cache::Cache;
use crate::host;
use crate::kernels::Kernel;
use crate::namespace::{directory, Mount, Upper};
use crate::run;
use crate::userland::Stack;

/// Part of the key: to be raised when the way an image is made changes.
const RECIPE: &str = "2";

/// What building the module took and nothing in the machine needs: left out, it makes the image four times smaller. DKMS has built the
/// module before the image is made. Names may end with a star.
const LEFT_OUT: &[&str] = &[
    "usr/lib/llvm-*",
    "usr/lib/rustlib",
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/libclang*",
    "usr/lib/x86_64-linux-gnu/librustc_driver*",
    "usr/share/doc/*",
    "usr/share/locale/*",
    "usr/src/linux-source-*",
    "usr/src/rustc-*",
];

/// Room beyond the userland's own size.
const SPARE: u64 = 2 << 30;

/// How many images are kept: each takes some gigabytes. What they are made from is kept with the same measure.
const KEPT: usize = 6;

/// What qemu is given.
#[derive(Debug, Clone)]
pub struct Image {
    /// The kernel's release.
    pub release: String,
    /// The kernel.
    pub vmlinuz: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The root disk; never written to.
    pub disk: PathBuf,
}

impl Image {
    /// The image of a stack of layers, made if it is not there.
    pub fn of(stack: &Stack, kernel: &Kernel, cache: &Cache) -> Result<Self> {
        host::need(&["mke2fs"])?;
        let key = [RECIPE, stack.key.as_str(), include_str!("guest/initramfs.sh")];
        let what = format!("disk image with kernel {}", kernel.release);
        let entry = cache.entry("image", &what, &key, |entry| {
            let tree = entry.join("tree");
            directory(&tree)?;
            let (upper, work) = (entry.join("upper"), entry.join("work"));
            directory(&upper)?;
            directory(&work)?;
            let writable = Upper { upper: &upper, work: &work };
            let mounted = Mount::overlay(&stack.paths(), Some(writable), &tree)?;
            let result = leave_out(&tree).and_then(|()| make(&tree, kernel, entry));
            drop(mounted);
            result?;
            for path in [tree, upper, work] {
                fs::remove_dir_all(path)?;
            }
            Ok(())
        })?;
        for (kind, count) in
            [("image", KEPT), ("installed", 2 * KEPT), ("kernel", KEPT), ("rust-metadata", KEPT), ("base", 2)]
        {
            cache.keep_newest(kind, count)?;
        }
        Ok(Self {
            release: kernel.release.clone(),
            vmlinuz: entry.join("vmlinuz"),
            initramfs: entry.join("initramfs"),
            disk: entry.join("disk"),
        })
    }
}

/// Removes what the image does without, from the tree as it is seen here: the layers stay as they are.
fn leave_out(tree: &Path) -> Result<()> {
    for pattern in LEFT_OUT {
        let path = tree.join(pattern);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            continue;
        };
        let name = name.to_string_lossy().into_owned();
        let Ok(entries) = fs::read_dir(parent) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let found = entry.file_name();
            let found = found.to_string_lossy();
            let matches = match name.strip_suffix('*') {
                Some(start) => found.starts_with(start),
                None => found == name,
            };
            if matches {
                run::quiet(Command::new("rm").arg("-rf").arg(entry.path()))?;
            }
        }
    }
    Ok(())
}

/// Makes the three files in `entry` from the merged tree.
fn make(tree: &Path, kernel: &Kernel, entry: &Path) -> Result<()> {
    fs::copy(find_kernel(tree, &kernel.release)?, entry.join("vmlinuz"))?;
    initramfs::write(tree, &kernel.release, &entry.join("initramfs"))?;
    let used = run::output(host::command("du").args(["-s", "-x", "-B1"]).arg(tree))?;
    let used: u64 = used.split_whitespace().next().and_then(|word| word.parse().ok()).context("du gave no size")?;
    let size = (used + used / 8 + SPARE).next_multiple_of(1 << 20);
    run::quiet(
        host::command("mke2fs")
            .args(["-q", "-t", "ext4", "-m", "0", "-O", "^has_journal"])
            .args(["-E", "lazy_itable_init=1,nodiscard", "-d"])
            .arg(tree)
            .arg(entry.join("disk"))
            .arg(format!("{}k", size / 1024)),
    )
}

/// The kernel's file, which has moved between Debian releases and has another name while unsigned.
fn find_kernel(tree: &Path, release: &str) -> Result<PathBuf> {
    let places = [
        format!("usr/lib/modules/{release}/vmlinuz"),
        format!("usr/lib/modules/{release}/vmlinuz.unsigned"),
        format!("boot/vmlinuz-{release}"),
    ];
    for place in &places {
        let path = tree.join(place);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("kernel {release} is in none of the places known: {}", places.join(", "))
}
