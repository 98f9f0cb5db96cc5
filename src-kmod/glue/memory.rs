// SPDX-License-Identifier: GPL-2.0-only
//! The memory of one side of a copy: pinned, or not pinned because a limit or the kind of memory forbids it.

use crate::glue::account::Account;
use crate::glue::charge::{Payer, Terms};
use crate::glue::pin::{How, Pages, Pinned, Refused, Stop};
use crate::glue::segments::Segments;
use crate::glue::window::{Walk, Window};
use crate::glue::{counters, params, task};
use crate::logic::segment::Cursor;
use crate::logic::statistics::{self, Event};
use crate::logic::steps::Piece;
use kernel::prelude::*;

/// Memory of a process, pinned or as its list of segments.
pub(crate) enum Memory {
    /// It stays pinned.
    Pinned(Pinned),
    /// It is pinned only while it is copied.
    Unpinned(KBox<Unpinned>),
}

impl Memory {
    /// Takes the memory of segments of the calling process, as [`Memory::fill`].
    ///
    /// # Errors
    /// As [`Memory::fill`].
    pub(crate) fn new(account: &Account, segments: &mut Segments, writable: bool) -> Result<Self> {
        let mut memory = Self::none(account, writable)?;
        memory.fill(account, segments)?;
        Ok(memory)
    }

    /// Creates empty memory of the calling process, for reading or also for writing, to be filled in place.
    ///
    /// # Errors
    /// EFAULT for a task without user memory.
    #[inline]
    pub(crate) fn none(account: &Account, writable: bool) -> Result<Self> {
        Pinned::none(account, writable).map(Self::Pinned)
    }

    /// Takes the memory of segments of the calling process. It is pinned unless RLIMIT_MEMLOCK, the user's ceiling, the
    /// machine's, or the kind of memory forbids that (a shared mapping of a file with writeback). Then it is only
    /// checked, and the segments are kept.
    ///
    /// # Errors
    /// EFAULT if a page cannot be read or written as required; ENOMEM; EINTR if the caller is killed; ENOMEM for a
    /// limit if the parameter `unpinned` is 0.
    pub(crate) fn fill(&mut self, account: &Account, segments: &mut Segments) -> Result {
        let Self::Pinned(pinned) = self else { return Err(EINVAL) };
        let writable = pinned.writable();
        let refused = match pinned.fill(segments) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        match refused {
            Refused::Limit(refusal) if !params::unpinned() => return Err(refusal.into()),
            Refused::Error(error) if !params::unpinned() || error != EFAULT => return Err(error),
            Refused::Limit(_) | Refused::Error(_) => {}
        }
        let segments = core::mem::replace(segments, Segments::none());
        *self = Self::Unpinned(Unpinned::new(account, segments, writable)?);
        Ok(())
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Pinned(pinned) => pinned.length(),
            Self::Unpinned(unpinned) => unpinned.segments.measure().bytes,
        }
    }

    /// Number of extents; 0 for memory that is not pinned.
    pub(crate) fn extents(&self) -> usize {
        match self {
            Self::Pinned(pinned) => pinned.extents(),
            Self::Unpinned(_) => 0,
        }
    }

    /// Whether the memory may be written.
    pub(crate) fn writable(&self) -> bool {
        match self {
            Self::Pinned(pinned) => pinned.writable(),
            Self::Unpinned(unpinned) => unpinned.writable,
        }
    }

    /// The memory, if it stays pinned.
    pub(crate) fn pinned(&self) -> Option<&Pinned> {
        match self {
            Self::Pinned(pinned) => Some(pinned),
            Self::Unpinned(_) => None,
        }
    }

    /// Returns the position `offset` in the memory, if that stays pinned.
    pub(crate) fn position(&self, offset: u64) -> Option<Position<'_>> {
        self.pinned().map(|memory| Position { memory, offset })
    }
}

/// Memory that is pinned only while it is copied.
pub(crate) struct Unpinned {
    segments: Segments,
    writable: bool,
    payer: Payer,
    terms: Terms,
}

