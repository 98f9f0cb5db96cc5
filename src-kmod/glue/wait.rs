// SPDX-License-Identifier: GPL-2.0-only
//! Wait queues.

use crate::glue::ffi;
use kernel::bindings;
use kernel::prelude::*;
use kernel::types::Opaque;

/// The poll event if there is something to read: `EPOLLIN`, asserted in C.
pub(crate) const READABLE: c_uint = 1;
/// The poll event if there is nothing to wait for: `EPOLLERR`, asserted in C.
pub(crate) const FAULTY: c_uint = 8;

/// A queue of tasks that sleep until a condition holds, or that poll.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<ffi::WaitQueueHead>,
}

// SAFETY: A wait queue of the kernel belongs to no task.
unsafe impl Send for WaitQueue {}
// SAFETY: The kernel's functions lock the queue.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// Creates an empty queue.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `slot` is memory for the structure, which is pinned and does not move after it is initialised.
            head <- Opaque::ffi_init(|slot| unsafe { ffi::knem_shim_wait_init(slot) }),
        })
    }

    /// Wakes all tasks, which then check their conditions again.
    pub(crate) fn wake(&self) {
        // SAFETY: `new` initialised the queue, which `self` keeps.
        unsafe { ffi::knem_shim_wake(self.head.get()) }
    }

    /// Sleeps until `ready` is true. `ready` must not sleep.
    ///
    /// # Errors
    /// EINTR if a signal arrives first. The call is not restarted: the caller has to handle it.
    pub(crate) fn wait(&self, mut ready: impl FnMut() -> bool) -> Result {
        // SAFETY: `new` initialised the queue. The function fits its data, and C uses both only until this call
        // returns.
        let result = unsafe { ffi::knem_shim_wait(self.head.get(), Some(call(&ready)), (&raw mut ready).cast()) };
        if result == 0 {
            Ok(())
        } else {
            Err(EINTR)
        }
    }

    /// For a worker thread: sleeps until `ready` is true, a signal arrives, or `milliseconds` have passed, unless that
    /// is 0. The thread may be frozen meanwhile. `ready` must not sleep.
    pub(crate) fn wait_in_thread(&self, mut ready: impl FnMut() -> bool, milliseconds: u32) {
        let (function, data) = (call(&ready), (&raw mut ready).cast());
        // SAFETY: As in `wait`, the queue is initialised, the function fits its data, and C uses both only until this
        // call returns.
        unsafe { ffi::knem_shim_wait_in_thread(self.head.get(), Some(function), data, milliseconds) }
    }

    /// Sleeps regardless of signals until `ready` is true, or `milliseconds` have passed, unless that is 0. `ready`
    /// must not sleep.
    pub(crate) fn wait_quietly(&self, mut ready: impl FnMut() -> bool, milliseconds: u32) {
        let (function, data) = (call(&ready), (&raw mut ready).cast());
        // SAFETY: As in `wait`, the queue is initialised, the function fits its data, and C uses both only until this
        // call returns.
        unsafe { ffi::knem_shim_wait_quietly(self.head.get(), Some(function), data, milliseconds) }
    }

    /// Registers a poll of the file to be woken by [`WaitQueue::wake`].
    ///
    /// # Safety
    /// `file` and `table` must be the arguments of a `poll` in progress, and the queue must exist as long as the file.
    pub(crate) unsafe fn poll(&self, file: *mut bindings::file, table: *mut bindings::poll_table) {
        // SAFETY: The caller guarantees that the arguments are those of a `poll` in progress and that the queue exists
        // as long as the file.
        unsafe { ffi::knem_shim_poll(file, self.head.get(), table) }
    }
}

/// Returns the C function that calls a closure of this type.
fn call<F: FnMut() -> bool>(_: &F) -> unsafe extern "C" fn(*mut c_void) -> bool {
    unsafe extern "C" fn ready<F: FnMut() -> bool>(data: *mut c_void) -> bool {
        // SAFETY: C passes back the pointer to the closure, which the waiting function keeps on its stack and does not
        // use meanwhile.
        unsafe { (*data.cast::<F>())() }
    }
    ready::<F>
}
