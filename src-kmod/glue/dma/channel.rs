// SPDX-License-Identifier: GPL-2.0-only
//! A claimed channel of a DMA engine.

use crate::glue::dma::flight::{landed, Flight};
use crate::glue::{ffi, params};
use crate::logic::dma::{self, Candidate, Limits, Nature};
use crate::logic::plan::Step;
use core::ptr::NonNull;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, Mutex};

/// Whether a channel was given back since one was last claimed.
pub(super) static FREE: Atomic<bool> = Atomic::new(false);

/// As many transfers in a row may fail before a channel is given back.
const STRIKES: i32 = 3;

/// A channel that nobody else uses. Given back when this is dropped, which may sleep.
#[pin_data(PinnedDrop)]
pub(crate) struct Channel {
    /// C's part, ours until it is released.
    raw: NonNull<ffi::DmaChannel>,
    limits: ffi::DmaLimits,
    /// Taken by who hands over a descriptor. True once the channel is given up: it gets no more.
    #[pin]
    given_up: Mutex<bool>,
    /// Transfers that use it.
    load: Atomic<i32>,
    /// Failures since the last success.
    strikes: Atomic<i32>,
}

// SAFETY: C's part may be used by any task.
unsafe impl Send for Channel {}
// SAFETY: C's part synchronises itself, but for handing over, which the mutex serialises.
unsafe impl Sync for Channel {}

impl Channel {
    /// Claims the free channel that is nearest to `node`, if it is nearer than this distance.
    pub(super) fn claim(node: c_int, nearer_than: u32) -> Option<Arc<Self>> {
        let raw = NonNull::new(ffi::knem_dma_claim(node, nearer_than))?;
        let mut limits = ffi::DmaLimits::default();
        // SAFETY: Just claimed.
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
                // SAFETY: Claimed above; it has no copies.
                unsafe { ffi::knem_dma_release(raw.as_ptr()) }
            })
            .ok()
    }

    /// What it takes, by the present parameters.
    pub(super) fn limits(&self) -> Limits {
        let ffi::DmaLimits { mapping, segment, shift, line, .. } = self.limits;
        Limits::new(params::dma_min(), &Nature { mapping, segment, shift, line })
    }

    /// How it looks to a transfer for memory of `node`.
    pub(super) fn candidate(&self, node: c_int) -> Candidate {
        let distance = ffi::knem_dma_distance(self.limits.node, node);
        Candidate { distance, load: u32::try_from(self.load.load(Relaxed)).unwrap_or(0) }
    }

    /// Whether it is of no use any more: its device has gone, or it keeps failing.
    pub(super) fn useless(&self) -> bool {
        // SAFETY: Ours.
        self.strikes.load(Relaxed) >= STRIKES || unsafe { ffi::knem_dma_gone(self.raw.as_ptr()) }
    }

    /// A transfer has succeeded, or failed.
    pub(super) fn judge(&self, ok: bool) {
        if !ok {
            self.strikes.fetch_add(1, Relaxed);
        } else if self.strikes.load(Relaxed) != 0 {
            self.strikes.store(0, Relaxed);
        }
    }

    /// Hands a step to the engine, which begins with it at the latest when it is told to ([`Channel::issue`]).
    ///
    /// # Errors
    /// EAGAIN if the engine has as much as it can take; others if it cannot have it at all.
    pub(super) fn submit(&self, step: Step, flight: &Arc<Flight>) -> Result {
        let given_up = self.given_up.lock();
        if *given_up {
            return Err(ENODEV);
        }
        if dma::full(self.count()) {
            return Err(EAGAIN);
        }
        let owner = flight.clone().launch();
        // SAFETY: The channel is ours, and it is our turn. Both sides are pinned, mapped in the kernel and as long; the
        // destination is pinned for writing. They stay so until `landed` is called, since the transfer keeps its job
        // until then.
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
            // SAFETY: From `launch`, and not called back.
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

    /// Copies that the engine has, of all transfers.
    fn count(&self) -> u32 {
        // SAFETY: Claimed by `claim`, and released only when this is dropped.
        unsafe { ffi::knem_dma_count(self.raw.as_ptr()) }
    }

    /// Has the engine begin with what it was handed.
    pub(super) fn issue(&self) {
        let given_up = self.given_up.lock();
        if !*given_up {
            // SAFETY: Ours, and our turn.
            unsafe { ffi::knem_dma_issue(self.raw.as_ptr()) };
        }
    }

    /// Milliseconds for which it has done nothing.
    pub(super) fn idle(&self) -> u64 {
        // SAFETY: Ours.
        unsafe { ffi::knem_dma_idle(self.raw.as_ptr()) }
    }

    /// Stops the engine, if it can be stopped. All its copies have failed then, of all transfers. If not, they may still
    /// end by themselves. Either way, it gets no more.
    pub(super) fn give_up(&self) {
        let mut given_up = self.given_up.lock();
        if *given_up {
            return;
        }
        *given_up = true;
        // SAFETY: Ours, and nobody hands anything over: we have the lock, and from now on they see the mark.
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
        // SAFETY: Claimed by `claim`. Each transfer keeps the channel until its last copy has ended.
        unsafe { ffi::knem_dma_release(self.raw.as_ptr()) };
        // It is worth while to try to claim one.
        FREE.store(true, Relaxed);
    }
}

/// A channel in use by a transfer.
pub(super) struct Using(Arc<Channel>);

impl Using {
    /// Uses the channel.
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
