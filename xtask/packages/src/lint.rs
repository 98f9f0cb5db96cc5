// SPDX-License-Identifier: CECILL-B
//! Checks the packages with lintian and rpmlint in the layer with packaging tools, so that the result does not depend
//! on the machine.
//!
//! Every error and every warning fails. Accepted findings have an override with the reason: debian/*.lintian-overrides,
//! debian/source/lintian-overrides, rpm/*.rpmlintrc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use super::{reference, Built};
use knem_lab::chroot::Chroot;
use knem_lab::lab::Lab;
use knem_lab::namespace::directory;
use knem_lab::run;

/// Where the packages are in the tree.
const PLACE: &str = "/opt/lint";

/// Settings of rpmlint for this project, for packages and for the spec file.
const SETTINGS: &str = "rpm/rpmlint.toml";
const OF_PACKAGES: &str = "rpm/knem.rpmlintrc";
const OF_SPEC: &str = "rpm/knem-spec.rpmlintrc";

/// Checks the packages.
///
/// # Errors
/// With the findings, if there are any; or when a tool does not do its work.
pub fn lint(lab: &Lab, built: &Built) -> Result<()> {
    let files: Vec<PathBuf> = [built.debs.as_slice(), &built.rpms].concat();
    within(lab, &files, |chroot| {
        let mut findings = lintian(chroot, &built.debs)?;
        if !built.rpms.is_empty() {
            // That what was written by hand (rpm_file.rs) is a package is rpm's to say.
            let mut command = chroot.command("rpm");
            run::output(command.args(["--checksig", "--nosignature"]).args(in_tree(&built.rpms)?))?;
            let seen = format!("{} packages and 0 specfiles checked", built.rpms.len());
            findings.extend(rpmlint(chroot, &built.rpms, OF_PACKAGES, &seen)?);
        }
        Ok(findings)
    })
}

/// Checks the sources that distributions build packages from: Debian's source package and the spec file.
///
/// # Errors
/// As for [`lint`], and when they cannot be made.
pub fn lint_sources(lab: &Lab) -> Result<()> {
    let built = reference(lab)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&built)? {
        let path = entry?.path();
        if name(&path)?.starts_with("knem_") {
            files.push(path);
        }
    }
    files.sort();
    let changes: Vec<PathBuf> = files.iter().filter(|path| path.ends_with(source_changes(lab))).cloned().collect();
    if changes.is_empty() {
        bail!("{} has no Debian source package", built.display());
    }

    let version = format!("knem-{}", lab.workspace.version);
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(scratch.path()).args(["--strip-components=2", "-xzf"]);
    run::quiet(tar.arg(built.join(format!("{version}.tar.gz"))).arg(format!("{version}/rpm/knem.spec")))?;
    let spec = [scratch.path().join("knem.spec")];
    files.extend(spec.iter().cloned());

    within(lab, &files, |chroot| {
        let mut findings = lintian(chroot, &changes)?;
        findings.extend(rpmlint(chroot, &spec, OF_SPEC, "0 packages and 1 specfiles checked")?);
        Ok(findings)
    })
}

/// The file by which lintian finds all others of a source package.
fn source_changes(lab: &Lab) -> String {
    format!("knem_{}-1_source.changes", lab.workspace.version)
}

/// Checks files in the layer.
fn within(lab: &Lab, files: &[PathBuf], judges: impl FnOnce(&Chroot) -> Result<Vec<String>>) -> Result<()> {
    let stack = lab.userlands().with_packaging_tools()?;
    let settings = [SETTINGS, OF_PACKAGES, OF_SPEC].map(|path| lab.workspace.file(path));
    lab.userlands().in_passing(&stack, |tree, chroot| {
        let place = tree.join(PLACE.trim_start_matches('/'));
        directory(&place)?;
        for file in files.iter().chain(&settings) {
            fs::copy(file, place.join(name(file)?)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        judge(&judges(chroot)?)
    })
}

fn lintian(chroot: &Chroot, files: &[PathBuf]) -> Result<Vec<String>> {
    let mut command = chroot.command("lintian");
    command.args(["--allow-root", "--color", "never", "--fail-on", "none"]);
    Ok(of_lintian(&run::output(command.args(in_tree(files)?))?))
}

/// `seen` is in what rpmlint says when it is through.
fn rpmlint(chroot: &Chroot, files: &[PathBuf], filters: &str, seen: &str) -> Result<Vec<String>> {
    let [settings, filters] = [SETTINGS, filters].map(|path| in_tree(&[PathBuf::from(path)]));
    let mut command = chroot.command("rpmlint");
    command.arg("-c").args(settings?).arg("-r").args(filters?).args(in_tree(files)?);
    // It fails when it finds something.
    let output = command.output().with_context(|| format!("cannot start `{}`", run::shown(&command)))?;
    of_rpmlint(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()), seen)
}

fn in_tree(files: &[PathBuf]) -> Result<Vec<String>> {
    files.iter().map(|file| Ok(format!("{PLACE}/{}", name(file)?))).collect()
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().with_context(|| format!("{} is no file", path.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// lintian's errors and warnings: `W: package: tag details`.
fn of_lintian(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with("E: ") || line.starts_with("W: ")).map(str::to_owned).collect()
}

/// rpmlint's errors and warnings: `package.arch: W: tag details`. Its last line says what it has looked at.
fn of_rpmlint(text: &str, seen: &str) -> Result<Vec<String>> {
    if !text.lines().any(|line| line.trim_start().starts_with(seen)) {
        bail!("rpmlint does not say `{seen}`:\n{text}");
    }
    let is_finding = |line: &&str| line.contains(": E: ") || line.contains(": W: ");
    Ok(text.lines().filter(is_finding).map(str::to_owned).collect())
}

fn judge(findings: &[String]) -> Result<()> {
    if findings.is_empty() {
        run::step("lintian and rpmlint find nothing");
        return Ok(());
    }
    bail!(
        "lintian and rpmlint find:\n  {}\nmend it, or override it with the reason \
         (debian/*.lintian-overrides, debian/source/lintian-overrides, rpm/*.rpmlintrc)",
        findings.join("\n  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_of_lintian_count() {
        let text = "N:\nW: a: b c\nI: a: d\nE: a: e\nP: a: f\nO: a: g\n";
        assert_eq!(of_lintian(text), ["W: a: b c", "E: a: e"]);
        assert!(of_lintian("").is_empty());
    }

    #[test]
    fn rpmlint_has_to_have_looked() {
        let end =
            " 2 packages and 0 specfiles checked; 1 errors, 1 warnings, 3 filtered, 2 badness; has taken 2.1 s \n";
        let text = format!("checks: 27, packages: 2\n\na.noarch: E: b c\na.x86_64: W: d\n{end}");
        let seen = "2 packages and ";
        assert_eq!(of_rpmlint(&text, seen).expect("it looked"), ["a.noarch: E: b c", "a.x86_64: W: d"]);
        assert!(of_rpmlint(end, seen).expect("it looked").is_empty());
        assert!(of_rpmlint("", seen).is_err() && of_rpmlint(end, "3 packages and ").is_err());
    }

    #[test]
    fn a_finding_fails() {
        judge(&[]).expect("clean");
        let error = judge(&["W: a: b".to_owned()]).expect_err("found").to_string();
        assert!(error.contains("W: a: b"), "{error}");
    }
}
