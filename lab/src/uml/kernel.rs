// SPDX-License-Identifier: CECILL-B
//! Building User Mode Linux, each flavour once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use super::workshop::Workshop;
use crate::kernels::Kernel;
use crate::lab::Lab;
use crate::namespace::{directory, Mount};
use crate::run;
use crate::userland::Stack;

/// Part of the cache keys. Raise it when the build of a kernel changes in a way that its inputs do not show.
const RECIPE: &str = "1";

/// Where the kernel's tree is in the workshop. Kbuild writes it into what it generates, so it never changes.
pub(super) const TREE: &str = "/usr/src/linux-uml";

/// What every call of the kernel's makefiles is given. SUBARCH is x86, not x86_64.
pub(super) const MAKE: &[&str] = &["-s", "ARCH=um", "SUBARCH=x86", "LLVM=-19"];

/// Parts of the source that no configuration here compiles, as patterns of tar. Kconfig reads its files everywhere.
const LEFT_OUT: &[&str] = &[
    "*/Documentation/*/*",
    "*/arch/[!ux]*/*.[chS]",
    "*/arch/[!ux]*/*.dts*",
    "*/drivers/gpu/*.[ch]",
    "*/drivers/media/*.[ch]",
    "*/drivers/net/*/*.[ch]",
    "*/drivers/scsi/*.[ch]",
    "*/drivers/staging/*.[ch]",
    "*/sound/*.[ch]",
    "*/tools/perf/*",
    "*/tools/testing/*",
];

/// Files for building modules: the rest of the tree is removed when the kernel is linked.
const KEPT: &[&str] = &[
    ".config",
    "Kbuild",
    "Kconfig",
    "Makefile",
    "Module.symvers",
    "arch/um",
    "arch/x86",
    "include",
    "linux",
    "rust",
    "scripts",
    "tools/include",
];

/// Which checks are compiled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// None: nearly as fast as the host.
    Plain,
    /// All that work together.
    Debug,
}

impl Flavour {
    /// For progress lines and names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Debug => "debug",
        }
    }

    /// Files of tests/uml with its configuration.
    fn fragments(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["base.config", "plain.config"],
            Self::Debug => &["base.config", "debug.config"],
        }
    }

    /// Directories of tests/uml with its patches.
    fn patches(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["patches", "patches-plain"],
            Self::Debug => &["patches"],
        }
    }
}

/// A kernel that can be run and built for.
#[derive(Debug, Clone)]
pub struct UmlKernel {
    /// As it was built.
    pub flavour: Flavour,
    /// The version of the source package.
    pub version: String,
    /// Identifies it, with all that it was made from.
    pub key: String,
    /// What remains of its tree.
    pub tree: PathBuf,
    /// The compilers it was built with.
    pub(super) toolchain: Stack,
}

impl UmlKernel {
    /// The kernel of this flavour from the source of `kernel`, built if it is not there.
    pub fn of(lab: &Lab, kernel: &Kernel, flavour: Flavour) -> Result<Self> {
        let Some(package) = &kernel.source else {
            bail!("the archive has no source package of {}", kernel.release);
        };
        let toolchain = lab.userlands().with_uml_toolchain()?;
        let ours = lab.workspace.file("tests/uml");
        let configuration = configuration(&ours, flavour)?;
        let patches = patches(&ours, flavour)?;
        let mut key = vec![RECIPE, toolchain.key.as_str(), package.as_str(), configuration.as_str()];
        for (_, text) in &patches {
            key.push(text);
        }
        key.extend(MAKE);
        let what = format!("User Mode Linux {} ({})", kernel.series, flavour.name());
        let entry = lab.cache.entry("uml-kernel", &what, &key, |entry| {
            let source = entry.join("source");
            unpack(lab, &toolchain, package, &source)?;
            build(lab, &toolchain, &source, &patches, &configuration)?;
            keep(&source, &entry.join("tree"))?;
            Ok(fs::remove_dir_all(&source)?)
        })?;
        lab.cache.keep_newest("uml-kernel", 6)?;
        let name = entry.file_name().context("a cache entry has a name")?.to_string_lossy().into_owned();
        Ok(Self { flavour, version: kernel.version.clone(), key: name, tree: entry.join("tree"), toolchain })
    }

    /// Its release, as `uname -r` says it.
    pub fn release(&self) -> Result<String> {
        let path = self.tree.join("include/config/kernel.release");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.tree.join("linux")
    }
}

