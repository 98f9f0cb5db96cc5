// SPDX-License-Identifier: CECILL-B
//! Copies that do not end within the call: detached ones, those of the worker thread, and many at a time.

use knem_conformance::random::Random;

use super::engine::{get, set, with_engine};
use super::in_flight::many_in_flight;
use super::shapes::copy_and_compare;
use super::{BY_DMA, DETACHED, DMA, FAILED_DMA, NOTIFIED, THREADED};
use crate::children::Child;
use crate::counters::{counters, counts, pinned_pages, OFFLOADED, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Knem, FAILED};
use crate::memory::PAGE;
use crate::slots::{wait_events, Asynchronous, DONE, PENDING};

crate::trials![of "dma";
    "2.7" detached_copies_are_pending_until_they_are_done,
    "2.7" detached_copies_without_work_for_the_engine_are_done_at_once,
    "6.5" the_thread_drives_the_engine,
    "7.3" completion_is_an_event,
    "R59" completions_in_any_order,
    "R59" one_channel_serves_many_processes,
];

fn detached_copies_are_pending_until_they_are_done() {
    with_engine(&[("hang", 0)], || {
        let mut random = Random::new(2);
        let bytes = random.bytes(300 * PAGE);
        let one = Asynchronous::new(1, &bytes);
        one.slots.set(0, DONE);
        set("hang", 1);
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1)], || {
            assert_eq!(one.read(0, DETACHED), Ok(u32::from(PENDING)));
        });
        assert_eq!(one.slots.get(0), PENDING);
        assert!(get("live") > 0 && pinned_pages() > 0);
        set("hang", 0);
        assert_eq!(one.slots.wait(0), DONE);
        assert!(one.local.bytes() == bytes, "who sees the status sees the data");
    });
}

fn detached_copies_without_work_for_the_engine_are_done_at_once() {
    with_engine(&[], || {
        let one = Asynchronous::new(1, b"short");
        // The result does not depend on whether the CPU or the channel copies: see docs/dma.md.
        assert_eq!(one.read(0, DETACHED), Ok(u32::from(PENDING)));
        assert_eq!((one.slots.get(0), one.local.bytes()), (DONE, &b"short"[..]));
        let none = Asynchronous::new(1, b"");
        assert_eq!(none.read(0, DETACHED), Ok(u32::from(PENDING)));
        assert_eq!(none.slots.get(0), DONE);
    });
}

fn the_thread_drives_the_engine() {
    with_engine(&[("delay", 5)], || {
        let mut random = Random::new(3);
        let bytes = random.bytes(50 * PAGE + 3);
        let mut one = Asynchronous::new(2, &bytes);
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1), (OFFLOADED, 1)], || {
            assert_eq!(one.read(1, THREADED), Ok(u32::from(PENDING)));
            assert_eq!(one.slots.wait(1), DONE);
        });
        assert!(one.local.bytes() == bytes);
        one.blank();
        // The thread submits the copy and does not wait.
        assert_eq!(one.read(1, THREADED | DETACHED), Ok(u32::from(PENDING)));
        assert_eq!(one.slots.wait(1), DONE);
        assert!(one.local.bytes() == bytes);
        assert!(get("copied") >= 2);
    });
}

fn completion_is_an_event() {
    with_engine(&[("delay", 5)], || {
        let mut random = Random::new(4);
        let bytes = random.bytes(20 * PAGE);
        let one = Asynchronous::new(8, &bytes);
        for index in 0..8 {
            assert_eq!(one.read(index, NOTIFIED), Ok(u32::from(PENDING)));
        }
        // The events arrive in the order of submission.
        assert_eq!(wait_events(&one.knem, 8), (0..8).collect::<Vec<u32>>());
        (0..8).for_each(|index| assert_eq!(one.slots.get(index), DONE));
        assert!(one.local.bytes() == bytes);
        set("fail", 1);
        assert_eq!(one.read(5, NOTIFIED), Ok(u32::from(PENDING)));
        assert_eq!(wait_events(&one.knem, 1), [5]);
        assert_eq!(u32::from(one.slots.get(5)), FAILED);
    });
}

fn completions_in_any_order() {
    with_engine(&[("channels", 4), ("private", 1), ("disorder", 1), ("delay", 3)], || {
        many_in_flight(200, 20 * PAGE + 5);
        assert!(get("copied") >= 200);
    });
}

fn one_channel_serves_many_processes() {
    with_engine(&[("disorder", 1), ("delay", 1)], || {
        let before = counters();
        let children: Vec<Child> = (0..4)
            .map(|number| {
                Child::start(move || {
                    let (mut random, knem) = (Random::new(number), Knem::open());
                    for _ in 0..10 {
                        let total = 2 + random.below(200_000);
                        copy_and_compare(&mut random, &knem, total, 30_000.min(total), DMA);
                    }
                    many_in_flight(20, 10 * PAGE);
                })
            })
            .collect();
        children.into_iter().for_each(Child::succeeds);
        assert_eq!(counters()[BY_DMA] - before[BY_DMA], 4 * (30 + 20));
        assert_eq!(counters()[FAILED_DMA], before[FAILED_DMA]);
    });
}
