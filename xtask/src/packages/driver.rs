// SPDX-License-Identifier: CECILL-B
//! What is in knem-dkms: the driver's sources below /usr/src, as DKMS wants them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::stage::Stage;
use super::{copyright, description, install_list, modules, scripts, template};
use crate::workspace::Workspace;

/// The package's name.
const PACKAGE: &str = "knem-dkms";

/// Packages that stand for the newest kernel's headers: Debian's, and the name other distributions use.
const HEADERS: &[&str] = &["amd64", "arm64", "generic"];

/// Stages the package.
pub(crate) fn stage(workspace: &Workspace, stage: &Stage) -> Result<()> {
    let tree = tree(workspace);
    for entry in install_list::read(&workspace.root, &workspace.file("dkms/install-list"))? {
        stage.copy(&entry.from, PACKAGE, tree.join(&entry.path))?;
    }
    let path = workspace.file("dkms/dkms.conf.in");
    let conf = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let conf = template::fill(&conf, &template::values(workspace)?).with_context(|| path.display().to_string())?;
    stage.write(PACKAGE, tree.join("dkms.conf"), conf.as_bytes())?;
    // Kbuild has no Cargo.toml to read there.
    stage.write(PACKAGE, tree.join("VERSION"), format!("{}\n", workspace.version).as_bytes())?;
    modules::check(&stage.path(PACKAGE, &tree))?;

    scripts::stage(workspace, stage, PACKAGE)?;
    scripts::stage_triggers(workspace, stage, PACKAGE)?;
    copyright::stage(workspace, stage, PACKAGE)
}

/// Fields of the control file that Cargo.toml cannot give.
///
/// All that building takes is recommended and no more than that: node images may bring the module built elsewhere, and a machine
/// whose kernel has no Rust shall be able to have the package. Headers of an older kernel than the driver takes are of no use,
/// and would bring that kernel with them.
///
/// Debian's headers lack the kernel's Rust metadata, which is then made from the kernel's source. That must be of exactly the
/// kernel's version, which no dependency can say: recommended, apt would take the newest series on every machine, 160 MB, needed
/// or not, right or not. So it is suggested; whoever lacks it is told the exact command by dkms/rust-check.sh, and its arrival
/// triggers the build (debian/knem-dkms.triggers.in).
pub(crate) fn fields(workspace: &Workspace) -> Result<Vec<(&'static str, String)>> {
    let oldest = workspace.series.first().context("no kernel is supported")?;
    let headers: Vec<String> =
        HEADERS.iter().map(|flavour| format!("linux-headers-{flavour} (>= {oldest}~)")).collect();
    let sources: Vec<String> = workspace.series.iter().map(|series| format!("linux-source-{series}")).collect();
    Ok(vec![
        // Sources, the same for every machine.
        ("Architecture", "all".to_owned()),
        ("Recommends", format!("knem-tools, rustc, rust-src, bindgen, gcc, {}", headers.join(" | "))),
        ("Suggests", sources.join(", ")),
        ("Provides", format!("knem-modules (= {})", workspace.version)),
        ("Description", description::read(workspace, PACKAGE)?),
    ])
}

/// Where DKMS looks for the sources of this version.
fn tree(workspace: &Workspace) -> PathBuf {
    PathBuf::from(format!("usr/src/knem-{}", workspace.version))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use walkdir::WalkDir;

    use super::*;

    fn staged() -> (Workspace, tempfile::TempDir, PathBuf) {
        let workspace = Workspace::find().expect("the workspace");
        let home = tempfile::tempdir().expect("a directory");
        let place = Stage::at(home.path());
        stage(&workspace, &place).expect("staged, and whole");
        let tree = place.path(PACKAGE, tree(&workspace));
        (workspace, home, tree)
    }

    #[test]
    fn the_tree_has_what_kbuild_needs_and_nothing_for_cargo() {
        let (_workspace, _home, tree) = staged();
        for file in
            ["Kbuild", "dkms.conf", "VERSION", "build.sh", "rust-check.sh", "knem_main.rs", "uapi.rs", "logic/mod.rs"]
        {
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
    fn dkms_conf_is_filled_in() {
        let (workspace, _home, tree) = staged();
        let conf = fs::read_to_string(tree.join("dkms.conf")).expect("readable");
        let line = |text: String| assert!(conf.lines().any(|line| line == text), "no line {text}");
        line(format!("PACKAGE_VERSION=\"{}\"", workspace.version));
        line(format!("BUILD_EXCLUSIVE_KERNEL_MIN=\"{}\"", workspace.series[0]));
        assert!(!conf.contains("@VERSION@") && !conf.contains("@KERNEL"));
        let version = fs::read_to_string(tree.join("VERSION")).expect("readable");
        assert_eq!(version, format!("{}\n", workspace.version));
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

    /// The version is repeated in one place only, where Debian wants a history.
    #[test]
    fn the_changelog_is_of_this_version() {
        let workspace = Workspace::find().expect("the workspace");
        let log = fs::read_to_string(workspace.file("debian/changelog")).expect("readable");
        assert!(log.starts_with(&format!("knem ({}-", workspace.version)), "debian/changelog is of another version");
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
}
