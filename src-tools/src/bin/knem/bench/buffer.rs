// SPDX-License-Identifier: CECILL-B
//! The local side of a copy: memory at a page's start, with bytes around it that must not change.

use super::pattern::{is_all, Pattern, Wrong, CHUNK};

/// Bytes watched on each side.
pub(crate) const GUARD: usize = 4096;
/// What they hold.
pub(crate) const GUARD_BYTE: u8 = 0xa5;
const PAGE: usize = 4096;

/// Memory of this process with guards around it.
pub(crate) struct Buffer {
    storage: Vec<u8>,
    start: usize,
    size: usize,
}

impl Buffer {
    /// Memory for copies of this size.
    pub(crate) fn new(size: usize) -> Self {
        let storage = vec![GUARD_BYTE; GUARD + PAGE + size + GUARD];
        let start = GUARD + storage[GUARD..].as_ptr().align_offset(PAGE).min(PAGE);
        Self { storage, start, size }
    }

    /// The memory itself.
    pub(crate) fn body(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.size]
    }

    /// The memory itself, to be written.
    pub(crate) fn body_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.size]
    }

    /// Puts a pattern in.
    pub(crate) fn fill(&mut self, pattern: Pattern) {
        for (index, chunk) in self.body_mut().chunks_mut(CHUNK).enumerate() {
            pattern.fill(index * CHUNK, chunk);
        }
    }

    /// Whether the pattern is there.
    pub(crate) fn check(&self, pattern: Pattern) -> Result<(), Wrong> {
        pattern.check(0, self.body())
    }

    /// Whether the bytes around are as they were.
    pub(crate) fn surroundings_intact(&self) -> bool {
        let end = self.start + self.size;
        is_all(&self.storage[self.start - GUARD..self.start], GUARD_BYTE)
            && is_all(&self.storage[end..end + GUARD], GUARD_BYTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_at_a_page() {
        for size in [1, 4095, 4096, 100_000] {
            let buffer = Buffer::new(size);
            assert_eq!(buffer.body().as_ptr().addr() % PAGE, 0);
            assert_eq!(buffer.body().len(), size);
            assert!(buffer.surroundings_intact());
        }
    }

    #[test]
    fn changes_around_are_noticed() {
        for place in [-1isize, 1000] {
            let mut buffer = Buffer::new(1000);
            let index = buffer.start.checked_add_signed(place).unwrap();
            buffer.storage[index] = 0;
            assert!(!buffer.surroundings_intact(), "{place}");
        }
    }
}
