// SPDX-License-Identifier: CECILL-B
//! Loading and unloading the module. These tests run last, because they reset the counters.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::counters::{counters, nothing_is_pinned};
use crate::device::{Knem, READ, SUCCESS};
use crate::loaded::{load, unload};
use crate::memory::{Mapping, PAGE};

crate::trials![
    "R29" nothing_was_left_pinned,
    "R37" module_in_use_stays,
    "R38" module_can_be_loaded_again,
    "3" contradicting_parameters_are_refused,
    "3" forced_flags_are_added,
    "R38 W20" unloading_right_after_a_kill,
];

fn nothing_was_left_pinned() {
    nothing_is_pinned();
}

fn module_in_use_stays() {
    for mode in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR, OFlag::O_ACCMODE] {
        let knem = Knem::open_as(mode).expect("opens");
        assert_eq!(unload(), Err(Errno::EWOULDBLOCK));
        drop(knem);
    }
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"data"), Mapping::new(4));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert!(!Command::new("rmmod").arg("knem").output().expect("rmmod runs").status.success());
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
}

fn module_can_be_loaded_again() {
    for _ in 0..10 {
        let memory = Mapping::holding(&[1; 10 * PAGE]);
        let knem = Knem::open();
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        let local = Mapping::new(10 * PAGE);
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        drop(knem);
        assert_eq!(unload(), Ok(()));
        nothing_is_pinned();
        assert!(!Path::new("/sys/module/knem").exists());
        load(&[]).expect("loads");
        assert!(counters().values().all(|value| *value == 0));
        let other = Knem::open();
        assert_eq!(other.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL), "cookies of another life");
    }
}

fn contradicting_parameters_are_refused() {
    assert_eq!(unload(), Ok(()));
    assert!(load(&["forceflags=0x10", "ignoreflags=0x10"]).is_err());
    load(&[]).expect("loads");
}

fn forced_flags_are_added() {
    assert_eq!(unload(), Ok(()));
    load(&["pinlocal=1", "ignoreflags=0x20"]).expect("loads");
    {
        let (knem, memory, local) = (Knem::open(), Mapping::holding(b"data"), Mapping::new(4));
        let info = knem.info();
        assert_eq!((info.forced_flags, info.ignored_flags), (uapi::FLAG_PINLOCAL, uapi::FLAG_SINGLEUSE));
        assert!(crate::counters::text().contains("\n Flags: forcing 0x10, ignoring 0x20\n"));
        let region = knem.create(&[memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
        for _ in 0..2 {
            assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        }
        assert_eq!(counters()[crate::counters::PINNED], 2);
    }
    assert_eq!(unload(), Ok(()));
    load(&[]).expect("loads");
}

fn unloading_right_after_a_kill() {
    for _ in 0..20 {
        let child = crate::children::Child::start(|| {
            let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; 4 << 20]));
            loop {
                let region = knem.create(&[memory.segment()], READ, 0).expect("created");
                assert_eq!(knem.copy((region, 0), (region, 0), None, 0), Err(Errno::EACCES));
                assert_eq!(knem.destroy(region), Ok(()));
            }
        });
        std::thread::sleep(Duration::from_millis(30));
        nix::sys::signal::kill(child.id(), nix::sys::signal::Signal::SIGKILL).expect("killed");
        let _ = child.wait();
        assert_eq!(unload(), Ok(()), "its files are closed");
        nothing_is_pinned();
        load(&[]).expect("loads");
    }
}
