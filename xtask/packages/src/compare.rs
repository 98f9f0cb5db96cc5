// SPDX-License-Identifier: CECILL-B
//! Compares the packages in `dist/` with those that dpkg-buildpackage and rpmbuild build from the release's tarball:
//! files with their modes, owners and contents, relations, scripts and texts.

mod deb;
mod reference;
mod rpm;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::Built;
use knem_lab::lab::Lab;
use knem_lab::run;

pub use reference::reference;

/// Properties of a package: each with its subject, such as `mode /usr/bin/knem` and `755`.
type Facts = BTreeMap<String, String>;

/// Accepted differences with their reasons: the subject of a statement, or its prefix followed by `*`.
const INHERENT: &[(&str, &str)] = &[
    ("contents /usr/bin/knem", "Debian's compiler makes it there, cargo's own here"),
    ("Depends libc6", "found out from the compiled command"),
    ("Depends libgcc-s1", "found out from the compiled command"),
    ("Installed-Size", "of the compiled command, and counted in another way"),
    ("requires libc.so.6*", "found out from the compiled command"),
    ("requires libgcc_s.so.1*", "found out from the compiled command"),
    ("requires libm.so.6*", "found out from the compiled command"),
    ("requires ld-linux-x86-64.so.2*", "found out from the compiled command"),
    ("requires rtld(GNU_HASH)*", "found out from the compiled command"),
    ("requires rpmlib(*", "what rpm must know to unpack it: cargo-generate-rpm uses other features"),
];

/// Compares the packages, and fails with all differences.
///
/// # Errors
/// When a package differs, or the packages to compare with cannot be built.
pub fn compare(lab: &Lab, built: &Built) -> Result<()> {
    let reference = reference(lab)?;
    let mut differences = Vec::new();
    for ours in built.debs.iter().chain(&built.rpms) {
        let theirs = counterpart(&reference, ours)?;
        differences.extend(judged(ours, &facts(ours)?, &facts(&theirs)?));
    }
    if !differences.is_empty() {
        bail!("the packages in dist/ are not those of the source packages:\n{}", differences.join("\n"));
    }
    run::step(&format!(
        "the {} packages in dist/ are those of the source packages",
        built.debs.len() + built.rpms.len()
    ));
    Ok(())
}

/// Returns the properties of a package.
fn facts(package: &Path) -> Result<Facts> {
    match package.extension().and_then(|kind| kind.to_str()) {
        Some("deb") => deb::facts(package),
        Some("rpm") => rpm::facts(package),
        _ => bail!("{} is no package", package.display()),
    }
}

/// The first thing in which two packages differ, such as `contents /usr/bin/knem`.
pub(crate) fn first_difference(one: &Path, other: &Path) -> Result<String> {
    let (one, other) = (facts(one)?, facts(other)?);
    let subject = one.keys().chain(other.keys()).find(|subject| one.get(*subject) != other.get(*subject));
    Ok(subject.map_or_else(|| "dates, or how it is packed: diffoscope shows it".to_owned(), Clone::clone))
}

/// Returns the package of the same name from the other build.
fn counterpart(reference: &Path, ours: &Path) -> Result<PathBuf> {
    let name = ours.file_name().with_context(|| format!("{} has no name", ours.display()))?;
    let theirs = reference.join(name);
    if !theirs.is_file() {
        bail!("the source packages give no {}", name.to_string_lossy());
    }
    Ok(theirs)
}

/// Returns the differences that are not accepted, one per line.
fn judged(file: &Path, ours: &Facts, theirs: &Facts) -> Vec<String> {
    let subjects: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let shown = |value: Option<&String>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    subjects
        .into_iter()
        .filter(|subject| !inherent(subject))
        .map(|subject| (subject, ours.get(subject), theirs.get(subject)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(subject, ours, theirs)| {
            format!("  {name}: {subject}: here {}, from the source package {}", shown(ours), shown(theirs))
        })
        .collect()
}

fn inherent(subject: &str) -> bool {
    INHERENT.iter().any(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(beginning) => subject.starts_with(beginning),
        None => subject == *pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(&str, &str)]) -> Facts {
        list.iter().map(|(subject, value)| ((*subject).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn differences_are_told_and_inherent_ones_are_not() {
        let ours =
            facts(&[("mode /a", "644"), ("contents /usr/bin/knem", "x"), ("requires libc.so.6(GLIBC_2.34)", "")]);
        let theirs = facts(&[("mode /a", "755"), ("contents /usr/bin/knem", "y"), ("mode /b", "644")]);
        let findings = judged(Path::new("/d/p.deb"), &ours, &theirs);
        assert_eq!(
            findings,
            [
                "  p.deb: mode /a: here \"644\", from the source package \"755\"",
                "  p.deb: mode /b: here nothing, from the source package \"644\"",
            ]
        );
        assert!(judged(Path::new("p"), &ours, &ours).is_empty());
    }

    #[test]
    fn only_what_is_listed_is_inherent() {
        assert!(inherent("requires rpmlib(FileDigests)") && !inherent("requires dkms"));
        assert!(inherent("Installed-Size") && !inherent("Depends libc6-dev"));
    }

    #[test]
    fn the_first_difference_is_named() {
        let home = tempfile::tempdir().expect("a directory");
        let deb = |name: &str, text: &str| {
            let tree = home.path().join(name);
            std::fs::create_dir_all(tree.join("DEBIAN")).expect("made");
            let control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.invalid>\nDescription: x\n";
            std::fs::write(tree.join("DEBIAN/control"), control).expect("written");
            std::fs::write(tree.join("a"), "same").expect("written");
            std::fs::write(tree.join("b"), text).expect("written");
            let file = home.path().join(format!("{name}.deb"));
            let mut dpkg = std::process::Command::new("dpkg-deb");
            run::quiet(dpkg.args(["--root-owner-group", "-b"]).arg(&tree).arg(&file)).expect("packed");
            file
        };
        let (one, other) = (deb("one", "1"), deb("other", "2"));
        assert_eq!(first_difference(&one, &other).expect("read"), "contents /b");
        assert!(first_difference(&one, &one).expect("read").starts_with("dates"));
        assert!(first_difference(Path::new("x.zip"), &one).is_err());
    }
}
