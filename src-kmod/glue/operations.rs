// SPDX-License-Identifier: GPL-2.0-only
//! The entry points that C calls for open files: those of `/dev/knem` (`knem_device.c`) and of `/proc/driver/knem`
//! (`knem_proc.c`). Each turns C's pointers into references and calls `device` or `proc`.

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
    /// Registers the device. Its node is accessible to root alone until udev's rule has been applied.
    ///
    /// # Errors
    /// EBUSY if there is no free minor number; ENOMEM, or EEXIST if another driver has the name.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, after everything that the file operations use
        // is initialised.
        to_result(unsafe { ffi::knem_device_register() })?;
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: `new` registered the device, and this is the only function that deregisters it.
        unsafe { ffi::knem_device_deregister() };
    }
}

/// Returns the context of an open file, if it has one.
///
/// # Safety
/// `private` must be the private data of an open file of this device, between `open` and `release`, and the result must
/// not be used after that.
unsafe fn context<'a>(private: *mut c_void) -> Option<ArcBorrow<'a, Context>> {
    if private.is_null() {
        return None;
    }
    // SAFETY: `knem_open` stored the pointer with `into_foreign`, and `knem_release`, the only function that takes it
    // back, has not run yet.
    Some(unsafe { Arc::<Context>::borrow(private) })
}

/// Opens a file: stores its context in `*private`, or null if the file is not open for writing.
#[no_mangle]
unsafe extern "C" fn knem_open(writable: bool, private: *mut *mut c_void) -> c_int {
    from_result(|| {
        let context = if writable { device::open()?.into_foreign() } else { null_mut() };
        // SAFETY: C passes the private data of the file that is being opened, which nothing else accesses yet.
        unsafe { *private = context };
        Ok(0)
    })
}

/// Closes a file after its last reference is gone.
#[no_mangle]
unsafe extern "C" fn knem_release(private: *mut c_void) {
    if !private.is_null() {
        // SAFETY: `knem_open` stored the pointer with `into_foreign`. The kernel calls this function once, when no
        // other file operation runs or will run, so that nothing borrows the context.
        let context = unsafe { Arc::<Context>::from_foreign(private) };
        device::close(&context);
    }
}

#[no_mangle]
unsafe extern "C" fn knem_ioctl(private: *mut c_void, command: c_uint, argument: c_ulong) -> c_long {
    // SAFETY: The kernel holds a reference to the open file during the call, so that `release` has not run.
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
        // SAFETY: The kernel holds a reference to the open file during the call, so that `release` has not run.
        let read = match unsafe { context(private) } {
            Some(context) => {
                // SAFETY: As above, the kernel holds a reference to the open file during the call.
                device::read_events(&context, buffer, length, || unsafe { !ffi::knem_shim_nonblocking(file) })?
            }
            None => {
                // SAFETY: As above, the kernel holds a reference to the open file during the call.
                let reader = unsafe { Reader::of(file) };
                // SAFETY: The kernel passes a pointer to a position that only this call uses.
                device::read_statistics(reader, buffer, length, unsafe { &mut *position })?
            }
        };
        // The cast loses nothing: no more is read than the events or the text, whose lengths fit.
        Ok(read as isize)
    })
}

/// Clears the statistics.
#[no_mangle]
unsafe extern "C" fn knem_write(private: *mut c_void, file: *const bindings::file, length: usize) -> isize {
    from_result(|| {
        // SAFETY: The kernel holds a reference to the open file during the call, so that `release` has not run.
        let context = unsafe { context(private) };
        // SAFETY: As above, the kernel holds a reference to the open file during the call.
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
    // SAFETY: The kernel holds a reference to the open file during the call, so that `release` has not run.
    let context = unsafe { context(private) };
    if let Some(context) = context.as_deref() {
        // Registered even without a status array, since its mapping, and every event after it, wakes pollers.
        // SAFETY: C passes the arguments of a `poll` in progress. The open file keeps its context, and that keeps the
        // queue.
        unsafe { context.events().register(file, table) };
    }
    device::poll(context.as_deref())
}

#[no_mangle]
unsafe extern "C" fn knem_mmap(private: *mut c_void, vma: *mut bindings::vm_area_struct, first_page: c_ulong) -> c_int {
    from_result(|| {
        // SAFETY: The kernel holds a reference to the open file during the call, so that `release` has not run.
        let context = unsafe { context(private) };
        // SAFETY: The kernel passes a mapping that is being set up, and holds the mmap lock for writing during the
        // call.
        let area = unsafe { VmaNew::from_raw(vma) };
        device::map(context.as_deref(), area, first_page as u64)?;
        Ok(0)
    })
}

/// The files in `/proc/driver/knem`, until this is dropped.
pub(crate) struct Files(());

impl Files {
    /// Creates them. On a kernel without /proc there are none.
    pub(crate) fn new() -> Self {
        // SAFETY: `Knem::init` calls this function once, at module load, after everything that the functions print is
        // initialised.
        if unsafe { ffi::knem_proc_create(Some(statistics), Some(seek), Some(write), size_of::<Cursor>()) } != 0 {
            pr_warn!("cannot create /proc/driver/knem: detailed statistics are not available\n");
        }
        Self(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: `new` created the files, and this removes them once. It waits for readers, so that none of the
        // functions runs afterwards.
        unsafe { ffi::knem_proc_remove() };
    }
}

/// Writes the text of `statistics`.
///
/// # Safety
/// `seq` must be a file whose text the kernel is having written.
unsafe extern "C" fn statistics(seq: *mut bindings::seq_file) {
    // SAFETY: The caller guarantees that the kernel is having the text of `seq` written.
    proc::statistics(&mut unsafe { Out::new(seq) });
}

/// Moves the cursor to the row at `position`. Returns 1 if there is such a row, 0 after the last.
///
/// # Errors
/// EINTR if the caller is killed.
///
/// # Safety
/// `cursor` must be that of the open file `file`, and no other call may use it.
unsafe extern "C" fn seek(cursor: *mut c_void, file: *const bindings::file, which: c_uint, position: u64) -> c_int {
    from_result(|| {
        // SAFETY: The caller guarantees that only this call uses the cursor. C allocated it with the size of a `Cursor`
        // and with all bytes zero, which is a valid one.
        let cursor = unsafe { &mut *cursor.cast::<Cursor>() };
        // SAFETY: The file is being read, hence it is open.
        let found = cursor.seek(|| unsafe { Reader::of(file) }, which, position)?;
        Ok(c_int::from(found))
    })
}

/// Writes the row at the cursor.
///
/// # Safety
/// As [`seek`]; `seq` must be the file's, and the kernel must be having its text written.
unsafe extern "C" fn write(seq: *mut bindings::seq_file, cursor: *const c_void, which: c_uint) {
    // SAFETY: The caller guarantees that the cursor is that of the open file, and that only this call uses it.
    let cursor = unsafe { &*cursor.cast::<Cursor>() };
    // SAFETY: The caller guarantees that the kernel is having the text of `seq` written.
    cursor.show(which, &mut unsafe { Out::new(seq) });
}
