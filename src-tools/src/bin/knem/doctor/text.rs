// SPDX-License-Identifier: CECILL-B
//! The report as text: one line for each group that is OK, and every other finding with its meaning and remedies.

use anstyle::Style;

use super::finding::{Finding, State};
use super::{Report, GROUPS};
use crate::style::{Styled, BAD, FAINT, GOOD, HEAD, NOTE};

/// Width of the word for the state.
const WORD: usize = 9;

/// Writes a report. With `verbose`, findings that are OK are shown in full as well.
pub(super) fn write(report: &Report, verbose: bool, width: usize) -> String {
    let mut text = String::new();
    for group in &GROUPS {
        let findings: Vec<&Finding> = report.findings.iter().filter(|finding| finding.group == group.name).collect();
        let Some(worst) = findings.iter().map(|finding| finding.state).max() else { continue };
        let well = findings.iter().filter(|finding| finding.state == State::Ok).count();
        text += &Styled(HEAD, group.title).to_string();
        if worst == State::Ok && !verbose {
            // The first one is the most important.
            let first = findings.first().map_or("", |finding| &finding.summary);
            let more = if well > 1 { format!("; and {} more", well - 1) } else { String::new() };
            text.push('\n');
            text += &entry(State::Ok, &format!("{first}{more}"), width);
            continue;
        }
        text.push('\n');
        for finding in findings {
            if verbose || finding.state != State::Ok {
                text += &show(finding, verbose, width);
            }
        }
        if !verbose && well > 0 {
            text += &entry(State::Ok, &format!("{well} more"), width);
        }
    }
    text.push('\n');
    text + &conclusion(report, width)
}

fn style(state: State) -> Style {
    match state {
        State::Ok => GOOD,
        State::Unknown => FAINT,
        State::Note => NOTE,
        State::Problem => BAD,
    }
}

/// Writes the state and a sentence.
fn entry(state: State, sentence: &str, width: usize) -> String {
    let word = format!("  {:WORD$} ", state.word());
    let indent = word.len();
    let mut text = String::new();
    for (n, line) in wrapped(sentence, width - indent).iter().enumerate() {
        let start = if n == 0 { Styled(style(state), &word).to_string() } else { " ".repeat(indent) };
        text += &format!("{start}{line}\n");
    }
    text
}

fn show(finding: &Finding, verbose: bool, width: usize) -> String {
    let mut sentence = finding.summary.clone();
    if let Some(subject) = finding.subject.as_deref().filter(|subject| !sentence.contains(subject)) {
        sentence = format!("{subject}: {sentence}");
    }
    let indent = " ".repeat(WORD + 3);
    let mut text = entry(finding.state, &sentence, width);
    let mut more = |line: &str| {
        for line in wrapped(line, width - indent.len()) {
            text += &format!("{indent}{line}\n");
        }
    };
    if verbose || finding.state != State::Ok {
        if let Some(meaning) = &finding.meaning {
            more(meaning);
        }
    }
    if verbose {
        finding.details.iter().for_each(|detail| more(detail));
    }
    if finding.state != State::Ok {
        for remedy in &finding.remedies {
            // Not wrapped, so that it can be copied.
            text += &format!("{indent}-> {}\n", Styled(HEAD, remedy));
        }
    }
    if verbose {
        text += &format!("{indent}{}\n", Styled(FAINT, format!("[{}]", finding.id)));
    }
    text
}

/// Writes the counts and the verdict.
fn conclusion(report: &Report, width: usize) -> String {
    let many = |count: usize, one: &str, more: &str| format!("{count} {}", if count == 1 { one } else { more });
    let counts = [
        many(report.count(State::Problem), "problem", "problems"),
        many(report.count(State::Note), "note", "notes"),
        format!("{} not known", report.count(State::Unknown)),
    ];
    let verdict = match (report.whole, report.count(State::Problem)) {
        (false, _) => String::new(),
        (true, 0) => format!("KNEM works here for {}: ", report.user),
        (true, _) => format!("KNEM does not work here for {}: ", report.user),
    };
    // Other users would try in vain.
    let who = if report.is_root || report.count(State::Problem) == 0 { "" } else { " Most remedies need root." };
    wrapped(&format!("{verdict}{}.{who}", counts.join(", ")), width).join("\n") + "\n"
}

/// Wraps a text at spaces into lines of at most `width` columns.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::tests::report;
    use crate::machine::fake::Fake;

    /// A machine with many problems.
    fn ill() -> Fake {
        Fake::well()
            .variable("UCX_TLS", "tcp")
            .file("/lib/modules/7.3.1/modules.dep", "")
            .fails(
                "sh /usr/src/knem-2.0.0/way.sh 7.3.1",
                "knem cannot be built for kernel 7.3.1: bindgen is not installed; apt install bindgen\n",
                "",
            )
            .denied(knem::Obstacle::NotInGroup { mode: 0o660, group: "rdma".to_owned(), user: "alice".to_owned() })
            .says("getent group rdma", "rdma:x:105:\n")
            .caller(|caller| {
                caller.groups = vec!["alice".to_owned()];
                caller.memlock = Some(8 << 20);
                caller.memlock_hard = Some(8 << 20);
            })
    }

    fn shown(fake: &Fake, verbose: bool, width: usize) -> String {
        anstream::adapter::strip_str(&write(&report(fake), verbose, width)).to_string()
    }

    #[test]
    fn well_in_80_columns() {
        insta::assert_snapshot!(shown(&Fake::well(), false, 80));
    }

    #[test]
    fn ill_in_80_columns() {
        insta::assert_snapshot!(shown(&ill(), false, 80));
    }

    #[test]
    fn ill_in_100_columns() {
        insta::assert_snapshot!(shown(&ill(), false, 100));
    }

    #[test]
    fn nothing_installed_in_80_columns() {
        insta::assert_snapshot!(shown(&Fake::new(), false, 80));
    }

    #[test]
    fn everything_in_100_columns() {
        insta::assert_snapshot!(shown(&Fake::well(), true, 100));
    }

    #[test]
    fn states_are_words_and_not_colours_alone() {
        let text = shown(&ill(), false, 80);
        assert!(
            text.contains("  PROBLEM   ") && text.contains("  note      ") && text.contains("  ok        "),
            "{text}"
        );
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensibilities a", 7), ["incomprehensibilities", "a"]);
    }
}
