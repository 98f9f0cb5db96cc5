// SPDX-License-Identifier: CECILL-B
//! Where two packages differ: the first part of them that does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use tar::Archive;

use super::rpm_directories;
use super::rpm_file::{RpmFile, Value};

/// Digests of an RPM package's files.
const FILE_DIGESTS: u32 = 1035;

/// Says where two packages of this name differ first.
pub(crate) fn first(name: &Path, one: &[u8], other: &[u8]) -> Result<String> {
    match name.extension().and_then(|kind| kind.to_str()) {
        Some("deb") => in_deb(one, other),
        Some("rpm") => in_rpm(one, other),
        _ => bail!("{} is no package", name.display()),
    }
}

fn in_deb(one: &[u8], other: &[u8]) -> Result<String> {
    for part in ["--ctrl-tarfile", "--fsys-tarfile"] {
        let (one, other) = (members(part, one)?, members(part, other)?);
        if let Some(name) = first_name(&one, &other) {
            return Ok(format!("{name} ({})", part.trim_start_matches('-')));
        }
    }
    Ok("nothing in it, only how it is packed".to_owned())
}

/// The members of a .deb's archive: name, and everything that is known of it.
fn members(part: &str, deb: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let scratch = tempfile::tempdir().context("cannot make a temporary directory")?;
    let path = scratch.path().join("x.deb");
    fs::write(&path, deb)?;
    let output = Command::new("dpkg-deb").arg(part).arg(&path).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("dpkg-deb cannot read it: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut members = BTreeMap::new();
    for entry in Archive::new(output.stdout.as_slice()).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut all = entry.header().as_bytes().to_vec();
        entry.read_to_end(&mut all)?;
        members.insert(name, all);
    }
    Ok(members)
}

fn in_rpm(one: &[u8], other: &[u8]) -> Result<String> {
    let (one, other) = (RpmFile::parse(one)?, RpmFile::parse(other)?);
    let files = |package: &RpmFile| -> Result<BTreeMap<String, String>> {
        let Some(Value::Texts(digests)) = package.header.get(FILE_DIGESTS) else {
            bail!("it has no digests");
        };
        Ok(rpm_directories::paths(&package.header)?.into_iter().zip(digests.iter().cloned()).collect())
    };
    if let Some(name) = first_name(&files(&one)?, &files(&other)?) {
        return Ok(name);
    }
    let differs = |tag: &u32| one.header.get(*tag) != other.header.get(*tag);
    let tag = one.header.tags().chain(other.header.tags()).find(differs);
    Ok(tag.map_or_else(
        || "nothing in it, only how it is packed".to_owned(),
        |tag| format!("tag {tag} of the header: {:?} and {:?}", one.header.get(tag), other.header.get(tag)),
    ))
}

/// The first name that both do not have with the same value.
fn first_name<T: PartialEq>(one: &BTreeMap<String, T>, other: &BTreeMap<String, T>) -> Option<String> {
    one.keys().chain(other.keys()).find(|name| one.get(*name) != other.get(*name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem_lab::run;

    fn deb(text: &str) -> Vec<u8> {
        let home = tempfile::tempdir().expect("a directory");
        let tree = home.path().join("x");
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        fs::create_dir_all(tree.join("usr")).expect("made");
        let control = "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.invalid>\nDescription: x\n";
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        fs::write(tree.join("usr/a"), "same").expect("written");
        fs::write(tree.join("usr/b"), text).expect("written");
        let path = home.path().join("x.deb");
        let mut command = Command::new("dpkg-deb");
        command.arg("--root-owner-group").arg("-b").arg(&tree).arg(&path).env("SOURCE_DATE_EPOCH", "0");
        run::quiet(&mut command).expect("packed");
        fs::read(path).expect("readable")
    }

    #[test]
    fn the_file_is_named() {
        let said = first(Path::new("x.deb"), &deb("1"), &deb("2")).expect("read");
        assert!(said.starts_with("./usr/b "), "{said}");
        assert!(first(Path::new("x.zip"), b"", b"").is_err());
    }

    #[test]
    fn what_one_lacks_is_named() {
        let map = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1)).collect::<BTreeMap<String, i32>>();
        assert_eq!(first_name(&map(&["a"]), &map(&["a", "b"])), Some("b".to_owned()));
        assert_eq!(first_name(&map(&["a", "b"]), &map(&["a", "b"])), None);
    }
}
