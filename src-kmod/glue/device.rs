// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/knem`: the file operations. `operations` has the functions that C calls.
//!
//! A file that was opened for writing has a context in its private data. Any other file reads the statistics.

use crate::glue::context::Context;
use crate::glue::stats::Reader;
use crate::glue::user::Argument;
use crate::glue::wait::{FAULTY, READABLE};
use crate::glue::{counters, ffi, ioctl, params, registry, stats, task};
use crate::logic::access;
use crate::logic::refusal::Refusal;
use crate::logic::statistics::Call;
use crate::uapi;
use kernel::mm::virt::{flags, VmaNew};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::{UserPtr, UserSlice};

/// Opens a file for writing.
///
/// # Errors
/// EPERM outside of the machine's own namespaces with `strict_ns=2`; as [`registry::open`].
pub(crate) fn open() -> Result<Arc<Context>> {
    admit().and_then(|()| registry::open()).inspect_err(|error| counters::refused(Call::Open, *error))
}

/// Refuses at open what `strict_ns` would refuse at the first copy, so that MPI libraries choose another transport in
/// time.
fn admit() -> Result {
    if params::initial_ns() && !task::in_initial_namespaces() {
        return Err(Refusal::NotPrivileged.into());
    }
    Ok(())
}

/// Closes a file with a context. The context is removed from the registry first.
pub(crate) fn close(context: &Context) {
    registry::close(context);
    context.close();
}

/// Returns the context for an operation that requires one.
///
/// # Errors
/// EBADF.
fn need(context: Option<&Context>) -> Result<&Context> {
    Ok(context.ok_or(Refusal::NoContext)?)
}

/// Executes a command.
///
/// # Errors
/// EBADF without a context; as [`ioctl::dispatch`].
pub(crate) fn ioctl(context: Option<&Context>, command: u32, argument: usize) -> Result {
    let context = need(context).inspect_err(|error| counters::refused(Call::Command(command), *error))?;
    ioctl::dispatch(context, command, Argument::new(argument)).inspect_err(|error| {
        // The kernel restarts the call after a signal: it was not refused.
        if *error != ERESTARTNOINTR {
            counters::refused(Call::Command(command), *error);
            ffi::knem_shim_refused(command, error.to_errno());
        }
    })
}

/// Reads events. `patient` returns whether to wait for an event. It is called each time there is none, so that a change
/// of the file's flags takes effect at once.
///
/// # Errors
/// EINVAL without a status array; as [`Events::read`](crate::glue::events::Events::read).
pub(crate) fn read_events(
    context: &Context,
    buffer: UserPtr,
    length: usize,
    patient: impl Fn() -> bool,
) -> Result<usize> {
    // Without a status array no request can ask for an event.
    if context.offload().is_none() {
        return Err(Refusal::WrongState.into());
    }
    context.events().read(buffer, length, patient)
}

/// Reads the statistics from a position on.
///
/// # Errors
/// ENOMEM, EFAULT.
pub(crate) fn read_statistics(reader: Reader, buffer: UserPtr, length: usize, position: &mut i64) -> Result<usize> {
    let text = stats::text(reader)?;
    UserSlice::new(buffer, length).writer().write_slice_file(&text, position)
}

/// Clears the statistics, through a file of a `privileged` opener or not.
///
/// # Errors
/// As [`access::may_clear`].
pub(crate) fn clear(context: Option<&Context>, privileged: bool) -> Result {
    access::may_clear(privileged, context.is_some_and(Context::used))
        .map_err(Error::from)
        .inspect_err(|error| counters::refused(Call::Clear, *error))?;
    counters::clear();
    Ok(())
}

/// Returns the poll events that are ready.
pub(crate) fn poll(context: Option<&Context>) -> c_uint {
    match context {
        // The statistics can always be read.
        None => READABLE,
        // Without a status array no request can ask for an event.
        Some(context) => context.offload().map_or(FAULTY, |_| context.events().ready()),
    }
}

/// Most slots in the interface: the number of indices.
const ALL_SLOTS: u64 = 1 << 32;

/// Maps the status array into `area`, a new mapping of the file from its page `first_page` on.
///
/// # Errors
/// EBADF without a context; EINVAL; as [`Context::map`].
pub(crate) fn map(context: Option<&Context>, area: &VmaNew, first_page: u64) -> Result {
    need(context)
        .and_then(|context| map_array(context, area, first_page))
        .inspect_err(|error| counters::refused(Call::Map, *error))
}

fn map_array(context: &Context, area: &VmaNew, first_page: u64) -> Result {
    let slots = area.end().saturating_sub(area.start()) as u64;
    let at_start = first_page.checked_mul(PAGE_SIZE as u64) == Some(uapi::STATUS_ARRAY_FILE_OFFSET);
    // A private mapping would diverge from the array at the first byte that user space writes to a page.
    if !at_start || slots > ALL_SLOTS || area.flags() & flags::SHARED == 0 {
        return Err(Refusal::WrongState.into());
    }
    area.try_clear_mayexec()?;
    area.set_dontexpand();
    area.set_dontdump();
    context.map(area)
}
