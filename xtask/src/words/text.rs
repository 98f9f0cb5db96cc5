// SPDX-License-Identifier: CECILL-B
//! What of a file is prose: of Markdown all but code in fences, of every other file all of it, names included.

/// A line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// What is to be read.
    pub(super) text: &'a str,
    /// Whether it could be wrapped: part of a paragraph or of a comment, with a blank to break it at.
    pub(super) wraps: bool,
}

/// The lines of a file.
pub(super) fn lines<'a>(file: &str, text: &'a str) -> Vec<Line<'a>> {
    if !file.ends_with(".md") {
        return text.lines().map(|text| Line { text, wraps: is_comment(text) && breaks(text) }).collect();
    }
    let mut fenced = false;
    let lines = text.lines().map(|text| {
        let fence = text.trim_start().starts_with("```");
        fenced ^= fence;
        if fenced || fence {
            return Line { text: "", wraps: false };
        }
        Line { text, wraps: !text.starts_with(['|', '#']) && breaks(text) }
    });
    lines.collect()
}

/// Whether the line is a comment and nothing else, in any of the project's languages.
fn is_comment(line: &str) -> bool {
    let starts = ["# ", "//", "/*", "* ", ".\\\" "];
    starts.iter().any(|start| line.trim_start().starts_with(start))
}

/// Whether there is a blank behind the first word, in the part that is not too long.
fn breaks(line: &str) -> bool {
    let start: String = line.chars().take(super::COLUMNS).collect();
    start.trim_start_matches(|c: char| !c.is_alphanumeric()).contains(' ')
}

/// The text without what is in backticks, and without words that are alone in quotes.
pub(super) fn without_names(text: &str) -> String {
    let mut result: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
    for quote in ["\"", "'"] {
        let parts: Vec<&str> = result.split(quote).collect();
        let name = |part: &str| !part.contains(char::is_whitespace);
        let kept = parts.iter().enumerate().map(|(number, part)| {
            let between = number > 0 && number + 1 < parts.len();
            if between && name(part) {
                ""
            } else {
                *part
            }
        });
        result = kept.collect::<Vec<_>>().join(quote);
    }
    result
}
