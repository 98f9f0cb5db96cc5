// SPDX-License-Identifier: CECILL-B
//! `knem doctor` on whatever machine this is: it ends in time, with a status that fits what it says.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_knem")).arg("doctor").args(arguments).output().expect("knem runs")
}

fn json(arguments: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = doctor(&[&["--json"], arguments].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn the_status_fits_the_findings() {
    let begin = Instant::now();
    let (status, value) = json(&[]);
    // Programs that hang are given up after ten seconds, each.
    assert!(begin.elapsed() < Duration::from_secs(120));
    let findings = value["findings"].as_array().expect("a list");
    let problems = findings.iter().filter(|finding| finding["state"] == "problem").count();
    assert_eq!(status, Some(i32::from(problems > 0)), "{value}");
    assert_eq!(value["problems"], problems);
    assert_eq!(value["exit_status"], i32::from(problems > 0));
    assert!(findings.iter().any(|finding| finding["id"] == "device.access"), "{value}");
}

#[test]
fn a_node_that_is_none_is_a_problem() {
    let output = doctor(&["--device", "/nowhere/knem", "--check", "device"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("PROBLEM") && text.contains("/nowhere/knem does not exist"), "{text}");
    assert!(output.stderr.is_empty(), "it is all in the report: {output:?}");
}

#[test]
fn a_check_that_is_none_is_wrong_usage() {
    let output = doctor(&["--check", "device.colour"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--check device.colour") && said.contains("device.node"), "{said}");
}

#[test]
fn one_finding_can_be_asked_for() {
    let (_, value) = json(&["--check", "limits.memlock"]);
    let findings = value["findings"].as_array().expect("a list");
    assert_eq!((findings.len(), &findings[0]["id"]), (1, &"limits.memlock".into()));
}

#[test]
fn there_are_no_colours_in_a_file_unless_forced() {
    let run = |variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_knem"));
        command.args(["doctor", "--check", "limits.memlock"]).env_remove("NO_COLOR").env(variable, "1");
        String::from_utf8_lossy(&command.output().expect("knem runs").stdout).into_owned()
    };
    assert!(!run("NO_COLOR").contains('\u{1b}'));
    assert!(run("CLICOLOR_FORCE").contains('\u{1b}'));
}
