// SPDX-License-Identifier: CECILL-B
//! The licence in a file's first lines is the one that .reuse/dep5 has for it: the last of the paragraphs that match.

use std::fs;
use std::process::Command;

use knem_lab::workspace::Workspace;

/// Patterns and licences of dep5's paragraphs.
fn paragraphs(dep5: &str) -> Vec<(Vec<&str>, &str)> {
    let paragraphs = dep5.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        Some((field("Files: ")?.split(' ').collect(), field("License: ")?))
    });
    paragraphs.collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == path, |start| path.starts_with(start))
}

// REUSE-IgnoreStart
/// The expression in the first lines of a file.
fn stated(text: &str) -> Option<&str> {
    let line = text.lines().take(5).find_map(|line| Some(line.split_once("SPDX-License-Identifier: ")?.1))?;
    Some(line.trim_end_matches("*/").trim_end_matches("-->").trim_end_matches("#}").trim())
}
// REUSE-IgnoreEnd

#[test]
fn first_lines_and_dep5_agree() {
    let root = Workspace::find().expect("the workspace").root;
    let dep5 = fs::read_to_string(root.join(".reuse/dep5")).expect("readable");
    let paragraphs = paragraphs(&dep5);
    let list = Command::new("git").arg("-C").arg(&root).arg("ls-files").output().expect("git").stdout;
    let mut seen = 0;
    for path in String::from_utf8(list).expect("UTF-8").lines() {
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        let Some(stated) = stated(&text) else { continue };
        let of = paragraphs.iter().rfind(|(patterns, _)| patterns.iter().any(|pattern| matches(pattern, path)));
        assert_eq!(Some(stated), of.map(|(_, licence)| *licence), "{path}");
        seen += 1;
    }
    assert!(seen > 500, "{seen}");
}
