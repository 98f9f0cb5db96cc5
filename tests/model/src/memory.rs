// SPDX-License-Identifier: CECILL-B
//! The memory that sequences play in: some ordinary arenas, one that cannot be written, and a hole.
//!
//! They lie one after the other, so that a byte has one number, its [`Byte`].

use serde::{Deserialize, Serialize};

/// Ordinary arenas.
pub const ARENAS: usize = 4;
/// Bytes of each arena: whole pages of any size up to 8 KiB.
pub const ARENA: usize = 24 << 10;
/// First byte of the arena that cannot be written.
pub const CONSTANT: usize = ARENAS * ARENA;
/// Bytes of all arenas; the hole comes next.
pub const TOTAL: usize = CONSTANT + ARENA;

/// Number of a byte; [`HOLE`] where there is none.
pub type Byte = u32;
/// No byte.
pub const HOLE: Byte = Byte::MAX;

/// Where a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Memory; the number of its first byte.
    Memory(Byte),
    /// Mapped to nothing.
    Hole,
    /// The kernel's.
    Kernel,
    /// From here, its end would be before its start. Only its base is of any use.
    Wrapping,
}

/// A segment of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where.
    pub place: Place,
    /// Bytes.
    pub length: u32,
}

impl Segment {
    /// Whether it makes no sense to the driver, whatever is mapped.
    #[must_use]
    pub fn absurd(&self) -> bool {
        self.length != 0 && matches!(self.place, Place::Kernel | Place::Wrapping)
    }
}

/// The bytes of segments, in order.
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

/// What the memory holds when a sequence starts.
#[must_use]
pub fn initial() -> Vec<u8> {
    (0..TOTAL as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// What [`crate::command::Command::Store`] writes.
#[must_use]
pub fn pattern(seed: u8, n: usize) -> u8 {
    (n as u8).wrapping_mul(37).wrapping_add(seed)
}
