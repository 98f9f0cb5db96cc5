// SPDX-License-Identifier: CECILL-B
//! The interface before regions: INIT_SEND, INIT_ASYNC_RECV, SYNC_RECV.

use knem_core::uapi::{self, CmdInitAsyncRecv, CmdInitSend, CmdSyncRecv, ParamIovec};
use nix::errno::Errno;

use crate::counters::{counts, NO_COOKIE, OFFLOADED, PINNED, PROCESSED, SUBMITTED, USER_COPY};
use crate::device::{segment, Knem, FAILED, GARBAGE, READ, SUCCESS};
use crate::memory::{hole, Mapping};
use crate::slots::{address, events, poll_now, wait_events, Asynchronous, DONE, POISON, THREAD};

crate::trials![
    "2.8" sent_memory_is_a_single_use_region_to_read,
    "2.8" sent_memory_cannot_be_written,
    "2.8" sending_takes_the_create_flags,
    "2.8" sending_has_the_errors_of_creation,
    "2.10" sync_receive_reads_the_region,
    "2.10" sync_receive_strips_asynchronous_flags,
    "2.10" sync_receive_with_notify_is_einval,
    "2.10" sync_receive_needs_no_status_array,
    "2.10" sync_receive_fails_as_a_copy_does,
    "2.10" sync_receive_of_a_bad_cookie_is_einval,
    "2.9" async_receive_always_needs_the_array,
    "2.9" async_receive_checks_its_index_always,
    "2.9" async_receive_puts_the_result_into_the_slot,
    "2.9" async_receive_through_the_thread,
    "2.9" async_receive_of_nothing,
    "2.9" async_receive_may_fail_in_the_slot,
    "2.9 W9" async_receive_notifies_without_a_thread_flag,
    "2.9" async_receive_with_asyncdmacomplete_and_notify_is_einval,
    "2.9 R40" refused_async_receive_leaves_the_slot,
    "2.8" old_and_new_commands_work_together,
];

fn send(knem: &Knem, segments: &[ParamIovec], flags: u32) -> Result<u64, Errno> {
    let mut command = CmdInitSend {
        send_iovec_array: address(segments),
        send_iovec_nr: u32::try_from(segments.len()).expect("few"),
        flags,
        send_cookie: 0,
    };
    knem.command(uapi::CMD_INIT_SEND, &mut command).map(|()| command.send_cookie)
}

fn sync_receive(knem: &Knem, cookie: u64, segments: &[ParamIovec], flags: u32) -> Result<u32, Errno> {
    let mut command = CmdSyncRecv {
        recv_iovec_array: address(segments),
        recv_iovec_nr: u32::try_from(segments.len()).expect("few"),
        status: GARBAGE,
        send_cookie: cookie,
        flags,
        pad: GARBAGE,
    };
    knem.command(uapi::CMD_SYNC_RECV, &mut command).map(|()| command.status)
}

fn async_receive(knem: &Knem, cookie: u64, segments: &[ParamIovec], index: u32, flags: u32) -> Result<(), Errno> {
    let mut command = CmdInitAsyncRecv {
        recv_iovec_array: address(segments),
        recv_iovec_nr: u32::try_from(segments.len()).expect("few"),
        status_index: index,
        send_cookie: cookie,
        flags,
        pad: GARBAGE,
    };
    let before = command;
    let outcome = knem.command(uapi::CMD_INIT_ASYNC_RECV, &mut command);
    assert_eq!(command, before, "nothing is written back");
    outcome
}

fn sent_memory_is_a_single_use_region_to_read() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    counts(&[], || {
        let cookie = send(&knem, &[memory.segment()], 0).expect("sent");
        assert_eq!(knem.destroy(cookie), Ok(()));
    });
    let cookie = send(&knem, &[memory.segment()], 0).expect("sent");
    assert_eq!(knem.read(cookie, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"contents");
    assert_eq!(knem.read(cookie, 0, &[local.segment()], 0), Err(Errno::EINVAL));
}

fn sent_memory_cannot_be_written() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let cookie = send(&knem, &[memory.segment()], 0).expect("sent");
    assert_eq!(knem.write(cookie, 0, &[memory.segment()], 0), Err(Errno::EACCES));
    assert_eq!(knem.destroy(cookie), Ok(()));
}

fn sending_takes_the_create_flags() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    for flags in [!uapi::FLAG_ANY_CREATE_MASK, uapi::FLAG_SINGLEUSE, uapi::FLAG_NOTIFY_FD, THREAD] {
        let cookie = send(&knem, &[memory.segment()], flags).expect("sent");
        assert_eq!(sync_receive(&knem, cookie, &[], 0), Ok(SUCCESS));
        assert_eq!(knem.destroy(cookie), Err(Errno::EINVAL), "single use in any case");
    }
    let public = send(&knem, &[memory.segment()], uapi::FLAG_ANY_USER_ACCESS).expect("sent");
    let private = send(&knem, &[memory.segment()], 0).expect("sent");
    crate::children::with_open_node(|| {
        crate::children::in_child(|| {
            crate::children::become_user(crate::children::STRANGER);
            let (theirs, local) = (Knem::open(), Mapping::new(8));
            assert_eq!(sync_receive(&theirs, private, &[local.segment()], 0), Err(Errno::EPERM));
            assert_eq!(sync_receive(&theirs, public, &[local.segment()], 0), Ok(SUCCESS));
            assert_eq!(local.bytes(), b"contents");
        });
    });
}

