// SPDX-License-Identifier: CECILL-B
//! Limits of pinned memory, and its accounting. A limit slows a program down but never stops it.

use nix::errno::Errno;
use nix::sys::resource::{setrlimit, Resource};

use knem_core::uapi::{FLAG_ANY_USER_ACCESS, FLAG_PINLOCAL};

use crate::children::{become_user, in_child, with_open_node, Child, STRANGER};
use crate::counters::{counts, nothing_is_pinned, status_kilobytes, PINNED, PROCESSED, SUBMITTED, USER_COPY};
use crate::device::{Knem, FAILED, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};
use crate::parameters::with_parameter;
use crate::slots::{Asynchronous, Slots, DONE, PENDING, THREAD};

crate::trials![
    "R17" pinned_memory_is_accounted,
    "R17" users_have_a_limit,
    "R17" limit_of_a_user_holds_over_forks,
    "R17" limit_of_an_address_space,
    "R17" root_has_no_limit,
    "R17" limit_can_be_switched_off,
    "R17" limit_can_refuse,
    "R18" machine_has_a_ceiling,
    "R18" user_has_a_ceiling,
    "R18" huge_regions_of_nothing_charge_nothing,
    "R35" failed_creation_gives_the_account_back,
    "R17" unpinned_regions_are_read_and_written,
    "R17" unpinned_regions_follow_their_owner,
    "R17" unpinned_regions_end_with_their_owner,
    "R17" unpinned_regions_are_listed,
    "R17" unpinned_regions_have_bad_addresses,
    "R17" large_messages_pass_small_limits,
    "R17" pins_of_a_request_are_limited,
];

fn pinned_kilobytes() -> i64 {
    status_kilobytes("VmPin")
}

/// Waits until this much is accounted: pages are released soon, but not at once.
fn settles_at(kilobytes: i64) {
    crate::waiting::comes(|| pinned_kilobytes() == kilobytes);
    assert_eq!(pinned_kilobytes(), kilobytes);
}

fn pinned_memory_is_accounted() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 25 * PAGE]));
    let before = pinned_kilobytes();
    let one = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(pinned_kilobytes(), before + 100);
    // The bytes are on two pages, which are counted for each segment.
    let part = memory.part(PAGE - 1, 2);
    let other = knem.create(&[part, part], READ, 0).expect("created");
    assert_eq!(pinned_kilobytes(), before + 116);
    assert_eq!(knem.destroy(one), Ok(()));
    settles_at(before + 16);
    assert_eq!(knem.destroy(other), Ok(()));
    settles_at(before);
    knem.create(&[memory.segment()], READ, 0).expect("created");
    drop(knem);
    settles_at(before);
    let (knem, local) = (Knem::open(), Mapping::new(PAGE));
    let region = knem.create(&[memory.part(0, PAGE)], READ, knem_core::uapi::FLAG_SINGLEUSE).expect("created");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    settles_at(before);
}

/// Runs `work` as a user that may lock this number of pages.
fn as_user_with(pages: usize, work: impl FnOnce()) {
    with_open_node(|| {
        in_child(|| {
            let limit = (pages * PAGE) as u64;
            setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
            become_user(STRANGER);
            work();
        });
    });
    nothing_is_pinned();
}

/// Runs `work` as a user that may lock 16 pages.
fn as_limited_user(work: impl FnOnce(&Knem, &Mapping)) {
    as_user_with(16, || work(&Knem::open(), &Mapping::holding(&[1; 20 * PAGE])));
}

fn users_have_a_limit() {
    as_limited_user(|knem, memory| {
        let create = |pages: usize| knem.create(&[memory.part(0, pages * PAGE)], READ, 0).expect("created");
        for _ in 0..3 {
            for (pages, kilobytes) in [(15, 60), (16, 64), (17, 0)] {
                let region = create(pages);
                assert_eq!(pinned_kilobytes(), kilobytes, "{pages} pages");
                assert_eq!(knem.destroy(region), Ok(()));
                settles_at(0);
            }
        }
        let whole = create(16);
        let beyond = create(1);
        assert_eq!(pinned_kilobytes(), 64, "the other region is not pinned");
        assert_eq!(knem.destroy(whole), Ok(()));
        settles_at(0);
        assert_eq!(knem.destroy(beyond), Ok(()));
        create(16);
        assert_eq!(pinned_kilobytes(), 64);
    });
}

fn limit_of_a_user_holds_over_forks() {
    as_limited_user(|knem, memory| {
        knem.create(&[memory.part(0, 10 * PAGE)], READ, 0).expect("created");
        assert_eq!(pinned_kilobytes(), 40);
        in_child(|| {
            let knem = Knem::open();
            let region = knem.create(&[memory.part(0, 7 * PAGE)], READ, 0).expect("created");
            assert_eq!(pinned_kilobytes(), 0, "another process of the user has the rest");
            assert_eq!(knem.destroy(region), Ok(()));
            knem.create(&[memory.part(0, 6 * PAGE)], READ, 0).expect("created");
            assert_eq!(pinned_kilobytes(), 24);
        });
    });
}

