// SPDX-License-Identifier: GPL-2.0-only
//! The part of a transfer that callbacks use: the number of its descriptors, and how to wake its driver.
//!
//! Each descriptor has a reference to it, and so has a queued work item. The last reference may be dropped in any
//! context, since by then no member needs process context to be dropped.

use crate::glue::dma::transfer::{self, Transfer};
use crate::glue::ffi;
use crate::logic::dma::{self, Driver, Word};
use core::mem::offset_of;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::{Arc, Mutex};
use kernel::types::Opaque;

/// Interval at which a waiting worker thread checks whether it must stop, in milliseconds.
const CHECK_INTERVAL: u32 = 50;

/// The descriptor count of a transfer, and what wakes its driver.
#[pin_data]
pub(crate) struct Flight {
    state: StateWord,
    /// Where the driving task sleeps.
    #[pin]
    sleepers: Opaque<ffi::WaitQueueHead>,
    /// The work item that drives the transfer when no task does.
    #[pin]
    work: Opaque<ffi::DelayedWork>,
    /// The transfer, while it is left to the work item and that does not run.
    #[pin]
    left: Mutex<Option<Transfer>>,
}

// SAFETY: No member belongs to a task, so that any task may use and drop them.
unsafe impl Send for Flight {}
// SAFETY: Each member is synchronised: an atomic, a wait queue, a work item and a mutex.
unsafe impl Sync for Flight {}

/// The descriptor count, and who must be woken.
struct StateWord(Atomic<u64>);

impl Word for StateWord {
    fn get(&self) -> u64 {
        self.0.load(ordering::Acquire)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0.cmpxchg(from, to, ordering::Full).is_ok()
    }
}

