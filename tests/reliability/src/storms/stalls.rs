// SPDX-License-Identifier: CECILL-B
//! Memory that never answers (userfaultfd): calls of some processes wait for it until they are killed, and the others'
//! go on.

use std::time::{Duration, Instant};

use knem_conformance::device::{Knem, READ, SUCCESS, WRITE};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::random::Random;
use knem_conformance::slots::{Asynchronous, DONE, PENDING, THREAD};
use knem_conformance::stalled::Stalled;
use knem_core::uapi::{self, FLAG_PINLOCAL};

use super::Weather;
use crate::crowd::Crowd;
use crate::report::count;
use crate::shared::Shared;

const STALLED: usize = 6;
const OTHERS: usize = 2;
/// Others that have done nothing for so long do not go on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that are shared.
const OPERATIONS: usize = 0;
const STALLS: usize = 1;

pub(super) fn run(weather: &Weather) {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 4 * PAGE]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let (shared, mut random) = (Shared::new(), Random::new(weather.seed));
    let mut stalled = Crowd::start(STALLED, |number| stall(region, number, &shared));
    let others = Crowd::start(OTHERS, |_| go_on(region, &shared));
    let (mut last, mut since, mut turn) = (0, Instant::now(), STALLED);
    while !weather.is_over() {
        std::thread::sleep(Duration::from_millis(2 + random.below(20) as u64));
        stalled.replace(random.below(STALLED), || stall(region, turn, &shared));
        turn += 1;
        let now = shared.get(OPERATIONS);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "the others do not go on");
    }
    stalled.end();
    others.end();
    count("calls stalled by memory that never answers", shared.get(STALLS));
    count("operations of others meanwhile", shared.get(OPERATIONS));
}

/// A call that waits for ever.
fn stall(region: u64, turn: usize, shared: &Shared) {
    let (stalled, knem) = (Stalled::new(2), Knem::open());
    shared.add(STALLS, 1);
    let whole = [stalled.memory().segment()];
    let answer = match turn % 5 {
        0 => knem.create(&whole, READ | WRITE, 0).map(drop),
        1 => knem.read(region, 0, &whole, 0).map(drop),
        2 => knem.read(region, 0, &whole, FLAG_PINLOCAL).map(drop),
        3 => knem.write(region, 0, &whole, 0).map(drop),
        _ => knem.command_at(uapi::CMD_DESTROY_REGION, stalled.memory().address()),
    };
    panic!("a call did not wait: {answer:?}");
}

/// What others do.
fn go_on(region: u64, shared: &Shared) {
    let setting = Asynchronous::new(1, b"contents");
    loop {
        let own = setting.knem.create(&[setting.memory.segment()], READ, 0).expect("created");
        assert_eq!(setting.knem.read(region, 0, &[setting.local.segment()], 0), Ok(SUCCESS));
        setting.slots.set(9, PENDING);
        assert_eq!(setting.read(9, THREAD), Ok(u32::from(PENDING)));
        assert_eq!(setting.slots.wait(9), DONE);
        assert_eq!(setting.knem.destroy(own), Ok(()));
        drop(Knem::open());
        shared.add(OPERATIONS, 6);
    }
}
