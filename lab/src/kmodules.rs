// SPDX-License-Identifier: CECILL-B
//! Kernel modules for tests: built for a kernel of the lab, and copied to a machine that boots it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use crate::cache::file_digest;
use crate::kernels::Kernel;
use crate::lab::Lab;
use crate::namespace::directory;
use crate::run;
use crate::vm::Add;

/// Part of the cache keys. Raise it when the build of a module changes in a way that its inputs do not show.
const RECIPE: &str = "1";

/// The DMA engine that the tests of DMA offload need.
pub const DMA_ENGINE: &str = "tests/dma";

/// Directory of the modules in the machine.
const PLACE: &str = "/usr/local/lib/knem";

/// Number of builds that are kept.
const KEPT: usize = 20;

/// Builds the kernel module whose sources are in a directory of the repository, in C and with a Kbuild; returns the
/// .ko.
pub fn build(lab: &Lab, kernel: &Kernel, sources: &str) -> Result<PathBuf> {
    let sources = lab.workspace.file(sources);
    let stack = lab.userlands().with_kernel(kernel)?;
    let mut key = vec![RECIPE.to_owned(), stack.key.clone(), kernel.release.clone()];
    for file in files(&sources)? {
        key.push(file.to_string_lossy().into_owned());
        key.push(file_digest(&sources.join(&file))?);
    }
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    let what = format!("{} for kernel {}", sources.display(), kernel.release);
    let entry = lab.cache.entry("kmodule", &what, &key, |entry| {
        lab.userlands().in_passing(&stack, |tree, chroot| {
            let inside = Path::new("root/module");
            for file in files(&sources)? {
                let copy = tree.join(inside).join(&file);
                directory(copy.parent().context("a file is in a directory")?)?;
                fs::copy(sources.join(&file), copy)?;
            }
            let headers = format!("/lib/modules/{}/build", kernel.release);
            let module = format!("M=/{}", inside.display());
            run::quiet(chroot.command("make").args(["-s", "-C", &headers, &module, "KCFLAGS=-Werror", "modules"]))?;
            let built = module_in(&tree.join(inside))?;
            let name = built.file_name().context("a module has a name")?;
            fs::copy(&built, entry.join(name))?;
            Ok(())
        })
    })?;
    lab.cache.keep_newest("kmodule", KEPT)?;
    module_in(&entry)
}

/// As [`build`], as an addition to a machine.
pub fn add(lab: &Lab, kernel: &Kernel, sources: &str) -> Result<Add> {
    let path = build(lab, kernel, sources)?;
    let name = path.file_name().context("a module has a name")?.to_string_lossy().into_owned();
    Ok(Add { path, destination: destination(&name) })
}

/// Returns the path of a module of this name in the machine.
pub fn destination(name: &str) -> PathBuf {
    Path::new(PLACE).join(name)
}

/// The name of the module that a directory's Kbuild makes: `obj-m := NAME.o`.
pub fn name(directory: &Path) -> Result<String> {
    let kbuild = directory.join("Kbuild");
    let text = fs::read_to_string(&kbuild).with_context(|| format!("cannot read {}", kbuild.display()))?;
    let objects: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| matches!(name.trim_end_matches([':', '+']).trim(), "obj-m"))
        .flat_map(|(_, objects)| objects.split_whitespace())
        .collect();
    match objects.as_slice() {
        [object] if object.ends_with(".o") => Ok(format!("{}.ko", object.trim_end_matches(".o"))),
        _ => bail!("{} names {} modules, not one: obj-m := NAME.o", kbuild.display(), objects.len()),
    }
}

/// The files below a directory, by their paths in it.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot look into {}", directory.display()))?;
        if entry.file_type().is_file() {
            found.push(entry.path().strip_prefix(directory)?.to_owned());
        }
    }
    if !found.iter().any(|file| file == Path::new("Kbuild")) {
        bail!("{} has no Kbuild", directory.display());
    }
    Ok(found)
}

/// The one module in a directory.
fn module_in(directory: &Path) -> Result<PathBuf> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "ko") {
            modules.push(path);
        }
    }
    match modules.as_slice() {
        [module] => Ok(module.clone()),
        _ => bail!("{} has {} modules, not one", directory.display(), modules.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_what_the_key_is_made_of() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(files(home.path()).is_err(), "no Kbuild");
        fs::create_dir(home.path().join("b")).expect("made");
        for file in ["Kbuild", "b/x.c", "a.c"] {
            fs::write(home.path().join(file), "").expect("written");
        }
        assert_eq!(files(home.path()).expect("readable"), ["Kbuild", "a.c", "b/x.c"].map(PathBuf::from));
    }

    #[test]
    fn the_kbuild_names_the_module() {
        let workspace = crate::workspace::Workspace::find().expect("the workspace");
        assert_eq!(name(&workspace.file(DMA_ENGINE)).expect("named"), "knem_test_dma.ko");
        let home = tempfile::tempdir().expect("a directory");
        assert!(name(home.path()).is_err(), "no Kbuild");
        for (text, module) in
            [("obj-m += a.o\nccflags-y := -g", Some("a.ko")), ("obj-m := a.o b.o", None), ("obj-y := a.o", None)]
        {
            fs::write(home.path().join("Kbuild"), text).expect("written");
            assert_eq!(name(home.path()).ok().as_deref(), module, "{text}");
        }
    }

    #[test]
    fn there_is_one_module() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(module_in(home.path()).is_err());
        fs::write(home.path().join("a.ko"), "").expect("written");
        fs::write(home.path().join("a.o"), "").expect("written");
        assert_eq!(module_in(home.path()).expect("found"), home.path().join("a.ko"));
        fs::write(home.path().join("b.ko"), "").expect("written");
        assert!(module_in(home.path()).is_err());
    }

    #[test]
    fn the_engine_has_sources() {
        let workspace = crate::workspace::Workspace::find().expect("the workspace");
        assert!(files(&workspace.file(DMA_ENGINE)).is_ok());
    }
}
