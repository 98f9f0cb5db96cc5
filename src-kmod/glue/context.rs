// SPDX-License-Identifier: GPL-2.0-only
//! What belongs to one open file: its owner, its regions, and its asynchronous side once that is asked for.
//!
//! Locks: `Context::regions` and `Context::binding`, spinlocks, both leaves. Regions are removed from the tree under
//! the first and dropped after it is released, since unpinning may sleep. `Context::start`, a mutex, is held while the
//! thread is made, which takes the kernel's locks for that.

use crate::glue::account::Account;
use crate::glue::events::Events;
use crate::glue::offload::Offload;
use crate::glue::placement::Processors;
use crate::glue::region::{Region, RegionRef};
use crate::glue::{gfp, params, registry, stats, table, task, thread};
use crate::logic::access::Identity;
use crate::logic::flags::Masks;
use crate::logic::profile::{self, Event};
use crate::logic::refusal::Refusal;
use crate::uapi::Cookie;
use core::mem::replace;
use kernel::mm::virt::VmaNew;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, Mutex, SetOnce, SpinLock};
use kernel::{new_mutex, new_spinlock};

/// An open file that may create regions and make requests. All descriptors and processes that share the file share it.
#[pin_data]
pub(crate) struct Context {
    /// Number of the context, for whoever looks at the statistics. No part of a cookie.
    ordinal: u64,
    /// The opener.
    owner: Identity,
    /// What the opener has.
    account: Account,
    /// Events of completed requests; there is memory for them once the status array is mapped and a request has asked for one.
    events: Arc<Events>,
    /// Numbers of the opener's namespaces.
    namespaces: task::Namespaces,
    /// Forced and ignored flags, as they were when the file was opened.
    masks: Masks,
    /// Whether a region was created, a request made or the status array mapped.
    used: Atomic<bool>,
    /// Requests that were accepted, and their bytes.
    requests: Atomic<u64>,
    bytes: Atomic<u64>,
    /// The process that opened the file.
    process: task::Process,
    #[pin]
    regions: SpinLock<Regions>,
    #[pin]
    binding: SpinLock<Binding>,
    /// The asynchronous side, once the status array is mapped: then for good.
    offload: SetOnce<Arc<Offload>>,
    /// Held while a worker thread is started.
    #[pin]
    start: Mutex<()>,
}

/// The regions of a context.
struct Regions {
    /// Each by its number, in the order of their creation. Each has one reference here, which counts for the table as well.
    tree: RBTree<u64, RegionRef>,
    /// Regions, with those that are about to be listed.
    count: u32,
    /// Regions in the tree, and their bytes.
    listed: u32,
    bytes: u64,
    /// Number of the next region. Numbers are not used twice.
    next: u64,
}

/// What decides where the thread will run.
struct Binding {
    /// The status array is mapped, or being mapped: it is decided.
    settled: bool,
    /// The last BIND_OFFLOAD.
    processors: Option<Arc<Processors>>,
}

/// What the statistics tell of a region.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) ordinal: u64,
    pub(crate) single_use: bool,
    pub(crate) any_user: bool,
    /// PROT_READ and PROT_WRITE, what others may do.
    pub(crate) protection: u32,
    pub(crate) bytes: u64,
    pub(crate) extents: usize,
    /// Whether its memory is pinned only while it is copied.
    pub(crate) unpinned: bool,
}

impl Listed {
    /// Fills an array before anything is listed.
    pub(crate) const NONE: Self =
        Self { ordinal: 0, single_use: false, any_user: false, protection: 0, bytes: 0, extents: 0, unpinned: false };
}

