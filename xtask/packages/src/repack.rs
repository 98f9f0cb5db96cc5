// SPDX-License-Identifier: CECILL-B
//! Fields that cargo-deb does not support: an architecture other than the machine's, a one-line description other than
//! the crate's, and fields that depend on the version or the list of kernels.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

use knem_lab::run;

/// Replaces the package by one with these fields in its control file, and returns that; its name follows the
/// architecture.
pub(crate) fn with_fields(deb: &Path, fields: &[(String, String)], epoch: u64) -> Result<PathBuf> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let tree = scratch.path().join("tree");
    run::quiet(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree))?;
    let path = tree.join("DEBIAN/control");
    let control = fs::read_to_string(&path).context("the package has no control file")?;
    fs::write(&path, changed(&control, fields))?;
    fs::write(tree.join("DEBIAN/md5sums"), digests(&tree)?)?;
    fs::remove_file(deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    let result = match fields.iter().find(|(name, _)| name == "Architecture") {
        Some((_, architecture)) => renamed(deb, architecture)?,
        None => deb.to_owned(),
    };
    run::quiet(
        Command::new("dpkg-deb")
            // One thread: the compressed file would depend on the number of CPUs.
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "-b"])
            .arg(&tree)
            .arg(&result)
            .env("SOURCE_DATE_EPOCH", epoch.to_string()),
    )?;
    Ok(result)
}

/// What debsums compares with: the packages' files, without those an administrator may change.
fn digests(tree: &Path) -> Result<String> {
    let settings = fs::read_to_string(tree.join("DEBIAN/conffiles")).unwrap_or_default();
    let mut files = Vec::new();
    for entry in WalkDir::new(tree).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(tree)?;
        let setting = settings.lines().any(|line| Path::new(line.trim_start_matches('/')) == path);
        if entry.file_type().is_file() && !path.starts_with("DEBIAN") && !setting {
            files.push(path.to_owned());
        }
    }
    run::output(Command::new("md5sum").current_dir(tree).arg("--").args(files))
}

/// Replaces the fields; new ones are inserted before the description, which Debian requires to be last.
fn changed(control: &str, fields: &[(String, String)]) -> String {
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
                if name != "Description" && !control.lines().any(|line| is(line, name)) {
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
        let fields = [("Architecture", "all"), ("Suggests", "a"), ("Description", "b\n c")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()));
        let expected = "Package: x\nArchitecture: all\nSuggests: a\nDescription: b\n c\n";
        assert_eq!(changed(control, &fields), expected);
        assert_eq!(changed(control, &[]), control);
    }

    #[test]
    fn settings_have_no_digests() {
        let home = tempfile::tempdir().expect("a directory");
        for (path, text) in [("DEBIAN/conffiles", "/etc/a\n"), ("etc/a", "1"), ("usr/b", "abc")] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        assert_eq!(digests(home.path()).expect("made"), "900150983cd24fb0d6963f7d28e17f72  usr/b\n");
    }

    #[test]
    fn the_name_follows() {
        let path = renamed(Path::new("/d/x_1-1_amd64.deb"), "all").expect("a name");
        assert_eq!(path, Path::new("/d/x_1-1_all.deb"));
        assert!(renamed(Path::new("/d/x.deb"), "all").is_err());
    }
}
