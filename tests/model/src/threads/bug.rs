// SPDX-License-Identifier: CECILL-B
//! Bugs of the miniature, to test whether the comparison finds them.

/// A bug of the miniature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An offset at the end of the first segment is treated as its last byte.
    SeamOffByOne,
    /// A bound is exceeded by a byte.
    BoundExceeded,
    /// A request that is refused consumes a single-use region nevertheless.
    RefusedConsumes,
    /// A single-use region can be used again.
    UsedTwice,
    /// Only half of a cookie is compared.
    HalfACookie,
    /// Effective user ids are not checked.
    RealUserOnly,
    /// Protection is checked before the owner.
    AccessBeforeOwner,
    /// Regions remain when their file is closed.
    RegionsOutliveFile,
    /// The thread executes the newest request first.
    NewestFirst,
    /// A request without bytes has no event.
    EmptyWithoutEvent,
    /// The event queue has one entry less than there are slots.
    SmallQueue,
    /// Events that cannot be delivered are lost.
    EventsLost,
    /// A synchronous request writes to its slot.
    WaitingTouchesSlot,
    /// A failed copy is reported as a success.
    FailureHidden,
    /// A failed attempt to pin is not counted.
    PinNotCounted,
    /// The number of slots is not rounded up to a page.
    SlotsNotRounded,
    /// The thread does not store the status of a request.
    StatusForgotten,
    /// `SYNC_RECV` accepts a notification.
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
