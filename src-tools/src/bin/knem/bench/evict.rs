// SPDX-License-Identifier: CECILL-B
//! Empties the caches by writing to memory that is larger.

use std::path::Path;

use super::cpus::last_level_cache;

/// Size of a cache line, or less.
const LINE: usize = 64;
/// Size of the caches if sysfs does not report it.
const USUAL_CACHE: usize = 32 << 20;

/// The memory that is written.
pub(crate) struct Evictor(Vec<u8>);

impl Evictor {
    /// Allocates twice the size of the largest cache: that evicts nearly all other data even with random replacement.
    pub(crate) fn new(topology: &Path, cpu: usize) -> Self {
        Self(vec![0; 2 * last_level_cache(topology, cpu).unwrap_or(USUAL_CACHE)])
    }

    /// Returns its size.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    /// Writes it, which evicts other data from the caches.
    pub(crate) fn evict(&mut self) {
        for byte in self.0.iter_mut().step_by(LINE) {
            *byte = byte.wrapping_add(1);
        }
        std::hint::black_box(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_touched() {
        let mut evictor = Evictor(vec![0; 10 * LINE]);
        evictor.evict();
        assert!(evictor.0.chunks(LINE).all(|line| line[0] == 1));
    }

    #[test]
    fn unknown_caches_are_taken_for_large() {
        assert_eq!(Evictor::new(Path::new("/nowhere"), 0).size(), 2 * USUAL_CACHE);
    }
}
