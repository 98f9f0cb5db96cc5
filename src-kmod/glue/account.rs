// SPDX-License-Identifier: GPL-2.0-only
//! Accounts of the resources that are limited per user: contexts, memory of status arrays and events, pinned memory,
//! worker threads.
//!
//! Lock: `USERS`, a spinlock and a leaf, protects the tree of users. It is taken when a context is opened and when the
//! last use of an account ends.

use crate::glue::{counters, ffi, gfp, params, task};
use crate::logic::quota::{self, Tally};
use crate::logic::refusal::Refusal;
use core::ops::Deref;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::rbtree::{Entry, RBTree, RBTreeNodeReservation};
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{global_lock, Arc};

global_lock! {
    // SAFETY: `Users::new` initialises the lock at module load, before the device can be opened, hence before any other
    // use.
    unsafe(uninit) static USERS: SpinLock<Option<RBTree<u32, Arc<UserAccount>>>> = None;
}

/// The users, while the module is loaded.
pub(crate) struct Users(());

impl Users {
    /// Creates the tree of users. Must be called once, before the device can be opened.
    pub(crate) fn new() -> Self {
        // SAFETY: `Knem::init` calls this function once, at module load, so that the lock is initialised once and
        // before its first use.
        unsafe { USERS.init() };
        *USERS.lock() = Some(RBTree::new());
        Self(())
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // The tree is empty, since every file is closed.
        let users = USERS.lock().take();
        drop(users);
    }
}

/// A sum that is compared with its limit before it grows.
pub(crate) struct Quantity(Atomic<u64>);

impl Tally for Quantity {
    fn sum(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn change(&self, from: u64, to: u64) -> core::result::Result<(), u64> {
        self.0.cmpxchg(from, to, Relaxed).map(drop)
    }
}

impl Quantity {
    const fn new(sum: u64) -> Self {
        Self(Atomic::new(sum))
    }

    /// Adds `amount` unless the sum would exceed `most`; returns whether it was added. A refused attempt never changes
    /// the sum, not even temporarily.
    pub(crate) fn add_unless_over(&self, amount: u64, most: u64) -> bool {
        quota::add_unless_over(self, amount, most)
    }

    /// Subtracts an amount that was added.
    pub(crate) fn subtract(&self, amount: u64) {
        // This cannot fail: only amounts that were added are subtracted.
        let _ = quota::subtract_unless_under(self, amount, 0);
    }
}

/// Nanoseconds between two probes of a user.
const PROBE_INTERVAL: u64 = 100_000_000;

/// The resources that a user has.
pub(crate) struct UserAccount {
    uid: u32,
    /// Number of [`Account`]s. It becomes 0 only under the lock, and never grows again after that.
    holders: Quantity,
    contexts: Quantity,
    arrays: Quantity,
    pinned: Quantity,
    workers: Quantity,
    /// Earliest time of the next probe of a cpuset for this user, in nanoseconds of [`counters::now`].
    probes: Quantity,
}

impl UserAccount {
    /// Open contexts.
    pub(crate) fn contexts(&self) -> &Quantity {
        &self.contexts
    }

    /// Bytes of status arrays and of memory for their events.
    pub(crate) fn arrays(&self) -> &Quantity {
        &self.arrays
    }

    /// Worker threads.
    pub(crate) fn workers(&self) -> &Quantity {
        &self.workers
    }

    /// Waits until a cpuset may be probed for the user: once in [`PROBE_INTERVAL`], because a probe stops forks on the
    /// whole machine for a moment. Users do not wait for each other.
    ///
    /// # Errors
    /// EINTR if the caller is killed.
    pub(crate) fn wait_for_probe(&self) -> Result {
        let delay = quota::turn(&self.probes, counters::now(), PROBE_INTERVAL).div_ceil(1_000_000);
        task::sleep(u32::try_from(delay).unwrap_or(u32::MAX))
    }

    /// Pinned pages.
    pub(crate) fn pinned(&self) -> &Quantity {
        &self.pinned
    }
}

/// A reference to a user's account. A user has one account as long as one of these is left, so that resources which a
/// closed file still holds count against the next one.
pub(crate) struct Account(Arc<UserAccount>);

impl Account {
    /// Returns the account of the user `uid`, a number of the initial user namespace, and creates it if there is none.
    ///
    /// # Errors
    /// ENOMEM. ENODEV if the module is being unloaded.
    pub(crate) fn of(uid: u32) -> Result<Self> {
        if let Some(mut present) = USERS.lock().as_mut().ok_or(Refusal::Unavailable)?.find_mut(&uid) {
            return Ok(Self::hold(present.get_mut()));
        }
        let reservation = RBTreeNodeReservation::new(gfp::no_wait())?;
        let fresh = UserAccount {
            uid,
            holders: Quantity::new(0),
            contexts: Quantity::new(0),
            arrays: Quantity::new(0),
            pinned: Quantity::new(0),
            workers: Quantity::new(0),
            probes: Quantity::new(0),
        };
        let fresh = Arc::new(fresh, gfp::no_wait())?;
        let mut guard = USERS.lock();
        let users = guard.as_mut().ok_or(Refusal::Unavailable)?;
        let mut spare = None;
        let account = match users.entry(uid) {
            Entry::Occupied(entry) => {
                spare = Some((reservation, fresh));
                Self::hold(entry.into_mut())
            }
            Entry::Vacant(entry) => Self::hold(entry.insert(fresh, reservation)),
        };
        drop(guard);
        drop(spare);
        Ok(account)
    }

    fn hold(account: &Arc<UserAccount>) -> Self {
        // This cannot fail: there are far fewer holders than the type can count.
        let _ = account.holders.add_unless_over(1, u64::MAX);
        Self(account.clone())
    }
}

impl Clone for Account {
    fn clone(&self) -> Self {
        Self::hold(&self.0)
    }
}

impl Deref for Account {
    type Target = UserAccount;

    fn deref(&self) -> &UserAccount {
        &self.0
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // In the common case other holders are left, and only one word changes.
        if quota::subtract_unless_under(&self.0.holders, 1, 1) {
            return;
        }
        let mut guard = USERS.lock();
        self.0.holders.subtract(1);
        // The user may have opened another file before the lock was taken.
        let mut empty = None;
        if self.0.holders.sum() == 0 {
            empty = guard.as_mut().and_then(|users| users.remove_node(&self.0.uid));
        }
        drop(guard);
        drop(empty);
    }
}

/// Memory of a status array or its events, charged to a user until this is dropped.
pub(crate) struct ArrayMemory {
    account: Account,
    bytes: u64,
}

impl ArrayMemory {
    /// Charges `bytes` to a user.
    ///
    /// # Errors
    /// ENOMEM if the user would have more than the parameter `max_slots_mb` allows.
    pub(crate) fn charge(account: &Account, bytes: u64) -> Result<Self> {
        let ram = ffi::knem_shim_ram_pages() as u64;
        let most = quota::slot_memory(params::max_slots_mib(), ram.saturating_mul(PAGE_SIZE as u64));
        if !account.arrays().add_unless_over(bytes, most) {
            return Err(Refusal::SlotLimit.into());
        }
        Ok(Self { account: account.clone(), bytes })
    }
}

impl Drop for ArrayMemory {
    fn drop(&mut self) {
        self.account.arrays().subtract(self.bytes);
    }
}
