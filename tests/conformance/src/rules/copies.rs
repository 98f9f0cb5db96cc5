// SPDX-License-Identifier: CECILL-B
//! Copies of all sizes and alignments, in every direction, each byte checked.

use knem_core::uapi;

use crate::counters::nothing_is_pinned;
use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};
use crate::random::Random;

crate::trials![
    "5.4" all_sizes_and_alignments,
    "5.4" sixty_four_mebibytes,
    "5.3" shorter_side_ends_the_copy,
    "5.3" bound_ends_the_copy,
    "5.3 R4" offset_at_the_end_copies_nothing,
    "5.3" offsets_on_both_sides,
    "5.4 R6" overlap_spares_the_rest,
    "2" pads_and_index_are_never_looked_at,
];

const ALIGNMENTS: [usize; 6] = [0, 1, 7, 8, 63, 4095];
/// Bytes around the destination that must not change.
const MARGIN: usize = 64;

/// The paths of a copy.
#[derive(Clone, Copy, Debug)]
enum Way {
    Read(u32),
    Write(u32),
    Regions,
}

const WAYS: [Way; 5] =
    [Way::Read(0), Way::Read(uapi::FLAG_PINLOCAL), Way::Write(0), Way::Write(uapi::FLAG_PINLOCAL), Way::Regions];

/// Two buffers, for copies from one into the other.
struct Buffers {
    knem: Knem,
    source: Mapping,
    destination: Mapping,
}

impl Buffers {
    fn new(largest: usize) -> Self {
        let length = largest + PAGE + 2 * MARGIN;
        let (mut source, destination) = (Mapping::new(length), Mapping::new(length));
        Random::new(largest as u64).fill(source.bytes_mut());
        Self { knem: Knem::open(), source, destination }
    }

    /// Copies `size` bytes between these alignments and checks every byte.
    fn check(&mut self, size: usize, from: usize, to: usize, way: Way) {
        let (from, to) = (from + MARGIN, to + MARGIN);
        let window = to - MARGIN..to + size + MARGIN;
        // The old bytes differ from the new ones, byte for byte.
        let (before, rest) = self.destination.bytes_mut()[window.clone()].split_at_mut(MARGIN);
        let (inside, after) = rest.split_at_mut(size);
        before.fill(0xa5);
        after.fill(0xa5);
        for (poisoned, good) in inside.iter_mut().zip(&self.source.bytes()[from..]) {
            *poisoned = !good;
        }
        let (source, destination) = (self.source.part(from, size), self.destination.part(to, size));
        let knem = &self.knem;
        let status = match way {
            Way::Read(flags) => {
                let region = knem.create(&[source], READ, 0).expect("created");
                let status = knem.read(region, 0, &[destination], flags);
                assert_eq!(knem.destroy(region), Ok(()));
                status
            }
            Way::Write(flags) => {
                let region = knem.create(&[destination], WRITE, 0).expect("created");
                let status = knem.write(region, 0, &[source], flags);
                assert_eq!(knem.destroy(region), Ok(()));
                status
            }
            Way::Regions => {
                let source = knem.create(&[source], READ, 0).expect("created");
                let destination = knem.create(&[destination], WRITE, 0).expect("created");
                let status = knem.copy((source, 0), (destination, 0), None, 0);
                assert_eq!((knem.destroy(source), knem.destroy(destination)), (Ok(()), Ok(())));
                status
            }
        };
        assert_eq!(status, Ok(SUCCESS));
        let copied = &self.destination.bytes()[to..to + size];
        let what = || format!("{way:?} of {size} bytes, {from} to {to}");
        assert!(copied == &self.source.bytes()[from..from + size], "{}: wrong bytes", what());
        let around = &self.destination.bytes()[window];
        let intact = |margin: &[u8]| margin.iter().all(|byte| *byte == 0xa5);
        assert!(intact(&around[..MARGIN]) && intact(&around[MARGIN + size..]), "{}: bytes around changed", what());
    }
}

fn all_sizes_and_alignments() {
    let mut buffers = Buffers::new(1 << 20);
    for size in [0, 1, 2, 7, 8, 63, 64, 511, 4032, 4095, 4096, 4097, 8191, 8192, 8193, 65536] {
        for from in ALIGNMENTS {
            for to in ALIGNMENTS {
                for way in WAYS {
                    buffers.check(size, from, to, way);
                }
            }
        }
    }
    for size in [(1 << 20) - 1, 1 << 20] {
        for (from, to) in [(0, 0), (1, 4095), (4095, 1), (8, 63)] {
            for way in WAYS {
                buffers.check(size, from, to, way);
            }
        }
    }
    drop(buffers);
    nothing_is_pinned();
}

fn sixty_four_mebibytes() {
    let mut buffers = Buffers::new(64 << 20);
    for way in WAYS {
        buffers.check(64 << 20, 0, 0, way);
    }
    buffers.check((64 << 20) - 1, 1, 4095, Way::Read(0));
    buffers.check((64 << 20) - 1, 4095, 1, Way::Write(0));
}

