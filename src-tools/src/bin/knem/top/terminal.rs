// SPDX-License-Identifier: CECILL-B
//! The terminal: set up for a screen, and restored however the command ends.
//!
//! Dropping [`Live`] restores it: at the end, after an error, and after a signal, which is a message like a key. After
//! a panic, ratatui's hook restores it before the message is written.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::sync::mpsc::Sender;
use std::thread;

use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use ratatui::{DefaultTerminal, Frame};

use crate::exit::Failure;
use crate::signals;

/// An input event.
pub(super) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal was resized or resumed.
    Resize,
    /// A signal requested the end, or the terminal is gone.
    End,
}

/// Whether there is a terminal for the screen and the keys.
pub(super) fn is_there() -> bool {
    io::stdout().is_terminal() && (io::stdin().is_terminal() || File::open("/dev/tty").is_ok())
}

/// The terminal, while it shows a screen.
pub(super) struct Live(DefaultTerminal);

impl Live {
    /// Sets up the terminal, and sends keys and signals to `sender`.
    pub(super) fn enter(sender: Sender<Input>) -> Result<Self, Failure> {
        signals::forward(sender.clone(), || Input::End)?;
        let live = Self::take()?;
        thread::spawn(move || read(&sender));
        Ok(live)
    }

    fn take() -> Result<Self, Failure> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                ratatui::restore();
                Err(Failure::Other(format!("cannot use the terminal: {error}; try knem stat 1")))
            }
        }
    }

    /// Draws a screen.
    pub(super) fn draw(&mut self, screen: impl FnOnce(&mut Frame<'_>)) -> Result<(), Failure> {
        self.0.draw(screen)?;
        Ok(())
    }

    /// Restores the terminal, stops the process as the shell expects for Ctrl-Z, and sets the terminal up again when it
    /// continues.
    pub(super) fn suspend(&mut self) -> Result<(), Failure> {
        ratatui::restore();
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        *self = Self::take()?;
        self.0.clear()?;
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Forwards the events of the terminal.
fn read(sender: &Sender<Input>) {
    loop {
        let input = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
            Ok(Event::Resize(..)) => Input::Resize,
            Ok(_) => continue,
            Err(_) => Input::End,
        };
        let last = matches!(input, Input::End);
        if sender.send(input).is_err() || last {
            return;
        }
    }
}
