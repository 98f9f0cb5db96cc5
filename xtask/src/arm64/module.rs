// SPDX-License-Identifier: CECILL-B
//! The module: C compiled against a kernel's headers, linked with the object.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use super::tree::Tree;
use knem_lab::lab::Lab;
use knem_lab::namespace::directory;
use knem_lab::uml::workshop::Workshop;
use knem_lab::{module, run};
use knem_packages::object;

/// Where the module's source is in the workshop.
const SOURCE: &str = "/usr/src/knem";

/// Builds it as DKMS does, and returns knem.ko.
///
/// # Errors
/// When it does not compile or link, or a compiler or modpost warns.
pub(super) fn build(lab: &Lab, tree: &Tree, objects: &Path) -> Result<PathBuf> {
    let scratch = lab.scratch("arm64")?;
    copy_sources(lab, objects, scratch.path())?;
    let mut workshop = Workshop::open(&tree.stack, &lab.cache)?;
    workshop.bind(scratch.path(), SOURCE)?;
    let warnings = Mutex::new(Vec::new());
    let headers = format!("/usr/src/linux-headers-{}", tree.release);
    run::watched(
        workshop.command("make").args(["-C", &headers, "ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"]).args([
            &format!("M={SOURCE}"),
            "KNEM_RUST=object",
            "KNEM_WHY=test",
            "KCFLAGS=-Werror",
            "modules",
        ]),
        |line| {
            if let (true, Ok(mut warnings)) = (line.to_lowercase().contains("warning"), warnings.lock()) {
                warnings.push(line.to_owned());
            }
        },
    )?;
    let warnings = warnings.into_inner().unwrap_or_default();
    if !warnings.is_empty() {
        bail!("warnings for kernel {}:\n{}", tree.release, warnings.join("\n"));
    }
    let built = scratch.path().join("knem.ko");
    module::demand_no_panic(&module::undefined_symbols(&built)?)?;
    let rust = module::information(&built, "rust")?.unwrap_or_default();
    if rust != "object: test" {
        bail!("the module says it is built as `{rust}`");
    }
    let kept = lab.workspace.target().join("arm64").join(&tree.release);
    directory(&kept)?;
    fs::copy(&built, kept.join("knem.ko")).context("the build made no knem.ko")?;
    run::step(&format!("knem.ko for {}: built without a warning", tree.release));
    Ok(kept.join("knem.ko"))
}

/// What the package has in `/usr/src`.
fn copy_sources(lab: &Lab, objects: &Path, to: &Path) -> Result<()> {
    let sources = lab.workspace.file("src-kmod");
    for entry in WalkDir::new(&sources) {
        let entry = entry?;
        let path = entry.path().strip_prefix(&sources)?;
        let name = entry.file_name().to_string_lossy();
        if [".c", ".h"].iter().any(|end| name.ends_with(end)) && !name.ends_with(".mod.c") || name == "Kbuild" {
            let copy = to.join(path);
            directory(copy.parent().context("a file is in a directory")?)?;
            fs::copy(entry.path(), copy)?;
        }
    }
    for name in object::ARCHITECTURES.map(object::name) {
        fs::copy(objects.join(&name), to.join(&name))?;
    }
    Ok(fs::write(to.join("VERSION"), format!("{}\n", lab.workspace.version))?)
}
