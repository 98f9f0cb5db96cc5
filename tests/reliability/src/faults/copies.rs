// SPDX-License-Identifier: CECILL-B
//! Copies within the call: COPY, INLINE_COPY, both with and without a bound, and SYNC_RECV.

use knem_conformance::device::{Inline, Knem, FAILED, READ, SUCCESS, WRITE};
use knem_conformance::memory::{both, memory_file, Mapping, PAGE};
use knem_core::uapi::{self, CmdSyncRecv, FLAG_PINLOCAL, FLAG_SINGLEUSE};
use nix::errno::Errno;
use nix::sys::mman::MapFlags;

use super::asking::{copies, pattern, scattered, without_pins, Pair};
use crate::nth::Nth;

super::scenarios![
    copy_between_regions,
    copy_three_mebibytes,
    copy_bounded,
    copy_between_scattered_pages,
    copy_to_an_unpinned_region,
    copy_between_unpinned_regions,
    copy_from_a_region_for_one_use,
    copy_to_a_region_for_one_use,
    copy_within_a_region,
    read_a_page,
    read_some_bytes,
    read_three_mebibytes,
    read_bounded,
    read_pinned,
    read_three_mebibytes_pinned,
    read_into_untouched_memory,
    read_into_untouched_memory_pinned,
    read_into_shared_memory,
    read_into_a_long_list,
    read_into_scattered_pages_pinned,
    read_an_unpinned_region,
    read_an_unpinned_region_pinned,
    read_a_region_for_one_use,
    write_a_page,
    write_three_mebibytes,
    write_bounded,
    write_pinned,
    write_from_untouched_memory,
    write_from_a_long_list,
    write_to_an_unpinned_region,
    write_to_a_region_for_one_use,
    sync_recv,
];

fn between(nth: &Nth, length: usize, bound: Option<u64>) {
    let pair = Pair::new(length);
    let other = pair.knem.create(&[pair.local.segment()], WRITE, 0).expect("created");
    copies(nth, || pair.knem.copy((pair.region, 0), (other, 0), bound, 0));
    pair.is_copied();
}

fn copy_between_regions(nth: &Nth) {
    between(nth, 2 * PAGE, None);
}

fn copy_three_mebibytes(nth: &Nth) {
    between(nth, 3 << 20, None);
}

fn copy_bounded(nth: &Nth) {
    between(nth, PAGE, Some(PAGE as u64));
}

fn copy_between_scattered_pages(nth: &Nth) {
    let (knem, memory, other) =
        (Knem::open(), Mapping::holding(&pattern(64 * PAGE)), Mapping::holding(&[0; 64 * PAGE]));
    let source = knem.create(&scattered(&memory), READ, 0).expect("created");
    let target = knem.create(&scattered(&other), WRITE, 0).expect("created");
    copies(nth, || knem.copy((source, 0), (target, 0), None, 0));
    assert!(other.bytes()[63 * PAGE..] == memory.bytes()[63 * PAGE..]);
}

fn copy_to_an_unpinned_region(nth: &Nth) {
    let pair = Pair::new(20 * PAGE);
    without_pins(|| {
        let other = pair.knem.create(&[pair.local.segment()], WRITE, 0).expect("created");
        copies(nth, || pair.knem.copy((pair.region, 0), (other, 0), None, 0));
    });
    pair.is_copied();
}

fn copy_between_unpinned_regions(nth: &Nth) {
    without_pins(|| between(nth, 20 * PAGE, None));
}

/// A region for one use is there after a request that was refused, and gone after one that was accepted.
fn once(nth: &Nth, knem: &Knem, region: u64, mut ask: impl FnMut() -> Result<u32, Errno>) {
    match nth.attempt_consuming(&mut ask) {
        Ok(SUCCESS) => {}
        Ok(FAILED) => assert!(nth.hit(), "failed without a failure"),
        Ok(other) => panic!("status {other}"),
        // It was accepted, and only its status could not be written back: or was not.
        Err(Errno::EFAULT) => assert!(matches!(ask(), Ok(SUCCESS) | Err(Errno::EINVAL)), "repeated"),
        Err(_) => assert_eq!(ask(), Ok(SUCCESS), "repeated"),
    }
    assert_eq!(knem.destroy(region), Err(Errno::EINVAL), "it is used up");
}

fn copy_from_a_region_for_one_use(nth: &Nth) {
    let pair = Pair::with(2 * PAGE, FLAG_SINGLEUSE);
    let other = pair.knem.create(&[pair.local.segment()], WRITE, 0).expect("created");
    once(nth, &pair.knem, pair.region, || pair.knem.copy((pair.region, 0), (other, 0), None, 0));
}

fn copy_to_a_region_for_one_use(nth: &Nth) {
    let pair = Pair::new(2 * PAGE);
    let other = pair.knem.create(&[pair.local.segment()], WRITE, FLAG_SINGLEUSE).expect("created");
    once(nth, &pair.knem, other, || pair.knem.copy((pair.region, 0), (other, 0), None, 0));
}

fn copy_within_a_region(nth: &Nth) {
    let pair = Pair::new(2 * PAGE);
    copies(nth, || pair.knem.copy((pair.region, 0), (pair.region, PAGE as u64), Some(PAGE as u64), 0));
    assert!(pair.memory.bytes()[..PAGE] == pair.memory.bytes()[PAGE..]);
}

