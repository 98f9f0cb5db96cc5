// SPDX-License-Identifier: GPL-2.0-only
//! The commands, one function each. Arguments are read once; outputs are written back on success only.

use crate::glue::context::Context;
use crate::glue::copy::{self, Direction, Place};
use crate::glue::pin::{Lifetime, Pinned};
use crate::glue::region::{Claimed, Region};
use crate::glue::segments::{Failure, Segments};
use crate::glue::user::Argument;
use crate::glue::{params, stats, table};
use crate::logic::access::{Rule, Want};
use crate::logic::counter::Counter;
use crate::logic::flags;
use crate::logic::refusal::Refusal;
use crate::uapi::{self, Cookie};
use kernel::prelude::*;
use kernel::sync::ArcBorrow;

/// What the bounded commands without a bound use.
const UNBOUNDED: u64 = u64::MAX;

/// Carries out command `command` with the argument at `argument`.
///
/// # Errors
/// ENOSYS for an unknown command; others as each command.
pub(crate) fn dispatch(context: ArcBorrow<'_, Context>, command: u32, argument: Argument) -> Result {
    match command {
        uapi::CMD_GET_INFO => get_info(&context, argument),
        uapi::CMD_CREATE_REGION => create_region(context, argument),
        uapi::CMD_DESTROY_REGION => context.destroy(argument.read()?),
        uapi::CMD_COPY => {
            let mut command: uapi::CmdCopy = argument.read()?;
            command.current_status = RegionCopy::from(command).submit(&context)?.into();
            argument.write(command)
        }
        uapi::CMD_COPY_BOUNDED => {
            let mut command: uapi::CmdCopyBounded = argument.read()?;
            command.current_status = RegionCopy::from(command).submit(&context)?.into();
            argument.write(command)
        }
        uapi::CMD_INLINE_COPY => {
            let mut command: uapi::CmdInlineCopy = argument.read()?;
            command.current_status = InlineCopy::from(command).submit(&context)?.into();
            argument.write(command)
        }
        uapi::CMD_INLINE_COPY_BOUNDED => {
            let mut command: uapi::CmdInlineCopyBounded = argument.read()?;
            command.current_status = InlineCopy::from(command).submit(&context)?.into();
            argument.write(command)
        }
        _ => Err(Refusal::UnknownCommand.into()),
    }
}

/// GET_INFO. EFAULT.
fn get_info(context: &Context, argument: Argument) -> Result {
    let flags::Masks { forced, ignored } = context.masks();
    argument.write(uapi::CmdInfo { abi: uapi::ABI_VERSION, features: 0, ignored_flags: ignored, forced_flags: forced })
}

/// CREATE_REGION. EFAULT, EINVAL, ENOMEM, EBUSY; what else pinning gives.
fn create_region(context: ArcBorrow<'_, Context>, argument: Argument) -> Result {
    let mut command: uapi::CmdCreateRegion = argument.read()?;
    context.mark_used();
    let flags = context.masks().create(command.flags);
    let segments = Segments::read(command.iovec_array, command.iovec_nr)?;
    let writable = command.protection & uapi::PROT_WRITE != 0;
    let memory = Pinned::new(&segments, writable, Lifetime::Region)?;
    let rule = Rule { owner: context.uid(), any_user: flags.any_user, protection: command.protection };
    let region = KBox::new(Region::new(context.into(), rule, flags.single_use, memory), GFP_KERNEL_ACCOUNT)?;
    command.cookie = context.publish(region)?;
    argument.write(command).inspect_err(|_| {
        // The caller will never know the cookie. Somebody else may have guessed and destroyed it: no matter.
        let _ = context.destroy(command.cookie);
    })
}

/// COPY and COPY_BOUNDED.
struct RegionCopy {
    source: (Cookie, u64),
    destination: (Cookie, u64),
    bound: u64,
    flags: u32,
    index: u32,
}

impl From<uapi::CmdCopy> for RegionCopy {
    fn from(command: uapi::CmdCopy) -> Self {
        Self {
            source: (command.src_cookie, command.src_offset),
            destination: (command.dst_cookie, command.dst_offset),
            bound: UNBOUNDED,
            flags: command.flags,
            index: command.async_status_index,
        }
    }
}

