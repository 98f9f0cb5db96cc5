// SPDX-License-Identifier: CECILL-B
//! `knem top`: rates, sizes, times and the busiest processes, on a live screen.
//!
//! `state` computes what is shown, `screen` draws it, `terminal` sets up and restores the terminal.

mod chart;
mod screen;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use knem::{listing, Error};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use self::state::{Snapshot, State};
use self::terminal::{Input, Live};
use crate::cli::{StatArgs, TopArgs};
use crate::exit::Failure;
use crate::processes::SystemNames;
use crate::stat::sample::Sample;
use crate::style;

/// Runs the command.
pub(crate) fn run(device: &Path, arguments: &TopArgs) -> Result<(), Failure> {
    let first = Sample::take(device, &arguments.proc)?;
    let old = first.profile.is_none();
    if arguments.json || old || !terminal::is_there() {
        if old && !arguments.json {
            let _ = writeln!(std::io::stderr(), "knem: {}", Error::NoProfile);
        }
        return crate::stat::run(device, &plain(arguments));
    }
    let (sender, receiver) = channel();
    let mut live = Live::enter(sender)?;
    let end = watch(device, arguments, &mut live, &receiver);
    drop(live);
    end
}

/// Returns the equivalent options of `knem stat`, for output that is not a terminal.
fn plain(arguments: &TopArgs) -> StatArgs {
    StatArgs {
        interval: Some(arguments.interval),
        count: arguments.count,
        json: arguments.json,
        proc: arguments.proc.clone(),
        ..StatArgs::default()
    }
}

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    End,
    Suspend,
    Nothing,
}

fn watch(device: &Path, arguments: &TopArgs, live: &mut Live, input: &Receiver<Input>) -> Result<(), Failure> {
    let colours = style::wanted();
    let mut names = SystemNames::default();
    let mut state = State::new(arguments.interval, colours);
    let mut left = arguments.count;
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            if left == Some(0) {
                return Ok(());
            }
            left = left.map(|left| left.saturating_sub(1));
            if !state.paused {
                state.take(snapshot(device, &arguments.proc)?, &mut names);
            }
            due = Instant::now() + state.interval;
        }
        live.draw(|frame| screen::draw(frame, &state))?;
        let before = state.interval;
        match input.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Input::Key(key)) => match act(&mut state, key) {
                Action::End => return Ok(()),
                Action::Suspend => live.suspend()?,
                Action::Nothing => {}
            },
            Ok(Input::Resize) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if state.interval != before {
            due = Instant::now() + state.interval;
        }
    }
}

fn snapshot(device: &Path, directory: &Path) -> Result<Snapshot, Error> {
    let contexts = listing::read_contexts(directory)?.unwrap_or_default();
    Ok(Snapshot { sample: Sample::take(device, directory)?, contexts })
}

/// Handles a key.
fn act(state: &mut State, key: KeyEvent) -> Action {
    const SHORTEST: Duration = Duration::from_millis(125);
    const LONGEST: Duration = Duration::from_secs(64);
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => return Action::End,
        KeyCode::Char('z') if control => return Action::Suspend,
        _ if state.help => state.help = false,
        KeyCode::Char('q') | KeyCode::Esc => return Action::End,
        KeyCode::Char('s') => state.sort_by_next(),
        KeyCode::Char('h') => state.recent = !state.recent,
        KeyCode::Char('p' | ' ') => state.paused = !state.paused,
        KeyCode::Char('+' | '=') => state.interval = (state.interval * 2).min(LONGEST.max(state.interval)),
        KeyCode::Char('-') => state.interval = (state.interval / 2).max(SHORTEST.min(state.interval)),
        KeyCode::Char('?') => state.help = true,
        _ => {}
    }
    Action::Nothing
}
