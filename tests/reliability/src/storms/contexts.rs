// SPDX-License-Identifier: CECILL-B
//! Bombs of contexts: processes fork, and all open the device as often as they may, with a status array, a thread and a
//! region each.

use knem_conformance::children::Child;
use knem_conformance::device::{Inline, Knem, READ};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::random::Random;
use knem_conformance::slots::{Slots, THREAD};
use nix::fcntl::OFlag;

use super::Weather;
use crate::crowd::end;
use crate::report::count;
use crate::shared::Shared;

/// Processes of a bomb, and most files of each.
const PROCESSES: usize = 8;
const FILES: usize = 60;

/// Numbers that are shared.
const OPENED: usize = 0;
const REFUSED: usize = 1;
const FULL: usize = 2;

pub(super) fn run(weather: &Weather) {
    let (shared, mut bombs) = (Shared::new(), 0);
    let mut random = Random::new(weather.seed);
    while !weather.is_over() {
        shared.set(FULL, 0);
        let children: Vec<Child> =
            (0..PROCESSES).map(|number| Child::start(|| explode(weather.seed + number as u64, &shared))).collect();
        // Some are killed in the middle, the others when all have what they can get.
        let early = random.below(PROCESSES);
        for (number, child) in children.into_iter().enumerate() {
            if number > early {
                knem_conformance::waiting::until("each has all it can get", || {
                    shared.get(FULL) as usize >= PROCESSES - early - 1 || !child.is_running()
                });
            }
            end(child);
        }
        bombs += 1;
    }
    count("bombs of contexts", bombs);
    count("contexts opened by bombs", shared.get(OPENED));
    count("openings, arrays and threads refused to bombs", shared.get(REFUSED));
}

fn explode(seed: u64, shared: &Shared) {
    let (mut random, memory) = (Random::new(seed), Mapping::holding(&[1; PAGE]));
    let mut held = Vec::new();
    let refused = || shared.add(REFUSED, 1);
    for _ in 0..FILES {
        let Ok(knem) = Knem::open_as(OFlag::O_RDWR) else {
            refused();
            break;
        };
        shared.add(OPENED, 1);
        let region = knem.create(&[memory.segment()], READ, 0);
        let slots = Slots::map(&knem, PAGE);
        if let (Ok(cookie), Ok(_), true) = (region, &slots, random.one_in(4)) {
            let request = Inline { cookie, flags: THREAD, ..Inline::default() };
            if knem.inline_at(request, 1).is_err() {
                refused();
            }
        }
        held.push((knem, slots));
    }
    shared.add(FULL, 1);
    loop {
        nix::unistd::pause();
    }
}
