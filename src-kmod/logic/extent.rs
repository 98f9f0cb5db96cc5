// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! A region's memory as a list of extents.
//!
//! An extent is a part of the region that is contiguous in the kernel's direct map. The list is a sequence of
//! [`Extent`]s in the order of the region's bytes, without gaps.

use crate::logic::steps::Piece;
use core::mem::MaybeUninit;

/// An extent, in 16 bytes, which C declares as `struct knem_extent`. It starts in the region where its predecessor
/// ends.
///
/// # Invariants
/// `end` is greater than the predecessor's `end` (than 0 for the first).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Address that the region's byte 0 would have if the extent extended to it: the address of the region's byte `n`
    /// is `bias + n` modulo 2^64.
    bias: u64,
    /// Offset in the region of the first byte after the extent.
    end: u64,
}

const _: () = assert!(core::mem::size_of::<Extent>() == 16);

impl Extent {
    /// Returns the offset of the first byte after the extent.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Returns its memory from byte `offset` of the list on, which must be in the extent.
    #[must_use]
    pub const fn piece(&self, offset: u64) -> Piece {
        Piece { addr: self.bias.wrapping_add(offset), len: self.end.saturating_sub(offset) }
    }
}

/// How a list changes when memory is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// This extent replaces the last one.
    Grow(Extent),
    /// This extent is added.
    Push(Extent),
}

/// Appends `piece` to a list that ends with `last`. `page_size` is a power of two.
///
/// Pieces are joined only if the new one starts at a page boundary. Then every page of the joined extent belongs to one
/// piece only, and is unpinned as often as it was pinned.
///
/// Returns `None` if the region's length would exceed 64 bits.
#[must_use]
pub fn append(last: Option<Extent>, piece: Piece, page_size: u64) -> Option<Append> {
    let start = last.map_or(0, |last| last.end);
    let end = start.checked_add(piece.len)?;
    let bias = piece.addr.wrapping_sub(start);
    let on_page = piece.addr & page_size.wrapping_sub(1) == 0;
    Some(match last {
        Some(last) if last.bias == bias && on_page => Append::Grow(Extent { bias, end }),
        _ => Append::Push(Extent { bias, end }),
    })
}

/// Storage for an extent.
pub trait Slot {
    /// Stores an extent.
    fn store(&mut self, extent: Extent) -> &mut Extent;
}

impl Slot for MaybeUninit<Extent> {
    fn store(&mut self, extent: Extent) -> &mut Extent {
        self.write(extent)
    }
}

/// Appends whole pages, given by their addresses, to a list that ends with `last`, as [`append`] does: extends `last`,
/// and writes further extents to `slots`, as far as there are any. The total length must fit 63 bits. Returns how many
/// slots were written, and how many pages were appended.
pub fn append_pages<'a>(
    mut last: &'a mut Extent,
    pages: &[u64],
    page_size: u64,
    slots: &'a mut [impl Slot],
) -> (usize, usize) {
    let (mut slots, mut written, mut left) = (slots.iter_mut(), 0usize, pages.len());
    let Extent { mut bias, mut end } = *last;
    for page in pages {
        let next = page.wrapping_sub(end);
        if next != bias {
            let Some(slot) = slots.next() else { break };
            bias = next;
            last = slot.store(Extent { bias, end });
            written = written.wrapping_add(1);
        }
        end = end.wrapping_add(page_size);
        last.end = end;
        left = left.wrapping_sub(1);
    }
    (written, pages.len().saturating_sub(left))
}

/// Splits a list into three parts: extents before the bytes that were written, extents with such bytes, and extents
/// after them. `written` as for [`by_dirt`].
#[must_use]
pub fn by_written(extents: &[Extent], written: (u64, u64)) -> [(&[Extent], bool); 3] {
    let count = extents.len();
    let (first, last) = match written.1.checked_sub(1) {
        Some(last) if written.0 <= last => {
            (first_beyond(extents, written.0), first_beyond(extents, last).saturating_add(1))
        }
        _ => (count, count),
    };
    let part = |from: usize, to: usize| extents.get(from..to.min(count)).unwrap_or(&[]);
    [(part(0, first), false), (part(first, last), true), (part(last, count), false)]
}

