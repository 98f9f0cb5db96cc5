// SPDX-License-Identifier: CECILL-B
//! The status array: how it is mapped, and the content of its slots.

use knem_core::uapi;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags};

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::counters::{counts, OFFLOADED, PINNED, PROCESSED, SUBMITTED, USER_COPY};
use crate::device::{segment, Inline, Knem, FAILED, READ, SUCCESS};
use crate::machine::ControlGroup;
use crate::memory::{both, hole, Mapping, PAGE};
use crate::slots::{poll_now, Asynchronous, Slots, DONE, NOTIFY, PENDING, POISON, THREAD};

crate::trials![
    "7.1" slots_are_counted_in_whole_pages,
    "7.1" offset_must_be_zero,
    "7.1" more_than_four_billion_slots_are_einval,
    "7.1" four_billion_slots_are_not_einval,
    "7.1" private_mapping_is_refused_or_works,
    "7.1 R22" executable_mapping_is_einval,
    "7.1 R22" mapping_cannot_be_made_executable,
    "7.1 R22" mapping_cannot_grow,
    "7.1 R22" mapping_is_not_in_core_dumps,
    "7.1" read_only_mapping_will_do,
    "7.1" second_mapping_is_ebusy,
    "7.1" mapping_is_once_for_life,
    "7.1" shape_is_looked_at_before_whether_it_is_mapped,
    "7.1" failed_mapping_leaves_the_file_usable,
    "7.1" large_arrays_work_to_the_last_slot,
    "7.1 R22" cap_of_slots_is_enomem,
    "7.1 R23" arrays_of_a_user_are_bounded_together,
    "7.1" every_file_has_its_own,
    "7.1" duplicates_have_the_same,
    "7.1" slots_are_pending_at_first,
    "7.2" programs_may_write_slots,
    "7.2" pending_is_stored_when_a_request_is_accepted,
    "7.2" slots_are_independent,
    "7.2" last_of_two_in_one_slot_wins,
    "7.2" failure_is_shown,
    "7.2 R41" data_is_there_before_the_status,
    "2.7" synchronous_requests_touch_no_slot,
    "2.7" without_an_engine_the_status_is_in_both_places,
    "2.7" zero_bytes_are_done_in_the_slot_and_pending_in_the_command,
    "2.7" queued_requests_are_pending_in_the_command,
    "7.1 R23" mapping_works_in_a_control_group,
    "10" forked_process_sees_the_same_slots,
    "R8" wild_indices_are_einval,
];

fn map(knem: &Knem, length: usize, protection: ProtFlags, flags: MapFlags, offset: i64) -> Result<Mapping, Errno> {
    Mapping::try_of_file(knem.fd(), length, protection, flags, offset)
}

fn shared(knem: &Knem, length: usize) -> Result<Mapping, Errno> {
    map(knem, length, both(), MapFlags::MAP_SHARED, 0)
}

/// Checks that a slot exists by a request to it that is accepted.
fn has_slot(knem: &Knem, index: u32) -> bool {
    let region = knem.create(&[], READ, 0).expect("created");
    let outcome = knem.inline_at(Inline { cookie: region, flags: THREAD, ..Inline::default() }, index);
    assert_eq!(knem.destroy(region), Ok(()));
    match outcome {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno, Errno::EINVAL);
            false
        }
    }
}

fn slots_are_counted_in_whole_pages() {
    let page = u32::try_from(PAGE).expect("small");
    for (asked, given) in [(1, page), (45, page), (PAGE, page), (PAGE + 1, 2 * page), (3 * PAGE, 3 * page)] {
        let knem = Knem::open();
        let _slots = shared(&knem, asked).expect("mapped");
        assert!(has_slot(&knem, 0) && has_slot(&knem, given - 1), "{asked}");
        assert!(!has_slot(&knem, given), "{asked}");
    }
}

fn offset_must_be_zero() {
    let knem = Knem::open();
    for offset in [4096, 8192, 1 << 32, 1 << 40] {
        assert_eq!(map(&knem, PAGE, both(), MapFlags::MAP_SHARED, offset).err(), Some(Errno::EINVAL), "{offset:#x}");
    }
    shared(&knem, PAGE).expect("mapped");
}

