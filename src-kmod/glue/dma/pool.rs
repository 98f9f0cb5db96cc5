// SPDX-License-Identifier: GPL-2.0-only
//! The channels that are claimed, for all files together.
//!
//! They are claimed when they are needed: the first when anybody asks for one, others when those are busy or far from the
//! memory. Claiming may be slow, so what was tried in vain is not tried again at once.

use crate::glue::dma::channel::{Channel, Using, FREE};
use crate::glue::dma::NO_NODE;
use crate::glue::{ffi, params};
use crate::logic::dma::{self, Attempt};
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::Arc;

/// Most channels, whatever the parameter says.
const MOST: usize = 32;

type Channels = [Option<Arc<Channel>>; MOST];
const NONE: Channels = [const { None }; MOST];

/// What is claimed.
struct Pool {
    channels: Channels,
    vain: Option<Attempt>,
}

kernel::sync::global_lock! {
    // SAFETY: `init` is called before anything else.
    unsafe(uninit) static POOL: Mutex<Pool> = Pool { channels: NONE, vain: None };
}

/// Whether the pool is other than it was in the beginning; tells those who may have no channel whether to tidy up.
static USED: Atomic<bool> = Atomic::new(false);

/// Makes the pool usable.
///
/// # Safety
/// To be called once, before anything else here.
pub(super) unsafe fn init() {
    // SAFETY: The caller's promise.
    unsafe { POOL.init() };
}

/// Gives all channels back.
pub(super) fn clear() {
    let channels = core::mem::replace(&mut POOL.lock().channels, NONE);
    drop(channels);
}

/// How many channels may be claimed.
fn allowed() -> u32 {
    if params::dma() {
        params::dma_channels().min(MOST as u32)
    } else {
        0
    }
}

/// Whether there is a channel, claimed now if need be.
pub(super) fn available() -> bool {
    with_pool(|pool, allowed| {
        let any = pool.count() != 0;
        any || pool.claim(NO_NODE, u32::MAX, allowed)
    })
}

/// The best channel for memory of `node`.
pub(super) fn acquire(node: c_int) -> Option<Using> {
    with_pool(|pool, allowed| {
        let best = pool.best(node);
        let nearer_than = dma::worth_claiming(best.map(|(_, best)| best));
        let best = if pool.claim(node, nearer_than, allowed) { pool.best(node) } else { best };
        let channel = pool.channels.get(best?.0)?.as_ref()?;
        Some(Using::new(channel.clone()))
    })
}

/// Gives a channel back as soon as nobody uses it any more.
pub(super) fn forget(channel: &Arc<Channel>) {
    let mut pool = POOL.lock();
    let mut found = None;
    for slot in &mut pool.channels {
        if slot.as_ref().is_some_and(|slot| Arc::ptr_eq(slot, channel)) {
            found = slot.take();
        }
    }
    drop(pool);
    // The caller uses it, so that this is not the last reference.
    drop(found);
}

/// Does something with the pool as it is allowed to be now.
fn with_pool<T: Default>(use_pool: impl FnOnce(&mut Pool, u32) -> T) -> T {
    let allowed = allowed();
    if allowed == 0 && !USED.load(Relaxed) {
        return T::default();
    }
    let mut pool = POOL.lock();
    let surplus = pool.tidy(allowed);
    if surplus.iter().any(Option::is_some) {
        // Giving channels back may take a while. It comes first, so that they can be claimed anew.
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
        // `Iterator::count`, compiled with the kernel's overflow checks, brings a panic along.
        self.channels.iter().flatten().fold(0, |count, _| u32::saturating_add(count, 1))
    }

    /// Takes out what is of no use, and what is not allowed any more.
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

    /// The best channel for memory of `node`.
    fn best(&self, node: c_int) -> Option<(usize, dma::Candidate)> {
        dma::choose(self.channels.iter().map(|slot| Some(slot.as_ref()?.candidate(node))))
    }

    /// Claims the channel that is nearest to `node` and nearer than this, if it may. Returns whether it has.
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

/// Kernel's LOCAL_DISTANCE: nothing is nearer.
const NEAREST: u32 = 10;
