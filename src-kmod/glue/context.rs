// SPDX-License-Identifier: GPL-2.0-only
//! What belongs to one open file: its owner, and its regions.
//!
//! Lock: `Context::regions`, a spinlock, is the only one. Regions are removed from the tree under it and dropped
//! after it is released, since unpinning may sleep.

use crate::glue::region::{Region, RegionRef};
use crate::glue::{params, table, task};
use crate::logic::flags::Masks;
use crate::logic::refusal::Refusal;
use crate::uapi::Cookie;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::rbtree::{RBTree, RBTreeNodeReservation};
use kernel::sync::atomic::{ordering::Relaxed, Atomic};
use kernel::sync::{Arc, SpinLock};

/// An open file that may create regions and make requests. All descriptors and processes that share the file share it.
#[pin_data]
pub(crate) struct Context {
    /// Real user id of the opener.
    uid: u32,
    /// Forced and ignored flags, as they were when the file was opened.
    masks: Masks,
    /// Whether a region was created or a request made.
    used: Atomic<bool>,
    /// The regions by cookie. Each has one reference here, which counts for the table as well.
    #[pin]
    regions: SpinLock<RBTree<Cookie, RegionRef>>,
}

impl Context {
    /// The context of a file that the calling task opens.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                uid: task::uid(),
                masks: params::masks(),
                used: Atomic::new(false),
                regions <- new_spinlock!(RBTree::new(), "knem::Context::regions"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Real user id of the opener.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// Forced and ignored flags.
    pub(crate) fn masks(&self) -> Masks {
        self.masks
    }

    /// Whether a region was created or a request made.
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

    /// Lists a region of this context, and returns its cookie.
    ///
    /// # Errors
    /// ENOMEM, EBUSY.
    pub(crate) fn publish(&self, region: KBox<Region>) -> Result<Cookie> {
        let place = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let (cookie, region) = table::insert(region)?;
        // From here on a request may find the region, if it guesses the cookie, which nobody knows yet.
        let node = place.into_node(cookie, region);
        let replaced = self.regions.lock().insert(node);
        // Cookies are unique while they are listed, so there was none to replace.
        drop(replaced);
        Ok(cookie)
    }

    /// Withdraws the region with this cookie. Requests that use it complete.
    ///
    /// # Errors
    /// EINVAL if this context has no such region.
    pub(crate) fn destroy(&self, cookie: Cookie) -> Result {
        let node = self.regions.lock().remove_node(&cookie);
        let (_, region) = node.ok_or(Refusal::NoSuchCookie)?.to_key_value();
        table::remove(&region);
        Ok(())
    }

    /// Withdraws a region that a request has consumed, if nobody else has withdrawn it.
    pub(crate) fn withdraw(&self, region: &Region) {
        table::remove(region);
        let node = self.regions.lock().remove_node(&region.cookie());
        drop(node);
    }

    /// Withdraws all regions: first all cookies, then their memory.
    pub(crate) fn close(&self) {
        let regions = core::mem::replace(&mut *self.regions.lock(), RBTree::new());
        for region in regions.values() {
            table::remove(region);
            task::resched();
        }
        drop(regions);
    }
}