fn more_than_four_billion_slots_are_einval() {
    let knem = Knem::open();
    assert_eq!(shared(&knem, (1 << 32) + 1).err(), Some(Errno::EINVAL));
    assert_eq!(shared(&knem, 1 << 40).err(), Some(Errno::EINVAL));
    shared(&knem, 45).expect("a failed mapping leaves the file usable");
}

fn four_billion_slots_are_not_einval() {
    // The interface allows this number; a driver may lack the memory, or have a limit (requirement 22).
    let outcome = shared(&Knem::open(), 1 << 32).map(drop);
    assert!(matches!(outcome, Ok(()) | Err(Errno::ENOMEM)), "{outcome:?}");
}

fn private_mapping_is_refused_or_works() {
    let knem = Knem::open();
    match map(&knem, PAGE, both(), MapFlags::MAP_PRIVATE, 0) {
        // The original driver allows it: the slots are visible until the program's first write.
        Ok(_) => assert!(has_slot(&knem, 0)),
        Err(errno) => {
            assert_eq!(errno, Errno::EINVAL);
            shared(&knem, PAGE).expect("mapped");
        }
    }
}

fn executable_mapping_is_einval() {
    let knem = Knem::open();
    let protection = both() | ProtFlags::PROT_EXEC;
    let outcome = map(&knem, PAGE, protection, MapFlags::MAP_SHARED, 0).err();
    // On a file system that is mounted noexec the kernel returns EPERM first.
    assert!(matches!(outcome, Some(Errno::EINVAL | Errno::EPERM)), "{outcome:?}");
    shared(&knem, PAGE).expect("mapped");
}

fn mapping_cannot_be_made_executable() {
    let knem = Knem::open();
    let slots = shared(&knem, PAGE).expect("mapped");
    let place = std::ptr::with_exposed_provenance_mut::<std::ffi::c_void>(slots.address() as usize);
    // SAFETY: No slice of the mapping exists while its protection may change.
    let outcome = unsafe { nix::libc::mprotect(place, PAGE, nix::libc::PROT_READ | nix::libc::PROT_EXEC) };
    assert_eq!(Errno::result(outcome), Err(Errno::EACCES));
}

fn mapping_cannot_grow() {
    let knem = Knem::open();
    let slots = shared(&knem, PAGE).expect("mapped");
    let place = std::ptr::with_exposed_provenance_mut::<std::ffi::c_void>(slots.address() as usize);
    // SAFETY: The call is expected to fail. If it moved the mapping, the test would fail without accessing it.
    let outcome = unsafe { nix::libc::mremap(place, PAGE, 2 * PAGE, nix::libc::MREMAP_MAYMOVE) };
    assert_eq!(outcome, nix::libc::MAP_FAILED);
    assert_eq!(Errno::last(), Errno::EFAULT);
}

fn mapping_is_not_in_core_dumps() {
    let knem = Knem::open();
    let slots = shared(&knem, PAGE).expect("mapped");
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { crate::skip("no /proc/self/smaps") };
    let start = format!("{:x}-", slots.address());
    let line = maps.lines().skip_while(|line| !line.starts_with(&start)).find(|line| line.starts_with("VmFlags:"));
    let flags: Vec<&str> = line.expect("the mapping is listed").split_whitespace().collect();
    assert!(flags.contains(&"dd") && flags.contains(&"de"), "{flags:?}");
}

fn read_only_mapping_will_do() {
    let knem = Knem::open();
    let slots = map(&knem, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, 0).expect("mapped");
    assert!(has_slot(&knem, 9));
    crate::waiting::until("the slot is final", || slots.peek(9) == DONE);
}

fn second_mapping_is_ebusy() {
    let knem = Knem::open();
    let _slots = shared(&knem, PAGE).expect("mapped");
    assert_eq!(shared(&knem, PAGE).err(), Some(Errno::EBUSY));
    assert_eq!(shared(&knem, 2 * PAGE).err(), Some(Errno::EBUSY));
    assert_eq!(shared(&knem.duplicate(), PAGE).err(), Some(Errno::EBUSY));
}

