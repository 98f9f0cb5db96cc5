// SPDX-License-Identifier: GPL-2.0-only
//! The ioctl commands, one function each. Arguments are read once; outputs are written on success only.

use crate::glue::affinity::CpuSet;
use crate::glue::context::Context;
use crate::glue::copy::Direction;
use crate::glue::request::Request;
use crate::glue::segments::Segments;
use crate::glue::user::Argument;
use crate::glue::{counters, dma, params, task};
use crate::logic::access::Rule;
use crate::logic::counter::Counter;
use crate::logic::flags::{self, Masks};
use crate::logic::refusal::Refusal;
use crate::uapi::{self, Cookie};
use core::mem::{offset_of, MaybeUninit};
use kernel::prelude::*;

/// The bound of the commands that have none.
const UNBOUNDED: u64 = u64::MAX;

/// Executes `command` with the structure at `argument`.
///
/// # Errors
/// ENOSYS for an unknown command; the errors of each command.
pub(crate) fn dispatch(context: &Context, command: u32, argument: Argument) -> Result {
    match command {
        uapi::CMD_GET_INFO => get_info(context, argument),
        uapi::CMD_BIND_OFFLOAD => bind_offload(context, argument),
        uapi::CMD_CREATE_REGION => create_region(context, argument),
        uapi::CMD_DESTROY_REGION => context.regions().destroy(argument.read()?),
        uapi::CMD_COPY => {
            let mut buffer = MaybeUninit::<uapi::CmdCopy>::uninit();
            let command = argument.read_to(&mut buffer)?;
            let status = copy(context, &unbounded(command))?;
            argument.write_status(offset_of!(uapi::CmdCopy, current_status), status)
        }
        uapi::CMD_COPY_BOUNDED => {
            let mut buffer = MaybeUninit::<uapi::CmdCopyBounded>::uninit();
            let command = argument.read_to(&mut buffer)?;
            let status = copy(context, command)?;
            argument.write_status(offset_of!(uapi::CmdCopyBounded, current_status), status)
        }
        uapi::CMD_INLINE_COPY => {
            let mut buffer = MaybeUninit::<uapi::CmdInlineCopy>::uninit();
            let command = argument.read_to(&mut buffer)?;
            let status = inline_copy(context, &unbounded_inline(command))?;
            argument.write_status(offset_of!(uapi::CmdInlineCopy, current_status), status)
        }
        uapi::CMD_INLINE_COPY_BOUNDED => {
            let mut buffer = MaybeUninit::<uapi::CmdInlineCopyBounded>::uninit();
            let command = argument.read_to(&mut buffer)?;
            let status = inline_copy(context, command)?;
            argument.write_status(offset_of!(uapi::CmdInlineCopyBounded, current_status), status)
        }
        uapi::CMD_INIT_SEND => init_send(context, argument),
        uapi::CMD_INIT_ASYNC_RECV => init_async_recv(context, argument),
        uapi::CMD_SYNC_RECV => sync_recv(context, argument),
        _ => Err(Refusal::UnknownCommand.into()),
    }
}

/// Returns the flags of a command. Unknown ones are ignored later, and counted here.
fn known(flags: u32) -> u32 {
    if flags::has_unknown(flags) {
        counters::count(Counter::UnknownFlags);
    }
    flags
}

/// GET_INFO. Errors: EFAULT.
fn get_info(context: &Context, argument: Argument) -> Result {
    let Masks { forced, ignored } = context.masks();
    let features = if dma::available() { uapi::FEATURE_DMA } else { 0 };
    argument.write(uapi::CmdInfo { abi: uapi::ABI_VERSION, features, ignored_flags: ignored, forced_flags: forced })
}

/// BIND_OFFLOAD. Errors: EFAULT, EBUSY, EINVAL, ENOMEM.
fn bind_offload(context: &Context, argument: Argument) -> Result {
    let command = argument.read()?;
    context.bind(|| CpuSet::asked_for(&command))
}

/// CREATE_REGION. Errors: those of [`create`], and EFAULT.
fn create_region(context: &Context, argument: Argument) -> Result {
    let command: uapi::CmdCreateRegion = argument.read()?;
    let flags = context.masks().create(known(command.flags));
    let cookie = create(context, (command.iovec_array, command.iovec_nr), command.protection, flags)?;
    argument.write_cookie(offset_of!(uapi::CmdCreateRegion, cookie), cookie).inspect_err(|_| forget(context, cookie))
}

/// INIT_SEND (old): creates a single-use region for reading. Errors: as CREATE_REGION.
fn init_send(context: &Context, argument: Argument) -> Result {
    let command: uapi::CmdInitSend = argument.read()?;
    // The command implies single use, even if the flag is ignored.
    let flags = flags::Create { single_use: true, ..context.masks().create(known(command.flags)) };
    let cookie = create(context, (command.send_iovec_array, command.send_iovec_nr), uapi::PROT_READ, flags)?;
    argument.write_cookie(offset_of!(uapi::CmdInitSend, send_cookie), cookie).inspect_err(|_| forget(context, cookie))
}

