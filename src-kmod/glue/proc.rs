// SPDX-License-Identifier: GPL-2.0-only
//! `/proc/driver/knem`: the finer statistics, and rows for open files and their regions.
//!
//! - `statistics`: totals of the machine; see `logic::profile`.
//! - `contexts`, `regions`: the files of the reader's user, or all for an administrator of the machine. Numbers are
//!   ordinals, and tell nothing about cookies.

use crate::glue::context::{Context, Listed};
use crate::glue::stats::{self, Reader};
use crate::glue::{ffi, registry, task};
use crate::uapi::{PROT_READ, PROT_WRITE};
use core::fmt::Write;
use kernel::bindings;
use kernel::prelude::*;

/// The files, until this is dropped.
pub(crate) struct Files(());

impl Files {
    /// Makes them. A kernel without /proc does without.
    pub(crate) fn new() -> Self {
        // SAFETY: Called once, at load, when all that is shown is there.
        if unsafe { ffi::knem_proc_create(Some(show)) } != 0 {
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

unsafe extern "C" fn show(seq: *mut bindings::seq_file, file: *const bindings::file, which: c_uint) {
    let mut out = Out(seq);
    // SAFETY: The file is open as long as it is read.
    let reader = unsafe { Reader::of(file) };
    // It fails where there is too little room: the kernel makes more, and asks again.
    let _ = match which {
        0 => stats::write_profile(&mut out),
        1 => rows(&reader, &mut out, "# context uid pid regions bytes requests copied slots\n", context_row),
        _ => rows(&reader, &mut out, "# context region bytes extents protection flags\n", region_rows),
    };
}

/// Writes the rows of each context that the reader may see, below a line that names their columns.
fn rows(
    reader: &Reader,
    out: &mut Out,
    head: &str,
    row: impl Fn(&Context, &mut Out) -> core::fmt::Result,
) -> core::fmt::Result {
    out.write_str(head)?;
    let mut from = 0u64;
    while let Some(context) = registry::next(from) {
        from = context.ordinal().saturating_add(1);
        if reader.sees(&context) {
            row(&context, out)?;
        }
        task::resched();
    }
    Ok(())
}

fn context_row(context: &Context, out: &mut Out) -> core::fmt::Result {
    let (mut regions, mut bytes) = (0u64, 0u64);
    each_region(context, |region| {
        regions = regions.saturating_add(1);
        bytes = bytes.saturating_add(region.bytes);
        Ok(())
    })?;
    let (requests, copied) = context.tallied();
    let slots = context.offload().map_or(0, |offload| offload.slots().slots());
    let (uid, pid) = (context.owner().uid, context.process().number());
    writeln!(out, "{} {uid} {pid} {regions} {bytes} {requests} {copied} {slots}", context.ordinal())
}

fn region_rows(context: &Context, out: &mut Out) -> core::fmt::Result {
    each_region(context, |region| {
        let bit = |bit: u32, name: char| if region.protection & bit != 0 { name } else { '-' };
        let flags = match (region.single_use, region.any_user, region.unpinned) {
            (false, false, false) => "-",
            (true, false, false) => "single_use",
            (false, true, false) => "any_user",
            (true, true, false) => "single_use,any_user",
            (false, false, true) => "unpinned",
            (true, false, true) => "single_use,unpinned",
            (false, true, true) => "any_user,unpinned",
            (true, true, true) => "single_use,any_user,unpinned",
        };
        let (read, write) = (bit(PROT_READ, 'r'), bit(PROT_WRITE, 'w'));
        let Listed { ordinal, bytes, extents, .. } = *region;
        writeln!(out, "{} {ordinal} {bytes} {extents} {read}{write} {flags}", context.ordinal())
    })
}

/// Regions that are looked at under a context's lock at a time.
const BATCH: usize = 16;

/// Has `row` look at every region, outside of locks.
fn each_region(context: &Context, mut row: impl FnMut(&Listed) -> core::fmt::Result) -> core::fmt::Result {
    let mut batch = [Listed::NONE; BATCH];
    let mut after = None;
    loop {
        let stored = context.list(after, &mut batch);
        for region in batch.iter().take(stored) {
            row(region)?;
            after = Some(region.cookie);
        }
        if stored < BATCH {
            return Ok(());
        }
        task::resched();
    }
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
