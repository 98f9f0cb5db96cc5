// SPDX-License-Identifier: CECILL-B
//! Lists of segments: both sides are streams of bytes.

use knem_core::uapi::{self, ParamIovec};

use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};
use crate::random::Random;

crate::trials![
    "5.4" five_into_five,
    "5.4" single_bytes,
    "5.4" many_segments,
    "5.4" seams_in_all_places,
    "5.1" segments_may_repeat,
    "5.1" segments_may_be_in_any_order,
];

/// A list of segments with a gap after each, in its own memory.
struct Scattered {
    memory: Mapping,
    places: Vec<(usize, usize)>,
}

impl Scattered {
    const GAP: usize = 13;

    fn new(lengths: &[usize]) -> Self {
        let mut end = 3;
        let mut places = Vec::new();
        for length in lengths {
            places.push((end, *length));
            end += length + Self::GAP;
        }
        Self { memory: Mapping::new(end), places }
    }

    fn segments(&self) -> Vec<ParamIovec> {
        self.places.iter().map(|(start, length)| self.memory.part(*start, *length)).collect()
    }

    /// Returns the bytes of the segments, concatenated.
    fn stream(&self) -> Vec<u8> {
        self.places.iter().flat_map(|(start, length)| &self.memory.bytes()[*start..start + length]).copied().collect()
    }

    /// Whether all bytes are `filler`, except that the stream starts with these bytes.
    fn holds_only(&self, bytes: &[u8], filler: u8) -> bool {
        let mut expected = vec![filler; self.memory.len()];
        let mut rest = bytes;
        for (start, length) in &self.places {
            let (now, later) = rest.split_at(rest.len().min(*length));
            expected[*start..start + now.len()].copy_from_slice(now);
            rest = later;
        }
        self.memory.bytes() == expected
    }
}

/// Copies between these shapes by all paths, from an offset, and checks every byte.
fn check(from: &[usize], to: &[usize], offset: usize) {
    let knem = Knem::open();
    let mut source = Scattered::new(from);
    Random::new(from.len() as u64).fill(source.memory.bytes_mut());
    let stream = source.stream();
    let mut destination = Scattered::new(to);
    let capacity: usize = to.iter().sum();
    let readable = knem.create(&source.segments(), READ, 0).expect("created");
    let writable = knem.create(&destination.segments(), WRITE, 0).expect("created");
    let (whole_start, part) = (&stream[..stream.len().min(capacity)], &stream[offset.min(stream.len())..]);
    let part = &part[..part.len().min(capacity)];
    for flags in [0, uapi::FLAG_PINLOCAL] {
        destination.memory.bytes_mut().fill(0xee);
        assert_eq!(knem.read(readable, offset as u64, &destination.segments(), flags), Ok(SUCCESS));
        assert!(destination.holds_only(part, 0xee), "read {from:?} into {to:?} from {offset}, {flags:#x}");
        destination.memory.bytes_mut().fill(0xee);
        assert_eq!(knem.write(writable, 0, &source.segments(), flags), Ok(SUCCESS));
        assert!(destination.holds_only(whole_start, 0xee), "write {from:?} into {to:?}, {flags:#x}");
    }
    destination.memory.bytes_mut().fill(0xee);
    assert_eq!(knem.copy((readable, offset as u64), (writable, 0), None, 0), Ok(SUCCESS));
    assert!(destination.holds_only(part, 0xee), "copy {from:?} into {to:?} from {offset}");
    let bound = part.len() / 2;
    destination.memory.bytes_mut().fill(0xee);
    let (cookie, segments) = (readable, &*destination.segments());
    let bounded = Inline { cookie, offset: offset as u64, segments, bound: Some(bound as u64), ..Inline::default() };
    assert_eq!(knem.inline(bounded), Ok(SUCCESS));
    assert!(destination.holds_only(&part[..bound], 0xee), "bounded {from:?} into {to:?}");
}

fn five_into_five() {
    let (from, to) = ([7, 253, 14567, 123_456, 3_333_333], [3_333_333, 12345, 253, 86523, 7]);
    check(&from, &to, 0);
    check(&to, &from, 0);
    check(&from, &to, 7 + 253 + 1);
}

fn single_bytes() {
    check(&[1; 100], &[1; 100], 0);
    check(&[1; 100], &[100], 50);
    check(&[100], &[1; 101], 0);
}

fn many_segments() {
    check(&[61; 9], &[67; 8], 0);
    check(&[17; 1000], &[19; 900], 16);
    check(&[3; 20_000], &[60_000], 1);
    check(&[1 << 20], &[4096; 300], 4095);
}

fn seams_in_all_places() {
    for first in [1, 2, PAGE - 1, PAGE, PAGE + 1] {
        for second in [1, PAGE - 1, PAGE, PAGE + 1] {
            for offset in [0, first - 1, first, first + 1, first + second] {
                check(&[first, second, 5], &[second, 0, first + 9], offset);
            }
        }
    }
}

fn segments_may_repeat() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"ab"), Mapping::holding(&[b'.'; 8]));
    let twice = [memory.segment(), memory.part(1, 1), memory.segment()];
    let region = knem.create(&twice, READ, 0).expect("created");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"abbab...");
}

fn segments_may_be_in_any_order() {
    let (knem, memory, local) =
        (Knem::open(), Mapping::holding(&Random::new(3).bytes(4 * PAGE)), Mapping::new(4 * PAGE));
    let backwards: Vec<ParamIovec> = (0..4).rev().map(|page| memory.part(page * PAGE, PAGE)).collect();
    let region = knem.create(&backwards, READ, 0).expect("created");
    for flags in [0, uapi::FLAG_PINLOCAL] {
        assert_eq!(knem.read(region, 0, &backwards_of(&local), flags), Ok(SUCCESS));
        assert!(local.bytes() == memory.bytes());
    }
}

fn backwards_of(memory: &Mapping) -> Vec<ParamIovec> {
    (0..4).rev().map(|page| memory.part(page * PAGE, PAGE)).collect()
}
