// SPDX-License-Identifier: CECILL-B
//! CREATE_REGION, INIT_SEND and DESTROY_REGION, for every kind of memory and list.

use knem_conformance::device::{segment, Knem, READ, SUCCESS, WRITE};
use knem_conformance::memory::{both, memory_file, Mapping, PAGE};
use knem_core::uapi::{self, CmdInitSend, ParamIovec, FLAG_ANY_USER_ACCESS, FLAG_SINGLEUSE};
use nix::sys::mman::MapFlags;

use super::asking::{pattern, scattered, without_pins};
use crate::nth::Nth;

super::scenarios![
    create_of_one_page,
    create_of_some_bytes,
    create_of_sixteen_pages,
    create_of_three_mebibytes,
    create_of_scattered_pages,
    create_of_a_long_list,
    create_of_untouched_memory,
    create_of_untouched_memory_to_read,
    create_of_shared_memory,
    create_of_nothing,
    create_for_one_use,
    create_for_any_user,
    create_write_only,
    create_unpinned,
    create_unpinned_of_a_list,
    create_until_the_table_grows,
    create_partly_unmapped,
    create_in_two_files,
    init_send,
    destroy,
    destroy_unpinned,
    destroy_of_scattered_pages,
    destroy_ten,
    create_and_destroy,
];

/// Creates a region, which must then be what was asked for.
fn create(nth: &Nth, segments: &[ParamIovec], protection: u32, flags: u32) {
    let knem = Knem::open();
    let region = nth.call(|| knem.create(segments, protection, flags));
    if protection & READ != 0 {
        let local = Mapping::new(64);
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        if let Some(first) = segments.first() {
            // SAFETY: The segments of these tests are mapped and readable in this process.
            let byte = unsafe { std::ptr::with_exposed_provenance::<u8>(first.base as usize).read_volatile() };
            assert_eq!(local.bytes()[0], byte);
        }
    }
    if flags & FLAG_SINGLEUSE == 0 {
        assert_eq!(knem.destroy(region), Ok(()));
    }
}

fn of(nth: &Nth, length: usize) {
    let memory = Mapping::holding(&pattern(length));
    create(nth, &[memory.segment()], READ | WRITE, 0);
}

fn create_of_one_page(nth: &Nth) {
    of(nth, PAGE);
}

fn create_of_some_bytes(nth: &Nth) {
    let memory = Mapping::holding(&pattern(2 * PAGE));
    create(nth, &[memory.part(PAGE - 3, 10)], READ, 0);
}

fn create_of_sixteen_pages(nth: &Nth) {
    of(nth, 16 * PAGE);
}

fn create_of_three_mebibytes(nth: &Nth) {
    of(nth, 3 << 20);
}

fn create_of_scattered_pages(nth: &Nth) {
    let memory = Mapping::holding(&pattern(256 * PAGE));
    create(nth, &scattered(&memory), READ | WRITE, 0);
}

fn create_of_a_long_list(nth: &Nth) {
    let memory = Mapping::holding(&pattern(PAGE));
    create(nth, &vec![memory.part(7, 3); 600], READ, 0);
}

fn create_of_untouched_memory(nth: &Nth) {
    let memory = Mapping::new(12 * PAGE);
    create(nth, &[memory.segment()], READ | WRITE, 0);
}

fn create_of_untouched_memory_to_read(nth: &Nth) {
    let memory = Mapping::new(12 * PAGE);
    create(nth, &[memory.segment()], READ, 0);
}

fn create_of_shared_memory(nth: &Nth) {
    let memory = Mapping::of_file(memory_file(12 * PAGE), 12 * PAGE, both(), MapFlags::MAP_SHARED);
    create(nth, &[memory.segment()], READ | WRITE, 0);
}

fn create_of_nothing(nth: &Nth) {
    let knem = Knem::open();
    let region = nth.call(|| knem.create(&[], READ, 0));
    assert_eq!(knem.destroy(region), Ok(()));
}

