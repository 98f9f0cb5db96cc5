// SPDX-License-Identifier: CECILL-B
//! The 31 weaknesses of the original driver, each as an attack that must fail.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use knem_core::uapi::{self, CmdCreateRegion};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::mman::ProtFlags;
use nix::sys::signal::{kill, Signal};

use crate::children::{become_user, in_child, with_open_node, Child, STRANGER};
use crate::counters::{counters, counts, nothing_is_pinned, status_kilobytes, text, PROCESSED, SUBMITTED};
use crate::device::{segment, Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::{hole, Mapping, PAGE};
use crate::random::Random;
use crate::slots::{address, events, poll_now, wait_events, Asynchronous, Plug, Slots, DONE, NOTIFY, PENDING, THREAD};
use crate::threads::Thread;

crate::trials![
    "W1 R22" w01_large_status_arrays_overflow_nothing,
    "W2 R3" w02_read_only_arguments_crash_nothing,
    "W3 R1" w03_wrapped_lengths_reach_no_foreign_memory,
    "W4 R11" w04_single_use_is_not_in_the_cookie,
    "W5 R4" w05_offset_at_a_segments_end_reads_no_page_behind,
    "W6 R5" w06_reading_before_the_mapping_shows_nothing,
    "W7 R5" w07_polling_a_reader_is_harmless,
    "W8 R6" w08_overlapping_copies_spare_the_rest,
    "W9 R59" w09_last_small_piece_does_not_end_a_copy_early,
    "W10 R42" w10_empty_notified_requests_leak_no_capacity,
    "W11 R40" w11_failed_requests_consume_nothing,
    "W12 R21" w12_too_many_regions_are_an_errno,
    "W13 R60" w13_unknown_flags_have_no_power,
    "W14 R27" w14_long_copies_can_be_killed,
    "W15 R42" w15_faulting_reads_lose_no_event,
    "W16 R10" w16_stale_cookies_never_live_again,
    "W17 R33" w17_forked_owners_are_not_read_stale,
    "W18 R17" w18_pins_are_accounted_and_limited,
    "W19 R21" w19_kernel_memory_is_bounded,
    "W20 R38" w20_work_of_the_dead_is_drained,
    "W21 R24" w21_thread_obeys_the_cpuset,
    "W22 R28" w22_nothing_waits_for_ever,
    "W23 R13" w23_deputies_and_strangers_are_refused,
    "W24 R12" w24_cookies_show_nowhere,
    "W25 R41" w25_status_comes_after_the_data,
    "W26 R43" w26_counters_add_up_under_load,
    "W26 R44" w26_documented_clear_works,
    "W27 R26" w27_opening_does_not_wait,
    "W28 R48" w28_building_put_no_file_elsewhere,
    "W29 R46" w29_installation_left_nothing_half_done,
    "W30 R51" w30_node_is_the_groups,
    "W31 R55" w31_module_is_of_the_running_kernel,
];

fn w01_large_status_arrays_overflow_nothing() {
    // The original driver's allocation was too small from the second page on.
    for pages in [2, 3, 8, 100, 1000, 4096] {
        let setting = Asynchronous::new(pages * PAGE, b"contents");
        let last = u32::try_from(pages * PAGE - 1).expect("small");
        assert_eq!(setting.read(last, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(last), DONE);
        let touched = setting.slots.memory().bytes().iter().filter(|slot| **slot != PENDING).count();
        assert_eq!(touched, 1);
    }
}

fn w02_read_only_arguments_crash_nothing() {
    nothing_is_pinned();
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 10 * PAGE]));
    let list = [memory.segment()];
    let page = Mapping::new(PAGE);
    for _ in 0..20 {
        let command = CmdCreateRegion { iovec_array: address(&list), iovec_nr: 1, protection: READ, ..Default::default() };
        page.protect(0, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
        let place = std::ptr::with_exposed_provenance_mut::<CmdCreateRegion>(page.address() as usize);
        // SAFETY: The page is mapped, and it is aligned and large enough for the command.
        unsafe { place.write(command) };
        page.protect(0, PAGE, ProtFlags::PROT_READ);
        assert_eq!(knem.command_at(uapi::CMD_CREATE_REGION, page.address()), Err(Errno::EFAULT));
    }
    nothing_is_pinned();
    // Another thread unmaps the memory at any time: any result is OK, and nothing stays pinned.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                page.protect(0, PAGE, ProtFlags::PROT_READ);
                page.protect(0, PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
            }
        });
        for _ in 0..500 {
            let _ = knem.command_at(uapi::CMD_CREATE_REGION, page.address());
            let _ = knem.command_at(uapi::CMD_GET_INFO, page.address() + 64);
        }
    });
    drop(knem);
    nothing_is_pinned();
}

