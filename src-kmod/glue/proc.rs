// SPDX-License-Identifier: GPL-2.0-only
//! `/proc/driver/knem`: detailed statistics, and rows for contexts and their regions.
//!
//! - `statistics`: totals of the machine; see `logic::statistics`.
//! - `contexts`, `regions`: the contexts of the reader's user, or all for an administrator of the machine. Numbers are
//!   ordinals, and reveal nothing about cookies. The text is generated row by row as it is read. A read(2) does as much
//!   as its buffer holds, stops when the reader is killed, and ends regardless of what is created meanwhile.

use crate::glue::context::Context;
use crate::glue::region::Listed;
use crate::glue::stats::Reader;
use crate::glue::{counters, ffi, registry, task};
use crate::logic::statistics;
use crate::uapi::{PROT_READ, PROT_WRITE};
use core::fmt::Write;
use kernel::bindings;
use kernel::prelude::*;

/// Writes the text of `statistics`.
pub(crate) fn statistics(out: &mut Out) {
    // This fails if the buffer is too small. The kernel then enlarges it and calls again.
    let _ = statistics::write(out, counters::present(), counters::value);
}

/// The file that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Contexts,
    Regions,
}

impl Rows {
    /// Converts C's number of the file.
    fn of(which: c_uint) -> Self {
        if which == 0 {
            Self::Contexts
        } else {
            Self::Regions
        }
    }
}

/// Position of the reader of a file with rows: plain data, zero at first, in memory that C allocates with the open file
/// and frees with it. The reader's position determines the next row, so that nothing is referenced and no lock is held
/// between two rows.
pub(crate) struct Cursor {
    reader: Reader,
    /// Position of the row, 0 for the line with the columns' names.
    position: u64,
    /// Number of the row's context, and of its next region.
    context: u64,
    region: u64,
    /// Contexts from this number on, and regions of that context, were created after the reader arrived there, and are
    /// left out.
    contexts_end: u64,
    regions_end: u64,
    /// The row, in the file of contexts.
    row: ContextRow,
    /// The row, in the file of regions.
    listed: Listed,
}

/// The row of a context, as it was when the reader arrived there.
#[derive(Clone, Copy)]
struct ContextRow {
    uid: u32,
    pid: u32,
    regions: u32,
    bytes: u64,
    requests: u64,
    copied: u64,
    slots: u64,
}

impl ContextRow {
    const NONE: Self = Self { uid: 0, pid: 0, regions: 0, bytes: 0, requests: 0, copied: 0, slots: 0 };

    fn of(context: &Context) -> Self {
        let (regions, bytes) = context.regions().totals();
        let (requests, copied) = context.tallied();
        let slots = context.offload().map_or(0, |offload| offload.slots().slots());
        let (uid, pid) = (context.owner().uid, context.process().number());
        Self { uid, pid, regions, bytes, requests, copied, slots }
    }
}

impl Cursor {
    /// Moves before the first row.
    fn start(&mut self, reader: Reader) {
        *self = Self {
            reader,
            position: 0,
            context: 0,
            region: 0,
            contexts_end: registry::end(),
            regions_end: 0,
            row: ContextRow::NONE,
            listed: Listed::NONE,
        };
    }

    /// Moves to the row at `position`: the present one, the next, or, after a seek, any. Returns whether there is such
    /// a row; if not, the cursor is after the last.
    ///
    /// # Errors
    /// EINTR if the caller is killed.
    pub(crate) fn seek(&mut self, reader: impl FnOnce() -> Reader, which: c_uint, position: u64) -> Result<bool> {
        if position == 0 || position < self.position {
            // The reader is not determined for each row, since a failed capability check is recorded in audit logs.
            self.start(reader());
        }
        while self.position < position {
            if !self.advance(Rows::of(which))? {
                return Ok(false);
            }
            self.position = self.position.saturating_add(1);
        }
        Ok(true)
    }

    /// Writes the row at the cursor.
    pub(crate) fn show(&self, which: c_uint, out: &mut Out) {
        // This fails if the buffer is too small. The kernel then enlarges it and calls again.
        let _ = self.write(Rows::of(which), out);
    }

    /// Moves to the next row that the reader may see. Returns false if there is none.
    ///
    /// # Errors
    /// EINTR if the caller is killed.
    fn advance(&mut self, rows: Rows) -> Result<bool> {
        // Contexts are numbered from 1.
        let mut from = if rows == Rows::Regions && self.region < self.regions_end {
            self.context
        } else {
            self.context.saturating_add(1)
        };
        while let Some(context) = registry::next(from, self.contexts_end) {
            if task::killed() {
                return Err(EINTR);
            }
            if context.ordinal() != self.context {
                (self.context, self.region, self.regions_end) = (context.ordinal(), 0, context.regions().next());
            }
            if self.reader.sees(&context) && self.enter(rows, &context) {
                return Ok(true);
            }
            from = context.ordinal().saturating_add(1);
            task::resched();
        }
        Ok(false)
    }

    /// Fills the next row of this context, if it has one.
    fn enter(&mut self, rows: Rows, context: &Context) -> bool {
        if rows == Rows::Contexts {
            self.row = ContextRow::of(context);
            return true;
        }
        let found = context.regions().list(self.region, self.regions_end, core::slice::from_mut(&mut self.listed)) != 0;
        if found {
            self.region = self.listed.ordinal.saturating_add(1);
        }
        found
    }

    /// Writes the row.
    fn write(&self, rows: Rows, out: &mut Out) -> core::fmt::Result {
        match (self.position, rows) {
            (0, Rows::Contexts) => out.write_str("# context uid pid regions bytes requests copied slots\n"),
            (0, Rows::Regions) => out.write_str("# context region bytes extents protection flags\n"),
            (_, Rows::Contexts) => {
                let ContextRow { uid, pid, regions, bytes, requests, copied, slots } = self.row;
                writeln!(out, "{} {uid} {pid} {regions} {bytes} {requests} {copied} {slots}", self.context)
            }
            (_, Rows::Regions) => {
                let Listed { ordinal, bytes, extents, protection, single_use, any_user, unpinned } = self.listed;
                let bit = |bit: u32, name: char| if protection & bit != 0 { name } else { '-' };
                let (read, write) = (bit(PROT_READ, 'r'), bit(PROT_WRITE, 'w'));
                write!(out, "{} {ordinal} {bytes} {extents} {read}{write} ", self.context)?;
                let mut before = "";
                for (flag, name) in [(single_use, "single_use"), (any_user, "any_user"), (unpinned, "unpinned")] {
                    if flag {
                        write!(out, "{before}{name}")?;
                        before = ",";
                    }
                }
                out.write_str(if before.is_empty() { "-\n" } else { "\n" })
            }
        }
    }
}

/// A file in /proc whose text is being written.
///
/// # Invariants
/// The kernel is having the file's text written.
pub(crate) struct Out(*mut bindings::seq_file);

impl Out {
    /// Creates a writer for the text of this file.
    ///
    /// # Safety
    /// The kernel must be having the text written, until this is dropped.
    pub(crate) unsafe fn new(seq: *mut bindings::seq_file) -> Self {
        // INVARIANT: The caller guarantees that the kernel is having the text written.
        Self(seq)
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // SAFETY: By the invariant the file is valid, and `text` has `text.len()` bytes.
        let fits = unsafe { ffi::knem_proc_write(self.0, text.as_ptr().cast(), text.len() as c_ulong) };
        if fits {
            Ok(())
        } else {
            Err(core::fmt::Error)
        }
    }
}
