// SPDX-License-Identifier: CECILL-B
//! Every way in which what a caller has comes to its end.

use knem_conformance::children::Child;
use knem_conformance::device::{Inline, Knem, READ};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::slots::{Asynchronous, Plug, Slots, NOTIFY, THREAD};
use nix::libc;

use super::asking::{closes, pattern, scattered, unmaps, without_pins};
use crate::nth::Nth;

super::scenarios![
    close_an_idle_file,
    close_with_regions,
    close_with_scattered_regions,
    close_with_unpinned_regions,
    close_with_events,
    close_with_queued_requests,
    close_one_of_two_descriptors,
    unmap_the_array_first,
    unmap_the_array_last,
    unmap_the_memory_of_a_region,
    exit_with_everything,
    killed_with_everything,
    exit_with_queued_requests,
    owner_exits_first,
];

fn close_an_idle_file(nth: &Nth) {
    let knem = Knem::open();
    nth.during(|| drop(knem));
}

fn close_with_regions(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(16 * PAGE)));
    for _ in 0..50 {
        knem.create(&[memory.segment()], READ, 0).expect("created");
    }
    nth.during(|| drop(knem));
}

fn close_with_scattered_regions(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(256 * PAGE)));
    knem.create(&scattered(&memory), READ, 0).expect("created");
    nth.during(|| drop(knem));
}

fn close_with_unpinned_regions(nth: &Nth) {
    without_pins(|| {
        let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(16 * PAGE)));
        knem.create(&[memory.segment()], READ, 0).expect("created");
        nth.during(|| drop(knem));
    });
}

fn close_with_events(nth: &Nth) {
    let setting = Asynchronous::new(PAGE, b"contents");
    for slot in 1..20 {
        setting.read(slot, NOTIFY).expect("queued");
        setting.slots.wait(slot);
    }
    closes(nth, setting.knem, setting.slots);
}

/// A file with requests in its queue, behind one that takes a while.
fn queued() -> (Asynchronous, Plug) {
    let setting = Asynchronous::new(PAGE, &pattern(3 * PAGE));
    let plug = Plug::new(&setting.knem);
    plug.insert(&setting.knem, 0, 4);
    for slot in 1..10 {
        setting.read(slot, NOTIFY).expect("queued");
    }
    (setting, plug)
}

fn close_with_queued_requests(nth: &Nth) {
    let (Asynchronous { knem, slots, memory, local, .. }, _plug) = queued();
    closes(nth, knem, slots);
    drop((memory, local));
}

fn close_one_of_two_descriptors(nth: &Nth) {
    let knem = Knem::open();
    let other = knem.duplicate();
    nth.during(|| drop(knem));
    other.info();
}

fn unmap_the_array_first(nth: &Nth) {
    let Asynchronous { knem, slots, memory, region, local } = Asynchronous::new(PAGE, &pattern(PAGE));
    let request = Inline { cookie: region, segments: &[local.segment()], flags: THREAD, ..Inline::default() };
    knem.inline_at(request, 1).expect("queued");
    unmaps(nth, slots.memory());
    std::mem::forget(slots);
    drop((knem, memory));
}

fn unmap_the_array_last(nth: &Nth) {
    let Asynchronous { knem, slots, .. } = Asynchronous::new(PAGE, &pattern(PAGE));
    drop(knem);
    unmaps(nth, slots.memory());
    std::mem::forget(slots);
}

fn unmap_the_memory_of_a_region(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(16 * PAGE)));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    unmaps(nth, &memory);
    std::mem::forget(memory);
    assert_eq!(knem.destroy(region), Ok(()));
}

/// A process that has some of everything.
fn everything() -> (Asynchronous, Knem, Mapping) {
    let (setting, other) = (Asynchronous::new(PAGE, &pattern(9 * PAGE)), Knem::open());
    setting.read(1, NOTIFY).expect("queued");
    setting.slots.wait(1);
    let memory = Mapping::holding(&pattern(64 * PAGE));
    other.create(&scattered(&memory), READ, 0).expect("created");
    (setting, other, memory)
}

fn exit_with_everything(nth: &Nth) {
    nth.in_dying_process(everything, |all| {
        std::mem::forget(all);
        // SAFETY: The call ends the child at once, so that no destructor of the parent's values runs here.
        unsafe { libc::_exit(0) }
    });
}

fn killed_with_everything(nth: &Nth) {
    nth.in_dying_process(everything, |all| {
        std::mem::forget(all);
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    });
}

fn exit_with_queued_requests(nth: &Nth) {
    nth.in_dying_process(queued, |all| {
        std::mem::forget(all);
        // SAFETY: The call ends the child at once, so that no destructor of the parent's values runs here.
        unsafe { libc::_exit(0) }
    });
}

fn owner_exits_first(nth: &Nth) {
    // The file is inherited: its region outlives the process whose memory it is.
    let knem = Knem::open();
    Child::start(|| {
        let memory = Mapping::holding(&pattern(8 * PAGE));
        knem.create(&[memory.segment()], READ, 0).expect("created");
        std::mem::forget(memory);
    })
    .succeeds();
    let slots = Slots::map(&knem, PAGE).expect("mapped");
    closes(nth, knem, slots);
}