/// The configuration wanted: all fragments, one after the other.
fn configuration(ours: &Path, flavour: Flavour) -> Result<String> {
    let mut text = String::new();
    for name in flavour.fragments() {
        let path = ours.join(name);
        text.push_str(&fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(text)
}

/// Patches of the kernel's source, in order: paths in tests/uml, and their contents.
fn patches(ours: &Path, flavour: Flavour) -> Result<Vec<(String, String)>> {
    let mut patches = Vec::new();
    for directory in flavour.patches() {
        for entry in WalkDir::new(ours.join(directory)).min_depth(1).sort_by_file_name() {
            let entry = entry?;
            let name = format!("{directory}/{}", entry.file_name().to_string_lossy());
            patches.push((name, fs::read_to_string(entry.path())?));
        }
    }
    Ok(patches)
}

/// Unpacks the source from Debian's package.
fn unpack(lab: &Lab, toolchain: &Stack, package: &str, source: &Path) -> Result<()> {
    directory(source)?;
    lab.userlands().in_passing(toolchain, |tree, chroot| {
        run::quiet(&mut chroot.apt_get(&["install", "-y", "-q", "--no-install-recommends", package]))?;
        let name = package.split('=').next().unwrap_or_default();
        let there = tree.join("mnt");
        let mounted = Mount::bind(source, &there)?;
        let mut tar = chroot.command("tar");
        tar.args(["-x", "--strip-components=1", "-C", "/mnt", "-f"]).arg(format!("/usr/src/{name}.tar.xz"));
        for pattern in LEFT_OUT {
            tar.arg(format!("--exclude={pattern}"));
        }
        let result = run::quiet(&mut tar);
        drop(mounted);
        result
    })
}

/// Patches, configures and builds.
fn build(lab: &Lab, toolchain: &Stack, source: &Path, patches: &[(String, String)], configuration: &str) -> Result<()> {
    fs::write(source.join("wanted.config"), configuration)?;
    let mut workshop = Workshop::open(toolchain, &lab.cache)?;
    workshop.bind(source, TREE)?;
    for (name, text) in patches {
        fs::write(source.join("wanted.patch"), text)?;
        // Without fuzz: if the source has changed, a patch may have another meaning.
        let mut command = workshop.command("patch");
        command.args(["--strip=1", "--fuzz=0", "--forward", "--silent", "--directory", TREE]);
        run::quiet(command.arg(format!("--input={TREE}/wanted.patch")))
            .with_context(|| format!("tests/uml/{name} does not fit this kernel"))?;
    }
    let mut configure = make(&workshop);
    configure.env("KCONFIG_ALLCONFIG", format!("{TREE}/wanted.config")).arg("allnoconfig");
    run::quiet(&mut configure)?;
    demand_configuration(configuration, &fs::read_to_string(source.join(".config"))?)?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    run::quiet(make(&workshop).arg(format!("-j{jobs}")).args(["linux", "modules"]))
}

/// The kernel's makefiles, in the workshop.
pub(super) fn make(workshop: &Workshop) -> Command {
    let mut command = workshop.command("make");
    command.env("KBUILD_BUILD_TIMESTAMP", "1970-01-01");
    command.env("KBUILD_BUILD_USER", "knem").env("KBUILD_BUILD_HOST", "knem");
    command.arg("-C").arg(TREE).args(MAKE);
    command
}

/// Checks that Kconfig has not silently dropped an option: a missing detector would find nothing.
fn demand_configuration(wanted: &str, got: &str) -> Result<()> {
    let missing: Vec<&str> = wanted
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter(|line| !got.lines().any(|there| there == *line))
        .collect();
    if !missing.is_empty() {
        bail!("this kernel's Kconfig does not take: {}", missing.join(", "));
    }
    Ok(())
}

/// Moves what is needed later, and drops the objects.
fn keep(source: &Path, tree: &Path) -> Result<()> {
    for name in KEPT {
        let there = tree.join(name);
        directory(there.parent().context("a place has a parent")?)?;
        fs::rename(source.join(name), &there).with_context(|| format!("the kernel's tree lacks {name}"))?;
    }
    for entry in WalkDir::new(tree) {
        let entry = entry?;
        let kind = entry.path().extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        // Programs of scripts/ have no extension; sources are what the directories' makefiles refer to.
        if entry.file_type().is_file() && ["a", "cmd", "o"].contains(&kind) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn an_option_that_did_not_come_is_named() {
        let got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=40000\n";
        demand_configuration("# why\nCONFIG_A=y\nCONFIG_C=40000\n", got).expect("all there");
        let error = demand_configuration("CONFIG_B=y\nCONFIG_C=4\n", got).expect_err("two are not").to_string();
        assert!(error.contains("CONFIG_B=y") && error.contains("CONFIG_C=4"), "{error}");
    }

    #[test]
    fn fragments_and_patches_are_there() {
        let ours = Workspace::find().expect("the workspace").file("tests/uml");
        let debug = configuration(&ours, Flavour::Debug).expect("readable");
        assert!(debug.contains("\nCONFIG_KASAN=y\n") && debug.contains("\nCONFIG_RUST=y\n"));
        for (name, text) in patches(&ours, Flavour::Plain).expect("readable") {
            assert!(text.starts_with("SPDX-License-Identifier: GPL-2.0-only\n"), "{name}");
        }
    }

    #[test]
    fn what_modules_need_is_kept_without_objects() {
        let home = tempfile::tempdir().expect("a directory");
        let (source, tree) = (home.path().join("source"), home.path().join("tree"));
        for name in KEPT {
            directory(&source.join(name)).expect("made");
        }
        fs::write(source.join("scripts/x.o"), "").expect("written");
        fs::write(source.join("scripts/modpost"), "").expect("written");
        keep(&source, &tree).expect("kept");
        assert!(tree.join("scripts/modpost").is_file() && !tree.join("scripts/x.o").exists());
    }
}
