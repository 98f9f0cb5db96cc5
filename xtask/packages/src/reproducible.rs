// SPDX-License-Identifier: CECILL-B
//! Tests that builds are reproducible: everything is built a second time in a directory with a longer name, with
//! nothing of the first build but cargo's downloads, and with another time zone, locale and user name; then the
//! packages are compared byte by byte.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, Context, Result};
use nix::unistd::geteuid;

use super::compare::first_difference;
use super::{epoch, Built};
use crate::dist;
use knem_lab::cache::Cache;
use knem_lab::run;
use knem_lab::workspace::Workspace;

/// Environment of the second build: another time zone, language and user name.
const HABITS: &[(&str, &str)] = &[
    ("TZ", "Pacific/Kiritimati"),
    ("LC_ALL", "de_DE.UTF-8"),
    ("LANG", "de_DE.UTF-8"),
    ("LANGUAGE", "de"),
    ("USER", "builder"),
    ("LOGNAME", "builder"),
    ("EMAIL", "builder@elsewhere.invalid"),
    ("DEBFULLNAME", "Some Body"),
    ("DEBEMAIL", "builder@elsewhere.invalid"),
];

/// What the second build must not see of the first.
const HIDDEN: &[&str] = &["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER"];

/// Builds a second time, and compares with what was built; `built` is in `dist/`.
///
/// # Errors
/// When the second build fails, or a package differs: then with the first part of it that does.
pub fn reproducible(workspace: &Workspace, built: &Built) -> Result<()> {
    let scratch = Cache::new(&workspace.cache).directory("scratch")?;
    let scratch = tempfile::Builder::new().prefix("reproducible-").tempdir_in(scratch)?;
    // First, as another run may build there meanwhile.
    let mut first = Vec::new();
    for package in built.debs.iter().chain(&built.rpms) {
        let kept = scratch.path().join(package.file_name().context("a package has a name")?);
        fs::copy(package, &kept).with_context(|| format!("cannot copy {}", package.display()))?;
        first.push(kept);
    }
    let copy = scratch.path().join("a-place-whose-name-is-longer/than-that-of-the-first");
    dist::copy_workspace(&workspace.root, &copy)?;
    run::step("building everything once more, elsewhere");
    build_elsewhere(&copy, &scratch.path().join("t"), epoch::of(workspace)?)?;

    let mut differences = Vec::new();
    for one in &first {
        let name = one.file_name().context("a package has a name")?;
        let second = copy.join("dist").join(name);
        if fs::read(one)? != fs::read(&second).with_context(|| format!("cannot read {}", second.display()))? {
            differences.push(format!("{}: {}", name.to_string_lossy(), first_difference(one, &second)?));
        }
    }
    if !differences.is_empty() {
        bail!("built elsewhere, packages are different:\n  {}", differences.join("\n  "));
    }
    run::step(&format!("built elsewhere, the {} packages are the same, byte by byte", first.len()));
    Ok(())
}

/// Runs this program in the copy.
fn build_elsewhere(copy: &Path, target: &Path, epoch: u64) -> Result<()> {
    // By /proc: cargo may have replaced the program's file meanwhile.
    let this = format!("/proc/{}/exe", std::process::id());
    // A machine's name is root's to change.
    let (outer, name): (&[&str], &str) =
        if geteuid().is_root() { (&["unshare", "--uts"], "hostname elsewhere && ") } else { (&["env"], "") };
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).args(["sh", "-c", &format!("{name}umask 077 && exec \"$@\""), "sh"]);
    command.arg(this).args(["packages", "--no-lint"]);
    command.current_dir(copy).envs(HABITS.iter().copied());
    for name in HIDDEN {
        command.env_remove(name);
    }
    command.env("CARGO_MANIFEST_DIR", copy.join("xtask"));
    command.env("CARGO_TARGET_DIR", target);
    command.env("SOURCE_DATE_EPOCH", epoch.to_string());
    run::quiet(&mut command)
}
