// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The rules of the design document: what each part of the tree may use.
//!
//! Every source file is parsed, and each rule is a function from a file to its violations. The tests here apply the
//! rules to the tree. Other tests (`bites` for the rules of `uapi` and `logic`) apply them to violations, so that a
//! rule cannot stop working unnoticed.

mod bites;
mod ceiling;
mod expressions;
mod layer;
mod lines;
mod one_file;
mod order;
mod redefinitions;
mod tokens;
mod tree;

use std::path::{Path, PathBuf};

use crate::layer::Layer;
use crate::lines::{licence, version, version_literals};
use crate::one_file::{bindings, conditions, driver_names, driver_prefixes, foreign_blocks, kernel_versions};
use crate::order::{modules, ring, Uses};
use crate::redefinitions::redefinitions;
use crate::tree::{enforce, files, parse, rust_files, text};

#[test]
fn the_interface_uses_core_only() {
    enforce(&["src-kmod/uapi.rs".into()], |path| Layer::violations(&parse(path), false));
}

#[test]
fn logic_uses_core_and_cannot_panic() {
    enforce(&rust_files(&["src-kmod/logic"]), |path| Layer::violations(&parse(path), true));
}

fn driver_files(except: &str) -> Vec<PathBuf> {
    let mut paths = rust_files(&["src-kmod/glue", "src-kmod/logic"]);
    paths.extend(["src-kmod/knem_main.rs".into(), "src-kmod/uapi.rs".into()]);
    paths.retain(|path| path != Path::new(except));
    paths
}

#[test]
fn glue_is_one_source_without_a_condition() {
    enforce(&rust_files(&["src-kmod/glue"]), |path| conditions(&text(path)));
}

#[test]
fn glue_has_an_order() {
    let mut uses = Uses::new();
    for path in rust_files(&["src-kmod/glue"]).iter().filter(|path| !path.ends_with("glue/mod.rs")) {
        // The files of a directory count as one file.
        let below = path.strip_prefix("src-kmod/glue").expect("a file of glue").with_extension("");
        let file = below.iter().next().expect("a name").to_string_lossy().into_owned();
        let mut used = modules(&text(path));
        used.remove(&file);
        uses.entry(file).or_default().extend(used);
    }
    assert!(uses.len() > 30, "{uses:?}");
    assert_eq!(ring(uses), [""; 0], "these files use each other");
}

#[test]
fn kernels_differ_in_one_header() {
    let c = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "c" || kind == "h");
    let paths = files("src-kmod").into_iter().filter(c).filter(|path| path != Path::new("src-kmod/compat.h"));
    enforce(&paths.collect::<Vec<_>>(), |path| kernel_versions(&text(path)));
}

#[test]
fn the_stand_in_knows_nothing_of_the_driver() {
    let rust = rust_files(&["src-kmod/kernel"]);
    // Its purpose is to compile the stand-in and the driver together.
    let rust: Vec<PathBuf> = rust.into_iter().filter(|path| path != Path::new("src-kmod/kernel/unused.rs")).collect();
    enforce(&rust, |path| driver_names(&text(path)));
    enforce(&["src-kmod/kernel/standin.c".into(), "src-kmod/kernel/standin.h".into()], |path| {
        driver_prefixes(&text(path))
    });
}

#[test]
fn the_kernels_structures_are_named_in_glue_only() {
    let mut paths = rust_files(&["src-kmod/logic"]);
    paths.extend(["src-kmod/knem_main.rs".into(), "src-kmod/uapi.rs".into()]);
    enforce(&paths, |path| bindings(&text(path)));
}

#[test]
fn foreign_functions_are_in_one_file() {
    enforce(&driver_files("src-kmod/glue/ffi.rs"), |path| foreign_blocks(&text(path)));
    let mut standin = rust_files(&["src-kmod/kernel"]);
    standin.retain(|path| path != Path::new("src-kmod/kernel/ffi.rs"));
    enforce(&standin, |path| foreign_blocks(&text(path)));
}

#[test]
fn glue_is_only_built_for_the_kernel() {
    // What both roots mount is shared; glue must not be.
    assert!(!text(Path::new("src-kmod/host.rs")).contains("mod glue"));
}

#[test]
fn programs_and_tests_take_the_interface_from_uapi() {
    let paths = rust_files(&["lab", "src-tools", "tests", "xtask"]);
    enforce(&paths, |path| redefinitions(&text(path)));
}

#[test]
fn packages_read_the_version() {
    let paths: Vec<PathBuf> = ["debian", "dkms", "rpm", "udev", "modprobe.d", "include"]
        .iter()
        .flat_map(|below| files(below))
        // A changelog is about versions. Another test checks its first one.
        .filter(|path| path != Path::new("debian/changelog"))
        .collect();
    enforce(&paths, |path| version_literals(&text(path), &version()));
}

#[test]
fn the_changelog_starts_with_the_version() {
    let first = text(Path::new("debian/changelog")).lines().next().unwrap_or_default().to_owned();
    let version = version();
    assert!(first.starts_with(&format!("knem ({version}")), "{first:?} is not about {version}");
}

#[test]
fn every_source_has_a_licence() {
    const SOURCES: [&str; 10] = ["rs", "c", "h", "S", "sh", "toml", "in", "conf", "rules", "mk"];
    const NAMES: [&str; 5] = ["Makefile", "Kbuild", "run", "rules", "control"];
    let is_source = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let name = path.file_name().and_then(|name| name.to_str());
        extension.is_some_and(|extension| SOURCES.contains(&extension))
            || name.is_some_and(|name| NAMES.contains(&name))
    };
    // Debian's copyright file has a format of its own for licences.
    let paths = files("").into_iter().filter(is_source).filter(|path| path != Path::new("debian/copyright.in"));
    let paths: Vec<PathBuf> = paths.collect();
    enforce(&paths, |path| licence(&text(path)));
}
