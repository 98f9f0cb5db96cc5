// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The geometry of the segments that a caller passes.

use crate::logic::refusal::Refusal;
use crate::logic::steps::Piece;
use crate::uapi::ParamIovec;

/// The totals of a list of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Number of bytes.
    pub bytes: u64,
    /// Number of pages, each counted as often as a segment touches it.
    pub pages: u64,
}

/// The layout of user memory.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// First address after user memory.
    pub end: u64,
    /// Bits that are no part of an address. The kernel's own copying and pinning functions ignore them.
    pub tags: u64,
    /// Binary logarithm of the page size.
    pub page_shift: u32,
}

impl Space {
    /// Returns the size of a page in bytes.
    #[must_use]
    pub const fn page_size(&self) -> u64 {
        match 1u64.checked_shl(self.page_shift) {
            Some(size) => size,
            None => 0,
        }
    }

    /// Returns the pages that a segment touches: the number of the first, and how many. An empty segment touches none.
    ///
    /// # Errors
    /// [`Refusal::BadAddress`] (EFAULT) if the segment wraps around or is not within user memory.
    pub const fn pages(&self, segment: &ParamIovec) -> Result<(u64, u64), Refusal> {
        let base = segment.base & !self.tags;
        let last = match segment.len.checked_sub(1) {
            None => return Ok((0, 0)),
            Some(more) => match base.checked_add(more) {
                Some(last) if last < self.end => last,
                _ => return Err(Refusal::BadAddress),
            },
        };
        let (first, last) = match (base.checked_shr(self.page_shift), last.checked_shr(self.page_shift)) {
            (Some(first), Some(last)) => (first, last),
            _ => return Err(Refusal::BadAddress),
        };
        match last.saturating_sub(first).checked_add(1) {
            Some(count) => Ok((first, count)),
            None => Err(Refusal::BadAddress),
        }
    }

    /// Checks every segment and returns the totals.
    ///
    /// # Errors
    /// [`Refusal::BadAddress`] (EFAULT) as [`Space::pages`]; [`Refusal::LengthOverflow`] (EINVAL) if the sum exceeds 63
    /// bits.
    pub fn measure(&self, segments: &[ParamIovec]) -> Result<Measure, Refusal> {
        let mut sum = Measure::default();
        for segment in segments {
            let (_, pages) = self.pages(segment)?;
            sum.bytes = match sum.bytes.checked_add(segment.len) {
                Some(bytes) if i64::try_from(bytes).is_ok() => bytes,
                _ => return Err(Refusal::LengthOverflow),
            };
            sum.pages = sum.pages.checked_add(pages).ok_or(Refusal::LengthOverflow)?;
        }
        Ok(sum)
    }
}

/// Returns the segments as pieces of memory, without empty ones.
pub fn pieces(segments: &[ParamIovec]) -> impl Iterator<Item = Piece> + '_ {
    segments.iter().filter(|segment| segment.len != 0).map(|segment| Piece { addr: segment.base, len: segment.len })
}

/// The position of a byte in a list of segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Index of the segment.
    index: usize,
    /// Offset in the segment. At its end, the byte is the first of the next segment that is not empty.
    within: u64,
}

impl Cursor {
    /// Returns the position `bytes` bytes after this one.
    #[must_use]
    pub fn after(self, segments: &[ParamIovec], mut bytes: u64) -> Self {
        let Self { mut index, mut within } = self;
        while let Some(segment) = segments.get(index) {
            let left = segment.len.saturating_sub(within);
            if bytes < left {
                break;
            }
            bytes = bytes.saturating_sub(left);
            index = index.saturating_add(1);
            within = 0;
        }
        Self { index, within: within.saturating_add(bytes) }
    }
}

/// Returns the memory of segments from a byte on, `bytes` bytes at most, without empty pieces.
pub fn pieces_from(segments: &[ParamIovec], from: Cursor, bytes: u64) -> impl Iterator<Item = Piece> + Clone + '_ {
    let (mut skip, mut left) = (from.within, bytes);
    let rest = segments.get(from.index..).unwrap_or(&[]);
    rest.iter()
        .map_while(move |segment| {
            if left == 0 {
                return None;
            }
            let addr = segment.base.wrapping_add(skip);
            let len = segment.len.saturating_sub(skip).min(left);
            skip = 0;
            left = left.saturating_sub(len);
            Some(Piece { addr, len })
        })
        .filter(|piece| piece.len != 0)
}

/// Returns how many pages a piece of memory touches.
#[must_use]
pub fn touched(piece: Piece, page_shift: u32) -> u64 {
    let size = 1u64.checked_shl(page_shift).unwrap_or(0);
    if piece.len == 0 {
        return 0;
    }
    let within = piece.addr & size.saturating_sub(1);
    let end = within.saturating_add(piece.len).saturating_add(size.saturating_sub(1));
    end.checked_shr(page_shift).unwrap_or(0)
}

