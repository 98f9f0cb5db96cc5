// SPDX-License-Identifier: CECILL-B
//! One side of a copy: memory at a page's start, with bytes around it that must not change.

use std::num::NonZeroUsize;
use std::ops::Range;

use knem::Memory;

use super::pattern::{is_all, Pattern, Wrong, CHUNK};
use crate::exit::Failure;

/// Bytes watched on each side.
const GUARD: usize = 4096;
/// What they hold.
const GUARD_BYTE: u8 = 0xa5;

/// Memory of this process with guards around it.
pub(crate) struct Buffer {
    memory: Memory,
    size: usize,
}

impl Buffer {
    /// Memory for copies of this size; all of it has been written.
    pub(crate) fn new(size: usize) -> Result<Self, Failure> {
        let whole = NonZeroUsize::MIN.saturating_add((size + 2 * GUARD).saturating_sub(1));
        let buffer = Self { memory: Memory::new(whole)?, size };
        for guard in buffer.guards() {
            buffer.memory.write_at(guard, &[GUARD_BYTE; GUARD]);
        }
        buffer.fill(Pattern::new(size, 0));
        Ok(buffer)
    }

    /// The mapping that it is in.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Its place in the mapping.
    pub(crate) fn part(&self) -> Range<usize> {
        GUARD..GUARD + self.size
    }

    /// Its address in this process.
    pub(crate) fn address(&self) -> usize {
        self.memory.as_ptr().expose_provenance() + GUARD
    }

    /// Its bytes, where this process alone uses them.
    pub(crate) fn body_mut(&mut self) -> &mut [u8] {
        // SAFETY: the part is inside the mapping.
        let start = unsafe { self.memory.as_ptr().add(GUARD) };
        // SAFETY: as many bytes are there, and it is borrowed exclusively: no region of it exists, and its address was
        // not given away, in the methods that use it so.
        unsafe { std::slice::from_raw_parts_mut(start, self.size) }
    }

    /// Its length.
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

    /// Puts a pattern in.
    pub(crate) fn fill(&self, pattern: Pattern) {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            pattern.fill(start, chunk);
            self.copy_in(start, chunk);
        }
    }

    /// Whether the pattern is there.
    pub(crate) fn check(&self, pattern: Pattern) -> Result<(), Wrong> {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            self.copy_out(start, chunk);
            pattern.check(start, chunk)?;
        }
        Ok(())
    }

    /// Whether the bytes around are as they were.
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
