// SPDX-License-Identifier: GPL-2.0-only
//! Copies, step by step.
//!
//! Memory of the direct map is pinned and addressed by number. No Rust reference to its bytes exists here, since user
//! space may change them at any time.

use crate::glue::memory::{Memory, Position, Reach, View};
use crate::glue::pin::Stop;
use crate::glue::segments::Segments;
use crate::glue::{counters, ffi, task};
use crate::logic::counter::Counter;
use crate::logic::segment::{self, Cursor};
use crate::logic::steps::{self, Piece, Step, Steps};
use crate::uapi::{ParamIovec, STATUS_FAILED, STATUS_SUCCESS};
use kernel::prelude::*;

/// Direction of a copy between the caller's memory and a region.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Out of the region.
    Read,
    /// Into the region.
    Write,
}

/// Copies `bytes` bytes between pinned memories, which are at least as long, until it is `interrupted`. Returns a
/// status.
pub(crate) fn pinned(
    source: Position<'_>,
    destination: Position<'_>,
    bytes: u64,
    interrupted: impl Fn() -> bool,
) -> u8 {
    // Memory that is pinned only for reading may be shared with other processes, and must not change.
    if bytes == 0 || !destination.memory.writable() {
        return if bytes == 0 { STATUS_SUCCESS } else { STATUS_FAILED };
    }
    destination.memory.mark_written(destination.offset, bytes);
    let copy = |step: Step| {
        // SAFETY: By the invariant of `Pinned`, both sides are pinned and mapped for the length of the step, and the
        // destination, which is `writable`, is pinned for writing. The two may overlap, which C allows.
        unsafe { ffi::knem_shim_copy(step.right as *mut c_void, step.left as *const c_void, step.len as c_ulong) };
        true
    };
    match steps::single(source.pieces(), destination.pieces(), bytes) {
        Some(step) => {
            copy(step);
            STATUS_SUCCESS
        }
        None => run(Steps::new(source.pieces(), destination.pieces(), bytes), interrupted, copy),
    }
}

/// Copies `bytes` bytes between two views, which both stay pinned during the call.
pub(crate) fn views(source: &View<'_>, destination: &mut View<'_>, bytes: u64) {
    destination.mark_written(bytes);
    // A window is short. The scheduler and signals are checked between windows.
    let _ = run(
        Steps::new(source.pieces(), destination.pieces(), bytes),
        || false,
        |step| {
            // SAFETY: A view is pinned and mapped as long as it lives, and the caller has checked that the destination
            // is pinned for writing.
            unsafe { ffi::knem_shim_copy(step.right as *mut c_void, step.left as *const c_void, step.len as c_ulong) };
            true
        },
    );
}

/// Copies between a region and a window of the caller's memory, as many bytes as both have. Returns how many.
///
/// # Errors
/// As [`Reach::open`]; EFAULT if the region may not be written.
pub(crate) fn window(
    region: &Memory,
    reach: &mut Reach,
    mut local: View<'_>,
    direction: Direction,
) -> Result<u64, Stop> {
    if direction == Direction::Write && !region.writable() {
        return Err(Stop::Error(EFAULT));
    }
    let mut remote = reach.open(region, local.bytes(), true)?;
    let bytes = remote.bytes();
    match direction {
        Direction::Read => views(&remote, &mut local, bytes),
        Direction::Write => views(&local, &mut remote, bytes),
    }
    Ok(bytes)
}

/// Copies between memory that stays pinned and the caller's memory through the caller's mapping, `bytes` bytes at most.
/// Returns how many. The copy ends early at a byte of the caller's memory that cannot be used (without `wait`: that is
/// not present), or when the task is killed.
#[inline(always)]
pub(crate) fn through(
    position: Position<'_>,
    local: &[ParamIovec],
    direction: Direction,
    bytes: u64,
    wait: bool,
) -> u64 {
    if direction == Direction::Write {
        if !position.memory.writable() {
            return 0;
        }
        if bytes != 0 {
            position.memory.mark_written(position.offset, bytes);
        }
    }
    if let Some(step) = steps::single(position.pieces(), segment::pieces(local), bytes) {
        // SAFETY: By the invariant of `Pinned`, the left side of the step is pinned and mapped. For a write it is
        // pinned for writing, since `writable` was checked above.
        return unsafe { user_step(step, direction, wait) };
    }
    // SAFETY: For a write, `writable` was checked above.
    unsafe { through_steps(position, local, direction, bytes, wait) }
}