impl Flight {
    /// Creates a flight without descriptors.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state: StateWord(Atomic::new(0)),
                // SAFETY: `slot` is memory for the structure, which is pinned and does not move after it is
                // initialised.
                sleepers <- Opaque::ffi_init(|slot| unsafe { ffi::knem_dma_wait_init(slot) }),
                // SAFETY: As above, `slot` is memory for the structure, which is pinned.
                work <- Opaque::ffi_init(|slot| unsafe { ffi::knem_dma_work_init(slot, Some(check)) }),
                left <- new_mutex!(None, "knem::dma::Flight::left"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Counts a descriptor that is about to be submitted. Returns its reference to the flight, for [`landed`].
    pub(super) fn launch(self: Arc<Self>) -> *const Self {
        dma::launch(&self.state);
        Arc::into_raw(self)
    }

    /// Takes back the count of a descriptor that was not submitted after all.
    ///
    /// # Safety
    /// `owner` must come from [`Flight::launch`] and must not be used again.
    pub(super) unsafe fn retract(owner: *const Self) {
        // SAFETY: The caller guarantees that `launch` returned `owner` from `Arc::into_raw`, and that nothing else
        // takes that reference.
        let flight = unsafe { Arc::from_raw(owner) };
        dma::retract(&flight.state);
    }

    /// Returns how many descriptors the channel has.
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

    /// Makes the calling task, which has announced its sleep, sleep until it is woken, the time is up, it is killed, or
    /// `over` is true. Without `over` the calling task is a process.
    pub(super) fn wait(&self, milliseconds: u32, over: Option<&dyn Fn() -> bool>) {
        // Nothing wakes a worker thread that must stop.
        let milliseconds = if over.is_some() { milliseconds.min(CHECK_INTERVAL) } else { milliseconds };
        let mut ready = || !dma::asleep(&self.state) || over.is_some_and(|over| over());
        let (function, data) = (call(&ready), (&raw mut ready).cast::<c_void>());
        // SAFETY: `new` initialised the queue. The function fits its data, which it uses only until this call returns,
        // and it does not sleep.
        unsafe { ffi::knem_dma_wait(self.sleepers.get(), Some(function), data, milliseconds, over.is_none()) };
    }

    /// Leaves the transfer to the work item, which checks it when `mark` is reached or the time is up.
    pub(super) fn leave(self: &Arc<Self>, transfer: Transfer, mark: u32, milliseconds: Option<u32>) {
        dma::hand_over(&self.state);
        *self.left.lock() = Some(transfer);
        self.schedule_check(milliseconds);
        // From here on the work item may drive it.
        if !self.sleep(mark) {
            self.clone().check_now();
        }
    }

    /// For the work item: puts the transfer back until it is checked again.
    pub(super) fn put_back(self: &Arc<Self>, transfer: Transfer, milliseconds: Option<u32>) {
        // A work item never runs concurrently with itself, so that nothing takes the transfer before this run has
        // returned.
        *self.left.lock() = Some(transfer);
        self.schedule_check(milliseconds);
    }

    /// Makes the work item check the transfer after the time, if any, or earlier.
    fn schedule_check(self: &Arc<Self>, milliseconds: Option<u32>) {
        let Some(milliseconds) = milliseconds else { return };
        let raw = Arc::into_raw(self.clone());
        // SAFETY: `new` initialised the work item, and `raw` keeps the flight while it is queued.
        if !unsafe { ffi::knem_dma_work_after(self.work.get(), milliseconds) } {
            // SAFETY: `raw` comes from `into_raw` above. The work item did not take it, since it was queued already
            // with a reference of its own.
            drop(unsafe { Arc::from_raw(raw) });
        }
    }

    /// Makes the work item check the transfer now. May be called in any context.
    fn check_now(self: Arc<Self>) {
        let work = self.work.get();
        let raw = Arc::into_raw(self);
        // SAFETY: `new` initialised the work item, and `raw` keeps the flight while it is queued.
        if !unsafe { ffi::knem_dma_work_now(work) } {
            // SAFETY: `raw` comes from `into_raw` above. The work item did not take it, since it was queued already
            // with a reference of its own.
            drop(unsafe { Arc::from_raw(raw) });
        }
    }

    /// Stops the timer of a transfer that has ended.
    pub(super) fn rest(self: &Arc<Self>) {
        // SAFETY: `new` initialised the work item, and the caller's reference keeps the flight.
        if unsafe { ffi::knem_dma_work_cancel(self.work.get()) } {
            // SAFETY: The pending work item had a reference from `into_raw`, which nothing else takes back, since the
            // work item was cancelled.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(self)) });
        }
    }
}

/// Counts down a descriptor that has ended. Called once for each that was submitted, in any context.
///
/// # Safety
/// `owner` must come from [`Flight::launch`] and must not be used again.
pub(super) unsafe extern "C" fn landed(owner: *mut c_void, ok: bool) {
    // SAFETY: The caller guarantees that `launch` returned `owner` from `Arc::into_raw`, and that nothing else takes
    // that reference.
    let flight = unsafe { Arc::from_raw(owner.cast::<Flight>().cast_const()) };
    match dma::land(&flight.state, ok) {
        None => {}
        // SAFETY: `new` initialised the queue, and `flight` is a reference that keeps it.
        Some(Driver::Task) => unsafe { ffi::knem_dma_wake(flight.sleepers.get()) },
        Some(Driver::Work) => flight.check_now(),
    }
}

/// The function of the work item: checks the transfer, as was requested or because its time is up.
unsafe extern "C" fn check(work: *mut ffi::DelayedWork) {
    // SAFETY: The kernel passes the work item that `new` initialised, which is the member `work` of a `Flight`.
    let flight = unsafe { work.byte_sub(offset_of!(Flight, work)) }.cast::<Flight>().cast_const();
    // SAFETY: The work item was queued with a reference from `into_raw`, and this run takes it over.
    let flight = unsafe { Arc::from_raw(flight) };
    flight.wake();
    let left = flight.left.lock().take();
    // There is none if the transfer has ended: a callback may count down, be delayed, and queue the work item late.
    if let Some(transfer) = left {
        transfer::check(transfer);
    }
}

/// Returns the C function that calls a closure of this type.
fn call<F: FnMut() -> bool>(_: &F) -> unsafe extern "C" fn(*mut c_void) -> bool {
    unsafe extern "C" fn ready<F: FnMut() -> bool>(data: *mut c_void) -> bool {
        // SAFETY: C passes back the pointer to the closure, which `wait` keeps on its stack and does not use meanwhile.
        unsafe { (*data.cast::<F>())() }
    }
    ready::<F>
}