impl Context {
    /// The context of a file that the calling task opens.
    ///
    /// # Errors
    /// ENOMEM; ENOSPC as [`registry::open`].
    pub(crate) fn new() -> Result<Arc<Self>> {
        let owner = task::identity();
        registry::open(owner.uid, |ordinal, account| {
            let events = Arc::pin_init(Events::new(account.clone()), gfp::no_wait())?;
            Arc::pin_init(
                pin_init!(Self {
                    ordinal,
                    owner,
                    account,
                    events,
                    namespaces: task::namespaces(),
                    masks: params::masks(),
                    used: Atomic::new(false),
                    requests: Atomic::new(0),
                    bytes: Atomic::new(0),
                    process: task::Process::calling(),
                    regions <- new_spinlock!(
                        Regions { tree: RBTree::new(), count: 0, listed: 0, bytes: 0, next: 0 },
                        "knem::Context::regions"
                    ),
                    binding <- new_spinlock!(Binding { settled: false, processors: None }, "knem::Context::binding"),
                    offload: SetOnce::new(),
                    start <- new_mutex!((), "knem::Context::start"),
                }),
                gfp::no_wait(),
            )
        })
    }

    /// Number of the context.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The opener.
    pub(crate) fn owner(&self) -> Identity {
        self.owner
    }

    /// What the opener has: regions, arrays and pins of this context count there.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the calling task lives in the opener's namespaces.
    pub(crate) fn shares_namespaces(&self) -> bool {
        self.namespaces == task::namespaces()
    }

    /// Forced and ignored flags.
    pub(crate) fn masks(&self) -> Masks {
        self.masks
    }

    /// Whether a region was created, a request made or the status array mapped.
    pub(crate) fn used(&self) -> bool {
        self.used.load(Relaxed)
    }

    /// Says that the file is being used.
    pub(crate) fn mark_used(&self) {
        // Looked at first, so that the line stays shared between processors.
        if !self.used() {
            self.used.store(true, Relaxed);
        }
    }

