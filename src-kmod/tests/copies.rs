// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Property tests: compares regions and copies with a model that works byte by byte.
//!
//! The tests use a small machine: user memory of 64 pages of 16 bytes each, in any order in the direct map. The
//! driver's path from segments over pinned pages and extents to steps must move the same bytes as the model, and unpin
//! what it pinned.

use knem_core::logic::extent::{self, Append, Extent};
use knem_core::logic::segment::{self, Space};
use knem_core::logic::steps::{self, Piece, Steps, MAX_STEP};
use knem_core::uapi::ParamIovec;
use proptest::collection::vec;
use proptest::prelude::*;

const PAGE_SHIFT: u32 = 4;
const PAGE: u64 = 1 << PAGE_SHIFT;
const PAGES: u64 = 64;
const END: u64 = PAGES * PAGE;
const SPACE: Space = Space { end: END, tags: 0, page_shift: PAGE_SHIFT };

/// The position of each page of user memory in the direct map.
#[derive(Clone, Debug)]
struct Map(Vec<u64>);

impl Map {
    fn address(&self, user: u64) -> u64 {
        self.0[(user / PAGE) as usize] * PAGE + user % PAGE
    }
}

/// Pages mostly in order, with some jumps, so that extents of all lengths occur.
fn map() -> impl Strategy<Value = Map> {
    vec((0..PAGES, 0..PAGES), 0..12).prop_map(|swaps| {
        let mut pages: Vec<u64> = (0..PAGES).collect();
        for (a, b) in swaps {
            pages.swap(a as usize, b as usize);
        }
        Map(pages)
    })
}

/// Segments within user memory; some are empty, with any base.
fn segments() -> impl Strategy<Value = Vec<ParamIovec>> {
    let inside = (0..END, 0..200u64).prop_map(|(base, len)| ParamIovec { base, len: len.min(END - base) });
    let empty = any::<u64>().prop_map(|base| ParamIovec { base, len: 0 });
    vec(prop_oneof![9 => inside, 1 => empty], 0..10)
}

/// Pins segments as the driver does: page by page into extents. Also returns the pages that were pinned.
fn pin(map: &Map, segments: &[ParamIovec]) -> (Vec<Extent>, Vec<u64>) {
    let (mut extents, mut pinned) = (Vec::new(), Vec::new());
    for segment in segments {
        let (first, count) = SPACE.pages(segment).expect("within memory");
        for page in first..first + count {
            let from = segment.base.max(page * PAGE);
            let to = (segment.base + segment.len).min((page + 1) * PAGE);
            let piece = Piece { addr: map.address(from), len: to - from };
            pinned.push(piece.addr / PAGE);
            match extent::append(extents.last().copied(), piece, PAGE).expect("short") {
                Append::Grow(extent) => *extents.last_mut().expect("one to grow") = extent,
                Append::Push(extent) => extents.push(extent),
            }
        }
    }
    (extents, pinned)
}

/// Returns the address of every byte, in order, as the model has it.
fn bytes_of(segments: &[ParamIovec], address: impl Fn(u64) -> u64) -> Vec<u64> {
    segments
        .iter()
        .flat_map(|segment| (0..segment.len).map(|n| address(segment.base + n)).collect::<Vec<_>>())
        .collect()
}

/// Fills `memory` with a pattern that differs from byte to byte.
fn pattern(seed: u8) -> Vec<u8> {
    (0..END).map(|n| (n as u8).wrapping_mul(31).wrapping_add((n >> 8) as u8).wrapping_add(seed)).collect()
}