fn mapping_is_once_for_life() {
    let setting = Asynchronous::new(PAGE, b"contents");
    let Asynchronous { knem, slots, region, local, .. } = setting;
    slots.unmap();
    assert_eq!(shared(&knem, PAGE).err(), Some(Errno::EBUSY));
    // Asynchronous requests continue without the mapping, and report by events.
    let segments = &[local.segment()];
    let request = Inline { cookie: region, segments, flags: NOTIFY, ..Inline::default() };
    assert_eq!(knem.inline_at(request, 5), Ok(u32::from(PENDING)));
    assert_eq!(crate::slots::wait_events(&knem, 1), [5]);
    assert_eq!(local.bytes(), b"contents");
}

fn shape_is_looked_at_before_whether_it_is_mapped() {
    let knem = Knem::open();
    let _slots = shared(&knem, PAGE).expect("mapped");
    assert_eq!(map(&knem, PAGE, both(), MapFlags::MAP_SHARED, 4096).err(), Some(Errno::EINVAL));
    assert_eq!(shared(&knem, (1 << 32) + 1).err(), Some(Errno::EINVAL));
}

fn failed_mapping_leaves_the_file_usable() {
    let knem = Knem::open();
    for _ in 0..3 {
        assert!(shared(&knem, (1 << 32) + 1).is_err());
        assert!(map(&knem, PAGE, both(), MapFlags::MAP_SHARED, 4096).is_err());
        assert_eq!(knem.read(0, 0, &[], THREAD), Err(Errno::EINVAL), "nothing is mapped");
    }
    let slots = Slots::map(&knem, 45).expect("mapped");
    assert!(has_slot(&knem, 4095));
    assert_eq!(slots.wait(4095), DONE);
}

fn large_arrays_work_to_the_last_slot() {
    const SLOTS: u32 = 1 << 24;
    let knem = Knem::open();
    let slots = Slots::map(&knem, SLOTS as usize).expect("2^24 slots");
    for index in [0, 4095, 4096, 1 << 20, SLOTS / 2 + 1, SLOTS - 1] {
        assert_eq!(slots.get(index), PENDING);
        assert!(has_slot(&knem, index));
        assert_eq!(slots.wait(index), DONE);
    }
    assert!(!has_slot(&knem, SLOTS));
}

fn cap_of_slots_is_enomem() {
    crate::parameters::with_parameter("max_slots", "8192", || {
        let knem = Knem::open();
        assert_eq!(shared(&knem, 8193).err(), Some(Errno::ENOMEM));
        shared(&knem, 8192).expect("up to the cap");
    });
}

fn arrays_of_a_user_are_bounded_together() {
    crate::parameters::with_parameter("max_slots_mb", "1", || {
        with_open_node(|| {
            in_child(|| {
                become_user(STRANGER);
                let files: Vec<Knem> = (0..5).map(|_| Knem::open()).collect();
                let mut arrays: Vec<Mapping> =
                    files[..4].iter().map(|knem| shared(knem, 1 << 18).expect("a quarter of it each")).collect();
                assert_eq!(shared(&files[4], 1).err(), Some(Errno::ENOMEM));
                // A context of its own does not avoid the limit, and neither does another process.
                in_child(|| assert_eq!(shared(&Knem::open(), 1).err(), Some(Errno::ENOMEM)));
                // Closing a context releases its share.
                drop(arrays.pop());
                assert_eq!(shared(&files[4], 1).err(), Some(Errno::ENOMEM), "its file is open still");
                drop(arrays);
                let last = files.into_iter().next_back().expect("five");
                crate::waiting::until("it can be mapped", || shared(&last, 1 << 18).is_ok());
            });
            // Another user has its own share.
            let own = Knem::open();
            let _array = shared(&own, 1 << 20).expect("all of it");
            in_child(|| {
                become_user(STRANGER);
                shared(&Knem::open(), 1 << 20).expect("all of it");
            });
        });
    });
}

