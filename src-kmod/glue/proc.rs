// SPDX-License-Identifier: GPL-2.0-only
//! `/proc/driver/knem`: the finer statistics, and rows for open files and their regions.
//!
//! - `statistics`: totals of the machine; see `logic::profile`.
//! - `contexts`, `regions`: the files of the reader's user, or all for an administrator of the machine. Numbers are
//!   ordinals, and reveal nothing about cookies. They are made row by row as they are read: a read(2) does as much as its buffer
//!   takes, notices that the reader is killed, and comes to an end whatever is created meanwhile.

use crate::glue::context::{Context, Listed};
use crate::glue::stats::{self, Reader};
use crate::glue::{ffi, registry, task};
use crate::uapi::{PROT_READ, PROT_WRITE};
use core::fmt::Write;
use kernel::bindings;
use kernel::error::from_result;
use kernel::prelude::*;

/// The files, until this is dropped.
pub(crate) struct Files(());

impl Files {
    /// Makes them. A kernel without /proc does without.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once, at load, when all that is shown is there.
        if unsafe { ffi::knem_proc_create(Some(statistics), Some(seek), Some(write), size_of::<Cursor>()) } != 0 {
            pr_warn!("/proc/driver/knem cannot be made: there are no finer statistics\n");
        }
        Self(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: Waits for readers; nobody reads afterwards.
        unsafe { ffi::knem_proc_remove() };
    }
}

unsafe extern "C" fn statistics(seq: *mut bindings::seq_file) {
    // It fails where there is too little room: the kernel makes more, and calls again.
    let _ = stats::write_profile(&mut Out(seq));
}

/// Which file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Contexts,
    Regions,
}

impl Rows {
    /// Of the number that C knows the file by.
    fn of(which: c_uint) -> Self {
        if which == 0 {
            Self::Contexts
        } else {
            Self::Regions
        }
    }
}

/// Where the reader of a file with rows is: plain data, zero at first, in memory that C allocates with the open file and frees
/// with it. The reader's position decides what comes next, so that nothing is kept alive, and no lock held, between two rows.
struct Cursor {
    reader: Reader,
    /// Position of the row, 0 for the line with the columns' names.
    position: u64,
    /// Number of the row's context, and of its next region.
    context: u64,
    region: u64,
    /// Contexts from this number on, and regions of that context, were made after the reader came there, and are left out.
    contexts_end: u64,
    regions_end: u64,
    /// The row, in the file of contexts.
    row: ContextRow,
    /// The row, in the file of regions.
    listed: Listed,
}

/// What the row of a context shows, as it was when the reader came there.
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
        let (regions, bytes) = context.regions();
        let (requests, copied) = context.tallied();
        let slots = context.offload().map_or(0, |offload| offload.slots().slots());
        let (uid, pid) = (context.owner().uid, context.process().number());
        Self { uid, pid, regions, bytes, requests, copied, slots }
    }
}

impl Cursor {
    /// Before the first row.
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

    /// Goes to the next row that the reader may see. Returns false if there is none.
    ///
    /// # Errors
    /// EINTR if the caller is killed.
    fn advance(&mut self, rows: Rows) -> Result<bool> {
        // Contexts have numbers from 1 on.
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
                (self.context, self.region, self.regions_end) = (context.ordinal(), 0, context.next_region());
            }
            if self.reader.sees(&context) && self.enter(rows, &context) {
                return Ok(true);
            }
            from = context.ordinal().saturating_add(1);
            task::resched();
        }
        Ok(false)
    }

    /// Makes the next row of this context, if it has one.
    fn enter(&mut self, rows: Rows, context: &Context) -> bool {
        if rows == Rows::Contexts {
            self.row = ContextRow::of(context);
            return true;
        }
        let found = context.list(self.region, self.regions_end, core::slice::from_mut(&mut self.listed)) != 0;
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

/// Goes to the row at `position`: the one where the cursor is, the next, or, after a seek, any. Returns 1 if it is there,
/// 0 after the last.
///
/// # Errors
/// EINTR if the caller is killed.
///
/// # Safety
/// `cursor` is that of the open file `file`, and no other call uses it.
unsafe extern "C" fn seek(cursor: *mut c_void, file: *const bindings::file, which: c_uint, position: u64) -> c_int {
    from_result(|| {
        // SAFETY: The caller's promise; C has allocated it as large as that, and a `Cursor` may be all zeros.
        let cursor = unsafe { &mut *cursor.cast::<Cursor>() };
        if position == 0 || position < cursor.position {
            // Not for each row, since a capability that is missing leaves traces in audit logs.
            // SAFETY: The file is open as long as it is read.
            cursor.start(unsafe { Reader::of(file) });
        }
        while cursor.position < position {
            if !cursor.advance(Rows::of(which))? {
                return Ok(0);
            }
            cursor.position = cursor.position.saturating_add(1);
        }
        Ok(1)
    })
}

/// Writes the row where the cursor is.
///
/// # Safety
/// As [`seek`]; `seq` is the file's, and is having its text written.
unsafe extern "C" fn write(seq: *mut bindings::seq_file, cursor: *const c_void, which: c_uint) {
    // SAFETY: The caller's promise.
    let cursor = unsafe { &*cursor.cast::<Cursor>() };
    // It fails where there is too little room: the kernel makes more, and calls again.
    let _ = cursor.write(Rows::of(which), &mut Out(seq));
}

/// The text of a file in /proc.
struct Out(*mut bindings::seq_file);

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        // SAFETY: The kernel gives a valid file for as long as it has its text written; the text is as long as that.
        let fits = unsafe { ffi::knem_proc_write(self.0, text.as_ptr().cast(), text.len() as c_ulong) };
        if fits {
            Ok(())
        } else {
            Err(core::fmt::Error)
        }
    }
}
