// SPDX-License-Identifier: CECILL-B
//! lintian and rpmlint judge the packages, in the layer with packaging tools, so that their verdict does not depend on the machine.
//!
//! Every error and every warning fails. What is left as it is has an override with its reason: debian/*.lintian-overrides,
//! rpm/knem.rpmlintrc.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use super::Built;
use crate::lab::Lab;
use crate::namespace::directory;
use crate::run;

/// Where the packages are in the tree.
const PLACE: &str = "/opt/lint";

/// What the tools need to know, beside the packages.
const SETTINGS: &[&str] = &["rpm/rpmlint.toml", "rpm/knem.rpmlintrc"];

/// Judges the packages.
///
/// # Errors
/// With the findings, if there are any; or when a tool does not do its work.
pub fn lint(lab: &Lab, built: &Built) -> Result<()> {
    let settings: Vec<PathBuf> = SETTINGS.iter().map(|path| lab.workspace.file(path)).collect();
    lab.userlands().in_passing(&lab.userlands().with_packaging_tools()?, |tree, chroot| {
        let place = tree.join(PLACE.trim_start_matches('/'));
        directory(&place)?;
        for file in built.debs.iter().chain(&built.rpms).chain(&settings) {
            fs::copy(file, place.join(name(file)?)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        let mut findings = Vec::new();
        if !built.debs.is_empty() {
            let mut command = chroot.command("lintian");
            command.args(["--allow-root", "--color", "never", "--fail-on", "none"]);
            findings.extend(of_lintian(&said(command, &built.debs)?));
        }
        if !built.rpms.is_empty() {
            // That what was written by hand (rpm_file.rs) is a package is rpm's to say.
            let mut command = chroot.command("rpm");
            command.args(["--checksig", "--nosignature"]);
            said(command, &built.rpms)?;
            let mut command = chroot.command("rpmlint");
            command.args(["-c", &format!("{PLACE}/rpmlint.toml"), "-r", &format!("{PLACE}/knem.rpmlintrc")]);
            findings.extend(of_rpmlint(&all_said(command, &built.rpms)?, built.rpms.len())?);
        }
        judge(&findings)
    })
}

/// Runs a tool on packages; it has to succeed.
fn said(mut command: Command, packages: &[PathBuf]) -> Result<String> {
    run::output(command.args(in_tree(packages)?))
}

/// Runs a tool that fails when it finds something.
fn all_said(mut command: Command, packages: &[PathBuf]) -> Result<String> {
    let command = command.args(in_tree(packages)?);
    let output = command.output().with_context(|| format!("cannot start `{}`", run::shown(command)))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn in_tree(packages: &[PathBuf]) -> Result<Vec<String>> {
    packages.iter().map(|package| Ok(format!("{PLACE}/{}", name(package)?))).collect()
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().with_context(|| format!("{} is no file", path.display()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// lintian's errors and warnings: `W: package: tag details`.
fn of_lintian(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with("E: ") || line.starts_with("W: ")).map(str::to_owned).collect()
}

/// rpmlint's errors and warnings: `package.arch: W: tag details`. Its last line says how many packages it has seen.
fn of_rpmlint(text: &str, packages: usize) -> Result<Vec<String>> {
    if !text.lines().any(|line| line.trim_start().starts_with(&format!("{packages} packages and "))) {
        bail!("rpmlint did not look at {packages} packages:\n{text}");
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
        "lintian and rpmlint find:\n  {}\nmend it, or override it with the reason (debian/*.lintian-overrides, rpm/knem.rpmlintrc)",
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
        let end = " 2 packages and 0 specfiles checked; 1 errors, 1 warnings, 3 filtered, 2 badness; has taken 2.1 s \n";
        let text = format!("checks: 27, packages: 2\n\na.noarch: E: b c\na.x86_64: W: d\n{end}");
        assert_eq!(of_rpmlint(&text, 2).expect("it looked"), ["a.noarch: E: b c", "a.x86_64: W: d"]);
        assert!(of_rpmlint(end, 2).expect("it looked").is_empty());
        assert!(of_rpmlint("", 2).is_err() && of_rpmlint(end, 3).is_err());
    }

    #[test]
    fn a_finding_fails() {
        judge(&[]).expect("clean");
        let error = judge(&["W: a: b".to_owned()]).expect_err("found").to_string();
        assert!(error.contains("W: a: b"), "{error}");
    }
}
