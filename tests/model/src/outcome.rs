// SPDX-License-Identifier: CECILL-B
//! Outcomes of commands.

use knem_core::uapi::CmdInfo;
use nix::errno::Errno;

/// The visible outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded without a result.
    Done,
    /// It was refused.
    Refused(Errno),
    /// A request was accepted; its `current_status`.
    Status(u32),
    /// The result of `GET_INFO`.
    Info(CmdInfo),
    /// The events that were read.
    Events(Vec<u32>),
    /// The statistics were read.
    Text,
    /// What `poll` reported.
    Ready(i16),
    /// Numbers of requests of a burst that were accepted, and refused with EBUSY.
    Burst(u32, u32),
    /// Something that must not happen, such as a changed input.
    Broken(String),
}

impl From<Result<(), Errno>> for Outcome {
    fn from(result: Result<(), Errno>) -> Self {
        result.map_or_else(Self::Refused, |()| Self::Done)
    }
}
