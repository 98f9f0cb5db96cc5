// SPDX-License-Identifier: GPL-2.0-only
//! Address spaces, and mappings that are being created.

use crate::sync::aref::AlwaysRefCounted;
use crate::types::Opaque;
use crate::{bindings, ffi};
use core::ptr::NonNull;

/// An address space (`struct mm_struct`), whose user memory may be gone.
#[repr(transparent)]
pub struct Mm(Opaque<bindings::mm_struct>);

/// An address space that still has its user memory.
#[repr(transparent)]
pub struct MmWithUser(Mm);

impl Mm {
    /// Returns the kernel's structure.
    pub fn as_raw(&self) -> *mut bindings::mm_struct {
        self.0.get()
    }
}

impl core::ops::Deref for MmWithUser {
    type Target = Mm;

    fn deref(&self) -> &Mm {
        &self.0
    }
}

// SAFETY: The kernel counts references to an address space atomically, so that any task may hold or drop one.
unsafe impl Send for Mm {}
// SAFETY: A shared `Mm` provides only its address.
unsafe impl Sync for Mm {}

// SAFETY: `mmgrab` keeps the structure allocated until the matching `mmdrop`.
unsafe impl AlwaysRefCounted for Mm {
    fn inc_ref(&self) {
        // SAFETY: A reference to an `Mm` exists only while the structure is allocated.
        unsafe { ffi::standin_mm_grab(self.as_raw()) }
    }

    unsafe fn dec_ref(this: NonNull<Self>) {
        // SAFETY: The caller passes a reference that it owns, and does not use it again.
        unsafe { ffi::standin_mm_drop(this.as_ptr().cast()) }
    }
}

/// Mappings.
pub mod virt {
    use super::*;
    use crate::error::{to_result, Result};
    use crate::page::Page;

    /// A mapping that a driver's `mmap` sets up.
    #[repr(transparent)]
    pub struct VmaNew(Opaque<bindings::vm_area_struct>);

    /// A mapping that pages can be inserted into (`VM_MIXEDMAP`).
    #[repr(transparent)]
    pub struct VmaMixedMap(Opaque<bindings::vm_area_struct>);

    /// Flags of a mapping. The bit is the stand-in's own.
    pub mod flags {
        /// The mapping is shared with other processes (`MAP_SHARED`).
        pub const SHARED: usize = 1;
    }

    impl VmaNew {
        /// Returns the kernel's structure as a reference.
        ///
        /// # Safety
        /// `vma` must be a mapping that the caller's `mmap` sets up, and the result must not be used after that
        /// returns.
        pub unsafe fn from_raw<'a>(vma: *mut bindings::vm_area_struct) -> &'a Self {
            // SAFETY: The caller guarantees that the structure stays valid; `VmaNew` has its layout.
            unsafe { &*vma.cast() }
        }

        /// Returns the first address.
        pub fn start(&self) -> usize {
            // SAFETY: The caller of `from_raw` guarantees that the structure is valid; the kernel holds the mmap lock
            // for writing during an `mmap`.
            unsafe { ffi::standin_vma_start(self.0.get()) }
        }

        /// Returns the first address after the mapping.
        pub fn end(&self) -> usize {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            unsafe { ffi::standin_vma_end(self.0.get()) }
        }

        /// Returns the bits of [`flags`] that are set.
        pub fn flags(&self) -> usize {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            if unsafe { ffi::standin_vma_shared(self.0.get()) } {
                flags::SHARED
            } else {
                0
            }
        }

        /// Prevents the mapping from becoming executable.
        ///
        /// # Errors
        /// EINVAL if it is executable.
        pub fn try_clear_mayexec(&self) -> Result {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            to_result(unsafe { ffi::standin_vma_clear_mayexec(self.0.get()) })
        }

        /// Prevents `mremap` from growing the mapping.
        pub fn set_dontexpand(&self) {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            unsafe { ffi::standin_vma_set_dontexpand(self.0.get()) }
        }

        /// Excludes the mapping from core dumps.
        pub fn set_dontdump(&self) {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            unsafe { ffi::standin_vma_set_dontdump(self.0.get()) }
        }

        /// Allows pages to be inserted.
        pub fn set_mixedmap(&self) -> &VmaMixedMap {
            // SAFETY: As in `start`, the structure is valid and the mmap lock is held.
            unsafe { ffi::standin_vma_set_mixedmap(self.0.get()) };
            // SAFETY: It is the same structure, whose flag was set just now; both types have its layout.
            unsafe { &*self.0.get().cast() }
        }
    }

    impl VmaMixedMap {
        /// Returns the first address.
        pub fn start(&self) -> usize {
            // SAFETY: A reference to this exists only as long as the `VmaNew` that it comes from, so that the structure
            // is valid.
            unsafe { ffi::standin_vma_start(self.0.get()) }
        }

        /// Maps a page at an address. The mapping takes a reference of its own to the page.
        ///
        /// # Errors
        /// EFAULT if the address is outside of the mapping, EBUSY if a page is mapped there; ENOMEM.
        pub fn vm_insert_page(&self, address: usize, page: &Page) -> Result {
            // SAFETY: As in `start`, the structure is valid. The reference keeps the page, and the kernel checks the
            // address.
            to_result(unsafe { ffi::standin_vma_insert_page(self.0.get(), address, page.as_ptr()) })
        }
    }
}
