// SPDX-License-Identifier: GPL-2.0-only
//! Every open file that has a context: how many each user has, and which there are, for the statistics.
//!
//! Lock: one for the machine, taken where files are opened and closed and where the statistics list them; a leaf.

use crate::glue::context::Context;
use crate::glue::{params, stats, task};
use crate::logic::profile::{self, Event};
use crate::logic::refusal::Refusal;
use core::mem::replace;
use kernel::prelude::*;
use kernel::rbtree::{Entry, RBTree, RBTreeNodeReservation};
use kernel::sync::{global_lock, Arc};

global_lock! {
    // SAFETY: `Registry::new` initialises it before the device can be opened.
    unsafe(uninit) static CONTEXTS: SpinLock<Option<Contexts>> = None;
}

struct Contexts {
    /// By number, in the order of their opening.
    open: RBTree<u64, Arc<Context>>,
    /// Number of contexts of each user.
    users: RBTree<u32, u32>,
    /// Number of the next context.
    next: u64,
}

/// The registry, while the module is loaded.
pub(crate) struct Registry(());

impl Registry {
    /// Makes the registry. To be called once, before anyone can open the device.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once, at load.
        unsafe { CONTEXTS.init() };
        *CONTEXTS.lock() = Some(Contexts { open: RBTree::new(), users: RBTree::new(), next: 1 });
        Self(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Empty: the device is gone, hence every file.
        let contexts = CONTEXTS.lock().take();
        drop(contexts);
    }
}

/// Makes a context and enters it. `make` gets its number.
///
/// # Errors
/// ENOMEM; ENOSPC if the user has as many as a user may have (parameter `max_contexts`), unless the caller has
/// CAP_SYS_RESOURCE.
pub(crate) fn open(uid: u32, make: impl FnOnce(u64) -> Result<Arc<Context>>) -> Result<Arc<Context>> {
    let place = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
    let mut ordinal = admit(uid, params::max_contexts())?;
    // Asked only when it matters, since asking leaves traces in audit logs.
    if ordinal.is_none() && task::may_exceed_limits() {
        ordinal = admit(uid, u32::MAX)?;
    }
    let ordinal = ordinal.ok_or(Refusal::TooManyContexts)?;
    let context = make(ordinal).inspect_err(|_| dismiss(uid))?;
    stats::add(profile::event(Event::ContextOpened), 1);
    let node = place.into_node(ordinal, context.clone());
    if let Some(contexts) = CONTEXTS.lock().as_mut() {
        // Numbers are not used twice, so that nothing is replaced.
        let _ = contexts.open.insert(node);
    }
    Ok(context)
}

/// Counts one more context of a user, if there may be one; returns its number then.
///
/// # Errors
/// ENOMEM.
fn admit(uid: u32, most: u32) -> Result<Option<u64>> {
    let place = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
    let mut guard = CONTEXTS.lock();
    let contexts = guard.as_mut().ok_or(Refusal::Unavailable)?;
    let mut spare = None;
    let count = match contexts.users.entry(uid) {
        Entry::Occupied(entry) => {
            spare = Some(place);
            entry.into_mut()
        }
        Entry::Vacant(entry) => entry.insert(0, place),
    };
    let admitted = *count < most;
    if admitted {
        *count = count.saturating_add(1);
    }
    let next = contexts.next.saturating_add(1);
    let ordinal = replace(&mut contexts.next, next);
    drop(guard);
    drop(spare);
    Ok(admitted.then_some(ordinal))
}

/// Counts one context of a user less.
fn dismiss(uid: u32) {
    let mut guard = CONTEXTS.lock();
    let Some(contexts) = guard.as_mut() else { return };
    let mut empty = None;
    if let Some(mut entry) = contexts.users.find_mut(&uid) {
        let count = entry.get_mut();
        *count = count.saturating_sub(1);
        if *count == 0 {
            empty = Some(entry.remove_node());
        }
    }
    drop(guard);
    drop(empty);
}

/// Strikes a context out.
pub(crate) fn close(context: &Context) {
    let node = CONTEXTS.lock().as_mut().and_then(|contexts| contexts.open.remove_node(&context.ordinal()));
    dismiss(context.owner().uid);
    stats::add(profile::event(Event::ContextClosed), 1);
    drop(node);
}

/// The context with the lowest number that is at least `from`.
pub(crate) fn next(from: u64) -> Option<Arc<Context>> {
    let guard = CONTEXTS.lock();
    let cursor = guard.as_ref()?.open.cursor_lower_bound(&from)?;
    Some(cursor.current().1.clone())
}
