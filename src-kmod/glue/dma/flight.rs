// SPDX-License-Identifier: GPL-2.0-only
//! The part of a transfer that callbacks use: the count of its descriptors, and the way to wake its driver.
//!
//! Each descriptor has a reference to it, and so has a work item that is queued. The last one may be dropped in any
//! context: nothing is in here then that could not.

use crate::glue::dma::transfer::{self, Transfer};
use crate::glue::ffi;
use crate::logic::dma::{self, Driver, Word};
use core::mem::offset_of;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::{Arc, Mutex};
use kernel::types::Opaque;

/// How often a worker that waits looks whether it is to stop, in milliseconds.
const LOOK: u32 = 50;

/// Count and wake-up of a transfer.
#[pin_data]
pub(crate) struct Flight {
    state: State,
    /// Where a task sleeps that drives.
    #[pin]
    queue: Opaque<ffi::WaitQueueHead>,
    /// The work item that drives when no task does.
    #[pin]
    work: Opaque<ffi::DelayedWork>,
    /// The transfer, while it is left to the work item and that does not run.
    #[pin]
    left: Mutex<Option<Transfer>>,
}

// SAFETY: All members may be used by any task, and synchronise themselves.
unsafe impl Send for Flight {}
// SAFETY: As for `Send`.
unsafe impl Sync for Flight {}

/// The count, and who is to be woken.
struct State(Atomic<u64>);

impl Word for State {
    fn get(&self) -> u64 {
        self.0.load(ordering::Acquire)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0.cmpxchg(from, to, ordering::Full).is_ok()
    }
}