fn read(nth: &Nth, pair: &Pair, flags: u32) {
    let list = [pair.local.segment()];
    copies(nth, || pair.knem.read(pair.region, 0, &list, flags));
    pair.is_copied();
}

fn write(nth: &Nth, pair: &Pair, flags: u32) {
    let list = [pair.local.segment()];
    copies(nth, || pair.knem.write(pair.region, 0, &list, flags));
    pair.is_copied();
}

fn read_a_page(nth: &Nth) {
    read(nth, &Pair::new(PAGE), 0);
}

fn read_some_bytes(nth: &Nth) {
    read(nth, &Pair::new(10), 0);
}

fn read_three_mebibytes(nth: &Nth) {
    read(nth, &Pair::new(3 << 20), 0);
}

fn bounded(nth: &Nth, write: u32) {
    let pair = Pair::new(PAGE);
    let (cookie, segments) = (pair.region, &[pair.local.segment()][..]);
    let request = Inline { cookie, segments, write, bound: Some(PAGE as u64), ..Inline::default() };
    copies(nth, || pair.knem.inline(request));
    pair.is_copied();
}

fn read_bounded(nth: &Nth) {
    bounded(nth, 0);
}

fn read_pinned(nth: &Nth) {
    read(nth, &Pair::new(16 * PAGE), FLAG_PINLOCAL);
}

fn read_three_mebibytes_pinned(nth: &Nth) {
    read(nth, &Pair::new(3 << 20), FLAG_PINLOCAL);
}

fn untouched(length: usize) -> Pair {
    Pair { local: Mapping::new(length), ..Pair::new(length) }
}

fn read_into_untouched_memory(nth: &Nth) {
    read(nth, &untouched(12 * PAGE), 0);
}

fn read_into_untouched_memory_pinned(nth: &Nth) {
    read(nth, &untouched(12 * PAGE), FLAG_PINLOCAL);
}

fn read_into_shared_memory(nth: &Nth) {
    let mut pair = Pair::new(12 * PAGE);
    pair.local = Mapping::of_file(memory_file(12 * PAGE), 12 * PAGE, both(), MapFlags::MAP_SHARED);
    read(nth, &pair, 0);
}

fn read_into_a_long_list(nth: &Nth) {
    let pair = Pair::new(600);
    let list: Vec<_> = (0..600).map(|byte| pair.local.part(byte, 1)).collect();
    copies(nth, || pair.knem.read(pair.region, 0, &list, 0));
    pair.is_copied();
}

fn read_into_scattered_pages_pinned(nth: &Nth) {
    let pair = Pair::new(32 * PAGE);
    let list = scattered(&pair.local);
    copies(nth, || pair.knem.read(pair.region, 0, &list, FLAG_PINLOCAL));
    assert!(pair.local.bytes()[31 * PAGE..] == pair.memory.bytes()[..PAGE]);
}

fn read_an_unpinned_region(nth: &Nth) {
    without_pins(|| read(nth, &Pair::new(20 * PAGE), 0));
}

fn read_an_unpinned_region_pinned(nth: &Nth) {
    without_pins(|| read(nth, &Pair::new(20 * PAGE), FLAG_PINLOCAL));
}

fn read_a_region_for_one_use(nth: &Nth) {
    let pair = Pair::with(3 * PAGE, FLAG_SINGLEUSE);
    let list = [pair.local.segment()];
    once(nth, &pair.knem, pair.region, || pair.knem.read(pair.region, 0, &list, FLAG_PINLOCAL));
}

fn write_a_page(nth: &Nth) {
    write(nth, &Pair::new(PAGE), 0);
}

fn write_three_mebibytes(nth: &Nth) {
    write(nth, &Pair::new(3 << 20), 0);
}

fn write_bounded(nth: &Nth) {
    bounded(nth, 1);
}

fn write_pinned(nth: &Nth) {
    write(nth, &Pair::new(16 * PAGE), FLAG_PINLOCAL);
}

fn write_from_untouched_memory(nth: &Nth) {
    write(nth, &untouched(12 * PAGE), 0);
}

fn write_from_a_long_list(nth: &Nth) {
    let pair = Pair::new(600);
    let list: Vec<_> = (0..600).map(|byte| pair.local.part(byte, 1)).collect();
    copies(nth, || pair.knem.write(pair.region, 0, &list, 0));
    pair.is_copied();
}

fn write_to_an_unpinned_region(nth: &Nth) {
    without_pins(|| write(nth, &Pair::new(20 * PAGE), 0));
}

fn write_to_a_region_for_one_use(nth: &Nth) {
    let pair = Pair::with(3 * PAGE, FLAG_SINGLEUSE);
    let list = [pair.local.segment()];
    once(nth, &pair.knem, pair.region, || pair.knem.write(pair.region, 0, &list, 0));
}

fn sync_recv(nth: &Nth) {
    let pair = Pair::new(3 * PAGE);
    let list = [pair.local.segment()];
    let recv_iovec_array = list.as_ptr().expose_provenance() as u64;
    copies(nth, || {
        let send_cookie = pair.region;
        let mut command = CmdSyncRecv { recv_iovec_array, recv_iovec_nr: 1, send_cookie, ..CmdSyncRecv::default() };
        pair.knem.command(uapi::CMD_SYNC_RECV, &mut command).map(|()| command.status)
    });
    pair.is_copied();
}
