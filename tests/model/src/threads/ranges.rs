// SPDX-License-Identifier: CECILL-B
//! Memory as ranges, and copies between them.

use nix::errno::Errno;

use crate::command::List;
use crate::memory::{Place, Segment, CONSTANT};

/// First byte and length.
pub(super) type Range = (u32, u32);

/// Source, destination, length.
pub(super) type Move = (u32, u32, u32);

/// Start of the hole, in the miniature's addresses.
const HOLE_START: u32 = 1 << 30;

/// Returns the ranges of a list; a hole is an address without memory.
pub(super) fn of_list(list: &List) -> Result<Vec<Range>, Errno> {
    let segments = match list {
        List::Of(segments) => segments,
        List::Absent(_) => return Err(Errno::EFAULT),
        List::TooLong => return Err(Errno::ENOMEM),
    };
    let range = |segment: &Segment| match segment.place {
        _ if segment.length == 0 => Ok((0, 0)),
        Place::Memory(start) => Ok((start, segment.length)),
        Place::Hole => Ok((HOLE_START, segment.length)),
        Place::Kernel | Place::Wrapping => Err(Errno::EFAULT),
    };
    segments.iter().map(range).collect()
}

/// Attempts to pin.
pub(super) fn pin(ranges: &[Range], write: bool) -> Result<(), Errno> {
    let end = if write { CONSTANT as u32 } else { HOLE_START };
    if ranges.iter().any(|(start, length)| *length > 0 && *start >= end) {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

pub(super) fn carry(memory: &mut [u8], (from, to, count): Move) {
    for n in 0..count as usize {
        memory[to as usize + n] = memory[from as usize + n];
    }
}

/// Returns the copies between two lists of ranges.
pub(super) fn pair(from: &[Range], to: &[Range], most: u64) -> Vec<Move> {
    let (mut moves, mut left) = (Vec::new(), most);
    let (mut from, mut to) = (from.iter().copied(), to.iter().copied());
    let (mut source, mut target) = ((0, 0), (0, 0));
    loop {
        while source.1 == 0 {
            let Some(next) = from.next() else { return moves };
            source = next;
        }
        while target.1 == 0 {
            let Some(next) = to.next() else { return moves };
            target = next;
        }
        let count = source.1.min(target.1).min(u32::try_from(left).unwrap_or(u32::MAX));
        if count == 0 {
            return moves;
        }
        moves.push((source.0, target.0, count));
        source = (source.0 + count, source.1 - count);
        target = (target.0 + count, target.1 - count);
        left -= u64::from(count);
    }
}

/// Returns the ranges after `offset` bytes.
pub(super) fn skip(ranges: &[Range], mut offset: u64) -> Vec<Range> {
    let mut rest = Vec::new();
    for &(start, length) in ranges {
        let gone = offset.min(u64::from(length)) as u32;
        offset -= u64::from(gone);
        rest.push((start + gone, length - gone));
    }
    rest
}
