// SPDX-License-Identifier: CECILL-B
//! The release's tarball: the sources of the packages with the crates that they need, so that `make`,
//! `dpkg-buildpackage` and `rpmbuild -tb` need no network. The same sources give the same bytes.
//!
//! Tests and this project's own packaging are not included: they need a network and many more crates.

mod copyright;
mod licence;
pub(crate) mod spec;
mod stub;
mod tarball;
mod vendor;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use toml::{Table, Value};
use walkdir::WalkDir;

use crate::epoch;
use crate::generate_rpm::{section, text};
use knem_lab::workspace::Workspace;
use knem_lab::{host, run};
use licence::Licences;

/// The crates of the workspace that are in it.
const MEMBERS: &[&str] = &["src-kmod", "src-tools", "src-tools/client"];

/// What is not: paths and all below them.
const LEFT_OUT: &[&str] = &[
    ".cargo",
    ".ci",
    ".editorconfig",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    ".reuse",
    "deny.toml",
    "lab",
    "src-kmod/tests",
    "src-tools/client/tests",
    "src-tools/tests",
    "tests",
    "xtask",
];

/// What a tree without git has beside the sources.
const NOT_SOURCES: &[&str] = &[".git", "build", "dist", "target", "vendor"];

/// Makes `dist/knem-<version>.tar.gz` and returns its path.
///
/// # Errors
/// When crates cannot be fetched, or a file cannot be read or written.
pub fn tarball(workspace: &Workspace) -> Result<PathBuf> {
    let name = format!("knem-{}", workspace.version);
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tree = scratch.path().join(&name);
    for path in sources(&workspace.root)? {
        copy(&workspace.root, &path, &tree)?;
    }
    reduce(&tree)?;
    spec::write(workspace, &tree)?;
    demand_told(workspace, &vendor::add(&tree)?)?;

    let dist = workspace.file("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    let result = dist.join(format!("{name}.tar.gz"));
    tarball::pack(&tree, &result, epoch::of(workspace)?)?;
    Ok(result)
}

/// Fails if the RPM package, whose licence is one expression, leaves one out of those of the crates in the command.
fn demand_told(workspace: &Workspace, licences: &Licences) -> Result<()> {
    let said = text(&section(workspace, "src-tools")?, "license")?;
    let said: Vec<&str> = said.split(['(', ')', ' ']).collect();
    match licences.iter().find(|licence| !said.contains(&licence.as_str())) {
        None => Ok(()),
        Some(left_out) => bail!(
            "the command has parts under {left_out}: say so in src-tools/Cargo.toml, \
             in the license of [package.metadata.generate-rpm]"
        ),
    }
}

/// Copies the whole workspace, as it would be committed now, into `tree`.
pub(crate) fn copy_workspace(root: &Path, tree: &Path) -> Result<()> {
    for path in files(root)? {
        copy(root, &path, tree)?;
        // cargo compares it: unchanged files are not compiled again in a new copy.
        let time = fs::metadata(root.join(&path))?.modified()?;
        fs::File::options().write(true).open(tree.join(&path))?.set_modified(time)?;
    }
    Ok(())
}

/// The files to take, below the top of the repository.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = files(root)?;
    paths.retain(|path| !LEFT_OUT.iter().any(|left_out| path.starts_with(left_out)));
    Ok(paths)
}

/// All files, sorted: those that git knows or would take; without git, all.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = if root.join(".git").exists() { known_to_git(root)? } else { all_files(root)? };
    paths.sort();
    if paths.is_empty() {
        bail!("there are no sources in {}", root.display());
    }
    Ok(paths)
}

fn known_to_git(root: &Path) -> Result<Vec<PathBuf>> {
    host::need(&["git"])?;
    let list = run::output(host::command("git").arg("-C").arg(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let paths = list.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from);
    // Removed, but not yet for git.
    Ok(paths.filter(|path| root.join(path).is_file()).collect())
}

fn all_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let entries = WalkDir::new(root).min_depth(1).into_iter().filter_entry(|entry| {
        entry.depth() > 1 || !NOT_SOURCES.iter().any(|name| entry.file_name().to_str() == Some(name))
    });
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_file() {
            paths.push(entry.path().strip_prefix(root)?.to_owned());
        }
    }
    Ok(paths)
}

fn copy(root: &Path, path: &Path, tree: &Path) -> Result<()> {
    let target = tree.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::copy(root.join(path), &target).with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(())
}

/// Makes the workspace one of these crates, without what only their tests take.
fn reduce(tree: &Path) -> Result<()> {
    edit(&tree.join("Cargo.toml"), |manifest| {
        let workspace = manifest.get_mut("workspace").and_then(Value::as_table_mut);
        let workspace = workspace.context("there is no [workspace]")?;
        workspace
            .insert("members".to_owned(), MEMBERS.iter().map(|&member| Value::from(member)).collect::<Vec<_>>().into());
        if let Some(profiles) = manifest.get_mut("profile").and_then(Value::as_table_mut) {
            profiles.retain(|name, _| name == "release");
        }
        Ok(())
    })?;
    for member in MEMBERS {
        edit(&tree.join(member).join("Cargo.toml"), |manifest| {
            manifest.remove("dev-dependencies");
            Ok(())
        })?;
    }
    Ok(())
}

/// Changes a manifest, which loses its comments, and says so.
fn edit(path: &Path, change: impl FnOnce(&mut Table) -> Result<()>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut manifest: Table = text.parse().with_context(|| format!("{} is no manifest", path.display()))?;
    change(&mut manifest).with_context(|| path.display().to_string())?;
    let text = format!(
        "# SPDX-License-Identifier: CECILL-B\n# Reduced for the release by `make dist`; the repository's has comments and tests.\n{manifest}"
    );
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the path of the running cargo.
pub fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_those_that_are_built() {
        let workspace = Workspace::find().expect("the workspace");
        let paths = sources(&workspace.root).expect("listed");
        let has = |name: &str| paths.iter().any(|path| path == Path::new(name));
        assert!(has("Cargo.lock") && has("Makefile") && has("install/files") && has("debian/control"));
        assert!(has("src-kmod/Kbuild") && has("src-tools/client/src/lib.rs"));
        assert!(!paths.iter().any(|path| path.starts_with("xtask") || path.starts_with("target")));
    }

    #[test]
    fn without_git_results_are_left_out() {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["Makefile", "docs/build/a.md", "target/x", "dist/y", "build/z"] {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, "").expect("written");
        }
        let paths = sources(home.path()).expect("listed");
        assert_eq!(paths, [PathBuf::from("Makefile"), PathBuf::from("docs/build/a.md")]);
    }

    #[test]
    fn a_manifest_is_reduced() {
        let home = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, text).expect("written");
        };
        put(
            "Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"xtask\"]\n[profile.release]\nstrip = true\n[profile.dev]\nx = 1\n",
        );
        for member in MEMBERS {
            put(
                &format!("{member}/Cargo.toml"),
                "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\n[dev-dependencies]\nc = \"1\"\n",
            );
        }
        reduce(home.path()).expect("reduced");
        let top = fs::read_to_string(home.path().join("Cargo.toml")).expect("there");
        assert!(
            top.contains("members = [\"src-kmod\", \"src-tools\", \"src-tools/client\"]")
                && top.contains("strip = true"),
            "{top}"
        );
        assert!(!top.contains("dev"), "{top}");
        let member = fs::read_to_string(home.path().join("src-kmod/Cargo.toml")).expect("there");
        assert!(member.contains("b = \"1\"") && !member.contains("c = \"1\""), "{member}");
    }
}
