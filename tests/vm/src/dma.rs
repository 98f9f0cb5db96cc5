// SPDX-License-Identifier: CECILL-B
//! DMA engines: what the driver does with one that is orderly, disorderly, slow, failing, hanging, or gone.
//!
//! The engine is a module of ours (tests/dma), since virtual machines have none. It copies with the processor and behaves
//! as its parameters say. It also tells what its client did wrong: copies that were left when a channel was given back,
//! and copies that were not aligned.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use knem_core::uapi::{self, ParamIovec};
use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{kill, Signal};

use crate::children::Child;
use crate::counters::{
    counters, counts, nothing_is_pinned, pinned_pages, text, BAD_FLAGS, OFFLOADED, PINNED, PROCESSED, SUBMITTED,
};
use crate::device::{Inline, Knem, FAILED, READ, SUCCESS, WRITE};
use crate::loaded::{load, loaded_with, unload};
use crate::memory::{Mapping, PAGE};
use crate::waiting;
use knem_conformance::parameters::with_parameter;
use knem_conformance::random::Random;
use knem_conformance::skip;
use knem_conformance::slots::{wait_events, Asynchronous, DONE, PENDING};

crate::trials![
    "6.6" without_an_engine_the_flag_is_refused,
    "R59" nothing_is_claimed_by_default,
    "R26, W27" opening_claims_nothing,
    "R59" no_more_channels_are_claimed_than_allowed,
    "6.5" copies_of_a_public_engine_are_right,
    "6.5" copies_of_a_private_engine_are_right,
    "6.5" short_chunks_stay_with_the_processor,
    "6.5" alignment_is_respected,
    "R59" memory_the_engine_cannot_reach_is_bounced,
    "R59, W9" a_last_chunk_for_the_processor_does_not_end_it_early,
    "R59" a_small_ring_is_filled_again_and_again,
    "R59" many_chunks_are_handed_over_bit_by_bit,
    "R59" the_processor_relieves_a_full_channel,
    "2.7" detached_copies_are_pending_until_they_are_done,
    "2.7" detached_copies_without_work_for_the_engine_are_done_at_once,
    "6.5" the_thread_drives_the_engine,
    "7.3" completion_is_an_event,
    "R59" completions_in_any_order,
    "R59" one_channel_serves_many_processes,
    "R59, W9" any_error_is_a_failure,
    "R59" what_the_engine_refuses_the_processor_copies,
    "R59, W22" a_hanging_engine_is_stopped,
    "R59, W22" a_hanging_engine_fails_detached_copies,
    "R59" an_engine_that_cannot_be_stopped_keeps_its_memory,
    "R27, W22" who_waits_for_a_hanging_engine_can_be_killed,
    "R29" closing_leaves_copies_in_flight,
    "R29" closing_does_not_wait_for_the_engine,
    "R59" an_engine_that_vanishes_fails_what_it_has,
    "R59" an_engine_that_hangs_and_vanishes,
    "R59" channels_are_given_back,
    "R37" unloading_gives_channels_back,
    "9" without_permission_the_flag_is_ignored,
    "5" single_use_regions_are_consumed,
    "R59" everything_at_once,
];

const DMA: u32 = uapi::FLAG_DMA;
const DETACHED: u32 = DMA | uapi::FLAG_ASYNCDMACOMPLETE;
const THREADED: u32 = DMA | uapi::FLAG_DMATHREAD;
const NOTIFIED: u32 = THREADED | uapi::FLAG_NOTIFY_FD;

const BY_DMA: &str = "processed (using DMA)";
const FAILED_DMA: &str = "failed during DMA copy";
const TIMEOUT: &str = "DMA copy cleanup timeout";

// The engine.

/// Where the engine's module may be.
const MODULES: [&str; 2] = ["/usr/local/lib/knem/knem_test_dma.ko", "/root/knem_test_dma.ko"];

fn parameter(name: &str) -> String {
    format!("/sys/module/knem_test_dma/parameters/{name}")
}

