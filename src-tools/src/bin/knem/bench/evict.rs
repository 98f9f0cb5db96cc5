// SPDX-License-Identifier: CECILL-B
//! Emptying the caches: by writing to memory that is larger than they are.

use std::path::Path;

use super::placement::last_level_cache;

/// Bytes that one access brings into a cache, or fewer.
const LINE: usize = 64;
/// Taken where Linux does not tell the size of the caches.
const USUAL_CACHE: usize = 32 << 20;

/// Memory to be walked over.
pub(crate) struct Evictor(Vec<u8>);

impl Evictor {
    /// Memory of twice the size of the largest cache: one that evicts at random is nearly empty of other data then.
    pub(crate) fn new(topology: &Path, cpu: usize) -> Self {
        Self(vec![0; 2 * last_level_cache(topology, cpu).unwrap_or(USUAL_CACHE)])
    }

    /// Its size.
    pub(crate) fn size(&self) -> usize {
        self.0.len()
    }

    /// Walks over it: what other memory the caches held is written back, and gone.
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
