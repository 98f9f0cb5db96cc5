// SPDX-License-Identifier: CECILL-B
//! The installed command `knem`, and who may use it on a machine with the packages.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::{Command, Output};

use knem_core::uapi::DEVICE_FILENAME;
use nix::unistd::Group;

crate::trials![
    "R51 W30" node_belongs_to_the_group,
    "" info_shows_the_driver,
    "" benchmark_verifies_every_size,
    "" member_of_the_group_may_copy,
    "" stranger_is_told_the_group,
    "" limit_of_locked_memory_is_explained,
    "" clearing_is_for_the_administrator,
    "" bad_sizes_are_refused,
];

/// A user id that nobody has.
const SOMEBODY: u32 = 64_000;

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

/// Runs it as a user without privileges, in one group, with a limit of locked memory in bytes.
fn knem_of_user(group: u32, memlock: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("prlimit");
    command.args([&format!("--memlock={memlock}:{memlock}"), "setpriv", "--clear-groups"]);
    command.args([format!("--reuid={SOMEBODY}"), format!("--regid={group}")]).arg("knem").args(arguments);
    run(&mut command)
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Checks the status of a failure and returns what it said.
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
        let arguments: Vec<&str> = ["bench", "--sizes", "1,4095,64K..256K"].into_iter().chain(direction).collect();
        let text = out(&knem(&arguments));
        let verified = text.lines().filter(|line| line.ends_with("  verified")).count();
        assert_eq!(verified, 5, "{text}");
    }
    let text = out(&knem(&["bench", "--sizes", "4K", "--no-verify"]));
    assert!(text.trim_end().ends_with("not verified"), "{text}");
}

fn member_of_the_group_may_copy() {
    let text = out(&knem_of_user(rdma(), "unlimited", &["bench", "--sizes", "16M", "--iterations", "1"]));
    assert!(text.trim_end().ends_with("  verified"), "{text}");
}

fn stranger_is_told_the_group() {
    let said = failure(&knem_of_user(SOMEBODY, "unlimited", &["info"]), 4);
    assert!(said.contains("rdma") && said.contains("usermod"), "{said}");
}

fn limit_of_locked_memory_is_explained() {
    let said = failure(&knem_of_user(rdma(), "65536", &["bench", "--sizes", "1M"]), 1);
    assert!(said.contains("65536") && said.contains("ulimit -l"), "{said}");
}

fn clearing_is_for_the_administrator() {
    out(&knem(&["bench", "--sizes", "4K", "--iterations", "1"]));
    let said = failure(&knem_of_user(rdma(), "unlimited", &["stat", "--clear"]), 4);
    assert!(said.contains("root"), "{said}");
    out(&knem(&["stat", "--clear"]));
    let text = out(&knem(&["stat"]));
    assert!(text.lines().next().is_some_and(|line| line.ends_with(" 0")), "{text}");
}

fn bad_sizes_are_refused() {
    for sizes in ["4Q", "0", "64M..4K", "", "1,,2", "99999999999999999999"] {
        let said = failure(&knem(&["bench", "--sizes", sizes]), 2);
        assert!(said.contains("--sizes"), "{said}");
    }
}
