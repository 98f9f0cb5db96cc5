// SPDX-License-Identifier: CECILL-B
//! The result of a run: the report of its program, and what the driver counted meanwhile.

use anyhow::{bail, Context, Result};
use knem_lab::vm::Outcome;

use crate::case::{Case, User};
use crate::counters::Counters;

/// Separates a program's output from the counters before and after.
const MARK: &str = "---- knem-clients ----";

/// The results of a run.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Messages that were compared.
    pub messages: u64,
    /// Bytes that were compared.
    pub bytes: u64,
    /// What the driver counted.
    pub counted: Counters,
}

/// Returns the command that runs a case in the machine, with the counters around it.
pub fn command(case: &Case) -> Vec<String> {
    let read = "cat /proc/driver/knem/statistics";
    let line = format!("{read}; echo '{MARK}'; ({}); status=$?; echo '{MARK}'; {read}; exit $status", case.command());
    ["sh", "-c", &line].map(str::to_owned).into()
}

/// Checks a run.
///
/// # Errors
/// If the client failed, or did not use the driver as required.
pub fn judge(case: &Case, outcome: &Outcome) -> Result<Shown> {
    let text = String::from_utf8_lossy(&outcome.stdout);
    let complaints = String::from_utf8_lossy(&outcome.stderr);
    let parts: Vec<&str> = text.split(MARK).collect();
    let [before, said, after] = parts.as_slice() else {
        bail!("the machine printed no counters:\n{text}{complaints}");
    };
    let counted = Counters::parse(after)?.since(Counters::parse(before)?);
    let all = format!("{said}\n{complaints}");
    if case.must_fail {
        if outcome.status == 0 || !all.contains("wrong data at byte") {
            bail!("a changed byte was not found (status {}):\n{all}", outcome.status);
        }
        return Ok(Shown { messages: 0, bytes: 0, counted });
    }
    if outcome.status != 0 {
        bail!("it ended with status {}:\n{all}", outcome.status);
    }
    let (messages, bytes) = if case.client.reports() { verified(said)? } else { (0, 0) };
    if case.client == crate::case::Client::NetPipe && !all.contains("Integrity check passed") {
        bail!("NetPIPE reports no integrity:\n{all}");
    }
    match case.over_knem {
        true if counted.bytes == 0 => bail!("the driver counted no request:\n{all}"),
        false if counted.submitted > 0 => bail!("the driver counted {} requests", counted.submitted),
        _ => {}
    }
    if counted.failed > 0 {
        bail!("{} requests failed", counted.failed);
    }
    if counted.pinned > 0 {
        bail!("{} bytes stay pinned after its end", counted.pinned);
    }
    if case.user == User::Stranger && all.to_lowercase().contains("knem permission") {
        bail!("a user who may not open the device gets a message:\n{all}");
    }
    Ok(Shown { messages, bytes, counted })
}

/// Parses the numbers of "verified MESSAGES messages, BYTES bytes".
fn verified(said: &str) -> Result<(u64, u64)> {
    // A launcher may print a prefix.
    let line = said.lines().find_map(|line| line.split_once("verified ")).map(|(_, rest)| rest);
    let line = line.with_context(|| format!("the program does not report what it verified:\n{said}"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [messages, "messages,", bytes, "bytes"] = words.as_slice() else {
        bail!("the program reports `{line}`");
    };
    let (messages, bytes) = (messages.parse()?, bytes.parse()?);
    if messages == 0 || bytes == 0 {
        bail!("the program verified nothing");
    }
    Ok((messages, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix;

    fn outcome(status: i32, said: &str, requests: u64) -> Outcome {
        let statistics = |count: u64| format!("version 1\nsubmitted {count}\npath mapped bytes {count}\n");
        let stdout = format!("{}{MARK}\n{said}\n{MARK}\n{}", statistics(5), statistics(5 + requests));
        Outcome { status, stdout: stdout.into_bytes(), stderr: Vec::new() }
    }

    fn first(over_knem: bool) -> Case {
        Case { over_knem, ..matrix::short()[0].clone() }
    }

    #[test]
    fn a_good_run_is_counted() {
        let shown = judge(&first(true), &outcome(0, "verified 3 messages, 99 bytes", 7)).expect("good");
        assert_eq!((shown.messages, shown.bytes, shown.counted.submitted), (3, 99, 7));
    }

    #[test]
    fn what_is_not_shown_is_a_failure() {
        let good = "verified 3 messages, 99 bytes";
        assert!(judge(&first(true), &outcome(1, good, 7)).is_err(), "status");
        assert!(judge(&first(true), &outcome(0, good, 0)).is_err(), "no request");
        assert!(judge(&first(false), &outcome(0, good, 1)).is_err(), "a request");
        assert!(judge(&first(true), &outcome(0, "", 7)).is_err(), "nothing verified");
        assert!(judge(&first(true), &outcome(0, "verified 0 messages, 0 bytes", 7)).is_err(), "nothing compared");
        let spoiled = Case { must_fail: true, ..first(true) };
        assert!(judge(&spoiled, &outcome(0, good, 7)).is_err(), "a changed byte is not found");
        assert!(judge(&spoiled, &outcome(1, "spoiled: wrong data at byte 8 of 9", 7)).is_ok());
    }
}
