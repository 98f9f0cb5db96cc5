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

/// The time of a copy.
#[derive(Clone, Copy)]
pub(crate) enum Timer {
    /// It is taken from here on.
    Since(u64),
    /// As well, and stands for those of the copies that follow on this CPU as well.
    SampleSince(u64),
    /// It is not taken, and counts where the latest sample has.
    Like(usize),
}

impl Timer {
    /// A time that is taken.
    pub(crate) fn start() -> Self {
        Self::Since(now())
    }

    /// The time of a copy within the call, by a path: taken if the copy has as many bytes that the clock costs nothing beside it, or is a
    /// sample.
    pub(crate) fn of(path: Path, bytes: u64) -> Self {
        if bytes >= profile::TIMED {
            return Self::start();
        }
        let sample = ffi::knem_shim_sample(path as c_ulong);
        match profile::sample(sample) {
            None => Self::SampleSince(now()),
            Some(latest) => Self::Like(latest),
        }
    }

    /// A copy by this path has ended.
    pub(crate) fn stop(self, path: Path, bytes: u64, status: u8) {
        let time = match self {
            Self::Like(latest) => latest,
            Self::Since(started) | Self::SampleSince(started) => profile::time(path, now().saturating_sub(started)),
        };
        if let Self::SampleSince(_) = self {
            // Far fewer counters than the type can number.
            ffi::knem_shim_sampled(path as c_ulong, time as u32);
        }
        let (sum, by) =
            if status == STATUS_SUCCESS { (profile::bytes(path), bytes) } else { (profile::failed(path), 1) };
        ffi::knem_shim_add_copy(profile::size(path, bytes) as c_ulong, time as c_ulong, sum as c_ulong, by);
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
