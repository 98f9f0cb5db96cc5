// SPDX-License-Identifier: CECILL-B
//! The command as users meet it, on a machine without the module: sentences and exit statuses.

use std::io::Write;
use std::process::{Command, Output};

const TEXT: &str = "\
knem 2.0.0
 Driver ABI=0xd
 Flags: forcing 0x0, ignoring 0x0
 DMAEngine: NoKernelSupport
 Debug: NotBuilt
 Requests submitted                           : 3
";

fn knem(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_knem")).args(arguments).output().expect("knem runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn written(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file that reads like the device.
fn statistics() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(TEXT.as_bytes()).expect("written");
    file
}

#[test]
fn without_a_device_each_command_says_what_to_install() {
    for command in ["info", "stat", "bench"] {
        let output = knem(&["--device", "/nowhere/knem", command]);
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(said(&output).contains("modprobe knem"), "{}", said(&output));
        assert!(written(&output).is_empty(), "{command}");
    }
}

#[test]
fn something_else_than_knem_is_noticed() {
    let output = knem(&["--device", "/dev/null", "info"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not a KNEM device"), "{}", said(&output));
    let output = knem(&["--device", "/dev/null", "stat"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("not that of a KNEM driver"), "{}", said(&output));
}

#[test]
fn statistics_are_shown() {
    let file = statistics();
    let path = file.path().to_str().expect("a path");
    let output = knem(&["stat", "--device", path]);
    assert_eq!(written(&output), "Requests submitted  3\n");
    let output = knem(&["stat", "--device", path, "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["counters"]["requests_submitted"], 3);
}

#[test]
fn wrong_usage_is_two_and_names_the_option() {
    for (arguments, reason) in [
        (&["bench", "--sizes", "4X"][..], "--sizes"),
        (&["bench", "--sizes", "8K..4K"], "empty"),
        (&["bench", "--sizes", "0"], "is 0"),
        (&["bench", "--iterations", "0"], "--iterations"),
        (&["bench", "--iterations", "many"], "--iterations"),
        (&["frobnicate"], "frobnicate"),
        (&[], "Usage"),
    ] {
        let output = knem(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn packages_can_make_page_and_completions() {
    let page = written(&knem(&["__man"]));
    assert!(page.contains(".TH knem 1"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let output = knem(&["completions", shell]);
        assert!(output.status.success() && written(&output).contains("bench"), "{shell}");
    }
}

#[test]
fn help_is_there_for_everything() {
    for arguments in [&["--help"][..], &["info", "--help"], &["stat", "--help"], &["bench", "--help"]] {
        let output = knem(arguments);
        assert!(output.status.success() && written(&output).contains("--device"), "{arguments:?}");
    }
    assert!(written(&knem(&["--version"])).starts_with("knem "));
}

#[test]
fn a_closed_output_is_no_failure() {
    let file = statistics();
    let path = file.path().to_str().expect("a path");
    let script = format!("{} stat --device {path} 2>&1 >&- ; echo $?", env!("CARGO_BIN_EXE_knem"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    // A descriptor that was closed from the start is an error to tell, unlike a reader that left.
    assert!(!written(&output).contains("panicked"), "{}", written(&output));
}
