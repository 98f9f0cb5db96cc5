// SPDX-License-Identifier: CECILL-B
//! The screen at several sizes, with made-up numbers, and what keys do.

mod picture;
// What the tests of the command use as well, and more of it.
#[allow(dead_code)]
#[path = "../../../../tests/pty/mod.rs"]
mod pty;

use std::time::{Duration, Instant};

use knem::listing::parse_contexts;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;

use super::state::{Snapshot, Sort, State};
use super::{act, screen, Action};
use crate::processes::tests::Fake;
use crate::stat::tests::sample;

/// Heights.
const WAVE: [u64; 37] =
    [4, 5, 5, 6, 7, 8, 8, 9, 9, 9, 8, 8, 7, 7, 6, 4, 2, 1, 1, 2, 3, 5, 6, 6, 7, 7, 8, 9, 9, 8, 6, 5, 4, 4, 3, 3, 4];

/// Statistics of a busy second, with a history that rises and falls.
fn profile(second: u64) -> String {
    let wave = |n: u64| {
        (0..=second).map(|s| n * (WAVE[(s % 37) as usize] + WAVE[(s * 7 % 37) as usize] / 3) / 12).sum::<u64>()
    };
    let (mapped, thread) = (wave(2400), wave(350));
    format!(
        "version 1\nage_ns {}\npinned_bytes 268435456\npinned_bytes_peak 1288490188\ncontexts 9\nregions 72\n\
         submitted {}\nprocessed {}\nfailed_user_copy {}\n\
         path mapped bytes {}\npath mapped failed {}\npath mapped size 4096 {}\npath mapped size 16384 {}\n\
         path mapped size 65536 {}\npath mapped size 262144 {}\npath mapped size 1048576 {}\n\
         path mapped time_ns 1024 {}\npath mapped time_ns 4096 {}\npath mapped time_ns 16384 {}\n\
         path mapped time_ns 131072 {}\npath thread bytes {}\npath thread size 4194304 {}\n\
         path thread time_ns 524288 {}\nrefused CREATE_REGION ENOMEM {}\nreason pin_limit {}\n",
        (7384 + second) * 1_000_000_000,
        mapped + thread,
        mapped + thread,
        second / 10,
        mapped << 20,
        second / 10,
        mapped / 8,
        mapped / 4,
        mapped / 3,
        mapped / 9,
        mapped / 12,
        mapped / 6,
        mapped / 2,
        mapped / 3,
        mapped / 20,
        thread << 22,
        thread,
        thread,
        2 * second,
        2 * second,
    )
}

fn contexts(second: u64) -> String {
    let row = |n: u64| {
        let uid = if n < 8 { 1000 } else { 0 };
        let pid = [4710, 4711, 4712, 4713, 4714, 4715, 4716, 4717, 0][n as usize];
        format!(
            "{n} {uid} {pid} {} {} {} {} 4096\n",
            n + 4,
            (n + 1) << 24,
            second * (240 - n * 15),
            (second * (310 - 17 * n)) << 20
        )
    };
    (0..9).map(row).collect()
}

/// The state after so many seconds.
fn state(seconds: u64) -> State {
    let start = Instant::now();
    let mut state = State::new(Duration::from_secs(1), true);
    for second in 0..=seconds {
        let taken = start + Duration::from_secs(second);
        let snapshot = Snapshot {
            sample: sample(None, Some(&profile(second)), taken),
            contexts: parse_contexts(&contexts(second)).unwrap(),
        };
        state.take(snapshot, &mut Fake);
    }
    state
}

fn drawn(state: &State, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, state)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(state: &State, width: u16, height: u16) -> String {
    let buffer = drawn(state, width, height);
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned() + "\n"
    };
    buffer.content().chunks(usize::from(width)).map(line).collect()
}

#[test]
fn a_usual_terminal() {
    insta::assert_snapshot!(text(&state(90), 80, 24));
}

#[test]
fn a_large_terminal() {
    insta::assert_snapshot!(text(&state(150), 120, 40));
}

#[test]
fn a_tiny_terminal() {
    insta::assert_snapshot!(text(&state(30), 40, 10));
}

