// SPDX-License-Identifier: GPL-2.0-only
//! What a file has once its status array is mapped: the array, the events, and the queue of the thread.

use crate::glue::account::Account;
use crate::glue::events::Events;
use crate::glue::job::Job;
use crate::glue::params;
use crate::glue::placement::Processors;
use crate::glue::queue::Queue;
use crate::glue::status::StatusArray;
use crate::glue::wait::WaitQueue;
use crate::logic::refusal::Refusal;
use crate::uapi::STATUS_PENDING;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, SetOnce};

/// The asynchronous side of a file. The file has it, its thread, and each request that reports to it.
#[pin_data]
pub(crate) struct Offload {
    slots: StatusArray,
    events: Arc<Events>,
    #[pin]
    queue: Queue,
    /// Requests that may be in the queue or at the thread.
    queued: Atomic<i32>,
    /// Where the thread waits for jobs.
    #[pin]
    jobs: WaitQueue,
    /// Where the thread is wanted to run.
    wanted: Option<Arc<Processors>>,
    /// Where it is to run, once it is made.
    processors: SetOnce<Processors>,
}

impl Offload {
    /// An array of `bytes` slots, a multiple of the page size, with all that belongs to it. Its memory counts for `account`, and
    /// its requests notify `events`.
    ///
    /// # Errors
    /// ENOMEM; EINTR if the caller is killed.
    pub(crate) fn new(
        bytes: usize,
        wanted: Option<Arc<Processors>>,
        events: Arc<Events>,
        account: &Account,
    ) -> Result<Arc<Self>> {
        let slots = StatusArray::new(bytes, account)?;
        Arc::pin_init(
            pin_init!(Self {
                slots,
                events,
                queue <- Queue::new(),
                queued: Atomic::new(0),
                jobs <- WaitQueue::new(),
                wanted,
                processors: SetOnce::new(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The status array.
    pub(crate) fn slots(&self) -> &StatusArray {
        &self.slots
    }

    /// The jobs that wait for the thread.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Hands a job to the thread.
    pub(crate) fn submit(&self, job: KBox<Job>) {
        self.queue.push(job);
        self.jobs.wake();
    }

    /// For the thread: sleeps until there is a job, or it is `stopping`.
    pub(crate) fn wait(&self, stopping: impl Fn() -> bool) {
        self.jobs.wait_in_thread(|| self.queue.any() || stopping());
    }

    /// Says which processors the thread may use: before it begins, of those it uses the ones that were wanted.
    pub(crate) fn confine(&self, mut processors: Processors) {
        if let Some(wanted) = &self.wanted {
            processors.prefer(wanted);
        }
        self.processors.populate(processors);
    }

    /// For the thread: goes where it belongs.
    pub(crate) fn place(&self) {
        if let Some(processors) = self.processors.as_ref() {
            processors.bind();
        }
    }
}

/// Where a request reports its end: a slot, and an event if it asked for one. It holds a place in the queue of events,
/// and one among the file's queued requests, and gives both back if it is dropped.
pub(crate) struct Completion {
    offload: Arc<Offload>,
    slot: u32,
    notify: bool,
    queued: bool,
}

impl Completion {
    /// A place to report to. `queued` tells that the thread will have the request.
    ///
    /// # Errors
    /// EBUSY if no event can be reserved, or the file has as many requests queued as it may; ENOMEM or EINTR as
    /// [`Events::reserve`].
    pub(crate) fn new(offload: Arc<Offload>, slot: u32, notify: bool, queued: bool) -> Result<Self> {
        let mut completion = Self { offload, slot, notify: false, queued: false };
        // From here on, an early return gives back what was had.
        if notify {
            completion.offload.events.reserve(completion.offload.slots.slots())?;
            completion.notify = true;
        }
        if queued {
            completion.queued = true;
            let before = completion.offload.queued.fetch_add(1, Relaxed);
            if u32::try_from(before).map_or(true, |before| before >= params::max_queued()) {
                return Err(Refusal::Busy.into());
            }
        }
        Ok(completion)
    }

    /// What it belongs to.
    pub(crate) fn offload(&self) -> &Arc<Offload> {
        &self.offload
    }

    /// The request is accepted: its slot says PENDING.
    pub(crate) fn start(&self) {
        self.offload.slots.store(self.slot, STATUS_PENDING);
    }

    /// The request has ended: its slot says how, and then there is an event.
    pub(crate) fn publish(mut self, status: u8) {
        // Before anybody can know, so that who knows can submit another one.
        if self.queued {
            self.queued = false;
            self.offload.queued.fetch_sub(1, Relaxed);
        }
        self.offload.slots.store(self.slot, status);
        if self.notify {
            self.notify = false;
            self.offload.events.push(self.slot);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.notify {
            self.offload.events.cancel();
        }
        if self.queued {
            self.offload.queued.fetch_sub(1, Relaxed);
        }
    }
}