impl From<uapi::CmdCopyBounded> for RegionCopy {
    fn from(command: uapi::CmdCopyBounded) -> Self {
        Self {
            source: (command.src_cookie, command.src_offset),
            destination: (command.dst_cookie, command.dst_offset),
            bound: command.length,
            flags: command.flags,
            index: command.async_status_index,
        }
    }
}

impl RegionCopy {
    /// Does the copy and returns its status.
    fn submit(self, context: &Context) -> Result<u8> {
        submit(context, self.flags, self.index)?;
        let mut source = find(self.source.0, Want::Read)?;
        let mut destination = find(self.destination.0, Want::Write)?;
        stats::count(Counter::Processed);
        source.accept();
        destination.accept();
        Ok(copy::pinned(
            Place { memory: source.region().memory(), offset: self.source.1 },
            Place { memory: destination.region().memory(), offset: self.destination.1 },
            self.bound,
        ))
    }
}

/// INLINE_COPY and INLINE_COPY_BOUNDED.
struct InlineCopy {
    local: (u64, u32),
    direction: Direction,
    remote: (Cookie, u64),
    bound: u64,
    flags: u32,
    index: u32,
}

/// 0 reads from the region, anything else writes to it.
fn direction(write: u32) -> Direction {
    if write == 0 {
        Direction::Read
    } else {
        Direction::Write
    }
}

impl From<uapi::CmdInlineCopy> for InlineCopy {
    fn from(command: uapi::CmdInlineCopy) -> Self {
        Self {
            local: (command.local_iovec_array, command.local_iovec_nr),
            direction: direction(command.write),
            remote: (command.remote_cookie, command.remote_offset),
            bound: UNBOUNDED,
            flags: command.flags,
            index: command.async_status_index,
        }
    }
}

impl From<uapi::CmdInlineCopyBounded> for InlineCopy {
    fn from(command: uapi::CmdInlineCopyBounded) -> Self {
        Self {
            local: (command.local_iovec_array, command.local_iovec_nr),
            direction: direction(command.write),
            remote: (command.remote_cookie, command.remote_offset),
            bound: command.length,
            flags: command.flags,
            index: command.async_status_index,
        }
    }
}

impl InlineCopy {
    /// Does the copy and returns its status.
    fn submit(self, context: &Context) -> Result<u8> {
        let flags = submit(context, self.flags, self.index)?;
        let local = Segments::read(self.local.0, self.local.1).inspect_err(|failure| {
            stats::count(match failure {
                Failure::NoMemory(_) => Counter::RejectedMemory,
                Failure::Argument(_) => Counter::RejectedArgument,
            });
        })?;
        let write = self.direction == Direction::Write;
        let mut remote = find(self.remote.0, if write { Want::Write } else { Want::Read })?;
        stats::count(Counter::Processed);
        let pinned = if flags.pins(write, params::pin_reads()) {
            let pinned = Pinned::new(&local, !write, Lifetime::Request);
            Some(pinned.inspect_err(|_| stats::count(Counter::RejectedPin))?)
        } else {
            None
        };
        remote.accept();
        let region = Place { memory: remote.region().memory(), offset: self.remote.1 };
        let Some(pinned) = pinned else {
            return Ok(copy::mapped(region, &local, self.direction, self.bound));
        };
        stats::count(Counter::ProcessedPinned);
        let local = Place { memory: &pinned, offset: 0 };
        Ok(match self.direction {
            Direction::Read => copy::pinned(region, local, self.bound),
            Direction::Write => copy::pinned(local, region, self.bound),
        })
    }
}

/// The first checks of every copy; from their end on, the request counts.
///
/// # Errors
/// EINVAL for flags that contradict each other or the state of the file, or that ask for a DMA engine: there is none.
fn submit(context: &Context, flags: u32, index: u32) -> Result<flags::Copy> {
    // No status array can be mapped, so that no asynchronous request is possible.
    let flags = context.masks().copy(flags, None, index)?;
    context.mark_used();
    stats::count(Counter::Submitted);
    let flags = flags.without_dma().inspect_err(|_| stats::count(Counter::RejectedFlags))?;
    Ok(flags)
}

/// The region with this cookie, claimed for this request.
///
/// # Errors
/// EINVAL, EPERM, EACCES.
fn find(cookie: Cookie, want: Want) -> Result<Claimed> {
    table::get(cookie)
        .and_then(|region| Claimed::new(region, want))
        .inspect_err(|_| stats::count(Counter::RejectedCookie))
}
