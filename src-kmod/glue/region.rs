// SPDX-License-Identifier: GPL-2.0-only
//! A region, counted references to it, and the set of a context's regions, which each of them refers to.
//!
//! Lock: `Set::state`, a spinlock and a leaf. Regions are removed under it and dropped after it is released, since unpinning may sleep.

use crate::glue::ffi;
use crate::glue::memory::Memory;
use crate::glue::{counters, gfp, params, task};
use crate::logic::access::{Rule, Want};
use crate::logic::claim::{self, Slot};
use crate::logic::profile::{self, Event};
use crate::logic::refusal::Refusal;
use core::mem::{replace, ManuallyDrop};
use core::ops::Deref;
use core::ptr::NonNull;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::{Arc, SpinLock};
use kernel::types::Opaque;

/// Memory that other processes may use.
///
/// It lives as long as a reference does: the table's and the tree's of its context (one together, see [`Set`]), and
/// one for each request that uses it.
#[repr(C)]
pub(crate) struct Region {
    /// What the table needs. First, so that its address is the region's.
    node: Opaque<ffi::Node>,
    rule: Rule,
    /// Number of the region in its context, for the statistics. No part of the cookie.
    ordinal: u64,
    single_use: Option<Use>,
    memory: Memory,
    set: Arc<Set>,
}

const _: () = assert!(core::mem::offset_of!(Region, node) == 0);

// SAFETY: The node is changed by C, which synchronises; the memory by copies, which do not care who else changes it;
// everything else is constant or itself `Sync`.
unsafe impl Sync for Region {}
// SAFETY: Nothing in it belongs to a task.
unsafe impl Send for Region {}

/// State of a single-use region.
struct Use(Atomic<u32>);

impl Slot for Use {
    fn change(&self, from: u32, to: u32) -> bool {
        self.0.cmpxchg(from, to, ordering::Full).is_ok()
    }
}

impl Region {
    /// A region that belongs to `set`, not listed yet.
    #[inline(always)]
    pub(crate) fn new(set: Arc<Set>, rule: Rule, single_use: bool, memory: Memory) -> Self {
        Self {
            node: Opaque::new(ffi::Node::new()),
            rule,
            ordinal: 0,
            single_use: single_use.then(|| Use(Atomic::new(claim::FREE))),
            memory,
            set,
        }
    }

    /// Gives the region its number.
    pub(crate) fn set_ordinal(&mut self, ordinal: u64) {
        self.ordinal = ordinal;
    }

    /// What the statistics tell of it.
    pub(crate) fn listed(&self) -> Listed {
        Listed {
            ordinal: self.ordinal,
            single_use: self.single_use.is_some(),
            any_user: self.rule.any_user,
            protection: self.rule.protection,
            bytes: self.memory.length(),
            extents: self.memory.extents(),
            unpinned: self.memory.pinned().is_none(),
        }
    }

    /// What C knows the region by.
    pub(crate) fn node(&self) -> *mut ffi::Node {
        self.node.get()
    }

    /// Number of the region in its context.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// The set that it belongs to.
    pub(crate) fn set(&self) -> &Set {
        &self.set
    }

    /// Whether it belongs to this set.
    pub(crate) fn belongs_to(&self, set: &Set) -> bool {
        core::ptr::eq(&raw const *self.set, set)
    }

    /// Checks whether the calling task may use the region as `want` says; returns whether it is another user's.
    ///
    /// # Errors
    /// EPERM in another namespace with `strict_ns`; EPERM, then EACCES, as [`Rule::check`].
    pub(crate) fn check(&self, want: Want) -> Result<bool> {
        if params::strict_ns() && self.set.namespaces != task::namespaces() {
            return Err(Refusal::OtherUser.into());
        }
        Ok(self.rule.check(task::identity(), want)?)
    }

    /// Whether the region goes with its first use.
    pub(crate) fn is_single_use(&self) -> bool {
        self.single_use.is_some()
    }