fn every_file_has_its_own() {
    let files: Vec<Asynchronous> = (0..20).map(|_| Asynchronous::new(1, b"x")).collect();
    assert_eq!(files[3].read(3, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(files[3].slots.wait(3), DONE);
    for (number, file) in files.iter().enumerate().filter(|(number, _)| *number != 3) {
        assert_eq!(file.slots.get(3), PENDING, "{number}");
    }
}

fn duplicates_have_the_same() {
    let setting = Asynchronous::new(1, b"x");
    let duplicate = setting.knem.duplicate();
    let segments = &[setting.local.segment()];
    let request = Inline { cookie: setting.region, segments, flags: THREAD, ..Inline::default() };
    assert_eq!(duplicate.inline_at(request, 8), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(8), DONE);
}

fn slots_are_pending_at_first() {
    let knem = Knem::open();
    let slots = Slots::map(&knem, 5 * PAGE).expect("mapped");
    assert!(slots.memory().bytes().iter().all(|slot| *slot == PENDING));
}

fn programs_may_write_slots() {
    let setting = Asynchronous::new(1, b"x");
    setting.slots.set(1, 77);
    assert_eq!(setting.read(2, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(2), DONE);
    assert_eq!(setting.slots.get(1), 77);
}

fn pending_is_stored_when_a_request_is_accepted() {
    let setting = Asynchronous::new(1, b"x");
    for index in 0..200 {
        setting.slots.set(index, POISON);
        assert_eq!(setting.read(index, THREAD), Ok(u32::from(PENDING)));
        let now = setting.slots.get(index);
        assert!(now == PENDING || now == DONE, "{now}");
    }
    for index in 0..200 {
        assert_eq!(setting.slots.wait(index), DONE);
    }
}

fn slots_are_independent() {
    let setting = Asynchronous::new(1, b"x");
    (0..4096).for_each(|index| setting.slots.set(index, POISON));
    for index in [0, 100, 101, 4095] {
        assert_eq!(setting.read(index, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(index), DONE);
    }
    let touched = (0..4096).filter(|index| setting.slots.get(*index) != POISON).count();
    assert_eq!(touched, 4);
}

fn last_of_two_in_one_slot_wins() {
    let setting = Asynchronous::new(1, b"x");
    // Executed by the caller, so that the order is known.
    let flags = uapi::FLAG_ASYNCDMACOMPLETE;
    assert_eq!(setting.read_into(&[segment(hole(), 1)], 3, flags), Ok(FAILED));
    assert_eq!(setting.slots.get(3), uapi::STATUS_FAILED);
    assert_eq!(setting.read(3, flags), Ok(SUCCESS));
    assert_eq!(setting.slots.get(3), DONE);
    for _ in 0..100 {
        assert_eq!(setting.read(4, NOTIFY), Ok(u32::from(PENDING)));
    }
    crate::slots::wait_events(&setting.knem, 100);
    assert_eq!(setting.slots.get(4), DONE);
}

fn failure_is_shown() {
    let setting = Asynchronous::new(1, b"x");
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (USER_COPY, 1)], || {
        assert_eq!(setting.read_into(&[segment(hole(), 1)], 3, uapi::FLAG_ASYNCDMACOMPLETE), Ok(FAILED));
    });
    assert_eq!(setting.slots.get(3), uapi::STATUS_FAILED);
}

fn data_is_there_before_the_status() {
    const LENGTH: usize = 20_000;
    let mut setting = Asynchronous::new(1, &[1; LENGTH]);
    for round in 0..300 {
        let index = round % 4096;
        setting.slots.set(index, PENDING);
        setting.blank();
        assert_eq!(setting.read(index, THREAD), Ok(u32::from(PENDING)));
        // Busy-waits, to read the slot as early as possible.
        let start = std::time::Instant::now();
        while setting.slots.get(index) == PENDING {
            assert!(start.elapsed().as_secs() < 120, "it never completes");
            std::hint::spin_loop();
        }
        assert!(setting.local.bytes().iter().all(|byte| *byte == 1), "round {round}");
    }
}

fn synchronous_requests_touch_no_slot() {
    let setting = Asynchronous::new(1, b"x");
    (0..4096).for_each(|index| setting.slots.set(index, POISON));
    for flags in [0, uapi::FLAG_PINLOCAL] {
        assert_eq!(setting.read(0, flags), Ok(SUCCESS));
        assert_eq!(setting.write(1, flags), Ok(SUCCESS));
        assert_eq!(setting.read(u32::MAX, flags), Ok(SUCCESS), "the index is not looked at");
    }
    let place = (setting.region, 0);
    assert_eq!(setting.knem.copy_at(place, place, None, 0, 2), Ok(SUCCESS));
    assert!(setting.slots.memory().bytes().iter().all(|slot| *slot == POISON));
}

fn without_an_engine_the_status_is_in_both_places() {
    let mut setting = Asynchronous::new(1, b"contents");
    let alone = [
        uapi::FLAG_ASYNCDMACOMPLETE,
        uapi::FLAG_DMATHREAD,
        uapi::FLAG_ASYNCDMACOMPLETE | uapi::FLAG_DMATHREAD,
        uapi::FLAG_ASYNCDMACOMPLETE | uapi::FLAG_PINLOCAL,
    ];
    for (index, flags) in (10..).zip(alone) {
        setting.blank();
        let pinned = flags & uapi::FLAG_PINLOCAL != 0;
        let changes = [(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)];
        counts(if pinned { &changes } else { &changes[..2] }, || {
            assert_eq!(setting.read(index, flags), Ok(SUCCESS), "{flags:#x}");
        });
        assert_eq!(setting.slots.get(index), DONE, "{flags:#x}");
        assert_eq!(setting.local.bytes(), b"contents");
        let place = (setting.region, 0);
        setting.slots.set(index, POISON);
        assert_eq!(setting.knem.copy_at(place, place, None, flags, index), Ok(SUCCESS));
        assert_eq!(setting.slots.get(index), DONE);
        setting.slots.set(index, POISON);
        assert_eq!(setting.write(index, flags), Ok(SUCCESS));
        assert_eq!(setting.slots.get(index), DONE);
    }
}

fn zero_bytes_are_done_in_the_slot_and_pending_in_the_command() {
    let setting = Asynchronous::new(1, b"contents");
    for (index, flags) in (20..).zip([THREAD, uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD, NOTIFY]) {
        setting.slots.set(index, POISON);
        // None of them is counted as offloaded to the thread.
        let outcome = {
            let before = crate::counters::counters()[OFFLOADED];
            let outcome = setting.read_into(&[], index, flags);
            assert_eq!(crate::counters::counters()[OFFLOADED], before);
            outcome
        };
        assert_eq!(outcome, Ok(u32::from(PENDING)), "{flags:#x}");
        assert_eq!(setting.slots.get(index), DONE, "{flags:#x}");
        let place = (setting.region, 0);
        setting.slots.set(index, POISON);
        assert_eq!(setting.knem.copy_at(place, place, Some(0), flags, index), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.get(index), DONE, "{flags:#x}");
    }
    assert_eq!(crate::slots::wait_events(&setting.knem, 2), [23, 23]);
    assert!(poll_now(&setting.knem).is_empty());
}

fn queued_requests_are_pending_in_the_command() {
    let setting = Asynchronous::new(1, b"contents");
    for flags in [THREAD, THREAD | uapi::FLAG_DMATHREAD, THREAD | uapi::FLAG_ASYNCDMACOMPLETE, 0x1e] {
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (OFFLOADED, 1), (PINNED, 1)], || {
            assert_eq!(setting.read(0, flags), Ok(u32::from(PENDING)), "{flags:#x}");
        });
        assert_eq!(setting.slots.wait(0), DONE);
    }
}

