// SPDX-License-Identifier: CECILL-B
//! What cargo-deb cannot say of a package: an architecture that is not the machine's own, a one-line description that is not the
//! crate's, and what follows from the version or the list of kernels, of which Cargo.toml is not to have copies.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};

use crate::run;

/// Replaces the package by one with these fields in its control file, and returns that; its name follows the architecture.
pub(crate) fn with_fields(deb: &Path, fields: &[(&str, String)], epoch: u64) -> Result<PathBuf> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tree = scratch.path().join("tree");
    run::quiet(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree))?;
    let path = tree.join("DEBIAN/control");
    let control = fs::read_to_string(&path).context("the package has no control file")?;
    fs::write(&path, changed(&control, fields))?;
    fs::remove_file(deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    let result = match fields.iter().find(|(name, _)| *name == "Architecture") {
        Some((_, architecture)) => renamed(deb, architecture)?,
        None => deb.to_owned(),
    };
    run::quiet(
        Command::new("dpkg-deb")
            // One thread: the number of processors would show in the compressed file.
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "-b"])
            .arg(&tree)
            .arg(&result)
            .env("SOURCE_DATE_EPOCH", epoch.to_string()),
    )?;
    Ok(result)
}

/// Changes the fields; those that are not there come before the description, which Debian wants last.
fn changed(control: &str, fields: &[(&str, String)]) -> String {
    let is = |line: &str, name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
    let mut text = String::new();
    let mut replaced = false;
    for line in control.lines() {
        // The rest of a field's old value goes with its first line.
        if line.starts_with(' ') && replaced {
            continue;
        }
        if is(line, "Description") {
            for (name, value) in fields {
                if *name != "Description" && !control.lines().any(|line| is(line, name)) {
                    text.push_str(&format!("{name}: {value}\n"));
                }
            }
        }
        let field = fields.iter().find(|(name, _)| is(line, name));
        replaced = field.is_some();
        match field {
            Some((name, value)) => text.push_str(&format!("{name}: {value}\n")),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

/// `name_version_arch.deb` with another architecture.
fn renamed(deb: &Path, architecture: &str) -> Result<PathBuf> {
    let name = deb.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let Some((head, _)) = name.rsplit_once('_') else {
        bail!("{} is not named like a package", deb.display());
    };
    Ok(deb.with_file_name(format!("{head}_{architecture}.deb")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_change_or_come_in() {
        let control = "Package: x\nArchitecture: amd64\nDescription: y\n z\n";
        let fields =
            [("Architecture", "all".to_owned()), ("Suggests", "a".to_owned()), ("Description", "b\n c".to_owned())];
        let expected = "Package: x\nArchitecture: all\nSuggests: a\nDescription: b\n c\n";
        assert_eq!(changed(control, &fields), expected);
        assert_eq!(changed(control, &[]), control);
    }

    #[test]
    fn the_name_follows() {
        let path = renamed(Path::new("/d/x_1-1_amd64.deb"), "all").expect("a name");
        assert_eq!(path, Path::new("/d/x_1-1_all.deb"));
        assert!(renamed(Path::new("/d/x.deb"), "all").is_err());
    }
}