    /// Claims a single-use region for a request; returns whether no other request has. Any other region needs no claim.
    pub(crate) fn claim(&self) -> bool {
        self.single_use.as_ref().is_none_or(claim::claim)
    }

    /// Gives a claim back.
    pub(crate) fn give_back(&self) {
        if let Some(state) = &self.single_use {
            claim::give_back(state);
        }
    }

    /// The memory of a region that is not listed yet.
    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The region's memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
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

/// The regions of a context.
#[pin_data]
pub(crate) struct Set {
    /// Numbers of the opener's namespaces.
    namespaces: task::Namespaces,
    #[pin]
    state: SpinLock<State>,
}

/// Regions, each by its number, in the order of their creation.
///
/// # Invariants
/// C's tree has listed nodes of regions, and owns a reference of each.
pub(crate) struct Tree(ffi::Root);

// SAFETY: A tree owns references, which any task may use and drop.
unsafe impl Send for Tree {}
// SAFETY: As for `Send`; a shared tree is only looked at.
unsafe impl Sync for Tree {}

impl Tree {
    const fn new() -> Self {
        Self(ffi::Root::new())
    }

    fn insert(&mut self, region: RegionRef) {
        let region = ManuallyDrop::new(region);
        // SAFETY: The node was listed, is in no tree, and stays as long as the reference, which the tree owns from here on. The tree is
        // borrowed exclusively, and numbers are not used twice.
        unsafe { ffi::knem_tree_insert(&raw mut self.0, region.node(), region.ordinal()) };
    }

    /// Takes a region of this tree's set out, if it is in the tree.
    fn remove(&mut self, region: &Region) -> Option<RegionRef> {
        // SAFETY: The node was listed, and the tree is borrowed exclusively. A set's regions are in its tree, or, when that was taken
        // away and is empty for good, in the one that was.
        let removed = unsafe { ffi::knem_tree_remove(&raw mut self.0, region.node()) };
        // SAFETY: The tree's reference, which it has no more.
        removed.then(|| NonNull::new(region.node()).map(|node| unsafe { RegionRef::from_node(node) })).flatten()
    }

    /// The first region with a number from `from` on.
    pub(crate) fn at(&self, from: u64) -> Option<&Region> {
        // SAFETY: The tree is borrowed, so that it does not change.
        let node = unsafe { ffi::knem_tree_from(&raw const self.0, from) };
        // SAFETY: The node is a region's first member, and the tree's reference keeps that as long as the tree is borrowed.
        unsafe { node.cast::<Region>().as_ref() }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        loop {
            // SAFETY: As in `at`; the tree is borrowed exclusively.
            let Some(node) = NonNull::new(unsafe { ffi::knem_tree_from(&raw const self.0, 0) }) else { break };
            // SAFETY: The node is in the tree.
            unsafe { ffi::knem_tree_remove(&raw mut self.0, node.as_ptr()) };
            // SAFETY: The tree's reference, which it has no more.
            drop(unsafe { RegionRef::from_node(node) });
        }
    }
}

struct State {
    /// Each region has one reference here, which counts for the table as well.
    tree: Tree,
    /// Regions, with those that are about to be listed.
    count: u32,
    /// Regions in the tree, and their bytes.
    listed: u32,
    bytes: u64,
    /// Number of the next region. Numbers are not used twice.
    next: u64,
}

impl Set {
    /// The set of a file that the calling task opens.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = State { tree: Tree::new(), count: 0, listed: 0, bytes: 0, next: 0 };
        Arc::pin_init(
            pin_init!(Self { namespaces: task::namespaces(), state <- new_spinlock!(state, "knem::Set::state") }),
            gfp::no_wait(),
        )
    }

