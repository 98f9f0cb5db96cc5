// SPDX-License-Identifier: CECILL-B
//! A bootable image of a userland: kernel, initramfs and an ext4 disk image, built without mounting it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::initramfs;
use crate::archive::DISTRIBUTIONS;
use crate::cache::Cache;
use crate::host;
use crate::kernels::Kernel;
use crate::namespace::{directory, Mount, Upper};
use crate::run;
use crate::userland::Stack;

/// Part of the key. Raise it when the build of an image changes.
const RECIPE: &str = "3";

/// What building the module took and nothing in the machine needs: left out, it makes the image four times smaller.
/// DKMS has built the module before the image is made. Names may end with a star.
const LEFT_OUT: &[&str] = &[
    "usr/lib/llvm-*",
    "usr/lib/rustlib",
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/libclang*",
    "usr/lib/x86_64-linux-gnu/librustc_driver*",
    "usr/share/doc",
    "usr/share/locale",
    "usr/src/linux-source-*",
    "usr/src/rustc-*",
];

/// Omitted as well for a machine that is booted once: the rest of the build tools, and files that can be generated
/// again.
const LEFT_OUT_ONCE: &[&str] = &[
    "usr/include",
    "usr/lib/gcc*",
    "usr/libexec/gcc*",
    "usr/share/man",
    "usr/src/linux-*",
    "var/cache/apt/*",
    "var/cache/knem/rust-metadata",
];

/// Free space beyond the userland's own size.
const SPARE: u64 = 2 << 30;

/// Number of images that are kept, each of some gigabytes; the same number of their layers is kept.
const KEPT: usize = 8;

/// The files for qemu.
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
        let key = [RECIPE, stack.key.as_str(), include_str!("guest/initramfs.sh")];
        let what = format!("disk image with kernel {}", kernel.release);
        let entry = cache.entry("image", &what, &key, |entry| {
            Self::once(&stack.paths(), kernel, entry, Without::Compilers).map(|_| ())
        })?;
        // Each distribution has a base, with the last point release's beside it.
        let bases = 2 * DISTRIBUTIONS.len();
        for (kind, count) in
            [("image", KEPT), ("installed", 2 * KEPT), ("kernel", 2 * KEPT), ("rust-metadata", KEPT), ("base", bases)]
        {
            cache.keep_newest(kind, count)?;
        }
        Ok(Self::at(kernel, &entry))
    }

    /// An image of these layers (topmost first) in the directory `place`, for the caller alone. The layers stay as they
    /// are.
    ///
    /// # Errors
    /// When the tree has no such kernel, or the disk is full.
    pub fn once(layers: &[&Path], kernel: &Kernel, place: &Path, without: Without) -> Result<Self> {
        host::need(&["mke2fs"])?;
        let [tree, upper, work, empty] = ["tree", "upper", "work", "empty"].map(|name| place.join(name));
        for path in [&tree, &upper, &work, &empty] {
            directory(path)?;
        }
        let patterns = match without {
            Without::Compilers => LEFT_OUT.to_vec(),
            Without::Building => [LEFT_OUT, LEFT_OUT_ONCE].concat(),
            Without::Nothing => Vec::new(),
        };
        let mounted = Mount::overlay(layers, Some(Upper { upper: &upper, work: &work }), &tree)?;
        let result = leave_out(&tree, &patterns, &empty).and_then(|_hidden| make(&tree, kernel, place));
        drop(mounted);
        result?;
        for path in [tree, upper, work, empty] {
            fs::remove_dir_all(path)?;
        }
        Ok(Self::at(kernel, place))
    }

    fn at(kernel: &Kernel, place: &Path) -> Self {
        Self {
            release: kernel.release.clone(),
            vmlinuz: place.join("vmlinuz"),
            initramfs: place.join("initramfs"),
            disk: place.join("disk"),
        }
    }
}

/// Files that an image omits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// What builds modules.
    Compilers,
    /// That, and the kernel's headers, and what apt and we keep to be quicker.
    Building,
    /// Nothing: modules can be built in the machine.
    Nothing,
}

/// Hides what the image does without, in the tree as it is seen here: the layers stay as they are. It is seen again
/// when the result goes.
fn leave_out(tree: &Path, patterns: &[&str], empty: &Path) -> Result<Vec<Mount>> {
    let mut hidden = Vec::new();
    for pattern in patterns {
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
            if matches && entry.file_type()?.is_dir() {
                // Some have ten thousands of files: to remove each takes longer than all the rest.
                hidden.push(Mount::bind(empty, &entry.path())?);
            } else if matches {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(hidden)
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
