// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use crate::glue::ffi;
use crate::logic::access::Identity;
use crate::logic::segment::Space;
use kernel::bindings;
use kernel::error::{to_result, Result};
use kernel::ffi::c_ulong;
use kernel::page::PAGE_SHIFT;

/// Returns the user ids of the task, in the initial user namespace.
pub(crate) fn identity() -> Identity {
    let ids = ffi::knem_shim_ids();
    // Each half of the number is an id.
    Identity { uid: ids as u32, euid: (ids >> 32) as u32 }
}

/// The namespaces of a task, as numbers that the kernel does not use twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    user: u64,
    pid: u64,
}

/// Returns the namespaces of the task.
pub(crate) fn namespaces() -> Namespaces {
    Namespaces { user: ffi::knem_shim_user_namespace(), pid: ffi::knem_shim_pid_namespace() }
}

/// Whether the task is in the initial user and pid namespaces.
pub(crate) fn in_initial_namespaces() -> bool {
    ffi::knem_shim_in_initial_namespaces()
}

/// A reference to a process, which may have exited.
pub(crate) struct Process(*mut bindings::pid);

// SAFETY: The kernel counts references atomically, so that any task may drop one.
unsafe impl Send for Process {}
// SAFETY: The only method reads the structure, which any task may do.
unsafe impl Sync for Process {}

impl Process {
    /// Returns the process of the calling task.
    pub(crate) fn calling() -> Self {
        Self(ffi::knem_shim_process())
    }

    /// Returns its pid in the calling task's namespace, or 0 if it has none there.
    pub(crate) fn number(&self) -> u32 {
        // SAFETY: This value owns a reference, which keeps the structure.
        unsafe { ffi::knem_shim_process_number(self.0) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: This value owns the reference, and does not use it again.
        unsafe { ffi::knem_shim_process_put(self.0) };
    }
}

/// Whether other processes of its user may inspect the task: it did not get its privileges from a set-user-id program,
/// and its program is readable.
pub(crate) fn dumpable() -> bool {
    ffi::knem_shim_dumpable()
}

/// Whether the task may exceed resource limits (CAP_SYS_RESOURCE).
pub(crate) fn may_exceed_limits() -> bool {
    ffi::knem_shim_may_exceed_limits()
}

/// Returns `index` if it is less than `size`, else another number that is, also in speculative execution. For `size` 0
/// it returns 0.
pub(crate) fn within(index: usize, size: usize) -> usize {
    ffi::knem_shim_nospec(index as c_ulong, size as c_ulong) as usize
}

/// Whether the task has been killed, and should return soon.
pub(crate) fn killed() -> bool {
    ffi::knem_shim_killed()
}

/// Sleeps for a number of milliseconds.
///
/// # Errors
/// EINTR if the task is killed meanwhile.
pub(crate) fn sleep(milliseconds: u32) -> Result {
    to_result(ffi::knem_shim_sleep(milliseconds))
}

/// Lets other tasks run if necessary. Called in loops whose length user space determines, never under a lock.
pub(crate) fn resched() {
    ffi::knem_shim_resched()
}

/// Returns the layout of the task's user memory.
pub(crate) fn space() -> Space {
    let end = ffi::knem_shim_user_end();
    let tags = ffi::knem_shim_address_tags();
    Space { end: end as u64, tags: tags as u64, page_shift: PAGE_SHIFT as u32 }
}
