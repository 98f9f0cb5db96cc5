// SPDX-License-Identifier: CECILL-B
//! A terminal for a command under test: types, reads, and looks whether the terminal is as it was.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{openpty, Winsize};
use nix::sys::signal::{kill, Signal};
use nix::sys::termios::{tcgetattr, Termios};
use nix::unistd::Pid;

/// Longer than any of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command on a terminal of its own.
pub(crate) struct Session {
    keyboard: File,
    terminal: OwnedFd,
    before: Termios,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Session {
    /// Starts a program on a terminal of 80 columns and 24 lines.
    pub(crate) fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let before = tcgetattr(&pty.slave).expect("its settings");
        let other = || pty.slave.try_clone().expect("a descriptor");
        // Makes it the terminal of the program's session.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(arguments).stdin(other()).stdout(other()).stderr(other());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm").envs(environment.iter().copied());
        let child = command.spawn().expect("setsid runs");
        let keyboard = File::from(pty.master);
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, written) = (keyboard.try_clone().expect("a descriptor"), output.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                written.lock().expect("no panic").extend_from_slice(&bytes[..count]);
            }
        });
        Self { keyboard, terminal: pty.slave, before, child, output }
    }

    /// What was written so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no panic")).into_owned()
    }

    /// Waits for a text.
    pub(crate) fn wait_for(&self, text: &str) {
        let start = Instant::now();
        while !self.output().contains(text) {
            let end =
                || self.output().chars().rev().take(2000).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            assert!(start.elapsed() < PATIENCE, "{text:?} is not in what ends so: {:?}", end());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("keys");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a process")), signal).expect("it is there");
    }

    /// Waits for the end, and checks that the terminal is as it was: settings, screen and cursor.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => {
                    let _ = self.child.kill();
                    panic!("it does not end: {:?}", self.output());
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        // What it wrote last.
        thread::sleep(Duration::from_millis(50));
        let after = tcgetattr(&self.terminal).expect("its settings");
        assert_eq!(after.local_flags, self.before.local_flags, "modes of the terminal");
        assert_eq!(after.input_flags, self.before.input_flags, "modes of the terminal");
        assert_eq!(after.output_flags, self.before.output_flags, "modes of the terminal");
        let output = self.output();
        let (taken, given) = (output.rfind("\u{1b}[?1049h"), output.rfind("\u{1b}[?1049l"));
        assert!(taken <= given, "the screen is given back: {output:?}");
        let (hidden, shown) = (output.rfind("\u{1b}[?25l"), output.rfind("\u{1b}[?25h"));
        assert!(hidden <= shown, "the cursor is seen again: {output:?}");
        (status, output)
    }
}