/// Copies as [`through`], step by step.
///
/// # Safety
/// For a write, the memory at `position` must be pinned for writing.
unsafe fn through_steps(
    position: Position<'_>,
    local: &[ParamIovec],
    direction: Direction,
    bytes: u64,
    wait: bool,
) -> u64 {
    let mut copied = 0u64;
    // The result is in `copied`.
    let _ = run(Steps::new(position.pieces(), segment::pieces(local), bytes), task::killed, |step| {
        // SAFETY: By the invariant of `Pinned`, the left side of the step is pinned and mapped. For a write the caller
        // guarantees that it is pinned for writing.
        let now = unsafe { user_step(step, direction, wait) };
        copied = copied.saturating_add(now);
        now == step.len
    });
    copied
}

/// Copies one step of [`through`]. Returns how many bytes were copied.
///
/// # Safety
/// The left side must be pinned and mapped for the step's length, and for a write it must be pinned for writing.
unsafe fn user_step(step: Step, direction: Direction, wait: bool) -> u64 {
    let (region, user) = (step.left as *mut c_void, step.right as *mut c_void);
    let len = step.len as c_ulong;
    let left = match (direction, wait) {
        // SAFETY: The caller guarantees that the region's side is pinned and mapped; C checks the address in user
        // memory.
        (Direction::Read, true) => unsafe { ffi::knem_shim_to_user(user, region, len) },
        // SAFETY: As above, the region's side is pinned and mapped, and C checks the user address.
        (Direction::Read, false) => unsafe { ffi::knem_shim_to_user_nofault(user, region, len) },
        // SAFETY: The caller guarantees that the region's side is pinned for writing; C checks the user address.
        (Direction::Write, true) => unsafe { ffi::knem_shim_from_user(region, user, len) },
        // SAFETY: As above, the region's side is pinned for writing, and C checks the user address.
        (Direction::Write, false) => unsafe { ffi::knem_shim_from_user_nofault(region, user, len) },
    };
    step.len.saturating_sub(left as u64)
}

/// Copies `bytes` bytes between a region, from the position of `reach` on, and the caller's memory through the caller's
/// mapping. Both are at least as long. Returns a status.
pub(crate) fn mapped(memory: &Memory, reach: &mut Reach, local: &Segments, direction: Direction, bytes: u64) -> u8 {
    if bytes == 0 {
        return STATUS_SUCCESS;
    }
    let (mut at, mut left) = (Cursor::default(), bytes);
    let mut status = STATUS_SUCCESS;
    if direction == Direction::Write && !memory.writable() {
        status = STATUS_FAILED;
    }
    while left != 0 && status == STATUS_SUCCESS {
        // The first view has all bytes, unless the region is not pinned.
        let Ok(mut view) = reach.open(memory, left, true) else {
            status = STATUS_FAILED;
            break;
        };
        let count = view.bytes();
        let user = segment::pieces_from(local.as_slice(), at, count);
        status = match direction {
            Direction::Read => run(Steps::new(view.pieces(), user, count), task::killed, |step| {
                let (to, from) = (step.right as *mut c_void, step.left as *const c_void);
                // SAFETY: The view keeps the region's side pinned and mapped for the step's length; C checks the user
                // address.
                unsafe { ffi::knem_shim_to_user(to, from, step.len as c_ulong) == 0 }
            }),
            Direction::Write => {
                view.mark_written(count);
                run(Steps::new(view.pieces(), user, count), task::killed, |step| {
                    let (to, from) = (step.left as *mut c_void, step.right as *const c_void);
                    // SAFETY: The view keeps the region's side pinned for writing, since `writable` was checked above;
                    // C checks the user address.
                    unsafe { ffi::knem_shim_from_user(to, from, step.len as c_ulong) == 0 }
                })
            }
        };
        drop(view);
        left = left.saturating_sub(count);
        if left != 0 {
            reach.advance(memory, count);
            at = at.after(local.as_slice(), count);
            if task::killed() {
                status = STATUS_FAILED;
            }
            task::resched();
        }
    }
    if status == STATUS_FAILED {
        counters::count(Counter::FailedUserCopy);
    }
    status
}

