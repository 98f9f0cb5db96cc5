// SPDX-License-Identifier: CECILL-B
//! Executes the remedies that `knem doctor` prints, each in the state for which it is printed; as root, in a virtual
//! machine with the packages and the tools to build modules.
//!
//! A state is created, `knem doctor` must find it, its first remedy is run as printed, and the finding must be gone.
//! Steps that a remedy leaves to a person are done here. The table of docs/drills.md lists the states of each remedy; a
//! row without a state that was executed is a failure.

#[path = "../../../../../src-tools/src/bin/knem/doctor/carried_out.rs"]
mod carried_out;
mod states;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode, Output};

use carried_out::{rows, Row};
use states::{State, STATES};

/// A finding may need more than one remedy: removing an obstacle reveals the next one.
const ROUNDS: usize = 3;

/// Variables of all commands: the kernel, the driver's version and the module's file.
const VARIABLES: &str = "K=$(uname -r); V=$(knem --version | sed 's/.* //'); M=/lib/modules/$K/updates/dkms; B=/var/cache/knem/build; P=/sys/module/knem/parameters;";

/// Restores the machine.
const REPAIR: &str = include_str!("repair.sh");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_chosen =
        |state: &&State| words.is_empty() || words.iter().any(|word| word == state.name || word == state.part());
    let chosen: Vec<&State> = STATES.iter().filter(is_chosen).collect();
    let (mut done, mut failed) = (BTreeSet::new(), 0);
    if let Err(why) = shell(include_str!("setup.sh")) {
        println!("Bail out! the machine cannot be set up: {why}");
        return ExitCode::FAILURE;
    }
    for state in &chosen {
        // A state whose remedies were executed is already repaired.
        let result = carry_out(state, &mut done).map_err(|why| match shell(REPAIR) {
            Ok(_) => why,
            Err(repair) => format!("{why}; and the repair: {repair}"),
        });
        match result {
            Ok(()) => println!("ok - {}", state.name),
            Err(why) => {
                failed += 1;
                println!("not ok - {}: {why}", state.name);
            }
        }
    }
    let is_due = |row: &&Row| row.states().iter().any(|name| chosen.iter().any(|state| state.name == *name));
    for row in rows().iter().filter(is_due).filter(|row| !done.contains(&(row.id, row.remedy))) {
        failed += 1;
        println!("not ok - no state has carried out {row:?}");
    }
    println!("1..{}", chosen.len());
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Creates the state and removes it with the remedies that `knem doctor` prints for each of its findings.
fn carry_out(state: &State, done: &mut BTreeSet<(&'static str, &'static str)>) -> Result<(), String> {
    for id in state.findings {
        shell(state.make)?;
        let mut tried = None;
        for round in 1.. {
            let Some(remedy) = remedy(state, id, tried.as_deref())? else {
                if round == 1 {
                    return Err(format!("knem doctor does not find it in {id}"));
                }
                break;
            };
            if round > ROUNDS {
                return Err(format!("{id} is still there, and has the remedy: {remedy}"));
            }
            if let Some(row) = row(id, &remedy, state.name)? {
                done.insert((row.id, row.remedy));
            }
            println!("# {}: {id}: {remedy}", state.name);
            run(state, &remedy)?;
            tried = Some(remedy);
        }
        shell(REPAIR)?;
    }
    Ok(())
}

/// Returns the row of a remedy. In a later round it may be a remedy of another state.
fn row(id: &str, remedy: &str, state: &str) -> Result<Option<Row>, String> {
    let matching: Vec<Row> = rows().into_iter().filter(|row| row.is(id, remedy)).collect();
    if matching.is_empty() {
        return Err(format!("{id} has a remedy without a row in docs/drills.md: {remedy}"));
    }
    Ok(matching.into_iter().find(|row| row.states().contains(&state)))
}