fn set(name: &str, value: u32) {
    std::fs::write(parameter(name), value.to_string()).unwrap_or_else(|error| panic!("{name}={value}: {error}"));
}

fn get(name: &str) -> u64 {
    let text = std::fs::read_to_string(parameter(name)).expect("the engine's parameter");
    match text.trim() {
        "Y" => 1,
        "N" => 0,
        number => number.parse().expect("a number"),
    }
}

/// Loads the engine's module.
fn load_engine() {
    if Path::new("/sys/module/knem_test_dma").exists() {
        return;
    }
    let Some(module) = MODULES.into_iter().find(|path| Path::new(path).exists()) else {
        skip(format!("the test's DMA engine is not here: build tests/dma and bring it in as {}", MODULES[0]));
    };
    let output = Command::new("insmod").arg(module).output().expect("insmod runs");
    assert!(output.status.success(), "{module}: {}", String::from_utf8_lossy(&output.stderr));
}

const USUAL: [(&str, u32); 11] = [
    ("channels", 1),
    ("private", 0),
    ("disorder", 0),
    ("terminable", 1),
    ("align", 0),
    ("mask", 64),
    ("delay", 0),
    ("fail", 0),
    ("refuse", 0),
    ("reject", 0),
    ("most", 0),
];
const COUNTERS: [&str; 7] = ["copied", "failed", "refused", "aborted", "abandoned", "misaligned", "longest"];

/// A test with the engine as it should be, of which the driver may have as many channels as there are. Afterwards nothing
/// may be left of what it did.
fn with_engine(unusual: &[(&str, u32)], test: impl FnOnce()) {
    load_engine();
    set("hang", 0);
    set("present", 0);
    for (name, value) in USUAL.iter().chain(unusual) {
        set(name, *value);
    }
    COUNTERS.into_iter().for_each(|name| set(name, 0));
    set("present", 1);
    let channels = get("channels").to_string();
    let outcome = catch_unwind(AssertUnwindSafe(|| with_parameter("dmachannels", &channels, test)));
    for (name, value) in [("hang", 0), ("delay", 0), ("fail", 0), ("refuse", 0), ("reject", 0)] {
        set(name, value);
    }
    if let Err(panic) = outcome {
        set("present", 0);
        resume_unwind(panic);
    }
    waiting::until("the engine has nothing left", || get("live") == 0);
    waiting::until("channels are given back", || {
        // Somebody has to look.
        assert_eq!(Knem::open().info().features, 0);
        get("in_use") == 0
    });
    set("present", 0);
    nothing_is_pinned();
    assert_eq!((get("abandoned"), get("misaligned")), (0, 0), "copies left at the end, copies not aligned");
}

fn engine_line() -> String {
    text().lines().find_map(|line| line.strip_prefix(" DMAEngine: ")).expect("the line").to_owned()
}

/// Segments in shuffled places of a mapping, with gaps, of `total` bytes together.
fn segments(random: &mut Random, memory: &Mapping, total: usize, longest: usize) -> Vec<ParamIovec> {
    let (mut list, mut left, mut place) = (Vec::new(), total, 0);
    while left > 0 {
        let length = (1 + random.below(longest)).min(left);
        place += random.below(100);
        list.push(memory.part(place, length));
        place += length;
        left -= length;
    }
    for n in (1..list.len()).rev() {
        list.swap(n, random.below(n + 1));
    }
    list
}

/// The bytes of segments, in their order.
fn gather(memory: &Mapping, list: &[ParamIovec]) -> Vec<u8> {
    let at = |segment: &ParamIovec| usize::try_from(segment.base - memory.address()).expect("inside");
    list.iter().flat_map(|part| memory.bytes()[at(part)..at(part) + part.len as usize].to_vec()).collect()
}

/// Memory of random bytes.
fn noise(random: &mut Random, length: usize) -> Mapping {
    Mapping::holding(&random.bytes(length))
}

