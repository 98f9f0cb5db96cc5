// SPDX-License-Identifier: CECILL-B
//! The buffer of one side of a copy: page-aligned memory with guard bytes around it that must not change.

use std::num::NonZeroUsize;
use std::ops::Range;

use knem::Memory;

use super::pattern::{is_all, Pattern, Wrong, CHUNK};
use crate::exit::Failure;

/// Guard bytes on each side.
const GUARD: usize = 4096;
/// Contents of the guards.
const GUARD_BYTE: u8 = 0xa5;

/// Memory of this process with guards around it.
pub(crate) struct Buffer {
    memory: Memory,
    size: usize,
}

impl Buffer {
    /// Allocates memory for copies of this size and writes all of it.
    pub(crate) fn new(size: usize) -> Result<Self, Failure> {
        let whole = NonZeroUsize::MIN.saturating_add((size + 2 * GUARD).saturating_sub(1));
        let buffer = Self { memory: Memory::new(whole)?, size };
        for guard in buffer.guards() {
            buffer.memory.write_at(guard, &[GUARD_BYTE; GUARD]);
        }
        buffer.fill(Pattern::new(size, 0));
        Ok(buffer)
    }

    /// Returns the mapping that contains it.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns its range in the mapping.
    pub(crate) fn part(&self) -> Range<usize> {
        GUARD..GUARD + self.size
    }

    /// Returns its address in this process.
    pub(crate) fn address(&self) -> usize {
        self.memory.as_ptr().expose_provenance() + GUARD
    }

    /// Returns its bytes, where only this process uses them.
    pub(crate) fn body_mut(&mut self) -> &mut [u8] {
        // SAFETY: the buffer is inside the mapping.
        let start = unsafe { self.memory.as_ptr().add(GUARD) };
        // SAFETY: the mapping has as many bytes there, and `self` is borrowed exclusively: the methods that call this
        // have neither created a region of it nor passed its address to the second process.
        unsafe { std::slice::from_raw_parts_mut(start, self.size) }
    }

    /// Returns its length.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Copies bytes out of it.
    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.read_at(GUARD + offset, bytes);
    }

    /// Copies bytes into it.
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.memory.write_at(GUARD + offset, bytes);
    }

    /// Fills it with a pattern.
    pub(crate) fn fill(&self, pattern: Pattern) {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            pattern.fill(start, chunk);
            self.copy_in(start, chunk);
        }
    }

    /// Compares it with a pattern.
    pub(crate) fn check(&self, pattern: Pattern) -> Result<(), Wrong> {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            self.copy_out(start, chunk);
            pattern.check(start, chunk)?;
        }
        Ok(())
    }

    /// Whether the guards are unchanged.
    pub(crate) fn surroundings_intact(&self) -> bool {
        let mut bytes = [0; GUARD];
        self.guards().into_iter().all(|guard| {
            self.memory.read_at(guard, &mut bytes);
            is_all(&bytes, GUARD_BYTE)
        })
    }

    fn guards(&self) -> [usize; 2] {
        [0, GUARD + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_page() {
        for size in [1, 4095, 4096, 100_000] {
            let mut buffer = Buffer::new(size).unwrap();
            assert_eq!(buffer.address() % 4096, 0);
            assert_eq!(buffer.body_mut().len(), size);
            assert!(buffer.surroundings_intact());
        }
    }

    #[test]
    fn keeps_patterns() {
        let mut buffer = Buffer::new(CHUNK + 77).unwrap();
        let pattern = Pattern::new(CHUNK + 77, 3);
        buffer.fill(pattern);
        assert_eq!(buffer.check(pattern), Ok(()));
        buffer.body_mut()[CHUNK + 76] ^= 1;
        assert_eq!(buffer.check(pattern).unwrap_err().offset, CHUNK + 76);
    }

    #[test]
    fn changes_around_are_noticed() {
        for place in [GUARD - 1, GUARD + 1000] {
            let buffer = Buffer::new(1000).unwrap();
            buffer.memory.write_at(place, &[0]);
            assert!(!buffer.surroundings_intact(), "{place}");
        }
    }
}
