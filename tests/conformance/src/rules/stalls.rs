// SPDX-License-Identifier: CECILL-B
//! Accesses to user memory that block forever: they block no other process.

use std::os::fd::AsRawFd;

use knem_core::uapi::{self, CmdCreateRegion, CmdInlineCopy};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{kill, Signal};

use crate::children::Child;
use crate::counters::{nothing_is_pinned, text};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;
use crate::slots::{wait_events, Asynchronous, DONE, NOTIFY, PENDING, THREAD};
use crate::stalled::Stalled;

crate::trials![
    "R25 T13" copy_into_stalled_memory_blocks_no_other,
    "R25 T13" pinning_stalled_memory_blocks_no_other,
    "R25 T13" stalled_argument_blocks_no_other,
    "R25 T13" stalled_list_of_segments_blocks_no_other,
    "R25 T13" stalled_reader_of_events_blocks_no_other,
    "R27 R28" stalled_copier_can_be_killed,
];

/// Checks that other requests succeed, in the same context and in another one.
fn others_go_on(same: &Asynchronous) {
    for setting in [same, &Asynchronous::new(1, b"contents")] {
        let region = setting.knem.create(&[setting.memory.segment()], READ | WRITE, 0).expect("created");
        assert_eq!(setting.knem.read(region, 0, &[setting.local.segment()], 0), Ok(SUCCESS));
        assert_eq!(setting.knem.write(region, 0, &[setting.local.segment()], 0), Ok(SUCCESS));
        setting.slots.set(99, PENDING);
        assert_eq!(setting.read(99, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(99), DONE);
        assert_eq!(setting.knem.destroy(region), Ok(()));
        assert_eq!(setting.knem.info().abi, uapi::ABI_VERSION);
    }
    assert!(text().starts_with("knem "));
    drop(Knem::open());
}

/// Runs `stalls` on another thread, and everything else while it blocks.
fn while_it_waits<R: Send>(stalled: &Stalled, setting: &Asynchronous, stalls: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let waiting = scope.spawn(stalls);
        stalled.is_touched();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| others_go_on(setting)));
        assert!(!waiting.is_finished());
        stalled.release();
        let result = waiting.join().expect("it goes on");
        outcome.expect("others go on");
        result
    })
}

fn copy_into_stalled_memory_blocks_no_other() {
    let (stalled, setting) = (Stalled::new(1), Asynchronous::new(1, b"contents"));
    let read = || setting.knem.read(setting.region, 0, &[stalled.memory().part(0, 8)], 0);
    assert_eq!(while_it_waits(&stalled, &setting, read), Ok(SUCCESS));
    assert_eq!(&stalled.memory().bytes()[..9], b"contents\0");
}

fn pinning_stalled_memory_blocks_no_other() {
    crate::machine::need_kernel((6, 3), "missing userfaultfd memory is EFAULT for a long-term pin, which does not wait");
    let setting = Asynchronous::new(1, b"contents");
    let stalled = Stalled::new(4);
    let create = || setting.knem.create(&[stalled.memory().segment()], READ | WRITE, 0);
    let region = while_it_waits(&stalled, &setting, create).expect("created");
    assert_eq!(setting.knem.destroy(region), Ok(()));
    let stalled = Stalled::new(4);
    let queue = || setting.read_into(&[stalled.memory().part(0, 8)], 5, THREAD);
    assert_eq!(while_it_waits(&stalled, &setting, queue), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(5), DONE);
    assert_eq!(&stalled.memory().bytes()[..9], b"contents\0");
}

fn stalled_argument_blocks_no_other() {
    let (stalled, setting) = (Stalled::new(1), Asynchronous::new(1, b"contents"));
    // The cookie that is read from the released page is 0.
    let destroy = || setting.knem.command_at(uapi::CMD_DESTROY_REGION, stalled.memory().address());
    assert_eq!(while_it_waits(&stalled, &setting, destroy), Err(Errno::EINVAL));
    let stalled = Stalled::new(1);
    let info = || setting.knem.command_at(uapi::CMD_GET_INFO, stalled.memory().address());
    assert_eq!(while_it_waits(&stalled, &setting, info), Ok(()));
}

fn stalled_list_of_segments_blocks_no_other() {
    let (stalled, setting) = (Stalled::new(1), Asynchronous::new(1, b"contents"));
    let list = stalled.memory().address();
    let create = || {
        let mut command = CmdCreateRegion { iovec_array: list, iovec_nr: 3, protection: READ, ..Default::default() };
        setting.knem.command(uapi::CMD_CREATE_REGION, &mut command)
    };
    assert_eq!(while_it_waits(&stalled, &setting, create), Ok(()), "three empty segments");
    let stalled = Stalled::new(1);
    let list = stalled.memory().address();
    let copy = || {
        let mut command = CmdInlineCopy {
            local_iovec_array: list,
            local_iovec_nr: 3,
            remote_cookie: setting.region,
            ..CmdInlineCopy::default()
        };
        setting.knem.command(uapi::CMD_INLINE_COPY, &mut command)
    };
    assert_eq!(while_it_waits(&stalled, &setting, copy), Ok(()));
}

fn stalled_reader_of_events_blocks_no_other() {
    let (stalled, setting) = (Stalled::new(1), Asynchronous::new(1, b"contents"));
    assert_eq!(setting.read(7, NOTIFY), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(7), DONE);
    let address = stalled.memory().address();
    let read = || {
        let place = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: The buffer is a page of the test's own mapping, which no slice refers to.
        let result = unsafe { libc::read(setting.knem.fd().as_raw_fd(), place, 4) };
        Errno::result(result)
    };
    let result = std::thread::scope(|scope| {
        let waiting = scope.spawn(read);
        stalled.is_touched();
        others_go_on(&setting);
        // Meanwhile, events are delivered to other readers.
        assert_eq!(setting.read(8, NOTIFY), Ok(u32::from(PENDING)));
        assert_eq!(wait_events(&setting.knem, 1), [8]);
        stalled.release();
        waiting.join().expect("it goes on")
    });
    assert_eq!(result, Ok(4));
    assert_eq!(stalled.memory().bytes()[..4], 7u32.to_ne_bytes());
}

fn stalled_copier_can_be_killed() {
    drop(Stalled::new(1));
    for flags in [0, uapi::FLAG_PINLOCAL] {
        let (ready, signal) = nix::unistd::pipe().expect("pipe");
        let child = Child::start(|| {
            let (stalled, knem, memory) = (Stalled::new(1), Knem::open(), Mapping::holding(b"contents"));
            let region = knem.create(&[memory.segment()], READ, 0).expect("created");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    stalled.is_touched();
                    nix::unistd::write(&signal, b"!").expect("written");
                });
                knem.read(region, 0, &[stalled.memory().part(0, 8)], flags)
            })
            .expect("never comes back");
        });
        assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
        kill(child.id(), Signal::SIGKILL).expect("killed");
        child.wait();
        nothing_is_pinned();
    }
}
