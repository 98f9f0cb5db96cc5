// SPDX-License-Identifier: CECILL-B
//! Colours: what each kind of text looks like, and whether there are colours at all.
//!
//! Text is written with its styles always; [`output`] takes them out again where nobody would see them: output that is no
//! terminal, `NO_COLOR`, `TERM=dumb`. `CLICOLOR_FORCE` keeps them. A colour repeats what a word says, and never says it alone.

use std::fmt::{self, Display};
use std::io::Stdout;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// Heads of columns, and titles.
pub(crate) const HEAD: Style = Style::new().bold();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What is worth a look.
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What matters less than the rest.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Text in a style.
pub(crate) struct Styled<T>(pub(crate) Style, pub(crate) T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.0.render(), self.1, self.0.render_reset())
    }
}

/// Standard output, with colours where they are wanted.
pub(crate) fn output() -> AutoStream<Stdout> {
    AutoStream::auto(std::io::stdout())
}

/// Columns for sentences: the terminal's, within reason.
pub(crate) fn width() -> usize {
    const NARROWEST: usize = 40;
    const USUAL: usize = 80;
    const WIDEST: usize = 100;
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns));
    told.or_else(terminal).unwrap_or(USUAL).clamp(NARROWEST, WIDEST)
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
