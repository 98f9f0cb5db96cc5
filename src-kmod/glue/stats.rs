// SPDX-License-Identifier: GPL-2.0-only
//! The statistics: per-processor counters, and the text of the device. The finer text is in `proc`.

use crate::glue::context::{Context, Listed};
use crate::glue::{dma, ffi, params, registry, task};
use crate::logic::counter::{Counter, Totals};
use crate::logic::profile::{self, Call, Event, Now, Path};
use crate::logic::report::Report;
use crate::uapi::STATUS_SUCCESS;
use core::fmt::Write;
use kernel::bindings;
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
fn value(counter: usize) -> u64 {
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
fn present() -> Now {
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

/// Writes the text of `/proc/driver/knem/statistics`.
pub(crate) fn write_profile(out: &mut impl Write) -> core::fmt::Result {
    profile::write(out, present(), value)
}

/// Whoever opened the file that the statistics are read from.
#[derive(Clone, Copy)]
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
    pub(crate) unsafe fn of(file: *const bindings::file) -> Self {
        // SAFETY: The caller's promise.
        unsafe { Self { uid: ffi::knem_shim_file_uid(file), admin: ffi::knem_shim_file_admin(file) } }
    }

    /// Whether it may see a context.
    pub(crate) fn sees(&self, context: &Context) -> bool {
        self.admin || context.owner().uid == self.uid
    }
}

/// More would not be read by anybody, and has to be had in one piece.
const LONGEST: usize = 1 << 24;

/// The statistics text for a reader, as long as the parameter `statslen` allows.
///
/// # Errors
/// ENOMEM.
pub(crate) fn text(reader: Reader) -> Result<KVVec<u8>> {
    let mut totals = Totals::default();
    for (counter, total) in (0..totals.0.len()).zip(totals.0.iter_mut()) {
        *total = value(counter);
    }
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
    let (mut listed, mut hidden, mut from, end) = (0u32, 0u32, 0u64, registry::end());
    while let Some(context) = registry::next(from, end) {
        if task::killed() {
            return Err(core::fmt::Error);
        }
        from = context.ordinal().saturating_add(1);
        if reader.sees(&context) {
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
    let mut batch = [Listed::NONE; BATCH];
    let (mut listed, mut from, end) = (0u32, 0u64, context.next_region());
    loop {
        let stored = context.list(from, end, &mut batch);
        for region in batch.iter().take(stored) {
            writeln!(out, "  Region {:08x}{}", region.ordinal, if region.single_use { " SingleUse" } else { "" })?;
            from = region.ordinal.saturating_add(1);
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
