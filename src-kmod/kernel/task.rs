// SPDX-License-Identifier: GPL-2.0-only
//! The calling task.

use crate::ffi;
use crate::mm::MmWithUser;

/// The calling task; see [`current!`].
pub struct Current;

impl Current {
    /// Returns the address space of the task; kernel threads have none.
    pub fn mm(&self) -> Option<&MmWithUser> {
        let mm = ffi::standin_current_mm();
        // SAFETY: A task keeps its address space, with its memory, while it runs; `MmWithUser` has its layout. The
        // borrow ends with that of `current!()`, a temporary in the task's own call.
        unsafe { mm.cast::<MmWithUser>().as_ref() }
    }
}

/// The calling task.
#[macro_export]
macro_rules! current {
    () => {
        &$crate::task::Current
    };
}
