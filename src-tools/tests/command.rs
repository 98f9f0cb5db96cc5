// SPDX-License-Identifier: CECILL-B
//! The command as users meet it, on a machine without the module: sentences and exit statuses.

use std::io::Write;
use std::process::{Command, Output, Stdio};

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
    for command in ["info", "stat", "bench", "selftest"] {
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
    let output = knem(&["stat", "--proc", "/nowhere", "--device", path]);
    assert_eq!(written(&output), "Requests submitted  3\n");
    let output = knem(&["stat", "--proc", "/nowhere", "--device", path, "--json"]);
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
        (&["bench", "--methods", "cma"], "--methods"),
        (&["bench", "--cpus", "0", "--methods", "shm"], "--cpus"),
        (&["bench", "--plot", "plot.gif"], "--plot"),
        (&["frobnicate"], "frobnicate"),
        (&[], "Usage"),
    ] {
        let output = knem(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(reason), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn peers_are_measured_without_a_device() {
    let options = ["bench", "-m", "shm,memcpy", "-s", "1,5000", "-i", "4", "--rounds", "2", "--seed", "1"];
    let output = knem(&options);
    let verified = written(&output).lines().filter(|line| line.ends_with("  verified")).count();
    assert_eq!(verified, 4, "{output:?}");
    let output = knem(&[&options[..], &["--csv"]].concat());
    assert_eq!(written(&output).lines().count(), 5, "{output:?}");
    let output = knem(&[&options[..], &["--json", "--write"]].concat());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&value["version"], &value["environment"]["seed"]), (&2.into(), &1.into()));
    assert!(value["results"].as_array().is_some_and(|results| results.len() == 4));
}

#[test]
fn plots_are_written() {
    let folder = tempfile::tempdir().expect("a directory");
    let [svg, png] = ["plot.svg", "plot.png"].map(|name| folder.path().join(name));
    let (first, second) = (svg.to_str().expect("a path"), png.to_str().expect("a path"));
    let output = knem(&["bench", "-m", "shm", "-s", "4K", "-i", "2", "-p", first, "-p", second]);
    assert!(output.status.success(), "{output:?}");
    assert!(std::fs::read_to_string(svg).is_ok_and(|text| text.contains("<svg") && text.contains("shm")));
    assert!(std::fs::read(png).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG")));
}

#[test]
fn a_plot_is_written_though_nobody_reads_the_table() {
    let folder = tempfile::tempdir().expect("a directory");
    let plot = folder.path().join("plot.svg");
    let mut process = Command::new(env!("CARGO_BIN_EXE_knem"))
        .args(["bench", "-m", "memcpy", "-s", "4K", "-i", "1", "--plot", plot.to_str().expect("a path")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("knem runs");
    drop(process.stdout.take());
    assert!(process.wait().expect("it ends").success());
    assert!(plot.exists());
}

#[test]
fn sizes_without_room_are_refused_at_once() {
    let output = knem(&["bench", "-m", "memcpy", "-s", "4K,1000000G", "--cpus", "0,0"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let sentence = said(&output);
    assert!(sentence.contains("--sizes") && sentence.contains("up to 4 KiB"), "{sentence}");
}

#[test]
fn the_second_process_ends_with_the_first() {
    // A name of its own, to be found by.
    let folder = tempfile::tempdir().expect("a directory");
    let node = folder.path().join("node").display().to_string();
    let options = ["--device", &node, "bench", "-m", "shm", "-s", "64M", "-i", "100000"];
    let mut first = Command::new(env!("CARGO_BIN_EXE_knem")).args(options).spawn().expect("knem runs");
    let processes = || {
        let entries = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
        let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let ours = |line: &Vec<u8>| line.windows(node.len()).any(|window| window == node.as_bytes());
        entries.map(line).filter(ours).count()
    };
    let wait_for = |count: usize| {
        let start = std::time::Instant::now();
        while processes() != count {
            assert!(start.elapsed().as_secs() < 60, "{} processes, not {count}", processes());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    wait_for(2);
    first.kill().expect("killed");
    first.wait().expect("ended");
    wait_for(0);
}

#[test]
fn packages_can_make_page_and_completions() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = knem(&["__man", directory.path().to_str().expect("a path")]);
    assert!(output.status.success(), "{}", said(&output));
    let page = std::fs::read_to_string(directory.path().join("knem.1")).expect("a page");
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
fn output_that_takes_nothing_is_no_panic() {
    for line in [
        "info --device /nowhere 2>/dev/full",
        "--help >/dev/full",
        "completions bash >/dev/full",
        "top --proc /nowhere 2>/dev/full",
    ] {
        let script = format!("{} {line}; test $? -lt 100", env!("CARGO_BIN_EXE_knem"));
        let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
        assert!(output.status.success(), "{line}: {}", said(&output));
    }
}

#[test]
fn a_closed_output_is_no_failure() {
    let file = statistics();
    let path = file.path().to_str().expect("a path");
    let script = format!("{} stat --device {path} 2>&1 >&- ; echo $?", env!("CARGO_BIN_EXE_knem"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh runs");
    // A descriptor that was closed from the start is reported as an error, unlike a reader that left.
    assert!(!written(&output).contains("panicked"), "{}", written(&output));
}
