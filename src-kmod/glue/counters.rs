// SPDX-License-Identifier: GPL-2.0-only
//! The counters, a set for each CPU. `logic::statistics` defines what is counted; `stats` and `proc` print it.

use crate::glue::ffi;
use crate::logic::counter::Counter;
use crate::logic::statistics::{self, Call, Event, Now, Path};
use crate::uapi::STATUS_SUCCESS;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// The counters, while the module is loaded.
pub(crate) struct Counters(());

impl Counters {
    /// Allocates the counters. Must be called once, before anything is counted.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, before anything is counted.
        kernel::error::to_result(unsafe { ffi::knem_shim_counters_init(statistics::COUNT as c_ulong) })?;
        CLEARED_AT.store(now(), Relaxed);
        Ok(Self(()))
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // SAFETY: `new` allocated the counters, and nothing counts or reads any more, since the device and /proc are
        // gone.
        unsafe { ffi::knem_shim_counters_destroy() };
    }
}

/// Adds to a counter of [`statistics`]. CPUs share no counter.
pub(crate) fn add(counter: usize, by: u64) {
    ffi::knem_shim_add(counter as c_ulong, by)
}

/// Counts one event.
pub(crate) fn count(counter: Counter) {
    add(counter as usize, 1);
}

/// Returns the time of a monotonic clock, in nanoseconds.
pub(crate) fn now() -> u64 {
    ffi::knem_shim_now()
}

/// How the time of a copy is measured.
#[derive(Clone, Copy)]
pub(crate) enum Timer {
    /// It is measured from this time on.
    Since(u64),
    /// It is measured, and also taken for the copies that follow on this CPU.
    SampleSince(u64),
    /// It is not measured: the copy is counted at the same counter as the latest sample.
    Like(usize),
}

impl Timer {
    /// Starts a measurement.
    pub(crate) fn start() -> Self {
        Self::Since(now())
    }

    /// Starts the time of a copy by a path within the call. It is measured if the copy is so long that the clock costs
    /// little in comparison, or if it is a sample.
    pub(crate) fn of(path: Path, bytes: u64) -> Self {
        if bytes >= statistics::TIMED {
            return Self::start();
        }
        let sample = ffi::knem_shim_sample(path as c_ulong);
        match statistics::sample(sample) {
            None => Self::SampleSince(now()),
            Some(latest) => Self::Like(latest),
        }
    }

    /// Counts a copy by this path that has ended.
    pub(crate) fn stop(self, path: Path, bytes: u64, status: u8) {
        let time = match self {
            Self::Like(latest) => latest,
            Self::Since(started) | Self::SampleSince(started) => statistics::time(path, now().saturating_sub(started)),
        };
        if let Self::SampleSince(_) = self {
            // The cast loses nothing: there are far fewer counters.
            ffi::knem_shim_sampled(path as c_ulong, time as u32);
        }
        let (sum, by) =
            if status == STATUS_SUCCESS { (statistics::bytes(path), bytes) } else { (statistics::failed(path), 1) };
        ffi::knem_shim_add_copy(statistics::size(path, bytes) as c_ulong, time as c_ulong, sum as c_ulong, by);
    }
}

/// Counts a call that has failed with this error.
pub(crate) fn refused(call: Call, error: Error) {
    add(statistics::refused(call, error.to_errno().wrapping_neg()), 1);
}

/// Values of the counters when they were last cleared. The counters themselves only grow, so that clearing loses no
/// event that is counted at the same time.
static START: [Atomic<u64>; statistics::COUNT] = [const { Atomic::new(0) }; statistics::COUNT];

/// Time of the last clearing, or of the load of the module.
static CLEARED_AT: Atomic<u64> = Atomic::new(0);

/// Returns a counter's sum over the CPUs since the module was loaded.
fn counted(counter: usize) -> u64 {
    ffi::knem_shim_counted(counter as c_ulong)
}

/// Returns a counter's sum since the counters were cleared.
pub(crate) fn value(counter: usize) -> u64 {
    counted(counter).wrapping_sub(START.get(counter).map_or(0, |start| start.load(Relaxed)))
}

/// Clears all counters.
pub(crate) fn clear() {
    for (counter, start) in (0..START.len()).zip(&START) {
        start.store(counted(counter), Relaxed);
    }
    CLEARED_AT.store(now(), Relaxed);
    // SAFETY: The account of pinned pages is open, since the caller has an open file, and files are closed before it is
    // destroyed.
    unsafe { ffi::knem_shim_pinned_peak_clear() };
}

/// Returns the present state: what is pinned and open now.
pub(crate) fn present() -> Now {
    // These are counted since the module was loaded, regardless of clearing. What is created during this function may
    // be missing.
    let left = |came: Event, went: Event| {
        let went = counted(statistics::event(went));
        counted(statistics::event(came)).saturating_sub(went)
    };
    let bytes = |pages: i64| u64::try_from(pages).unwrap_or(0).saturating_mul(PAGE_SIZE as u64);
    // SAFETY: The account of pinned pages is open: /dev/knem and /proc/driver/knem, whose readers come here, are
    // removed before it is destroyed.
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
