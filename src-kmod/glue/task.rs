// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use crate::glue::ffi;
use crate::logic::access::Identity;
use crate::logic::segment::Space;
use kernel::bindings;
use kernel::error::{to_result, Result};
use kernel::ffi::c_ulong;
use kernel::page::PAGE_SHIFT;

/// Who the task is, in the initial user namespace.
pub(crate) fn identity() -> Identity {
    let ids = ffi::knem_shim_ids();
    // Each half is an id.
    Identity { uid: ids as u32, euid: (ids >> 32) as u32 }
}

/// Which namespaces a task lives in: numbers that the kernel does not use twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Namespaces {
    user: u64,
    pid: u64,
}

/// The namespaces of the task.
pub(crate) fn namespaces() -> Namespaces {
    Namespaces { user: ffi::knem_shim_user_namespace(), pid: ffi::knem_shim_pid_namespace() }
}

/// Whether the task is in the machine's own user and pid namespace.
pub(crate) fn in_initial_namespaces() -> bool {
    ffi::knem_shim_in_initial_namespaces()
}

/// A process, whether or not it still runs.
pub(crate) struct Process(*mut bindings::pid);

// SAFETY: C counts references atomically, and any task may look.
unsafe impl Send for Process {}
// SAFETY: As for `Send`.
unsafe impl Sync for Process {}

impl Process {
    /// The process of the calling task.
    pub(crate) fn calling() -> Self {
        Self(ffi::knem_shim_process())
    }

    /// Its number as the calling task knows it, or 0 where it does not.
    pub(crate) fn number(&self) -> u32 {
        // SAFETY: The reference keeps it.
        unsafe { ffi::knem_shim_process_number(self.0) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: Gives the reference back.
        unsafe { ffi::knem_shim_process_put(self.0) };
    }
}

/// Whether the task may be looked into by others of its user: it has not become what it is through a set-user-id
/// program, and its program can be read.
pub(crate) fn dumpable() -> bool {
    ffi::knem_shim_dumpable()
}

/// Whether the task may have more of something than a limit says (CAP_SYS_RESOURCE).
pub(crate) fn may_exceed_limits() -> bool {
    ffi::knem_shim_may_exceed_limits()
}

/// `index` if it is less than `size`, else some other number that is: also on a path that the processor only
/// guesses to take. For `size` 0, 0.
pub(crate) fn within(index: usize, size: usize) -> usize {
    ffi::knem_shim_nospec(index as c_ulong, size as c_ulong) as usize
}

/// Whether the task has been killed, and should come to an end.
pub(crate) fn killed() -> bool {
    ffi::knem_shim_killed()
}

/// Sleeps for as many milliseconds.
///
/// # Errors
/// EINTR if the task is killed meanwhile.
pub(crate) fn sleep(milliseconds: u32) -> Result {
    to_result(ffi::knem_shim_sleep(milliseconds))
}

/// Lets others run. Called in loops over user-sized work, never under a lock.
pub(crate) fn resched() {
    ffi::knem_shim_resched()
}

/// The shape of user memory.
pub(crate) fn space() -> Space {
    let end = ffi::knem_shim_user_end();
    let tags = ffi::knem_shim_address_tags();
    Space { end: end as u64, tags: tags as u64, page_shift: PAGE_SHIFT as u32 }
}