    /// Counts a request that was accepted.
    pub(crate) fn tally(&self, bytes: u64) {
        // This line is the file's own, and its processes' as far as they share it.
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

    /// Lists a region of this context, and returns its cookie.
    ///
    /// # Errors
    /// ENOMEM, EINTR as [`table::insert`]; EBUSY if the context has as many as it may have (parameter `max_regions`).
    pub(crate) fn publish(&self, mut region: KBox<Region>) -> Result<Cookie> {
        let unpinned = region.memory().pinned().is_none();
        let place = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let ordinal = {
            let mut regions = self.regions.lock();
            if regions.count >= params::max_regions() {
                return Err(Refusal::Busy.into());
            }
            // Counted from here on, so that concurrent ones do not exceed the limit together.
            regions.count = regions.count.saturating_add(1);
            let next = regions.next.saturating_add(1);
            replace(&mut regions.next, next)
        };
        region.set_ordinal(ordinal);
        match table::insert(region) {
            Ok((cookie, region)) => {
                stats::add(profile::event(Event::RegionCreated), 1);
                if unpinned {
                    stats::add(profile::event(Event::UnpinnedCreated), 1);
                }
                // From here on a request may find the region, if it guesses the cookie, which nobody knows yet.
                let bytes = region.memory().length();
                let node = place.into_node(ordinal, region);
                let mut regions = self.regions.lock();
                let replaced = regions.tree.insert(node);
                regions.listed = regions.listed.saturating_add(1);
                regions.bytes = regions.bytes.saturating_add(bytes);
                drop(regions);
                // Numbers are not used twice, so there was none to replace.
                drop(replaced);
                Ok(cookie)
            }
            Err(error) => {
                let mut regions = self.regions.lock();
                regions.count = regions.count.saturating_sub(1);
                Err(error)
            }
        }
    }

    /// Takes a region out of the tree.
    fn take(&self, region: &Region) -> Option<RegionRef> {
        let mut regions = self.regions.lock();
        let node = regions.tree.remove_node(&region.ordinal())?;
        regions.count = regions.count.saturating_sub(1);
        regions.listed = regions.listed.saturating_sub(1);
        regions.bytes = regions.bytes.saturating_sub(region.memory().length());
        drop(regions);
        Some(node.to_key_value().1)
    }

    /// Withdraws the region with this cookie. Requests that use it complete.
    ///
    /// # Errors
    /// EINVAL if this context has no such region.
    pub(crate) fn destroy(&self, cookie: Cookie) -> Result {
        let region = table::get(cookie)?;
        if !region.belongs_to(self) {
            return Err(Refusal::NoSuchCookie.into());
        }
        // Another call may have been first, or the region is about to be listed and its cookie not known yet.
        let listed = self.take(&region).ok_or(Refusal::NoSuchCookie)?;
        table::remove(&listed);
        Ok(())
    }

    /// Withdraws a region that a request has consumed, if nobody else has withdrawn it.
    pub(crate) fn withdraw(&self, region: &Region) {
        table::remove(region);
        drop(self.take(region));
    }

    /// The regions with numbers from `from` to less than `end`, as many as `batch` holds. Returns how many were stored there.
    pub(crate) fn list(&self, mut from: u64, end: u64, batch: &mut [Listed]) -> usize {
        let regions = self.regions.lock();
        let mut stored = 0usize;
        for place in batch.iter_mut() {
            let Some(cursor) = regions.tree.cursor_lower_bound(&from) else { break };
            let (ordinal, region) = cursor.current();
            if *ordinal >= end {
                break;
            }
            *place = region.listed();
            stored = stored.saturating_add(1);
            from = ordinal.saturating_add(1);
        }
        stored
    }

    /// Number of the next region: all that there are have lower numbers.
    pub(crate) fn next_region(&self) -> u64 {
        self.regions.lock().next
    }

    /// Number of regions, and their bytes.
    pub(crate) fn regions(&self) -> (u32, u64) {
        let regions = self.regions.lock();
        (regions.listed, regions.bytes)
    }

    /// Chooses where the thread will run.
    ///
    /// # Errors
    /// EBUSY once the status array is mapped, or while it is being mapped, which is looked at before `processors` is
    /// made; those of `processors`.
    pub(crate) fn bind(&self, processors: impl FnOnce() -> Result<Arc<Processors>>) -> Result {
        if self.binding.lock().settled {
            return Err(Refusal::Busy.into());
        }
        let processors = processors()?;
        let mut binding = self.binding.lock();
        if binding.settled {
            return Err(Refusal::Busy.into());
        }
        let former = binding.processors.replace(processors);
        drop(binding);
        drop(former);
        Ok(())
    }

    /// Maps the status array into `area`, a new mapping. If that fails it may be tried again.
    ///
    /// # Errors
    /// EBUSY if it was done before; ENOMEM, also for more slots than the parameters `max_slots` and `max_slots_mb` allow; EINTR if the caller
    /// is killed.
    pub(crate) fn map(&self, area: &VmaNew) -> Result {
        let chosen = {
            let mut binding = self.binding.lock();
            if binding.settled {
                return Err(Refusal::Busy.into());
            }
            binding.settled = true;
            binding.processors.clone()
        };
        self.mark_used();
        let offload = self.offload_for(chosen, area).inspect_err(|_| self.binding.lock().settled = false)?;
        // `settled` has let nobody else come here.
        self.offload.populate(offload);
        // Until now a poll has reported that there is no status array.
        self.events.changed();
        Ok(())
    }

    fn offload_for(&self, chosen: Option<Arc<Processors>>, area: &VmaNew) -> Result<Arc<Offload>> {
        let processors = match chosen {
            None => Processors::by_default()?,
            Some(chosen) => chosen,
        };
        let bytes = area.end().saturating_sub(area.start());
        if bytes as u64 > params::max_slots() {
            return Err(Refusal::SlotLimit.into());
        }
        let offload = Offload::new(bytes, processors, self.events.clone(), &self.account)?;
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

    /// Ends all: first no cookie is found any more, then the thread and what it has not begun, then the regions' memory.
    pub(crate) fn close(&self) {
        registry::close(self);
        let tree = replace(&mut self.regions.lock().tree, RBTree::new());
        for region in tree.values() {
            table::remove(region);
            task::resched();
        }
        if let Some(offload) = self.offload() {
            offload.close();
        }
        drop(tree);
    }
}
