// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/knem`: the file operations. `knem_device.c` registers the device and calls them.
//!
//! A file that was opened for writing has a context, in its private data; any other gives the statistics to read.

use crate::glue::context::Context;
use crate::glue::stats::Reader;
use crate::glue::user::Argument;
use crate::glue::wait::{FAULTY, READABLE};
use crate::glue::{ffi, ioctl, stats};
use crate::logic::access;
use crate::logic::profile::Call;
use crate::logic::refusal::Refusal;
use crate::uapi;
use core::ptr::null_mut;
use kernel::bindings;
use kernel::error::{from_result, to_result};
use kernel::mm::virt::{flags, VmaNew};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use kernel::types::ForeignOwnable;
use kernel::uaccess::{UserPtr, UserSlice};

// C registers the device under this name.
const _: () = assert!(matches!(uapi::DEVICE_NAME.as_bytes(), b"knem"));

/// The registered device, until this is dropped.
pub(crate) struct Registration(());

impl Registration {
    /// Registers the device. Its node belongs to root alone until udev's rule has acted.
    ///
    /// # Errors
    /// EBUSY if there is no free minor number; ENOMEM, or EEXIST if another driver has the name.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load, when everything that the file operations use is initialised.
        to_result(unsafe { ffi::knem_device_register() })?;
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: The device is registered, or this would not exist.
        unsafe { ffi::knem_device_deregister() };
    }
}

/// The context of a file, if it has one.
///
/// # Safety
/// `private` is the private data of a file of this device between `open` and `release`, and the result is not used after that.
unsafe fn context<'a>(private: *mut c_void) -> Option<ArcBorrow<'a, Context>> {
    if private.is_null() {
        return None;
    }
    // SAFETY: `knem_open` stored the pointer with `into_foreign`, and `knem_release`, which takes it back, has not run.
    Some(unsafe { Arc::<Context>::borrow(private) })
}

/// As [`context`], for what only works with one.
///
/// # Errors
/// EBADF.
///
/// # Safety
/// As [`context`].
unsafe fn need_context<'a>(private: *mut c_void) -> Result<ArcBorrow<'a, Context>> {
    // SAFETY: The caller's promise.
    Ok(unsafe { context(private) }.ok_or(Refusal::NoContext)?)
}

/// Opens a file: stores its context in `*private`, or null if it is not writable.
#[no_mangle]
unsafe extern "C" fn knem_open(writable: bool, private: *mut *mut c_void) -> c_int {
    from_result(|| {
        let context = if writable {
            Context::new().inspect_err(|error| stats::refused(Call::Open, *error))?.into_foreign()
        } else {
            null_mut()
        };
        // SAFETY: C passes the private data of the file that is being opened, which nothing else accesses yet.
        unsafe { *private = context };
        Ok(0)
    })
}

/// The last reference to the file is gone.
#[no_mangle]
unsafe extern "C" fn knem_release(private: *mut c_void) {
    if !private.is_null() {
        // SAFETY: `knem_open` stored the pointer with `into_foreign`; the kernel calls this once, when no other file
        // operation runs or will run, so that nothing borrows the context.
        let context = unsafe { Arc::<Context>::from_foreign(private) };
        context.close();
    }
}

#[no_mangle]
unsafe extern "C" fn knem_ioctl(private: *mut c_void, command: c_uint, argument: c_ulong) -> c_long {
    // SAFETY: The kernel keeps the file during the call.
    let context = match unsafe { need_context(private) } {
        Ok(context) => context,
        Err(error) => {
            stats::refused(Call::Command(command), error);
            return error.to_errno() as c_long;
        }
    };
    match ioctl::dispatch(context, command, Argument::new(argument)) {
        Ok(()) => 0,
        // The kernel repeats the call after a signal: it was not refused.
        Err(error) if error == ERESTARTNOINTR => error.to_errno() as c_long,
        Err(error) => {
            stats::refused(Call::Command(command), error);
            ffi::knem_shim_refused(command, error.to_errno());
            error.to_errno() as c_long
        }
    }
}

