// SPDX-License-Identifier: CECILL-B
//! What of a file is prose.

use std::path::Path;

/// How prose is marked in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All but code in fences.
    Markdown,
    /// Comments and strings, as in Rust and C.
    Program,
    /// All of it; comments begin with `#`, or as in a manual page.
    Other,
}

impl Kind {
    pub(super) fn of(file: &str) -> Self {
        match Path::new(file).extension().and_then(|kind| kind.to_str()) {
            Some("md") => Self::Markdown,
            Some("rs" | "c" | "h") => Self::Program,
            _ => Self::Other,
        }
    }
}

/// The prose of a line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    /// Whether it could be wrapped: a paragraph or a comment with a blank to break it at.
    pub(super) wraps: bool,
}

/// The prose of each line.
pub(super) fn prose(kind: Kind, text: &str) -> Vec<Line> {
    match kind {
        Kind::Markdown => markdown(text),
        Kind::Program => program(text),
        Kind::Other => {
            text.lines().map(|line| Line { text: line.to_owned(), wraps: is_comment(line) && breaks(line) }).collect()
        }
    }
}

/// Whether a line of a script, a manual page or the like is a comment.
fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("# ") || line.starts_with(".\\\" ")
}

/// Whether there is a blank behind the line's first word, in the part that is not too long.
fn breaks(line: &str) -> bool {
    let start: String = line.chars().take(super::COLUMNS).collect();
    start.trim_start_matches(|c: char| !c.is_alphanumeric()).contains(' ')
}

fn markdown(text: &str) -> Vec<Line> {
    let mut fenced = false;
    let lines = text.lines().map(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            return Line { text: String::new(), wraps: false };
        }
        let table = line.starts_with('|');
        Line { text: line.to_owned(), wraps: !table && !line.starts_with('#') && breaks(line) }
    });
    lines.collect()
}

/// Where the reader of a program is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Code,
    LineComment,
    BlockComment,
    Text,
    /// A raw string, which ends with this many `#`.
    Raw(usize),
}

fn program(text: &str) -> Vec<Line> {
    let mut state = State::Code;
    let lines = text.lines().map(|line| {
        let comment =
            state == State::BlockComment || ["//", "/*"].iter().any(|start| line.trim_start().starts_with(start));
        let starred = line.starts_with(" *");
        let mut prose = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let (taken, next) = step(state, rest, c);
            if state != State::Code || next != State::Code {
                prose.push_str(&rest[..taken]);
            }
            state = next;
            rest = &rest[taken..];
        }
        if state == State::LineComment {
            state = State::Code;
        }
        Line { text: prose, wraps: (comment || starred) && breaks(line) }
    });
    lines.collect()
}

/// How many bytes of `rest`, which begins with `c`, belong together, and what state follows them.
fn step(state: State, rest: &str, c: char) -> (usize, State) {
    let one = c.len_utf8();
    match state {
        State::Code if rest.starts_with("//") => (2, State::LineComment),
        State::Code if rest.starts_with("/*") => (2, State::BlockComment),
        State::Code if c == '"' => (1, State::Text),
        State::Code if c == 'r' => match raw(rest) {
            Some((length, marks)) => (length, State::Raw(marks)),
            None => (identifier(rest), State::Code),
        },
        State::Code if c.is_alphanumeric() || c == '_' => (identifier(rest), State::Code),
        State::Code if c == '\'' => (character(rest), State::Code),
        State::BlockComment if rest.starts_with("*/") => (2, State::Code),
        State::Text if c == '\\' => (one + rest[one..].chars().next().map_or(0, char::len_utf8), State::Text),
        State::Text if c == '"' => (1, State::Code),
        State::Raw(marks) if c == '"' && rest[1..].starts_with(&"#".repeat(marks)) => (1 + marks, State::Code),
        _ => (one, state),
    }
}

/// The length of the start of a raw string, and how many `#` it has.
fn raw(rest: &str) -> Option<(usize, usize)> {
    let marks = rest[1..].chars().take_while(|c| *c == '#').count();
    rest[1 + marks..].starts_with('"').then_some((marks + 2, marks))
}

fn identifier(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

/// The length of a literal such as `'"'`; 1 for the start of a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next(), inside.next()) {
        (Some('\\'), Some(escaped), Some('\'')) => 3 + escaped.len_utf8(),
        (Some(c), Some('\''), _) if c != '\\' => 2 + c.len_utf8(),
        _ => 1,
    }
}

/// The text without what is in backticks, and without words that are alone in quotes.
pub(super) fn without_names(text: &str) -> String {
    let mut result = String::new();
    for (number, part) in text.split('`').enumerate() {
        if number % 2 == 0 {
            result += part;
        } else {
            result.push('`');
        }
    }
    for quote in ['"', '\''] {
        let parts: Vec<&str> = result.split(quote).collect();
        let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-');
        let kept: Vec<&str> = parts
            .iter()
            .enumerate()
            .map(|(number, part)| if number > 0 && number + 1 < parts.len() && word(part) { "" } else { *part })
            .collect();
        result = kept.join(&quote.to_string());
    }
    result
}
