// SPDX-License-Identifier: GPL-2.0-only
//! Every region of the machine by its cookie.
//!
//! A look-up takes no lock. What is found is counted, so that it stays while a request uses it.

use crate::glue::region::{Region, RegionRef};
use crate::glue::{counters, ffi, task};
use crate::logic::refusal::Refusal;
use crate::uapi::Cookie;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Tries to find a cookie that is not taken. One is enough, but for a chance of 2^-40 with a million regions.
const TRIES: usize = 4;

/// The table, while the module is loaded.
pub(crate) struct Table(());

impl Table {
    /// Makes the table. To be called once, before anyone can open the device.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load.
        kernel::error::to_result(unsafe { ffi::knem_table_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: The device is gone, so that no file is open; each file's end has removed its regions.
        unsafe { ffi::knem_table_destroy() };
    }
}

/// Nanoseconds that a region waits for the table to grow. That takes milliseconds where there is memory.
const PATIENCE: u64 = 2_000_000_000;

/// Lists a region under a new cookie: 64 bits from the kernel's random number generator, never 0.
///
/// # Errors
/// ENOMEM if the table cannot grow, has as many regions as it may, or no free cookie was found; EINTR if the caller is killed.
pub(crate) fn insert(region: KBox<Region>) -> Result<(Cookie, RegionRef)> {
    let region = KBox::into_raw(region);
    // SAFETY: Just taken from its box.
    let node = unsafe { (*region).node() };
    let (mut result, mut taken, mut until) = (Err(ENOMEM), 0usize, None);
    while taken < TRIES {
        let cookie = ffi::knem_shim_random();
        if cookie == 0 {
            taken = taken.saturating_add(1);
            continue;
        }
        // SAFETY: The node is memory for C's, not listed yet, and stays where it is until it is unlisted and a
        // grace period has passed (`RegionRef`).
        match kernel::error::to_result(unsafe { ffi::knem_table_insert(node, cookie) }) {
            Ok(()) => {
                result = Ok(cookie);
                break;
            }
            Err(error) if error == EEXIST => taken = taken.saturating_add(1),
            // A worker is about to let the table grow, or tries to.
            Err(error) if error == EBUSY || error == ENOMEM => {
                if task::killed() {
                    result = Err(EINTR);
                    break;
                }
                let now = counters::now();
                if now >= *until.get_or_insert(now.saturating_add(PATIENCE)) {
                    break;
                }
                ffi::knem_shim_pause();
            }
            Err(_) => break,
        }
    }
    match (result, NonNull::new(node)) {
        (Ok(cookie), Some(node)) => {
            // SAFETY: From a `KBox`; C has initialised the node with one reference, which is this.
            Ok((cookie, unsafe { RegionRef::from_node(node) }))
        }
        (result, _) => {
            // SAFETY: Not listed, so nobody else knows it; taken from its box above.
            drop(unsafe { KBox::from_raw(region) });
            Err(result.err().unwrap_or(EINVAL))
        }
    }
}

/// Takes a region off the table, if it is there.
pub(crate) fn remove(region: &Region) {
    // SAFETY: Its node was listed, and the region is kept by the caller's reference. Being off the list already is
    // allowed.
    unsafe { ffi::knem_table_remove(region.node()) };
}

/// The region with this cookie, all 64 bits of it.
///
/// # Errors
/// EINVAL.
pub(crate) fn get(cookie: Cookie) -> Result<RegionRef> {
    // SAFETY: The table is there while a file is open. Zero is never listed.
    let node = unsafe { ffi::knem_table_get(cookie) };
    match NonNull::new(node) {
        // SAFETY: Only regions from a `KBox` are listed, and C has taken a reference for us.
        Some(node) => Ok(unsafe { RegionRef::from_node(node) }),
        None => Err(Refusal::NoSuchCookie.into()),
    }
}