/// Copies step by step.
fn carry_out(
    source: (&[u8], impl Iterator<Item = Piece>),
    destination: (&mut [u8], impl Iterator<Item = Piece>),
    bytes: u64,
) -> u64 {
    let mut moved = 0;
    for step in Steps::new(source.1, destination.1, bytes) {
        assert!(step.len != 0 && step.len <= MAX_STEP);
        let (from, to, len) = (step.left as usize, step.right as usize, step.len as usize);
        destination.0[to..to + len].copy_from_slice(&source.0[from..from + len]);
        moved += step.len;
    }
    moved
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_pinned_is_unpinned(map in map(), segments in segments()) {
        let (extents, mut pinned) = pin(&map, &segments);
        let mut unpinned = Vec::new();
        for piece in extent::pieces(&extents, 0) {
            unpinned.extend(piece.addr / PAGE..(piece.addr + piece.len).div_ceil(PAGE));
        }
        pinned.sort_unstable();
        unpinned.sort_unstable();
        prop_assert_eq!(&pinned, &unpinned);
        let measure = SPACE.measure(&segments).expect("within memory");
        prop_assert_eq!(measure.pages, pinned.len() as u64);
        prop_assert_eq!(measure.bytes, extent::length(&extents));
    }

    #[test]
    fn a_region_read_from_any_offset_is_its_bytes(map in map(), segments in segments(), offset in 0..2500u64) {
        let (extents, _) = pin(&map, &segments);
        let model = bytes_of(&segments, |user| map.address(user));
        let read: Vec<u64> =
            extent::pieces(&extents, offset).flat_map(|piece| piece.addr..piece.addr + piece.len).collect();
        prop_assert_eq!(&read[..], model.get(offset as usize..).unwrap_or(&[]));
    }

    #[test]
    fn region_to_region(
        maps in (map(), map()),
        sides in (segments(), segments()),
        offsets in (0..600u64, 0..600u64),
        bound in prop_oneof![Just(u64::MAX), 0..900u64],
    ) {
        let ((left, _), (right, _)) = (pin(&maps.0, &sides.0), pin(&maps.1, &sides.1));
        let bytes = steps::bytes(extent::length(&left), offsets.0, extent::length(&right), offsets.1, bound);
        let (memory, mut out) = (pattern(1), pattern(101));
        let moved = carry_out(
            (&memory, extent::pieces(&left, offsets.0)),
            (&mut out, extent::pieces(&right, offsets.1)),
            bytes,
        );

        let mut model = pattern(101);
        let from = bytes_of(&sides.0, |user| maps.0.address(user));
        let to = bytes_of(&sides.1, |user| maps.1.address(user));
        let pairs = from.iter().skip(offsets.0 as usize).zip(to.iter().skip(offsets.1 as usize));
        let mut count = 0;
        for (from, to) in pairs.take(usize::try_from(bound).unwrap_or(usize::MAX)) {
            model[*to as usize] = memory[*from as usize];
            count += 1;
        }
        prop_assert_eq!((moved, bytes), (count, count));
        prop_assert_eq!(out, model);
    }

    #[test]
    fn region_to_the_callers_memory(
        map in map(),
        sides in (segments(), segments()),
        offset in 0..600u64,
    ) {
        let (region, _) = pin(&map, &sides.0);
        let local = SPACE.measure(&sides.1).expect("within memory");
        let bytes = steps::bytes(extent::length(&region), offset, local.bytes, 0, u64::MAX);
        let (memory, mut out) = (pattern(1), pattern(101));
        carry_out((&memory, extent::pieces(&region, offset)), (&mut out, segment::pieces(&sides.1)), bytes);

        let mut model = pattern(101);
        let from = bytes_of(&sides.0, |user| map.address(user));
        let to = bytes_of(&sides.1, |user| user);
        for (from, to) in from.iter().skip(offset as usize).zip(&to) {
            model[*to as usize] = memory[*from as usize];
        }
        prop_assert_eq!(out, model);
    }

    #[test]
    fn segments_of_any_numbers_are_measured_or_refused(
        segments in vec((any::<u64>(), any::<u64>()).prop_map(|(base, len)| ParamIovec { base, len }), 0..5),
        end in any::<u64>(),
        page_shift in 12..=16u32,
    ) {
        let measure = Space { end, tags: 0, page_shift }.measure(&segments);
        let used = || segments.iter().filter(|segment| segment.len != 0);
        let inside = used().all(|segment| u128::from(segment.base) + u128::from(segment.len) <= u128::from(end));
        let bytes: u128 = used().map(|segment| u128::from(segment.len)).sum();
        let pages: u128 = used()
            .map(|segment| {
                let last = u128::from(segment.base) + u128::from(segment.len) - 1;
                (last >> page_shift) - u128::from(segment.base >> page_shift) + 1
            })
            .sum();
        match measure {
            Ok(measure) => {
                prop_assert!(inside);
                prop_assert_eq!((u128::from(measure.bytes), u128::from(measure.pages)), (bytes, pages));
            }
            Err(_) => prop_assert!(!inside || bytes >= 1 << 63),
        }
    }
}