fn limit_of_an_address_space() {
    with_parameter("memlock", "1", || {
        as_limited_user(|knem, memory| {
            knem.create(&[memory.part(0, 10 * PAGE)], READ, 0).expect("created");
            in_child(|| {
                let knem = Knem::open();
                knem.create(&[memory.part(0, 16 * PAGE)], READ, 0).expect("created");
                assert_eq!(pinned_kilobytes(), 64);
                knem.create(&[memory.part(0, 1)], READ, 0).expect("created");
                assert_eq!(pinned_kilobytes(), 64);
            });
        });
    });
}

fn root_has_no_limit() {
    crate::machine::need_root();
    in_child(|| {
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).expect("setrlimit");
        let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 20 * PAGE]));
        let before = pinned_kilobytes();
        knem.create(&[memory.segment()], READ, 0).expect("created");
        assert_eq!(pinned_kilobytes(), before + 80);
    });
}

fn limit_can_be_switched_off() {
    with_parameter("memlock", "0", || {
        as_limited_user(|knem, memory| {
            knem.create(&[memory.segment()], READ, 0).expect("created");
            assert_eq!(pinned_kilobytes(), 80, "accounted all the same");
        });
    });
}

fn limit_can_refuse() {
    with_parameter("unpinned", "0", || {
        as_limited_user(|knem, memory| {
            assert_eq!(knem.create(&[memory.part(0, 17 * PAGE)], READ, 0), Err(Errno::ENOMEM));
            assert_eq!(pinned_kilobytes(), 0);
            let whole = knem.create(&[memory.part(0, 16 * PAGE)], READ, 0).expect("up to the limit");
            assert_eq!(knem.create(&[memory.part(0, 1)], READ, 0), Err(Errno::ENOMEM));
            assert_eq!(knem.create(&[], READ, 0).map(drop), Ok(()), "nothing needs nothing");
            assert_eq!(knem.destroy(whole), Ok(()));
            settles_at(0);
        });
    });
}

fn machine_has_a_ceiling() {
    with_parameter("max_user_pinned_mb", "1", || with_parameter("max_pinned_mb", "1", ceiling));
    nothing_is_pinned();
}

fn user_has_a_ceiling() {
    with_parameter("max_user_pinned_mb", "1", ceiling);
    nothing_is_pinned();
}

/// Tests a ceiling of 256 pages, regardless of the parameter that sets it.
fn ceiling() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; 256 * PAGE]));
    let half = memory.part(0, 128 * PAGE);
    let before = pinned_kilobytes();
    let pinned = |pages: i64| assert_eq!(pinned_kilobytes(), before + 4 * pages);
    let large = knem.create(&[half, half, memory.part(0, 1)], READ, 0).expect("created");
    pinned(0);
    let first = knem.create(&[half], READ, 0).expect("created");
    let second = Knem::open();
    second.create(&[half], READ, 0).expect("created");
    pinned(256);
    let beyond = knem.create(&[memory.part(0, 1)], READ, 0).expect("created");
    pinned(256);
    assert_eq!(knem.destroy(first), Ok(()));
    settles_at(before + 4 * 128);
    knem.create(&[half], READ, 0).expect("created");
    pinned(256);
    let local = Mapping::new(257 * PAGE);
    assert_eq!(knem.read(large, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(knem.read(beyond, 0, &[local.segment()], FLAG_PINLOCAL), Ok(SUCCESS));
    pinned(256);
}

fn huge_regions_of_nothing_charge_nothing() {
    let knem = Knem::open();
    let hole = crate::memory::hole();
    let before = pinned_kilobytes();
    for _ in 0..10 {
        let result = knem.create(&[crate::device::segment(hole, 1 << 40)], READ, 0);
        assert_eq!(result, Err(Errno::EFAULT));
    }
    assert_eq!(pinned_kilobytes(), before);
}

fn failed_creation_gives_the_account_back() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 20 * PAGE]));
    let before = pinned_kilobytes();
    for _ in 0..10 {
        let bad = [memory.segment(), crate::device::segment(crate::memory::hole(), 1)];
        assert_eq!(knem.create(&bad, READ, 0), Err(Errno::EFAULT));
    }
    settles_at(before);
}

/// Returns bytes that differ between pages, and within a page.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / PAGE * 7 + n * 13 % 251) as u8).collect()
}

