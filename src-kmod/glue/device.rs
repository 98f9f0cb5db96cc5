// SPDX-License-Identifier: GPL-2.0-only
//! `/dev/knem`: registration and file operations.
//!
//! The driver has file operations of its own: those of the `kernel` crate's `MiscDevice` have no owner on 7.2, where
//! the module could be unloaded under an open file, and no `poll`.
//!
//! A file that was opened for writing has a context, in its private data; any other gives the statistics to read.

use crate::glue::context::Context;
use crate::glue::stats::Reader;
use crate::glue::user::Argument;
use crate::glue::{ffi, ioctl, stats};
use crate::logic::access;
use crate::logic::profile::Call;
use crate::logic::refusal::Refusal;
use crate::uapi;
use core::ptr::null_mut;
use kernel::bindings;
use kernel::error::from_result;
use kernel::mm::virt::{flags, VmaNew};
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use kernel::types::{ForeignOwnable, Opaque};
use kernel::uaccess::{UserPtr, UserSlice};

/// The registered device, until this is dropped.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration {
    #[pin]
    device: Opaque<bindings::miscdevice>,
}

// SAFETY: Deregistration may happen in any task.
unsafe impl Send for Registration {}
// SAFETY: It has no methods.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers the device. Its node belongs to root alone until udev's rule has acted.
    ///
    /// # Errors
    /// EBUSY if there is no free minor number; ENOMEM, or EEXIST if another driver has the name.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            device <- Opaque::try_ffi_init(|slot: *mut bindings::miscdevice| {
                let mut device: bindings::miscdevice = pin_init::zeroed();
                device.minor = bindings::MISC_DYNAMIC_MINOR as c_int;
                device.name = NAME.as_char_ptr();
                device.fops = &OPERATIONS.0;
                device.mode = 0o600;
                // SAFETY: `slot` is memory for the structure, which stays in place until it is dropped.
                unsafe { slot.write(device) };
                // SAFETY: Just initialised.
                kernel::error::to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Registration {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by `new`, or this would not be.
        unsafe { bindings::misc_deregister(self.device.get()) };
    }
}

/// [`uapi::DEVICE_NAME`] for C.
const NAME: &CStr = c"knem";
const _: () = assert!(matches!(uapi::DEVICE_NAME.as_bytes(), b"knem"));

/// Lets a table of functions be a static.
struct Operations(bindings::file_operations);

// SAFETY: Never changed.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = Operations(bindings::file_operations {
    // The module stays loaded while a file is open.
    owner: &raw mut ffi::__this_module,
    open: Some(open),
    release: Some(release),
    read: Some(read),
    write: Some(write),
    poll: Some(poll),
    mmap: Some(mmap),
    unlocked_ioctl: Some(unlocked_ioctl),
    compat_ioctl: bindings::compat_ptr_ioctl,
    ..pin_init::zeroed()
});

/// The context of a file, if it has one.
///
/// # Safety
/// `file` is a file of this device between `open` and `release`, and the result is not used after it.
unsafe fn context<'a>(file: *mut bindings::file) -> Option<ArcBorrow<'a, Context>> {
    // SAFETY: The caller's promise; the field is written by `open` only.
    let private = unsafe { (*file).private_data };
    if private.is_null() {
        return None;
    }
    // SAFETY: `open` put it there with `into_foreign`, and `release`, which takes it, comes later.
    Some(unsafe { Arc::<Context>::borrow(private) })
}

/// As [`context`], for what only works with one.
///
/// # Errors
/// EBADF.
///
/// # Safety
/// As [`context`].
unsafe fn need_context<'a>(file: *mut bindings::file) -> Result<ArcBorrow<'a, Context>> {
    // SAFETY: The caller's promise.
    Ok(unsafe { context(file) }.ok_or(Refusal::NoContext)?)
}

unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    from_result(|| {
        // SAFETY: The kernel gives a valid file.
        let writable = unsafe { ffi::knem_shim_writable(file) };
        let private = if writable {
            Context::new().inspect_err(|error| stats::refused(Call::Open, *error))?.into_foreign()
        } else {
            null_mut()
        };
        // SAFETY: The file is being opened, so nobody else uses it.
        unsafe { (*file).private_data = private };
        Ok(0)
    })
}

unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: Written by `open`.
    let private = unsafe { (*file).private_data };
    if !private.is_null() {
        // SAFETY: From `into_foreign` in `open`. The file's last user is gone, so that nobody borrows it.
        let context = unsafe { Arc::<Context>::from_foreign(private) };
        context.close();
    }
    0
}