/// Creates a region of these bytes, and 16 local bytes of dots.
fn small(contents: &[u8]) -> (Knem, Mapping, u64, Mapping) {
    let (knem, memory) = (Knem::open(), Mapping::holding(contents));
    let region = knem.create(&[memory.part(0, contents.len())], READ | WRITE, 0).expect("created");
    (knem, memory, region, Mapping::holding(&[b'.'; 16]))
}

fn shorter_side_ends_the_copy() {
    let (knem, memory, region, local) = small(b"0123456789");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"0123456789......");
    let local = Mapping::holding(b"abcd");
    assert_eq!(knem.write(region, 8, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(memory.bytes(), b"01234567ab");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"0123");
}

fn bound_ends_the_copy() {
    let (knem, _memory, region, local) = small(b"0123456789");
    let read = |offset, bound, flags| {
        let segments = &[local.segment()];
        knem.inline(Inline { cookie: region, offset, segments, bound: Some(bound), flags, ..Inline::default() })
    };
    for flags in [0, uapi::FLAG_PINLOCAL] {
        assert_eq!(read(0, 0, flags), Ok(SUCCESS));
        assert_eq!(read(0, 3, flags), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"012.............");
    }
    assert_eq!(read(5, 2, 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"562.............");
    for bound in [10, 11, 1 << 40, u64::MAX] {
        assert_eq!(read(0, bound, 0), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"0123456789......");
    }
    let target = Mapping::holding(&[b'.'; 8]);
    let other = knem.create(&[target.segment()], WRITE, 0).expect("created");
    for (bound, expected) in [(0, b"........"), (2, b"...34..."), (u64::MAX, b"...34567")] {
        assert_eq!(knem.copy((region, 3), (other, 3), Some(bound), 0), Ok(SUCCESS));
        assert_eq!(target.bytes(), expected);
    }
}

fn offset_at_the_end_copies_nothing() {
    let (knem, memory, region, local) = small(b"0123456789");
    for offset in [10, 11, 4096, 1 << 32, i64::MAX.unsigned_abs(), u64::MAX] {
        for flags in [0, uapi::FLAG_PINLOCAL] {
            assert_eq!(knem.read(region, offset, &[local.segment()], flags), Ok(SUCCESS), "{offset:#x}");
            assert_eq!(knem.write(region, offset, &[local.segment()], flags), Ok(SUCCESS), "{offset:#x}");
        }
        assert_eq!(knem.copy((region, offset), (region, 0), None, 0), Ok(SUCCESS), "{offset:#x}");
        assert_eq!(knem.copy((region, 0), (region, offset), None, 0), Ok(SUCCESS), "{offset:#x}");
    }
    assert_eq!((local.bytes(), memory.bytes()), (&[b'.'; 16][..], &b"0123456789"[..]));
    assert_eq!(knem.read(region, 9, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"9...............");
}

fn offsets_on_both_sides() {
    let (knem, mut random) = (Knem::open(), Random::new(5));
    let (source, mut target) = (Mapping::holding(&random.bytes(3 * PAGE)), Mapping::new(3 * PAGE));
    let from = knem.create(&[source.segment()], READ, 0).expect("created");
    let to = knem.create(&[target.segment()], WRITE, 0).expect("created");
    for start in [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE - 1] {
        for destination in [0, 1, PAGE - 1, PAGE, 2 * PAGE + 5] {
            target.bytes_mut().fill(0);
            assert_eq!(knem.copy((from, start as u64), (to, destination as u64), None, 0), Ok(SUCCESS));
            let length = (3 * PAGE - start).min(3 * PAGE - destination);
            let mut expected = vec![0; 3 * PAGE];
            expected[destination..destination + length].copy_from_slice(&source.bytes()[start..start + length]);
            assert!(target.bytes() == expected, "{start} to {destination}");
        }
    }
}

fn overlap_spares_the_rest() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&Random::new(9).bytes(4 * PAGE)));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let before = memory.bytes().to_vec();
    // Pages 0 and 1 to pages 1 and 2: page 1 is both read and written.
    assert_eq!(knem.copy((region, 0), (region, PAGE as u64), Some(2 * PAGE as u64), 0), Ok(SUCCESS));
    assert!(memory.bytes()[..PAGE] == before[..PAGE], "before the destination");
    assert!(memory.bytes()[3 * PAGE..] == before[3 * PAGE..], "after the destination");
    assert!(memory.bytes()[PAGE..2 * PAGE] == before[..PAGE], "what does not overlap");
    // A copy of the region onto itself.
    let before = memory.bytes().to_vec();
    assert_eq!(knem.copy((region, 0), (region, 0), None, 0), Ok(SUCCESS));
    assert!(memory.bytes() == before);
}

fn pads_and_index_are_never_looked_at() {
    // All other requests of these tests have garbage there, as clients do; zeros must work as well.
    let (knem, _memory, region, local) = small(b"0123456789");
    let list = [local.segment()];
    let mut argument = uapi::CmdInlineCopy {
        local_iovec_array: list.as_ptr().expose_provenance() as u64,
        local_iovec_nr: 1,
        remote_cookie: region,
        ..uapi::CmdInlineCopy::default()
    };
    assert_eq!(knem.command(uapi::CMD_INLINE_COPY, &mut argument), Ok(()));
    assert_eq!(argument.current_status, SUCCESS);
}
