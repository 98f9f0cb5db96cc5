// SPDX-License-Identifier: CECILL-B
//! GET_INFO, BIND_OFFLOAD, commands that do not exist, and parameters.

use std::fs::File;
use std::os::unix::fs::FileExt;

use knem_conformance::device::Knem;
use knem_conformance::memory::PAGE;
use knem_conformance::slots::Slots;
use knem_conformance::threads::start;
use knem_core::uapi::{self, CmdBindOffload, CmdInfo};
use nix::errno::Errno;

use crate::nth::Nth;

super::scenarios![
    get_info,
    unknown_command,
    bind_to_a_mask,
    bind_to_a_long_mask,
    bind_to_current_processors,
    bind_to_other_processors,
    bind_and_start_the_thread,
    change_a_parameter,
];

fn get_info(nth: &Nth) {
    let knem = Knem::open();
    let mut info = CmdInfo::default();
    nth.call(|| knem.command(uapi::CMD_GET_INFO, &mut info));
    assert_eq!(info.abi, uapi::ABI_VERSION);
}

fn unknown_command(nth: &Nth) {
    let knem = Knem::open();
    let answer = nth.during(|| knem.command_at(0x1234_5678, 0));
    assert!(answer == Err(Errno::ENOSYS) || nth.hit(), "{answer:?}");
}

fn bind(nth: &Nth, knem: &Knem, flags: u32, mask: &[u64]) {
    let (mask_len, mask_ptr) = ((mask.len() * 8) as u32, mask.as_ptr().expose_provenance() as u64);
    let mut command = CmdBindOffload { flags, mask_len, mask_ptr };
    nth.call(|| knem.command(uapi::CMD_BIND_OFFLOAD, &mut command));
}

fn bind_to_a_mask(nth: &Nth) {
    bind(nth, &Knem::open(), uapi::BIND_FLAG_CUSTOM, &[1]);
}

fn bind_to_a_long_mask(nth: &Nth) {
    bind(nth, &Knem::open(), uapi::BIND_FLAG_CUSTOM, &[u64::MAX; 128]);
}

fn bind_to_current_processors(nth: &Nth) {
    bind(nth, &Knem::open(), uapi::BIND_FLAG_CURRENT, &[]);
}

fn bind_to_other_processors(nth: &Nth) {
    bind(nth, &Knem::open(), uapi::BIND_FLAG_CURRENT_REVERSED, &[]);
}

fn bind_and_start_the_thread(nth: &Nth) {
    let knem = Knem::open();
    bind(nth, &knem, uapi::BIND_FLAG_CUSTOM, &[1]);
    let slots = Slots::map(&knem, PAGE).expect("mapped");
    start(&knem, &slots);
}

fn change_a_parameter(nth: &Nth) {
    let path = "/sys/module/knem/parameters/max_contexts";
    let before = std::fs::read_to_string(path).expect("the parameter");
    let file = File::options().write(true).open(path).expect("the parameter");
    let error = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    nth.call(|| file.write_at(b"77", 0).map_err(error));
    assert_eq!(std::fs::read_to_string(path).expect("the parameter").trim(), "77");
    std::fs::write(path, before).expect("changed back");
}
