// SPDX-License-Identifier: GPL-2.0-only
//! The list of all contexts, for the statistics.
//!
//! Lock: `CONTEXTS`, a spinlock and a leaf, is taken when files are opened and closed and when the statistics list
//! them.

use crate::glue::account::{self, Account};
use crate::glue::context::Context;
use crate::glue::{counters, gfp, params, task};
use crate::logic::refusal::Refusal;
use crate::logic::statistics::{self, Event};
use core::mem::replace;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::{global_lock, Arc};

global_lock! {
    // SAFETY: `Registry::new` initialises the lock at module load, before the device can be opened, hence before any
    // other use.
    unsafe(uninit) static CONTEXTS: SpinLock<Option<Contexts>> = None;
}

struct Contexts {
    /// By number, in the order of their opening.
    open: RBTree<u64, Arc<Context>>,
    /// Number of the next context.
    next: u64,
}

/// The registry, while the module is loaded.
pub(crate) struct Registry(account::Users);

impl Registry {
    /// Creates the registry. Must be called once, before the device can be opened.
    pub(crate) fn new() -> Self {
        // SAFETY: `Knem::init` calls this function once, at module load, so that the lock is initialised once and
        // before its first use.
        unsafe { CONTEXTS.init() };
        *CONTEXTS.lock() = Some(Contexts { open: RBTree::new(), next: 1 });
        Self(account::Users::new())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The list is empty, since the device is gone and hence every file is closed.
        let contexts = CONTEXTS.lock().take();
        drop(contexts);
    }
}

/// Creates a context for a file that the calling task opens, and registers it. Does not wait, see [`gfp::no_wait`].
///
/// # Errors
/// ENOMEM; ENOSPC if the user has as many contexts as allowed (parameter `max_contexts`), unless the caller has
/// CAP_SYS_RESOURCE.
pub(crate) fn open() -> Result<Arc<Context>> {
    let owner = task::identity();
    let reservation = RBTreeNodeReservation::new(gfp::no_wait())?;
    let account = Account::of(owner.uid)?;
    let admit = |most| account.contexts().add_unless_over(1, most);
    // The capability is checked only when it matters, since a failed check is recorded in audit logs.
    if !(admit(params::max_contexts().into()) || task::may_exceed_limits() && admit(u64::MAX)) {
        return Err(Refusal::TooManyContexts.into());
    }
    let context = number()
        .and_then(|ordinal| Context::new(ordinal, owner, account.clone()))
        .inspect_err(|_| account.contexts().subtract(1))?;
    counters::add(statistics::event(Event::ContextOpened), 1);
    let node = reservation.into_node(context.ordinal(), context.clone());
    if let Some(contexts) = CONTEXTS.lock().as_mut() {
        // Numbers are not used twice, so that no entry is replaced.
        let _ = contexts.open.insert(node);
    }
    Ok(context)
}

/// Returns the number of a new context.
///
/// # Errors
/// ENODEV if the module is being unloaded.
fn number() -> Result<u64> {
    let mut guard = CONTEXTS.lock();
    let contexts = guard.as_mut().ok_or(Refusal::Unavailable)?;
    let next = contexts.next.saturating_add(1);
    Ok(replace(&mut contexts.next, next))
}

/// Removes a context.
pub(crate) fn close(context: &Context) {
    let node = CONTEXTS.lock().as_mut().and_then(|contexts| contexts.open.remove_node(&context.ordinal()));
    context.account().contexts().subtract(1);
    counters::add(statistics::event(Event::ContextClosed), 1);
    drop(node);
}

/// Returns the context with the lowest number that is at least `from` and less than `end`.
pub(crate) fn next(from: u64, end: u64) -> Option<Arc<Context>> {
    let guard = CONTEXTS.lock();
    let cursor = guard.as_ref()?.open.cursor_lower_bound(&from)?;
    let (ordinal, context) = cursor.current();
    (*ordinal < end).then(|| context.clone())
}

/// Returns the number of the next context. All open ones have lower numbers.
pub(crate) fn end() -> u64 {
    CONTEXTS.lock().as_ref().map_or(0, |contexts| contexts.next)
}