#[test]
fn no_size_is_too_small() {
    let mut state = state(3);
    for help in [false, true] {
        state.help = help;
        for (width, height) in [(1, 1), (3, 2), (12, 5), (20, 24), (200, 3), (39, 22), (300, 100)] {
            drawn(&state, width, height);
        }
    }
}

#[test]
fn the_first_snapshot_has_no_rates() {
    insta::assert_snapshot!(text(&state(0), 80, 24));
    insta::assert_snapshot!("before_the_first_snapshot", text(&State::new(Duration::from_secs(1), false), 80, 24));
}

#[test]
fn keys_are_explained() {
    let mut state = state(20);
    state.help = true;
    state.paused = true;
    state.recent = true;
    insta::assert_snapshot!(text(&state, 80, 24));
}

#[test]
fn without_colours_there_are_none() {
    let mut state = state(20);
    let coloured = |state: &State| {
        let buffer = drawn(state, 80, 24);
        buffer.content().iter().any(|cell| cell.fg != ratatui::style::Color::Reset)
    };
    assert!(coloured(&state));
    state.colours = false;
    assert!(!coloured(&state));
}

#[test]
fn restarted_counters_are_no_rate() {
    let mut state = state(20);
    let snapshot = Snapshot { sample: sample(None, Some(&profile(2)), Instant::now()), contexts: Vec::new() };
    state.take(snapshot, &mut Fake);
    assert_eq!(state.requests.now, None);
    assert!(state.last.is_none() && state.rows.is_empty());
    assert!(text(&state, 80, 24).contains("No contexts."));
}

fn press(state: &mut State, code: KeyCode) -> Action {
    act(state, KeyEvent::new(code, KeyModifiers::NONE))
}

#[test]
fn keys_do_what_the_help_says() {
    let mut state = state(2);
    for sort in [Sort::Requests, Sort::Pinned, Sort::Regions, Sort::Process, Sort::Bytes] {
        assert_eq!(press(&mut state, KeyCode::Char('s')), Action::Nothing);
        assert_eq!(state.sort, sort);
    }
    press(&mut state, KeyCode::Char('p'));
    assert!(state.paused);
    press(&mut state, KeyCode::Char('h'));
    assert!(state.recent);
    press(&mut state, KeyCode::Char('+'));
    assert_eq!(state.interval, Duration::from_secs(2));
    for _ in 0..9 {
        press(&mut state, KeyCode::Char('-'));
    }
    assert_eq!(state.interval, Duration::from_millis(125));
    press(&mut state, KeyCode::Char('?'));
    assert!(state.help);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Nothing);
    assert!(!state.help);
    assert_eq!(press(&mut state, KeyCode::Char('q')), Action::End);
    assert_eq!(press(&mut state, KeyCode::Esc), Action::End);
    let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
    assert_eq!(act(&mut state, control('c')), Action::End);
    assert_eq!(act(&mut state, control('z')), Action::Suspend);
}

#[test]
fn the_busiest_come_first() {
    let mut state = state(5);
    let first = |state: &State| state.rows[0].context.context;
    assert_eq!(first(&state), 0);
    state.sort_by_next();
    state.sort_by_next();
    assert_eq!(first(&state), 8, "by pinned memory");
}

#[test]
fn the_picture_in_the_documentation_is_this_screen() {
    picture::check("docs/images/top.svg", &drawn(&state(150), 120, 30));
}

#[test]
#[ignore = "is started by the test below, on a terminal"]
fn panics_on_its_screen() {
    let (sender, _receiver) = std::sync::mpsc::channel();
    let mut live = super::terminal::Live::enter(sender).unwrap();
    live.draw(|frame| screen::draw(frame, &state(1))).unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_speaks() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "top::tests::panics_on_its_screen", "--ignored", "--nocapture"];
    let (status, output) = pty::Session::start(program.to_str().unwrap(), &arguments, &[]).end();
    assert!(!status.success());
    let (taken, given) = (output.find("\u{1b}[?1049h"), output.find("\u{1b}[?1049l"));
    let spoke = output.find("on purpose");
    assert!(taken.is_some() && taken < given && given < spoke, "{output:?}");
}
