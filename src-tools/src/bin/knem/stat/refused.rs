// SPDX-License-Identifier: CECILL-B
//! Refused calls and reasons, with their meaning and remedy.

use knem::explain::{self, Explanation};
use knem::profile::Profile;

use crate::style::{Styled, HEAD};
use crate::table::{Column, Table};

const INDENT: &str = "    ";

/// Returns the text for people, wrapped at `width`.
pub(crate) fn text(profile: &Profile, width: usize) -> String {
    if profile.refused.is_empty() && profile.reasons.is_empty() {
        return "Nothing was refused.\n".to_owned();
    }
    let mut text = String::new();
    let calls = profile.refused.iter().map(|refused| {
        let name = format!("{} {}", refused.call, refused.errno);
        (name, refused.count, explain::refused(&refused.call, &refused.errno))
    });
    part(&mut text, "Calls that returned an error", calls, width);
    let reasons =
        profile.reasons.iter().map(|reason| (reason.name.clone(), reason.count, explain::reason(&reason.name)));
    part(&mut text, "Reasons", reasons, width);
    text
}

/// Returns the table for scripts: kind, name, errno, count.
pub(crate) fn table(profile: &Profile) -> Table {
    let columns = ["WHAT", "NAME", "ERROR"].map(Column::left);
    let mut table = Table::new(&[columns[0], columns[1], columns[2], Column::right("COUNT")]);
    for refused in &profile.refused {
        table.row(["call", &refused.call, &refused.errno, &refused.count.to_string()]);
    }
    for reason in &profile.reasons {
        table.row(["reason", &reason.name, "", &reason.count.to_string()]);
    }
    table
}

fn part(text: &mut String, title: &str, rows: impl Iterator<Item = (String, u64, Explanation)>, width: usize) {
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    // The most frequent first; the sort is stable, so others stay in the driver's order.
    rows.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    if !text.is_empty() {
        text.push('\n');
    }
    *text += &format!("{}\n", Styled(HEAD, title));
    for (name, count, Explanation { meaning, remedy }) in rows {
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        *text += &format!("  {name}: {times}\n");
        *text += &wrapped(meaning, width);
        *text += &wrapped(&format!("Remedy: {remedy}"), width);
    }
}

/// Wraps words into indented lines.
fn wrapped(words: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = INDENT.to_owned();
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > width && line.len() > INDENT.len() {
            lines = lines + line.trim_end() + "\n";
            line = INDENT.to_owned();
        }
        line = line + word + " ";
    }
    lines + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_end_before_the_edge() {
        assert_eq!(wrapped("one two three four", 13), "    one two\n    three\n    four\n");
        assert_eq!(wrapped("averyverylongword", 10), "    averyverylongword\n");
    }
}