fn sending_has_the_errors_of_creation() {
    let knem = Knem::open();
    assert_eq!(send(&knem, &[segment(hole(), 1)], 0), Err(Errno::EFAULT));
    assert_eq!(send(&knem, &[segment(0x1000, u64::MAX)], 0), Err(Errno::EFAULT));
    let mut command = CmdInitSend { send_iovec_array: hole(), send_iovec_nr: 1, ..CmdInitSend::default() };
    assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut command), Err(Errno::EFAULT));
    command.send_iovec_nr = u32::MAX;
    assert_eq!(knem.command(uapi::CMD_INIT_SEND, &mut command), Err(Errno::ENOMEM));
    assert!(send(&knem, &[], 0).is_ok(), "an empty one");
}

fn sync_receive_reads_the_region() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::holding(b"............"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
        assert_eq!(sync_receive(&knem, region, &[local.segment()], 0), Ok(SUCCESS));
    });
    assert_eq!(local.bytes(), b"contents....");
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
        assert_eq!(sync_receive(&knem, region, &[local.segment()], uapi::FLAG_PINLOCAL), Ok(SUCCESS));
    });
    let cookie = send(&knem, &[memory.segment()], 0).expect("sent");
    assert_eq!(sync_receive(&knem, cookie, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(sync_receive(&knem, cookie, &[local.segment()], 0), Err(Errno::EINVAL));
}

fn sync_receive_strips_asynchronous_flags() {
    let setting = Asynchronous::new(1, b"contents");
    (0..4096).for_each(|index| setting.slots.set(index, POISON));
    for flags in [THREAD, uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD, 0x0e, !0x41] {
        let offloaded = crate::counters::counters()[OFFLOADED];
        let outcome = sync_receive(&setting.knem, setting.region, &[setting.local.segment()], flags);
        assert_eq!(outcome, Ok(SUCCESS), "{flags:#x}");
        assert_eq!(crate::counters::counters()[OFFLOADED], offloaded);
    }
    assert!(setting.slots.memory().bytes().iter().all(|slot| *slot == POISON));
}

fn sync_receive_with_notify_is_einval() {
    let setting = Asynchronous::new(1, b"contents");
    for flags in [uapi::FLAG_NOTIFY_FD, uapi::FLAG_NOTIFY_FD | THREAD, u32::MAX] {
        counts(&[], || {
            let outcome = sync_receive(&setting.knem, setting.region, &[setting.local.segment()], flags);
            assert_eq!(outcome, Err(Errno::EINVAL));
        });
    }
}

fn sync_receive_needs_no_status_array() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(sync_receive(&knem, region, &[local.segment()], THREAD), Ok(SUCCESS));
}

fn sync_receive_fails_as_a_copy_does() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (USER_COPY, 1)], || {
        assert_eq!(sync_receive(&knem, region, &[segment(hole(), 8)], 0), Ok(FAILED));
    });
    assert_eq!(sync_receive(&knem, region, &[segment(hole(), 8)], uapi::FLAG_PINLOCAL), Err(Errno::EFAULT));
    let mut command =
        CmdSyncRecv { recv_iovec_array: hole(), recv_iovec_nr: 1, send_cookie: region, ..CmdSyncRecv::default() };
    assert_eq!(knem.command(uapi::CMD_SYNC_RECV, &mut command), Err(Errno::EFAULT));
}

fn sync_receive_of_a_bad_cookie_is_einval() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    counts(&[(SUBMITTED, 2), (NO_COOKIE, 2)], || {
        assert_eq!(sync_receive(&knem, 0, &[memory.segment()], 0), Err(Errno::EINVAL));
        assert_eq!(sync_receive(&knem, 0xbad, &[memory.segment()], 0), Err(Errno::EINVAL));
    });
    let unreadable = knem.create(&[memory.segment()], 0, 0).expect("created");
    assert_eq!(sync_receive(&knem, unreadable, &[memory.segment()], 0), Err(Errno::EACCES));
}

fn async_receive_always_needs_the_array() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    counts(&[], || {
        for flags in [0, THREAD, uapi::FLAG_PINLOCAL] {
            assert_eq!(async_receive(&knem, region, &[], 0, flags), Err(Errno::EINVAL));
        }
    });
}