/// Copies as [`mapped`], but stops at the first page of the caller's memory that is not present instead of waiting for
/// it. Returns how many bytes were copied.
///
/// # Errors
/// EFAULT if the region may not be written; as [`Reach::open`].
pub(crate) fn present(
    memory: &Memory,
    reach: &mut Reach,
    local: &Segments,
    at: Cursor,
    direction: Direction,
    bytes: u64,
) -> Result<u64, Stop> {
    if direction == Direction::Write && !memory.writable() {
        return Err(Stop::Error(EFAULT));
    }
    let mut view = reach.open(memory, bytes, true)?;
    let count = view.bytes();
    if direction == Direction::Write {
        view.mark_written(count);
    }
    let mut copied = 0u64;
    let steps = Steps::new(view.pieces(), segment::pieces_from(local.as_slice(), at, count), count);
    // The result is in `copied`. The copy ends at the first byte that is not present.
    let _ = run(steps, task::killed, |step| {
        let len = step.len as c_ulong;
        let left = match direction {
            // SAFETY: The view keeps the region's side pinned and mapped for the step's length; C checks the user
            // address.
            Direction::Read => unsafe {
                ffi::knem_shim_to_user_nofault(step.right as *mut c_void, step.left as *const c_void, len)
            },
            // SAFETY: The view keeps the region's side pinned for writing, since `writable` was checked above; C checks
            // the user address.
            Direction::Write => unsafe {
                ffi::knem_shim_from_user_nofault(step.left as *mut c_void, step.right as *const c_void, len)
            },
        };
        copied = copied.saturating_add(step.len).saturating_sub(left as u64);
        left == 0
    });
    Ok(copied)
}

/// Faults in the caller's memory from `at` on, `bytes` bytes at most, while nothing of a region is held. Returns
/// whether it can be used.
pub(crate) fn fault_in(local: &Segments, at: Cursor, direction: Direction, bytes: u64) -> bool {
    for piece in segment::pieces_from(local.as_slice(), at, bytes) {
        let mut piece = piece;
        while piece.len != 0 {
            let len = piece.len.min(steps::MAX_STEP);
            let (address, write) = (piece.addr as c_ulong, direction == Direction::Read);
            // SAFETY: The piece is part of a segment, and by the invariant of `Segments` these are within user memory,
            // which kernels before 5.16 do not check themselves.
            if task::killed() || !unsafe { ffi::knem_shim_fault_in(address, len as c_ulong, write) } {
                return false;
            }
            task::resched();
            piece = Piece { addr: piece.addr.wrapping_add(len), len: piece.len.saturating_sub(len) };
        }
    }
    true
}

/// Runs the steps until one fails or `interrupted` is true. Returns a status.
fn run(steps: impl Iterator<Item = Step>, interrupted: impl Fn() -> bool, mut copy: impl FnMut(Step) -> bool) -> u8 {
    let mut since_check = 0u64;
    for step in steps {
        // Short steps add up to the longest one before the scheduler and signals are checked again.
        if since_check >= steps::MAX_STEP {
            if interrupted() {
                return STATUS_FAILED;
            }
            task::resched();
            since_check = 0;
        }
        if !copy(step) {
            return STATUS_FAILED;
        }
        since_check = since_check.saturating_add(step.len).saturating_add(STEP_COST);
    }
    STATUS_SUCCESS
}

/// Cost of a step in addition to its bytes, in bytes: a million steps of one byte each must let other tasks run, too.
const STEP_COST: u64 = 256;
