// SPDX-License-Identifier: GPL-2.0-only
//! A region, and counted references to it.

use crate::glue::context::{Context, Listed};
use crate::glue::ffi;
use crate::glue::memory::Memory;
use crate::glue::{params, stats, task};
use crate::logic::access::{Rule, Want};
use crate::logic::claim::{self, Slot};
use crate::logic::profile::{self, Event};
use crate::logic::refusal::Refusal;
use core::ops::Deref;
use core::ptr::NonNull;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering, Atomic};
use kernel::sync::Arc;
use kernel::types::Opaque;

/// Memory that other processes may use.
///
/// It lives as long as a reference does: the table's and the tree's of its context (one together, see [`Context`]), and
/// one for each request that uses it.
#[repr(C)]
pub(crate) struct Region {
    /// What the table needs. First, so that its address is the region's.
    node: Opaque<ffi::Node>,
    rule: Rule,
    /// Number of the region in its context, for the statistics. No part of the cookie.
    ordinal: u64,
    single_use: Option<State>,
    memory: Memory,
    owner: Arc<Context>,
}

const _: () = assert!(core::mem::offset_of!(Region, node) == 0);

// SAFETY: The node is changed by C, which synchronises; the memory by copies, which do not care who else changes it;
// everything else is constant or itself `Sync`.
unsafe impl Sync for Region {}
// SAFETY: Nothing in it belongs to a task.
unsafe impl Send for Region {}

/// State of a single-use region.
struct State(Atomic<u32>);

impl Slot for State {
    fn change(&self, from: u32, to: u32) -> bool {
        self.0.cmpxchg(from, to, ordering::Full).is_ok()
    }
}

impl Region {
    /// A region of `owner`, not listed yet.
    pub(crate) fn new(owner: Arc<Context>, rule: Rule, single_use: bool, memory: Memory) -> Self {
        Self {
            node: Opaque::new(ffi::Node::new()),
            rule,
            ordinal: 0,
            single_use: single_use.then(|| State(Atomic::new(claim::FREE))),
            memory,
            owner,
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

    /// Whether it is a region of this context.
    pub(crate) fn belongs_to(&self, context: &Context) -> bool {
        core::ptr::eq(&raw const *self.owner, context)
    }

    /// The region's memory.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
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
        stats::add(profile::event(Event::RegionGone), 1);
        if self.memory.pinned().is_none() {
            stats::add(profile::event(Event::UnpinnedGone), 1);
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

/// A region in use by a request that may still be refused. A single-use region is claimed, so that no other request
/// gets it, and given back if this is dropped.
pub(crate) struct Claimed {
    region: RegionRef,
    accepted: bool,
}

impl Claimed {
    /// Checks whether the calling task may use the region as `want` says, and claims it.
    ///
    /// # Errors
    /// EPERM in another namespace with `strict_ns`; EPERM, then EACCES, as [`Rule::check`]; EINVAL if another request has claimed it.
    pub(crate) fn new(region: RegionRef, want: Want) -> Result<Self> {
        if params::strict_ns() && !region.owner.shares_namespaces() {
            return Err(Refusal::OtherUser.into());
        }
        region.rule.check(task::identity(), want)?;
        if let Some(state) = &region.single_use {
            if !claim::claim(state) {
                return Err(Refusal::NoSuchCookie.into());
            }
        }
        Ok(Self { region, accepted: false })
    }

    /// The region.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Whether the calling task is another user's.
    pub(crate) fn is_foreign(&self) -> bool {
        self.region.rule.is_foreign(task::identity())
    }

    /// Whether the region goes with this use.
    pub(crate) fn is_single_use(&self) -> bool {
        self.region.single_use.is_some()
    }

    /// The request is accepted: a single-use region is withdrawn, and stays claimed. Its memory remains until this is
    /// dropped, after the copy.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
        if self.region.single_use.is_some() {
            self.region.owner.withdraw(&self.region);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let (Some(state), false) = (&self.region.single_use, self.accepted) {
            claim::give_back(state);
        }
    }
}
