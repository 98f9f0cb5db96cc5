// SPDX-License-Identifier: CECILL-B
//! `knem top` on a terminal, which it gives back in whatever way it ends.

mod driver;
mod pty;

use std::process::Command;

use nix::sys::signal::Signal;

use driver::Driver;
use pty::Session;

const KNEM: &str = env!("CARGO_BIN_EXE_knem");
const ALTERNATE_SCREEN: &str = "\u{1b}[?1049h";

fn session(driver: &Driver, arguments: &[&str]) -> Session {
    let session = Session::start(KNEM, &[&["top"], driver.options().as_slice(), arguments].concat(), &[]);
    session.wait_for("requests/s");
    session
}

#[test]
fn keys_end_it() {
    let driver = Driver::new();
    for key in ["q", "\u{3}", "\u{1b}"] {
        let mut session = session(&driver, &[]);
        // The process that the made-up driver names: this one.
        session.wait_for(&std::process::id().to_string());
        session.press("s?");
        session.wait_for("close this");
        session.press(" ");
        session.press(key);
        let (status, output) = session.end();
        assert!(status.success(), "{key:?}: {output:?}");
        assert!(output.contains(ALTERNATE_SCREEN), "{output:?}");
    }
}

#[test]
fn signals_end_it() {
    let driver = Driver::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let session = session(&driver, &["60"]);
        session.signal(signal);
        let (status, output) = session.end();
        assert!(status.success(), "{signal}: {output:?}");
    }
}

#[test]
fn it_ends_after_as_many_looks() {
    let driver = Driver::new();
    let (status, _) = session(&driver, &["0.05", "3"]).end();
    assert!(status.success());
}

#[test]
fn a_driver_that_goes_away_is_told_on_the_usual_screen() {
    let driver = Driver::new();
    let session = session(&driver, &["0.05"]);
    driver.remove();
    let (status, output) = session.end();
    assert_eq!(status.code(), Some(3), "{output:?}");
    let (left, message) = (output.rfind("\u{1b}[?1049l"), output.find("modprobe knem"));
    assert!(message.is_some() && left < message, "{output:?}");
}

#[test]
fn what_happens_is_shown() {
    let driver = Driver::new();
    let mut session = session(&driver, &["0.1"]);
    driver.went_on(60, 7800);
    session.wait_for("130");
    session.press("q");
    assert!(session.end().0.success());
}

#[test]
fn colours_are_left_out_when_asked() {
    let driver = Driver::new();
    let coloured = |environment: &[(&str, &str)]| {
        let arguments = [&["top"], driver.options().as_slice(), &["0.05", "3"]].concat();
        let (status, output) = Session::start(KNEM, &arguments, environment).end();
        assert!(status.success());
        output.contains("\u{1b}[38;5;6") || output.contains("\u{1b}[36")
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
}

#[test]
fn without_a_terminal_it_is_a_plain_stream() {
    let driver = Driver::new();
    let arguments = [&["top"], driver.options().as_slice(), &["0.05", "2"]].concat();
    let output = Command::new(KNEM).args(arguments).output().expect("knem runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success());
    assert!(text.lines().count() == 3 && text.contains("REQ/S") && !text.contains('\u{1b}'), "{text}");
}