fn unpinned_regions_are_read_and_written() {
    const LENGTH: usize = 3 << 20;
    as_user_with(0, || {
        let knem = Knem::open();
        let slots = Slots::map(&knem, PAGE).expect("mapped");
        let bytes = pattern(LENGTH);
        let (memory, other) = (Mapping::holding(&bytes), Mapping::new(LENGTH));
        // Segments that do not end at page boundaries.
        let list = [memory.part(0, 5), memory.part(5, LENGTH / 2), memory.part(LENGTH / 2 + 5, LENGTH / 2 - 5)];
        let source = knem.create(&list, READ | WRITE, 0).expect("created");
        let target = knem.create(&[other.segment()], READ | WRITE, 0).expect("created");
        assert_eq!(pinned_kilobytes(), 0);
        for flags in [0, FLAG_PINLOCAL, THREAD] {
            for offset in [0, 1, PAGE as u64 - 1, LENGTH as u64 / 2 + 3, LENGTH as u64 - 1] {
                let rest = LENGTH - usize::try_from(offset).expect("small");
                let mut local = Mapping::new(LENGTH);
                slots.set(3, PENDING);
                let request = |write, segments| crate::device::Inline {
                    cookie: if write == 0 { source } else { target },
                    offset,
                    segments,
                    flags,
                    write,
                    ..Default::default()
                };
                let finish = |answer: Result<u32, Errno>| {
                    if flags == THREAD {
                        assert_eq!(answer, Ok(u32::from(PENDING)));
                        assert_eq!(slots.wait(3), DONE);
                    } else {
                        assert_eq!(answer, Ok(SUCCESS));
                    }
                };
                let part = [local.part(0, rest)];
                finish(knem.inline_at(request(0, &part), 3));
                assert!(local.bytes()[..rest] == bytes[LENGTH - rest..], "{flags:#x} {offset}");
                assert!(local.bytes()[rest..].iter().all(|byte| *byte == 0));
                local.bytes_mut()[..rest].copy_from_slice(&bytes[..rest]);
                finish(knem.inline_at(request(1, &part), 3));
                assert!(other.bytes()[LENGTH - rest..] == bytes[..rest], "{flags:#x} {offset}");
            }
        }
        // Both sides are in one address space.
        for flags in [0, THREAD] {
            slots.set(4, PENDING);
            let answer = knem.copy_at((source, 7), (target, 0), None, flags, 4);
            if flags == THREAD {
                assert_eq!(answer, Ok(u32::from(PENDING)));
                assert_eq!(slots.wait(4), DONE);
            } else {
                assert_eq!(answer, Ok(SUCCESS));
            }
            assert!(other.bytes()[..LENGTH - 7] == bytes[7..]);
        }
        settles_at(0);
    });
}

fn unpinned_regions_follow_their_owner() {
    as_user_with(0, || {
        let (knem, mut memory, local) = (Knem::open(), Mapping::holding(&[1; 2 * PAGE]), Mapping::new(2 * PAGE));
        let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
        memory.bytes_mut().fill(2);
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert!(local.bytes() == [2; 2 * PAGE]);
        memory.protect(PAGE, PAGE, nix::sys::mman::ProtFlags::PROT_READ);
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1), (USER_COPY, 1)], || {
            assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(FAILED));
        });
    });
}

fn unpinned_regions_end_with_their_owner() {
    let (knem, local) = (Knem::open(), Mapping::new(2 * PAGE));
    let slots = Slots::map(&knem, PAGE).expect("mapped");
    let (memory, cookie) = (Mapping::holding(&[5; 2 * PAGE]), Mapping::of_file(
        crate::memory::memory_file(PAGE),
        PAGE,
        crate::memory::both(),
        nix::sys::mman::MapFlags::MAP_SHARED,
    ));
    let (ready, signal) = nix::unistd::pipe().expect("pipe");
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    with_open_node(|| {
        let owner = Child::start(|| {
            setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).expect("setrlimit");
            become_user(STRANGER);
            let region = knem.create(&[memory.segment()], READ, FLAG_ANY_USER_ACCESS).expect("created");
            // SAFETY: The shared page is aligned and large enough, and the parent reads it only after it is signalled.
            unsafe { (cookie.address() as usize as *mut u64).write(region) };
            nix::unistd::write(&signal, b"!").expect("written");
            nix::unistd::read(&wait, &mut [0]).expect("a signal");
        });
        assert_eq!(nix::unistd::read(&ready, &mut [0]), Ok(1));
        // SAFETY: The child has written the number before it signalled, and does not change it.
        let region = unsafe { (cookie.address() as usize as *const u64).read() };
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert!(local.bytes() == [5; 2 * PAGE], "memory of another process");
        nix::unistd::write(&go, b"!").expect("written");
        owner.succeeds();
        for flags in [0, FLAG_PINLOCAL, THREAD] {
            slots.set(0, PENDING);
            let request = crate::device::Inline { cookie: region, segments: &[local.segment()], flags, ..Default::default() };
            let answer = knem.inline_at(request, 0);
            if flags == THREAD {
                assert_eq!(answer, Ok(u32::from(PENDING)));
                assert_eq!(u32::from(slots.wait(0)), FAILED);
            } else {
                assert_eq!(answer, Ok(FAILED), "{flags:#x}");
            }
        }
        assert_eq!(knem.destroy(region), Ok(()));
    });
}

