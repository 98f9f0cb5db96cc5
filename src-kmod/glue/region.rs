// SPDX-License-Identifier: GPL-2.0-only
//! Regions, counted references to them, and the set of a context's regions, to which each of them refers.
//!
//! Lock: `Set::state`, a spinlock and a leaf. Regions are removed under it and dropped after it is released, because
//! unpinning may sleep.

use crate::glue::ffi;
use crate::glue::memory::Memory;
use crate::glue::{counters, gfp, params, task};
use crate::logic::access::{Rule, Want};
use crate::logic::claim::{self, Slot};
use crate::logic::refusal::Refusal;
use crate::logic::statistics::{self, Event};
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
/// It exists as long as it has references: one that the table and the tree of its context share (see [`Set`]), and one
/// for each request that uses it.
#[repr(C)]
pub(crate) struct Region {
    /// The table's node. It is the first member, so that its address is the region's.
    node: Opaque<ffi::Node>,
    rule: Rule,
    /// Number of the region in its context, for the statistics. It is no part of the cookie.
    ordinal: u64,
    single_use: Option<Use>,
    memory: Memory,
    set: Arc<Set>,
}

const _: () = assert!(core::mem::offset_of!(Region, node) == 0);

// SAFETY: C synchronises all changes of the node. The memory is changed only by copies, through addresses and not
// through references. All other members are constant or `Sync`.
unsafe impl Sync for Region {}
// SAFETY: No member belongs to a task, so that any task may use and drop the region.
unsafe impl Send for Region {}

/// SetState of a single-use region.
struct Use(Atomic<u32>);

impl Slot for Use {
    fn change(&self, from: u32, to: u32) -> bool {
        self.0.cmpxchg(from, to, ordering::Full).is_ok()
    }
}

impl Region {
    /// Creates a region that belongs to `set` and is not listed yet.
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

    /// Sets the number of the region in its context.
    pub(crate) fn set_ordinal(&mut self, ordinal: u64) {
        self.ordinal = ordinal;
    }

    /// Returns what the statistics print of the region.
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

    /// Returns the node by which C knows the region.
    pub(crate) fn node(&self) -> *mut ffi::Node {
        self.node.get()
    }

    /// Number of the region in its context.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Returns the set that the region belongs to.
    pub(crate) fn set(&self) -> &Set {
        &self.set
    }

    /// Whether the region belongs to this set.
    pub(crate) fn belongs_to(&self, set: &Set) -> bool {
        core::ptr::eq(&raw const *self.set, set)
    }

    /// Checks whether the calling task may use the region as `want` requires. Returns whether the task is another
    /// user's.
    ///
    /// # Errors
    /// EPERM in another namespace with `strict_ns`; EPERM, then EACCES, as [`Rule::check`].
    pub(crate) fn check(&self, want: Want) -> Result<bool> {
        if params::strict_ns() && self.set.namespaces != task::namespaces() {
            return Err(Refusal::OtherUser.into());
        }
        Ok(self.rule.check(task::identity(), want)?)
    }

    /// Whether the first use of the region consumes it.
    pub(crate) fn is_single_use(&self) -> bool {
        self.single_use.is_some()
    }

    /// Claims a single-use region for a request. Returns whether no other request has claimed it. Any other region
    /// needs no claim.
    pub(crate) fn claim(&self) -> bool {
        self.single_use.as_ref().is_none_or(claim::claim)
    }

    /// Releases a claim.
    pub(crate) fn give_back(&self) {
        if let Some(state) = &self.single_use {
            claim::give_back(state);
        }
    }

    /// Returns the memory of a region that is not listed yet.
    pub(crate) fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// The region's memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// What the statistics print of a region.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) ordinal: u64,
    pub(crate) single_use: bool,
    pub(crate) any_user: bool,
    /// PROT_READ and PROT_WRITE: what other processes may do.
    pub(crate) protection: u32,
    pub(crate) bytes: u64,
    pub(crate) extents: usize,
    /// Whether its memory is pinned only while it is copied.
    pub(crate) unpinned: bool,
}

