// SPDX-License-Identifier: CECILL-B
//! The files of a tree at one moment, to find what an installation and its removal leave behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{bail, Context, Result};
use knem_lab::cache::file_digest;
use walkdir::WalkDir;

/// Directories whose files are compared by content, because they may be rewritten without a change.
const REWRITTEN: &[&str] = &["etc", "usr/lib/modules", "var/lib"];

/// Files longer than this are not read: their size and date suffice.
const LONG: u64 = 8 << 20;

/// Groups remain when the package that created them is removed, by Debian's policy and RPM's custom: files may belong
/// to them.
const GROUPS: &[&str] = &["etc/group", "etc/group-", "etc/gshadow", "etc/gshadow-", "etc/.pwd.lock"];

/// All files of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    files: BTreeMap<String, String>,
}

impl Snapshot {
    /// Reads the tree, without file systems mounted in it.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of(tree: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(tree).same_file_system(true) {
            let entry = entry.context("the tree cannot be walked through")?;
            let path = entry.path().strip_prefix(tree)?.to_string_lossy().into_owned();
            let metadata = entry.metadata()?;
            let mut what = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
            if metadata.is_symlink() {
                what.push_str(&format!(" -> {}", fs::read_link(entry.path())?.display()));
            } else if metadata.is_file() {
                what.push_str(&format!(" {} bytes", metadata.len()));
                if metadata.len() < LONG && REWRITTEN.iter().any(|directory| path.starts_with(directory)) {
                    what.push_str(&format!(" {}", file_digest(entry.path())?));
                } else {
                    what.push_str(&format!(" {}.{}", metadata.mtime(), metadata.mtime_nsec()));
                }
            }
            files.insert(path, what);
        }
        Ok(Self { files })
    }

    /// Fails if anything differs in `later` except what `allowed` and `GROUPS` name.
    ///
    /// # Errors
    /// If something does: a line for each file.
    pub fn demand_same(&self, later: &Self, allowed: &[&str]) -> Result<()> {
        let left = self.changes(later, &[GROUPS, allowed].concat());
        if !left.is_empty() {
            bail!("{} files are not as they were before:\n{}", left.len(), left.join("\n"));
        }
        Ok(())
    }

    /// Returns what differs in `later`, a line for each file, without those that `allowed` names (a path, or the
    /// beginning of paths if it ends with a star).
    fn changes(&self, later: &Self, allowed: &[&str]) -> Vec<String> {
        let mut changes = Vec::new();
        for (path, what) in &self.files {
            match later.files.get(path) {
                None => changes.push((path, format!("- {path}: {what}"))),
                Some(now) if now != what => changes.push((path, format!("! {path}: {what}, now {now}"))),
                Some(_) => {}
            }
        }
        for (path, what) in &later.files {
            if !self.files.contains_key(path) {
                changes.push((path, format!("+ {path}: {what}")));
            }
        }
        let is_allowed = |path: &str| {
            allowed.iter().any(|name| name.strip_suffix('*').map_or(path == *name, |start| path.starts_with(start)))
        };
        changes.sort();
        changes.into_iter().filter(|(path, _)| !is_allowed(path)).map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn changes_are_found() {
        let home = tempfile::tempdir().expect("a directory");
        let tree = home.path();
        for directory in ["etc", "usr"] {
            fs::create_dir(tree.join(directory)).expect("made");
        }
        for file in ["etc/same", "etc/other", "usr/gone"] {
            fs::write(tree.join(file), "x").expect("written");
        }
        let before = Snapshot::of(tree).expect("readable");
        assert!(before.changes(&before, &[]).is_empty());
        fs::write(tree.join("etc/same"), "x").expect("written");
        fs::write(tree.join("etc/other"), "y").expect("written");
        fs::remove_file(tree.join("usr/gone")).expect("removed");
        symlink("a", tree.join("usr/new")).expect("linked");
        let after = Snapshot::of(tree).expect("readable");
        let changes = before.changes(&after, &[]);
        let starts: Vec<&str> = changes.iter().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(starts, ["! etc/other", "- usr/gone", "+ usr/new"]);
        assert_eq!(before.changes(&after, &["usr/*", "etc/other"]), Vec::<String>::new());
    }
}
