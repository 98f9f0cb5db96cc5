// SPDX-License-Identifier: CECILL-B
//! Properties of a .deb file.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

use super::Facts;
use crate::control;
use knem_lab::cache::hex;
use knem_lab::run;

/// Fields that are lists of relations to other packages.
const RELATIONS: &[&str] =
    &["Depends", "Pre-Depends", "Recommends", "Suggests", "Provides", "Conflicts", "Breaks", "Replaces"];

/// Files of the control part that need not be the same: sums of the files, which are compared themselves.
const SUMS: &[&str] = &["md5sums", "sha256sums"];

/// All of them.
pub(super) fn facts(deb: &Path) -> Result<Facts> {
    let mut facts = Facts::new();
    members(deb, "--fsys-tarfile", &mut |member| {
        let path = &member.path;
        facts.insert(format!("mode {path}"), format!("{:o} {}", member.mode, member.owner));
        if member.kind == EntryType::Symlink {
            facts.insert(format!("link {path}"), member.link);
        } else if member.kind == EntryType::Regular {
            let contents = if path.ends_with(".gz") { unpacked(&member.contents)? } else { member.contents };
            facts.insert(format!("contents {path}"), hex(&Sha256::digest(contents)));
        }
        Ok(())
    })?;
    let mut scripts = Facts::new();
    members(deb, "--ctrl-tarfile", &mut |member| {
        let name = member.path.trim_start_matches('/').to_owned();
        if member.kind == EntryType::Regular && name != "control" && !SUMS.contains(&name.as_str()) {
            let text = String::from_utf8(member.contents).with_context(|| format!("{name} is no text"))?;
            // debhelper leaves a blank line where it had nothing to add.
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            scripts.insert(format!("control file {name}"), format!("{:o}\n{}", member.mode, lines.join("\n")));
        }
        Ok(())
    })?;
    facts.extend(scripts);
    fields(deb, &mut facts)?;
    Ok(facts)
}

/// The control file's fields; lists of relations one by one.
fn fields(deb: &Path, facts: &mut Facts) -> Result<()> {
    let text = run::output(Command::new("dpkg-deb").arg("-f").arg(deb))?;
    for (name, value) in control::paragraphs(&text)?.into_iter().flatten() {
        if RELATIONS.contains(&name.as_str()) {
            for relation in value.split(',').map(str::trim) {
                let (package, rest) = relation.split_once(' ').unwrap_or((relation, ""));
                facts.insert(format!("{name} {package}"), rest.to_owned());
            }
        } else {
            facts.insert(name, value.trim().to_owned());
        }
    }
    Ok(())
}

/// A member of a package.
struct Member {
    /// As on the machine, with the first slash.
    path: String,
    mode: u32,
    owner: String,
    kind: EntryType,
    link: String,
    contents: Vec<u8>,
}

/// Shows the members of one of a package's two archives.
fn members(deb: &Path, which: &str, see: &mut dyn FnMut(Member) -> Result<()>) -> Result<()> {
    let mut child = Command::new("dpkg-deb")
        .arg(which)
        .arg(deb)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start dpkg-deb for {}", deb.display()))?;
    let mut archive = Archive::new(child.stdout.take().context("dpkg-deb has no output")?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().trim_start_matches('.').trim_end_matches('/').to_owned();
        let header = entry.header();
        let (uid, gid) = (header.uid()?, header.gid()?);
        let mut member = Member {
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            mode: header.mode()? & 0o7777,
            owner: format!("{uid}:{gid}"),
            kind: header.entry_type(),
            link: entry.link_name()?.map_or_else(String::new, |link| link.to_string_lossy().into_owned()),
            contents: Vec::new(),
        };
        entry.read_to_end(&mut member.contents)?;
        see(member)?;
    }
    if !child.wait()?.success() {
        bail!("dpkg-deb cannot unpack {}", deb.display());
    }
    Ok(())
}

/// What was compressed: another compressor gives other bytes.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    std::fs::write(file.path(), bytes)?;
    let output = Command::new("gzip").arg("-dc").stdin(file.reopen()?).output().context("cannot start gzip")?;
    if !output.status.success() {
        bail!("gzip cannot unpack it: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_package_is_read() {
        let home = tempfile::tempdir().expect("a directory");
        let tree = home.path().join("tree");
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        fs::create_dir_all(tree.join("usr/share/doc")).expect("made");
        fs::write(tree.join("usr/share/doc/a"), "text").expect("written");
        let control = "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDepends: b, c (>= 2)\nDescription: d\n e\n";
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        fs::write(tree.join("DEBIAN/triggers"), "interest-noawait /a\n\n").expect("written");
        let deb = home.path().join("a.deb");
        run::quiet(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&deb)).expect("packed");
        let facts = facts(&deb).expect("read");
        let fact = |name: &str| facts.get(name).map(String::as_str);
        assert_eq!(fact("Depends c"), Some("(>= 2)"));
        assert_eq!(fact("Description"), Some("d\n e"));
        assert_eq!(fact("contents /usr/share/doc/a"), Some(hex(&Sha256::digest("text")).as_str()));
        assert!(fact("mode /usr/share/doc/a").is_some_and(|mode| mode.ends_with(" 0:0")));
        assert!(fact("control file triggers").is_some_and(|text| text.ends_with("\ninterest-noawait /a")));
    }

    #[test]
    fn what_is_compressed_is_unpacked() {
        let output = Command::new("sh").args(["-c", "printf abc | gzip -c"]).output().expect("gzip works");
        assert_eq!(unpacked(&output.stdout).expect("unpacked"), b"abc");
        assert!(unpacked(b"abc").is_err());
    }
}
