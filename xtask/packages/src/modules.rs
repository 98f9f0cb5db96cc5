// SPDX-License-Identifier: CECILL-B
//! Checks that a driver tree is complete: it must have all files that its sources refer to. A file missing in the
//! install list would otherwise fail only when DKMS builds on a user's machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

/// The Rust roots: of the driver, and of the stand-in for the kernel crate.
const ROOTS: &[&str] = &["knem_main.rs", "kernel/lib.rs"];

/// Checks the tree: Kbuild's objects, Rust's modules and C's own headers are all there.
pub(crate) fn check(tree: &Path) -> Result<()> {
    let kbuild = read(&tree.join("Kbuild"))?;
    for object in objects(&kbuild) {
        let source = object.trim_end_matches(".o");
        if !["c", "rs"].iter().any(|kind| tree.join(format!("{source}.{kind}")).is_file()) {
            bail!("Kbuild names {object}, but the DKMS tree has neither {source}.c nor {source}.rs: see install/files");
        }
    }
    for root in ROOTS.iter().map(|root| tree.join(root)) {
        check_modules(&root, root.parent().context("a root is in a directory")?)?;
    }
    for entry in WalkDir::new(tree) {
        let path = entry?.into_path();
        if path.extension().is_some_and(|kind| kind == "c" || kind == "h") {
            for header in own_headers(&read(&path)?) {
                if !path.with_file_name(&header).is_file() {
                    bail!("{} includes {header}, which the DKMS tree lacks: see install/files", path.display());
                }
            }
        }
    }
    Ok(())
}

/// Follows `mod x;` from a file; its modules are in `directory`.
fn check_modules(file: &Path, directory: &Path) -> Result<()> {
    for module in declared(&read(file)?) {
        let flat = directory.join(format!("{module}.rs"));
        let nested = directory.join(&module);
        let found: PathBuf = if flat.is_file() {
            flat
        } else if nested.join("mod.rs").is_file() {
            nested.join("mod.rs")
        } else {
            bail!("{} says `mod {module};`, but the DKMS tree lacks it: see install/files", file.display());
        };
        check_modules(&found, &nested)?;
    }
    Ok(())
}

/// The names in `mod name;`, whatever stands before `mod`.
fn declared(source: &str) -> Vec<String> {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.filter_map(|line| line.trim().strip_suffix(';'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().rev();
            let name = words.next()?;
            (words.next()? == "mod").then(|| name.to_owned())
        })
        .collect()
}

/// The objects that make up the module, in either way, but for the one that is not compiled on the user's machine.
fn objects(kbuild: &str) -> Vec<String> {
    kbuild
        .lines()
        .filter(|line| line.starts_with("knem-y") || line.starts_with("knem-rust-"))
        .filter_map(|line| line.split_once('='))
        .flat_map(|(_, words)| words.split_whitespace())
        .filter(|word| word.ends_with(".o") && *word != "knem_rust.o")
        .map(str::to_owned)
        .collect()
}

/// The headers in `#include "..."`.
fn own_headers(source: &str) -> Vec<String> {
    source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#include \""))
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found() {
        let source = "mod a;\npub(crate) mod b; // mod c;\n#[cfg(x)] mod d;\nmod e {\n// mod f;\nuse g::mod_h;\n";
        assert_eq!(declared(source), ["a", "b", "d"]);
        assert_eq!(
            objects("obj-m := knem.o\nknem-y := a.o b.o\nknem-rust-x := k/c.o knem_rust.o\nknem-y += $(x)\n"),
            ["a.o", "b.o", "k/c.o"]
        );
        assert_eq!(own_headers("#include <x.h>\n#include \"y.h\"\n"), ["y.h"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| fs::write(home.path().join(name), text).expect("written");
        put("Kbuild", "knem-y := knem_main.o\n");
        put("knem_main.rs", "mod logic;\n");
        fs::create_dir(home.path().join("kernel")).expect("made");
        put("kernel/lib.rs", "");
        let error = check(home.path()).expect_err("no logic").to_string();
        assert!(error.contains("mod logic;"), "{error}");
        fs::create_dir(home.path().join("logic")).expect("made");
        put("logic/mod.rs", "mod plan;\n");
        let error = check(home.path()).expect_err("no plan").to_string();
        assert!(error.contains("mod plan;"), "{error}");
        put("logic/plan.rs", "");
        put("kernel/standin.c", "#include \"../compat.h\"\n");
        assert!(check(home.path()).is_err());
        put("compat.h", "");
        check(home.path()).expect("whole");
        put("Kbuild", "knem-y := knem_main.o shim.o\n");
        assert!(check(home.path()).is_err());
    }
}
