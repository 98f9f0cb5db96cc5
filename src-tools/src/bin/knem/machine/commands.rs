// SPDX-License-Identifier: CECILL-B
//! Other programs and the environment. Programs run without input, in the C locale, and with a time limit.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

/// Time limit of a program.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Maximum size that is read of each output.
const MOST_OUTPUT: u64 = 8 << 20;
/// Directories of administrators' programs, which are not in every user's `PATH`.
const MORE_DIRECTORIES: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// The outcome of running a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It ended.
    Ended {
        /// With status 0.
        success: bool,
        /// Standard output.
        output: String,
        /// Standard error.
        complaint: String,
    },
    /// There is no such program.
    NotThere,
    /// It was killed at the time limit.
    TooLong,
}

/// Runs programs.
pub(crate) trait Commands {
    /// Finds a program.
    fn find(&self, program: &str) -> Option<String>;
    /// Runs a program.
    fn run(&self, program: &str, arguments: &[&str]) -> Ran;
    /// Reads an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The system.
pub(crate) struct System;

impl Commands for System {
    fn find(&self, program: &str) -> Option<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let directories = path.split(':').filter(|directory| directory.starts_with('/'));
        directories
            .chain(MORE_DIRECTORIES.split(':'))
            .map(|directory| format!("{directory}/{program}"))
            .find(is_program)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        match self.find(program) {
            Some(path) => run_for(&path, arguments, TIME_LIMIT),
            None => Ran::NotThere,
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn is_program(path: &String) -> bool {
    Path::new(path).metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Runs a program in a process group of its own, which is killed as a whole at the time limit. What it leaves behind
/// with its output open is not waited for beyond that.
fn run_for(path: &str, arguments: &[&str], limit: Duration) -> Ran {
    let mut command = Command::new(path);
    command.args(arguments).env("LC_ALL", "C").env_remove("LANGUAGE").current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else { return Ran::NotThere };
    let output = reader(child.stdout.take());
    let complaint = reader(child.stderr.take());
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            _ => {
                if let Ok(group) = i32::try_from(child.id()) {
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                let _ = child.wait();
                return Ran::TooLong;
            }
        }
    };
    let rest = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
    match (output.recv_timeout(rest()), complaint.recv_timeout(rest())) {
        (Ok(output), Ok(complaint)) => Ran::Ended { success: status.success(), output, complaint },
        _ => Ran::TooLong,
    }
}

/// Reads a pipe to its end in a thread, so that a full pipe does not block the program.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let mut pipe = pipe.take(MOST_OUTPUT);
            // Output before an error is kept.
            let _ = pipe.read_to_end(&mut bytes);
        }
        // The receiver is gone after the time limit.
        let _ = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_heard() {
        let ran = System.run("sh", &["-c", "echo out; echo err >&2; exit 3"]);
        let (output, complaint) = ("out\n".to_owned(), "err\n".to_owned());
        assert_eq!(ran, Ran::Ended { success: false, output, complaint });
        assert_eq!(System.run("knem-no-such-program", &[]), Ran::NotThere);
    }

    #[test]
    fn nothing_hangs() {
        let begin = Instant::now();
        let sh = System.find("sh").unwrap();
        assert_eq!(run_for(&sh, &["-c", "sleep 60"], Duration::from_millis(50)), Ran::TooLong);
        // A child that keeps the output open after its parent ended.
        assert_eq!(run_for(&sh, &["-c", "sleep 3 & exit 0"], Duration::from_millis(50)), Ran::TooLong);
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn much_output_does_not_stop_a_program() {
        let ran = System.run(
            "sh",
            &["-c", "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i + 1)); done"],
        );
        assert!(matches!(ran, Ran::Ended { success: true, output, .. } if output.len() == 3000 * 41));
    }
}
