// SPDX-License-Identifier: CECILL-B
//! What the programs in the machines counted, read from their outputs.

use std::collections::{BTreeMap, BTreeSet};

use knem_core::logic::refusal::Refusal;

/// How the count of a scenario's failure points starts.
const POINTS: &str = "points of ";

/// Sums over all that ran.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Lines `counted N NAME`, in the order of their first appearance.
    sums: Vec<(String, u64)>,
    /// Failure points of each scenario: not summed, each run has them all.
    points: BTreeMap<String, u64>,
    /// Lines `reason REASON N` of the driver's counters.
    reasons: BTreeSet<String>,
    /// Lines `refused CALL ERRNO N`.
    refused: BTreeSet<String>,
    /// Reports of kernels, and what the driver left behind.
    pub(crate) trouble: usize,
    /// Findings about pages that stay pinned.
    pub(crate) pinned: usize,
}

impl Counts {
    /// Adds the output of a command.
    pub(crate) fn read(&mut self, output: &str) {
        for line in output.lines() {
            if let Some((value, name)) = line.strip_prefix("counted ").and_then(|rest| rest.split_once(' ')) {
                let Ok(value) = value.parse() else { continue };
                if let Some(scenario) = name.strip_prefix(POINTS) {
                    self.points.insert(scenario.to_owned(), value);
                } else {
                    self.add(name, value);
                }
            } else if let Some(rest) = line.strip_prefix("reason ") {
                self.reasons.extend(rest.split(' ').next().map(str::to_owned));
            } else if let Some(rest) = line.strip_prefix("refused ") {
                self.refused.extend(rest.rsplit_once(' ').map(|(call, _)| call.to_owned()));
            }
        }
    }

    fn add(&mut self, name: &str, value: u64) {
        match self.sums.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += value,
            None => self.sums.push((name.to_owned(), value)),
        }
    }

    /// The driver's reasons that no call was refused for.
    fn unseen(&self) -> Vec<&'static str> {
        Refusal::NAMES.iter().map(|(_, name)| *name).filter(|name| !self.reasons.contains(*name)).collect()
    }

    /// As a table for a document.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| What | Count |\n|---|---|\n");
        for (name, value) in &self.sums {
            text.push_str(&format!("| {name} | {} |\n", grouped(*value)));
        }
        let unseen = self.unseen();
        text.push_str(&format!(
            "| reasons of the driver to refuse a call that were given | {} of {}{} |\n",
            Refusal::NAMES.len() - unseen.len(),
            Refusal::NAMES.len(),
            if unseen.is_empty() { String::new() } else { format!(" (not: {})", unseen.join(", ")) }
        ));
        text.push_str(&format!("| kinds of refused calls, each with its errno | {} |\n", self.refused.len()));
        text.push_str(&format!("| pages that stayed pinned | {} |\n", if self.pinned == 0 { "0" } else { "some" }));
        text.push_str(&format!("| reports of the kernel | {} |\n", self.trouble));
        if !self.points.is_empty() {
            text.push_str("\nFailure points of each scenario:\n\n");
            let all: Vec<String> =
                self.points.iter().map(|(name, points)| format!("{} {points}", name.replace('_', " "))).collect();
            text.push_str(&wrapped(&all.join(", ")));
        }
        text
    }
}

/// A number in groups of three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// In lines of a document's width.
pub(crate) fn wrapped(text: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for word in text.split(' ') {
        if width > 0 && width + 1 + word.len() > 120 {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += word.len();
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_up() {
        let mut counts = Counts::default();
        counts.read("ok x\ncounted 3 kills\ncounted 7 points of open_it\nreason busy 4\nrefused create ENOMEM 5\n");
        counts.read("counted 1000000 kills\ncounted 7 points of open_it\nreason busy 9\n");
        let table = counts.table();
        assert!(table.contains("| kills | 1 000 003 |"), "{table}");
        assert!(table.contains("| reasons of the driver to refuse a call that were given | 1 of 17 (not: no_context,"));
        assert!(table.contains("errno | 1 |") && table.contains("open it 7"), "{table}");
    }

    #[test]
    fn lines_have_a_width() {
        let text = wrapped(&"word ".repeat(100));
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 120));
    }
}