/// A copy of random shape, in each of the three ways; checked to the byte.
fn copy_and_compare(random: &mut Random, knem: &Knem, total: usize, longest: usize, flags: u32) {
    let room = total + 100 * (total / longest * 2 + 200);
    let (from, mut to) = (noise(random, room), noise(random, room));
    let (left, right) = (segments(random, &from, total, longest), segments(random, &to, total, longest));
    let source = knem.create(&left, READ, 0).expect("created");
    let destination = knem.create(&right, WRITE, 0).expect("created");
    let skip = random.below(total.min(5000));
    let bound = 1 + random.below(total - skip);
    for way in 0..3 {
        to.bytes_mut().fill(0x55);
        let status = match way {
            0 => knem.read(source, 0, &right, flags),
            1 => knem.write(destination, 0, &left, flags),
            _ => knem.copy((source, skip as u64), (destination, 0), Some(bound as u64), flags),
        };
        assert_eq!(status, Ok(SUCCESS), "way {way}");
        let (sent, come) = (gather(&from, &left), gather(&to, &right));
        let (first, count) = if way == 2 { (skip, bound) } else { (0, total) };
        assert!(come[..count] == sent[first..first + count], "way {way}: {total} bytes, {longest} at most");
        assert!(come[count..].iter().all(|byte| *byte == 0x55), "no more than asked for");
        let touched: usize = to.bytes().iter().filter(|byte| **byte != 0x55).count();
        assert!(touched <= count, "nothing beside the segments");
    }
    assert_eq!((knem.destroy(source), knem.destroy(destination)), (Ok(()), Ok(())));
}

/// Copies of many shapes.
fn copy_many_shapes() {
    let (mut random, knem) = (Random::new(59), Knem::open());
    for (total, longest) in [
        (1, 1),
        (1024, 1024),
        (1025, 1025),
        (PAGE, PAGE),
        (3 * PAGE + 1, 2000),
        (100_000, 100_000),
        (100_000, 5000),
        (1 << 20, 1 << 20),
        (1 << 20, 9000),
        (5 << 20, 3 << 20),
    ] {
        copy_and_compare(&mut random, &knem, total, longest, DMA);
    }
    for _ in 0..20 {
        let longest = 1 + random.below(60_000);
        let total = 2 + random.below(300_000);
        copy_and_compare(&mut random, &knem, total, longest.min(total), DMA);
    }
}

// Tests.

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
        // Both sides off by the same: all but the ends is for the engine.
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
        // The buffers through which other memory goes are not longer.
        assert!(longest > 0 && (longest <= 256 << 10 || !memory_beyond_4_gib()), "{longest} bytes");
    });
}

/// How much of the bounce buffers is in use, where the kernel tells.
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

/// The original lost count of the engine's copies when a processor's came last.
fn a_last_chunk_for_the_processor_does_not_end_it_early() {
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

fn a_small_ring_is_filled_again_and_again() {
    for (most, disorder) in [(1, 0), (3, 1)] {
        with_engine(&[("most", most), ("disorder", disorder)], || {
            let mut random = Random::new(u64::from(most));
            let (from, to) = (noise(&mut random, 64 * PAGE), Mapping::new(64 * PAGE));
            let knem = Knem::open();
            // Gaps keep the pieces apart, whatever the pages' places.
            let pieces = |memory: &Mapping| (0..32).map(|n| memory.part(n * 2 * PAGE, PAGE)).collect::<Vec<_>>();
            let (left, right) = (pieces(&from), pieces(&to));
            let region = knem.create(&left, READ, 0).expect("created");
            assert_eq!(knem.read(region, 0, &right, DMA), Ok(SUCCESS));
            assert!(gather(&to, &right) == gather(&from, &left));
            assert_eq!(get("copied"), 32, "the engine has done all of it");
        });
    }
}

/// More chunks than an engine gets at a time.
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

/// A channel takes a number of copies; those who come later do not wait for it.
fn the_processor_relieves_a_full_channel() {
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
                if one.knem.inline_at(request, index) == Ok(SUCCESS) {
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

fn detached_copies_are_pending_until_they_are_done() {
    with_engine(&[("hang", 0)], || {
        let mut random = Random::new(2);
        let bytes = random.bytes(300 * PAGE);
        let one = Asynchronous::new(1, &bytes);
        one.slots.set(0, DONE);
        set("hang", 1);
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1)], || {
            assert_eq!(one.read(0, DETACHED), Ok(u32::from(PENDING)));
        });
        assert_eq!(one.slots.get(0), PENDING);
        assert!(get("live") > 0 && pinned_pages() > 0);
        set("hang", 0);
        assert_eq!(one.slots.wait(0), DONE);
        assert!(one.local.bytes() == bytes, "who sees the status sees the data");
    });
}

