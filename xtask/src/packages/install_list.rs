// SPDX-License-Identifier: CECILL-B
//! `dkms/install-list`: which files of the repository lie in the DKMS tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use walkdir::WalkDir;

/// A file: where it is, and its path in the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) from: PathBuf,
}

/// Reads the list at `list`, whose directories are below `root`; the result is sorted by path.
pub(crate) fn read(root: &Path, list: &Path) -> Result<Vec<Entry>> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((directory, pattern)) = line.split_once(char::is_whitespace) else {
            bail!("{}: `{line}` is not a directory and a pattern", list.display());
        };
        let found = matching(&root.join(directory), pattern.trim())?;
        if found.is_empty() {
            bail!("{}: `{line}` matches no file", list.display());
        }
        entries.extend(found);
    }
    entries.sort();
    if let Some([entry, _]) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
        bail!("{}: {} is listed twice", list.display(), entry.path.display());
    }
    Ok(entries)
}

/// The files below `directory` that the pattern names.
fn matching(directory: &Path, pattern: &str) -> Result<Vec<Entry>> {
    let wanted: Vec<&str> = pattern.split('/').collect();
    // `**` alone needs a deeper look, and what is not named is not searched: the repository holds build results too.
    let depth = if wanted.contains(&"**") { usize::MAX } else { wanted.len() };
    let fixed: PathBuf = wanted.iter().take_while(|part| !part.contains('*')).collect();
    let mut entries = Vec::new();
    for found in WalkDir::new(directory.join(&fixed)).max_depth(depth) {
        let found = found.with_context(|| format!("cannot look for {pattern}"))?;
        let path = found.path().strip_prefix(directory)?;
        let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
        if found.file_type().is_file() && path_matches(&wanted, &names) {
            entries.push(Entry { path: path.to_owned(), from: found.path().to_owned() });
        }
    }
    Ok(entries)
}

/// Whether the parts of a path fit the parts of a pattern; `**` takes any number of them.
fn path_matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|taken| path_matches(rest, &path[taken..])),
        (Some((part, rest)), Some((name, names))) => name_matches(part, name) && path_matches(rest, names),
        _ => false,
    }
}

/// Whether a name fits a pattern with at most one `*`.
fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        path_matches(&pattern, &path)
    }

    #[test]
    fn patterns() {
        assert!(fits("*.c", "knem_shim.c"));
        assert!(!fits("*.c", "glue/knem_shim.c"));
        assert!(fits("logic/**/*.rs", "logic/mod.rs"));
        assert!(fits("logic/**/*.rs", "logic/plan/step.rs"));
        assert!(!fits("logic/**/*.rs", "logic/notes.txt"));
        assert!(!fits("logic/**/*.rs", "glue/mod.rs"));
        assert!(fits("Kbuild", "Kbuild"));
    }

    #[test]
    fn a_line_without_a_file_is_an_error() {
        let home = tempfile::tempdir().expect("a directory");
        let list = home.path().join("list");
        fs::create_dir(home.path().join("src")).expect("made");
        fs::write(home.path().join("src/a.c"), "").expect("written");
        fs::write(&list, "# nothing\nsrc *.c\n").expect("written");
        assert_eq!(read(home.path(), &list).expect("one file").len(), 1);
        fs::write(&list, "src *.c\nsrc *.rs\n").expect("written");
        assert!(read(home.path(), &list).is_err());
        fs::write(&list, "src *.c\nsrc a.c\n").expect("written");
        assert!(read(home.path(), &list).is_err());
    }
}
