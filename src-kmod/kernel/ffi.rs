// SPDX-License-Identifier: GPL-2.0-only
//! C's types as the `kernel` crate defines them, and declarations of `standin.c`, which documents each function.

#![allow(non_camel_case_types)]

use crate::bindings;
use crate::rbtree::{Links, Root};

pub use core::ffi::{c_int, c_uint, c_void};

/// `char` is unsigned in the kernel.
pub type c_char = u8;
/// `long`, of pointer size.
pub type c_long = isize;
/// `unsigned long`, of pointer size.
pub type c_ulong = usize;

unsafe extern "C" {
    pub(crate) unsafe fn standin_print(level: c_uint, text: *const u8, length: usize);

    pub(crate) safe fn standin_kmalloc(size: usize, flags: c_uint) -> *mut c_void;
    pub(crate) unsafe fn standin_kfree(memory: *const c_void);
    pub(crate) safe fn standin_kvmalloc(size: usize, flags: c_uint) -> *mut c_void;
    pub(crate) unsafe fn standin_kvfree(memory: *const c_void);
    pub(crate) safe fn standin_page_alloc(flags: c_uint) -> *mut bindings::page;
    pub(crate) unsafe fn standin_page_free(page: *mut bindings::page);

    pub(crate) unsafe fn standin_spin_init(lock: *mut c_void, name: *const c_char, class: *mut c_void);
    pub(crate) unsafe fn standin_spin_lock(lock: *mut c_void);
    pub(crate) unsafe fn standin_spin_unlock(lock: *mut c_void);
    pub(crate) unsafe fn standin_mutex_init(lock: *mut c_void, name: *const c_char, class: *mut c_void);
    pub(crate) unsafe fn standin_mutex_lock(lock: *mut c_void);
    pub(crate) unsafe fn standin_mutex_unlock(lock: *mut c_void);

    pub(crate) unsafe fn standin_copy_from_user(to: *mut c_void, from: usize, length: usize) -> usize;
    pub(crate) unsafe fn standin_copy_to_user(to: usize, from: *const c_void, length: usize) -> usize;

    pub(crate) safe fn standin_current_mm() -> *mut bindings::mm_struct;
    pub(crate) unsafe fn standin_mm_grab(mm: *mut bindings::mm_struct);
    pub(crate) unsafe fn standin_mm_drop(mm: *mut bindings::mm_struct);

    pub(crate) unsafe fn standin_vma_start(vma: *const bindings::vm_area_struct) -> usize;
    pub(crate) unsafe fn standin_vma_end(vma: *const bindings::vm_area_struct) -> usize;
    pub(crate) unsafe fn standin_vma_shared(vma: *const bindings::vm_area_struct) -> bool;
    pub(crate) unsafe fn standin_vma_clear_mayexec(vma: *mut bindings::vm_area_struct) -> c_int;
    pub(crate) unsafe fn standin_vma_set_dontexpand(vma: *mut bindings::vm_area_struct);
    pub(crate) unsafe fn standin_vma_set_dontdump(vma: *mut bindings::vm_area_struct);
    pub(crate) unsafe fn standin_vma_set_mixedmap(vma: *mut bindings::vm_area_struct);
    pub(crate) unsafe fn standin_vma_insert_page(
        vma: *mut bindings::vm_area_struct,
        address: usize,
        page: *mut bindings::page,
    ) -> c_int;

    // Exported by every kernel.
    pub(crate) unsafe fn rb_insert_color(node: *mut Links, root: *mut Root);
    pub(crate) unsafe fn rb_erase(node: *mut Links, root: *mut Root);
}
