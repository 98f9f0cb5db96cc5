// SPDX-License-Identifier: GPL-2.0-only
//! Declarations of the driver's C functions and variables; `knem_shim.h` documents each, and is authoritative.
//!
//! A function is `safe` if it is sound with any arguments, at any time. Whether it may sleep is for the caller to
//! respect, as with any function of the kernel.

use crate::logic::extent::Extent;
use kernel::bindings;
use kernel::prelude::*;

/// Memory for C's `struct knem_node`, whose size C asserts.
#[repr(C, align(8))]
pub(crate) struct Node([u64; 7]);

impl Node {
    /// Memory that C initialises when it lists the node.
    pub(crate) const fn new() -> Self {
        Self([0; 7])
    }
}

/// C's `struct rb_root`, whose size C asserts: a tree of nodes.
#[repr(C)]
pub(crate) struct Root(*mut c_void);

impl Root {
    /// Returns the empty tree.
    pub(crate) const fn new() -> Self {
        Self(core::ptr::null_mut())
    }
}

/// Memory for C's `struct wait_queue_head` in any configuration; C asserts its size.
#[repr(C, align(8))]
pub(crate) struct WaitQueueHead([u64; 16]);

/// A worker thread that has not begun; opaque to Rust.
#[repr(C)]
pub(crate) struct Worker([u8; 0]);

/// Memory for C's `struct delayed_work` in any configuration; C asserts its size.
#[repr(C, align(8))]
pub(crate) struct DelayedWork([u64; 40]);

