// SPDX-License-Identifier: CECILL-B
//! `knem stat` and `knem regions` as users and scripts meet them, with files that read like a driver's.

mod driver;
mod pty;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use driver::Driver;
use pty::Session;

const KNEM: &str = env!("CARGO_BIN_EXE_knem");

fn arguments<'a>(driver: &'a Driver, command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[command], driver.options().as_slice(), more].concat()
}

fn knem(driver: &Driver, command: &str, more: &[&str]) -> Output {
    Command::new(KNEM).args(arguments(driver, command, more)).output().expect("knem runs")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn start(driver: &Driver, more: &[&str]) -> Child {
    let mut command = Command::new(KNEM);
    command.args(arguments(driver, "stat", more)).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("knem runs")
}

#[test]
fn a_report_by_itself() {
    let driver = Driver::new();
    let all = text(&knem(&driver, "stat", &[]));
    assert!(all.contains("Counting for          1m 0s") && all.contains("Requests submitted"), "{all}");
    let all = text(&knem(&driver, "stat", &["-H"]));
    assert!(all.lines().any(|line| line == "requests_submitted\t120"), "{all}");
    let all = text(&knem(&driver, "stat", &["--refused"]));
    assert!(all.contains("INLINE_COPY EINVAL: once") && all.contains("Remedy:"), "{all}");
    let all = text(&knem(&driver, "stat", &["--prometheus"]));
    assert!(all.contains("\nknem_copied_bytes_total{path=\"mapped\"} 491520\n"), "{all}");
    assert!(text(&knem(&driver, "stat", &["--paths", "--sizes", "-l"])).contains("4.00K"));
}

#[test]
fn as_many_reports_as_asked() {
    let driver = Driver::new();
    let lines = |more: &[&str]| text(&knem(&driver, "stat", more)).lines().count();
    assert_eq!(lines(&["0.02", "3"]), 4, "heads and three");
    assert_eq!(lines(&["-H", "0.02", "3"]), 3);
    assert_eq!(lines(&["-Hy", "0.02", "2"]), 2);
    assert_eq!(lines(&["-j", "0.02", "2"]), 2);
    let all = text(&knem(&driver, "stat", &["-Hpy", "0.02", "1"]));
    // Nothing happened, and no time passed for this driver: there is no rate.
    assert_eq!(all, "-\t-\t-\t-\t-\t-\t4096\t1\t1\n");
}

#[test]
fn what_happened_since_the_last_report() {
    let driver = Driver::new();
    let mut child = start(&driver, &["-j", "0.1"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON") };
    assert_eq!(next()["since"], "load");
    driver.went_on(1, 30);
    let changed = std::iter::repeat_with(&mut next).find(|report| report["counters"]["requests_submitted"] != 0);
    let changed = changed.expect("a report");
    assert_eq!(changed["counters"]["requests_submitted"], 30);
    assert_eq!(changed["requests_per_second"], 30);
    assert_eq!((changed["restarted"].as_bool(), changed["since"].as_str()), (Some(false), Some("previous_report")));
    driver.count("version 1\nage_ns 1000\nsubmitted 2\n");
    let restarted = std::iter::repeat_with(&mut next).find(|report| report["restarted"] == true).expect("a report");
    assert_eq!(
        (restarted["since"].as_str(), restarted["counters"]["requests_submitted"].as_u64()),
        (Some("load"), Some(2))
    );
    kill(Pid::from_raw(child.id().try_into().expect("a process")), Signal::SIGINT).expect("a process");
    assert!(child.wait().expect("a child").success());
}

#[test]
fn an_interrupt_is_a_good_end() {
    let driver = Driver::new();
    let arguments = arguments(&driver, "stat", &["30"]);
    let mut session = Session::start(KNEM, &arguments, &[]);
    session.wait_for("REQ/S");
    session.press("\u{3}");
    let (status, output) = session.end();
    assert!(status.success(), "{output:?}");
    let session = Session::start(KNEM, &arguments, &[]);
    session.wait_for("REQ/S");
    session.signal(Signal::SIGTERM);
    assert!(session.end().0.success());
}

#[test]
fn heads_come_again_on_every_screen() {
    let driver = Driver::new();
    let heads = |more: &[&str]| {
        let more = [&["0.01", "60"], more].concat();
        let (status, output) = Session::start(KNEM, &arguments(&driver, "stat", &more), &[]).end();
        assert!(status.success());
        output.matches("REQ/S").count()
    };
    assert_eq!((heads(&[]), heads(&["-n"])), (3, 1));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let driver = Driver::new();
    let mut child = start(&driver, &["0.01"]);
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(child.wait().expect("a child").success());
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(said, "");
}

#[test]
fn a_driver_that_goes_away_ends_it() {
    let driver = Driver::new();
    let mut child = start(&driver, &["0.05"]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()));
    driver.remove();
    assert_eq!(child.wait().expect("a child").code(), Some(3));
}

#[test]
fn a_driver_without_finer_statistics_is_told() {
    let driver = Driver::new();
    let device = driver.options()[1];
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--device", device, "--proc", "/nowhere"]].concat();
        Command::new(KNEM).args(arguments).output().expect("knem runs")
    };
    assert_eq!(text(&run(&["stat"])), "Requests submitted  3\n");
    assert!(text(&run(&["stat", "0.02", "2"])).ends_with("-        -\n"));
    for arguments in [&["stat", "--sizes"][..], &["stat", "--refused", "1"], &["regions"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("/proc/driver/knem") && said.contains("knem2-dkms"), "{said}");
    }
    // It does without the screen.
    let output = run(&["top", "0.02", "1"]);
    assert!(text(&output).contains("REQ/S") && !output.stderr.is_empty(), "{output:?}");
}

#[test]
fn without_a_driver_there_are_no_regions() {
    let output = Command::new(KNEM).args(["regions", "--device", "/nowhere/knem", "--proc", "/nowhere"]).output();
    assert_eq!(output.expect("knem runs").status.code(), Some(3));
}

#[test]
fn regions_are_listed() {
    let driver = Driver::new();
    let pid = std::process::id().to_string();
    assert!(text(&knem(&driver, "regions", &[])).contains(&pid));
    let row = text(&knem(&driver, "regions", &["-Hp", "--pid", &pid, "--user", "root"]));
    assert!(row.starts_with(&format!("0\t{pid}\t")) && row.ends_with("\troot\t0\t4096\t1\tr-\t-\n"), "{row}");
    assert_eq!(text(&knem(&driver, "regions", &["-H", "--user", "4711"])), "");
    let all: serde_json::Value = serde_json::from_str(&text(&knem(&driver, "regions", &["-j"]))).expect("JSON");
    assert_eq!(
        (all["schema"].as_str(), all["contexts"][0]["pinned_bytes"].as_u64()),
        (Some("knem-regions"), Some(4096))
    );
}

#[test]
fn wrong_usage_names_the_option() {
    let driver = Driver::new();
    for (command, more, reason) in [
        ("stat", &["0"][..], "seconds"),
        ("stat", &["soon"], "seconds"),
        ("stat", &["1", "0"], "COUNT"),
        ("stat", &["-y"], "INTERVAL"),
        ("stat", &["--clear", "1"], "--clear"),
        ("stat", &["--prometheus", "-j"], "--prometheus"),
        ("top", &["-1"], "-1"),
        ("regions", &["--user", "no-such-user"], "--user"),
        ("regions", &["--pid", "0"], "--pid"),
    ] {
        let output = knem(&driver, command, more);
        assert_eq!(output.status.code(), Some(2), "{command} {more:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(reason), "{command} {more:?}: {said}");
    }
}