fn create_for_one_use(nth: &Nth) {
    let memory = Mapping::holding(&pattern(PAGE));
    create(nth, &[memory.segment()], READ, FLAG_SINGLEUSE);
}

fn create_for_any_user(nth: &Nth) {
    let memory = Mapping::holding(&pattern(PAGE));
    create(nth, &[memory.segment()], READ, FLAG_ANY_USER_ACCESS);
}

fn create_write_only(nth: &Nth) {
    let memory = Mapping::holding(&pattern(5 * PAGE));
    create(nth, &[memory.segment()], WRITE, 0);
}

fn create_unpinned(nth: &Nth) {
    without_pins(|| of(nth, 20 * PAGE));
}

fn create_unpinned_of_a_list(nth: &Nth) {
    let memory = Mapping::holding(&pattern(256 * PAGE));
    without_pins(|| create(nth, &scattered(&memory), READ, 0));
}

/// More than the table had room for at first.
fn create_until_the_table_grows(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(PAGE)));
    let create = || knem.create(&[memory.segment()], READ, 0);
    for _ in 0..45 {
        create().expect("created");
    }
    for _ in 0..8 {
        let region = nth.call(create);
        assert_eq!(knem.read(region, 0, &[Mapping::new(8).segment()], 0), Ok(SUCCESS));
    }
}

/// Refused, and what was pinned before the hole is released, whatever fails on the way.
fn create_partly_unmapped(nth: &Nth) {
    let (knem, (_between, inside)) = (Knem::open(), Mapping::between_holes(600 * PAGE));
    for page in 0..600 {
        let place = std::ptr::with_exposed_provenance_mut::<u8>(inside as usize + page * PAGE);
        // SAFETY: The address is inside the writable part of the mapping, to which no slice refers.
        unsafe { place.write_volatile(1) };
    }
    let answer = nth.during(|| knem.create(&[segment(inside, 601 * PAGE as u64)], READ, 0));
    assert!(answer.is_err(), "{answer:?}");
}

fn create_in_two_files(nth: &Nth) {
    let (files, memory) = ([Knem::open(), Knem::open()], Mapping::holding(&pattern(4 * PAGE)));
    for knem in &files {
        nth.call(|| knem.create(&[memory.segment()], READ, 0));
    }
}

fn init_send(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(3 * PAGE)));
    let list = [memory.segment()];
    let send_iovec_array = list.as_ptr().expose_provenance() as u64;
    let mut command = CmdInitSend { send_iovec_array, send_iovec_nr: 1, flags: 0, send_cookie: 0 };
    nth.call(|| knem.command(uapi::CMD_INIT_SEND, &mut command));
    assert_eq!(knem.destroy(command.send_cookie), Ok(()));
}

fn destroyed(nth: &Nth, segments: &[ParamIovec]) {
    let knem = Knem::open();
    let region = knem.create(segments, READ, 0).expect("created");
    nth.call(|| knem.destroy(region));
}

fn destroy(nth: &Nth) {
    let memory = Mapping::holding(&pattern(16 * PAGE));
    destroyed(nth, &[memory.segment()]);
}

fn destroy_unpinned(nth: &Nth) {
    let memory = Mapping::holding(&pattern(16 * PAGE));
    without_pins(|| destroyed(nth, &[memory.segment()]));
}

fn destroy_of_scattered_pages(nth: &Nth) {
    let memory = Mapping::holding(&pattern(256 * PAGE));
    destroyed(nth, &scattered(&memory));
}

fn destroy_ten(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(PAGE)));
    let regions: Vec<u64> = (0..10).map(|_| knem.create(&[memory.segment()], READ, 0).expect("created")).collect();
    for region in regions {
        nth.call(|| knem.destroy(region));
    }
}

fn create_and_destroy(nth: &Nth) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(2 * PAGE)));
    let region = nth.call(|| knem.create(&[memory.segment()], READ, 0));
    nth.call(|| knem.destroy(region));
}
