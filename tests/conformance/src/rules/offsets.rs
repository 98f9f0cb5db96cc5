// SPDX-License-Identifier: CECILL-B
//! Offsets and lengths beyond 2 and 4 GiB, on a small machine: a region may contain the same memory many times.

use knem_core::uapi::ParamIovec;

use crate::counters::nothing_is_pinned;
use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::parameters::with_parameter;
use crate::memory::Mapping;
use crate::random::Random;

crate::trials![
    "5.3" offsets_beyond_four_gibibytes,
    "5.3" one_copy_beyond_two_gibibytes,
];

const PIECE: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// Returns segments of the same memory, as many as this length needs.
fn repeated(memory: &Mapping, length: u64) -> Vec<ParamIovec> {
    let times = usize::try_from(length / PIECE as u64).expect("a count");
    vec![memory.part(0, PIECE); times]
}

fn offsets_beyond_four_gibibytes() {
    // Pinned pages count for each segment that contains them: more than half of a small machine's memory.
    with_parameter("max_pinned_mb", "65536", || {
        let (knem, mut random) = (Knem::open(), Random::new(4));
        let mut memory = Mapping::holding(&random.bytes(PIECE));
        let length = 4 * GIB + PIECE as u64;
        let region = knem.create(&repeated(&memory, length), READ | WRITE, 0).expect("created");
        let mut local = Mapping::new(70_000);
        let edges = [0, 2 * GIB, 4 * GIB];
        for edge in edges {
            for offset in [edge.saturating_sub(40_000), edge.saturating_sub(1), edge, edge + 12345] {
                local.bytes_mut().fill(0);
                assert_eq!(knem.read(region, offset, &[local.segment()], 0), Ok(SUCCESS));
                let start = usize::try_from(offset % PIECE as u64).expect("small");
                let expected = memory.bytes().iter().cycle().skip(start).take(local.len());
                assert!(local.bytes().iter().eq(expected), "read at {offset:#x}");
            }
        }
        for offset in [2 * GIB + 5, 4 * GIB + 77] {
            random.fill(local.bytes_mut());
            assert_eq!(knem.write(region, offset, &[local.segment()], 0), Ok(SUCCESS));
            let start = usize::try_from(offset % PIECE as u64).expect("small");
            assert!(memory.bytes()[start..start + local.len()] == *local.bytes(), "write at {offset:#x}");
        }
        memory.bytes_mut()[PIECE - 1] = b'!';
        local.bytes_mut().fill(0);
        assert_eq!(knem.read(region, length - 1, &[local.segment()], 0), Ok(SUCCESS));
        assert_eq!(local.bytes()[..2], *b"!\0", "the last byte");
        assert_eq!(knem.read(region, length, &[local.segment()], 0), Ok(SUCCESS));
        // A copy from one part of the region to another.
        let (from, to) = (4 * GIB + 100, 2 * GIB + 500_000);
        assert_eq!(knem.copy((region, from), (region, to), Some(1000), 0), Ok(SUCCESS));
        assert!(memory.bytes()[500_000..501_000] == memory.bytes()[100..1100]);
        assert_eq!(knem.destroy(region), Ok(()));
    });
    nothing_is_pinned();
}

fn one_copy_beyond_two_gibibytes() {
    with_parameter("max_pinned_mb", "65536", || {
        let (knem, memory) = (Knem::open(), Mapping::holding(&Random::new(6).bytes(PIECE)));
        let length = 2 * GIB + 8 * PIECE as u64;
        let region = knem.create(&repeated(&memory, length), READ, 0).expect("created");
        // All pieces but the last are copied to the same memory; the last one shows that everything was copied.
        let (bulk, last) = (Mapping::new(PIECE), Mapping::new(PIECE));
        let mut local = repeated(&bulk, length);
        let end = local.len() - 1;
        local[end] = last.segment();
        let whole = Inline { cookie: region, segments: &local, bound: Some(length - 1), ..Inline::default() };
        assert_eq!(knem.inline(whole), Ok(SUCCESS));
        assert!(bulk.bytes() == memory.bytes());
        assert!(last.bytes()[..PIECE - 1] == memory.bytes()[..PIECE - 1] && last.bytes()[PIECE - 1] == 0);
    });
}
