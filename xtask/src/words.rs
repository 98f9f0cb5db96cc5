// SPDX-License-Identifier: CECILL-B
//! `cargo xtask words`: words that do not belong in the project's texts, with what to write instead, and lines that are
//! too long.
//!
//! A word in backticks, or alone in quotes, is a name: the user `nobody`. So is part of a word: `nobody_else`.

mod text;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{bail, Result};
use clap::Args;

use knem_lab::workspace::Workspace;
use knem_lab::{host, run};

/// What `words` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print every place; by default the number in each file
    #[arg(long)]
    all: bool,
    /// Only files whose paths begin with one of these
    paths: Vec<String>,
}

/// Words, and what to write instead.
const WORDS: &[(&str, &str)] = &[
    ("told", "reported, known, given: name what is done"),
    ("tell", "report, print, show, describe"),
    ("tells", "reports, prints, shows, describes"),
    ("mend", "fix, repair"),
    ("mends", "fixes, repairs"),
    ("mended", "fixed, repaired"),
    ("mending", "fixing, repairing"),
    ("whoever", "the caller, the owner, the reader: name the role"),
    ("somebody", "another process, a user: name the role"),
    ("nobody", "no process, no caller: name the role"),
    ("anybody", "any process, any user: name the role"),
    ("everybody", "every user, every process: name the role"),
    ("anew", "again"),
    ("shall", "must (a requirement), will (a fact), should (advice)"),
    ("be had", "available, can be obtained"),
    ("please report", "report it, and where: the project's address"),
];

/// The longest line of prose.
const COLUMNS: usize = 120;

/// Lines that are right as they are: the file, and a part of the line. One that is no longer there is an error.
const ALLOWED: &[(&str, &str)] = &[];

/// Not written here, or by a program; and this list.
const EXEMPT: &[&str] = &["Cargo.lock", "LICENSE-CeCILL-B", "LICENSES/", "debian/copyright", "xtask/src/words.rs"];
/// Of a kernel's configuration the whole text is a part of the cache key: another comment is another build of the kernel.
const EXEMPT_KINDS: &[&str] = &["config", "snap", "svg", "patch", "json", "png"];

/// Something that does not belong in a text.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Prints what is found.
///
/// # Errors
/// If anything is.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut found = check(&Workspace::find()?.root)?;
    found.retain(|finding| {
        arguments.paths.is_empty() || arguments.paths.iter().any(|path| finding.file.starts_with(path.as_str()))
    });
    if arguments.all {
        found.iter().for_each(|finding| println!("{finding}"));
    } else {
        for of_file in found.chunk_by(|one, next| one.file == next.file) {
            println!("{:>5}  {}", of_file.len(), of_file[0].file);
        }
    }
    verdict(found.len())
}

/// Fails with all places, as a step of `make check`.
///
/// # Errors
/// If there are any.
pub fn demand_none(workspace: &Workspace) -> Result<()> {
    let found = check(&workspace.root)?;
    found.iter().for_each(|finding| println!("{finding}"));
    verdict(found.len())
}

fn verdict(found: usize) -> Result<()> {
    if found > 0 {
        bail!("{found} words or lines do not belong in the texts: `cargo xtask words --all` lists them");
    }
    Ok(())
}

/// Reads all files that git knows.
fn check(root: &Path) -> Result<Vec<Finding>> {
    host::need(&["git"])?;
    let list = run::output(host::command("git").arg("-C").arg(root).args(["ls-files", "-z"]))?;
    let mut found = Vec::new();
    let mut unused: Vec<_> = ALLOWED.to_vec();
    for file in list.split('\0').filter(|file| !file.is_empty() && !exempt(file)) {
        // Removed, or no text.
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        found.extend(findings(file, &text, &mut unused));
    }
    for (file, part) in unused {
        found.push(Finding {
            file: file.to_owned(),
            line: 0,
            what: format!("no line has `{part}`: not to be allowed"),
        });
    }
    found.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    Ok(found)
}

