// SPDX-License-Identifier: CECILL-B
//! The bytes that a benchmark copies, which differ by copy and by offset.

/// The contents of one copy, known at both ends without being sent.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    start: u64,
    inverted: u64,
}

/// Bytes that are generated at a time: a multiple of the word.
pub(crate) const CHUNK: usize = 64 << 10;
const WORD: usize = size_of::<u64>();
/// Odd, so that all words of a pattern differ.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Pattern {
    /// Creates the contents for this size and iteration.
    pub(crate) fn new(size: usize, iteration: u32) -> Self {
        let seed = (size as u64) ^ (u64::from(iteration) << 40);
        // The finalizer of splitmix.
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self { start: mixed ^ (mixed >> 31), inverted: 0 }
    }

    /// Returns the contents of a destination before the copy: every byte differs from the expected one.
    pub(crate) fn poison(self) -> Self {
        Self { inverted: !self.inverted, ..self }
    }

    /// Generates the bytes from `offset`, a multiple of the chunk.
    pub(crate) fn fill(self, offset: usize, bytes: &mut [u8]) {
        let words = bytes.chunks_exact_mut(WORD);
        let first = (offset / WORD) as u64;
        let mut index = first;
        let mut words = words;
        for word in words.by_ref() {
            word.copy_from_slice(&self.word(index).to_le_bytes());
            index = index.wrapping_add(1);
        }
        let rest = words.into_remainder();
        let last = self.word(index).to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// Compares bytes from `offset`; returns the first wrong byte, if there is one.
    pub(crate) fn check(self, offset: usize, bytes: &[u8]) -> Result<(), Wrong> {
        let mut expected = [0; CHUNK];
        for (index, found) in bytes.chunks(CHUNK).enumerate() {
            let start = offset + index * CHUNK;
            let expected = &mut expected[..found.len()];
            self.fill(start, expected);
            if expected != found {
                let wrong = expected.iter().zip(found).position(|(expected, found)| expected != found).unwrap_or(0);
                return Err(Wrong { offset: start + wrong, expected: expected[wrong], found: found[wrong] });
            }
        }
        Ok(())
    }

    fn word(self, index: u64) -> u64 {
        self.start.wrapping_add(index.wrapping_mul(STEP)) ^ self.inverted
    }
}

/// A wrong byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Its offset in the copy.
    pub(crate) offset: usize,
    /// The expected value.
    pub(crate) expected: u8,
    /// The value found.
    pub(crate) found: u8,
}

/// Whether all bytes have this value.
pub(crate) fn is_all(bytes: &[u8], value: u8) -> bool {
    bytes.iter().all(|byte| *byte == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize, iteration: u32) -> Vec<u8> {
        let mut bytes = vec![0; size];
        Pattern::new(size, iteration).fill(0, &mut bytes);
        bytes
    }

    #[test]
    fn copies_differ_by_iteration_and_size() {
        assert_ne!(bytes(64, 0), bytes(64, 1));
        assert_ne!(bytes(64, 0), bytes(65, 0)[..64]);
    }

    #[test]
    fn chunks_join() {
        let whole = bytes(3 * CHUNK + 5, 9);
        let pattern = Pattern::new(whole.len(), 9);
        let mut part = vec![0; CHUNK + 5];
        pattern.fill(2 * CHUNK, &mut part);
        assert_eq!(part, whole[2 * CHUNK..]);
        assert_eq!(pattern.check(0, &whole), Ok(()));
    }

    #[test]
    fn every_poisoned_byte_differs() {
        let (good, mut poisoned) = (bytes(1003, 4), vec![0; 1003]);
        Pattern::new(1003, 4).poison().fill(0, &mut poisoned);
        assert!(good.iter().zip(&poisoned).all(|(good, poisoned)| good != poisoned));
    }

    #[test]
    fn a_single_wrong_byte_is_found() {
        let mut data = bytes(CHUNK + 100, 1);
        let at = CHUNK + 99;
        let expected = data[at];
        data[at] ^= 1;
        let wrong = Pattern::new(data.len(), 1).check(0, &data);
        assert_eq!(wrong, Err(Wrong { offset: at, expected, found: expected ^ 1 }));
    }

    #[test]
    fn moved_data_is_found() {
        let data = bytes(8192, 1);
        let mut moved = data.clone();
        moved.copy_within(4096..8192, 0);
        assert!(Pattern::new(8192, 1).check(0, &moved).is_err());
    }
}
