// SPDX-License-Identifier: CECILL-B
//! Copies are correct, regardless of which parts the DMA engine and the CPU copy.

use std::path::Path;
use std::process::Command;

use knem_conformance::parameters::with_parameter;
use knem_conformance::random::Random;
use knem_core::uapi;
use nix::errno::Errno;

use super::engine::{get, with_engine};
use super::shapes::{copy_many_shapes, gather, noise};
use super::{BY_DMA, DETACHED, DMA, THREADED};
use crate::counters::{counts, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Inline, Knem, READ, SUCCESS};
use crate::memory::{Mapping, PAGE};
use crate::slots::{Asynchronous, DONE, PENDING};

crate::trials![of "dma";
    "6.5" copies_of_a_public_engine_are_right,
    "6.5" copies_of_a_private_engine_are_right,
    "6.5" short_chunks_stay_with_the_processor,
    "6.5" alignment_is_respected,
    "R59" memory_the_engine_cannot_reach_is_bounced,
    "R59, W9" a_last_chunk_for_the_cpu_does_not_end_it_early,
    "5" single_use_regions_are_consumed,
];

fn copies_of_a_public_engine_are_right() {
    with_engine(&[("channels", 2)], || {
        copy_many_shapes();
        assert!(get("copied") > 100);
    });
}

fn copies_of_a_private_engine_are_right() {
    with_engine(&[("channels", 2), ("private", 1), ("disorder", 1)], || {
        copy_many_shapes();
        assert!(get("copied") > 100);
    });
}

fn short_chunks_stay_with_the_processor() {
    with_engine(&[], || {
        let (knem, from, to) = (Knem::open(), Mapping::holding(&[9; PAGE]), Mapping::new(PAGE));
        let region = knem.create(&[from.segment()], READ, 0).expect("created");
        let copied = |length: usize| {
            let before = get("copied");
            counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1)], || {
                assert_eq!(knem.read(region, 0, &[to.part(0, length)], DMA), Ok(SUCCESS));
            });
            get("copied") - before
        };
        assert_eq!((copied(1024), copied(1025)), (0, 1));
        with_parameter("dmamin", "0", || assert_eq!(copied(1), 1));
        with_parameter("dmamin", "4294967295", || assert_eq!(copied(PAGE), 0));
    });
}

fn alignment_is_respected() {
    with_engine(&[("align", 6)], || {
        copy_many_shapes();
        // Both sides have the same misalignment: the engine gets everything but the ends.
        let (knem, from, to) = (Knem::open(), Mapping::holding(&[3; 16 * PAGE]), Mapping::new(16 * PAGE));
        let region = knem.create(&[from.part(7, 12 * PAGE)], READ, 0).expect("created");
        let before = get("copied");
        assert_eq!(knem.read(region, 0, &[to.part(7, 12 * PAGE)], DMA), Ok(SUCCESS));
        assert!(get("copied") > before);
        assert!(to.bytes()[7..7 + 12 * PAGE].iter().all(|byte| *byte == 3));
        assert_eq!((to.bytes()[6], to.bytes()[7 + 12 * PAGE]), (0, 0));
    });
}

fn memory_the_engine_cannot_reach_is_bounced() {
    with_engine(&[("mask", 32)], || {
        let before = bounce_buffers();
        copy_many_shapes();
        assert_eq!(bounce_buffers(), before, "all is unmapped");
        let longest = get("longest");
        // The bounce buffers for other memory are not longer.
        assert!(longest > 0 && (longest <= 256 << 10 || !memory_beyond_4_gib()), "{longest} bytes");
    });
}

/// Returns how much of the bounce buffers is in use, if the kernel reports it.
fn bounce_buffers() -> Option<u64> {
    let debug = Path::new("/sys/kernel/debug");
    if !debug.join("swiotlb").exists() {
        let _ = Command::new("mount").args(["-t", "debugfs", "debugfs"]).arg(debug).status();
    }
    std::fs::read_to_string(debug.join("swiotlb/io_tlb_used")).ok()?.trim().parse().ok()
}

fn memory_beyond_4_gib() -> bool {
    let map = std::fs::read_to_string("/proc/iomem").expect("/proc/iomem");
    let start = |line: &str| u64::from_str_radix(line.split('-').next()?, 16).ok();
    map.lines().filter(|line| line.ends_with(": System RAM")).filter_map(start).any(|start| start >= 4 << 30)
}

/// The original driver miscounted the engine's copies if the CPU copied the last chunk.
fn a_last_chunk_for_the_cpu_does_not_end_it_early() {
    with_engine(&[("delay", 20)], || {
        let (knem, mut random) = (Knem::open(), Random::new(9));
        let (from, to) = (noise(&mut random, 8 * PAGE), Mapping::new(8 * PAGE));
        let region = knem.create(&[from.segment()], READ, 0).expect("created");
        let list = [to.part(0, 4 * PAGE), to.part(5 * PAGE, 10)];
        assert_eq!(knem.read(region, 0, &list, DMA), Ok(SUCCESS));
        assert!(gather(&to, &list) == from.bytes()[..4 * PAGE + 10], "all of it is there");
        assert_eq!(get("live"), 0, "and nothing is on its way");
    });
}

fn single_use_regions_are_consumed() {
    with_engine(&[("delay", 5)], || {
        let one = Asynchronous::new(4, &[1; 8]);
        let memory = Mapping::holding(&[4; 16 * PAGE]);
        for flags in [DMA, DETACHED, THREADED] {
            let region = one.knem.create(&[memory.segment()], READ, uapi::FLAG_SINGLEUSE).expect("created");
            let (local, request) = (Mapping::new(16 * PAGE), |flags, local: &Mapping| {
                let segments = &[local.segment()];
                let request = Inline { cookie: region, segments, flags, ..Default::default() };
                one.knem.inline_at(request, 1)
            });
            one.slots.set(1, PENDING);
            let status = request(flags, &local).expect("accepted");
            assert_eq!(request(flags, &local), Err(Errno::EINVAL), "once");
            if flags != DMA {
                assert_eq!(status, u32::from(PENDING), "{flags:#x}");
                assert_eq!(one.slots.wait(1), DONE);
            }
            assert!(local.bytes().iter().all(|byte| *byte == 4));
        }
    });
}
