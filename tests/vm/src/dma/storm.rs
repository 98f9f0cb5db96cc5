// SPDX-License-Identifier: CECILL-B
//! Everything at the same time.

use std::time::Duration;

use knem_conformance::random::Random;
use nix::errno::Errno;

use super::engine::{set, with_engine};
use super::{DETACHED, DMA, NOTIFIED, THREADED};
use crate::children::Child;
use crate::device::{Inline, FAILED, SUCCESS};
use crate::memory::PAGE;
use crate::slots::{wait_events, Asynchronous, PENDING};

crate::trials![of "dma";
    "R59" everything_at_once,
];

/// Several processes, all kinds of requests, and an engine that sometimes does everything wrong: a reported success
/// must be one, and nothing may be left.
fn everything_at_once() {
    let settings =
        [("channels", 3), ("private", 1), ("disorder", 1), ("fail", 211), ("refuse", 97), ("reject", 89), ("most", 40)];
    with_engine(&settings, || {
        let children: Vec<Child> = (0..4).map(|number| Child::start(move || storm(number))).collect();
        // Meanwhile the engine is added and removed, and DMA is allowed and forbidden.
        for round in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            set("delay", round % 3);
            set("hang", 1);
            std::thread::sleep(Duration::from_millis(20));
            set("hang", 0);
            set("present", 0);
            set("present", 1);
        }
        children.into_iter().for_each(Child::succeeds);
    });
}

fn storm(seed: u64) {
    let mut random = Random::new(seed + 100);
    let bytes = random.bytes(40 * PAGE);
    let mut one = Asynchronous::new(8, &bytes);
    for _ in 0..150 {
        let offset = random.below(PAGE);
        let length = 1 + random.below(bytes.len() - offset);
        let flags = [DMA, DETACHED, THREADED, NOTIFIED][random.below(4)];
        let slot = u32::try_from(random.below(8)).expect("small");
        one.blank();
        let request = Inline {
            cookie: one.region,
            offset: offset as u64,
            segments: &[one.local.part(0, length)],
            flags,
            ..Default::default()
        };
        one.slots.set(slot, PENDING);
        let status = match one.knem.inline_at(request, slot) {
            // The engine is removed at this moment.
            Err(Errno::EINVAL) => continue,
            other => other.expect("accepted"),
        };
        let status = if flags == DMA { status } else { u32::from(one.slots.wait(slot)) };
        if flags == NOTIFIED {
            assert_eq!(wait_events(&one.knem, 1), [slot]);
        }
        assert!(status == SUCCESS || status == FAILED, "{status}");
        if status == SUCCESS {
            assert!(one.local.bytes()[..length] == bytes[offset..offset + length], "a success that is none");
        }
    }
}
