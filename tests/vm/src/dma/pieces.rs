// SPDX-License-Identifier: CECILL-B
//! Copies of more pieces than an engine accepts at a time.

use knem_conformance::parameters::with_parameter;
use knem_conformance::random::Random;
use knem_core::uapi::{self, ParamIovec};

use super::engine::{get, set, with_engine};
use super::shapes::{copy_and_compare, gather, noise, segments};
use super::{DETACHED, DMA, THREADED};
use crate::device::{Inline, Knem, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};
use crate::slots::{Asynchronous, DONE, PENDING};

crate::trials![of "dma";
    "R59" a_small_ring_is_filled_again_and_again,
    "R59" many_chunks_are_handed_over_bit_by_bit,
    "R59" the_cpu_relieves_a_full_channel,
];

fn a_small_ring_is_filled_again_and_again() {
    for (most, disorder) in [(1, 0), (3, 1)] {
        with_engine(&[("most", most), ("disorder", disorder)], || {
            let mut random = Random::new(u64::from(most));
            let (from, to) = (noise(&mut random, 64 * PAGE), Mapping::new(64 * PAGE));
            let knem = Knem::open();
            // Gaps separate the pieces, regardless of the pages' addresses.
            let pieces = |memory: &Mapping| (0..32).map(|n| memory.part(n * 2 * PAGE, PAGE)).collect::<Vec<_>>();
            let (left, right) = (pieces(&from), pieces(&to));
            let region = knem.create(&left, READ, 0).expect("created");
            assert_eq!(knem.read(region, 0, &right, DMA), Ok(SUCCESS));
            assert!(gather(&to, &right) == gather(&from, &left));
            assert_eq!(get("copied"), 32, "the engine has done all of it");
        });
    }
}

/// Submits more chunks than an engine gets at a time.
fn many_chunks_are_handed_over_bit_by_bit() {
    with_engine(&[("disorder", 1)], || {
        with_parameter("dmamin", "0", || {
            let (mut random, knem) = (Random::new(12), Knem::open());
            for flags in [DMA, DMA | uapi::FLAG_PINLOCAL] {
                copy_and_compare(&mut random, &knem, 40_000, 16, flags);
            }
            assert!(get("copied") > 20_000, "{} copies", get("copied"));
            let (from, to) = (noise(&mut random, 1 << 20), Mapping::new(1 << 20));
            let (left, right) = (segments(&mut random, &from, 20_000, 8), segments(&mut random, &to, 20_000, 8));
            let one = Asynchronous::new(1, b"x");
            let region = one.knem.create(&left, READ, 0).expect("created");
            for flags in [DETACHED, THREADED] {
                one.slots.set(0, PENDING);
                let request = Inline { cookie: region, segments: &right, flags, ..Default::default() };
                one.knem.inline_at(request, 0).expect("accepted");
                assert_eq!(one.slots.wait(0), DONE);
                assert!(gather(&to, &right) == gather(&from, &left));
            }
        });
    });
}

/// A channel accepts a number of copies; later ones do not wait for it.
fn the_cpu_relieves_a_full_channel() {
    with_engine(&[], || {
        with_parameter("dmamin", "0", || {
            let memory = Mapping::holding(&[6; 16 * PAGE]);
            let list: Vec<ParamIovec> = (0..4000).map(|n| memory.part(16 * n, 8)).collect();
            let one = Asynchronous::new(16, b"x");
            let region = one.knem.create(&list, READ, 0).expect("created");
            let places: Vec<Mapping> = (0..16).map(|_| Mapping::new(8 * 4000)).collect();
            set("hang", 1);
            let mut at_once = 0;
            for (index, place) in (0..).zip(&places) {
                let segments = &[place.segment()];
                let request = Inline { cookie: region, segments, flags: DETACHED, ..Default::default() };
                assert_eq!(one.knem.inline_at(request, index), Ok(u32::from(PENDING)));
                // The engine hangs, so that the CPU made the copies that are done.
                if one.slots.get(index) == DONE {
                    at_once += 1;
                    assert!(place.bytes().iter().all(|byte| *byte == 6));
                }
            }
            assert!(at_once >= 8, "{at_once} of 16 were copied by the processor");
            assert!(get("live") >= 4000, "{} copies wait", get("live"));
            set("hang", 0);
            for (index, place) in (0..).zip(&places) {
                assert_eq!(one.slots.wait(index), DONE);
                assert!(place.bytes().iter().all(|byte| *byte == 6));
            }
        });
    });
}
