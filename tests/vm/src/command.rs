// SPDX-License-Identifier: CECILL-B
//! The installed command `knem`, and which users may use it on a machine with the packages.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::{Command, Output};

use knem_core::uapi::DEVICE_FILENAME;
use nix::unistd::Group;

use crate::device::{Knem, READ};
use crate::memory::Mapping;
use knem_conformance::parameters::with_parameter;

crate::trials![
    "R51 W30" node_belongs_to_the_group,
    "" info_shows_the_driver,
    "" benchmark_verifies_every_size,
    "" benchmark_compares_every_method,
    "" benchmark_draws,
    "R58" selftest_passes,
    "" member_of_the_group_may_copy,
    "" the_group_is_named_to_a_stranger,
    "" limit_of_locked_memory_is_explained,
    "" clearing_is_for_the_administrator,
    "" statistics_count_requests_and_refusals,
    "" reports_come_one_after_the_other,
    "" open_files_are_listed_with_their_process,
    "" bad_sizes_are_refused,
    "" info_prints_parameters_and_limits,
    "" doctor_has_no_complaint_about_a_member,
    "" doctor_names_the_group_to_a_stranger,
    "" doctor_reports_a_small_limit,
];

/// A user id without an account.
const OUTSIDER: u32 = 64_000;

fn rdma() -> u32 {
    let group = Group::from_name("rdma").expect("the groups can be read");
    group.expect("the package has made the group").gid.as_raw()
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn knem(arguments: &[&str]) -> Output {
    run(Command::new("knem").args(arguments))
}

/// Runs it as an unprivileged user, in one group, with a limit of locked memory in bytes.
fn knem_of_user(group: u32, memlock: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("prlimit");
    command.args([&format!("--memlock={memlock}:{memlock}"), "setpriv", "--clear-groups"]);
    command.args([format!("--reuid={OUTSIDER}"), format!("--regid={group}")]).arg("knem").args(arguments);
    run(&mut command)
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Checks the exit status of a failure and returns the message.
fn failure(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn node_belongs_to_the_group() {
    let node = std::fs::metadata(DEVICE_FILENAME).expect("the node is there");
    assert!(node.file_type().is_char_device());
    assert_eq!((node.mode() & 0o7777, node.uid(), node.gid()), (0o660, 0, rdma()));
}

fn info_shows_the_driver() {
    let text = out(&knem(&["info"]));
    assert!(text.contains("0xd") && text.contains("root:rdma"), "{text}");
    assert!(out(&knem(&["info", "--json"])).contains("\"knem-info\""));
}

fn benchmark_verifies_every_size() {
    for direction in [None, Some("--write")] {
        let method = if direction.is_some() { "knem-write" } else { "knem-cached" };
        let options = ["bench", "--methods", method, "--sizes", "1,4095,64K..256K"];
        let arguments: Vec<&str> = options.into_iter().chain(direction).collect();
        let text = out(&knem(&arguments));
        let verified = text.lines().filter(|line| line.ends_with("  verified")).count();
        assert_eq!(verified, 5, "{text}");
    }
    let text = out(&knem(&["bench", "-m", "knem-cached", "--sizes", "4K", "--no-verify", "--no-region-cost"]));
    assert!(text.trim_end().ends_with("not verified"), "{text}");
}

/// All of them except XPMEM, whose module is not available; the JSON output has the same numbers as the table.
fn benchmark_compares_every_method() {
    for direction in [None, Some("--write")] {
        let options = ["bench", "--sizes", "1,100000", "--iterations", "4", "--rounds", "2", "--seed", "3"];
        let arguments: Vec<&str> = options.into_iter().chain(direction).collect();
        let text = out(&knem(&arguments));
        let methods = if direction.is_some() { 8 } else { 10 };
        let verified = text.lines().filter(|line| line.ends_with("  verified")).count();
        assert_eq!(verified, 2 * methods, "{text}");
        assert!(text.contains("Not measured: xpmem") && text.contains("Cost of a region"), "{text}");
    }
    let json = out(&knem(&["bench", "-m", "knem", "--sizes", "4K", "--iterations", "2", "--cold", "--json"]));
    for part in ["\"knem-bench\"", "\"version\": 2", "\"knem-async\"", "\"of_memcpy_permille\": null"] {
        assert!(json.contains(part), "{part}: {json}");
    }
    assert!(!json.contains("\"verified\": false"), "{json}");
}

fn benchmark_draws() {
    let files = ["/tmp/knem-bench.svg", "/tmp/knem-bench.png"];
    let plots = ["--plot", files[0], "--plot", files[1]];
    let options = ["bench", "-m", "knem-cached,shm", "--sizes", "4K,64K", "--iterations", "2"];
    out(&knem(&[&options[..], &plots].concat()));
    assert!(std::fs::read_to_string(files[0]).is_ok_and(|text| text.contains("<svg") && text.contains("knem-cached")));
    assert!(std::fs::read(files[1]).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG")));
    for file in files {
        std::fs::remove_file(file).expect("it was written");
    }
}

/// As root nothing is skipped. Also as a member of the group, which cannot become another user.
fn selftest_passes() {
    let text = out(&knem(&["selftest"]));
    assert!(text.contains(" 0 skipped, 0 failed"), "{text}");
    let text = out(&knem_of_user(rdma(), "unlimited", &["selftest"]));
    assert!(text.contains(" 1 skipped, 0 failed"), "{text}");
    let text = out(&knem_of_user(rdma(), "unlimited", &["selftest", "--json"]));
    assert!(text.contains("\"knem-selftest\"") && text.contains("\"failed\": 0"), "{text}");
    failure(&knem_of_user(OUTSIDER, "unlimited", &["selftest"]), 4);
}

fn member_of_the_group_may_copy() {
    let options = ["bench", "-m", "knem-cached", "--sizes", "16M", "--iterations", "1", "--no-region-cost"];
    let text = out(&knem_of_user(rdma(), "unlimited", &options));
    assert!(text.trim_end().ends_with("  verified"), "{text}");
}

fn the_group_is_named_to_a_stranger() {
    let said = failure(&knem_of_user(OUTSIDER, "unlimited", &["info"]), 4);
    assert!(said.contains("rdma") && said.contains("usermod"), "{said}");
}

/// The limit slows a benchmark down, and stops it only if the site configures that.
fn limit_of_locked_memory_is_explained() {
    let options = ["bench", "-m", "knem-cached", "--sizes", "1M", "--iterations", "2"];
    let text = out(&knem_of_user(rdma(), "65536", &options));
    assert!(text.contains("  verified"), "{text}");
    let said = with_parameter("unpinned", "0", || failure(&knem_of_user(rdma(), "65536", &options), 1));
    assert!(said.contains("65536") && said.contains("ulimit -l"), "{said}");
}

fn clearing_is_for_the_administrator() {
    out(&knem(&["bench", "-m", "knem-cached", "--sizes", "4K", "--iterations", "1"]));
    let said = failure(&knem_of_user(rdma(), "unlimited", &["stat", "--clear"]), 4);
    assert!(said.contains("root"), "{said}");
    out(&knem(&["stat", "--clear"]));
    let text = out(&knem(&["stat", "-H"]));
    assert!(text.starts_with("requests_submitted\t0\n"), "{text}");
}

fn statistics_count_requests_and_refusals() {
    out(&knem(&["stat", "--clear"]));
    out(&knem(&["bench", "-m", "knem-cached", "--sizes", "64K", "--iterations", "3"]));
    with_parameter("unpinned", "0", || failure(&knem_of_user(rdma(), "65536", &["bench", "--sizes", "1M"]), 1));
    // A user that may not open the device may read them nevertheless.
    let text =
        out(&knem_of_user(OUTSIDER, "unlimited", &["stat", "-H", "--sizes", "--latency", "--paths", "--refused"]));
    for line in [
        "path\tmapped\t",
        "size\t64.0K\t",
        "time\t",
        "refused\tcall\tCREATE_REGION\tENOMEM\t",
        "refused\treason\tpin_limit\t",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}: {text}");
    }
    let text = out(&knem(&["stat", "--refused"]));
    assert!(text.contains("ulimit -l"), "{text}");
    let text = out(&knem(&["stat", "--prometheus"]));
    assert!(text.contains("\nknem_copied_bytes_total{path=\"mapped\"} "), "{text}");
}

fn reports_come_one_after_the_other() {
    let text = out(&knem(&["stat", "0.2", "3"]));
    assert_eq!(text.lines().count(), 4, "{text}");
    // The output is the same without a terminal.
    assert_eq!(out(&knem(&["top", "0.2", "3"])).lines().count(), 4);
    let text = out(&knem(&["stat", "-jy", "0.2", "2"]));
    assert_eq!(text.lines().filter(|line| line.starts_with("{\"schema\":\"knem-stat\"")).count(), 2, "{text}");
}

fn open_files_are_listed_with_their_process() {
    let (device, memory) = (Knem::open(), Mapping::new(8192));
    device.create(&[memory.segment()], READ, 0).expect("a region");
    let pid = std::process::id().to_string();
    let text = out(&knem(&["regions", "-Hp", "--pid", &pid]));
    let row = text.lines().find(|row| row.contains("\t8192\t")).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains(&format!("\t{pid}\tknem-vm-tests\troot\t")) && row.ends_with("\tr-\t-"), "{row}");
    // Other users do not see them.
    assert_eq!(out(&knem_of_user(OUTSIDER, "unlimited", &["regions", "-H", "--pid", &pid])), "");
}

fn bad_sizes_are_refused() {
    for sizes in ["4Q", "0", "64M..4K", "", "1,,2", "99999999999999999999"] {
        let said = failure(&knem(&["bench", "--sizes", sizes]), 2);
        assert!(said.contains("--sizes"), "{said}");
    }
}

fn info_prints_parameters_and_limits() {
    let text = out(&knem_of_user(rdma(), "65536", &["info", "--json"]));
    for part in ["\"memlock_soft_bytes\": 65536", "\"name\": \"max_regions\"", "\"pinned_ceiling_bytes\": "] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

fn doctor_has_no_complaint_about_a_member() {
    let text = out(&knem_of_user(rdma(), "unlimited", &["doctor", "-v"]));
    assert!(text.contains("it speaks version 0xd of the interface") && text.contains("0 problems"), "{text}");
    assert!(out(&knem(&["doctor", "--json"])).contains("\"usable\": true"));
}

fn doctor_names_the_group_to_a_stranger() {
    let output = knem_of_user(OUTSIDER, "unlimited", &["doctor", "--check", "device"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("PROBLEM") && text.contains("usermod -aG rdma"), "{text}");
}

fn doctor_reports_a_small_limit() {
    let output = knem_of_user(rdma(), "65536", &["doctor", "--check", "limits.memlock", "--strict"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(text.contains("64.0K") && text.contains("limits.d"), "{text}");
}
