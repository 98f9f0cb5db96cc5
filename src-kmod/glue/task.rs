// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use crate::glue::ffi;
use crate::logic::segment::Space;
use kernel::page::PAGE_SHIFT;

/// Real user id, in the initial user namespace.
pub(crate) fn uid() -> u32 {
    // SAFETY: Called by a task, as all of the driver is; it has credentials.
    unsafe { ffi::knem_shim_uid() }
}

/// Whether the task has been killed, and should come to an end.
pub(crate) fn killed() -> bool {
    // SAFETY: Looks at the calling task only.
    unsafe { ffi::knem_shim_killed() }
}

/// Lets others run. Called in loops over user-sized work, never under a lock.
pub(crate) fn resched() {
    // SAFETY: No lock is held and preemption is enabled, by the callers' contract.
    unsafe { ffi::knem_shim_resched() }
}

/// The shape of user memory.
pub(crate) fn space() -> Space {
    // SAFETY: A constant of the machine.
    let end = unsafe { ffi::knem_shim_user_end() };
    Space { end: end as u64, page_shift: PAGE_SHIFT as u32 }
}