fn w03_wrapped_lengths_reach_no_foreign_memory() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let base = memory.address();
    for len in [u64::MAX, u64::MAX - 0xfff, u64::MAX - base, u64::MAX - base + 1, 1 << 63, (1 << 63) - 1] {
        assert_eq!(knem.create(&[segment(base, len)], READ, 0), Err(Errno::EFAULT), "{len:#x}");
        let two = knem.create(&[memory.segment(), segment(base, len)], READ, 0);
        assert!(matches!(two, Err(Errno::EFAULT | Errno::EINVAL)), "{two:?}");
    }
    // Sums that wrap around to a small number.
    let half = segment(base, (1 << 63) - 8);
    let wrapped = knem.create(&[half, half, memory.segment(), segment(base, 9)], READ, 0);
    assert!(matches!(wrapped, Err(Errno::EFAULT | Errno::EINVAL)), "{wrapped:?}");
    nothing_is_pinned();
}

fn w04_single_use_is_not_in_the_cookie() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    let single = knem.create(&[memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
    let shared = knem.create(&[memory.segment()], READ, 0).expect("created");
    for bit in 0..64 {
        for cookie in [single, shared] {
            assert_eq!(knem.read(cookie ^ (1 << bit), 0, &[local.segment()], 0), Err(Errno::EINVAL), "bit {bit}");
            assert_eq!(knem.destroy(cookie ^ (1 << bit)), Err(Errno::EINVAL), "bit {bit}");
        }
    }
    for _ in 0..10 {
        assert_eq!(knem.read(shared, 0, &[local.segment()], 0), Ok(SUCCESS));
    }
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Err(Errno::EINVAL));
}

fn w05_offset_at_a_segments_end_reads_no_page_behind() {
    // More than 4096 pages: the original driver's list of pages ended at a guard page there.
    const LENGTH: usize = 4200 * PAGE;
    let (knem, memory, local) = (Knem::open(), Mapping::new(LENGTH), Mapping::new(64));
    let tail = Mapping::holding(&[7; 64]);
    let region = knem.create(&[memory.segment(), tail.segment()], READ | WRITE, 0).expect("created");
    for flags in [0, uapi::FLAG_PINLOCAL] {
        assert_eq!(knem.read(region, LENGTH as u64, &[local.segment()], flags), Ok(SUCCESS));
        assert_eq!(local.bytes(), [7; 64]);
        assert_eq!(knem.read(region, LENGTH as u64 + 64, &[local.segment()], flags), Ok(SUCCESS));
        assert_eq!(knem.write(region, LENGTH as u64, &[local.segment()], flags), Ok(SUCCESS));
    }
}

fn w06_reading_before_the_mapping_shows_nothing() {
    let knem = Knem::open();
    let mut buffer = [0x5a; 4096];
    for length in [4, 64, 4096] {
        assert_eq!(nix::unistd::read(knem.fd(), &mut buffer[..length]), Err(Errno::EINVAL));
    }
    assert_eq!(buffer, [0x5a; 4096]);
    let region = knem.create(&[], READ, 0).expect("created");
    let request = Inline { cookie: region, flags: NOTIFY, ..Inline::default() };
    assert_eq!(knem.inline_at(request, 0), Err(Errno::EINVAL));
}

fn w07_polling_a_reader_is_harmless() {
    let reader = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    assert!(poll_now(&reader).contains(nix::poll::PollFlags::POLLIN));
}

fn w08_overlapping_copies_spare_the_rest() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&Random::new(9).bytes(6 * PAGE)));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    for (from, to, length) in [(0, 100, 8000), (100, 0, 8000), (0, 1, 3 * PAGE), (1, 0, 3 * PAGE), (5, 5, 9000)] {
        let before = memory.bytes().to_vec();
        assert_eq!(knem.copy((region, from as u64), (region, to as u64), Some(length as u64), 0), Ok(SUCCESS));
        let after = memory.bytes();
        assert!(after[..to] == before[..to] && after[to + length..] == before[to + length..], "{from} to {to}");
    }
}

