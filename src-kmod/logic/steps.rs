// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! A copy as a sequence of steps.
//!
//! Both sides are streams of pieces of memory. A step ends at the end of a piece of either side, at the end of the
//! copy, or at the largest step.

/// A piece of memory: an address, of user memory or of the direct map, and a length in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Address of the first byte.
    pub addr: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A step: `len` bytes, from or to the addresses of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Address on the first side.
    pub left: u64,
    /// Address on the second side.
    pub right: u64,
    /// Length in bytes, never 0.
    pub len: u64,
}

/// Largest step, in bytes: the most that is copied between two checks of the scheduler and of signals.
pub const MAX_STEP: u64 = 2 << 20;

/// Most bytes that a worker thread copies before it checks whether its turn must end.
pub const WORK: u64 = 8 << 20;

/// Returns how many of a copy's `bytes` bytes are copied next, after the first `done`, by a worker thread.
#[must_use]
pub fn next(bytes: u64, done: u64) -> u64 {
    bytes.saturating_sub(done).min(WORK)
}

/// Returns how many bytes a copy moves: the rest of both sides after their offsets, but not more than `bound`. It is 0
/// for an offset at or after the end.
#[must_use]
pub fn bytes(left_len: u64, left_offset: u64, right_len: u64, right_offset: u64, bound: u64) -> u64 {
    left_len.saturating_sub(left_offset).min(right_len.saturating_sub(right_offset)).min(bound)
}

/// Returns the only step of a copy of `bytes` bytes between two streams, each from its start, if one is enough.
pub fn single(
    mut left: impl Iterator<Item = Piece>,
    mut right: impl Iterator<Item = Piece>,
    bytes: u64,
) -> Option<Step> {
    if bytes == 0 || bytes > MAX_STEP {
        return None;
    }
    let (left, right) = (left.next()?, right.next()?);
    (bytes <= left.len && bytes <= right.len).then_some(Step { left: left.addr, right: right.addr, len: bytes })
}

/// Iterator over the steps of a copy.
#[derive(Debug)]
pub struct Steps<L, R> {
    left: Side<L>,
    right: Side<R>,
    remaining: u64,
}

impl<L: Iterator<Item = Piece>, R: Iterator<Item = Piece>> Steps<L, R> {
    /// Creates the steps of a copy of `bytes` bytes between two streams, each from its start. They end early if a
    /// stream does.
    pub fn new(left: L, right: R, bytes: u64) -> Self {
        Self { left: Side::new(left), right: Side::new(right), remaining: bytes }
    }
}

impl<L: Iterator<Item = Piece>, R: Iterator<Item = Piece>> Iterator for Steps<L, R> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.remaining == 0 {
            return None;
        }
        let left = self.left.piece()?;
        let right = self.right.piece()?;
        let len = left.len.min(right.len).min(self.remaining).min(MAX_STEP);
        self.left.advance(len);
        self.right.advance(len);
        self.remaining = self.remaining.saturating_sub(len);
        Some(Step { left: left.addr, right: right.addr, len })
    }
}

/// One side of a copy: the rest of the current piece, and the pieces after it.
#[derive(Debug)]
struct Side<I> {
    current: Piece,
    rest: I,
}

impl<I: Iterator<Item = Piece>> Side<I> {
    fn new(rest: I) -> Self {
        Self { current: Piece::default(), rest }
    }

    /// Returns the rest of the first piece that is not used up.
    fn piece(&mut self) -> Option<Piece> {
        while self.current.len == 0 {
            self.current = self.rest.next()?;
        }
        Some(self.current)
    }

    fn advance(&mut self, len: u64) {
        self.current.addr = self.current.addr.wrapping_add(len);
        self.current.len = self.current.len.saturating_sub(len);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{bytes, next, single, Piece, Step, Steps, MAX_STEP, WORK};
    use std::vec::Vec;

    fn steps(left: &[(u64, u64)], right: &[(u64, u64)], bytes: u64) -> Vec<(u64, u64, u64)> {
        let piece = |&(addr, len): &(u64, u64)| Piece { addr, len };
        Steps::new(left.iter().map(piece), right.iter().map(piece), bytes)
            .map(|Step { left, right, len }| (left, right, len))
            .collect()
    }

    #[test]
    fn steps_end_where_either_side_does() {
        assert_eq!(
            steps(&[(100, 5), (200, 5)], &[(1000, 3), (2000, 4), (3000, 9)], 10),
            [(100, 1000, 3), (103, 2000, 2), (200, 2002, 2), (202, 3000, 3)]
        );
    }

    #[test]
    fn empty_pieces_are_passed_over() {
        assert_eq!(steps(&[(1, 0), (2, 4), (3, 0)], &[(9, 0), (8, 4)], 4), [(2, 8, 4)]);
        assert_eq!(steps(&[], &[(8, 4)], 4), []);
        assert_eq!(steps(&[(1, 4)], &[(8, 4)], 0), []);
    }

    #[test]
    fn steps_are_never_longer_than_the_largest() {
        let steps = steps(&[(0, 3 * MAX_STEP + 1)], &[(7, u64::MAX)], u64::MAX);
        assert_eq!(steps.len(), 4);
        assert_eq!(steps.last(), Some(&(3 * MAX_STEP, 7 + 3 * MAX_STEP, 1)));
    }

    #[test]
    fn a_single_step_is_the_whole_copy() {
        let some = |addr, len| [Piece { addr, len }, Piece { addr: 0, len: 1 }].into_iter();
        assert_eq!(single(some(7, 8), some(9, 10), 8), Some(Step { left: 7, right: 9, len: 8 }));
        for (left, right, bytes) in [(7, 10, 8), (10, 7, 8), (8, 8, 0), (u64::MAX, u64::MAX, MAX_STEP + 1)] {
            assert_eq!(single(some(1, left), some(1, right), bytes), None);
        }
        assert_eq!(single([].into_iter(), some(1, 8), 8), None);
    }

    #[test]
    fn a_copy_made_piecemeal_ends() {
        assert_eq!(next(WORK + 1, 0), WORK);
        assert_eq!(next(WORK + 1, WORK), 1);
        assert_eq!(next(WORK + 1, WORK + 1), 0);
        assert_eq!(next(1, u64::MAX), 0);
    }

    #[test]
    fn bytes_respects_every_bound() {
        assert_eq!(bytes(10, 3, 8, 2, u64::MAX), 6);
        assert_eq!(bytes(10, 3, 8, 0, 5), 5);
        assert_eq!(bytes(10, 10, 8, 0, 5), 0);
        assert_eq!(bytes(10, u64::MAX, 8, 0, 5), 0);
        assert_eq!(bytes(10, 0, 8, 0, 0), 0);
    }
}
