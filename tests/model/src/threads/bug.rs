// SPDX-License-Identifier: CECILL-B
//! What may be wrong with the miniature, to see whether the comparison finds it.

/// What may be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An offset at the end of the first segment is taken for its last byte.
    SeamOffByOne,
    /// A bound is exceeded by a byte.
    BoundExceeded,
    /// A request that is refused consumes a single-use region all the same.
    RefusedConsumes,
    /// A single-use region can be used again.
    UsedTwice,
    /// Only half of a cookie is compared.
    HalfACookie,
    /// Effective user ids are not looked at.
    RealUserOnly,
    /// Protection is looked at before the owner.
    AccessBeforeOwner,
    /// Regions stay when their file is closed.
    RegionsOutliveFile,
    /// The thread takes the newest request first.
    NewestFirst,
    /// A request of nothing has no event.
    EmptyWithoutEvent,
    /// One event less than there are slots.
    SmallQueue,
    /// Events that cannot be delivered are lost.
    EventsLost,
    /// A request that waits writes to its slot.
    WaitingTouchesSlot,
    /// A failed copy is said to have succeeded.
    FailureHidden,
    /// What was pinned in vain is not counted.
    PinNotCounted,
    /// The number of slots is not rounded up to a page.
    SlotsNotRounded,
    /// The thread forgets to say that a request is over.
    StatusForgotten,
    /// `SYNC_RECV` takes a notification.
    WaitingNotifies,
}

/// All bugs.
pub const BUGS: [Bug; 18] = [
    Bug::SeamOffByOne,
    Bug::BoundExceeded,
    Bug::RefusedConsumes,
    Bug::UsedTwice,
    Bug::HalfACookie,
    Bug::RealUserOnly,
    Bug::AccessBeforeOwner,
    Bug::RegionsOutliveFile,
    Bug::NewestFirst,
    Bug::EmptyWithoutEvent,
    Bug::SmallQueue,
    Bug::EventsLost,
    Bug::WaitingTouchesSlot,
    Bug::FailureHidden,
    Bug::PinNotCounted,
    Bug::SlotsNotRounded,
    Bug::StatusForgotten,
    Bug::WaitingNotifies,
];
