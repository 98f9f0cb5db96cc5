// SPDX-License-Identifier: CECILL-B
//! Tests of the installed files in install/files: complete, licensed, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walkdir::WalkDir;

use crate::modules;
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// The driver's tree as a package has it; nothing needs to be compiled for it.
fn staged() -> (Workspace, tempfile::TempDir, PathBuf) {
    let workspace = Workspace::find().expect("the workspace");
    let home = tempfile::tempdir().expect("a directory");
    let build = home.path().join("build");
    run::quiet(Command::new("sh").arg(workspace.file("install/generate.sh")).arg(&build)).expect("generated");
    run::quiet(
        Command::new("sh")
            .arg(workspace.file("install/install.sh"))
            .args(["deb", "dkms"])
            .arg(home.path().join("dkms"))
            .env("BUILD", &build),
    )
    .expect("installed");
    let tree = home.path().join(format!("dkms/usr/src/knem-{}", workspace.version));
    modules::check(&tree).expect("whole");
    (workspace, home, tree)
}

#[test]
fn the_tree_has_what_kbuild_needs_and_nothing_for_cargo() {
    let (_workspace, _home, tree) = staged();
    for file in [
        "Kbuild",
        "dkms.conf",
        "VERSION",
        "build.sh",
        "way.sh",
        "object.sh",
        "knem_main.rs",
        "uapi.rs",
        "logic/mod.rs",
        "kernel/lib.rs",
    ] {
        assert!(tree.join(file).is_file(), "{file} is missing");
    }
    let allowed = ["rs", "c", "h", "sh", "txt", "conf"];
    for entry in WalkDir::new(&tree) {
        let entry = entry.expect("readable");
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path().strip_prefix(&tree).expect("below the tree");
        let kind = path.extension().and_then(|kind| kind.to_str());
        let plain = ["Kbuild", "Makefile", "VERSION"].iter().any(|name| path == Path::new(name));
        assert!(plain || kind.is_some_and(|kind| allowed.contains(&kind)), "{} has no place there", path.display());
        assert!(path != Path::new("host.rs") && !path.starts_with("tests"), "{} is cargo's", path.display());
    }
}

#[test]
fn what_depends_on_the_manifest_is_filled_in() {
    let (workspace, _home, tree) = staged();
    let conf = fs::read_to_string(tree.join("dkms.conf")).expect("readable");
    let line = |text: String| assert!(conf.lines().any(|line| line == text), "no line {text}");
    line(format!("PACKAGE_VERSION=\"{}\"", workspace.version));
    assert!(!conf.contains("@VERSION@"));
    let version = fs::read_to_string(tree.join("VERSION")).expect("readable");
    assert_eq!(version, format!("{}\n", workspace.version));
    let oldest = workspace.series.first().expect("a series");
    for (script, name, series) in
        [("kernel.sh", "knem_oldest", oldest), ("crate.sh", "knem_crate_from", &workspace.crate_from)]
    {
        let text = fs::read_to_string(tree.join(script)).expect("readable");
        let setting = format!("{name}={series}");
        assert!(text.lines().any(|line| line == setting), "{script} has no line {setting}");
    }
}

#[test]
fn each_staged_file_names_its_licence() {
    let (_workspace, _home, tree) = staged();
    for entry in WalkDir::new(&tree) {
        let entry = entry.expect("readable");
        let path = entry.path();
        if entry.file_type().is_file() && !path.starts_with(tree.join("LICENSES")) && !path.ends_with("VERSION") {
            let text = fs::read_to_string(path).expect("text");
            let head: Vec<&str> = text.lines().take(3).collect();
            assert!(head.join("\n").contains("SPDX-License-Identifier:"), "{} has no SPDX line", path.display());
        }
    }
}

/// modprobe.d/knem.conf explains every parameter of the module, with its default.
#[test]
fn every_module_parameter_is_explained() {
    let workspace = Workspace::find().expect("the workspace");
    let mut sources = String::new();
    for entry in fs::read_dir(workspace.file("src-kmod")).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|kind| kind == "c") {
            sources.push_str(&fs::read_to_string(path).expect("text"));
        }
    }
    let conf = fs::read_to_string(workspace.file("modprobe.d/knem.conf")).expect("readable");
    let in_driver: BTreeSet<&str> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("module_param_named("))
        .filter_map(|rest| rest.split(',').next())
        .collect();
    let explained: BTreeSet<&str> = conf
        .lines()
        .filter_map(|line| line.strip_prefix("#options knem "))
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert_eq!(in_driver, explained);
}

/// The texts in debian/copyright are those in LICENSES/, indented as a field, with a dot for an empty line and no tabs.
#[test]
fn the_texts_are_those_of_the_licences() {
    let workspace = Workspace::find().expect("the workspace");
    let copyright = fs::read_to_string(workspace.file("debian/copyright")).expect("readable");
    for name in ["CECILL-B.txt", "Linux-syscall-note.txt"] {
        let text = fs::read_to_string(workspace.file("LICENSES").join(name)).expect("readable");
        let field: String = text
            .lines()
            .map(|line| {
                if line.trim().is_empty() {
                    " .\n".to_owned()
                } else {
                    format!(" {}\n", line.replace("\t", "        "))
                }
            })
            .collect();
        assert!(copyright.contains(&field), "debian/copyright does not have the text of LICENSES/{name}");
    }
}
