// SPDX-License-Identifier: CECILL-B
//! Building modules for a User Mode Linux kernel: the driver, and those of the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use walkdir::{DirEntry, WalkDir};

use super::kernel::{make, UmlKernel};
use super::workshop::Workshop;
use crate::cache::{file_digest, Cache};
use crate::lab::Lab;
use crate::vm::Add;
use crate::{kmodules, run};

/// Part of the keys, as elsewhere.
const RECIPE: &str = "1";

/// Where the module's source is in the workshop.
const SOURCE: &str = "/usr/src/module";

/// Modules are loaded far from the kernel's text, and UML's loader knows no relocations against a global offset table.
const RUST: &str = "RUSTFLAGS_MODULE=-Crelocation-model=static -Ccode-model=large";

/// The driver.
pub fn driver(lab: &Lab, kernel: &UmlKernel) -> Result<PathBuf> {
    build(&lab.cache, kernel, &lab.workspace.file("src-kmod"), "knem.ko", Some(&lab.workspace.version))
}

/// A test's module, whose sources are in a directory of the repository, to be brought into the guest.
pub fn add(lab: &Lab, kernel: &UmlKernel, sources: &str) -> Result<Add> {
    let directory = lab.workspace.file(sources);
    let name = kmodules::name(&directory)?;
    let path = build(&lab.cache, kernel, &directory, &name, None).with_context(|| {
        format!(
            "{sources} cannot be built for User Mode Linux: it has what tests/uml/base.config asks for, no hardware, and of \
             buses only PCI"
        )
    })?;
    Ok(Add { path, destination: kmodules::destination(&name) })
}

/// The module `name` from the sources in `source`.
pub fn build(cache: &Cache, kernel: &UmlKernel, source: &Path, name: &str, version: Option<&str>) -> Result<PathBuf> {
    let mut key = vec![RECIPE.to_owned(), kernel.key.clone(), version.unwrap_or_default().to_owned()];
    for entry in WalkDir::new(source).sort_by_file_name().into_iter().filter_entry(is_source) {
        let entry = entry?;
        if entry.file_type().is_file() {
            key.push(entry.path().strip_prefix(source)?.display().to_string());
            key.push(file_digest(entry.path())?);
        }
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let what = format!("{name} for User Mode Linux ({})", kernel.flavour.name());
    let entry = cache.entry("uml-module", &what, &key, |entry| {
        let copy = entry.join("source");
        run::quiet(Command::new("cp").args(["-r", "-T"]).arg(source).arg(&copy))?;
        if let Some(version) = version {
            fs::write(copy.join("VERSION"), format!("{version}\n"))?;
        }
        let mut workshop = Workshop::open(&kernel.toolchain, cache)?;
        workshop.bind(&kernel.tree, super::kernel::TREE)?;
        workshop.bind(&copy, SOURCE)?;
        run::quiet(make(&workshop).arg(RUST).arg(format!("M={SOURCE}")).arg("modules"))?;
        let built = copy.join(name);
        if !built.is_file() {
            bail!("the build made no {name}");
        }
        fs::copy(&built, entry.join(name))?;
        Ok(fs::remove_dir_all(&copy)?)
    })?;
    cache.keep_newest("uml-module", 20)?;
    Ok(entry.join(name))
}

/// Cargo's part of the driver is not the kernel's, and what a build left there is no source.
fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let built = [".o", ".ko", ".mod", ".mod.c", ".cmd"].iter().any(|end| name.ends_with(end));
    let cargo = entry.depth() == 1 && (name == "tests" || name == "Cargo.toml" || name == "target");
    !(built || cargo || name == "Module.symvers" || name == "modules.order")
}
