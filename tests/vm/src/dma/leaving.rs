// SPDX-License-Identifier: CECILL-B
//! The process exits, or the engine is removed, while copies are in flight.

use std::time::{Duration, Instant};

use knem_conformance::parameters::with_parameter;
use knem_conformance::random::Random;
use knem_core::uapi;
use nix::errno::Errno;

use super::engine::{get, set, with_engine};
use super::{DETACHED, DMA, NOTIFIED};
use crate::counters::{nothing_is_pinned, pinned_pages};
use crate::device::{Knem, FAILED, SUCCESS};
use crate::loaded::{unload, users};
use crate::memory::PAGE;
use crate::slots::{Asynchronous, DONE, PENDING};
use crate::waiting;

crate::trials![of "dma";
    "R29" closing_leaves_copies_in_flight,
    "R29" closing_does_not_wait_for_the_engine,
    "R59" an_engine_that_vanishes_fails_what_it_has,
    "R59" an_engine_that_hangs_and_vanishes,
];

fn closing_leaves_copies_in_flight() {
    with_engine(&[], || {
        let mut random = Random::new(11);
        let bytes = random.bytes(100 * PAGE);
        let Asynchronous { knem, slots, memory, local, .. } = {
            let one = Asynchronous::new(1, &bytes);
            set("hang", 1);
            assert_eq!(one.read(0, DETACHED), Ok(u32::from(PENDING)));
            one
        };
        drop(knem);
        drop(memory);
        assert_eq!(slots.get(0), PENDING);
        // A mapping of the status array keeps the file open.
        slots.unmap();
        assert!(pinned_pages() >= 200);
        assert_eq!(unload(), Err(Errno::EWOULDBLOCK));
        set("hang", 0);
        nothing_is_pinned();
        assert!(local.bytes() == bytes, "it has come after all");
        waiting::until("the driver is not needed any more", || users() == 0);
    });
}

fn closing_does_not_wait_for_the_engine() {
    with_engine(&[], || {
        with_parameter("dmatimeout", "600000", || {
            let one = Asynchronous::new(4, &vec![1; 100 * PAGE]);
            set("hang", 1);
            for index in 0..4 {
                assert_eq!(one.read(index, NOTIFIED), Ok(u32::from(PENDING)));
            }
            waiting::until("the thread is at the engine", || get("live") > 0);
            let start = Instant::now();
            drop(one);
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
            assert!(get("live") > 0 && pinned_pages() > 0);
            set("hang", 0);
            nothing_is_pinned();
        });
    });
}

fn an_engine_that_vanishes_fails_what_it_has() {
    with_engine(&[("channels", 2), ("delay", 100)], || {
        let (knem, one) = (Knem::open(), Asynchronous::new(8, &vec![1; 100 * PAGE]));
        for index in 0..8 {
            assert_eq!(one.read(index, DETACHED), Ok(u32::from(PENDING)));
        }
        set("present", 0);
        for index in 0..8 {
            let status = one.slots.wait(index);
            assert!(status == DONE || u32::from(status) == FAILED, "{status}");
        }
        assert!(get("aborted") > 0);
        assert_eq!(knem.info().features, 0);
        assert_eq!(one.read(0, DMA), Err(Errno::EINVAL), "as without an engine");
        set("present", 1);
        waiting::until("it is found again", || knem.info().features == uapi::FEATURE_DMA);
        assert_eq!(one.read(0, DMA), Ok(SUCCESS));
    });
}

fn an_engine_that_hangs_and_vanishes() {
    for terminable in [0, 1] {
        with_engine(&[("terminable", terminable)], || {
            with_parameter("dmatimeout", "300", || {
                let one = Asynchronous::new(8, &vec![1; 100 * PAGE]);
                set("hang", 1);
                for index in 0..8 {
                    assert_eq!(one.read(index, DETACHED), Ok(u32::from(PENDING)));
                }
                set("present", 0);
                (0..8).for_each(|index| assert_eq!(u32::from(one.slots.wait(index)), FAILED, "{index}"));
                if terminable == 0 {
                    assert!(get("live") > 0 && pinned_pages() > 0);
                }
                set("hang", 0);
                waiting::until("it has nothing", || get("live") == 0);
                set("present", 1);
                waiting::until("another is found", || one.knem.info().features == uapi::FEATURE_DMA);
                assert_eq!(one.read(0, DMA), Ok(SUCCESS));
            });
        });
    }
}
