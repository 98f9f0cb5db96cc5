// SPDX-License-Identifier: CECILL-B
//! Every command line that is written down somewhere, in documentation, scripts and other programs, is one that the
//! command takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use regex::Regex;

use super::Cli;

/// Where command lines are written down, from the root of the source.
const PLACES: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "docs",
    "deploy",
    "debian",
    "tests/drills/src",
    "xtask/src/demo.rs",
    "src-tools/src/bin/knem/cli",
];
/// Kinds of files.
const KINDS: [&str; 6] = ["md", "sh", "rs", "yml", "yaml", "4"];

fn files(place: &Path, found: &mut Vec<PathBuf>) {
    if let Ok(entries) = fs::read_dir(place) {
        entries.filter_map(Result::ok).for_each(|entry| files(&entry.path(), found));
    } else if place.extension().is_none_or(|kind| KINDS.iter().any(|known| kind == *known)) {
        found.push(place.to_owned());
    }
}

/// The parts of a file that are code rather than prose: of Markdown what is marked as such, of Rust what is no comment.
fn code(path: &Path, text: &str) -> String {
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let mut fenced = false;
    let mut code = String::new();
    for line in text.lines() {
        match kind {
            "md" if line.trim_start().starts_with("```") => fenced = !fenced,
            "md" if !fenced => code.extend(line.split('`').skip(1).step_by(2).map(|span| format!("{span}\n"))),
            "rs" | "sh" | "yml" | "yaml" if matches!(line.trim_start().get(..1), Some("/" | "#")) => {}
            _ => code += &format!("{line}\n"),
        }
    }
    code
}

/// The command lines in some code: the words up to what is not the command's any more.
fn command_lines(code: &str) -> Vec<String> {
    let line = Regex::new(
        r#"(?m)(?:^|["'`(;]|\$ |&& |nice -n 19 |nogroup --clear-groups |image |if ) *knem (?:info|stat|top|regions|doctor|bench|selftest|completions)\b(?: [^ \n"'`|;&<>)#\\]+)*"#,
    );
    let code = Regex::new(" [0-9]>").unwrap().replace_all(code, " >");
    let start = Regex::new(r"^.*?knem ").unwrap();
    line.unwrap().find_iter(&code).map(|found| start.replace(found.as_str(), "knem ").into_owned()).collect()
}

/// A line with values for what it leaves open; nothing if it says that there is more.
fn filled_in(line: &str) -> Option<String> {
    let line = line.replace("INTERVAL", "1").replace("[COUNT]", "1").replace("COUNT", "1").replace("SHELL", "bash");
    let line = line.trim_end_matches(['.', ':', ',']).replace("--check ID", "--check use");
    (!line.contains(['{', '[', '…'])).then_some(line)
}

#[test]
fn every_documented_command_line_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    PLACES.iter().for_each(|place| files(&root.join(place), &mut found));
    let mut seen = 0;
    for path in found {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for line in command_lines(&code(&path, &text)).iter().filter_map(|line| filled_in(line)) {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            let refused = parsed.err().filter(clap::Error::use_stderr);
            assert!(
                refused.is_none(),
                "{}: `{line}`: {}",
                path.display(),
                refused.map_or_else(String::new, |error| error.to_string())
            );
            seen += 1;
        }
    }
    assert!(seen > 40, "only {seen} lines were found");
}

#[test]
fn lines_are_found_where_they_are() {
    let text = "Say `knem stat 1 3`, knem bench not.\n```\n# knem info\nknem doctor --strict | head\n```\n";
    assert_eq!(command_lines(&code(Path::new("a.md"), text)), ["knem stat 1 3", "knem doctor --strict"]);
    let text = "// knem stat x\n    \"knem bench --sizes 4K\",\n";
    assert_eq!(command_lines(&code(Path::new("a.rs"), text)), ["knem bench --sizes 4K"]);
    assert_eq!(filled_in("knem stat INTERVAL [COUNT]").as_deref(), Some("knem stat 1 1"));
}