/// Reads events of a context, or the statistics.
#[no_mangle]
unsafe extern "C" fn knem_read(
    private: *mut c_void,
    file: *mut bindings::file,
    buffer: *mut c_void,
    length: usize,
    position: *mut i64,
) -> isize {
    from_result(|| {
        let buffer = UserPtr::from_ptr(buffer);
        // SAFETY: The kernel keeps the file during the call.
        if let Some(context) = unsafe { context(private) } {
            // Without a status array no request can ask for an event.
            if context.offload().is_none() {
                return Err(Refusal::WrongState.into());
            }
            // Read whenever there is no event, so that a change takes effect at once.
            // SAFETY: As above.
            let patient = || unsafe { !ffi::knem_shim_nonblocking(file) };
            return context.events().read(buffer, length, patient).map(|read| read as isize);
        }
        // SAFETY: The kernel passes a position that only this call uses.
        let position = unsafe { &mut *position };
        // SAFETY: The kernel keeps the file during the call.
        let text = stats::text(unsafe { Reader::of(file) })?;
        let read = UserSlice::new(buffer, length).writer().write_slice_file(&text, position)?;
        // No more than the text, which is short.
        Ok(read as isize)
    })
}

/// Clears the statistics.
#[no_mangle]
unsafe extern "C" fn knem_write(private: *mut c_void, file: *const bindings::file, length: usize) -> isize {
    from_result(|| {
        // SAFETY: The kernel keeps the file during the call.
        let in_use = unsafe { context(private) }.is_some_and(|context| context.used());
        // SAFETY: As above.
        let privileged = unsafe { ffi::knem_shim_file_admin(file) };
        access::may_clear(privileged, in_use)
            .map_err(Error::from)
            .inspect_err(|error| stats::refused(Call::Clear, *error))?;
        stats::clear();
        // The kernel bounds the length of a write to what fits.
        Ok(length as isize)
    })
}

#[no_mangle]
unsafe extern "C" fn knem_poll(
    private: *mut c_void,
    file: *mut bindings::file,
    table: *mut bindings::poll_table,
) -> c_uint {
    // SAFETY: The kernel keeps the file during the call.
    match unsafe { context(private) } {
        // There is always something to read in the statistics.
        None => READABLE,
        Some(context) => {
            // Registered in any case: a mapping of the status array, and every event after it, wakes those who poll.
            // SAFETY: These are the arguments of a `poll`, and the file keeps its context and that the queue.
            let ready = unsafe { context.events().poll(file, table) };
            // Without a status array no request can ask for an event.
            context.offload().map_or(FAULTY, |_| ready)
        }
    }
}

/// Most slots that the interface knows: as many as there are indices.
const ALL_SLOTS: u64 = 1 << 32;

#[no_mangle]
unsafe extern "C" fn knem_mmap(private: *mut c_void, vma: *mut bindings::vm_area_struct, first_page: c_ulong) -> c_int {
    from_result(|| {
        // SAFETY: The kernel keeps the file during the call, and its promises to an mmap are those of `map`.
        unsafe { need_context(private).and_then(|context| map(&context, vma, first_page)) }
            .inspect_err(|error| stats::refused(Call::Map, *error))
            .map(|()| 0)
    })
}

/// Maps the status array.
///
/// # Errors
/// EINVAL; as [`Context::map`].
///
/// # Safety
/// The arguments are those of an mmap of this device.
unsafe fn map(context: &ArcBorrow<'_, Context>, vma: *mut bindings::vm_area_struct, first_page: c_ulong) -> Result {
    // SAFETY: The kernel passes a mapping that is being set up, and holds its lock for writing during the call.
    let area = unsafe { VmaNew::from_raw(vma) };
    let slots = area.end().saturating_sub(area.start()) as u64;
    let at_start = (first_page as u64).checked_mul(PAGE_SIZE as u64) == Some(uapi::STATUS_ARRAY_FILE_OFFSET);
    // A private mapping would part from the array with the first byte that user space writes to a page.
    if !at_start || slots > ALL_SLOTS || area.flags() & flags::SHARED == 0 {
        return Err(Refusal::WrongState.into());
    }
    area.try_clear_mayexec()?;
    area.set_dontexpand();
    area.set_dontdump();
    context.map(area)
}
