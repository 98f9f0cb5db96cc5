// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The geometry of the segments that a caller gives.

use crate::logic::plan::Piece;
use crate::logic::refusal::Refusal;
use crate::uapi::ParamIovec;

/// What a list of segments adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Bytes.
    pub bytes: u64,
    /// Pages, each counted as often as a segment touches it.
    pub pages: u64,
}

/// The machine's memory, as far as segments depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// First address after user memory.
    pub end: u64,
    /// Bits that are no part of an address. The kernel's own copying and pinning leave them out.
    pub tags: u64,
    /// Binary logarithm of the page size.
    pub page_shift: u32,
}

impl Space {
    /// Bytes in a page.
    #[must_use]
    pub const fn page_size(&self) -> u64 {
        match 1u64.checked_shl(self.page_shift) {
            Some(size) => size,
            None => 0,
        }
    }

    /// The pages that a segment touches: number of the first, and how many. An empty segment touches none.
    ///
    /// # Errors
    /// [`Refusal::BadAddress`] (EFAULT) if the segment wraps or leaves user memory.
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

    /// Checks every segment and adds them up.
    ///
    /// # Errors
    /// [`Refusal::BadAddress`] (EFAULT) as [`Space::pages`]; [`Refusal::LengthOverflow`] (EINVAL) if the sum leaves
    /// 63 bits.
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

/// The segments as pieces of memory, empty ones left out.
pub fn pieces(segments: &[ParamIovec]) -> impl Iterator<Item = Piece> + '_ {
    segments.iter().filter(|segment| segment.len != 0).map(|segment| Piece { addr: segment.base, len: segment.len })
}

#[cfg(test)]
mod tests {
    use super::{Measure, Space};
    use crate::logic::refusal::Refusal;
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

    #[test]
    fn sums_stay_within_63_bits() {
        let wide = Space { end: u64::MAX, tags: 0, page_shift: 12 };
        let half = ParamIovec { base: 0, len: 1 << 62 };
        assert_eq!(wide.measure(&[half; 2]), Err(Refusal::LengthOverflow));
        assert!(wide.measure(&[half; 1]).is_ok());
    }
}
