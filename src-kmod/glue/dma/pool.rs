// SPDX-License-Identifier: GPL-2.0-only
//! The claimed channels, which all contexts share.
//!
//! Channels are claimed on demand: the first when a request needs one, others when those are busy or far from the
//! memory. A claim may be slow, so that a failed attempt is not repeated at once.

use crate::glue::dma::channel::{Channel, Using, FREE};
use crate::glue::dma::NO_NODE;
use crate::glue::{ffi, params};
use crate::logic::dma::{self, Attempt};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// Most channels, regardless of the parameter.
const MOST: usize = 32;

type Channels = [Option<Arc<Channel>>; MOST];
const NONE: Channels = [const { None }; MOST];

/// The claimed channels, and the last attempt to claim one that failed.
struct Pool {
    channels: Channels,
    vain: Option<Attempt>,
}

kernel::sync::global_lock! {
    // SAFETY: `init` initialises the lock at module load, before any other use.
    unsafe(uninit) static POOL: Mutex<Pool> = Pool { channels: NONE, vain: None };
}

/// Whether the pool is not in its initial state: where DMA is disabled, it must be tidied up then.
static USED: Atomic<bool> = Atomic::new(false);

/// Initialises the pool.
///
/// # Safety
/// Must be called once, before any other function of this module.
pub(super) unsafe fn init() {
    // SAFETY: The caller guarantees that this is the only call and comes before any other use of the lock.
    unsafe { POOL.init() };
}

/// Releases all channels.
pub(super) fn clear() {
    let channels = core::mem::replace(&mut POOL.lock().channels, NONE);
    drop(channels);
}

/// Returns how many channels may be claimed.
fn allowed() -> u32 {
    if params::dma() {
        params::dma_channels().min(MOST as u32)
    } else {
        0
    }
}

/// Whether there is a channel. Claims one if there is none.
pub(super) fn available() -> bool {
    with_pool(|pool, allowed| {
        let any = pool.count() != 0;
        any || pool.claim(NO_NODE, u32::MAX, allowed)
    })
}

/// Returns the best channel for memory of `node`. May claim a better one.
pub(super) fn acquire(node: c_int) -> Option<Using> {
    with_pool(|pool, allowed| {
        let best = pool.best(node);
        let nearer_than = dma::worth_claiming(best.map(|(_, best)| best));
        let best = if pool.claim(node, nearer_than, allowed) { pool.best(node) } else { best };
        let channel = pool.channels.get(best?.0)?.as_ref()?;
        Some(Using::new(channel.clone()))
    })
}

/// Removes a channel from the pool; it is released when no transfer uses it any more.
pub(super) fn forget(channel: &Arc<Channel>) {
    let mut pool = POOL.lock();
    let mut found = None;
    for slot in &mut pool.channels {
        if slot.as_ref().is_some_and(|slot| Arc::ptr_eq(slot, channel)) {
            found = slot.take();
        }
    }
    drop(pool);
    // The caller uses the channel, so that this is not its last reference.
    drop(found);
}

/// Calls a function with the pool and the number of channels that it may have now.
fn with_pool<T: Default>(use_pool: impl FnOnce(&mut Pool, u32) -> T) -> T {
    let allowed = allowed();
    if allowed == 0 && !USED.load(Relaxed) {
        return T::default();
    }
    let mut pool = POOL.lock();
    let surplus = pool.tidy(allowed);
    if surplus.iter().any(Option::is_some) {
        // Releasing channels may take long. It is done first, so that they can be claimed again.
        drop(pool);
        drop(surplus);
        pool = POOL.lock();
    }
    let outcome = if allowed == 0 {
        pool.vain = None;
        T::default()
    } else {
        use_pool(&mut pool, allowed)
    };
    USED.store(pool.count() != 0 || pool.vain.is_some(), Relaxed);
    outcome
}

impl Pool {
    fn count(&self) -> u32 {
        // `Iterator::count`, compiled with the kernel's overflow checks, contains a panic.
        self.channels.iter().flatten().fold(0, |count, _| u32::saturating_add(count, 1))
    }

    /// Removes useless channels and those that exceed `allowed`, and returns them.
    fn tidy(&mut self, allowed: u32) -> Channels {
        let mut out = NONE;
        let mut kept = 0u32;
        for (slot, out) in self.channels.iter_mut().zip(&mut out) {
            match slot {
                Some(channel) if channel.useless() || kept >= allowed => *out = slot.take(),
                Some(_) => kept = kept.saturating_add(1),
                None => {}
            }
        }
        out
    }

    /// Returns the best channel for memory of `node`, and its rank.
    fn best(&self, node: c_int) -> Option<(usize, dma::Candidate)> {
        dma::choose(self.channels.iter().map(|slot| Some(slot.as_ref()?.candidate(node))))
    }

    /// Claims the channel that is nearest to `node`, if it is nearer than `nearer_than` and another may be claimed.
    /// Returns whether it has.
    fn claim(&mut self, node: c_int, nearer_than: u32, allowed: u32) -> bool {
        let now = ffi::knem_dma_now();
        let full = self.count() >= allowed;
        if nearer_than <= NEAREST || full {
            return false;
        }
        let in_vain = self.vain.is_some_and(|vain| !vain.over(now, allowed));
        if in_vain && !FREE.load(Relaxed) {
            return false;
        }
        FREE.store(false, Relaxed);
        let free = self.channels.iter_mut().find(|slot| slot.is_none());
        if let (Some(free), Some(channel)) = (free, Channel::claim(node, nearer_than)) {
            *free = Some(channel);
            self.vain = None;
            return true;
        }
        self.vain = Some(Attempt { at: now, allowed });
        false
    }
}

/// The kernel's LOCAL_DISTANCE: no node is nearer.
const NEAREST: u32 = 10;
