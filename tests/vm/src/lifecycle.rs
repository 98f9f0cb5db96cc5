// SPDX-License-Identifier: CECILL-B
//! Loading and unloading the module. Last of all, because it starts the counters anew.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;

use crate::counters::{counters, nothing_is_pinned, pinned_pages};
use crate::device::{Knem, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};

crate::trials![
    nothing_was_left_pinned,
    module_in_use_stays,
    module_can_be_loaded_again,
    contradicting_parameters_are_refused,
    forced_flags_are_added,
    unloading_right_after_a_kill,
];

fn unload() -> Result<(), Errno> {
    // SAFETY: the name is a string.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, c"knem".as_ptr(), libc::O_NONBLOCK) };
    Errno::result(result).map(drop)
}

/// Loads the module and waits for its node.
fn load(parameters: &[&str]) -> bool {
    let output = Command::new("modprobe").arg("knem").args(parameters).output().expect("modprobe runs");
    let loaded = output.status.success();
    for _ in 0..100 {
        if !loaded || Path::new(uapi::DEVICE_FILENAME).exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    loaded
}

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
        assert_eq!(pinned_pages(), 0, "unloading leaves nothing pinned");
        assert!(!Path::new("/sys/module/knem").exists());
        assert!(load(&[]));
        assert!(counters().values().all(|value| *value == 0));
        let other = Knem::open();
        assert_eq!(other.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL), "cookies of another life");
    }
}

fn contradicting_parameters_are_refused() {
    assert_eq!(unload(), Ok(()));
    assert!(!load(&["forceflags=0x10", "ignoreflags=0x10"]));
    assert!(load(&[]));
}

fn forced_flags_are_added() {
    assert_eq!(unload(), Ok(()));
    assert!(load(&["pinlocal=1", "ignoreflags=0x20"]));
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
    assert!(load(&[]));
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
        assert_eq!(pinned_pages(), 0);
        assert!(load(&[]));
    }
}