fn w09_last_small_piece_does_not_end_a_copy_early() {
    // Without a DMA channel the CPU executes requests with its flags; with one, tests/vm has an adversarial DMA engine.
    let data = Random::new(11).bytes(3 * PAGE + 5);
    let mut setting = Asynchronous::new(1, &data);
    let with = if setting.knem.info().features & uapi::FEATURE_DMA != 0 { uapi::FLAG_DMA } else { 0 };
    for (index, flags) in (0..).zip([uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD]) {
        setting.blank();
        setting.read(index, flags | with).expect("accepted");
        assert_eq!(setting.slots.wait(index), DONE);
        assert!(setting.local.bytes() == data);
    }
}

fn w10_empty_notified_requests_leak_no_capacity() {
    let setting = Asynchronous::new(1, b"contents");
    let place = (setting.region, 0);
    for round in 0..3 {
        for index in 0..4096 {
            let outcome = match index % 3 {
                0 => setting.read_into(&[], index, NOTIFY),
                1 => setting.knem.copy_at(place, place, Some(0), NOTIFY, index),
                _ => setting.knem.copy_at((setting.region, 8), place, None, NOTIFY, index),
            };
            assert_eq!(outcome, Ok(u32::from(PENDING)), "round {round}");
        }
        assert!(wait_events(&setting.knem, 4096).into_iter().eq(0..4096));
    }
}

fn w11_failed_requests_consume_nothing() {
    let (knem, memory, other) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    let single = knem.create(&[memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
    let unwritable = knem.create(&[other.segment()], READ, 0).expect("created");
    assert_eq!(knem.copy((single, 0), (unwritable, 0), None, 0), Err(Errno::EACCES));
    assert_eq!(knem.copy((single, 0), (0xbad, 0), None, 0), Err(Errno::EINVAL));
    assert_eq!(knem.copy((single, 0), (single, 0), None, 0).err(), Some(Errno::EACCES));
    assert_eq!(knem.read(single, 0, &[segment(hole(), 8)], uapi::FLAG_PINLOCAL), Err(Errno::EFAULT));
    assert_eq!(knem.read(single, 0, &[other.segment()], 0), Ok(SUCCESS), "usable still");
    assert_eq!(knem.destroy(single), Err(Errno::EINVAL));
}

fn w12_too_many_regions_are_an_errno() {
    crate::parameters::with_parameter("max_regions", "100", || {
        let knem = Knem::open();
        let regions: Vec<u64> = (0..100).map(|_| knem.create(&[], READ, 0).expect("created")).collect();
        for _ in 0..10 {
            assert_eq!(knem.create(&[], READ, 0), Err(Errno::EBUSY));
        }
        for region in regions {
            assert_eq!(knem.destroy(region), Ok(()));
        }
        knem.create(&[], READ, 0).expect("created");
    });
}

fn w13_unknown_flags_have_no_power() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"contents"), Mapping::new(8));
    for bit in 8..32 {
        let region = knem.create(&[memory.segment()], READ, 1 << bit).expect("created");
        assert_eq!(knem.read(region, 0, &[local.segment()], 1 << bit), Ok(SUCCESS));
        assert_eq!(knem.write(region, 0, &[local.segment()], 1 << bit), Err(Errno::EACCES));
        assert_eq!(knem.destroy(region), Ok(()));
    }
    let region = knem.create(&[memory.segment()], !WRITE, 0).expect("created");
    assert_eq!(knem.write(region, 0, &[local.segment()], 0), Err(Errno::EACCES), "no bit but PROT_WRITE lets write");
}

