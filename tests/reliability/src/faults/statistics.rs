// SPDX-License-Identifier: CECILL-B
//! Reading what the driver counts and has, and clearing it.

use std::fs::File;
use std::io::Read;

use knem_conformance::device::{Knem, READ};
use knem_conformance::memory::{Mapping, PAGE};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::nth::Nth;

super::scenarios![
    read_the_devices_text,
    read_proc_statistics,
    read_proc_contexts,
    read_proc_regions,
    clear_the_statistics,
];

fn read_the_devices_text(nth: &Nth) {
    let file = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    let mut buffer = [0; 8192];
    let length = nth.call(|| nix::unistd::read(file.fd(), &mut buffer));
    assert!(buffer[..length].starts_with(b"knem "));
}

/// Opens and reads one of the files in /proc to its end.
fn read(nth: &Nth, name: &str) -> String {
    let knem = Knem::open();
    let memory = Mapping::holding(&[1; PAGE]);
    for _ in 0..100 {
        knem.create(&[memory.segment()], READ, 0).expect("created");
    }
    let path = format!("/proc/driver/knem/{name}");
    let error = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let mut buffer = vec![1; 1 << 16];
    let mut file = nth.call(|| File::open(&path).map_err(error));
    let mut length = 0;
    loop {
        match nth.call(|| file.read(&mut buffer[length..]).map_err(error)) {
            0 => break,
            more => length += more,
        }
    }
    buffer.truncate(length);
    String::from_utf8(buffer).expect("text")
}

fn read_proc_statistics(nth: &Nth) {
    assert!(read(nth, "statistics").contains("\nregions 100\n"));
}

fn read_proc_contexts(nth: &Nth) {
    assert_eq!(read(nth, "contexts").lines().count(), 2);
}

fn read_proc_regions(nth: &Nth) {
    assert_eq!(read(nth, "regions").lines().count(), 101);
}

fn clear_the_statistics(nth: &Nth) {
    let knem = Knem::open_as(OFlag::O_WRONLY).expect("opens");
    assert_eq!(nth.call(|| nix::unistd::write(knem.fd(), b"0")), 1);
}