/// Splits the pages that an extent touches, in the order of their addresses: pages before the bytes that were written,
/// pages with such bytes, and pages after them. Each part is the address of a page and a number of bytes, a multiple of
/// the page size.
///
/// `piece` is the extent's memory, from byte `offset` of the list on; `written` are the first and the last byte of the
/// list, plus one, that may have been written; `page_size` is a power of two.
#[must_use]
pub fn by_dirt(piece: Piece, offset: u64, written: (u64, u64), page_size: u64) -> [(Piece, bool); 3] {
    let below = page_size.wrapping_sub(1);
    let floor = |address: u64| address & !below;
    let ceil = |address: u64| floor(address.saturating_add(below));
    let from = written.0.saturating_sub(offset).min(piece.len);
    let to = written.1.saturating_sub(offset).min(piece.len);
    let (start, end) = (floor(piece.addr), ceil(piece.addr.saturating_add(piece.len)));
    let (first, last) = if from < to {
        (floor(piece.addr.saturating_add(from)), ceil(piece.addr.saturating_add(to)))
    } else {
        (end, end)
    };
    let part = |from: u64, to: u64| Piece { addr: from, len: to.saturating_sub(from) };
    [(part(start, first), false), (part(first, last), true), (part(last, end), false)]
}

/// Returns the number of bytes in the list.
#[must_use]
pub fn length(extents: &[Extent]) -> u64 {
    extents.last().map_or(0, |last| last.end)
}

/// Returns the list's memory from byte `offset` on.
#[must_use]
pub fn pieces(extents: &[Extent], offset: u64) -> Pieces<'_> {
    Pieces { extents: extents.get(first_beyond(extents, offset)..).unwrap_or(&[]).iter(), offset }
}

/// Returns the index of the first extent that ends after byte `offset`.
///
/// This is a binary search of its own, since that of `core`, compiled with the kernel's overflow checks, contains a
/// panic.
fn first_beyond(extents: &[Extent], offset: u64) -> usize {
    // Most searches are for a region's first bytes, or in a list of one extent.
    if extents.first().is_some_and(|first| offset < first.end) {
        return 0;
    }
    let (mut low, mut high) = (0, extents.len());
    while low < high {
        let middle = low.saturating_add(high.saturating_sub(low) >> 1);
        match extents.get(middle) {
            Some(extent) if extent.end <= offset => low = middle.saturating_add(1),
            _ => high = middle,
        }
    }
    low
}