fn detached_copies_without_work_for_the_engine_are_done_at_once() {
    with_engine(&[], || {
        let one = Asynchronous::new(1, b"short");
        assert_eq!(one.read(0, DETACHED), Ok(SUCCESS));
        assert_eq!((one.slots.get(0), one.local.bytes()), (DONE, &b"short"[..]));
        let none = Asynchronous::new(1, b"");
        assert_eq!(none.read(0, DETACHED), Ok(u32::from(PENDING)));
        assert_eq!(none.slots.get(0), DONE);
    });
}

fn the_thread_drives_the_engine() {
    with_engine(&[("delay", 5)], || {
        let mut random = Random::new(3);
        let bytes = random.bytes(50 * PAGE + 3);
        let mut one = Asynchronous::new(2, &bytes);
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (BY_DMA, 1), (PINNED, 1), (OFFLOADED, 1)], || {
            assert_eq!(one.read(1, THREADED), Ok(u32::from(PENDING)));
            assert_eq!(one.slots.wait(1), DONE);
        });
        assert!(one.local.bytes() == bytes);
        one.blank();
        // The thread hands it over and does not wait.
        assert_eq!(one.read(1, THREADED | DETACHED), Ok(u32::from(PENDING)));
        assert_eq!(one.slots.wait(1), DONE);
        assert!(one.local.bytes() == bytes);
        assert!(get("copied") >= 2);
    });
}

fn completion_is_an_event() {
    with_engine(&[("delay", 5)], || {
        let mut random = Random::new(4);
        let bytes = random.bytes(20 * PAGE);
        let one = Asynchronous::new(8, &bytes);
        for index in 0..8 {
            assert_eq!(one.read(index, NOTIFIED), Ok(u32::from(PENDING)));
        }
        // One after the other.
        assert_eq!(wait_events(&one.knem, 8), (0..8).collect::<Vec<u32>>());
        (0..8).for_each(|index| assert_eq!(one.slots.get(index), DONE));
        assert!(one.local.bytes() == bytes);
        set("fail", 1);
        assert_eq!(one.read(5, NOTIFIED), Ok(u32::from(PENDING)));
        assert_eq!(wait_events(&one.knem, 1), [5]);
        assert_eq!(u32::from(one.slots.get(5)), FAILED);
    });
}

/// Has the whole region read; gives the final status. Where that is known at once, both places say so.
fn submit(one: &Asynchronous, index: u32, flags: u32) -> u32 {
    let status = one.read(index, flags).expect("accepted");
    let last = u32::from(one.slots.wait(index));
    assert!(status == u32::from(PENDING) || status == last, "{status} and {last}");
    last
}

/// Many copies of one file in flight, each to a place of its own.
fn many_in_flight(count: u32, length: usize) {
    let mut random = Random::new(u64::from(count));
    let bytes = random.bytes(length);
    let many = Asynchronous::new(count as usize, &bytes);
    let places: Vec<Mapping> = (0..count).map(|_| Mapping::new(length)).collect();
    for (index, place) in (0..count).zip(&places) {
        let status = many.read_into(&[place.segment()], index, DETACHED).expect("accepted");
        assert!([u32::from(PENDING), SUCCESS].contains(&status), "{status}");
    }
    for (index, place) in (0..count).zip(&places) {
        assert_eq!(many.slots.wait(index), DONE, "{index}");
        assert!(place.bytes() == bytes, "{index}");
    }
}