fn async_receive_checks_its_index_always() {
    let setting = Asynchronous::new(1, b"contents");
    counts(&[], || {
        for flags in [0, THREAD, uapi::FLAG_PINLOCAL] {
            for index in [4096, u32::MAX] {
                assert_eq!(async_receive(&setting.knem, setting.region, &[], index, flags), Err(Errno::EINVAL));
            }
        }
    });
}

fn async_receive_puts_the_result_into_the_slot() {
    let mut setting = Asynchronous::new(1, b"contents");
    for (index, flags) in (0..).zip([0, uapi::FLAG_PINLOCAL, uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD]) {
        setting.blank();
        setting.slots.set(index, POISON);
        let outcome = async_receive(&setting.knem, setting.region, &[setting.local.segment()], index, flags);
        assert_eq!(outcome, Ok(()), "{flags:#x}");
        assert_eq!(setting.slots.get(index), DONE, "done when the command returns");
        assert_eq!(setting.local.bytes(), b"contents");
    }
}

fn async_receive_through_the_thread() {
    let setting = Asynchronous::new(1, b"contents");
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (OFFLOADED, 1), (PINNED, 1)], || {
        let outcome = async_receive(&setting.knem, setting.region, &[setting.local.segment()], 11, THREAD);
        assert_eq!(outcome, Ok(()));
    });
    assert_eq!(setting.slots.wait(11), DONE);
    assert_eq!(setting.local.bytes(), b"contents");
}

fn async_receive_of_nothing() {
    let setting = Asynchronous::new(1, b"contents");
    for (index, flags) in (0..).zip([0, THREAD]) {
        setting.slots.set(index, POISON);
        assert_eq!(async_receive(&setting.knem, setting.region, &[], index, flags), Ok(()));
        assert_eq!(setting.slots.get(index), DONE);
    }
}

fn async_receive_may_fail_in_the_slot() {
    let setting = Asynchronous::new(1, b"contents");
    assert_eq!(async_receive(&setting.knem, setting.region, &[segment(hole(), 8)], 2, 0), Ok(()));
    assert_eq!(setting.slots.get(2), uapi::STATUS_FAILED);
}

fn async_receive_notifies_without_a_thread_flag() {
    let setting = Asynchronous::new(1, b"contents");
    for index in 0..50 {
        setting.slots.set(index, POISON);
        let local = &[setting.local.segment()];
        assert_eq!(async_receive(&setting.knem, setting.region, local, index, uapi::FLAG_NOTIFY_FD), Ok(()));
        assert_eq!(events(&setting.knem, 4), Ok(vec![index]));
        assert_eq!(setting.slots.get(index), DONE, "the slot is final before the event");
    }
    assert_eq!(async_receive(&setting.knem, setting.region, &[], 60, uapi::FLAG_NOTIFY_FD), Ok(()), "nothing to do");
    assert_eq!(wait_events(&setting.knem, 1), [60]);
    assert!(poll_now(&setting.knem).is_empty());
}

fn async_receive_with_asyncdmacomplete_and_notify_is_einval() {
    let setting = Asynchronous::new(1, b"contents");
    let flags = uapi::FLAG_NOTIFY_FD | uapi::FLAG_ASYNCDMACOMPLETE;
    counts(&[], || {
        assert_eq!(async_receive(&setting.knem, setting.region, &[], 0, flags), Err(Errno::EINVAL));
        assert_eq!(async_receive(&setting.knem, setting.region, &[], 0, flags | THREAD), Err(Errno::EINVAL));
    });
}

fn refused_async_receive_leaves_the_slot() {
    let setting = Asynchronous::new(1, b"contents");
    setting.slots.set(1, POISON);
    assert_eq!(async_receive(&setting.knem, 0xbad, &[], 1, 0), Err(Errno::EINVAL));
    let nowhere = &[segment(hole(), 8)];
    let outcome = async_receive(&setting.knem, setting.region, nowhere, 1, uapi::FLAG_PINLOCAL);
    assert_eq!(outcome, Err(Errno::EFAULT));
    assert_eq!(async_receive(&setting.knem, setting.region, nowhere, 1, THREAD), Err(Errno::EFAULT));
    assert_eq!(setting.slots.get(1), POISON);
}

fn old_and_new_commands_work_together() {
    let setting = Asynchronous::new(1, b"contents");
    let target = Mapping::new(8);
    let destination = setting.knem.create(&[target.segment()], crate::device::WRITE, 0).expect("created");
    let cookie = send(&setting.knem, &[setting.memory.segment()], 0).expect("sent");
    assert_eq!(setting.knem.copy((cookie, 0), (destination, 0), None, 0), Ok(SUCCESS));
    assert_eq!(target.bytes(), b"contents");
    assert_eq!(sync_receive(&setting.knem, setting.region, &[setting.local.segment()], 0), Ok(SUCCESS));
    assert_eq!(setting.local.bytes(), b"contents");
}