fn mapping_works_in_a_control_group() {
    // Some kernels handle memory that is charged to a group differently from memory of the root group.
    let group = ControlGroup::new(&["memory"]);
    in_child(|| {
        group.join();
        let setting = Asynchronous::new(2 * PAGE, b"contents");
        assert_eq!(setting.read(PAGE as u32, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(PAGE as u32), DONE);
        assert_eq!(setting.local.bytes(), b"contents");
    });
}

fn forked_process_sees_the_same_slots() {
    let setting = Asynchronous::new(1, b"contents");
    crate::children::in_child(|| {
        assert_eq!(setting.read(6, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(6), DONE);
        assert_eq!(setting.local.bytes(), b"contents", "the child's memory");
        setting.slots.set(7, 99);
    });
    assert_eq!((setting.slots.get(6), setting.slots.get(7)), (DONE, 99));
    assert_eq!(setting.local.bytes(), [0; 8], "the parent's memory is another");
}

fn wild_indices_are_einval() {
    let setting = Asynchronous::new(PAGE, b"x");
    for index in [4096, 4097, 8192, 1 << 16, 1 << 31, u32::MAX - 4095, u32::MAX] {
        for flags in [THREAD, NOTIFY, uapi::FLAG_ASYNCDMACOMPLETE] {
            assert_eq!(setting.read(index, flags), Err(Errno::EINVAL), "{index:#x}");
        }
    }
    assert!(setting.slots.memory().bytes().iter().all(|slot| *slot == PENDING));
}