fn completions_in_any_order() {
    with_engine(&[("channels", 4), ("private", 1), ("disorder", 1), ("delay", 3)], || {
        many_in_flight(200, 20 * PAGE + 5);
        assert!(get("copied") >= 200);
    });
}

fn one_channel_serves_many_processes() {
    with_engine(&[("disorder", 1), ("delay", 1)], || {
        let before = counters();
        let children: Vec<Child> = (0..4)
            .map(|number| {
                Child::start(move || {
                    let (mut random, knem) = (Random::new(number), Knem::open());
                    for _ in 0..10 {
                        let total = 2 + random.below(200_000);
                        copy_and_compare(&mut random, &knem, total, 30_000.min(total), DMA);
                    }
                    many_in_flight(20, 10 * PAGE);
                })
            })
            .collect();
        children.into_iter().for_each(Child::succeeds);
        assert_eq!(counters()[BY_DMA] - before[BY_DMA], 4 * (30 + 20));
        assert_eq!(counters()[FAILED_DMA], before[FAILED_DMA]);
    });
}

fn any_error_is_a_failure() {
    for disorder in [0, 1] {
        with_engine(&[("disorder", disorder)], || {
            let from = Mapping::holding(&[1; 64 * PAGE]);
            let list: Vec<ParamIovec> = (0..32).map(|n| from.part(n * 2 * PAGE, PAGE)).collect();
            let knem = Knem::open();
            let region = knem.create(&list, READ, 0).expect("created");
            let to = Mapping::new(32 * PAGE);
            // One of 32 descriptors, whichever.
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
                assert_eq!(knem.read(region, 0, &[to.segment()], DMA), Ok(FAILED), "whoever waits is told");
                assert_eq!(u32::from(one.slots.wait(0)), FAILED, "and whoever looks");
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
            waiting::until("the channel can be claimed anew", || Knem::open().info().features == uapi::FEATURE_DMA);
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
                    // It ends, though the engine does not.
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
        // A mapping of the status array keeps the file.
        slots.unmap();
        assert!(pinned_pages() >= 200);
        assert_eq!(unload(), Err(Errno::EWOULDBLOCK));
        set("hang", 0);
        nothing_is_pinned();
        assert!(local.bytes() == bytes, "it has come after all");
        waiting::until("the driver is not needed any more", || module_users() == 0);
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

fn channels_are_given_back() {
    with_engine(&[("channels", 4)], || {
        let knem = Knem::open();
        assert_eq!(knem.info().features, uapi::FEATURE_DMA);
        assert_eq!(remove("knem_test_dma"), Err(Errno::EWOULDBLOCK), "its channel is claimed");
        with_parameter("dmachannels", "0", || {
            assert_eq!(knem.info().features, 0);
            assert_eq!(get("in_use"), 0);
        });
        assert_eq!(knem.info().features, uapi::FEATURE_DMA, "at once: another number is allowed");
    });
    assert_eq!(remove("knem_test_dma"), Ok(()));
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
                assert!(status == u32::from(PENDING) || status == SUCCESS, "{status}");
                assert_eq!(one.slots.wait(1), DONE);
            }
            assert!(local.bytes().iter().all(|byte| *byte == 4));
        }
    });
}

/// Several processes, all ways to ask, and an engine that does everything wrong now and then: what is reported as a success
/// is one, and nothing is left.
fn everything_at_once() {
    let settings =
        [("channels", 3), ("private", 1), ("disorder", 1), ("fail", 211), ("refuse", 97), ("reject", 89), ("most", 40)];
    with_engine(&settings, || {
        let children: Vec<Child> = (0..4).map(|number| Child::start(move || storm(number))).collect();
        // Meanwhile it comes and goes, and so does the permission.
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
            // It is away just now.
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

// The modules.

fn remove(module: &str) -> Result<(), Errno> {
    let name = std::ffi::CString::new(module).expect("a name");
    // SAFETY: the name is a string.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
    Errno::result(result).map(drop)
}

fn module_users() -> u32 {
    let text = std::fs::read_to_string("/sys/module/knem/refcnt").expect("the module's users");
    text.trim().parse().expect("a number")
}