fn exempt(file: &str) -> bool {
    let kind = Path::new(file).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    EXEMPT.iter().any(|exempt| file.starts_with(exempt)) || EXEMPT_KINDS.contains(&kind)
}

/// What is found in a file; allowances that were used are taken out of `unused`.
fn findings(file: &str, text: &str, unused: &mut Vec<(&str, &str)>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in text::lines(file, text).into_iter().enumerate() {
        if let Some((file, part)) = ALLOWED.iter().find(|(of, part)| *of == file && line.text.contains(part)) {
            unused.retain(|entry| entry != &(*file, *part));
            continue;
        }
        let mut add = |what: String| found.push(Finding { file: file.to_owned(), line: number + 1, what });
        for (word, instead) in words(line.text) {
            add(format!("`{word}`: {instead}"));
        }
        if line.wraps {
            let columns = columns(line.text);
            if columns > COLUMNS {
                add(format!("{columns} columns, {COLUMNS} are the most"));
            }
        }
    }
    found
}

/// The words in a line that do not belong there.
fn words(line: &str) -> Vec<(&'static str, &'static str)> {
    let text = text::without_names(&line.to_lowercase());
    let mut found = Vec::new();
    for &(word, instead) in WORDS {
        let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let whole = |&(at, _): &(usize, &str)| {
            !inside(text[..at].chars().next_back()) && !inside(text[at + word.len()..].chars().next())
        };
        found.extend(text.match_indices(word).filter(whole).map(|_| (word, instead)));
    }
    found
}

/// The width of a line; a tab is as wide as the kernel has it.
fn columns(line: &str) -> usize {
    line.chars().fold(0, |columns, c| if c == '\t' { columns / 8 * 8 + 8 } else { columns + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        findings(file, text, &mut Vec::new()).iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn words_are_found_and_names_are_not() {
        let words = |file: &str, text: &str| found(file, text).len();
        assert_eq!(words("a.md", "It tells\nnobody.\n"), 2);
        assert_eq!(words("a.md", "The user `nobody`, and \"nobody\".\n```\nsu nobody\n```\nIntellect is untold.\n"), 0);
        assert_eq!(words("a.rs", "// Told once.\nlet told = \"it told\";\n"), 3);
        assert_eq!(
            words("a.rs", "let user = \"nobody\"; // the user `nobody`\nlet nobody_told = Self::is_told();\n"),
            0
        );
        assert_eq!(words("a.sh", "# Mends it.\nchown 'nobody' \"$x\"\necho 'cannot be had'\n"), 2);
        assert_eq!(words("a.c", "/* Please report. */\nbool told;\n"), 2);
        assert_eq!(found("a.md", "\nanew\n"), ["a.md:2: `anew`: again"]);
    }

    #[test]
    fn long_lines_are_found_where_they_can_be_wrapped() {
        let long = "word ".repeat(30);
        assert_eq!(found("a.md", &long), ["a.md:1: 150 columns, 120 are the most".to_owned()]);
        for (file, text) in [
            ("a.md", format!("| {long} |")),
            ("a.md", format!("```\n{long}\n```")),
            ("a.md", format!("[it]({})", "x".repeat(130))),
            ("a.rs", format!("let x = \"{long}\";")),
            ("a.sh", format!("echo {long}")),
        ] {
            assert!(found(file, &text).is_empty(), "{file}: {text}");
        }
        for (file, text) in
            [("a.rs", format!("    // {long}")), ("a.c", format!(" * {long}")), ("Makefile", format!("# {long}"))]
        {
            assert_eq!(found(file, &text).len(), 1, "{file}: {text}");
        }
    }

    #[test]
    fn what_others_write_is_exempt() {
        for file in ["LICENSES/MIT.txt", "Cargo.lock", "a/b.snap", "docs/images/top.svg"] {
            assert!(exempt(file), "{file}");
        }
        assert!(!exempt("docs/guide.md") && !exempt("install/files"));
    }
}
