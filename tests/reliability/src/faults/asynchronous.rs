// SPDX-License-Identifier: CECILL-B
//! The status array, the worker thread, and copies that it makes.

use knem_conformance::device::{Inline, Knem, WRITE};
use knem_conformance::memory::PAGE;
use knem_conformance::slots::{Slots, NOTIFY, THREAD};
use knem_conformance::threads::start;
use knem_core::uapi::{self, CmdInitAsyncRecv, FLAG_SINGLEUSE};

use super::asking::{queues, unmaps, without_pins, Pair};
use crate::nth::Nth;

super::scenarios![
    map_the_array,
    map_sixteen_pages,
    map_and_unmap,
    start_the_thread,
    queue_a_read,
    queue_a_read_with_an_event,
    queue_a_read_of_three_mebibytes,
    queue_a_write,
    queue_a_write_with_an_event,
    queue_a_copy,
    queue_a_copy_with_an_event,
    queue_for_an_unpinned_region,
    queue_for_a_region_for_one_use,
    queue_many,
    init_async_recv,
];

fn map_the_array(nth: &Nth) {
    let knem = Knem::open();
    let slots = nth.call(|| Slots::map(&knem, PAGE));
    slots.set(7, 1);
}

fn map_sixteen_pages(nth: &Nth) {
    let knem = Knem::open();
    let slots = nth.call(|| Slots::map(&knem, 16 * PAGE));
    slots.set(15 * PAGE as u32, 1);
}

fn map_and_unmap(nth: &Nth) {
    let knem = Knem::open();
    let slots = nth.call(|| Slots::map(&knem, PAGE));
    unmaps(nth, slots.memory());
    std::mem::forget(slots);
}

/// A pair, and the status array of its file; the thread runs already.
fn running(length: usize) -> (Pair, Slots) {
    let pair = Pair::new(length);
    let slots = Slots::map(&pair.knem, PAGE).expect("mapped");
    start(&pair.knem, &slots);
    (pair, slots)
}

fn start_the_thread(nth: &Nth) {
    let pair = Pair::new(PAGE);
    let slots = Slots::map(&pair.knem, PAGE).expect("mapped");
    inline(nth, &pair, &slots, THREAD, 0);
    pair.is_copied();
}

fn inline(nth: &Nth, pair: &Pair, slots: &Slots, flags: u32, write: u32) {
    let (cookie, segments) = (pair.region, &[pair.local.segment()][..]);
    queues(nth, slots, |slot| {
        pair.knem.inline_at(Inline { cookie, segments, flags, write, ..Inline::default() }, slot)
    });
}

fn queue_inline(nth: &Nth, length: usize, flags: u32, write: u32) {
    let (pair, slots) = running(length);
    inline(nth, &pair, &slots, flags, write);
    pair.is_copied();
}

fn queue_a_read(nth: &Nth) {
    queue_inline(nth, 5 * PAGE, THREAD, 0);
}

fn queue_a_read_with_an_event(nth: &Nth) {
    queue_inline(nth, 5 * PAGE, NOTIFY, 0);
}

fn queue_a_read_of_three_mebibytes(nth: &Nth) {
    queue_inline(nth, 3 << 20, THREAD, 0);
}

fn queue_a_write(nth: &Nth) {
    queue_inline(nth, 5 * PAGE, THREAD, 1);
}

fn queue_a_write_with_an_event(nth: &Nth) {
    queue_inline(nth, 5 * PAGE, NOTIFY, 1);
}

fn queue_copy(nth: &Nth, flags: u32) {
    let (pair, slots) = running(5 * PAGE);
    let other = pair.knem.create(&[pair.local.segment()], WRITE, 0).expect("created");
    queues(nth, &slots, |slot| pair.knem.copy_at((pair.region, 0), (other, 0), None, flags, slot));
    pair.is_copied();
}

fn queue_a_copy(nth: &Nth) {
    queue_copy(nth, THREAD);
}

fn queue_a_copy_with_an_event(nth: &Nth) {
    queue_copy(nth, NOTIFY);
}

fn queue_for_an_unpinned_region(nth: &Nth) {
    without_pins(|| queue_inline(nth, 20 * PAGE, THREAD, 0));
}

fn queue_for_a_region_for_one_use(nth: &Nth) {
    let (mut pair, slots) = running(3 * PAGE);
    let (segments, flags) = ([pair.local.segment()], THREAD);
    pair.region = pair.knem.create(&[pair.memory.segment()], uapi::PROT_READ, FLAG_SINGLEUSE).expect("created");
    let (knem, cookie) = (&pair.knem, pair.region);
    let ask = |slot| knem.inline_at(Inline { cookie, segments: &segments, flags, ..Inline::default() }, slot);
    match nth.attempt_consuming(|| ask(1)) {
        Ok(_) => {
            slots.wait(1);
        }
        // Accepted, and the status could not be written back: or not accepted.
        Err(_) => {
            if ask(2).is_ok() {
                slots.wait(2);
            }
        }
    }
    assert!(knem.destroy(cookie).is_err(), "it is used up");
}

fn queue_many(nth: &Nth) {
    let (pair, slots) = running(PAGE);
    let (cookie, segments, flags) = (pair.region, &[pair.local.segment()][..], NOTIFY);
    for slot in 10..18 {
        let ask = || pair.knem.inline_at(Inline { cookie, segments, flags, ..Inline::default() }, slot);
        if nth.attempt_consuming(ask).is_err() {
            ask().expect("queued when it is repeated");
        }
    }
    for slot in 10..18 {
        slots.wait(slot);
    }
    pair.is_copied();
}

fn init_async_recv(nth: &Nth) {
    let (pair, slots) = running(3 * PAGE);
    let list = [pair.local.segment()];
    let recv_iovec_array = list.as_ptr().expose_provenance() as u64;
    let ask = |slot: u32| {
        let mut command = CmdInitAsyncRecv {
            recv_iovec_array,
            recv_iovec_nr: 1,
            status_index: slot,
            send_cookie: pair.region,
            flags: THREAD,
            ..CmdInitAsyncRecv::default()
        };
        pair.knem.command(uapi::CMD_INIT_ASYNC_RECV, &mut command).map(|()| 0)
    };
    queues(nth, &slots, ask);
    pair.is_copied();
}
