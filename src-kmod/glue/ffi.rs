// SPDX-License-Identifier: GPL-2.0-only
//! Declarations of what the driver's C offers; `knem_shim.h` documents each, and is the source.

use kernel::bindings;
use kernel::prelude::*;

/// Room for C's `struct knem_node`, whose size C asserts.
#[repr(C, align(8))]
pub(crate) struct Node([u64; 6]);

impl Node {
    /// Memory that C initialises when it lists the node.
    pub(crate) const fn new() -> Self {
        Self([0; 6])
    }
}

#[allow(improper_ctypes)] // bindings' structures of zero size.
extern "C" {
    /// The module itself, owner of its file operations. Declared here since the name and place that the `kernel`
    /// crate gives it differ between 7.2 and 7.3.
    pub(crate) static mut __this_module: bindings::module;

    pub(crate) static knem_shim_version: [c_char; 0];
    pub(crate) static knem_shim_version_len: usize;
    pub(crate) static mut knem_param_memlock: c_uint;
    pub(crate) static mut knem_param_max_pinned_mb: c_ulong;
    pub(crate) static mut knem_param_max_segments: c_uint;
    pub(crate) static mut knem_param_pinlocal: c_uint;
    pub(crate) static mut knem_param_pinlocalread: c_uint;
    pub(crate) static mut knem_param_forceflags: c_uint;
    pub(crate) static mut knem_param_ignoreflags: c_uint;

    pub(crate) fn knem_shim_to_user(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) fn knem_shim_from_user(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) fn knem_shim_copy(to: *mut c_void, from: *const c_void, n: c_ulong);

    pub(crate) fn knem_shim_resched();
    pub(crate) fn knem_shim_killed() -> bool;

    pub(crate) fn knem_shim_page_address(page: *const bindings::page) -> *mut c_void;
    pub(crate) fn knem_shim_page(address: *const c_void) -> *mut bindings::page;
    pub(crate) fn knem_shim_ram_pages() -> c_ulong;
    pub(crate) fn knem_shim_user_end() -> c_ulong;

    pub(crate) fn knem_shim_pinned_init() -> c_int;
    pub(crate) fn knem_shim_pinned_destroy();
    pub(crate) fn knem_shim_pinned_add(pages: i64);
    pub(crate) fn knem_shim_pinned_exceeds(pages: i64) -> bool;
    pub(crate) fn knem_shim_pinned() -> i64;
    pub(crate) fn knem_shim_add_pinned(mm: *mut bindings::mm_struct, pages: i64) -> i64;
    pub(crate) fn knem_shim_memlock_pages() -> c_ulong;
    pub(crate) fn knem_shim_may_exceed_memlock() -> bool;

    pub(crate) fn knem_shim_uid() -> u32;
    pub(crate) fn knem_shim_file_admin(file: *mut bindings::file) -> bool;
    pub(crate) fn knem_shim_writable(file: *const bindings::file) -> bool;

    pub(crate) fn knem_shim_count(counter: c_ulong);
    pub(crate) fn knem_shim_counted(counter: c_ulong) -> u64;

    pub(crate) fn knem_table_init() -> c_int;
    pub(crate) fn knem_table_destroy();
    pub(crate) fn knem_table_insert(node: *mut Node, cookie: u64) -> c_int;
    pub(crate) fn knem_table_remove(node: *mut Node) -> bool;
    pub(crate) fn knem_table_get(cookie: u64) -> *mut Node;
    pub(crate) fn knem_node_cookie(node: *const Node) -> u64;
    pub(crate) fn knem_node_put(node: *mut Node) -> bool;
    pub(crate) fn knem_node_free(node: *mut Node);
}
