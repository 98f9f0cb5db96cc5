// SPDX-License-Identifier: GPL-2.0-only
//! The statistics: per-processor counters, and the text.

use crate::glue::{ffi, params};
use crate::logic::counter::{Counter, Totals, COUNT};
use crate::logic::report::{Report, MAX_LEN};
use core::fmt::Write;
use kernel::prelude::*;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// Counts one event. Nothing is shared between processors.
pub(crate) fn count(counter: Counter) {
    // SAFETY: Changes a variable of the processor only.
    unsafe { ffi::knem_shim_count(counter as c_ulong) }
}

/// What the counters were when they were last cleared. The counters themselves only grow, so that clearing
/// loses no event that is counted at the same time.
static START: [Atomic<u64>; COUNT] = [const { Atomic::new(0) }; COUNT];

/// Sums over the processors since the module was loaded.
fn counted() -> Totals {
    let mut totals = Totals::default();
    for (n, value) in totals.0.iter_mut().enumerate() {
        // SAFETY: Reads variables only.
        *value = unsafe { ffi::knem_shim_counted(n as c_ulong) };
    }
    totals
}

/// Starts all counters from 0.
pub(crate) fn clear() {
    for (start, value) in START.iter().zip(counted().0) {
        start.store(value, Relaxed);
    }
}

/// The statistics text.
///
/// # Errors
/// ENOMEM.
pub(crate) fn text() -> Result<KVec<u8>> {
    let mut start = Totals::default();
    for (value, cleared) in start.0.iter_mut().zip(&START) {
        *value = cleared.load(Relaxed);
    }
    let totals = counted().since(&start);
    let mut out = Buffer(KVec::with_capacity(MAX_LEN, GFP_KERNEL_ACCOUNT)?);
    let report = Report { version: params::version(), masks: params::masks(), totals: &totals };
    report.write(&mut out).map_err(|_| ENOMEM)?;
    Ok(out.0)
}

/// Text in memory that does not grow.
struct Buffer(KVec<u8>);

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            self.0.push_within_capacity(byte).map_err(|_| core::fmt::Error)?;
        }
        Ok(())
    }
}
