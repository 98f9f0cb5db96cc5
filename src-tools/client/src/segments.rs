// SPDX-License-Identifier: CECILL-B
//! Segments as the driver takes them: address and length of 64 bits each.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;

use knem_core::uapi::ParamIovec;

use crate::{Error, Memory};

/// A list of segments for the driver.
///
/// It has addresses only. The caller keeps the memory borrowed as long as the driver uses it.
pub(crate) struct Segments(Vec<ParamIovec>);

impl Segments {
    /// Creates the list of memory that the driver only reads.
    pub(crate) fn reading(memory: &[IoSlice<'_>]) -> Self {
        Self(memory.iter().map(|slice| segment(slice.as_ptr(), slice.len())).collect())
    }

    /// Creates the list of memory that the driver writes.
    pub(crate) fn writing(memory: &mut [IoSliceMut<'_>]) -> Self {
        Self(memory.iter_mut().map(|slice| segment(slice.as_mut_ptr(), slice.len())).collect())
    }

    /// Creates the list of a part of a mapping.
    ///
    /// # Panics
    ///
    /// If the part is not inside the mapping.
    pub(crate) fn part(memory: &Memory, part: &Range<usize>) -> Self {
        Self(vec![ParamIovec { base: memory.address(part), len: part.len() as u64 }])
    }

    /// Returns the address of the list, for the driver.
    pub(crate) fn address(&self) -> u64 {
        address(self.0.as_ptr())
    }

    /// Returns the number of segments, if the interface can express it.
    pub(crate) fn count(&self) -> Result<u32, Error> {
        u32::try_from(self.0.len()).map_err(|_| Error::TooManySegments { count: self.0.len() })
    }
}

fn segment(base: *const u8, length: usize) -> ParamIovec {
    // usize has at most 64 bits on every machine that Linux runs on.
    ParamIovec { base: address(base), len: length as u64 }
}

fn address<T>(pointer: *const T) -> u64 {
    // The driver accesses the memory through the number.
    pointer.expose_provenance() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_order_and_lengths() {
        let (first, second) = ([1u8; 3], [2u8; 5]);
        let segments = Segments::reading(&[IoSlice::new(&first), IoSlice::new(&[]), IoSlice::new(&second)]);
        assert_eq!(segments.count().ok(), Some(3));
        assert_eq!(segments.0.iter().map(|segment| segment.len).collect::<Vec<_>>(), [3, 0, 5]);
        assert_eq!(segments.0[2].base, second.as_ptr() as u64);
    }

    #[test]
    fn may_be_none() {
        assert_eq!(Segments::writing(&mut []).count().ok(), Some(0));
    }
}
