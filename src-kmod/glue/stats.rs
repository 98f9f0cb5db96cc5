// SPDX-License-Identifier: GPL-2.0-only
//! The text that /dev/knem returns: totals, and with `statsverbose` contexts and regions. Detailed statistics are in
//! `proc`.

use crate::glue::context::Context;
use crate::glue::region::Listed;
use crate::glue::{counters, dma, ffi, params, registry, task};
use crate::logic::counter::Totals;
use crate::logic::device_text::DeviceText;
use core::fmt::Write;
use kernel::bindings;
use kernel::prelude::*;

/// The opener of the file that the statistics are read from.
#[derive(Clone, Copy)]
pub(crate) struct Reader {
    uid: u32,
    /// Whether it may see the contexts of all users (CAP_SYS_ADMIN).
    admin: bool,
}

impl Reader {
    /// Returns the opener of a file.
    ///
    /// # Safety
    /// `file` must be an open file.
    pub(crate) unsafe fn of(file: *const bindings::file) -> Self {
        // SAFETY: The caller guarantees that `file` is an open file.
        unsafe { Self { uid: ffi::knem_shim_file_uid(file), admin: ffi::knem_shim_file_admin(file) } }
    }

    /// Whether it may see a context.
    pub(crate) fn sees(&self, context: &Context) -> bool {
        self.admin || context.owner().uid == self.uid
    }
}

/// Most bytes of the text, which is allocated in one piece.
const LONGEST: usize = 1 << 24;

/// Returns the statistics text for a reader, as long as the parameter `statslen` allows.
///
/// # Errors
/// ENOMEM.
pub(crate) fn text(reader: Reader) -> Result<KVVec<u8>> {
    let mut totals = Totals::default();
    for (counter, total) in (0..totals.0.len()).zip(totals.0.iter_mut()) {
        *total = counters::value(counter);
    }
    let length = params::stats_length().min(LONGEST);
    let mut out = Buffer(KVVec::with_capacity(length, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?);
    let device_text = DeviceText {
        version: params::version(),
        masks: params::masks(),
        engine: dma::state(),
        debug: params::debug(),
        totals: &totals,
    };
    // This fails when the buffer is full, which is where the text must end.
    let _ = device_text.write(&mut out);
    if params::stats_verbose() {
        let _ = list(&reader, &mut out).and_then(|()| device_text.write_more(&mut out));
    }
    Ok(out.0)
}

/// Number of regions that are read at a time under a context's lock.
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
    let (mut listed, mut from, end) = (0u32, 0u64, context.regions().next());
    loop {
        let stored = context.regions().list(from, end, &mut batch);
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
