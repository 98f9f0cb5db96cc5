// SPDX-License-Identifier: CECILL-B
//! Tables of text: aligned for people, or separated by tabs for programs.

use std::fmt::Write;

use crate::style::{Styled, HEAD};

/// Placeholder for a missing value, so that each row has a word for each column.
pub(crate) const MISSING: &str = "-";

/// The side on which the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column: its header, alignment and minimum width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    align: Align,
    width: usize,
}

impl Column {
    /// A column of words.
    pub(crate) const fn left(head: &'static str) -> Self {
        Self { head, align: Align::Left, width: 0 }
    }

    /// A column of numbers.
    pub(crate) const fn right(head: &'static str) -> Self {
        Self { head, align: Align::Right, width: 0 }
    }

    /// Sets the minimum width, for tables that are written row by row.
    pub(crate) const fn at_least(self, width: usize) -> Self {
        Self { width, ..self }
    }
}

/// Columns and rows. A row has a cell for each column; empty cells are written as [`MISSING`] by [`Table::tabs`] only.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the aligned text for people: headers, and rows below them.
    pub(crate) fn text(&self) -> String {
        self.head() + &self.body()
    }

    /// Returns the line of headers.
    pub(crate) fn head(&self) -> String {
        let heads: Vec<String> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        format!("{}\n", Styled(HEAD, self.line(&heads, &self.widths())))
    }

    /// Returns the rows, aligned below the headers.
    pub(crate) fn body(&self) -> String {
        let widths = self.widths();
        self.rows.iter().map(|row| self.line(row, &widths) + "\n").collect()
    }

    /// Returns the text for scripts: rows without headers, separated by tabs.
    pub(crate) fn tabs(&self) -> String {
        let cell = |cell: &String| if cell.is_empty() { MISSING.to_owned() } else { cell.trim().replace('\t', " ") };
        self.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("\t") + "\n").collect()
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |(n, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(n)).map(|cell| width(cell)).max();
            cells.unwrap_or(0).max(width(column.head)).max(column.width)
        };
        self.columns.iter().enumerate().map(widest).collect()
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((column, cell), widest) in self.columns.iter().zip(cells).zip(widths) {
            let blank = " ".repeat(widest.saturating_sub(width(cell)));
            // Writing to a String cannot fail.
            let _ = match column.align {
                Align::Left => write!(line, "{cell}{blank}  "),
                Align::Right => write!(line, "{blank}{cell}  "),
            };
        }
        line.trim_end().to_owned()
    }
}

/// Width of a cell on a terminal. Escape sequences of styles have none.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::{BAD, GOOD};

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn table() -> Table {
        let mut table = Table::new(&[Column::left("NAME"), Column::right("BYTES"), Column::left("NOTE")]);
        table.row(["one", "4096", ""]);
        table.row(["eleven", "7", "odd"]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        insta::assert_snapshot!(plain(&table().text()), @r"
        NAME    BYTES  NOTE
        one      4096
        eleven      7  odd
        ");
    }

    #[test]
    fn programs_get_a_word_for_each_column() {
        assert_eq!(table().tabs(), "one\t4096\t-\neleven\t7\todd\n");
    }

    #[test]
    fn colours_have_no_width() {
        let mut table = Table::new(&[Column::left("STATE"), Column::left("WHAT")]);
        table.row([Styled(GOOD, "ok").to_string(), "this".to_owned()]);
        table.row([Styled(BAD, "wrong").to_string(), "that".to_owned()]);
        insta::assert_snapshot!(plain(&table.text()), @r"
        STATE  WHAT
        ok     this
        wrong  that
        ");
    }

    #[test]
    fn columns_can_be_wider_than_their_cells() {
        let mut table = Table::new(&[Column::right("N").at_least(6), Column::left("WHAT")]);
        table.row(["1", "x"]);
        assert_eq!(table.body(), "     1  x\n");
        assert!(!table.is_empty());
    }
}
