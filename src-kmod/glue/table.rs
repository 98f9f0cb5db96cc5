// SPDX-License-Identifier: GPL-2.0-only
//! The table of all regions of the machine by cookie.
//!
//! A lookup takes no lock. It returns a counted reference, so that the region exists while a request uses it.

use crate::glue::region::{Region, RegionRef};
use crate::glue::{counters, ffi, task};
use crate::logic::refusal::Refusal;
use crate::uapi::Cookie;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Attempts to find a free cookie. One is enough, except with a probability of 2^-40 for a million regions.
const TRIES: usize = 4;

/// The table, while the module is loaded.
pub(crate) struct Table(());

impl Table {
    /// Creates the table. Must be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, before any region is listed.
        kernel::error::to_result(unsafe { ffi::knem_table_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: The device is gone, so that no file is open, and closing a file has removed its regions. The table is
        // empty and nothing uses it any more.
        unsafe { ffi::knem_table_destroy() };
    }
}

/// Nanoseconds to wait for the table to grow, which takes milliseconds if there is memory.
const PATIENCE: u64 = 2_000_000_000;

/// Lists a region under a new cookie: 64 bits from the kernel's random number generator, never 0.
///
/// # Errors
/// ENOMEM if the table cannot grow, has as many regions as it may, or no free cookie was found; EINTR if the caller is
/// killed.
pub(crate) fn insert(region: KBox<Region>) -> Result<(Cookie, RegionRef)> {
    let region = KBox::into_raw(region);
    // SAFETY: The pointer was taken from its box just now, so that the region is valid.
    let node = unsafe { (*region).node() };
    let (mut result, mut taken, mut until) = (Err(ENOMEM), 0usize, None);
    while taken < TRIES {
        let cookie = ffi::knem_shim_random();
        if cookie == 0 {
            taken = taken.saturating_add(1);
            continue;
        }
        // SAFETY: The node is memory for C's structure and not listed yet. It does not move until it is unlisted and a
        // grace period has passed, as `RegionRef` ensures.
        match kernel::error::to_result(unsafe { ffi::knem_table_insert(node, cookie) }) {
            Ok(()) => {
                result = Ok(cookie);
                break;
            }
            Err(error) if error == EEXIST => taken = taken.saturating_add(1),
            // The kernel's work item is about to grow the table, or tries to.
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
            // SAFETY: The region comes from a `KBox`. C has initialised the node with one reference, which this takes
            // over.
            Ok((cookie, unsafe { RegionRef::from_node(node) }))
        }
        (result, _) => {
            // SAFETY: The region was taken from its box above and is not listed, so that nothing else refers to it.
            drop(unsafe { KBox::from_raw(region) });
            Err(result.err().unwrap_or(EINVAL))
        }
    }
}

/// Removes a region from the table, if it is there.
pub(crate) fn remove(region: &Region) {
    // SAFETY: The node was listed, and the caller's reference keeps the region. C allows that the node is already
    // removed.
    unsafe { ffi::knem_table_remove(region.node()) };
}

/// Returns the region with this cookie, all 64 bits of which must match.
///
/// # Errors
/// EINVAL if there is none.
pub(crate) fn get(cookie: Cookie) -> Result<RegionRef> {
    // SAFETY: The table exists while a file is open, which is the case during the call.
    let node = unsafe { ffi::knem_table_get(cookie) };
    match NonNull::new(node) {
        // SAFETY: Only regions from a `KBox` are listed, and C has taken a reference that this takes over.
        Some(node) => Ok(unsafe { RegionRef::from_node(node) }),
        None => Err(Refusal::NoSuchCookie.into()),
    }
}