/// The iterator that [`pieces`] returns.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    extents: core::slice::Iter<'a, Extent>,
    offset: u64,
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let extent = self.extents.next()?;
        let piece = extent.piece(self.offset);
        self.offset = extent.end;
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{append, append_pages, by_dirt, by_written, length, pieces, Append, Extent, Slot};
    use crate::logic::steps::Piece;
    use std::vec::Vec;

    const PAGE: u64 = 4096;

    fn list(parts: &[(u64, u64)]) -> Vec<Extent> {
        let mut out = Vec::new();
        for &(addr, len) in parts {
            match append(out.last().copied(), Piece { addr, len }, PAGE).expect("short") {
                Append::Grow(extent) => *out.last_mut().expect("there is one to grow") = extent,
                Append::Push(extent) => out.push(extent),
            }
        }
        out
    }

    fn parts(extents: &[Extent], offset: u64) -> Vec<(u64, u64)> {
        pieces(extents, offset).map(|piece| (piece.addr, piece.len)).collect()
    }

    #[test]
    fn contiguous_pages_join() {
        let extents = list(&[(0x1080, 0xf80), (0x2000, PAGE), (0x3000, 5)]);
        assert_eq!(extents.len(), 1);
        assert_eq!(parts(&extents, 0), [(0x1080, 0x1f85)]);
    }

    #[test]
    fn pieces_within_a_page_stay_apart() {
        // Each pins the page, so each must unpin it.
        let extents = list(&[(0x1000, 0x80), (0x1080, 0x80)]);
        assert_eq!(parts(&extents, 0), [(0x1000, 0x80), (0x1080, 0x80)]);
    }

    #[test]
    fn gaps_and_steps_back_stay_apart() {
        let extents = list(&[(0x5000, PAGE), (0x7000, PAGE), (0x5000, PAGE)]);
        assert_eq!(extents.len(), 3);
        assert_eq!(length(&extents), 3 * PAGE);
    }

    #[test]
    fn offsets_start_in_the_extent_that_holds_them() {
        let extents = list(&[(0x10_0000, 10), (0x20_0000, 20), (0xffff_ffff_ffff_f000, 30)]);
        assert_eq!(parts(&extents, 9), [(0x10_0009, 1), (0x20_0000, 20), (0xffff_ffff_ffff_f000, 30)]);
        assert_eq!(parts(&extents, 10), [(0x20_0000, 20), (0xffff_ffff_ffff_f000, 30)]);
        assert_eq!(parts(&extents, 59), [(0xffff_ffff_ffff_f01d, 1)]);
        assert_eq!(parts(&extents, 60), []);
        assert_eq!(parts(&extents, u64::MAX), []);
    }

    #[test]
    fn pages_are_told_apart_by_what_was_written() {
        let piece = Piece { addr: 0x10_0800, len: 4 * PAGE };
        let parts =
            |written| by_dirt(piece, 1000, written, PAGE).map(|(part, dirty)| (part.addr, part.len / PAGE, dirty));
        // Five pages in all.
        assert_eq!(parts((u64::MAX, 0)), [(0x10_0000, 5, false), (0x10_5000, 0, true), (0x10_5000, 0, false)]);
        assert_eq!(parts((0, 1000)), [(0x10_0000, 5, false), (0x10_5000, 0, true), (0x10_5000, 0, false)]);
        assert_eq!(parts((0, 1001)), [(0x10_0000, 0, false), (0x10_0000, 1, true), (0x10_1000, 4, false)]);
        assert_eq!(parts((0, u64::MAX)), [(0x10_0000, 0, false), (0x10_0000, 5, true), (0x10_5000, 0, false)]);
        // The last byte of the first page, and the first one of the second.
        let second = 1000 + 0x800;
        assert_eq!(
            parts((second - 1, second + 1)),
            [(0x10_0000, 0, false), (0x10_0000, 2, true), (0x10_2000, 3, false)]
        );
        assert_eq!(parts((second, second + 1)), [(0x10_0000, 1, false), (0x10_1000, 1, true), (0x10_2000, 3, false)]);
        assert_eq!(parts((1000 + 4 * PAGE, u64::MAX))[1], (0x10_5000, 0, true));
    }

    #[test]
    fn whole_pages_are_appended_as_any_others() {
        let start = list(&[(0x1080, 0xf80)]);
        for pages in [
            &[0x2000, 0x3000, 0x7000, 0x8000, 0x5000, 0x5000, 0x6000, 0x9000][..],
            &[0x2000, 0x3000][..],
            &[0x9000, 0x5000, 0x1000][..],
            &[],
        ] {
            let mut parts = [(0x1080, 0xf80)].to_vec();
            parts.extend(pages.iter().map(|&page| (page, PAGE)));
            let mut extents = list(&[(0, 1)].repeat(9));
            let (last, slots) = extents.split_at_mut(1);
            last[0] = start[0];
            let (stored, appended) = append_pages(&mut last[0], pages, PAGE, slots);
            assert_eq!(appended, pages.len());
            extents.truncate(1 + stored);
            assert_eq!(extents, list(&parts), "{pages:x?}");
        }
        let (mut last, pages) = (start[0], [0x2000, 0x5000, 0x6000, 0x9000]);
        assert_eq!(append_pages(&mut last, &pages, PAGE, &mut [] as &mut [Extent]), (0, 1));
        assert_eq!([last], *list(&[(0x1080, 0x1f80)]));
        assert_eq!(append_pages(&mut last, &pages[1..], PAGE, &mut start.clone()), (1, 2));
    }

    impl Slot for Extent {
        fn store(&mut self, extent: Extent) -> &mut Extent {
            *self = extent;
            self
        }
    }

    #[test]
    fn lists_are_parted_by_what_was_written() {
        let extents = list(&[(0x1000, PAGE), (0x3800, 0x800), (0x8000, 2 * PAGE), (0x5010, 8)]);
        let parts = |written| {
            let parts = by_written(&extents, written);
            assert_eq!(parts.map(|part| part.1), [false, true, false]);
            assert_eq!([parts[0].0, parts[1].0, parts[2].0].concat(), extents);
            (parts[0].0.len(), parts[1].0.len())
        };
        assert_eq!(parts((u64::MAX, 0)), (4, 0));
        assert_eq!(parts((0, 1)), (0, 1));
        assert_eq!(parts((0, 0x1000)), (0, 1));
        assert_eq!(parts((0xfff, 0x1001)), (0, 2));
        assert_eq!(parts((0x1000, 0x1801)), (1, 2));
        assert_eq!(parts((0x3800, 0x3808)), (3, 1));
        assert_eq!(parts((0, u64::MAX)), (0, 4));
        assert_eq!(parts((0x4000, u64::MAX)), (4, 0));
        assert_eq!(by_written(&[], (0, 1)).map(|part| part.0.len()), [0; 3]);
    }

    #[test]
    fn too_long_is_refused() {
        let extents = list(&[(0, u64::MAX)]);
        assert_eq!(append(extents.last().copied(), Piece { addr: 0, len: 1 }, PAGE), None);
    }
}