impl Listed {
    /// Initial value, before a region is listed.
    pub(crate) const NONE: Self =
        Self { ordinal: 0, single_use: false, any_user: false, protection: 0, bytes: 0, extents: 0, unpinned: false };
}

/// The regions of a context.
#[pin_data]
pub(crate) struct Set {
    /// Numbers of the opener's namespaces.
    namespaces: task::Namespaces,
    #[pin]
    state: SpinLock<SetState>,
}

/// Regions, each by its number, in the order of their creation.
///
/// # Invariants
/// C's tree contains nodes of listed regions, and owns a reference to each.
pub(crate) struct Tree(ffi::Root);

// SAFETY: The tree owns references to regions, which any task may use and drop.
unsafe impl Send for Tree {}
// SAFETY: Through a shared reference the tree can only be read, and regions are `Sync`.
unsafe impl Sync for Tree {}

impl Tree {
    const fn new() -> Self {
        Self(ffi::Root::new())
    }

    fn insert(&mut self, region: RegionRef) {
        let region = ManuallyDrop::new(region);
        // SAFETY: The node was listed and is in no tree, since its number is used once. It stays valid because the tree
        // owns the reference from here on. The tree is borrowed exclusively.
        unsafe { ffi::knem_tree_insert(&raw mut self.0, region.node(), region.ordinal()) };
    }

    /// Removes a region of this tree's set, if it is in the tree.
    fn remove(&mut self, region: &Region) -> Option<RegionRef> {
        // SAFETY: The node was listed, and the tree is borrowed exclusively. The regions of a set are in its tree, or
        // in the one that `take_all` returned, after which the tree of the set stays empty.
        let removed = unsafe { ffi::knem_tree_remove(&raw mut self.0, region.node()) };
        // SAFETY: The node is out of the tree, so that the tree's reference is taken over here.
        removed.then(|| NonNull::new(region.node()).map(|node| unsafe { RegionRef::from_node(node) })).flatten()
    }

    /// Returns the first region with a number from `from` on.
    pub(crate) fn at(&self, from: u64) -> Option<&Region> {
        // SAFETY: The tree is borrowed, so that it does not change during the call.
        let node = unsafe { ffi::knem_tree_from(&raw const self.0, from) };
        // SAFETY: The node is the first member of a region, which the tree's reference keeps as long as the tree is
        // borrowed.
        unsafe { node.cast::<Region>().as_ref() }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        loop {
            // SAFETY: The tree is borrowed exclusively, so that it does not change during the call.
            let Some(node) = NonNull::new(unsafe { ffi::knem_tree_from(&raw const self.0, 0) }) else { break };
            // SAFETY: The node is in the tree, which is borrowed exclusively.
            unsafe { ffi::knem_tree_remove(&raw mut self.0, node.as_ptr()) };
            // SAFETY: The node is out of the tree, so that the tree's reference is taken over here.
            drop(unsafe { RegionRef::from_node(node) });
        }
    }
}

struct SetState {
    /// The tree's reference to each region also counts for the table.
    tree: Tree,
    /// Number of regions, including those that are about to be listed.
    count: u32,
    /// Number of regions in the tree, and their bytes.
    listed: u32,
    bytes: u64,
    /// Number of the next region. Numbers are not used twice.
    next: u64,
}