fn w14_long_copies_can_be_killed() {
    const PIECE: usize = 1 << 20;
    let memory = Mapping::holding(&vec![1; PIECE]);
    let (ready, signal) = nix::unistd::pipe().expect("pipe");
    // Half a gibibyte between regions, repeatedly: the process ends only when it is killed.
    let child = Child::start(|| {
        let knem = Knem::open();
        let region = knem.create(&vec![memory.segment(); 256], READ | WRITE, 0).expect("created");
        nix::unistd::write(&signal, b"!").expect("written");
        loop {
            let _ = knem.copy((region, 0), (region, 128 << 20), Some(128 << 20), 0);
        }
    });
    assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
    kill(child.id(), Signal::SIGKILL).expect("killed");
    child.wait();
    nothing_is_pinned();
}

fn w15_faulting_reads_lose_no_event() {
    let setting = Asynchronous::new(1, b"contents");
    for index in 0..10 {
        assert_eq!(setting.read_into(&[], index, NOTIFY), Ok(u32::from(PENDING)));
    }
    let place = std::ptr::with_exposed_provenance_mut(hole() as usize);
    for _ in 0..100 {
        // SAFETY: Nothing is mapped at the address, so that no memory can be overwritten; the kernel checks it.
        let result = unsafe { nix::libc::read(std::os::fd::AsRawFd::as_raw_fd(&setting.knem.fd()), place, 40) };
        assert_eq!(Errno::result(result), Err(Errno::EFAULT));
    }
    assert!(events(&setting.knem, 40).expect("read").into_iter().eq(0..10));
}

fn w16_stale_cookies_never_live_again() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(8), Mapping::new(8));
    let stale: Vec<u64> = (0..1000)
        .map(|_| {
            let region = knem.create(&[memory.segment()], READ, 0).expect("created");
            assert_eq!(knem.destroy(region), Ok(()));
            region
        })
        .collect();
    let mut seen: HashSet<u64> = stale.iter().copied().collect();
    for _ in 0..20_000 {
        let region = knem.create(&[], READ, 0).expect("created");
        assert!(seen.insert(region), "{region:#x} came again");
    }
    for region in stale {
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EINVAL));
    }
    // Guesses do not find an existing region.
    let mut random = Random::new(16);
    let count = 200_000;
    let misses = (0..count).filter(|_| knem.read(random.next(), 0, &[], 0) == Err(Errno::EINVAL)).count();
    assert_eq!(misses, count);
}

fn w17_forked_owners_are_not_read_stale() {
    let (knem, mut memory) = (Knem::open(), Mapping::holding(&[1; 2 * PAGE]));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    let child = Child::start(|| {
        nix::unistd::read(&wait, &mut [0]).expect("a signal");
    });
    memory.bytes_mut().fill(2);
    let local = Mapping::new(2 * PAGE);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert!(local.bytes() == [2; 2 * PAGE]);
    nix::unistd::write(&go, b"!").expect("written");
    child.succeeds();
}

fn w18_pins_are_accounted_and_limited() {
    with_open_node(|| {
        in_child(|| {
            use nix::sys::resource::{setrlimit, Resource};
            let limit = 64 * PAGE as u64;
            setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
            become_user(STRANGER);
            let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 100 * PAGE]));
            let held: Vec<u64> = (0..64).map_while(|_| knem.create(&[memory.part(0, PAGE)], READ, 0).ok()).collect();
            assert_eq!(held.len(), 64);
            assert_eq!(status_kilobytes("VmPin"), 256);
            knem.create(&[memory.part(0, PAGE)], READ, 0).expect("created, and not pinned");
            // Another context of the user counts to the same limit.
            let other = Knem::open();
            other.create(&[memory.part(0, PAGE)], READ, 0).expect("created, and not pinned");
            assert_eq!(status_kilobytes("VmPin"), 256);
        });
    });
    nothing_is_pinned();
}

fn w19_kernel_memory_is_bounded() {
    // Each of the limits has its errno; the machine is not affected.
    crate::parameters::with_parameter("max_slots", "4096", || {
        assert_eq!(Slots::map(&Knem::open(), 1 << 30).err(), Some(Errno::ENOMEM));
    });
    crate::parameters::with_parameter("max_segments", "10", || {
        let memory = Mapping::new(64);
        assert_eq!(Knem::open().create(&[memory.part(0, 1); 11], READ, 0), Err(Errno::ENOMEM));
    });
    crate::parameters::with_parameter("max_contexts", "4", || {
        with_open_node(|| {
            in_child(|| {
                become_user(STRANGER);
                let files: Vec<Knem> = (0..4).map(|_| Knem::open()).collect();
                assert_eq!(Knem::open_as(OFlag::O_WRONLY).err(), Some(Errno::ENOSPC));
                drop(files);
            });
        });
    });
}