/// Creates a region of the caller's segments, given as the address and length of an array.
///
/// # Errors
/// EPERM for a process that is not dumpable, with `strict_dumpable`; EFAULT, EINVAL, ENOMEM, EBUSY; others as the
/// kernel's `pin_user_pages_fast()`.
fn create(context: &Context, segments: (u64, u32), protection: u32, flags: flags::Create) -> Result<Cookie> {
    context.mark_used();
    if params::strict_dumpable() && !flags.any_user && !task::dumpable() {
        return Err(Refusal::OtherUser.into());
    }
    let mut list = Segments::none();
    list.fill(segments.0, segments.1)?;
    let (owner, creator) = (context.owner(), task::identity());
    let rule = Rule { owner, creator, any_user: flags.any_user, protection };
    context.regions().publish(rule, flags.single_use, context.account(), &mut list)
}

/// Withdraws a region whose cookie could not be returned to the caller.
fn forget(context: &Context, cookie: Cookie) {
    // Another process may have guessed the cookie and destroyed the region, which does no harm.
    let _ = context.regions().destroy(cookie);
}

/// Returns a COPY as a COPY_BOUNDED.
fn unbounded(command: &uapi::CmdCopy) -> uapi::CmdCopyBounded {
    uapi::CmdCopyBounded {
        src_cookie: command.src_cookie,
        src_offset: command.src_offset,
        dst_cookie: command.dst_cookie,
        dst_offset: command.dst_offset,
        length: UNBOUNDED,
        flags: command.flags,
        current_status: command.current_status,
        async_status_index: command.async_status_index,
        pad: command.pad,
    }
}

/// Returns an INLINE_COPY as an INLINE_COPY_BOUNDED.
fn unbounded_inline(command: &uapi::CmdInlineCopy) -> uapi::CmdInlineCopyBounded {
    uapi::CmdInlineCopyBounded {
        local_iovec_array: command.local_iovec_array,
        local_iovec_nr: command.local_iovec_nr,
        write: command.write,
        remote_cookie: command.remote_cookie,
        remote_offset: command.remote_offset,
        length: UNBOUNDED,
        flags: command.flags,
        current_status: command.current_status,
        async_status_index: command.async_status_index,
        pad: command.pad,
    }
}

/// Returns the number of slots, if the status array is mapped.
fn slots(context: &Context) -> Option<u64> {
    context.offload().map(|offload| offload.slots().slots())
}

/// COPY and COPY_BOUNDED. Returns the status.
fn copy(context: &Context, command: &uapi::CmdCopyBounded) -> Result<u8> {
    let flags = context.masks().copy(known(command.flags), || slots(context), command.async_status_index)?;
    let slot = flags.asynchronous().then_some(command.async_status_index);
    let (source, destination) = ((command.src_cookie, command.src_offset), (command.dst_cookie, command.dst_offset));
    let mut request = Request::new(context, flags);
    request.start(slot)?;
    request.copy(source, destination, command.length)
}

/// INLINE_COPY and INLINE_COPY_BOUNDED. Returns the status.
fn inline_copy(context: &Context, command: &uapi::CmdInlineCopyBounded) -> Result<u8> {
    let flags = context.masks().copy(known(command.flags), || slots(context), command.async_status_index)?;
    let slot = flags.asynchronous().then_some(command.async_status_index);
    // 0 reads from the region, anything else writes to it.
    let direction = if command.write == 0 { Direction::Read } else { Direction::Write };
    let local = (command.local_iovec_array, command.local_iovec_nr);
    let remote = (command.remote_cookie, command.remote_offset);
    let mut request = Request::new(context, flags);
    request.start(slot)?;
    request.inline(local, direction, remote, command.length)
}

/// INIT_ASYNC_RECV (old): reads a region; only the slot gets the result.
fn init_async_recv(context: &Context, argument: Argument) -> Result {
    let command: uapi::CmdInitAsyncRecv = argument.read()?;
    let flags = context.masks().async_recv(known(command.flags), slots(context), command.status_index)?;
    let local = (command.recv_iovec_array, command.recv_iovec_nr);
    let mut request = Request::new(context, flags);
    request.start(Some(command.status_index))?;
    request.inline(local, Direction::Read, (command.send_cookie, 0), UNBOUNDED).map(|_| ())
}

/// SYNC_RECV (old): reads a region.
fn sync_recv(context: &Context, argument: Argument) -> Result {
    let command: uapi::CmdSyncRecv = argument.read()?;
    let flags = context.masks().sync_recv(known(command.flags))?;
    let local = (command.recv_iovec_array, command.recv_iovec_nr);
    let mut request = Request::new(context, flags);
    request.start(None)?;
    let status = request.inline(local, Direction::Read, (command.send_cookie, 0), UNBOUNDED)?;
    argument.write_status(offset_of!(uapi::CmdSyncRecv, status), status)
}
