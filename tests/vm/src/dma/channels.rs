// SPDX-License-Identifier: CECILL-B
//! Which channels the driver claims, for which requests, and when it releases them.

use knem_conformance::parameters::with_parameter;
use knem_core::uapi;
use nix::errno::Errno;

use super::engine::{engine_line, get, set, with_engine};
use super::in_flight::many_in_flight;
use super::{DETACHED, DMA};
use crate::counters::{counts, BAD_FLAGS, PROCESSED, SUBMITTED};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::loaded::{load, loaded_with, remove, unload};
use crate::memory::{Mapping, PAGE};
use crate::slots::{Asynchronous, DONE, PENDING};
use crate::waiting;

crate::trials![of "dma";
    "6.6" without_an_engine_the_flag_is_refused,
    "R59" nothing_is_claimed_by_default,
    "R26, W27" opening_claims_nothing,
    "R59" no_more_channels_are_claimed_than_allowed,
    "R59" channels_are_given_back,
    "R37" unloading_gives_channels_back,
    "9" without_permission_the_flag_is_ignored,
];

fn without_an_engine_the_flag_is_refused() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[7; 2 * PAGE]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    for allowed in ["0", "8"] {
        with_parameter("dmachannels", allowed, || {
            assert_eq!(knem.info().features & uapi::FEATURE_DMA, 0);
            counts(&[(SUBMITTED, 1), (BAD_FLAGS, 1)], || {
                assert_eq!(knem.copy((region, 0), (region, PAGE as u64), None, DMA), Err(Errno::EINVAL));
            });
            assert_eq!(engine_line(), "KernelSupported Enabled NoChannelAvailable");
        });
    }
}

fn nothing_is_claimed_by_default() {
    with_engine(&[], || {
        with_parameter("dmachannels", "0", || {
            let (knem, memory) = (Knem::open(), Mapping::holding(&[7; 2 * PAGE]));
            let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
            assert_eq!(knem.info().features, 0);
            assert_eq!(knem.copy((region, 0), (region, PAGE as u64), None, DMA), Err(Errno::EINVAL));
            assert_eq!(engine_line(), "KernelSupported Enabled NoChannelAvailable");
            assert_eq!(get("in_use"), 0);
        });
    });
}

fn opening_claims_nothing() {
    with_engine(&[("channels", 4)], || {
        let knem = Knem::open();
        assert_eq!(get("in_use"), 0);
        assert_eq!(knem.info().features, uapi::FEATURE_DMA);
        assert_eq!(get("in_use"), 1, "one is enough to know");
        assert_eq!(engine_line(), "KernelSupported Enabled ChansAvail ChunkMin=1024B");
        with_parameter("dmamin", "77", || assert!(engine_line().ends_with(" ChunkMin=77B")));
    });
}

fn no_more_channels_are_claimed_than_allowed() {
    with_engine(&[("channels", 8)], || {
        with_parameter("dmachannels", "3", || {
            let many = Asynchronous::new(64, &vec![1; 8 * PAGE]);
            set("hang", 1);
            for index in 0..64 {
                assert_eq!(many.read(index, DETACHED), Ok(u32::from(PENDING)));
                assert!(get("in_use") <= 3);
            }
            assert_eq!(get("in_use"), 3, "busy ones are a reason to claim others");
            set("hang", 0);
            (0..64).for_each(|index| assert_eq!(many.slots.wait(index), DONE));
        });
    });
}

fn channels_are_given_back() {
    with_engine(&[("channels", 4)], || {
        let knem = Knem::open();
        assert_eq!(knem.info().features, uapi::FEATURE_DMA);
        assert_eq!(remove(c"knem_test_dma"), Err(Errno::EWOULDBLOCK), "its channel is claimed");
        with_parameter("dmachannels", "0", || {
            assert_eq!(knem.info().features, 0);
            assert_eq!(get("in_use"), 0);
        });
        assert_eq!(knem.info().features, uapi::FEATURE_DMA, "at once: another number is allowed");
    });
    assert_eq!(remove(c"knem_test_dma"), Ok(()));
}

fn unloading_gives_channels_back() {
    with_engine(&[("channels", 4), ("delay", 5)], || {
        let allowed = get("channels");
        for _ in 0..5 {
            many_in_flight(16, 10 * PAGE);
            assert!(get("in_use") > 0);
            waiting::until("the driver is not needed any more", || unload() == Ok(()));
            assert_eq!((get("in_use"), get("live")), (0, 0));
            load(&[&format!("dmachannels={allowed}")]).expect("it loads");
        }
    });
}

fn without_permission_the_flag_is_ignored() {
    with_engine(&[], || {
        loaded_with(&["dma=0", "dmachannels=4"], || {
            let one = Asynchronous::new(1, &vec![1; 16 * PAGE]);
            let info = one.knem.info();
            assert_eq!((info.features, info.ignored_flags), (0, DMA));
            assert_eq!(engine_line(), "KernelSupported Disabled");
            counts(&[(SUBMITTED, 2), (PROCESSED, 2)], || {
                assert_eq!(one.read(0, DMA), Ok(SUCCESS));
                assert_eq!(one.read(0, DETACHED), Ok(SUCCESS));
            });
            assert_eq!(one.slots.get(0), DONE);
            assert_eq!(get("in_use"), 0);
        });
    });
}