fn w20_work_of_the_dead_is_drained() {
    // tests/vm tests an immediate unload. This test checks that the work of a killed process ends without the help of
    // another process.
    let before = Thread::all();
    for _ in 0..10 {
        let child = Child::start(|| loop {
            let setting = Asynchronous::new(1, &[1; 100_000]);
            for index in 0..50 {
                assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
            }
        });
        crate::waiting::until("it works", || Thread::all() != before || !child.is_running());
        kill(child.id(), Signal::SIGKILL).expect("killed");
        child.wait();
        nothing_is_pinned();
    }
    crate::waiting::until("the threads end", || Thread::all() == before);
}

fn w21_thread_obeys_the_cpuset() {
    let all = crate::machine::need_processors();
    let group = crate::machine::ControlGroup::new(&["cpuset"]);
    group.set("cpuset.cpus", &all[0].to_string());
    in_child(|| {
        group.join();
        let knem = Knem::open();
        let mask = [u64::MAX; 16];
        let mut bind = uapi::CmdBindOffload {
            flags: uapi::BIND_FLAG_CUSTOM,
            mask_len: 128,
            mask_ptr: mask.as_ptr().expose_provenance() as u64,
        };
        knem.command(uapi::CMD_BIND_OFFLOAD, &mut bind).expect("bound");
        let (thread, _slots) = Thread::of(&knem, 1);
        crate::waiting::until("the thread is confined", || thread.processors() == all[0].to_string());
        assert_eq!(knem.command(uapi::CMD_BIND_OFFLOAD, &mut bind), Err(Errno::EBUSY));
    });
}

fn w22_nothing_waits_for_ever() {
    let setting = Asynchronous::new(1, b"contents");
    // With all flags for DMA, with and without a channel, the request ends.
    let with = if setting.knem.info().features & uapi::FEATURE_DMA != 0 { uapi::FLAG_DMA } else { 0 };
    for flags in 0..0x20 {
        let flags = flags & !uapi::FLAG_DMA | with;
        let outcome = setting.read(flags, flags).expect("accepted");
        let asynchronous = flags & uapi::FLAG_ANY_ASYNC_MASK != 0;
        if asynchronous {
            assert_eq!(setting.slots.wait(flags), DONE, "{flags:#x}");
        } else {
            assert_eq!(outcome, SUCCESS);
        }
    }
}

fn w23_deputies_and_strangers_are_refused() {
    crate::machine::need_root();
    use nix::unistd::{setresuid, Uid};
    let ids = |real: u32, effective: u32| {
        setresuid(Uid::from_raw(real), Uid::from_raw(effective), Uid::from_raw(0)).expect("setresuid");
    };
    in_child(|| {
        with_open_node(|| {
            // A set-user-id program of root, run by another user, shares memory.
            ids(STRANGER, 0);
            let (deputy, secret, local) = (Knem::open(), Mapping::holding(b"password"), Mapping::new(8));
            let region = deputy.create(&[secret.segment()], READ, 0).expect("created");
            assert_eq!(deputy.read(region, 0, &[local.segment()], 0), Ok(SUCCESS), "itself");
            ids(STRANGER, STRANGER);
            assert_eq!(deputy.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM), "who runs it");
            ids(0, 0);
            assert_eq!(deputy.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM), "root");
        });
    });
}

fn w24_cookies_show_nowhere() {
    let setting = Asynchronous::new(1, b"contents");
    let cookies: Vec<u64> = (0..4)
        .map(|n| {
            let flags = if n % 2 == 0 { uapi::FLAG_SINGLEUSE } else { 0 };
            setting.knem.create(&[setting.memory.segment()], READ, flags).expect("created")
        })
        .chain([setting.region])
        .collect();
    assert_eq!(setting.read(0, THREAD), Ok(u32::from(PENDING)));
    assert_eq!(setting.slots.wait(0), DONE);
    let mut shown = vec![text()];
    shown.extend(Thread::all().into_iter().filter_map(|thread| thread.read("comm")));
    shown.extend(std::process::Command::new("dmesg").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()));
    if crate::parameters::get("statsverbose").is_some() && nix::unistd::geteuid().is_root() {
        shown.push(crate::parameters::with_parameter("statsverbose", "1", text));
    }
    for cookie in cookies {
        for part in [cookie >> 32, cookie & 0xffff_ffff, cookie & 0x7fff_ffff] {
            let forms = [format!("{part:08x}"), format!("{part}")];
            let found = shown.iter().find(|text| forms.iter().any(|form| form.len() >= 7 && text.contains(form.as_str())));
            assert_eq!(found, None, "a part of {cookie:#x}");
        }
    }
}

