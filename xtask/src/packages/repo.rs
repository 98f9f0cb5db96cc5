// SPDX-License-Identifier: CECILL-B
//! A local apt repository: a directory that `deb [trusted=yes] file:/path ./` in a sources list makes known to apt.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Packages;
use crate::cache::file_digest;
use crate::run;

/// Makes the repository in `directory`, which is emptied first.
pub fn apt_repository(packages: &Packages, directory: &Path, epoch: u64) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for deb in &packages.debs {
        let name = deb.file_name().with_context(|| format!("{} is no file", deb.display()))?;
        fs::copy(deb, directory.join(name)).with_context(|| format!("cannot copy {}", deb.display()))?;
    }
    let index = run::output(Command::new("dpkg-scanpackages").args(["--multiversion", "."]).current_dir(directory))?;
    let path = directory.join("Packages");
    fs::write(&path, &index)?;
    let release = release(&file_digest(&path)?, index.len(), epoch)?;
    fs::write(directory.join("Release"), release)?;
    Ok(())
}

/// The description apt reads first: what the index must be.
fn release(digest: &str, size: usize, epoch: u64) -> Result<String> {
    let date = run::output(Command::new("date").args(["-u", "-R", "-d"]).arg(format!("@{epoch}")).env("LC_ALL", "C"))?;
    Ok(format!(
        "Origin: KNEM\nLabel: KNEM packages built here\nSuite: local\nDate: {}\nSHA256:\n {digest} {size} Packages\n",
        date.trim().replace("+0000", "UTC")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_file_names_the_index() {
        let text = release("abc", 12, 0).expect("made");
        assert!(text.contains("\n abc 12 Packages\n") && text.contains("1970"), "{text}");
    }
}
