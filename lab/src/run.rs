// SPDX-License-Identifier: CECILL-B
//! Running other programs: a progress line, and an error with the command and the end of its output.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{bail, Context, Result};

/// Number of the last lines that an error shows.
const TAIL: usize = 40;

/// Formats the command as it would be typed, without its environment.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for word in command.get_args() {
        let word = word.to_string_lossy();
        let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=+./:,%@~".contains(c));
        // Writing to a String cannot fail.
        let _ = if plain { write!(text, " {word}") } else { write!(text, " '{}'", word.replace('\'', r"'\''")) };
    }
    text
}

/// Prints a progress line on stderr.
pub fn step(text: &str) {
    eprintln!("==> {text}");
}

/// Runs `command` with its output shown as it comes; fails unless it exits with 0.
pub fn run(command: &mut Command) -> Result<()> {
    step(&shorten(&shown(command)));
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    check(command, status, "")
}

/// Runs `command` and returns its standard output; its standard error is only shown on failure.
pub fn output(command: &mut Command) -> Result<String> {
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    let mut said = String::from_utf8_lossy(&out.stderr).into_owned();
    if said.trim().is_empty() {
        said = String::from_utf8_lossy(&out.stdout).into_owned();
    }
    check(command, out.status, &said)?;
    String::from_utf8(out.stdout).with_context(|| format!("`{}` printed what is not UTF-8", shown(command)))
}

/// Runs `command` silently; on failure the last lines of both its outputs are in the error.
pub fn quiet(command: &mut Command) -> Result<()> {
    watched(command, |_| {})
}

/// Runs `command` silently but hands each line of both its outputs to `see`, so that a caller can show the few that
/// matter.
pub fn watched(command: &mut Command, see: impl Fn(&str) + Sync) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        if let Some(pipe) = stdout {
            scope.spawn(|| keep_tail(pipe, &tail, &see));
        }
        if let Some(pipe) = stderr {
            scope.spawn(|| keep_tail(pipe, &tail, &see));
        }
    });
    let status = child.wait()?;
    let said = match tail.lock() {
        Ok(lines) => lines.iter().cloned().collect::<Vec<String>>().join("\n"),
        Err(_) => String::new(),
    };
    check(command, status, &said)
}

/// Reads lines until the end, remembering the last ones.
fn keep_tail(pipe: impl Read, tail: &Mutex<VecDeque<String>>, see: &(impl Fn(&str) + Sync)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        see(&text);
        if let Ok(mut lines) = tail.lock() {
            if lines.len() == TAIL {
                lines.pop_front();
            }
            lines.push_back(text);
        }
    }
}

/// Turns a bad exit into an error that names the command and repeats its last words.
fn check(command: &Command, status: ExitStatus, said: &str) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    if last.trim().is_empty() {
        bail!("`{}`: {status}", shown(command));
    }
    bail!("`{}`: {status}\n{last}", shown(command));
}

/// Cuts a very long command for the progress line; errors show it whole.
fn shorten(text: &str) -> String {
    const MOST: usize = 160;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let head: String = text.chars().take(MOST).collect();
    format!("{head}...")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_blanks_are_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo it's", ""]);
        assert_eq!(shown(&command), r"sh -c 'echo it'\''s' ''");
    }

    #[test]
    fn a_failure_repeats_the_last_words() {
        let error = quiet(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]))
            .expect_err("exit 3 is a failure")
            .to_string();
        assert!(error.contains("exit status: 3") && error.contains("two"), "{error}");
    }

    #[test]
    fn output_is_returned() {
        let text = output(Command::new("echo").arg("hello")).expect("echo works");
        assert_eq!(text, "hello\n");
    }
}
