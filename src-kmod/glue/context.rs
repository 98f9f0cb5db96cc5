// SPDX-License-Identifier: GPL-2.0-only
//! The context of one open file: its owner, its regions, and its asynchronous side once that is requested.
//!
//! Locks: `Context::binding` is a spinlock and a leaf. `Context::start`, a mutex, is held while the worker thread is
//! created, which takes the kernel's locks for that.

use crate::glue::account::Account;
use crate::glue::affinity::CpuSet;
use crate::glue::events::Events;
use crate::glue::offload::Offload;
use crate::glue::regions::Regions;
use crate::glue::{gfp, params, task, thread};
use crate::logic::access::Identity;
use crate::logic::flags::Masks;
use crate::logic::refusal::Refusal;
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, Mutex, SetOnce, SpinLock};
use kernel::{new_mutex, new_spinlock};

/// An open file that may create regions and make requests. All descriptors and processes that share the open file share
/// its context.
#[pin_data]
pub(crate) struct Context {
    /// Number of the context, for readers of the statistics. It is no part of a cookie.
    ordinal: u64,
    /// The opener.
    owner: Identity,
    /// The opener's account.
    account: Account,
    /// Events of completed requests. Memory for them is allocated once the status array is mapped and a request asks
    /// for one.
    events: Arc<Events>,
    /// Forced and ignored flags, as they were when the file was opened.
    masks: Masks,
    /// Whether a region was created, a request made or the status array mapped.
    used: Atomic<bool>,
    /// Number of requests that were accepted, and their bytes.
    requests: Atomic<u64>,
    bytes: Atomic<u64>,
    /// The process that opened the file.
    process: task::Process,
    regions: Regions,
    #[pin]
    binding: SpinLock<Binding>,
    /// The asynchronous side. Set when the status array is mapped, and never unset.
    offload: SetOnce<Arc<Offload>>,
    /// Held while a worker thread is started.
    #[pin]
    start: Mutex<()>,
}

/// What determines the CPUs of the worker thread.
struct Binding {
    /// Whether the status array is mapped or being mapped: from then on the CPUs cannot be changed.
    settled: bool,
    /// The last BIND_OFFLOAD.
    cpus: Option<Arc<CpuSet>>,
}

impl Context {
    /// Creates the context of a file that the calling task, `owner`, opens. The registry assigns its number and its
    /// account.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new(ordinal: u64, owner: Identity, account: Account) -> Result<Arc<Self>> {
        let events = Arc::pin_init(Events::new(account.clone()), gfp::no_wait())?;
        let regions = Regions::new()?;
        Arc::pin_init(
            pin_init!(Self {
                ordinal,
                owner,
                account,
                events,
                masks: params::masks(),
                used: Atomic::new(false),
                requests: Atomic::new(0),
                bytes: Atomic::new(0),
                process: task::Process::calling(),
                regions,
                binding <- new_spinlock!(Binding { settled: false, cpus: None }, "knem::Context::binding"),
                offload: SetOnce::new(),
                start <- new_mutex!((), "knem::Context::start"),
            }),
            gfp::no_wait(),
        )
    }

    /// Number of the context.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The opener.
    pub(crate) fn owner(&self) -> Identity {
        self.owner
    }

    /// The opener's account: regions, arrays and pinned pages of this context are charged to it.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Forced and ignored flags.
    pub(crate) fn masks(&self) -> Masks {
        self.masks
    }

    /// Whether a region was created, a request made or the status array mapped.
    pub(crate) fn used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Records that the file is in use.
    pub(crate) fn mark_used(&self) {
        // Read first, so that CPUs keep sharing the cache line.
        if !self.used() {
            self.used.store(true, Relaxed);
        }
    }

    /// Counts a request that was accepted.
    pub(crate) fn tally(&self, bytes: u64) {
        // Only processes that share the open file share this cache line.
        self.requests.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    /// Requests that were accepted, and their bytes.
    pub(crate) fn tallied(&self) -> (u64, u64) {
        (self.requests.load(Relaxed), self.bytes.load(Relaxed))
    }

    /// The process that opened the file.
    pub(crate) fn process(&self) -> &task::Process {
        &self.process
    }

    /// Its regions.
    pub(crate) fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Chooses the CPUs of the worker thread.
    ///
    /// # Errors
    /// EBUSY once the status array is mapped or while it is being mapped, which is checked before `cpus` is
    /// called; the errors of `cpus`.
    pub(crate) fn bind(&self, cpus: impl FnOnce() -> Result<Arc<CpuSet>>) -> Result {
        if self.binding.lock().settled {
            return Err(Refusal::Busy.into());
        }
        let cpus = cpus()?;
        let mut binding = self.binding.lock();
        if binding.settled {
            return Err(Refusal::Busy.into());
        }
        let former = binding.cpus.replace(cpus);
        drop(binding);
        drop(former);
        Ok(())
    }

    /// Maps the status array into `area`, a new mapping. The caller may try again after an error.
    ///
    /// # Errors
    /// EBUSY if it was done before; ENOMEM, also for more slots than the parameters `max_slots` and `max_slots_mb`
    /// allow; EINTR if the caller is killed.
    pub(crate) fn map(&self, area: &VmaNew) -> Result {
        let chosen = {
            let mut binding = self.binding.lock();
            if binding.settled {
                return Err(Refusal::Busy.into());
            }
            binding.settled = true;
            binding.cpus.clone()
        };
        let offload = self.offload_for(chosen, area).inspect_err(|_| self.binding.lock().settled = false)?;
        self.mark_used();
        // `settled` excludes all other callers from here on.
        self.offload.populate(offload);
        // Until now poll() has reported that there is no status array.
        self.events.changed();
        Ok(())
    }

    fn offload_for(&self, chosen: Option<Arc<CpuSet>>, area: &VmaNew) -> Result<Arc<Offload>> {
        let cpus = match chosen {
            None => CpuSet::by_default()?,
            Some(chosen) => chosen,
        };
        let bytes = area.end().saturating_sub(area.start());
        if bytes as u64 > params::max_slots() {
            return Err(Refusal::SlotLimit.into());
        }
        let offload = Offload::new(bytes, cpus, self.events.clone(), &self.account)?;
        offload.slots().insert(area)?;
        Ok(offload)
    }

    /// The events of completed requests.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// Starts a worker thread in the calling task's process, unless there is one or the status array is not mapped.
    ///
    /// # Errors
    /// As [`thread::start`].
    pub(crate) fn start_thread(&self) -> Result {
        let Some(offload) = self.offload() else { return Ok(()) };
        if !offload.has_worker() {
            let _start = self.start.lock();
            if !offload.has_worker() {
                thread::start(offload, self.ordinal)?;
            }
        }
        Ok(())
    }

    /// The asynchronous side, if the status array is mapped.
    pub(crate) fn offload(&self) -> Option<&Arc<Offload>> {
        self.offload.as_ref()
    }

    /// Closes the context: first withdraws all cookies, then stops the worker thread and drops the jobs that it has not
    /// begun, then drops the regions' memory.
    pub(crate) fn close(&self) {
        let regions = self.regions.close();
        if let Some(offload) = self.offload() {
            offload.close();
        }
        drop(regions);
    }
}