fn w25_status_comes_after_the_data() {
    // Only weakly ordered CPUs could reveal a missing release; the driver's source shows it.
    let mut setting = Asynchronous::new(1, &[1; 30_000]);
    for index in 0..100 {
        setting.blank();
        assert_eq!(setting.read(index, NOTIFY), Ok(u32::from(PENDING)));
        while setting.slots.get(index) == PENDING {
            std::hint::spin_loop();
        }
        assert!(setting.local.bytes().iter().rev().all(|byte| *byte == 1));
    }
    assert_eq!(wait_events(&setting.knem, 100).len(), 100);
}

fn w26_counters_add_up_under_load() {
    const EACH: i64 = 2000;
    counts(&[(SUBMITTED, 6 * EACH), (PROCESSED, 6 * EACH)], || {
        let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let local = Mapping::new(8);
                    for _ in 0..EACH {
                        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
                    }
                });
            }
        });
    });
}

fn w26_documented_clear_works() {
    crate::machine::need_root();
    assert_eq!(Knem::open().read(0, 0, &[], 0), Err(Errno::EINVAL));
    std::fs::write(crate::device::node(), "1\n").expect("echo 1 > /dev/knem");
    assert!(counters().values().all(|value| *value == 0));
}

fn w27_opening_does_not_wait() {
    let busy = Asynchronous::new(1, b"contents");
    let plug = Plug::new(&busy.knem);
    plug.insert(&busy.knem, 0, 100);
    // While other contexts are in use, even if one of them has thousands of regions.
    for _ in 0..2000 {
        busy.knem.create(&[], READ, 0).expect("created");
    }
    for _ in 0..200 {
        assert_eq!(Knem::open().info().abi, uapi::ABI_VERSION);
    }
    plug.remove(&busy.knem);
}

/// Skips the test unless the project's packages are installed.
fn installed() {
    if !Path::new("/usr/lib/udev/rules.d/60-knem.rules").exists() {
        crate::skip("the packages are not installed here; `make check` tests them");
    }
}

fn w28_building_put_no_file_elsewhere() {
    installed();
    for path in ["/usr/lib/pkgconfig/knem.pc", "/opt/knem", "/usr/local/include/knem_io.h"] {
        assert!(!Path::new(path).exists(), "{path}");
    }
    assert!(Path::new("/usr/share/pkgconfig/knem.pc").exists());
}

fn w29_installation_left_nothing_half_done() {
    installed();
    let Ok(audit) = std::process::Command::new("dpkg").arg("--audit").output() else { crate::skip("there is no dpkg") };
    assert!(audit.status.success() && audit.stdout.is_empty(), "{}", String::from_utf8_lossy(&audit.stdout));
}

fn w30_node_is_the_groups() {
    installed();
    let node = std::fs::metadata(crate::device::node()).expect("the node");
    let group = nix::unistd::Group::from_name("rdma").expect("groups").expect("the group rdma");
    assert_eq!((node.mode() & 0o7777, node.uid(), node.gid()), (0o660, 0, group.gid.as_raw()));
    let rules = std::fs::read_dir("/etc/udev/rules.d").map(|entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("knem")).count()
    });
    assert!(matches!(rules, Ok(0) | Err(_)), "the administrator's directory is left alone");
    assert!(Path::new("/usr/lib/sysusers.d/knem.conf").exists());
}

fn w31_module_is_of_the_running_kernel() {
    installed();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let output = std::process::Command::new("modinfo").args(["-F", "vermagic", "knem"]).output();
    let Ok(output) = output else { crate::skip("there is no modinfo") };
    let magic = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(magic.starts_with(release.trim()), "{magic}");
}