impl Set {
    /// Creates the set of a context that the calling task opens.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = SetState { tree: Tree::new(), count: 0, listed: 0, bytes: 0, next: 0 };
        Arc::pin_init(
            pin_init!(Self { namespaces: task::namespaces(), state <- new_spinlock!(state, "knem::Set::state") }),
            gfp::no_wait(),
        )
    }

    /// Counts a region that is about to be listed. Returns its number.
    ///
    /// # Errors
    /// EBUSY if the context has as many regions as it may have (parameter `max_regions`).
    pub(crate) fn reserve(&self) -> Result<u64> {
        let mut state = self.state.lock();
        if state.count >= params::max_regions() {
            return Err(Refusal::Busy.into());
        }
        // Counted from here on, so that concurrent calls do not exceed the limit together.
        state.count = state.count.saturating_add(1);
        let next = state.next.saturating_add(1);
        Ok(replace(&mut state.next, next))
    }

    /// Uncounts a region that will not be listed.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        state.count = state.count.saturating_sub(1);
    }

    /// Adds a region of `bytes` bytes, which was counted by [`Set::reserve`].
    pub(crate) fn insert(&self, region: RegionRef, bytes: u64) {
        let mut state = self.state.lock();
        state.tree.insert(region);
        state.listed = state.listed.saturating_add(1);
        state.bytes = state.bytes.saturating_add(bytes);
    }

    /// Removes a region of this set and returns it.
    pub(crate) fn take(&self, region: &Region) -> Option<RegionRef> {
        let mut state = self.state.lock();
        let taken = state.tree.remove(region)?;
        state.count = state.count.saturating_sub(1);
        state.listed = state.listed.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(region.memory().length());
        Some(taken)
    }

    /// Removes all regions and returns them. No more may be added, and no more is removed singly.
    pub(crate) fn take_all(&self) -> Tree {
        replace(&mut self.state.lock().tree, Tree::new())
    }

    /// Stores the regions with numbers from `from` to less than `end`, as many as `batch` holds. Returns how many were
    /// stored.
    pub(crate) fn list(&self, mut from: u64, end: u64, batch: &mut [Listed]) -> usize {
        let state = self.state.lock();
        let mut stored = 0usize;
        for entry in batch.iter_mut() {
            let Some(region) = state.tree.at(from).filter(|region| region.ordinal() < end) else { break };
            *entry = region.listed();
            stored = stored.saturating_add(1);
            from = region.ordinal().saturating_add(1);
        }
        stored
    }

    /// Returns the number of the next region. All regions have lower numbers.
    pub(crate) fn next(&self) -> u64 {
        self.state.lock().next
    }

    /// Returns the number of regions, and their bytes.
    pub(crate) fn totals(&self) -> (u32, u64) {
        let state = self.state.lock();
        (state.listed, state.bytes)
    }
}

/// A counted reference to a region that was listed.
///
/// # Invariants
/// The pointer comes from `KBox::into_raw`, its node was initialised by C, and this owns one of the node's references.
pub(crate) struct RegionRef(NonNull<Region>);

// SAFETY: Any task may use and drop a region, which is `Send` and `Sync`.
unsafe impl Send for RegionRef {}
// SAFETY: A shared reference gives access only to the region, which is `Sync`.
unsafe impl Sync for RegionRef {}

impl RegionRef {
    /// Takes over a reference.
    ///
    /// # Safety
    /// `node` must be the first member of a region that was allocated as a `KBox`, and the caller must own a reference
    /// to it, which this takes over.
    pub(crate) unsafe fn from_node(node: NonNull<ffi::Node>) -> Self {
        // INVARIANT: The caller guarantees all of it.
        Self(node.cast())
    }
}

impl Deref for RegionRef {
    type Target = Region;

    fn deref(&self) -> &Region {
        // SAFETY: By the invariant this owns a reference, which keeps the region.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for RegionRef {
    fn drop(&mut self) {
        // SAFETY: By the invariant the node is initialised, and this owns the reference that is dropped here.
        if !unsafe { ffi::knem_node_put(self.node()) } {
            return;
        }
        let node = self.node();
        counters::add(statistics::event(Event::RegionGone), 1);
        if self.memory.pinned().is_none() {
            counters::add(statistics::event(Event::UnpinnedGone), 1);
        }
        // SAFETY: That was the last reference, and a lookup that still finds the node gets no new one, so that nothing
        // else uses the region. Dropping it in place releases the memory, the account and the context at once, and
        // leaves the bytes of the node, which has nothing to drop, as they are.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: By the invariant the region comes from a `KBox`, hence from kmalloc, and the node is its start.
        // Readers of the table may read the node until a grace period has passed, which C waits for.
        unsafe { ffi::knem_node_free(node) };
        task::resched();
    }
}
