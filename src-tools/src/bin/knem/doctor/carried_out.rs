// SPDX-License-Identifier: CECILL-B
//! The table of docs/drills.md: which drill carries out which remedy. The test program `knem-remedies`, which carries
//! them out, includes this file.

const PAGE: &str = include_str!("../../../../../docs/drills.md");

/// A row: a remedy, with words such as `<kernel>` for the parts that vary.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) remedy: &'static str,
    /// States of the drills `remedies-*`, or a reason why none of them is.
    pub(crate) by: &'static str,
}

/// The table.
pub(crate) fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", id, remedy, by, ""] = cells[..] else { return None };
        Some(Row { id: id.trim_matches('`'), remedy: remedy.strip_prefix('`')?.strip_suffix('`')?, by })
    };
    PAGE.lines().skip_while(|line| *line != "| Finding | Remedy | Carried out |").skip(2).map_while(row).collect()
}

impl Row {
    /// Whether it is about this remedy.
    pub(crate) fn is(&self, id: &str, remedy: &str) -> bool {
        let mut parts = self.remedy.split('<').enumerate().map(|(n, part)| match n {
            0 => part,
            _ => part.split_once('>').map_or(part, |(_, rest)| rest),
        });
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = remedy.strip_prefix(first).filter(|_| self.id == id) else { return false };
        let mut open = false;
        for part in parts {
            let Some(at) = (if part.is_empty() { Some(rest.len()) } else { rest.find(part) }) else { return false };
            rest = &rest[at + part.len()..];
            open = part.is_empty();
        }
        open || rest.is_empty()
    }

    /// The states of the drill that carry it out.
    pub(crate) fn states(&self) -> Vec<&'static str> {
        self.by.strip_prefix("remedies: ").map(|states| states.split(", ").collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_brackets_are_anything() {
        let row = |remedy| Row { id: "a.b", remedy, by: "remedies: one, two" };
        assert!(row("rm <file>; x").is("a.b", "rm /etc/y; x") && row("rm <file>").is("a.b", "rm /etc/y"));
        assert!(
            !row("rm <file>; x").is("a.b", "rm /etc/y; z")
                && !row("rm").is("a.b", "rm x")
                && !row("rm").is("a.c", "rm")
        );
        assert_eq!(row("rm").states(), ["one", "two"]);
    }

    #[test]
    fn every_row_says_where() {
        let rows = rows();
        assert!(rows.len() > 40, "{}", rows.len());
        for row in rows {
            let where_else = ["other: ", "person: "].iter().any(|word| row.by.starts_with(word));
            assert!(where_else || !row.states().is_empty(), "{row:?}");
        }
    }
}
