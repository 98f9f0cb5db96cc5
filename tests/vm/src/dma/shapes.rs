// SPDX-License-Identifier: CECILL-B
//! Copies of many shapes, compared byte by byte.

use knem_conformance::random::Random;
use knem_core::uapi::ParamIovec;

use super::DMA;
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};

/// Returns segments at shuffled addresses of a mapping, with gaps, of `total` bytes together.
pub(super) fn segments(random: &mut Random, memory: &Mapping, total: usize, longest: usize) -> Vec<ParamIovec> {
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

/// Returns the bytes of segments, in their order.
pub(super) fn gather(memory: &Mapping, list: &[ParamIovec]) -> Vec<u8> {
    let at = |segment: &ParamIovec| usize::try_from(segment.base - memory.address()).expect("inside");
    list.iter().flat_map(|part| memory.bytes()[at(part)..at(part) + part.len as usize].to_vec()).collect()
}

/// Maps memory with random bytes.
pub(super) fn noise(random: &mut Random, length: usize) -> Mapping {
    Mapping::holding(&random.bytes(length))
}

/// Makes a copy of random shape, in each of the three ways, and checks every byte.
pub(super) fn copy_and_compare(random: &mut Random, knem: &Knem, total: usize, longest: usize, flags: u32) {
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

/// Makes copies of many shapes.
pub(super) fn copy_many_shapes() {
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
