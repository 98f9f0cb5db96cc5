// SPDX-License-Identifier: CECILL-B
//! What sequences consist of.
//!
//! A command that was drawn names files, regions and offsets by *picks*: numbers that mean something once the
//! state is known, so that a command keeps its meaning, more or less, when others before it are left out. The model
//! turns it into a definite one of the same type (`Model::resolve`), and that is carried out.

use knem_core::uapi;
use serde::{Deserialize, Serialize};

use crate::memory::Segment;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// `O_RDWR`: all there is.
    ReadWrite,
    /// `O_WRONLY`: commands, but neither events nor a status array.
    WriteOnly,
    /// `O_RDONLY`: statistics.
    ReadOnly,
}

/// The structure that a command's argument points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Argument {
    /// An ordinary one.
    Good,
    /// Nothing can be written back to it.
    ReadOnly,
    /// There is nothing at its address.
    Absent,
}

/// A list of segments, as a command gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum List {
    /// An array of them.
    Of(Vec<Segment>),
    /// As many, at an address where nothing is.
    Absent(u32),
    /// One more than the driver takes.
    TooLong,
}

/// A cookie to present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cookie {
    /// That of a region: a pick, counted from the newest; when definite, its number.
    Region(usize),
    /// The same with one bit changed.
    Flipped(usize, u32),
    /// A number.
    Raw(u64),
}

impl Cookie {
    /// The cookie itself, when definite; `known` are those of regions, by their numbers.
    #[must_use]
    pub fn value(self, known: &[u64]) -> u64 {
        match self {
            Self::Region(number) => known[number],
            Self::Flipped(number, bit) => known[number] ^ (1 << bit),
            Self::Raw(number) => number,
        }
    }
}

/// A place in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Offset {
    /// A number: what every other kind becomes.
    At(u64),
    /// Where a segment ends; a pick.
    Seam(usize),
    /// As many 256ths of the length.
    Part(u8),
    /// As many bytes after the end.
    PastEnd(u64),
}

/// A region and a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    /// The region's cookie.
    pub cookie: Cookie,
    /// Where to start.
    pub offset: Offset,
}

/// A mapping of the status array to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Bytes.
    pub length: u64,
    /// Pages at which it starts in the file.
    pub offset: u32,
    /// `MAP_PRIVATE` rather than `MAP_SHARED`.
    pub private: bool,
    /// `PROT_READ` alone.
    pub read_only: bool,
}

/// What to ask of `BIND_OFFLOAD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bind {
    /// The processors that the caller may use.
    Current,
    /// The other ones.
    Reversed,
    /// A mask with every processor, of as many bytes (not 0).
    All(u32),
    /// A mask where nothing is.
    AbsentMask,
    /// Flags that are none of the three.
    Flags(u32),
}

/// What copies have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Descriptor.
    pub fd: usize,
    /// Who asks.
    pub user: usize,
    /// Flags as given.
    pub flags: u32,
    /// `async_status_index`.
    pub slot: u32,
    /// Most bytes; without it, the command that has no bound is used.
    pub bound: Option<u64>,
    /// Where the structure is.
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
    /// `close`. Requests in flight that this ends are waited for before, unless `abrupt`.
    Close { fd: usize, abrupt: bool },
    /// Maps the status array.
    Map { fd: usize, shape: Shape },
    /// Unmaps that of a file.
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
    /// As many one-byte copies by the thread, with notification; or of nothing at all, if `empty`.
    Burst { fd: usize, count: u32, empty: bool },
    /// Reads events: `bytes` long, without `O_NONBLOCK` where that cannot last for ever, and to nowhere if `absent`.
    Read { fd: usize, bytes: u32, blocking: bool, absent: bool },
    /// Polls, until something happens if `wait` and something will.
    Poll { fd: usize, wait: bool },
    /// Writes to the device, which clears the statistics.
    Clear { fd: usize },
    /// The owner of the memory changes it.
    Store { start: usize, length: usize, seed: u8 },
    /// User space writes to a slot of its status array.
    Poke { file: usize, slot: usize, value: u8 },
    /// Waits for everything that is in flight. Resolved to the next two.
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
