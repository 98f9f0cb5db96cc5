// SPDX-License-Identifier: CECILL-B
//! Processes are killed at random instants, in the middle of whatever they do: copies of both kinds and directions,
//! creating, closing.

use std::time::Duration;

use knem_conformance::device::{Inline, Knem, READ, SUCCESS, WRITE};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::random::Random;
use knem_conformance::slots::{Slots, NOTIFY, THREAD};
use knem_core::uapi::FLAG_PINLOCAL;

use super::Weather;
use crate::crowd::Crowd;
use crate::report::count;
use crate::shared::Shared;
use crate::state::State;

/// Processes at a time.
const CROWD: usize = 3;
/// Kills between two looks at what is left.
const ROUND: u64 = 400;
const LENGTH: usize = 2 << 20;

pub(super) fn run(weather: &Weather) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&vec![1; LENGTH]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let (mut random, operations, mut kills) = (Random::new(weather.seed), Shared::new(), 0);
    let mut seed = weather.seed;
    while !weather.is_over() {
        let before = State::now();
        let mut next = || {
            seed += 1;
            Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        let mut crowd = Crowd::start(CROWD, |_| live(region, next(), &operations));
        for _ in 0..ROUND {
            if weather.is_over() {
                break;
            }
            std::thread::sleep(Duration::from_micros(random.below(2500) as u64));
            let random_of_child = next();
            crowd.replace(random.below(CROWD), || live(region, random_of_child, &operations));
            kills += 1;
        }
        crowd.end();
        kills += CROWD as u64;
        if let Err(why) = before.comes_back() {
            panic!("after {kills} kills: {why}");
        }
    }
    assert!(memory.bytes().iter().all(|byte| *byte == 1), "only ones were written");
    count("kills at random instants", kills);
    count("operations of processes that were killed", operations.get(0));
}

/// Does all it can until it is killed.
fn live(region: u64, mut random: Random, operations: &Shared) {
    let local = Mapping::new(LENGTH);
    // What it writes must be what was there.
    let ones = Mapping::holding(&vec![1; PAGE]);
    loop {
        let knem = Knem::open();
        let slots = random.one_in(2).then(|| Slots::map(&knem, PAGE).expect("mapped"));
        for _ in 0..1 + random.below(20) {
            let length = if random.one_in(3) { LENGTH } else { 1 + random.below(3 * PAGE) };
            let flags = if random.one_in(2) { FLAG_PINLOCAL } else { 0 };
            match random.below(7) {
                0 | 1 => assert_eq!(knem.read(region, 0, &[local.part(0, length)], flags), Ok(SUCCESS)),
                2 => assert_eq!(knem.write(region, 0, &[ones.part(0, length.min(PAGE))], flags), Ok(SUCCESS)),
                3 => {
                    let own = knem.create(&[local.part(0, length)], READ | WRITE, 0).expect("created");
                    assert_eq!(knem.copy((region, 0), (own, 0), None, 0), Ok(SUCCESS));
                    if random.one_in(2) {
                        assert_eq!(knem.destroy(own), Ok(()));
                    }
                }
                4 => drop(std::fs::read_to_string("/proc/driver/knem/regions")),
                _ if slots.is_some() => {
                    let segments = &[local.part(0, length)];
                    let flags = if random.one_in(2) { THREAD } else { NOTIFY };
                    let slot = random.below(PAGE) as u32;
                    let request = Inline { cookie: region, segments, flags, ..Inline::default() };
                    knem.inline_at(request, slot).expect("queued");
                    if random.one_in(3) {
                        slots.as_ref().expect("mapped").wait(slot);
                    }
                }
                _ => {}
            }
            operations.add(0, 1);
        }
    }
}
