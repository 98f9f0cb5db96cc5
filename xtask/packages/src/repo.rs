// SPDX-License-Identifier: CECILL-B
//! Repositories: directories from which apt or dnf install packages. The same packages give the same bytes,
//! signatures aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::signing::Key;
use super::{epoch, fresh, Built};
use knem_lab::cache::file_digest;
use knem_lab::workspace::Workspace;
use knem_lab::{host, run};

/// Part of keys. Raise it when the layout of a repository changes.
pub(crate) const LAYOUT: &str = "2";

/// Where the administrator puts the public key: the files below point there.
const APT_KEY: &str = "/etc/apt/keyrings/knem.asc";

/// Output of `make repo`.
#[derive(Debug)]
pub struct Repositories {
    /// apt's: `Packages`, `Release`, the packages, and a sample of a sources file.
    pub deb: PathBuf,
    /// dnf's: `repodata/`, the packages, and a sample of a repository file.
    pub rpm: PathBuf,
}

/// Makes `dist/repo/deb` and `dist/repo/rpm` from what is built; signed if there is a key.
///
/// # Errors
/// When a tool is missing and cannot be installed, or the key cannot be used.
pub fn make(workspace: &Workspace, built: &Built, key: Option<&Key>) -> Result<Repositories> {
    let epoch = epoch::of(workspace)?;
    let repositories = Repositories { deb: workspace.file("dist/repo/deb"), rpm: workspace.file("dist/repo/rpm") };
    apt(&built.debs, &repositories.deb, epoch, key)?;
    dnf(&built.rpms, &repositories.rpm, epoch, key)?;
    Ok(repositories)
}

/// Makes a flat apt repository in `directory`, which is emptied first.
///
/// # Errors
/// As for [`make`].
pub fn apt(debs: &[PathBuf], directory: &Path, epoch: u64, key: Option<&Key>) -> Result<()> {
    host::need(&["dpkg-scanpackages"])?;
    collect(debs, directory)?;
    let index = run::output(Command::new("dpkg-scanpackages").args(["--multiversion", "."]).current_dir(directory))?;
    let path = directory.join("Packages");
    fs::write(&path, &index)?;
    // -n: the date of the file would show.
    run::quiet(Command::new("gzip").args(["-9", "-n", "-k"]).arg(&path))?;
    let release = release(directory, &["Packages", "Packages.gz"], epoch)?;
    let path = directory.join("Release");
    fs::write(&path, release)?;
    if let Some(key) = key {
        key.sign_clear(&path, &directory.join("InRelease"))?;
        key.sign_detached(&path, &directory.join("Release.gpg"))?;
        key.export(&directory.join("knem.asc"))?;
    }
    fs::write(directory.join("knem.sources"), apt_sample(key.is_some()))?;
    Ok(())
}

/// Makes a repository for dnf in `directory`, which is emptied first.
///
/// # Errors
/// As for [`make`].
pub fn dnf(rpms: &[PathBuf], directory: &Path, epoch: u64, key: Option<&Key>) -> Result<()> {
    collect(rpms, directory)?;
    if let Some(key) = key {
        for rpm in files(directory)? {
            key.sign_rpm(&rpm)?;
        }
    }
    index(directory, epoch)?;
    if let Some(key) = key {
        key.sign_detached(&directory.join("repodata/repomd.xml"), &directory.join("repodata/repomd.xml.asc"))?;
        key.export(&directory.join("knem.asc"))?;
    }
    fs::write(directory.join("knem.repo"), dnf_sample(key.is_some()))?;
    Ok(())
}

/// Makes the list of a directory's packages that dnf reads.
///
/// # Errors
/// When createrepo_c is missing and cannot be installed, or fails.
pub fn index(directory: &Path, epoch: u64) -> Result<()> {
    host::need(&["createrepo_c"])?;
    run::quiet(
        host::command("createrepo_c")
            .args(["--quiet", "--no-database", "--general-compress-type=gz", "--simple-md-filenames"])
            .arg(format!("--revision={epoch}"))
            .arg("--set-timestamp-to-revision")
            .arg(directory)
            .env("SOURCE_DATE_EPOCH", epoch.to_string()),
    )
}

/// Copies the packages into the directory.
fn collect(packages: &[PathBuf], directory: &Path) -> Result<()> {
    fresh(directory)?;
    for package in packages {
        let name = package.file_name().with_context(|| format!("{} is no file", package.display()))?;
        fs::copy(package, directory.join(name)).with_context(|| format!("cannot copy {}", package.display()))?;
    }
    Ok(())
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// The description apt reads first: what the indexes must be.
fn release(directory: &Path, indexes: &[&str], epoch: u64) -> Result<String> {
    let date = run::output(Command::new("date").args(["-u", "-R", "-d"]).arg(format!("@{epoch}")).env("LC_ALL", "C"))?;
    let mut text = format!(
        "Origin: KNEM\nLabel: KNEM\nSuite: stable\nDate: {}\nArchitectures: all amd64\nSHA256:\n",
        date.trim().replace("+0000", "UTC")
    );
    for name in indexes {
        let path = directory.join(name);
        text.push_str(&format!(" {} {} {name}\n", file_digest(&path)?, path.metadata()?.len()));
    }
    Ok(text)
}

/// What the administrator puts into /etc/apt/sources.list.d.
fn apt_sample(signed: bool) -> String {
    let trust = if signed {
        format!("# knem.asc from here, as {APT_KEY}.\nSigned-By: {APT_KEY}\n")
    } else {
        "# Not signed: for a directory of this machine (file:/...), or a server that is trusted with root.\nTrusted: yes\n"
            .to_owned()
    };
    format!(
        "# /etc/apt/sources.list.d/knem.sources, with the place of this directory instead of @URL@.\n\
         Types: deb\nURIs: @URL@\nSuites: ./\n{trust}"
    )
}

/// What the administrator puts into /etc/yum.repos.d.
fn dnf_sample(signed: bool) -> String {
    let trust = if signed {
        "gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=@URL@/knem.asc\n"
    } else {
        "# Not signed: for a directory of this machine (file:///...), or a server that is trusted with root.\ngpgcheck=0\n"
    };
    format!(
        "# /etc/yum.repos.d/knem.repo, with the place of this directory instead of @URL@.\n\
         [knem]\nname=KNEM\nbaseurl=@URL@\nenabled=1\n{trust}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_file_names_the_indexes() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("Packages"), "abc").expect("written");
        let text = release(home.path(), &["Packages"], 0).expect("made");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(text.contains(&format!("\n {digest} 3 Packages\n")) && text.contains("01 Jan 1970"), "{text}");
    }

    #[test]
    fn samples_say_whether_there_is_a_signature() {
        assert!(apt_sample(true).contains("\nSigned-By: /etc/apt/") && !apt_sample(true).contains("Trusted"));
        assert!(apt_sample(false).contains("\nTrusted: yes\n") && !apt_sample(false).contains("Signed-By"));
        assert!(dnf_sample(true).contains("\ngpgcheck=1\n") && dnf_sample(false).contains("\ngpgcheck=0\n"));
    }
}
