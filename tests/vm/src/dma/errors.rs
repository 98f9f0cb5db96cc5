// SPDX-License-Identifier: CECILL-B
//! An engine that fails copies, or does not accept them.

use knem_conformance::random::Random;
use knem_core::uapi::ParamIovec;

use super::engine::{get, set, with_engine};
use super::in_flight::{many_in_flight, submit};
use super::shapes::copy_and_compare;
use super::{BY_DMA, DETACHED, DMA, FAILED_DMA, THREADED};
use crate::counters::{counters, counts, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Inline, Knem, FAILED, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};
use crate::slots::{Asynchronous, DONE, PENDING};

crate::trials![of "dma";
    "R59, W9" any_error_is_a_failure,
    "R59" what_the_engine_refuses_the_processor_copies,
    "R59" the_thread_copies_in_steps_what_the_engine_refuses,
];

fn any_error_is_a_failure() {
    for disorder in [0, 1] {
        with_engine(&[("disorder", disorder)], || {
            let from = Mapping::holding(&[1; 64 * PAGE]);
            let list: Vec<ParamIovec> = (0..32).map(|n| from.part(n * 2 * PAGE, PAGE)).collect();
            let knem = Knem::open();
            let region = knem.create(&list, READ, 0).expect("created");
            let to = Mapping::new(32 * PAGE);
            // One of 32 descriptors, at several positions.
            for fail in [1, 2, 17, 31] {
                set("fail", fail);
                counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1), (FAILED_DMA, 1)], || {
                    assert_eq!(knem.read(region, 0, &[to.segment()], DMA), Ok(FAILED), "each {fail}th fails");
                });
            }
            let one = Asynchronous::new(2, &vec![1; 32 * PAGE]);
            set("fail", 1);
            assert_eq!(submit(&one, 0, DETACHED), FAILED);
            assert_eq!(one.read(1, THREADED), Ok(u32::from(PENDING)));
            assert_eq!(u32::from(one.slots.wait(1)), FAILED);
            set("fail", 0);
            assert_eq!(knem.read(region, 0, &[to.segment()], DMA), Ok(SUCCESS), "and then it works again");
        });
    }
}

fn what_the_engine_refuses_the_processor_copies() {
    for (refuse, reject) in [(1, 0), (0, 1), (3, 0), (0, 3), (7, 5)] {
        with_engine(&[("refuse", refuse), ("reject", reject)], || {
            let before = counters();
            let (mut random, knem) = (Random::new(8), Knem::open());
            for _ in 0..10 {
                copy_and_compare(&mut random, &knem, 100_000, 9000, DMA);
            }
            assert_eq!(counters()[BY_DMA] - before[BY_DMA], 30);
            assert_eq!(counters()[FAILED_DMA], before[FAILED_DMA]);
            assert!(get("refused") > 0);
            assert_eq!(get("copied") == 0, refuse == 1 || reject == 1);
            many_in_flight(10, 10 * PAGE);
        });
    }
}

/// Copies more than the thread copies in a turn, 8 MiB.
fn the_thread_copies_in_steps_what_the_engine_refuses() {
    let whole = Random::new(10).bytes((20 << 20) + 5);
    // The engine refuses everything, in two ways, or the rest after a while; or the two sides are never aligned to
    // lines of 64 bytes at the same offset.
    for (engine, local) in [([("refuse", 1)], 0), ([("reject", 1)], 0), ([("refuse", 300)], 0), ([("align", 6)], 1)] {
        with_engine(&engine, || {
            let one = Asynchronous::new(3, &whole);
            let to = Mapping::new(whole.len() + 1);
            for (slot, flags) in [(0, THREADED), (1, THREADED | DETACHED), (2, THREADED)] {
                let before = counters();
                let segments = &[to.part(local, whole.len())];
                let request = Inline { cookie: one.region, segments, flags, ..Default::default() };
                assert_eq!(one.knem.inline_at(request, slot), Ok(u32::from(PENDING)));
                assert_eq!(one.slots.wait(slot), DONE, "{engine:?} {flags:#x}");
                assert!(to.bytes()[local..local + whole.len()] == whole, "{engine:?} {flags:#x}");
                assert_eq!((counters()[BY_DMA] - before[BY_DMA], counters()[FAILED_DMA]), (1, before[FAILED_DMA]));
            }
        });
    }
}
