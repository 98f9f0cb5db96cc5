// SPDX-License-Identifier: GPL-2.0-only
//! The statistics: per-processor counters, and the text.

use crate::glue::context::{Context, Listed};
use crate::glue::{dma, ffi, params, registry, task};
use crate::logic::counter::{Counter, Totals, COUNT};
use crate::logic::report::Report;
use core::fmt::Write;
use kernel::bindings;
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

/// Whoever opened the file that the statistics are read from.
pub(crate) struct Reader {
    uid: u32,
    /// Whether it may see everybody's contexts (CAP_SYS_ADMIN).
    admin: bool,
}

impl Reader {
    /// The opener of a file.
    ///
    /// # Safety
    /// `file` is an open file.
    pub(crate) unsafe fn of(file: *mut bindings::file) -> Self {
        // SAFETY: The caller's promise.
        unsafe { Self { uid: ffi::knem_shim_file_uid(file), admin: ffi::knem_shim_file_admin(file) } }
    }
}

/// More would not be read by anybody, and has to be had in one piece.
const LONGEST: usize = 1 << 24;

/// The statistics text for a reader, as long as the parameter `statslen` allows.
///
/// # Errors
/// ENOMEM.
pub(crate) fn text(reader: Reader) -> Result<KVVec<u8>> {
    let mut start = Totals::default();
    for (value, cleared) in start.0.iter_mut().zip(&START) {
        *value = cleared.load(Relaxed);
    }
    let totals = counted().since(&start);
    let room = params::stats_length().min(LONGEST);
    let mut out = Buffer(KVVec::with_capacity(room, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?);
    let report = Report {
        version: params::version(),
        masks: params::masks(),
        engine: dma::state(),
        debug: params::debug(),
        totals: &totals,
    };
    // It fails where the text is full, which is how it should end then.
    let _ = report.write(&mut out);
    if params::stats_verbose() {
        let _ = list(&reader, &mut out).and_then(|()| report.write_more(&mut out));
    }
    Ok(out.0)
}

/// Regions that are looked at under a context's lock at a time.
const BATCH: usize = 32;

/// Lists the contexts that the reader may see, and their regions. All numbers are ordinals.
fn list(reader: &Reader, out: &mut Buffer) -> core::fmt::Result {
    let (mut listed, mut hidden, mut from) = (0u32, 0u32, 0u64);
    while let Some(context) = registry::next(from) {
        from = context.ordinal().saturating_add(1);
        if reader.admin || context.owner().uid == reader.uid {
            listed = listed.saturating_add(1);
            list_regions(&context, out)?;
        } else {
            hidden = hidden.saturating_add(1);
        }
        task::resched();
    }
    write!(out, " Listed {listed} contexts")?;
    if hidden != 0 {
        write!(out, " ({hidden} hidden)")?;
    }
    writeln!(out)
}

fn list_regions(context: &Context, out: &mut Buffer) -> core::fmt::Result {
    writeln!(out, " Context {:08x}", context.ordinal())?;
    let mut batch = [Listed { cookie: 0, ordinal: 0, single_use: false }; BATCH];
    let (mut listed, mut after) = (0u32, None);
    loop {
        let stored = context.list(after, &mut batch);
        for region in batch.iter().take(stored) {
            writeln!(out, "  Region {:08x}{}", region.ordinal, if region.single_use { " SingleUse" } else { "" })?;
            after = Some(region.cookie);
            listed = listed.saturating_add(1);
        }
        if stored < BATCH {
            break;
        }
        task::resched();
    }
    writeln!(out, "  Listed {listed} regions")
}

/// Text in memory that does not grow.
struct Buffer(KVVec<u8>);

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            self.0.push_within_capacity(byte).map_err(|_| core::fmt::Error)?;
        }
        Ok(())
    }
}