unsafe extern "C" fn unlocked_ioctl(file: *mut bindings::file, command: c_uint, argument: c_ulong) -> c_long {
    // SAFETY: The kernel keeps the file during the call.
    let context = match unsafe { need_context(file) } {
        Ok(context) => context,
        Err(error) => {
            stats::refused(Call::Command(command), error);
            return error.to_errno() as c_long;
        }
    };
    match ioctl::dispatch(context, command, Argument::new(argument)) {
        Ok(()) => 0,
        Err(error) => {
            stats::refused(Call::Command(command), error);
            // SAFETY: Tells who listens; looks at the calling task only.
            unsafe { ffi::knem_shim_refused(command, error.to_errno()) };
            error.to_errno() as c_long
        }
    }
}

unsafe extern "C" fn read(
    file: *mut bindings::file,
    buffer: *mut c_char,
    length: usize,
    position: *mut bindings::loff_t,
) -> isize {
    from_result(|| {
        let buffer = UserPtr::from_ptr(buffer.cast());
        // SAFETY: The kernel keeps the file during the call.
        if let Some(context) = unsafe { context(file) } {
            // Without a status array no request can ask for an event.
            let offload = context.offload().ok_or(Refusal::WrongState)?;
            // Looked at whenever there is nothing to read, so that a change takes effect at once.
            // SAFETY: As above; the flags are read as a whole.
            let patient = || unsafe { (&raw const (*file).f_flags).read_volatile() } & bindings::O_NONBLOCK == 0;
            return offload.events().read(buffer, length, patient).map(|read| read as isize);
        }
        // SAFETY: The kernel gives a position that only this call uses.
        let position = unsafe { &mut *position };
        // SAFETY: The kernel keeps the file during the call.
        let text = stats::text(unsafe { Reader::of(file) })?;
        let read = UserSlice::new(buffer, length).writer().write_slice_file(&text, position)?;
        // No more than the text, which is short.
        Ok(read as isize)
    })
}

unsafe extern "C" fn write(
    file: *mut bindings::file,
    _buffer: *const c_char,
    length: usize,
    _position: *mut bindings::loff_t,
) -> isize {
    from_result(|| {
        // SAFETY: The kernel keeps the file during the call.
        let in_use = unsafe { context(file) }.is_some_and(|context| context.used());
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

unsafe extern "C" fn poll(file: *mut bindings::file, table: *mut bindings::poll_table) -> bindings::__poll_t {
    // SAFETY: The kernel keeps the file during the call.
    match unsafe { context(file) } {
        // There is always something to read in the statistics.
        None => bindings::POLLIN,
        Some(context) => match context.offload() {
            // SAFETY: These are the arguments of a `poll`, and the file keeps its context and that the queue.
            Some(offload) => unsafe { offload.events().poll(file, table) },
            // There is no queue of events to wait for without a status array.
            None => bindings::POLLERR,
        },
    }
}

/// Most slots that the interface knows: as many as there are indices.
const ALL_SLOTS: u64 = 1 << 32;

unsafe extern "C" fn mmap(file: *mut bindings::file, area: *mut bindings::vm_area_struct) -> c_int {
    // SAFETY: The kernel's promises to an mmap are those of `map`.
    from_result(|| unsafe { map(file, area) }.inspect_err(|error| stats::refused(Call::Map, *error)).map(|()| 0))
}

/// Maps the status array.
///
/// # Errors
/// EBADF, EINVAL; as [`Context::map`].
///
/// # Safety
/// The arguments are those of an mmap of this device.
unsafe fn map(file: *mut bindings::file, area: *mut bindings::vm_area_struct) -> Result {
    // SAFETY: The kernel keeps the file during the call.
    let context = unsafe { need_context(file) }?;
    // SAFETY: The kernel gives an area that is being made, and that nobody else knows yet.
    let offset = unsafe { (*area).vm_pgoff };
    // SAFETY: As above; the kernel holds its lock for writing during the call.
    let area = unsafe { VmaNew::from_raw(area) };
    let slots = area.end().saturating_sub(area.start()) as u64;
    let at_start = (offset as u64).checked_mul(PAGE_SIZE as u64) == Some(uapi::STATUS_ARRAY_FILE_OFFSET);
    // A private mapping would part from the array with the first byte that user space writes to a page.
    if !at_start || slots > ALL_SLOTS || area.flags() & flags::SHARED == 0 {
        return Err(Refusal::WrongState.into());
    }
    area.try_clear_mayexec()?;
    area.set_dontexpand();
    area.set_dontdump();
    context.map(area)?;
    // The thread is started before user space runs again, but not here, under the lock of the address space. Without
    // memory for that, the first request for the thread starts it.
    // SAFETY: The kernel keeps the file during the call.
    unsafe { ffi::knem_shim_later(file, Some(start_thread)) };
    Ok(())
}

unsafe extern "C" fn start_thread(file: *mut bindings::file) {
    // SAFETY: The file is kept meanwhile, by whoever calls this later.
    if let Some(context) = unsafe { context(file) } {
        if context.start_thread().is_err() {
            pr_debug!("a thread could not be started; the first request for it will try again\n");
        }
    }
}
