// SPDX-License-Identifier: CECILL-B
//! What comes of a command.

use knem_core::uapi::CmdInfo;
use nix::errno::Errno;

/// What can be seen of a command's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded, and there is nothing to tell.
    Done,
    /// It was refused.
    Refused(Errno),
    /// A request was accepted; its `current_status`.
    Status(u32),
    /// What `GET_INFO` told.
    Info(CmdInfo),
    /// The events that were read.
    Events(Vec<u32>),
    /// The statistics were read.
    Text,
    /// What `poll` reported.
    Ready(i16),
    /// So many requests of a burst were accepted, so many refused with EBUSY.
    Burst(u32, u32),
    /// Something that must not happen at all, such as a changed input.
    Broken(String),
}

impl From<Result<(), Errno>> for Outcome {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Done)
    }
}