#[allow(improper_ctypes)] // bindings' structures of zero size.
unsafe extern "C" {
    pub(crate) unsafe fn knem_device_register() -> c_int;
    pub(crate) unsafe fn knem_device_deregister();

    pub(crate) safe static knem_shim_version: [c_char; 0];
    pub(crate) safe static knem_shim_version_len: usize;
    pub(crate) unsafe static mut knem_param_memlock: c_uint;
    pub(crate) unsafe static mut knem_param_max_pinned_mb: c_ulong;
    pub(crate) unsafe static mut knem_param_max_user_pinned_mb: c_ulong;
    pub(crate) unsafe static mut knem_param_unpinned: c_uint;
    pub(crate) unsafe static mut knem_param_max_segments: c_uint;
    pub(crate) unsafe static mut knem_param_pinlocal: c_uint;
    pub(crate) unsafe static mut knem_param_pinlocalread: c_uint;
    pub(crate) unsafe static mut knem_param_forceflags: c_uint;
    pub(crate) unsafe static mut knem_param_ignoreflags: c_uint;
    pub(crate) unsafe static mut knem_param_thread: c_uint;
    pub(crate) unsafe static mut knem_param_sync: c_uint;
    pub(crate) unsafe static mut knem_param_debug: c_uint;
    pub(crate) unsafe static mut knem_param_binding: c_int;
    pub(crate) unsafe static mut knem_param_statslen: c_ulong;
    pub(crate) unsafe static mut knem_param_statsverbose: c_uint;
    pub(crate) unsafe static mut knem_param_max_regions: c_uint;
    pub(crate) unsafe static mut knem_param_max_contexts: c_uint;
    pub(crate) unsafe static mut knem_param_max_queued: c_uint;
    pub(crate) unsafe static mut knem_param_max_slots: c_ulong;
    pub(crate) unsafe static mut knem_param_max_slots_mb: c_ulong;
    pub(crate) unsafe static mut knem_param_strict_ns: c_uint;
    pub(crate) unsafe static mut knem_param_strict_dumpable: c_uint;

    pub(crate) unsafe fn knem_shim_to_user(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) unsafe fn knem_shim_from_user(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) unsafe fn knem_shim_to_user_nofault(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) unsafe fn knem_shim_from_user_nofault(to: *mut c_void, from: *const c_void, n: c_ulong) -> c_ulong;
    pub(crate) unsafe fn knem_shim_read_words(to: *mut u64, address: c_ulong, words: c_ulong) -> bool;
    pub(crate) safe fn knem_shim_write_u32(address: c_ulong, value: u32) -> bool;
    pub(crate) safe fn knem_shim_write_u64(address: c_ulong, value: u64) -> bool;
    pub(crate) unsafe fn knem_shim_fault_in(address: c_ulong, n: c_ulong, write: bool) -> bool;
    pub(crate) unsafe fn knem_shim_copy(to: *mut c_void, from: *const c_void, n: c_ulong);

    pub(crate) safe fn knem_shim_resched();
    pub(crate) safe fn knem_shim_killed() -> bool;

    pub(crate) unsafe fn knem_shim_page_address(page: *const bindings::page) -> *mut c_void;
    pub(crate) safe static knem_page_stride: usize;
    pub(crate) unsafe fn knem_pin(
        start: c_ulong,
        count: c_int,
        write: bool,
        longterm: bool,
        pages: *mut *mut bindings::page,
    ) -> c_int;
    pub(crate) unsafe fn knem_pin_remote(
        mm: *mut bindings::mm_struct,
        start: c_ulong,
        count: c_int,
        write: bool,
        wait: bool,
        pages: *mut *mut bindings::page,
    ) -> c_int;
    pub(crate) unsafe fn knem_unpin(pages: *mut *mut bindings::page, count: c_ulong, dirty: bool);
    pub(crate) unsafe fn knem_pages_to_addresses(words: *mut u64, count: c_ulong);
    pub(crate) unsafe fn knem_unpin_addresses(words: *mut u64, count: c_ulong, dirty: bool);
    pub(crate) unsafe fn knem_unpin_singles(
        extents: *const Extent,
        count: c_ulong,
        offset: u64,
        dirty: bool,
    ) -> c_ulong;
    pub(crate) unsafe fn knem_unpin_range(address: *const c_void, count: c_ulong, dirty: bool);
    pub(crate) safe fn knem_shim_ram_pages() -> c_ulong;
    pub(crate) safe fn knem_shim_user_end() -> c_ulong;
    pub(crate) safe fn knem_shim_address_tags() -> c_ulong;

    pub(crate) unsafe fn knem_shim_pinned_init() -> c_int;
    pub(crate) unsafe fn knem_shim_pinned_destroy();
    pub(crate) unsafe fn knem_shim_pinned_add(pages: i64);
    pub(crate) unsafe fn knem_shim_pinned_charge(pages: i64, most: i64) -> bool;
    pub(crate) unsafe fn knem_shim_pinned() -> i64;
    pub(crate) unsafe fn knem_shim_add_pinned(mm: *mut bindings::mm_struct, pages: i64);
    pub(crate) unsafe fn knem_shim_charge_pinned(mm: *mut bindings::mm_struct, pages: i64, most: i64) -> bool;
    pub(crate) safe fn knem_shim_cred() -> *const bindings::cred;
    pub(crate) unsafe fn knem_shim_cred_get(cred: *const bindings::cred);
    pub(crate) unsafe fn knem_shim_cred_put(cred: *const bindings::cred);
    pub(crate) unsafe fn knem_shim_add_locked(cred: *const bindings::cred, pages: i64);
    pub(crate) unsafe fn knem_shim_charge_locked(cred: *const bindings::cred, pages: i64, most: i64) -> bool;
    pub(crate) safe fn knem_shim_memlock_pages() -> c_ulong;
    pub(crate) safe fn knem_shim_may_exceed_memlock() -> bool;

    pub(crate) safe fn knem_shim_ids() -> u64;
    pub(crate) safe fn knem_shim_user_namespace() -> u64;
    pub(crate) safe fn knem_shim_pid_namespace() -> u64;
    pub(crate) safe fn knem_shim_in_initial_namespaces() -> bool;
    pub(crate) safe fn knem_shim_dumpable() -> bool;
    pub(crate) safe fn knem_shim_may_exceed_limits() -> bool;
    pub(crate) safe fn knem_shim_refused(command: c_uint, error: c_int);

    pub(crate) safe fn knem_shim_nospec(index: c_ulong, size: c_ulong) -> c_ulong;
    pub(crate) unsafe fn knem_shim_store_release(to: *mut u8, value: u8);

    pub(crate) unsafe fn knem_shim_wait_init(queue: *mut WaitQueueHead);
    pub(crate) unsafe fn knem_shim_wake(queue: *mut WaitQueueHead);
    pub(crate) unsafe fn knem_shim_wait(
        queue: *mut WaitQueueHead,
        ready: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
        data: *mut c_void,
    ) -> c_int;
    pub(crate) unsafe fn knem_shim_wait_in_thread(
        queue: *mut WaitQueueHead,
        ready: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
        data: *mut c_void,
        milliseconds: u32,
    );
    pub(crate) unsafe fn knem_shim_wait_quietly(
        queue: *mut WaitQueueHead,
        ready: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
        data: *mut c_void,
        milliseconds: u32,
    );
    pub(crate) unsafe fn knem_shim_poll(
        file: *mut bindings::file,
        queue: *mut WaitQueueHead,
        table: *mut bindings::poll_table,
    );

    pub(crate) unsafe fn knem_workers_begin() -> c_int;
    pub(crate) unsafe fn knem_workers_end();
    pub(crate) unsafe fn knem_worker_create(
        turn: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
        killed: Option<unsafe extern "C" fn(*mut c_void)>,
        gone: Option<unsafe extern "C" fn(*mut c_void)>,
        data: *mut c_void,
        ordinal: c_ulong,
    ) -> *mut Worker;
    pub(crate) unsafe fn knem_worker_go(worker: *mut Worker);
    pub(crate) safe fn knem_worker_due() -> bool;
    pub(crate) unsafe fn knem_worker_bind(mask: *const bindings::cpumask);
    pub(crate) safe fn knem_shim_cpumask_words() -> usize;
    pub(crate) unsafe fn knem_shim_allowed_cpus(mask: *mut bindings::cpumask);
    pub(crate) safe fn knem_worker_most() -> c_ulong;
    pub(crate) safe fn knem_shim_sleep(milliseconds: u32) -> c_int;
    pub(crate) unsafe fn knem_shim_cpuset_cpus(mask: *mut bindings::cpumask) -> c_int;
    pub(crate) unsafe fn knem_shim_online_cpus(mask: *mut bindings::cpumask);

    pub(crate) unsafe fn knem_shim_file_uid(file: *const bindings::file) -> u32;
    pub(crate) unsafe fn knem_shim_file_admin(file: *const bindings::file) -> bool;
    pub(crate) unsafe fn knem_shim_nonblocking(file: *const bindings::file) -> bool;

    pub(crate) unsafe fn knem_shim_counters_init(number: c_ulong) -> c_int;
    pub(crate) unsafe fn knem_shim_counters_destroy();
    pub(crate) safe fn knem_shim_add(counter: c_ulong, by: u64);
    pub(crate) safe fn knem_shim_add_copy(size: c_ulong, time: c_ulong, sum: c_ulong, by: u64);
    pub(crate) safe fn knem_shim_sample(path: c_ulong) -> u64;
    pub(crate) safe fn knem_shim_sampled(path: c_ulong, counter: u32);
    pub(crate) safe fn knem_shim_counted(counter: c_ulong) -> u64;
    pub(crate) safe fn knem_shim_now() -> u64;
    pub(crate) safe fn knem_shim_pinned_peak() -> i64;
    pub(crate) unsafe fn knem_shim_pinned_peak_clear();

    pub(crate) safe fn knem_shim_process() -> *mut bindings::pid;
    pub(crate) unsafe fn knem_shim_process_put(process: *mut bindings::pid);
    pub(crate) unsafe fn knem_shim_process_number(process: *mut bindings::pid) -> u32;

    pub(crate) unsafe fn knem_proc_create(
        statistics: Option<unsafe extern "C" fn(seq: *mut bindings::seq_file)>,
        seek: Option<
            unsafe extern "C" fn(
                cursor: *mut c_void,
                file: *const bindings::file,
                which: c_uint,
                position: u64,
            ) -> c_int,
        >,
        write: Option<unsafe extern "C" fn(seq: *mut bindings::seq_file, cursor: *const c_void, which: c_uint)>,
        cursor: usize,
    ) -> c_int;
    pub(crate) unsafe fn knem_proc_remove();
    pub(crate) unsafe fn knem_proc_write(seq: *mut bindings::seq_file, text: *const c_void, length: c_ulong) -> bool;

    pub(crate) safe fn knem_shim_pause();
    pub(crate) safe fn knem_shim_random() -> u64;

    pub(crate) unsafe fn knem_table_init() -> c_int;
    pub(crate) unsafe fn knem_table_destroy();
    pub(crate) unsafe fn knem_table_insert(node: *mut Node, cookie: u64) -> c_int;
    pub(crate) unsafe fn knem_table_remove(node: *mut Node) -> bool;
    pub(crate) unsafe fn knem_table_get(cookie: u64) -> *mut Node;
    pub(crate) unsafe fn knem_node_put(node: *mut Node) -> bool;
    pub(crate) unsafe fn knem_node_free(node: *mut Node);
    pub(crate) unsafe fn knem_tree_insert(tree: *mut Root, node: *mut Node, ordinal: u64);
    pub(crate) unsafe fn knem_tree_remove(tree: *mut Root, node: *mut Node) -> bool;
    pub(crate) unsafe fn knem_tree_from(tree: *const Root, ordinal: u64) -> *mut Node;
}

