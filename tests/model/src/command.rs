// SPDX-License-Identifier: CECILL-B
//! The commands of sequences.
//!
//! A generated command refers to files, regions and offsets by *picks*: numbers that are interpreted when the state is
//! known, so that a command mostly keeps its meaning when others before it are removed. The model turns it into a
//! definite command of the same type (`Model::resolve`), which is executed.

use knem_core::uapi;
use serde::{Deserialize, Serialize};

use crate::memory::Segment;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// `O_RDWR`: everything.
    ReadWrite,
    /// `O_WRONLY`: commands, but neither events nor a status array.
    WriteOnly,
    /// `O_RDONLY`: statistics.
    ReadOnly,
}

/// The structure that a command's argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argument {
    /// An ordinary structure.
    Good,
    /// A structure in read-only memory.
    ReadOnly,
    /// An address where nothing is mapped.
    Absent,
}

/// A list of segments, as a command passes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum List {
    /// An array.
    Of(Vec<Segment>),
    /// This number of segments, at an address where nothing is mapped.
    Absent(u32),
    /// One segment more than the driver accepts.
    TooLong,
}

/// A cookie to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cookie {
    /// The cookie of a region: a pick, counted from the newest; in a definite command, its number.
    Region(usize),
    /// The same with one bit changed.
    Flipped(usize, u32),
    /// A number.
    Raw(u64),
}

impl Cookie {
    /// Returns the cookie of a definite command; `known` are those of regions, by their numbers.
    #[must_use]
    pub fn value(self, known: &[u64]) -> u64 {
        match self {
            Self::Region(number) => known[number],
            Self::Flipped(number, bit) => known[number] ^ (1 << bit),
            Self::Raw(number) => number,
        }
    }
}

/// An offset in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offset {
    /// A number, which every other kind becomes.
    At(u64),
    /// The end of a segment; a pick.
    Seam(usize),
    /// This number of 256ths of the length.
    Part(u8),
    /// This number of bytes after the end.
    PastEnd(u64),
}

/// A region and an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// The region's cookie.
    pub cookie: Cookie,
    /// Where to start.
    pub offset: Offset,
}

/// A mapping of the status array to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Length in bytes.
    pub length: u64,
    /// File offset in pages.
    pub offset: u32,
    /// `MAP_PRIVATE` rather than `MAP_SHARED`.
    pub private: bool,
    /// `PROT_READ` alone.
    pub read_only: bool,
}

/// An argument of `BIND_OFFLOAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bind {
    /// The CPUs that the caller may use.
    Current,
    /// The other CPUs.
    Reversed,
    /// A mask with every CPU, of this number of bytes (not 0).
    All(u32),
    /// A mask at an address where nothing is mapped.
    AbsentMask,
    /// Flags that are none of the three.
    Flags(u32),
}

/// What copies have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Descriptor.
    pub fd: usize,
    /// The calling user.
    pub user: usize,
    /// Flags as passed.
    pub flags: u32,
    /// `async_status_index`.
    pub slot: u32,
    /// Most bytes; without it, the command that has no bound is used.
    pub bound: Option<u64>,
    /// The structure.
    pub argument: Argument,
}

/// One command of a sequence.
#[expect(missing_docs, reason = "what a variant says names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Opens the device as a user.
    Open { mode: Mode, user: usize },
    /// `dup`.
    Duplicate { fd: usize },
    /// `close`. Requests in flight that this ends are waited for first, unless `abrupt`.
    Close { fd: usize, abrupt: bool },
    /// Maps the status array.
    Map { fd: usize, shape: Shape },
    /// Unmaps the status array of a file.
    Unmap { file: usize, abrupt: bool },
    /// `GET_INFO`.
    Info { fd: usize, argument: Argument },
    /// A command that does not exist.
    Unknown { fd: usize, number: u32 },
    /// `BIND_OFFLOAD`.
    Bind { fd: usize, how: Bind, argument: Argument },
    /// `CREATE_REGION`; if `old`, `INIT_SEND`, which has no protection.
    Create { fd: usize, user: usize, list: List, protection: u32, flags: u32, argument: Argument, old: bool },
    /// `DESTROY_REGION`.
    Destroy { fd: usize, cookie: Cookie, argument: Argument },
    /// `COPY` and `COPY_BOUNDED`.
    Copy { request: Request, source: Spot, destination: Spot },
    /// `INLINE_COPY` and `INLINE_COPY_BOUNDED`.
    Inline { request: Request, local: List, write: u32, remote: Spot },
    /// `INIT_ASYNC_RECV`, or `SYNC_RECV` if `wait`.
    Receive { request: Request, local: List, cookie: Cookie, wait: bool },
    /// This number of one-byte copies by the thread, with notification; or of no bytes, if `empty`.
    Burst { fd: usize, count: u32, empty: bool },
    /// Reads events: `bytes` bytes, without `O_NONBLOCK` if that cannot block forever, and to an unmapped address if
    /// `absent`.
    Read { fd: usize, bytes: u32, blocking: bool, absent: bool },
    /// Polls; with `wait`, until there is an event, if there will be one.
    Poll { fd: usize, wait: bool },
    /// Writes to the device, which clears the statistics.
    Clear { fd: usize },
    /// The owner of the memory changes it.
    Store { start: usize, length: usize, seed: u8 },
    /// User space writes to a slot of its status array.
    Poke { file: usize, slot: usize, value: u8 },
    /// Waits for everything in flight. Resolved to the next two.
    Settle,
    /// Waits for everything in flight on a file, behind one more request.
    Fence { fd: usize },
    /// Waits for everything in flight on a file that has no descriptor any more, by these slots.
    Await { file: usize, slots: Vec<u32> },
}

/// The slot that fences use.
pub const FENCE_SLOT: u32 = 4090;

/// The flags of a burst's requests.
pub const BURST_FLAGS: u32 = uapi::FLAG_MEMCPYTHREAD | uapi::FLAG_NOTIFY_FD;

/// The slot of a burst's request number `n`.
#[must_use]
pub const fn burst_slot(n: u32) -> u32 {
    n % 64
}