    /// Counts a region that is about to be listed, and returns its number.
    ///
    /// # Errors
    /// EBUSY if there are as many as a context may have (parameter `max_regions`).
    pub(crate) fn reserve(&self) -> Result<u64> {
        let mut state = self.state.lock();
        if state.count >= params::max_regions() {
            return Err(Refusal::Busy.into());
        }
        // Counted from here on, so that concurrent ones do not exceed the limit together.
        state.count = state.count.saturating_add(1);
        let next = state.next.saturating_add(1);
        Ok(replace(&mut state.next, next))
    }

    /// The region is not going to be listed.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        state.count = state.count.saturating_sub(1);
    }

    /// Adds a region, which was counted, and has this many bytes.
    pub(crate) fn insert(&self, region: RegionRef, bytes: u64) {
        let mut state = self.state.lock();
        state.tree.insert(region);
        state.listed = state.listed.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
    }

    /// Takes a region of this set out.
    pub(crate) fn take(&self, region: &Region) -> Option<RegionRef> {
        let mut state = self.state.lock();
        let taken = state.tree.remove(region)?;
        state.count = state.count.saturating_sub(1);
        state.listed = state.listed.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(region.memory().length());
        Some(taken)
    }

    /// Takes all regions out, when no more are added. From here on none is taken out by itself.
    pub(crate) fn take_all(&self) -> Tree {
        replace(&mut self.state.lock().tree, Tree::new())
    }

    /// The regions with numbers from `from` to less than `end`, as many as `batch` holds. Returns how many were stored there.
    pub(crate) fn list(&self, mut from: u64, end: u64, batch: &mut [Listed]) -> usize {
        let state = self.state.lock();
        let mut stored = 0usize;
        for place in batch.iter_mut() {
            let Some(region) = state.tree.at(from).filter(|region| region.ordinal() < end) else { break };
            *place = region.listed();
            stored = stored.saturating_add(1);
            from = region.ordinal().saturating_add(1);
        }
        stored
    }

    /// Number of the next region: all that there are have lower numbers.
    pub(crate) fn next(&self) -> u64 {
        self.state.lock().next
    }

    /// Number of regions, and their bytes.
    pub(crate) fn totals(&self) -> (u32, u64) {
        let state = self.state.lock();
        (state.listed, state.bytes)
    }
}

/// A counted reference to a region that has been listed.
///
/// # Invariants
/// The pointer comes from `KBox::into_raw`, its node was initialised by C, and this is one of the node's references.
pub(crate) struct RegionRef(NonNull<Region>);

// SAFETY: Regions may be used and dropped by any task.
unsafe impl Send for RegionRef {}
// SAFETY: As for `Send`.
unsafe impl Sync for RegionRef {}

impl RegionRef {
    /// Takes over a reference.
    ///
    /// # Safety
    /// `node` is the first member of a region that was allocated as a `KBox`, and the caller has a reference to it
    /// that it gives away.
    pub(crate) unsafe fn from_node(node: NonNull<ffi::Node>) -> Self {
        // INVARIANT: By the caller's promise.
        Self(node.cast())
    }
}

impl Deref for RegionRef {
    type Target = Region;

    fn deref(&self) -> &Region {
        // SAFETY: The reference keeps the region.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for RegionRef {
    fn drop(&mut self) {
        // SAFETY: The node is initialised, and the reference ours to put.
        if !unsafe { ffi::knem_node_put(self.node()) } {
            return;
        }
        let node = self.node();
        counters::add(profile::event(Event::RegionGone), 1);
        if self.memory.pinned().is_none() {
            counters::add(profile::event(Event::UnpinnedGone), 1);
        }
        // SAFETY: That was the last reference, so nobody else uses the region: who still finds its node gets no
        // reference. Dropping it in place releases the memory, the account and the context at once, here, and leaves
        // the bytes of the node, which has nothing to drop, as they are.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: From `KBox`, hence from kmalloc; the node is its start. Readers of the table may look at the node
        // until a grace period has passed, and C waits for that.
        unsafe { ffi::knem_node_free(node) };
        task::resched();
    }
}
