// SPDX-License-Identifier: CECILL-B
//! How much memory may be pinned, and that it is accounted for.

use nix::errno::Errno;
use nix::sys::resource::{setrlimit, Resource};

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::counters::{nothing_is_pinned, status_kilobytes};
use crate::device::{Knem, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};
use crate::parameters::with_parameter;

crate::trials![
    "R17" pinned_memory_is_accounted,
    "R17" users_have_a_limit,
    "R17" root_has_no_limit,
    "R17" limit_can_be_switched_off,
    "R18" machine_has_a_ceiling,
    "R35" failed_creation_gives_the_account_back,
];

fn pinned_kilobytes() -> i64 {
    status_kilobytes("VmPin")
}

/// Waits until this much is accounted: pages are released soon, not at once.
fn settles_at(kilobytes: i64) {
    crate::waiting::comes(|| pinned_kilobytes() == kilobytes);
    assert_eq!(pinned_kilobytes(), kilobytes);
}

fn pinned_memory_is_accounted() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 25 * PAGE]));
    let before = pinned_kilobytes();
    let one = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(pinned_kilobytes(), before + 100);
    // Bytes of two pages, for each segment that names them.
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

/// Runs `work` as a user who may lock 16 pages.
fn as_limited_user(work: impl FnOnce(&Knem, &Mapping)) {
    with_open_node(|| {
        in_child(|| {
            let limit = 16 * PAGE as u64;
            setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit).expect("setrlimit");
            become_user(STRANGER);
            work(&Knem::open(), &Mapping::holding(&[1; 20 * PAGE]));
        });
    });
    nothing_is_pinned();
}

fn users_have_a_limit() {
    as_limited_user(|knem, memory| {
        assert_eq!(knem.create(&[memory.part(0, 17 * PAGE)], READ, 0), Err(Errno::ENOMEM));
        assert_eq!(pinned_kilobytes(), 0);
        let whole = knem.create(&[memory.part(0, 16 * PAGE)], READ, 0).expect("up to the limit");
        assert_eq!(pinned_kilobytes(), 64);
        assert_eq!(knem.create(&[memory.part(0, 1)], READ, 0), Err(Errno::ENOMEM));
        assert_eq!(knem.create(&[], READ, 0).map(drop), Ok(()), "nothing needs nothing");
        assert_eq!(knem.destroy(whole), Ok(()));
        settles_at(0);
        for _ in 0..3 {
            let whole = knem.create(&[memory.part(0, 16 * PAGE)], READ, 0).expect("again");
            assert_eq!(knem.destroy(whole), Ok(()));
            settles_at(0);
        }
    });
}

fn root_has_no_limit() {
    crate::machine::need_root();
    in_child(|| {
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, 0).expect("setrlimit");
        let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 20 * PAGE]));
        knem.create(&[memory.segment()], READ, 0).expect("created");
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

fn machine_has_a_ceiling() {
    with_parameter("max_pinned_mb", "1", || {
        let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; 256 * PAGE]));
        let half = memory.part(0, 128 * PAGE);
        assert_eq!(knem.create(&[half, half, memory.part(0, 1)], READ, 0), Err(Errno::ENOMEM));
        let first = knem.create(&[half], READ, 0).expect("created");
        let second = Knem::open();
        second.create(&[half], READ, 0).expect("created");
        assert_eq!(knem.create(&[memory.part(0, 1)], READ, 0), Err(Errno::ENOMEM));
        assert_eq!(knem.destroy(first), Ok(()));
        nothing_more_than(128);
        knem.create(&[half], READ, 0).expect("created");
    });
    nothing_is_pinned();
}

fn nothing_more_than(pages: i64) {
    crate::waiting::until("pages are released", || crate::counters::pinned_pages() <= pages);
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