/// Returns how many pages the pieces touch, each counted as often as a piece touches it, but no more than `most`.
pub fn touched_by(pieces: impl Iterator<Item = Piece>, page_shift: u32, most: u64) -> u64 {
    let mut pages = 0u64;
    for piece in pieces {
        pages = pages.saturating_add(touched(piece, page_shift));
        if pages >= most {
            return most;
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{pieces_from, touched, touched_by, Cursor, Measure, Space};
    use crate::logic::refusal::Refusal;
    use crate::logic::steps::Piece;
    use crate::uapi::ParamIovec;

    const SPACE: Space = Space { end: 0x7fff_ffff_f000, tags: 0, page_shift: 12 };

    fn measure(segments: &[(u64, u64)]) -> Result<Measure, Refusal> {
        let mut all = [ParamIovec::default(); 8];
        for (slot, &(base, len)) in all.iter_mut().zip(segments) {
            *slot = ParamIovec { base, len };
        }
        SPACE.measure(&all[..segments.len()])
    }

    #[test]
    fn pages_are_counted_per_segment() {
        assert_eq!(measure(&[]), Ok(Measure { bytes: 0, pages: 0 }));
        assert_eq!(measure(&[(0x1000, 1)]), Ok(Measure { bytes: 1, pages: 1 }));
        assert_eq!(measure(&[(0x1fff, 1), (0x1fff, 2)]), Ok(Measure { bytes: 3, pages: 3 }));
        assert_eq!(measure(&[(0x1000, 0x1000), (0x1001, 0x1000)]), Ok(Measure { bytes: 0x2000, pages: 3 }));
    }

    #[test]
    fn empty_segments_are_not_looked_at() {
        assert_eq!(measure(&[(u64::MAX, 0), (5, 0)]), Ok(Measure { bytes: 0, pages: 0 }));
    }

    #[test]
    fn wrapped_and_foreign_segments_are_bad_addresses() {
        for segment in [
            (0x1000, u64::MAX),
            (u64::MAX, 1),
            (u64::MAX, 2),
            (SPACE.end, 1),
            (SPACE.end - 1, 2),
            (0xffff_8880_0000_0000, 4096),
            (0, SPACE.end + 1),
        ] {
            assert_eq!(measure(&[segment]), Err(Refusal::BadAddress), "{segment:x?}");
        }
        assert_eq!(measure(&[(SPACE.end - 1, 1)]), Ok(Measure { bytes: 1, pages: 1 }));
    }

    #[test]
    fn tags_are_no_part_of_an_address() {
        let tagged = Space { tags: 0xff << 56, ..SPACE };
        let segment = |base, len| tagged.pages(&ParamIovec { base, len });
        assert_eq!(segment(0xab00_0000_0000_1fff, 2), Ok((1, 2)));
        assert_eq!(segment(0xab00_0000_0000_0000 | SPACE.end, 1), Err(Refusal::BadAddress));
        assert_eq!(segment(u64::MAX, 2), Err(Refusal::BadAddress));
        assert_eq!(SPACE.pages(&ParamIovec { base: 0xab00_0000_0000_1fff, len: 2 }), Err(Refusal::BadAddress));
    }

    const LIST: [ParamIovec; 4] = [
        ParamIovec { base: 100, len: 10 },
        ParamIovec { base: 7, len: 0 },
        ParamIovec { base: 200, len: 5 },
        ParamIovec { base: 300, len: 20 },
    ];

    fn from(offset: u64, bytes: u64) -> std::vec::Vec<(u64, u64)> {
        let cursor = Cursor::default().after(&LIST, offset);
        pieces_from(&LIST, cursor, bytes).map(|piece| (piece.addr, piece.len)).collect()
    }

    #[test]
    fn a_part_of_segments() {
        assert_eq!(from(0, u64::MAX), [(100, 10), (200, 5), (300, 20)]);
        assert_eq!(from(3, 9), [(103, 7), (200, 2)]);
        assert_eq!(from(10, 5), [(200, 5)]);
        assert_eq!(from(14, 2), [(204, 1), (300, 1)]);
        assert_eq!(from(35, 1), []);
        assert_eq!(from(1000, 1), []);
        assert_eq!(from(0, 0), []);
        let half = Cursor::default().after(&LIST, 12);
        assert_eq!(half.after(&LIST, 3), Cursor::default().after(&LIST, 15));
    }

    #[test]
    fn touched_pages() {
        let pages = |addr, len| touched(Piece { addr, len }, 12);
        assert_eq!(pages(0xfff, 0), 0);
        assert_eq!(pages(0xfff, 1), 1);
        assert_eq!(pages(0xfff, 2), 2);
        assert_eq!(pages(0x1000, 0x1000), 1);
        assert_eq!(pages(0xab00_0000_0000_1fff, 0x1002), 3, "tags do not matter");
        let list = [Piece { addr: 0, len: 1 }; 5];
        assert_eq!(touched_by(list.into_iter(), 12, 100), 5);
        assert_eq!(touched_by(list.into_iter(), 12, 3), 3);
    }

    #[test]
    fn sums_stay_within_63_bits() {
        let wide = Space { end: u64::MAX, tags: 0, page_shift: 12 };
        let half = ParamIovec { base: 0, len: 1 << 62 };
        assert_eq!(wide.measure(&[half; 2]), Err(Refusal::LengthOverflow));
        assert!(wide.measure(&[half; 1]).is_ok());
    }
}
