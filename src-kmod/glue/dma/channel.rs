// SPDX-License-Identifier: GPL-2.0-only
//! A claimed DMA channel.

use crate::glue::dma::flight::{landed, Flight};
use crate::glue::{ffi, params};
use crate::logic::dma::{self, Candidate, Limits, Nature};
use crate::logic::steps::Step;
use core::ptr::NonNull;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, Mutex};

/// Whether a channel was released since one was last claimed.
pub(super) static FREE: Atomic<bool> = Atomic::new(false);

/// Number of consecutive failures after which a channel is released.
const STRIKES: i32 = 3;

/// A channel that the driver has claimed for itself. Dropping it releases the channel, which may sleep.
#[pin_data(PinnedDrop)]
pub(crate) struct Channel {
    /// C's structure, valid until it is released.
    raw: NonNull<ffi::DmaChannel>,
    limits: ffi::DmaLimits,
    /// Held while a descriptor is submitted. True once the channel is given up: nothing more is submitted to it.
    #[pin]
    given_up: Mutex<bool>,
    /// Number of transfers that use it.
    load: Atomic<i32>,
    /// Number of failures since the last success.
    strikes: Atomic<i32>,
}

// SAFETY: C's structure belongs to no task, so that any task may use and release it.
unsafe impl Send for Channel {}
// SAFETY: C's functions are synchronised, except for submission, which the mutex `given_up` serialises.
unsafe impl Sync for Channel {}

impl Channel {
    /// Claims the free channel that is nearest to `node`, if it is nearer than this distance.
    pub(super) fn claim(node: c_int, nearer_than: u32) -> Option<Arc<Self>> {
        let raw = NonNull::new(ffi::knem_dma_claim(node, nearer_than))?;
        let mut limits = ffi::DmaLimits::default();
        // SAFETY: The channel was claimed just now and is not released yet, so that the pointer is valid.
        unsafe { ffi::knem_dma_get_limits(raw.as_ptr(), &raw mut limits) };
        let channel = Arc::pin_init(
            pin_init!(Self {
                raw,
                limits,
                given_up <- new_mutex!(false, "knem::dma::Channel::given_up"),
                load: Atomic::new(0),
                strikes: Atomic::new(0),
            }),
            GFP_KERNEL,
        );
        channel
            .inspect_err(|_| {
                // SAFETY: The channel was claimed above and has no copies, since nothing else refers to it yet.
                unsafe { ffi::knem_dma_release(raw.as_ptr()) }
            })
            .ok()
    }

    /// Returns what can be submitted, by the present parameters.
    pub(super) fn limits(&self) -> Limits {
        let ffi::DmaLimits { mapping, segment, shift, line, .. } = self.limits;
        Limits::new(params::dma_min(), &Nature { mapping, segment, shift, line })
    }

    /// Returns its rank for a transfer to memory of `node`.
    pub(super) fn candidate(&self, node: c_int) -> Candidate {
        let distance = ffi::knem_dma_distance(self.limits.node, node);
        Candidate { distance, load: u32::try_from(self.load.load(Relaxed)).unwrap_or(0) }
    }

    /// Whether it is useless: its device has gone, or it keeps failing.
    pub(super) fn useless(&self) -> bool {
        // SAFETY: The channel is claimed until `self` is dropped, so that the pointer is valid.
        self.strikes.load(Relaxed) >= STRIKES || unsafe { ffi::knem_dma_gone(self.raw.as_ptr()) }
    }

    /// Records that a transfer has succeeded or failed.
    pub(super) fn judge(&self, ok: bool) {
        if !ok {
            self.strikes.fetch_add(1, Relaxed);
        } else if self.strikes.load(Relaxed) != 0 {
            self.strikes.store(0, Relaxed);
        }
    }

    /// Submits a step to the channel, which begins it at the latest at the next [`Channel::issue`].
    ///
    /// # Errors
    /// EAGAIN if the channel has as much as it can take; ENODEV, ENOMEM, EFAULT or EIO if it cannot take the step at
    /// all.
    pub(super) fn submit(&self, step: Step, flight: &Arc<Flight>) -> Result {
        let given_up = self.given_up.lock();
        if *given_up {
            return Err(ENODEV);
        }
        if dma::full(self.count()) {
            return Err(EAGAIN);
        }
        let owner = flight.clone().launch();
        // SAFETY: The channel is claimed until `self` is dropped, and the lock serialises submissions. By the invariant
        // of `Pinned` both sides are pinned and mapped for the length of the step, the destination for writing. They
        // stay so until `landed` is called, since the transfer keeps its job until then.
        let result = unsafe {
            ffi::knem_dma_submit(
                self.raw.as_ptr(),
                step.right as *mut c_void,
                step.left as *const c_void,
                step.len as c_ulong,
                Some(landed),
                owner.cast_mut().cast(),
            )
        };
        if result != 0 {
            // SAFETY: `launch` returned the pointer, and C does not call back for a copy that it did not take.
            unsafe { Flight::retract(owner) };
        }
        kernel::error::to_result(result).map_err(|error| {
            if error != EBUSY {
                error
            } else if dma::full_for_now(self.count()) {
                EAGAIN
            } else {
                EIO
            }
        })
    }

    /// Returns how many copies of all transfers the channel has.
    fn count(&self) -> u32 {
        // SAFETY: The channel is claimed until `self` is dropped, so that the pointer is valid.
        unsafe { ffi::knem_dma_count(self.raw.as_ptr()) }
    }

    /// Starts the copies that were submitted.
    pub(super) fn issue(&self) {
        let given_up = self.given_up.lock();
        if !*given_up {
            // SAFETY: The channel is claimed until `self` is dropped, and the lock serialises this with submissions.
            unsafe { ffi::knem_dma_issue(self.raw.as_ptr()) };
        }
    }

    /// Returns for how many milliseconds it has completed nothing.
    pub(super) fn idle(&self) -> u64 {
        // SAFETY: The channel is claimed until `self` is dropped, so that the pointer is valid.
        unsafe { ffi::knem_dma_idle(self.raw.as_ptr()) }
    }

    /// Stops the channel, if it can be stopped: all its copies, of all transfers, have failed then. Otherwise they may
    /// still end. In both cases nothing more is submitted.
    pub(super) fn give_up(&self) {
        let mut given_up = self.given_up.lock();
        if *given_up {
            return;
        }
        *given_up = true;
        // SAFETY: The channel is claimed until `self` is dropped. Nothing is submitted meanwhile, since the lock is
        // held, nor later, since `given_up` is set.
        let result = unsafe { ffi::knem_dma_terminate(self.raw.as_ptr()) };
        if result == 0 {
            pr_warn!("DMA channel timed out and was terminated; its copies have failed. See dmatimeout in knem(4)\n");
        } else {
            pr_warn!("DMA channel timed out and cannot be terminated; its memory stays pinned until it completes\n");
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Channel {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `claim` claimed the channel. It has no copies, since each transfer keeps a reference until its last
        // copy has ended.
        unsafe { ffi::knem_dma_release(self.raw.as_ptr()) };
        // Another claim may succeed from now on.
        FREE.store(true, Relaxed);
    }
}

/// A channel that a transfer uses, counted in its load.
pub(super) struct Using(Arc<Channel>);

impl Using {
    /// Counts a use of the channel.
    pub(super) fn new(channel: Arc<Channel>) -> Self {
        channel.load.fetch_add(1, Relaxed);
        Self(channel)
    }
}

impl core::ops::Deref for Using {
    type Target = Arc<Channel>;

    fn deref(&self) -> &Arc<Channel> {
        &self.0
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Relaxed);
    }
}