impl Unpinned {
    /// Checks the memory of segments of the calling process, by pinning and unpinning all of it.
    ///
    /// # Errors
    /// EFAULT if a page cannot be read or written as required; ENOMEM; EINTR if the caller is killed.
    fn new(account: &Account, segments: Segments, writable: bool) -> Result<KBox<Self>> {
        let payer = Payer::calling(account)?;
        let mut buffer = Pages::new()?;
        let mut walk = Walk::new(Cursor::default(), Some(payer.clone()), Terms::calling());
        let mut left = segments.measure().bytes;
        while left != 0 {
            let window = walk.open(How::Calling, segments.as_slice(), writable, left, buffer.as_mut());
            let covered = window.map(|window| window.bytes()).map_err(Stop::or_fault)?;
            walk.advance(segments.as_slice(), covered);
            left = left.saturating_sub(covered);
            if task::killed() {
                return Err(EINTR);
            }
            task::resched();
        }
        drop(walk);
        let terms = Terms::calling().settled();
        let unpinned = KBox::new(Self { segments, writable, payer, terms }, GFP_KERNEL_ACCOUNT)?;
        counters::add(statistics::event(Event::Unpinned), 1);
        Ok(unpinned)
    }
}

/// A position in pinned memory where a copy starts.
#[derive(Clone, Copy)]
pub(crate) struct Position<'a> {
    pub(crate) memory: &'a Pinned,
    pub(crate) offset: u64,
}

impl<'a> Position<'a> {
    /// Returns the memory from the position on, as addresses of the direct map.
    pub(crate) fn pieces(self) -> impl Iterator<Item = Piece> + 'a {
        self.memory.pieces(self.offset)
    }
}

/// How far a copy has progressed in memory, with the state to progress further, which memory that stays pinned does not
/// need.
pub(crate) struct Reach {
    offset: u64,
    walk: Option<(Walk, Pages)>,
}

impl Reach {
    /// Creates the state of a copy that starts at byte `offset` of the memory.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(memory: &Memory, offset: u64) -> Result<Self> {
        let walk = match memory {
            Memory::Pinned(_) => None,
            Memory::Unpinned(unpinned) => {
                let at = Cursor::default().after(unpinned.segments.as_slice(), offset);
                let buffer = Pages::new()?;
                Some((Walk::new(at, Some(unpinned.payer.clone()), unpinned.terms), buffer))
            }
        };
        Ok(Self { offset, walk })
    }

    /// Returns the position of the copy, in memory that stays pinned.
    pub(crate) fn position<'a>(&self, memory: &'a Memory) -> Option<Position<'a>> {
        memory.position(self.offset)
    }

    /// Returns the next bytes of the memory, pinned, `bytes` bytes at most.
    ///
    /// # Errors
    /// For memory that is not pinned, and cannot be pinned now: [`Stop::Busy`] without `wait`; EFAULT if the memory or
    /// its process is gone; EINTR if the calling task is killed.
    pub(crate) fn open<'a>(&'a mut self, memory: &'a Memory, bytes: u64, wait: bool) -> Result<View<'a>, Stop> {
        match (memory, &mut self.walk) {
            (Memory::Pinned(memory), _) => Ok(View::Pinned(Position { memory, offset: self.offset }, bytes)),
            (Memory::Unpinned(memory), Some((walk, buffer))) => {
                let how = How::Of { mm: memory.payer.mm(), wait };
                let segments = memory.segments.as_slice();
                walk.open(how, segments, memory.writable, bytes, buffer.as_mut()).map(View::Window)
            }
            (Memory::Unpinned(_), None) => Err(Stop::Error(EFAULT)),
        }
    }

    /// Moves the position after `bytes` copied bytes.
    pub(crate) fn advance(&mut self, memory: &Memory, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
        if let (Memory::Unpinned(memory), Some((walk, _))) = (memory, &mut self.walk) {
            walk.advance(memory.segments.as_slice(), bytes);
        }
    }
}

/// Memory that is pinned now.
pub(crate) enum View<'a> {
    /// A number of bytes from a position on, which stay pinned.
    Pinned(Position<'a>, u64),
    /// Memory that is pinned until this is dropped.
    Window(Window<'a>),
}

impl View<'_> {
    /// Number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Pinned(_, bytes) => *bytes,
            Self::Window(window) => window.bytes(),
        }
    }

    /// The memory, as addresses of the direct map.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let (position, window) = match self {
            Self::Pinned(position, _) => (Some(position.pieces()), None),
            Self::Window(window) => (None, Some(window.pieces())),
        };
        Iterator::chain(position.into_iter().flatten(), window.into_iter().flatten())
    }

    /// Records that the first `bytes` bytes are about to be written.
    pub(crate) fn mark_written(&mut self, bytes: u64) {
        match self {
            Self::Pinned(position, _) => position.memory.mark_written(position.offset, bytes),
            Self::Window(window) => window.mark_written(),
        }
    }
}