// DMA engines; `knem_dma.h` documents each declaration.

/// A claimed channel; opaque to Rust.
#[repr(C)]
pub(crate) struct DmaChannel([u8; 0]);

/// The properties of a channel.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct DmaLimits {
    pub(crate) mapping: u64,
    pub(crate) segment: u64,
    pub(crate) shift: u32,
    pub(crate) line: u32,
    pub(crate) node: i32,
    pad: u32,
}

#[allow(improper_ctypes)] // bindings' structures of zero size.
unsafe extern "C" {
    pub(crate) unsafe static mut knem_param_dma: c_uint;
    pub(crate) unsafe static mut knem_param_dmamin: c_uint;
    pub(crate) unsafe static mut knem_param_dmachannels: c_uint;
    pub(crate) unsafe static mut knem_param_dmatimeout: c_uint;

    pub(crate) safe fn knem_dma_supported() -> bool;
    pub(crate) safe fn knem_dma_claim(node: c_int, nearer_than: u32) -> *mut DmaChannel;
    pub(crate) unsafe fn knem_dma_release(channel: *mut DmaChannel);
    pub(crate) unsafe fn knem_dma_get_limits(channel: *const DmaChannel, limits: *mut DmaLimits);
    pub(crate) unsafe fn knem_dma_gone(channel: *const DmaChannel) -> bool;
    pub(crate) unsafe fn knem_dma_idle(channel: *mut DmaChannel) -> u64;
    pub(crate) unsafe fn knem_dma_submit(
        channel: *mut DmaChannel,
        to: *mut c_void,
        from: *const c_void,
        length: c_ulong,
        done: Option<unsafe extern "C" fn(*mut c_void, bool)>,
        owner: *mut c_void,
    ) -> c_int;
    pub(crate) unsafe fn knem_dma_count(channel: *const DmaChannel) -> u32;
    pub(crate) unsafe fn knem_dma_issue(channel: *mut DmaChannel);
    pub(crate) unsafe fn knem_dma_terminate(channel: *mut DmaChannel) -> c_int;
    pub(crate) safe fn knem_dma_distance(from: c_int, to: c_int) -> u32;
    pub(crate) unsafe fn knem_dma_node(address: *const c_void) -> c_int;
    pub(crate) safe fn knem_dma_now() -> u64;

    pub(crate) unsafe fn knem_dma_work_begin() -> c_int;
    pub(crate) unsafe fn knem_dma_work_end();
    pub(crate) unsafe fn knem_dma_work_init(
        work: *mut DelayedWork,
        function: Option<unsafe extern "C" fn(*mut DelayedWork)>,
    );
    pub(crate) unsafe fn knem_dma_work_after(work: *mut DelayedWork, milliseconds: u32) -> bool;
    pub(crate) unsafe fn knem_dma_work_now(work: *mut DelayedWork) -> bool;
    pub(crate) unsafe fn knem_dma_work_cancel(work: *mut DelayedWork) -> bool;

    pub(crate) unsafe fn knem_dma_wait_init(queue: *mut WaitQueueHead);
    pub(crate) unsafe fn knem_dma_wake(queue: *mut WaitQueueHead);
    pub(crate) unsafe fn knem_dma_wait(
        queue: *mut WaitQueueHead,
        ready: Option<unsafe extern "C" fn(*mut c_void) -> bool>,
        data: *mut c_void,
        milliseconds: u32,
        killable: bool,
    );

    pub(crate) unsafe fn knem_dma_hold_module();
    pub(crate) unsafe fn knem_dma_let_module_go();
}
