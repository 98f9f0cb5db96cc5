// SPDX-License-Identifier: CECILL-B
//! An engine that hangs.

use std::time::{Duration, Instant};

use knem_conformance::parameters::with_parameter;
use knem_core::uapi;
use nix::errno::Errno;
use nix::sys::signal::{kill, Signal};

use super::engine::{get, set, with_engine};
use super::in_flight::submit;
use super::{BY_DMA, DETACHED, DMA, FAILED_DMA, THREADED};
use crate::children::Child;
use crate::counters::{counters, counts, nothing_is_pinned, pinned_pages, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Knem, FAILED, READ, SUCCESS};
use crate::loaded::unload;
use crate::memory::{Mapping, PAGE};
use crate::slots::{Asynchronous, PENDING};
use crate::waiting;

/// The driver's counter of channels that were given up.
const TIMEOUT: &str = "DMA copy cleanup timeout";

crate::trials![of "dma";
    "R59, W22" a_hanging_engine_is_stopped,
    "R59, W22" a_hanging_engine_fails_detached_copies,
    "R59" an_engine_that_cannot_be_stopped_keeps_its_memory,
    "R27, W22" who_waits_for_a_hanging_engine_can_be_killed,
];

fn a_hanging_engine_is_stopped() {
    with_engine(&[("disorder", 1)], || {
        with_parameter("dmatimeout", "200", || {
            let (knem, from, to) = (Knem::open(), Mapping::holding(&[1; 64 * PAGE]), Mapping::new(64 * PAGE));
            let region = knem.create(&[from.segment()], READ, 0).expect("created");
            let pinned = pinned_pages();
            set("hang", 1);
            let start = Instant::now();
            counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1), (FAILED_DMA, 1), (TIMEOUT, 1)], || {
                assert_eq!(knem.read(region, 0, &[to.segment()], DMA), Ok(FAILED))
            });
            assert!(start.elapsed() >= Duration::from_millis(200), "it had its time");
            assert_eq!((get("live"), pinned_pages()), (0, pinned), "nothing is on its way any more");
            assert!(get("aborted") > 0);
            set("hang", 0);
            assert_eq!(knem.read(region, 0, &[to.segment()], DMA), Ok(SUCCESS));
        });
    });
}

fn a_hanging_engine_fails_detached_copies() {
    with_engine(&[("channels", 2)], || {
        with_parameter("dmatimeout", "200", || {
            let one = Asynchronous::new(8, &vec![1; 16 * PAGE]);
            set("hang", 1);
            let before = counters();
            for index in 0..4 {
                assert_eq!(one.read(index, DETACHED), Ok(u32::from(PENDING)));
            }
            assert_eq!(one.read(4, THREADED), Ok(u32::from(PENDING)));
            (0..5).for_each(|index| assert_eq!(u32::from(one.slots.wait(index)), FAILED, "{index}"));
            waiting::until("each is counted", || counters()[FAILED_DMA] - before[FAILED_DMA] == 5);
            let timeouts = counters()[TIMEOUT] - before[TIMEOUT];
            assert!((1..=5).contains(&timeouts), "{timeouts}: one or all of a channel's notice");
            set("hang", 0);
            assert_eq!(submit(&one, 7, DETACHED), SUCCESS);
        });
    });
}

fn an_engine_that_cannot_be_stopped_keeps_its_memory() {
    with_engine(&[("terminable", 0)], || {
        with_parameter("dmatimeout", "200", || {
            let (from, to) = (Mapping::holding(&[1; 16 * PAGE]), Mapping::new(16 * PAGE));
            let (knem, one) = (Knem::open(), Asynchronous::new(1, &vec![1; 16 * PAGE]));
            let region = knem.create(&[from.segment()], READ, 0).expect("created");
            set("hang", 1);
            assert_eq!(one.read(0, DETACHED), Ok(u32::from(PENDING)));
            counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1), (TIMEOUT, 2)], || {
                assert_eq!(
                    knem.read(region, 0, &[to.segment()], DMA),
                    Ok(FAILED),
                    "the caller waits and gets the status"
                );
                assert_eq!(u32::from(one.slots.wait(0)), FAILED, "and the slot has it");
            });
            drop((knem, one));
            assert!(get("live") > 0);
            assert!(pinned_pages() >= 32, "{} pages", pinned_pages());
            assert_eq!(unload(), Err(Errno::EWOULDBLOCK), "the driver is needed");
            assert_eq!(Knem::open().info().features, 0, "the only channel is of no use");
            let before = counters();
            set("hang", 0);
            nothing_is_pinned();
            waiting::until("both are counted", || counters()[FAILED_DMA] - before[FAILED_DMA] == 2);
            waiting::until("the channel can be claimed again", || Knem::open().info().features == uapi::FEATURE_DMA);
        });
    });
}

fn who_waits_for_a_hanging_engine_can_be_killed() {
    for terminable in [0, 1] {
        with_engine(&[("terminable", terminable)], || {
            with_parameter("dmatimeout", "600000", || {
                set("hang", 1);
                for flags in [DMA, THREADED] {
                    let child = Child::start(|| {
                        let one = Asynchronous::new(1, &vec![1; 16 * PAGE]);
                        let _ = one.read(0, flags);
                        waiting::until("killed", || false);
                    });
                    waiting::until("the engine has something", || get("live") > 0);
                    kill(child.id(), Signal::SIGKILL).expect("killed");
                    // The process exits although the engine hangs.
                    let _ = child.wait();
                    assert!(get("live") > 0);
                    assert!(pinned_pages() > 0, "and the engine keeps what it has");
                    set("hang", 0);
                    nothing_is_pinned();
                    waiting::until("the engine is done", || get("live") == 0);
                    set("hang", 1);
                }
            });
        });
    }
}
