// SPDX-License-Identifier: CECILL-B
//! The small initramfs: a busybox, the modules that reach the root disk, and the script that mounts it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};
use cpio::newc::{trailer, Builder};

use crate::host;

/// Modules that the root disk and the ports to the host need, where they are not built in.
const NEEDED: &[&str] = &["virtio_pci", "virtio_blk", "ext4", "virtio_console"];

/// Loaded as well where they exist: older file systems request a checksum by name, which is not a dependency of the
/// module.
const HELPFUL: &[&str] = &["crc32c_generic", "crc32c_cryptoapi"];

const INIT: &str = include_str!("guest/initramfs.sh");

/// Writes the initramfs for `release`, whose tree is at `tree`, to `file`.
pub fn write(tree: &Path, release: &str, file: &Path) -> Result<()> {
    let modules = tree.join("usr/lib/modules").join(release);
    let dependencies = Dependencies::read(&modules)?;
    let mut order = Vec::new();
    for name in HELPFUL.iter().filter(|name| dependencies.has(name)).chain(NEEDED) {
        dependencies.load(name, &mut order);
    }
    let mut archive = Archive::new(file)?;
    for directory in ["bin", "dev", "modules", "proc", "root"] {
        archive.add(directory, 0o040_755, &[])?;
    }
    let busybox = tree.join("usr/bin/busybox");
    let busybox = fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    archive.add("bin/busybox", 0o100_755, &busybox)?;
    archive.link("bin/sh", "busybox")?;
    archive.add("init", 0o100_755, INIT.as_bytes())?;
    let mut names = String::new();
    for path in order {
        let (name, content) = decompressed(&modules.join(path))?;
        archive.add(&format!("modules/{name}"), 0o100_644, &content)?;
        names.push_str(&name);
        names.push('\n');
    }
    archive.add("modules/order", 0o100_644, names.as_bytes())?;
    archive.finish()
}

/// What depmod found out.
struct Dependencies {
    /// From a module's name to its file and the files it needs, in depmod's order: the one to load first is last.
    modules: BTreeMap<String, Vec<String>>,
}

impl Dependencies {
    fn read(modules: &Path) -> Result<Self> {
        let path = modules.join("modules.dep");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            if let Some((file, needs)) = line.split_once(':') {
                let mut files = vec![file.to_owned()];
                files.extend(needs.split_whitespace().map(str::to_owned));
                modules.insert(module_name(file), files);
            }
        }
        Self { modules }
    }

    fn has(&self, name: &str) -> bool {
        self.modules.contains_key(name)
    }

    /// Appends what has to be loaded for `name`, in order; nothing if it is built in.
    fn load(&self, name: &str, order: &mut Vec<String>) {
        for file in self.modules.get(name).into_iter().flatten().rev() {
            if !order.contains(file) {
                order.push(file.clone());
            }
        }
    }
}

/// `crc32c_cryptoapi` for `kernel/crypto/crc32c-cryptoapi.ko.xz`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

/// A module's plain name and content: the busybox that loads it knows no compression.
pub fn decompressed(file: &Path) -> Result<(String, Vec<u8>)> {
    let name = file.file_name().context("a module has a name")?.to_string_lossy().into_owned();
    let (plain, tool) = match name.rsplit_once('.') {
        Some((plain, "xz")) => (plain, "xz"),
        Some((plain, "zst")) => (plain, "zstd"),
        Some((plain, "gz")) => (plain, "gzip"),
        _ => return Ok((name, fs::read(file)?)),
    };
    host::need(&[tool])?;
    let out = Command::new(tool).arg("-dc").arg(file).output()?;
    if !out.status.success() {
        bail!("{tool} cannot decompress {}", file.display());
    }
    Ok((plain.to_owned(), out.stdout))
}

/// A cpio archive in the making.
pub struct Archive {
    file: Option<File>,
    number: u32,
}

impl Archive {
    /// Starts one in a file.
    pub fn new(path: &Path) -> Result<Self> {
        Ok(Self { file: Some(File::create(path)?), number: 0 })
    }

    /// Adds a file, a directory or a device: `mode` says which.
    pub fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        use std::io::Write;
        let file = self.file.take().context("the archive is still open")?;
        self.number += 1;
        let size = u32::try_from(content.len()).context("a file is too large for an initramfs")?;
        let mut writer = Builder::new(name).ino(self.number).nlink(1).mode(mode).write(file, size);
        writer.write_all(content)?;
        self.file = Some(writer.finish()?);
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.add(name, 0o120_777, target.as_bytes())
    }

    /// Ends it: without that, the kernel does not take it.
    pub fn finish(&mut self) -> Result<()> {
        let file = self.file.take().context("the archive is still open")?;
        trailer(file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_once() {
        let text = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/mbcache.ko.xz kernel/fs/jbd2/jbd2.ko.xz\n\
                    kernel/fs/jbd2/jbd2.ko.xz:\nkernel/fs/mbcache.ko.xz:\n\
                    kernel/crypto/crc32c-cryptoapi.ko.xz:\n";
        let dependencies = Dependencies::parse(text);
        let mut order = Vec::new();
        dependencies.load("ext4", &mut order);
        dependencies.load("ext4", &mut order);
        dependencies.load("virtio_blk", &mut order);
        assert_eq!(order, ["kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/mbcache.ko.xz", "kernel/fs/ext4/ext4.ko.xz"]);
        assert!(dependencies.has("crc32c_cryptoapi"));
    }
}
