// SPDX-License-Identifier: GPL-2.0-only
//! Queues of tasks that wait for something.

use crate::glue::ffi;
use kernel::bindings;
use kernel::prelude::*;
use kernel::types::Opaque;

/// What a poll returns if there is something to read: `EPOLLIN`, asserted in C.
pub(crate) const READABLE: c_uint = 1;
/// What a poll returns if there is nothing to wait for: `EPOLLERR`, asserted in C.
pub(crate) const FAULTY: c_uint = 8;

/// Tasks that sleep until a condition holds, or poll.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<ffi::WaitQueueHead>,
}

// SAFETY: The kernel's wait queues synchronise themselves, and belong to no task.
unsafe impl Send for WaitQueue {}
// SAFETY: As for `Send`.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// A queue that nobody waits in.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is memory for the structure, which stays in place.
            head <- Opaque::ffi_init(|slot| unsafe { ffi::knem_shim_wait_init(slot) }),
        })
    }

    /// Wakes everybody; they look at their conditions again.
    pub(crate) fn wake(&self) {
        // SAFETY: Initialised, and kept by the reference.
        unsafe { ffi::knem_shim_wake(self.head.get()) }
    }

    /// Sleeps until `ready` is true. `ready` must not sleep.
    ///
    /// # Errors
    /// EINTR if a signal comes first. It is for the caller to handle: the call is not restarted.
    pub(crate) fn wait(&self, mut ready: impl FnMut() -> bool) -> Result {
        // SAFETY: The function and its data belong together, and are used only until the call returns.
        let result = unsafe { ffi::knem_shim_wait(self.head.get(), Some(call(&ready)), (&raw mut ready).cast()) };
        if result == 0 {
            Ok(())
        } else {
            Err(EINTR)
        }
    }

    /// For a worker thread: sleeps until `ready` is true, a signal comes, or as many milliseconds have passed, unless that is 0. It may be
    /// frozen meanwhile. `ready` must not sleep.
    pub(crate) fn wait_in_thread(&self, mut ready: impl FnMut() -> bool, milliseconds: u32) {
        let (function, data) = (call(&ready), (&raw mut ready).cast());
        // SAFETY: As in `wait`.
        unsafe { ffi::knem_shim_wait_in_thread(self.head.get(), Some(function), data, milliseconds) }
    }

    /// Sleeps without regard to signals until `ready` is true, or as many milliseconds have passed, unless that is 0. `ready` must not sleep.
    pub(crate) fn wait_quietly(&self, mut ready: impl FnMut() -> bool, milliseconds: u32) {
        let (function, data) = (call(&ready), (&raw mut ready).cast());
        // SAFETY: As in `wait`.
        unsafe { ffi::knem_shim_wait_quietly(self.head.get(), Some(function), data, milliseconds) }
    }

    /// Has whoever polls the file woken by [`WaitQueue::wake`].
    ///
    /// # Safety
    /// `file` and `table` are arguments of a `poll` that is being carried out, and the queue lives as long as the file.
    pub(crate) unsafe fn poll(&self, file: *mut bindings::file, table: *mut bindings::poll_table) {
        // SAFETY: The caller's promise.
        unsafe { ffi::knem_shim_poll(file, self.head.get(), table) }
    }
}

/// The function that calls a closure of this type for C.
fn call<F: FnMut() -> bool>(_: &F) -> unsafe extern "C" fn(*mut c_void) -> bool {
    unsafe extern "C" fn ready<F: FnMut() -> bool>(data: *mut c_void) -> bool {
        // SAFETY: C hands back the pointer that `wait` gave, and nobody else uses the closure meanwhile.
        unsafe { (*data.cast::<F>())() }
    }
    ready::<F>
}