/// Returns the remedy of a finding: this state's, or else the first; none if the finding is OK or absent.
fn remedy(state: &State, id: &str, tried: Option<&str>) -> Result<Option<String>, String> {
    let line = format!("knem doctor --json --check {id}");
    let output = match tried {
        None => session(state, &line)?,
        Some(remedy) if state.in_session => session(state, &format!("{}; {line}", command(remedy)))?,
        // The groups of a batch system's session do not change.
        Some(_) if state.by_hand.is_none() && state.groups.is_some() => session(state, &line)?,
        Some(_) => login(state.user, &line)?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let document: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| format!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let findings = document["findings"].as_array().ok_or("no findings")?;
    let wrong = |finding: &&serde_json::Value| finding["id"] == id && finding["state"] != "ok";
    let Some(finding) = findings.iter().find(wrong) else { return Ok(None) };
    let remedies = || finding["remedies"].as_array().into_iter().flatten().filter_map(|remedy| remedy.as_str());
    let is_ours = |remedy: &&str| rows().iter().any(|row| row.is(id, remedy) && row.states().contains(&state.name));
    match remedies().find(is_ours).or_else(|| remedies().next()) {
        Some(remedy) => Ok(Some(remedy.to_owned())),
        None => Err(format!("{finding} has no remedy")),
    }
}

/// Returns the command in a remedy, without the text for the person around it.
fn command(remedy: &str) -> &str {
    let starts = ["as root: ", "on the host: ", "or: ", "or for one shell: "];
    let command = starts.iter().find_map(|start| remedy.strip_prefix(start)).unwrap_or(remedy);
    let ends = ["; then log in again", "; then run knem doctor again"];
    ends.iter().find_map(|end| command.strip_suffix(end)).unwrap_or(command)
}

/// Runs a remedy as it is printed.
fn run(state: &State, remedy: &str) -> Result<(), String> {
    let command = command(remedy);
    match state.by_hand {
        // The text is done by hand, and the command after it is run.
        Some(hand) => {
            shell(hand)?;
            let words = [", then: ", "; then: "];
            let rest = words.iter().find_map(|word| command.split_once(word)).map(|(_, rest)| rest);
            rest.map_or(Ok(()), |rest| shell(rest).map(|_| ()))
        }
        None if state.in_session => Ok(()),
        None => shell(command).map(|_| ()),
    }
}

/// Runs a shell as the state's user, in a session that has its groups and limits.
fn session(state: &State, line: &str) -> Result<Output, String> {
    let mut command = Command::new("prlimit");
    command.args([&format!("--memlock={}", state.memlock), "setpriv"]);
    command.arg(state.groups.map_or_else(|| "--init-groups".to_owned(), |groups| format!("--groups={groups}")));
    command.args([&format!("--reuid={}", state.user), &format!("--regid={}", state.user), "sh", "-c", line]);
    command.output().map_err(|error| format!("{line}: {error}"))
}

/// Runs a shell in a new login of a user, with the limits and groups that PAM sets.
fn login(user: &str, line: &str) -> Result<Output, String> {
    Command::new("su").args(["-s", "/bin/sh", user, "-c", line]).output().map_err(|error| format!("{line}: {error}"))
}

fn shell(line: &str) -> Result<String, String> {
    let output = Command::new("sh").args(["-ec", &format!("{VARIABLES}\n{line}")]).output();
    let output = output.map_err(|error| format!("{line}: {error}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("`{line}` ended with {}: {text}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_those_of_the_table() {
        let rows = rows();
        let named: BTreeSet<&str> = rows.iter().flat_map(Row::states).collect();
        let made: BTreeSet<&str> = STATES.iter().map(|state| state.name).collect();
        assert_eq!(named, made);
        for state in STATES {
            for id in state.findings {
                let has = rows.iter().any(|row| row.id == *id && row.states().contains(&state.name));
                assert!(has, "no row of {id} names {}", state.name);
            }
        }
    }
}
