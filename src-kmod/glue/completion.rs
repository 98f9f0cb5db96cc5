// SPDX-License-Identifier: GPL-2.0-only
//! Where requests report their end, and what each request has reserved there.

use crate::glue::account::Account;
use crate::glue::events::Events;
use crate::glue::params;
use crate::glue::status::StatusArray;
use crate::logic::refusal::Refusal;
use crate::uapi::STATUS_PENDING;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// The status array and event queue of a context. It has no reference to a request, so that a request which never ends
/// leaks only its own memory.
pub(crate) struct Completions {
    slots: StatusArray,
    events: Arc<Events>,
    /// Number of requests that may be in the queue or with the worker thread.
    queued: Atomic<i32>,
}

impl Completions {
    /// Creates a status array of `bytes` slots, a multiple of the page size, whose memory is charged to `account`, for
    /// requests that notify `events`.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn new(bytes: usize, events: Arc<Events>, account: &Account) -> Result<Arc<Self>> {
        let slots = StatusArray::new(bytes, account)?;
        Ok(Arc::new(Self { slots, events, queued: Atomic::new(0) }, GFP_KERNEL_ACCOUNT)?)
    }

    /// The status array.
    pub(crate) fn slots(&self) -> &StatusArray {
        &self.slots
    }
}

/// Where a request reports its end: a slot, and an event if it requested one. It holds a reserved entry of the event
/// queue and one of the context's queued requests, and releases both if it is dropped.
pub(crate) struct Completion {
    completions: Arc<Completions>,
    slot: u32,
    notify: bool,
    queued: bool,
}

impl Completion {
    /// Reserves what a request needs to report. With `queued`, the worker thread will have the request.
    ///
    /// # Errors
    /// EBUSY if no event can be reserved, or the context has as many requests queued as it may; ENOMEM or EINTR as
    /// [`Events::reserve`].
    pub(crate) fn new(completions: Arc<Completions>, slot: u32, notify: bool, queued: bool) -> Result<Self> {
        let mut completion = Self { completions, slot, notify: false, queued: false };
        // From here on, an early return releases what was reserved.
        if notify {
            completion.completions.events.reserve(completion.completions.slots.slots())?;
            completion.notify = true;
        }
        if queued {
            completion.queued = true;
            let before = completion.completions.queued.fetch_add(1, Relaxed);
            if u32::try_from(before).map_or(true, |before| before >= params::max_queued()) {
                return Err(Refusal::Busy.into());
            }
        }
        Ok(completion)
    }

    /// Stores PENDING in the slot: the request is accepted.
    pub(crate) fn start(&self) {
        self.completions.slots.store(self.slot, STATUS_PENDING);
    }

    /// Stores the status in the slot, and then queues the event: the request has ended.
    pub(crate) fn publish(mut self, status: u8) {
        // This is done before the status is visible, so that a process that sees it can submit another request.
        if self.queued {
            self.queued = false;
            self.completions.queued.fetch_sub(1, Relaxed);
        }
        self.completions.slots.store(self.slot, status);
        if self.notify {
            self.notify = false;
            self.completions.events.push(self.slot);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.notify {
            self.completions.events.cancel();
        }
        if self.queued {
            self.completions.queued.fetch_sub(1, Relaxed);
        }
    }
}