impl Flight {
    /// Without any descriptors.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state: State(Atomic::new(0)),
                // SAFETY: Memory for the structure, which stays in place.
                queue <- Opaque::ffi_init(|slot| unsafe { ffi::knem_dma_wait_init(slot) }),
                // SAFETY: As above.
                work <- Opaque::ffi_init(|slot| unsafe { ffi::knem_dma_work_init(slot, Some(look)) }),
                left <- new_mutex!(None, "knem::dma::Flight::left"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// A descriptor is about to be handed to an engine; returns the reference that it has, for [`landed`].
    pub(super) fn launch(self: Arc<Self>) -> *const Self {
        dma::launch(&self.state);
        Arc::into_raw(self)
    }

    /// The descriptor was not handed over after all.
    ///
    /// # Safety
    /// From [`Flight::launch`], and used only once.
    pub(super) unsafe fn retract(owner: *const Self) {
        // SAFETY: The caller's promise.
        let flight = unsafe { Arc::from_raw(owner) };
        dma::retract(&flight.state);
    }

    /// Descriptors that an engine has.
    pub(super) fn outstanding(&self) -> u32 {
        dma::outstanding(&self.state)
    }

    /// Whether one has failed.
    pub(super) fn failed(&self) -> bool {
        dma::failed(&self.state)
    }

    /// As [`dma::sleep`].
    pub(super) fn sleep(&self, mark: u32) -> bool {
        dma::sleep(&self.state, mark)
    }

    /// As [`dma::wake`].
    pub(super) fn wake(&self) {
        dma::wake(&self.state);
    }

    /// Has the calling task, which has announced its sleep, sleep until it is woken, this time is up, it is killed, or
    /// `over`. Without `over` it is a process.
    pub(super) fn wait(&self, milliseconds: u32, over: Option<&dyn Fn() -> bool>) {
        // Nothing wakes a worker that is to stop.
        let milliseconds = if over.is_some() { milliseconds.min(LOOK) } else { milliseconds };
        let mut ready = || !dma::asleep(&self.state) || over.is_some_and(|over| over());
        let (function, data) = (call(&ready), (&raw mut ready).cast::<c_void>());
        // SAFETY: The queue is initialised. The function and its data belong together and are used only until the call
        // returns; it does not sleep.
        unsafe { ffi::knem_dma_wait(self.queue.get(), Some(function), data, milliseconds, over.is_none()) };
    }

    /// Leaves the transfer to the work item, to look after it when `mark` is reached or this time is up.
    pub(super) fn leave(self: &Arc<Self>, transfer: Transfer, mark: u32, milliseconds: Option<u32>) {
        dma::hand_over(&self.state);
        *self.left.lock() = Some(transfer);
        self.keep_looking(milliseconds);
        // From here on it may be driven by the work item.
        if !self.sleep(mark) {
            self.clone().look_now();
        }
    }

    /// For the work item: gives the transfer back until it is looked at again.
    pub(super) fn put_back(self: &Arc<Self>, transfer: Transfer, milliseconds: Option<u32>) {
        // The work item does not run beside itself, so nobody looks before it has returned.
        *self.left.lock() = Some(transfer);
        self.keep_looking(milliseconds);
    }

    /// Has the work item look at the transfer after this time, or before.
    fn keep_looking(self: &Arc<Self>, milliseconds: Option<u32>) {
        let Some(milliseconds) = milliseconds else { return };
        let raw = Arc::into_raw(self.clone());
        // SAFETY: Initialised, and kept by the reference.
        if !unsafe { ffi::knem_dma_work_after(self.work.get(), milliseconds) } {
            // SAFETY: From `into_raw`. It is queued already, with a reference.
            drop(unsafe { Arc::from_raw(raw) });
        }
    }

    /// Has the work item look at the transfer now. In any context.
    fn look_now(self: Arc<Self>) {
        let work = self.work.get();
        let raw = Arc::into_raw(self);
        // SAFETY: Initialised, and kept by the reference.
        if !unsafe { ffi::knem_dma_work_now(work) } {
            // SAFETY: From `into_raw`. It was queued already, with a reference.
            drop(unsafe { Arc::from_raw(raw) });
        }
    }

    /// The transfer has ended: its timer is stopped.
    pub(super) fn rest(self: &Arc<Self>) {
        // SAFETY: Initialised, and kept by the reference.
        if unsafe { ffi::knem_dma_work_cancel(self.work.get()) } {
            // SAFETY: A work item that is queued has a reference, which came from `into_raw`.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(self)) });
        }
    }
}

/// A descriptor has ended. Called once for each that was handed over, in any context.
///
/// # Safety
/// `owner` comes from [`Flight::launch`].
pub(super) unsafe extern "C" fn landed(owner: *mut c_void, ok: bool) {
    // SAFETY: The caller's promise.
    let flight = unsafe { Arc::from_raw(owner.cast::<Flight>().cast_const()) };
    match dma::land(&flight.state, ok) {
        None => {}
        // SAFETY: Initialised, and kept by the reference.
        Some(Driver::Task) => unsafe { ffi::knem_dma_wake(flight.queue.get()) },
        Some(Driver::Work) => flight.look_now(),
    }
}

/// The work item: somebody wants the transfer to be looked at, or its time is up.
unsafe extern "C" fn look(work: *mut ffi::DelayedWork) {
    // SAFETY: The kernel hands back the work item that is in a `Flight`.
    let flight = unsafe { work.byte_sub(offset_of!(Flight, work)) }.cast::<Flight>().cast_const();
    // SAFETY: A work item that is queued has a reference, which came from `into_raw`.
    let flight = unsafe { Arc::from_raw(flight) };
    flight.wake();
    let left = flight.left.lock().take();
    // Somebody may look after it has ended: a callback that has counted down, and then been slow.
    if let Some(transfer) = left {
        transfer::look(transfer);
    }
}

/// The function that calls a closure of this type for C.
fn call<F: FnMut() -> bool>(_: &F) -> unsafe extern "C" fn(*mut c_void) -> bool {
    unsafe extern "C" fn ready<F: FnMut() -> bool>(data: *mut c_void) -> bool {
        // SAFETY: C hands back the pointer to the closure, which nobody else uses meanwhile.
        unsafe { (*data.cast::<F>())() }
    }
    ready::<F>
}
