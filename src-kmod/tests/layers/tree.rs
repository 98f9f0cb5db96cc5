// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The files of the tree, and the application of a rule to some of them.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns all files of the project below a directory of the tree, by their paths in the tree.
pub(crate) fn files(below: &str) -> Vec<PathBuf> {
    // At the top of the tree.
    const NOT_OURS: [&str; 4] = ["build", "dist", "target", "Cargo.lock"];
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::from(below)];
    while let Some(path) = waiting.pop() {
        let Ok(entries) = fs::read_dir(root().join(&path)) else { continue };
        for entry in entries {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let path = path.join(&name);
            let kind = entry.file_type().expect("a kind");
            if name.starts_with('.') && name != ".ci" || NOT_OURS.iter().any(|not_ours| path == Path::new(not_ours)) {
                continue;
            }
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn rust_files(below: &[&str]) -> Vec<PathBuf> {
    let all = below.iter().flat_map(|below| files(below));
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn parse(path: &Path) -> syn::File {
    syn::parse_file(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Line numbers and descriptions of what is wrong in a file.
pub(crate) type Violations = Vec<(usize, String)>;

/// Fails with all violations that a rule finds in these files.
pub(crate) fn enforce(paths: &[PathBuf], rule: impl Fn(&Path) -> Violations) {
    assert!(!paths.is_empty(), "the rule has files to check");
    let found: Vec<String> = paths
        .iter()
        .flat_map(|path| {
            rule(path).into_iter().map(|(line, what)| format!("{}:{line}: {what}", path.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
