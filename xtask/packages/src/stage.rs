// SPDX-License-Identifier: CECILL-B
//! `dist/stage/`: one directory for each package, laid out like the root of the user's machine, and one for its
//! scripts.
//!
//! `make build` generates files, with the Rust objects that a Debian 13 tree has compiled, and install/install.sh
//! copies the files that install/files lists, as for an installation from the sources. The directory is independent of
//! cargo's target directory, because the sections for packages in `src-*/Cargo.toml` name it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{modules, scripts};
use crate::object;
use knem_lab::workspace::Workspace;
use knem_lab::{host, run};

/// What is staged: the layout and the package as install.sh knows them, and the name it has for users.
const PACKAGES: &[(&str, &str, &str)] = &[
    ("deb", "tools", "knem-tools"),
    ("deb", "dkms", "knem2-dkms"),
    ("rpm", "tools", "knem-tools"),
    ("rpm", "dkms", "knem2-dkms"),
];

/// The staging directory, filled.
#[derive(Debug)]
pub(crate) struct Stage {
    root: PathBuf,
}

impl Stage {
    /// Builds everything and stages all packages below `root`, of which nothing old remains. `version` is the
    /// workspace's own, unless packages are made to upgrade to.
    pub(crate) fn make(workspace: &Workspace, root: &Path, version: &str) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
        }
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let stage = Self { root: root.to_owned() };
        let build = root.join("build");
        make(workspace, &build, version)?;
        for (layout, package, name) in PACKAGES {
            let destination = stage.path(layout, name);
            run::quiet(
                Command::new("sh")
                    .arg(workspace.file("install/install.sh"))
                    .args([layout, package])
                    .arg(&destination)
                    .env("BUILD", &build),
            )?;
            if *package == "dkms" {
                modules::check(&destination.join(format!("usr/src/knem-{version}")))?;
            }
        }
        for name in ["knem-tools", "knem2-dkms"] {
            scripts::stage(workspace, &stage, name, version)?;
        }
        stage.control("knem2-dkms", "triggers", &read(&workspace.file("debian/knem2-dkms.triggers"))?)?;
        Ok(stage)
    }

    /// Where a package's files are, in a layout: `deb` or `rpm`.
    pub(crate) fn path(&self, layout: &str, package: &str) -> PathBuf {
        self.root.join(layout).join(package)
    }

    /// Writes a file that is not in the package but goes into its making: a maintainer script, the triggers.
    pub(crate) fn control(&self, package: &str, name: &str, contents: &[u8]) -> Result<()> {
        let directory = self.root.join("control").join(package);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let path = directory.join(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Removes the packages of a kind that an earlier build made, so that none of them is taken for one of this.
pub(crate) fn sweep(dist: &Path, kind: &str) -> Result<()> {
    for entry in fs::read_dir(dist).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// `make build`: the command, and what is generated.
fn make(workspace: &Workspace, build: &Path, version: &str) -> Result<()> {
    host::need(&["make", "cc"])?;
    let mut command = host::command("make");
    command.current_dir(&workspace.root).arg("build").arg(format!("BUILD={}", build.display()));
    command.arg(format!("OBJECTS={}", object::ARCHITECTURES.join(" ")));
    command.env(object::GIVEN, object::for_packages(workspace)?);
    if let Some(cargo) = env::var_os("CARGO") {
        command.env("CARGO", cargo);
    }
    // The settings of a calling make do not apply to this one.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
        command.env_remove(name);
    }
    run::run(command.env("CARGO_TARGET_DIR", workspace.target()).env("KNEM_VERSION", version))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_are_swept() {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["a.deb", "b.rpm", "knem.tar.gz"] {
            fs::write(home.path().join(name), "").expect("written");
        }
        sweep(home.path(), "deb").expect("swept");
        sweep(home.path(), "rpm").expect("swept");
        let left: Vec<_> = fs::read_dir(home.path()).expect("there").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["knem.tar.gz"]);
        sweep(&home.path().join("absent"), "deb").expect("nothing to sweep");
    }
}
