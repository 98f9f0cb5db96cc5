// SPDX-License-Identifier: CECILL-B
//! Colours: the style of each kind of text, and whether colours are on.
//!
//! Text is always written with its styles; [`output`] removes them if the output is not a terminal, and for `NO_COLOR`
//! and `TERM=dumb`. `CLICOLOR_FORCE` keeps them. No information is in the colour alone: a word says the same.

use std::fmt::{self, Display};
use std::io::Stdout;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// Column headers and titles.
pub(crate) const HEAD: Style = Style::new().bold();
/// Text about something that is OK.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Text about something worth checking.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// Text about something that is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Text of less importance.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Text in a style.
pub(crate) struct Styled<T>(pub(crate) Style, pub(crate) T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.0.render(), self.1, self.0.render_reset())
    }
}

/// Returns standard output, which drops the styles if colours are off.
pub(crate) fn output() -> AutoStream<Stdout> {
    AutoStream::auto(std::io::stdout())
}

/// Returns the line width for sentences: the terminal's, within limits.
pub(crate) fn width() -> usize {
    const NARROWEST: usize = 40;
    const USUAL: usize = 80;
    const WIDEST: usize = 100;
    let variable = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns));
    variable.or_else(terminal).unwrap_or(USUAL).clamp(NARROWEST, WIDEST)
}

/// Whether standard output has colours.
pub(crate) fn wanted() -> bool {
    AutoStream::choice(&std::io::stdout()) != ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_ends_where_its_text_ends() {
        assert_eq!(Styled(BAD, "no").to_string(), "\u{1b}[1m\u{1b}[31mno\u{1b}[0m");
    }

    #[test]
    fn what_is_no_terminal_gets_plain_text() {
        let mut plain = AutoStream::never(Vec::new());
        std::io::Write::write_all(&mut plain, Styled(HEAD, "title").to_string().as_bytes()).unwrap();
        assert_eq!(plain.into_inner(), b"title");
    }
}
