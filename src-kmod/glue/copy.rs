// SPDX-License-Identifier: GPL-2.0-only
//! Copies, step by step.
//!
//! Memory of the direct map is pinned and named by number: nothing here refers to its bytes in Rust's sense, since
//! user space may change them at any time.

use crate::glue::pin::Pinned;
use crate::glue::segments::Segments;
use crate::glue::{ffi, stats, task};
use crate::logic::counter::Counter;
use crate::logic::plan::{self, Piece, Step, Steps};
use crate::logic::segment;
use crate::uapi::{STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;

/// Direction of a copy between the caller's memory and a region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Out of the region.
    Read,
    /// Into the region.
    Write,
}

/// A place in pinned memory where a copy starts.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) memory: &'a Pinned,
    pub(crate) offset: u64,
}

impl Place<'_> {
    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.memory.pieces(self.offset)
    }
}

/// Copies `bytes` bytes between pinned memories, which have as many, until it is `interrupted`. Returns a status.
pub(crate) fn pinned(source: Place<'_>, destination: Place<'_>, bytes: u64, interrupted: impl Fn() -> bool) -> u8 {
    // Memory that is pinned for reading only may be shared with other processes, and must not change.
    if bytes == 0 || !destination.memory.writable() {
        return if bytes == 0 { STATUS_SUCCESS } else { STATUS_FAILED };
    }
    destination.memory.mark_written(destination.offset, bytes);
    run(Steps::new(source.pieces(), destination.pieces(), bytes), interrupted, |step| {
        // SAFETY: Both sides are pinned and mapped for as many bytes, by the invariant of `Pinned`; the destination is
        // pinned for writing. They may overlap.
        unsafe { ffi::knem_shim_copy(step.right as *mut c_void, step.left as *const c_void, step.len as c_ulong) };
        true
    })
}

/// Copies `bytes` bytes between a region and the caller's memory through its mapping; both have as many. Returns a status.
pub(crate) fn mapped(region: Place<'_>, local: &Segments, direction: Direction, bytes: u64) -> u8 {
    if bytes == 0 {
        return STATUS_SUCCESS;
    }
    let steps = Steps::new(region.pieces(), segment::pieces(local.as_slice()), bytes);
    let status = match direction {
        Direction::Read => run(steps, task::killed, |step| {
            let (to, from) = (step.right as *mut c_void, step.left as *const c_void);
            // SAFETY: The region's side is pinned and mapped for as many bytes; the other is checked by the kernel.
            unsafe { ffi::knem_shim_to_user(to, from, step.len as c_ulong) == 0 }
        }),
        Direction::Write if !region.memory.writable() => STATUS_FAILED,
        Direction::Write => {
            region.memory.mark_written(region.offset, bytes);
            run(steps, task::killed, |step| {
                let (to, from) = (step.left as *mut c_void, step.right as *const c_void);
                // SAFETY: As above, and the region's side is pinned for writing.
                unsafe { ffi::knem_shim_from_user(to, from, step.len as c_ulong) == 0 }
            })
        }
    };
    if status == STATUS_FAILED {
        stats::count(Counter::FailedUserCopy);
    }
    status
}

/// Runs the steps until one fails or all are `interrupted`.
fn run(steps: impl Iterator<Item = Step>, interrupted: impl Fn() -> bool, mut copy: impl FnMut(Step) -> bool) -> u8 {
    let mut since_look = 0u64;
    for step in steps {
        // Short steps add up to what one may be, before the scheduler and signals are looked at again.
        if since_look >= plan::MAX_STEP {
            if interrupted() {
                return STATUS_FAILED;
            }
            task::resched();
            since_look = 0;
        }
        if !copy(step) {
            return STATUS_FAILED;
        }
        since_look = since_look.saturating_add(step.len).saturating_add(STEP_COST);
    }
    STATUS_SUCCESS
}

/// What a step costs beside its bytes, in bytes: a plan of a million steps of a byte each must let others run, too.
const STEP_COST: u64 = 256;