fn unpinned_regions_are_listed() {
    as_limited_user(|knem, memory| {
        let list = || std::fs::read_to_string("/proc/driver/knem/regions").expect("the file");
        knem.create(&[memory.part(0, PAGE)], READ, 0).expect("created");
        assert!(!list().contains("unpinned"), "{}", list());
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        assert!(list().lines().any(|line| line.ends_with(" r- unpinned")), "{}", list());
        let text = std::fs::read_to_string("/proc/driver/knem/statistics").expect("the file");
        assert!(text.lines().any(|line| line == "regions_unpinned 1"), "{text}");
        assert_eq!(knem.destroy(region), Ok(()));
        let text = std::fs::read_to_string("/proc/driver/knem/statistics").expect("the file");
        assert!(text.lines().any(|line| line == "regions_unpinned 0"), "{text}");
    });
}

fn unpinned_regions_have_bad_addresses() {
    as_user_with(0, || {
        let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 600 * PAGE]));
        let hole = crate::device::segment(crate::memory::hole(), 1);
        assert_eq!(knem.create(&[hole], READ, 0), Err(Errno::EFAULT));
        assert_eq!(knem.create(&[memory.segment(), hole], READ, 0), Err(Errno::EFAULT));
        memory.protect(599 * PAGE, PAGE, nix::sys::mman::ProtFlags::PROT_READ);
        assert_eq!(knem.create(&[memory.segment()], READ | WRITE, 0), Err(Errno::EFAULT));
        knem.create(&[memory.segment()], READ, 0).expect("created");
        settles_at(0);
        // Mapped before, so that it has another address than the other mapping.
        let local = Mapping::new(PAGE);
        let region = {
            let gone = Mapping::holding(&[1; PAGE]);
            knem.create(&[gone.segment()], READ, 0).expect("created")
        };
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(FAILED), "its memory is unmapped");
    });
}

fn large_messages_pass_small_limits() {
    const LENGTH: usize = 16 << 20;
    for pages in [0, 16] {
        as_user_with(pages, || {
            let mut setting = Asynchronous::new(PAGE, &pattern(LENGTH));
            let whole = |setting: &Asynchronous| setting.local.bytes() == setting.memory.bytes();
            for flags in [0, FLAG_PINLOCAL, THREAD, THREAD | FLAG_PINLOCAL] {
                setting.blank();
                setting.slots.set(1, PENDING);
                let answer = setting.read(1, flags).expect("accepted");
                if flags & THREAD != 0 {
                    assert_eq!((answer, setting.slots.wait(1)), (u32::from(PENDING), DONE));
                } else {
                    assert_eq!(answer, SUCCESS);
                }
                assert!(whole(&setting), "{pages} {flags:#x}");
                setting.memory.bytes_mut().fill(0);
                setting.slots.set(1, PENDING);
                let answer = setting.write(1, flags).expect("accepted");
                if flags & THREAD != 0 {
                    assert_eq!((answer, setting.slots.wait(1)), (u32::from(PENDING), DONE));
                } else {
                    assert_eq!(answer, SUCCESS);
                }
                assert!(whole(&setting), "{pages} {flags:#x}");
            }
            settles_at(0);
        });
    }
}

fn pins_of_a_request_are_limited() {
    drop(crate::stalled::Stalled::new(1));
    with_open_node(|| {
        in_child(|| {
            let stalled = crate::stalled::Stalled::new(1);
            setrlimit(Resource::RLIMIT_MEMLOCK, 16 * PAGE as u64, 16 * PAGE as u64).expect("setrlimit");
            become_user(STRANGER);
            let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; 1024 * PAGE]));
            let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
            let list = [memory.part(0, 1000 * PAGE), stalled.memory().part(0, PAGE)];
            std::thread::scope(|scope| {
                let copy = scope.spawn(|| knem.write(region, 0, &list, FLAG_PINLOCAL));
                stalled.is_touched();
                assert!(pinned_kilobytes() <= 64, "{} kB", pinned_kilobytes());
                stalled.release();
                assert_eq!(copy.join().expect("it comes back"), Ok(SUCCESS));
            });
            settles_at(0);
        });
    });
    nothing_is_pinned();
}
