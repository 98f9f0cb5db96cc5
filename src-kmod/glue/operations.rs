// SPDX-License-Identifier: GPL-2.0-only
//! The functions that C calls for open files: those of `/dev/knem` (`knem_device.c`), and of `/proc/driver/knem` (`knem_proc.c`).
//! Each makes references of C's pointers, and calls `device` or `proc`.

use crate::glue::context::Context;
use crate::glue::proc::{self, Cursor, Out};
use crate::glue::stats::Reader;
use crate::glue::{device, ffi};
use crate::uapi;
use core::ptr::null_mut;
use kernel::bindings;
use kernel::error::{from_result, to_result};
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use kernel::types::ForeignOwnable;
use kernel::uaccess::UserPtr;

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

/// Opens a file: stores its context in `*private`, or null if it is not writable.
#[no_mangle]
unsafe extern "C" fn knem_open(writable: bool, private: *mut *mut c_void) -> c_int {
    from_result(|| {
        let context = if writable { device::open()?.into_foreign() } else { null_mut() };
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
        device::close(&context);
    }
}

#[no_mangle]
unsafe extern "C" fn knem_ioctl(private: *mut c_void, command: c_uint, argument: c_ulong) -> c_long {
    // SAFETY: The kernel keeps the file during the call.
    let context = unsafe { context(private) };
    match device::ioctl(context.as_deref(), command, argument) {
        Ok(()) => 0,
        Err(error) => error.to_errno() as c_long,
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
        let read = match unsafe { context(private) } {
            Some(context) => {
                // SAFETY: As above.
                device::read_events(&context, buffer, length, || unsafe { !ffi::knem_shim_nonblocking(file) })?
            }
            None => {
                // SAFETY: As above.
                let reader = unsafe { Reader::of(file) };
                // SAFETY: The kernel passes a position that only this call uses.
                device::read_statistics(reader, buffer, length, unsafe { &mut *position })?
            }
        };
        // No more than the events or the text, which fit.
        Ok(read as isize)
    })
}

/// Clears the statistics.
#[no_mangle]
unsafe extern "C" fn knem_write(private: *mut c_void, file: *const bindings::file, length: usize) -> isize {
    from_result(|| {
        // SAFETY: The kernel keeps the file during the call.
        let context = unsafe { context(private) };
        // SAFETY: As above.
        device::clear(context.as_deref(), unsafe { ffi::knem_shim_file_admin(file) })?;
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
    let context = unsafe { context(private) };
    if let Some(context) = context.as_deref() {
        // Registered in any case: a mapping of the status array, and every event after it, wakes those who poll.
        // SAFETY: These are the arguments of a `poll`, and the file keeps its context and that the queue.
        unsafe { context.events().register(file, table) };
    }
    device::poll(context.as_deref())
}

#[no_mangle]
unsafe extern "C" fn knem_mmap(private: *mut c_void, vma: *mut bindings::vm_area_struct, first_page: c_ulong) -> c_int {
    from_result(|| {
        // SAFETY: The kernel keeps the file during the call.
        let context = unsafe { context(private) };
        // SAFETY: The kernel passes a mapping that is being set up, and holds its lock for writing during the call.
        let area = unsafe { VmaNew::from_raw(vma) };
        device::map(context.as_deref(), area, first_page as u64)?;
        Ok(0)
    })
}

/// The files in `/proc/driver/knem`, until this is dropped.
pub(crate) struct Files(());

impl Files {
    /// Makes them. A kernel without /proc does without.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once, at load, when all that is shown is there.
        if unsafe { ffi::knem_proc_create(Some(statistics), Some(seek), Some(write), size_of::<Cursor>()) } != 0 {
            pr_warn!("cannot create /proc/driver/knem: detailed statistics are not available\n");
        }
        Self(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: Waits for readers; there are none afterwards.
        unsafe { ffi::knem_proc_remove() };
    }
}

/// Writes the text of `statistics`.
///
/// # Safety
/// `seq` is having its text written.
unsafe extern "C" fn statistics(seq: *mut bindings::seq_file) {
    // SAFETY: The caller's promise.
    proc::statistics(&mut unsafe { Out::new(seq) });
}

/// Goes to the row at `position`. Returns 1 if it is there, 0 after the last.
///
/// # Errors
/// EINTR if the caller is killed.
///
/// # Safety
/// `cursor` is that of the open file `file`, and no other call uses it.
unsafe extern "C" fn seek(cursor: *mut c_void, file: *const bindings::file, which: c_uint, position: u64) -> c_int {
    from_result(|| {
        // SAFETY: The caller's promise; C has allocated it as large as that, and a `Cursor` may be all zeros.
        let cursor = unsafe { &mut *cursor.cast::<Cursor>() };
        // SAFETY: The file is open as long as it is read.
        let found = cursor.seek(|| unsafe { Reader::of(file) }, which, position)?;
        Ok(c_int::from(found))
    })
}

/// Writes the row where the cursor is.
///
/// # Safety
/// As [`seek`]; `seq` is the file's, and is having its text written.
unsafe extern "C" fn write(seq: *mut bindings::seq_file, cursor: *const c_void, which: c_uint) {
    // SAFETY: The caller's promise.
    let cursor = unsafe { &*cursor.cast::<Cursor>() };
    // SAFETY: The caller's promise.
    cursor.show(which, &mut unsafe { Out::new(seq) });
}
