// SPDX-License-Identifier: CECILL-B
//! The memory of sequences: some ordinary arenas, one that cannot be written, and a hole.
//!
//! They are contiguous, so that a byte has one number, its [`Byte`].

use serde::{Deserialize, Serialize};

/// Ordinary arenas.
pub const ARENAS: usize = 4;
/// Size of each arena in bytes: whole pages of any size up to 8 KiB.
pub const ARENA: usize = 24 << 10;
/// First byte of the arena that cannot be written.
pub const CONSTANT: usize = ARENAS * ARENA;
/// Size of all arenas in bytes; the hole follows.
pub const TOTAL: usize = CONSTANT + ARENA;

/// Number of a byte, or [`HOLE`].
pub type Byte = u32;
/// No byte.
pub const HOLE: Byte = Byte::MAX;

/// The location of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Memory; the number of its first byte.
    Memory(Byte),
    /// An unmapped address.
    Hole,
    /// An address of the kernel.
    Kernel,
    /// An address from which the segment wraps around. Only its base matters.
    Wrapping,
}

/// A segment of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its location.
    pub place: Place,
    /// Its length in bytes.
    pub length: u32,
}

impl Segment {
    /// Whether the driver refuses it, regardless of what is mapped.
    #[must_use]
    pub fn absurd(&self) -> bool {
        self.length != 0 && matches!(self.place, Place::Kernel | Place::Wrapping)
    }
}

/// Returns the bytes of segments, in order.
#[must_use]
pub fn bytes(segments: &[Segment]) -> Vec<Byte> {
    let mut bytes = Vec::with_capacity(segments.iter().map(|segment| segment.length as usize).sum());
    for segment in segments {
        match segment.place {
            Place::Memory(first) => bytes.extend(first..first + segment.length),
            _ => bytes.extend((0..segment.length).map(|_| HOLE)),
        }
    }
    bytes
}

/// Returns the contents of the memory at the start of a sequence.
#[must_use]
pub fn initial() -> Vec<u8> {
    (0..TOTAL as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Returns the byte that [`crate::command::Command::Store`] writes.
#[must_use]
pub fn pattern(seed: u8, n: usize) -> u8 {
    (n as u8).wrapping_mul(37).wrapping_add(seed)
}
