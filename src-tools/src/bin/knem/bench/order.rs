// SPDX-License-Identifier: CECILL-B
//! The order of the measurements: shuffled again in each round, and reproducible by the seed.
//!
//! So drifts during a benchmark (clock frequency, temperature, other load) affect all methods and sizes alike, instead
//! of those that are measured last.

use std::time::{SystemTime, UNIX_EPOCH};

/// Pseudo-random numbers from a seed (splitmix).
pub(crate) struct Shuffler(u64);

impl Shuffler {
    /// Starts with this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Shuffles items.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.next() % (last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Returns a random seed that is short enough to be typed again.
pub(crate) fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Shuffler::new(u64::from(now.subsec_nanos()) ^ now.as_secs()).next() % 1_000_000
}

/// Returns how many of `total` copies are made in round `round` of `rounds`: equal parts, with the remainder in the
/// first rounds.
pub(crate) fn share(total: u32, rounds: u32, round: u32) -> u32 {
    let rounds = rounds.max(1);
    total / rounds + u32::from(round < total % rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shuffled(seed: u64) -> Vec<u32> {
        let mut items: Vec<u32> = (0..50).collect();
        Shuffler::new(seed).shuffle(&mut items);
        items
    }

    #[test]
    fn a_seed_repeats_its_order() {
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
    }

    #[test]
    fn nothing_is_lost() {
        let mut items = shuffled(1);
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        Shuffler::new(0).shuffle::<u8>(&mut []);
    }

    #[test]
    fn every_place_is_as_likely() {
        let mut first = [0; 4];
        let mut shuffler = Shuffler::new(3);
        for _ in 0..4000 {
            let mut items = [0, 1, 2, 3];
            shuffler.shuffle(&mut items);
            first[items[0]] += 1;
        }
        assert!(first.iter().all(|count| (850..1150).contains(count)), "{first:?}");
    }

    #[test]
    fn rounds_share_the_copies() {
        assert_eq!((0..5).map(|round| share(12, 5, round)).collect::<Vec<_>>(), [3, 3, 2, 2, 2]);
        assert_eq!(share(1, 5, 0), 1);
        assert_eq!(share(1, 5, 4), 0);
    }
}
