// SPDX-License-Identifier: GPL-2.0-only
//! Pages.

use crate::alloc::{AllocError, Flags};
use crate::{bindings, ffi};

/// Number of bits of an offset within a page. `standin.c` asserts that it is the kernel's; where an architecture has
/// several page sizes there is an object for each.
pub const PAGE_SHIFT: usize = if cfg!(page_shift = "16") {
    16
} else if cfg!(page_shift = "14") {
    14
} else {
    12
};
/// Size of a page in bytes.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// Clears the bits of an address within a page.
pub const PAGE_MASK: usize = !(PAGE_SIZE - 1);

/// A page of memory.
///
/// # Invariants
/// The pointer owns a reference to a page from `alloc_page`.
pub struct Page(*mut bindings::page);

// SAFETY: A page belongs to no task, so that any task may use and free it.
unsafe impl Send for Page {}
// SAFETY: A shared `Page` provides only its address.
unsafe impl Sync for Page {}

impl Page {
    /// Allocates a page.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn alloc_page(flags: Flags) -> Result<Self, AllocError> {
        let page = ffi::standin_page_alloc(flags.0);
        if page.is_null() {
            return Err(AllocError);
        }
        // INVARIANT: The page was allocated just now, and this owns its reference.
        Ok(Self(page))
    }

    /// Returns the kernel's structure.
    pub fn as_ptr(&self) -> *mut bindings::page {
        self.0
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: By the invariant this owns the reference, which is dropped here once.
        unsafe { ffi::standin_page_free(self.0) }
    }
}
