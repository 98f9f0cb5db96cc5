// SPDX-License-Identifier: GPL-2.0-only
//! The counters, a set for each CPU. What is counted is in `logic::profile`; `stats` and `proc` show it.

use crate::glue::ffi;
use crate::logic::counter::Counter;
use crate::logic::profile::{self, Call, Event, Now, Path};
use crate::uapi::STATUS_SUCCESS;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// The counters, while the module is loaded.
pub(crate) struct Counters(());

impl Counters {
    /// To be called once, before anything is counted.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load.
        kernel::error::to_result(unsafe { ffi::knem_shim_counters_init(profile::COUNT as c_ulong) })?;
        CLEARED_AT.store(now(), Relaxed);
        Ok(Self(()))
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: Made by `new`; the device and /proc are gone, hence all who count or look.
        unsafe { ffi::knem_shim_counters_destroy() };
    }
}

/// Adds to a counter of [`profile`]. Nothing is shared between processors.
pub(crate) fn add(counter: usize, by: u64) {
    ffi::knem_shim_add(counter as c_ulong, by)
}

/// Counts one event.
pub(crate) fn count(counter: Counter) {
    add(counter as usize, 1);
}

/// Nanoseconds of a clock that only goes forward.
pub(crate) fn now() -> u64 {
    ffi::knem_shim_now()
}

/// A copy by this path has ended, which began at `started`.
pub(crate) fn ended(path: Path, started: u64, bytes: u64, status: u8) {
    add(profile::size(path, bytes), 1);
    add(profile::time(path, now().saturating_sub(started)), 1);
    if status == STATUS_SUCCESS {
        add(profile::bytes(path), bytes);
    } else {
        add(profile::failed(path), 1);
    }
}

/// A call has ended with this error.
pub(crate) fn refused(call: Call, error: Error) {
    add(profile::refused(call, error.to_errno().wrapping_neg()), 1);
}

/// What the counters were when they were last cleared. The counters themselves only grow, so that clearing
/// loses no event that is counted at the same time.
static START: [Atomic<u64>; profile::COUNT] = [const { Atomic::new(0) }; profile::COUNT];

/// When that was, or when the module was loaded.
static CLEARED_AT: Atomic<u64> = Atomic::new(0);

/// A counter's sum over the processors since the module was loaded.
fn counted(counter: usize) -> u64 {
    ffi::knem_shim_counted(counter as c_ulong)
}

/// As [`counted`], since the counters were cleared.
pub(crate) fn value(counter: usize) -> u64 {
    counted(counter).wrapping_sub(START.get(counter).map_or(0, |start| start.load(Relaxed)))
}

/// Starts all counters from 0.
pub(crate) fn clear() {
    for (counter, start) in (0..START.len()).zip(&START) {
        start.store(counted(counter), Relaxed);
    }
    CLEARED_AT.store(now(), Relaxed);
    // SAFETY: The account is open while a file is.
    unsafe { ffi::knem_shim_pinned_peak_clear() };
}

/// What there is at this moment.
pub(crate) fn present() -> Now {
    // Since the module was loaded, whatever was cleared; what is created while this looks may be missing.
    let left = |came: Event, went: Event| {
        let went = counted(profile::event(went));
        counted(profile::event(came)).saturating_sub(went)
    };
    let bytes = |pages: i64| u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_SIZE as u64);
    // SAFETY: The account is open while there are files to read from.
    let pinned = unsafe { ffi::knem_shim_pinned() };
    Now {
        age_ns: now().saturating_sub(CLEARED_AT.load(Relaxed)),
        pinned_bytes: bytes(pinned),
        pinned_bytes_peak: bytes(ffi::knem_shim_pinned_peak()),
        contexts: left(Event::ContextOpened, Event::ContextClosed),
        regions: left(Event::RegionCreated, Event::RegionGone),
        regions_unpinned: left(Event::UnpinnedCreated, Event::UnpinnedGone),
    }
}
