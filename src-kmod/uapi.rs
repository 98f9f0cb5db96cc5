// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The KNEM interface, ABI 0x0d: structures, flags and ioctl numbers.
//!
//! This file is authoritative. The driver and the tools compile it. `include/knem_io.h` declares the same for C, and a
//! test compares the two through [`CONSTANTS`] and [`LAYOUTS`].
//!
//! Every structure is naturally aligned, without implicit padding, and has the same layout for 32-bit
//! and 64-bit callers. The directions in the ioctl numbers are inverted with respect to the Linux
//! convention (`GET_INFO` fills user memory and is encoded as a write); they are part of the interface.
//!
//! A driver never reads a `pad` field, `current_status` on input, or `async_status_index` of a request without an
//! asynchronous flag: known clients leave them uninitialised.

use core::mem::{offset_of, size_of};

/// Name of the device, and of its node below `/dev`.
pub const DEVICE_NAME: &str = "knem";
/// Path of the device node.
pub const DEVICE_FILENAME: &str = "/dev/knem";

/// Version of the interface. Clients compare it for equality.
pub const ABI_VERSION: u32 = 0x0000_000d;

/// File offset at which the status array is mapped.
pub const STATUS_ARRAY_FILE_OFFSET: u64 = 0;

/// A 64-bit number that identifies a region. Never 0.
pub type Cookie = u64;

// Feature bits of `CmdInfo::features`.

/// A DMA channel is available.
pub const FEATURE_DMA: u32 = 1 << 0;

// Request flags.

/// Copy with DMA.
pub const FLAG_DMA: u32 = 1 << 0;
/// Do not wait for the DMA copy; the result appears in the status array.
pub const FLAG_ASYNCDMACOMPLETE: u32 = 1 << 1;
/// Let the worker thread drive the DMA copy.
pub const FLAG_DMATHREAD: u32 = 1 << 2;
/// Let the worker thread copy.
pub const FLAG_MEMCPYTHREAD: u32 = 1 << 3;
/// Pin the caller's own pages rather than copy through its mapping.
pub const FLAG_PINLOCAL: u32 = 1 << 4;
/// Destroy the region with the first accepted request.
pub const FLAG_SINGLEUSE: u32 = 1 << 5;
/// Queue an event on the file descriptor when the request completes.
pub const FLAG_NOTIFY_FD: u32 = 1 << 6;
/// Users other than the region's owner may use it.
pub const FLAG_ANY_USER_ACCESS: u32 = 1 << 7;

/// Flags that pass the copy to the worker thread.
pub const FLAG_ANY_THREAD_MASK: u32 = FLAG_DMATHREAD | FLAG_MEMCPYTHREAD;
/// Flags that allow the copy to complete after the call returned.
pub const FLAG_ANY_ASYNC_MASK: u32 = FLAG_ASYNCDMACOMPLETE | FLAG_ANY_THREAD_MASK;
/// Flags that concern DMA.
pub const FLAG_ANY_DMA_MASK: u32 = FLAG_DMA | FLAG_ASYNCDMACOMPLETE | FLAG_DMATHREAD;
/// Flags that apply to the creation of a region; others are ignored there.
pub const FLAG_ANY_CREATE_MASK: u32 = FLAG_SINGLEUSE | FLAG_ANY_USER_ACCESS;
/// Flags that apply to a copy request; others are ignored there.
pub const FLAG_ANY_COPY_MASK: u32 =
    FLAG_DMA | FLAG_ASYNCDMACOMPLETE | FLAG_DMATHREAD | FLAG_MEMCPYTHREAD | FLAG_PINLOCAL | FLAG_NOTIFY_FD;

// Flags of `CmdBindOffload`.

/// Bind the worker thread to the given mask.
pub const BIND_FLAG_CUSTOM: u32 = 1 << 0;
/// Bind the worker thread to the CPUs that the caller may use now.
pub const BIND_FLAG_CURRENT: u32 = 1 << 1;
/// Bind the worker thread to the CPUs that the caller may not use now.
pub const BIND_FLAG_CURRENT_REVERSED: u32 = 1 << 2;

// Status values.

/// The request has not completed.
pub const STATUS_PENDING: u8 = 0;
/// Every byte was copied.
pub const STATUS_SUCCESS: u8 = 1;
/// The copy stopped early; the destination's contents are unspecified.
pub const STATUS_FAILED: u8 = 2;

// Protection bits of a region, as in <sys/mman.h>.

/// Other processes may read the region.
pub const PROT_READ: u32 = 1;
/// Other processes may write the region.
pub const PROT_WRITE: u32 = 2;

/// One segment of memory (`struct knem_cmd_param_iovec`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParamIovec {
    /// Address in the caller's memory.
    pub base: u64,
    /// Length in bytes; an empty segment is skipped and its base not read.
    pub len: u64,
}

/// Argument of [`CMD_GET_INFO`] (`struct knem_cmd_info`), all of it written by the driver.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdInfo {
    /// [`ABI_VERSION`] of the driver.
    pub abi: u32,
    /// `FEATURE_*` bits.
    pub features: u32,
    /// Request flags that the driver ignores, as set by the administrator.
    pub ignored_flags: u32,
    /// Request flags that the driver adds, as set by the administrator.
    pub forced_flags: u32,
}

/// Argument of [`CMD_BIND_OFFLOAD`] (`struct knem_cmd_bind_offload`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdBindOffload {
    /// Exactly one of the `BIND_FLAG_*`.
    pub flags: u32,
    /// Length of the mask, in bytes.
    pub mask_len: u32,
    /// Address of the mask, an array of `unsigned long` as for `sched_setaffinity(2)`.
    pub mask_ptr: u64,
}

/// Argument of [`CMD_CREATE_REGION`] (`struct knem_cmd_create_region`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdCreateRegion {
    /// Address of an array of [`ParamIovec`].
    pub iovec_array: u64,
    /// Number of elements of that array; 0 creates an empty region.
    pub iovec_nr: u32,
    /// Bits of [`FLAG_ANY_CREATE_MASK`]; others are ignored.
    pub flags: u32,
    /// `PROT_*` bits: what a request may do with the region. 0 is allowed.
    pub protection: u32,
    /// Never read.
    pub pad1: u32,
    /// Out: the region's cookie.
    pub cookie: Cookie,
}

/// Argument of [`CMD_COPY`] (`struct knem_cmd_copy`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdCopy {
    /// Region to read from.
    pub src_cookie: Cookie,
    /// First byte to read, counted from the region's start.
    pub src_offset: u64,
    /// Region to write to.
    pub dst_cookie: Cookie,
    /// First byte to write, counted from the region's start.
    pub dst_offset: u64,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Out: `STATUS_*`.
    pub current_status: u32,
    /// Slot of the status array, for asynchronous requests.
    pub async_status_index: u32,
    /// Never read.
    pub pad: u32,
}

/// Argument of [`CMD_COPY_BOUNDED`] (`struct knem_cmd_copy_bounded`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdCopyBounded {
    /// Region to read from.
    pub src_cookie: Cookie,
    /// First byte to read, counted from the region's start.
    pub src_offset: u64,
    /// Region to write to.
    pub dst_cookie: Cookie,
    /// First byte to write, counted from the region's start.
    pub dst_offset: u64,
    /// Most bytes to copy.
    pub length: u64,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Out: `STATUS_*`.
    pub current_status: u32,
    /// Slot of the status array, for asynchronous requests.
    pub async_status_index: u32,
    /// Never read.
    pub pad: u32,
}

/// Argument of [`CMD_INLINE_COPY`] (`struct knem_cmd_inline_copy`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdInlineCopy {
    /// Address of an array of [`ParamIovec`] in the caller's memory.
    pub local_iovec_array: u64,
    /// Number of elements of that array.
    pub local_iovec_nr: u32,
    /// 0 reads from the region into the caller's memory; anything else writes.
    pub write: u32,
    /// The region.
    pub remote_cookie: Cookie,
    /// First byte of the region to use.
    pub remote_offset: u64,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Out: `STATUS_*`.
    pub current_status: u32,
    /// Slot of the status array, for asynchronous requests.
    pub async_status_index: u32,
    /// Never read.
    pub pad: u32,
}

/// Argument of [`CMD_INLINE_COPY_BOUNDED`] (`struct knem_cmd_inline_copy_bounded`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdInlineCopyBounded {
    /// Address of an array of [`ParamIovec`] in the caller's memory.
    pub local_iovec_array: u64,
    /// Number of elements of that array.
    pub local_iovec_nr: u32,
    /// 0 reads from the region into the caller's memory; anything else writes.
    pub write: u32,
    /// The region.
    pub remote_cookie: Cookie,
    /// First byte of the region to use.
    pub remote_offset: u64,
    /// Most bytes to copy.
    pub length: u64,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Out: `STATUS_*`.
    pub current_status: u32,
    /// Slot of the status array, for asynchronous requests.
    pub async_status_index: u32,
    /// Never read.
    pub pad: u32,
}

/// Argument of [`CMD_INIT_SEND`] (`struct knem_cmd_init_send_param`), of the interface before regions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdInitSend {
    /// Address of an array of [`ParamIovec`].
    pub send_iovec_array: u64,
    /// Number of elements of that array.
    pub send_iovec_nr: u32,
    /// Bits of [`FLAG_ANY_CREATE_MASK`]; others are ignored.
    pub flags: u32,
    /// Out: cookie of a single-use region that other processes may read.
    pub send_cookie: Cookie,
}

/// Argument of [`CMD_INIT_ASYNC_RECV`] (`struct knem_cmd_init_async_recv_param`), of the interface before regions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdInitAsyncRecv {
    /// Address of an array of [`ParamIovec`].
    pub recv_iovec_array: u64,
    /// Number of elements of that array.
    pub recv_iovec_nr: u32,
    /// Slot of the status array.
    pub status_index: u32,
    /// Region to read from.
    pub send_cookie: Cookie,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Never read.
    pub pad: u32,
}

/// Argument of [`CMD_SYNC_RECV`] (`struct knem_cmd_sync_recv_param`), of the interface before regions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CmdSyncRecv {
    /// Address of an array of [`ParamIovec`].
    pub recv_iovec_array: u64,
    /// Number of elements of that array.
    pub recv_iovec_nr: u32,
    /// Out: `STATUS_*`.
    pub status: u32,
    /// Region to read from.
    pub send_cookie: Cookie,
    /// Bits of [`FLAG_ANY_COPY_MASK`]; others are ignored.
    pub flags: u32,
    /// Never read.
    pub pad: u32,
}

/// Magic byte of every KNEM ioctl.
pub const CMD_MAGIC: u32 = b'K' as u32;

/// Encoding of the direction in `_IOC`, which differs between architectures (asm/ioctl.h).
#[cfg(not(any(
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "sparc",
    target_arch = "sparc64"
)))]
mod ioc {
    pub(super) const WRITE: u32 = 1;
    pub(super) const READ: u32 = 2;
    pub(super) const DIR_SHIFT: u32 = 30;
}

/// Encoding of the direction in `_IOC`, which differs between architectures (asm/ioctl.h).
#[cfg(any(
    target_arch = "powerpc",
    target_arch = "powerpc64",
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "sparc",
    target_arch = "sparc64"
))]
mod ioc {
    pub(super) const WRITE: u32 = 4;
    pub(super) const READ: u32 = 2;
    pub(super) const DIR_SHIFT: u32 = 29;
}

const fn command<T>(direction: u32, nr: u32) -> u32 {
    // Sizes are asserted below and fit the 13 bits that every architecture has for them.
    (direction << ioc::DIR_SHIFT) | ((size_of::<T>() as u32) << 16) | (CMD_MAGIC << 8) | nr
}

/// Get the driver's version and features.
pub const CMD_GET_INFO: u32 = command::<CmdInfo>(ioc::WRITE, 0x10);
/// Set the CPUs of the worker thread.
pub const CMD_BIND_OFFLOAD: u32 = command::<CmdBindOffload>(ioc::READ, 0x11);
/// Declare memory to send (old).
pub const CMD_INIT_SEND: u32 = command::<CmdInitSend>(ioc::READ | ioc::WRITE, 0x20);
/// Declare a region.
pub const CMD_CREATE_REGION: u32 = command::<CmdCreateRegion>(ioc::READ | ioc::WRITE, 0x21);
/// Withdraw a region.
pub const CMD_DESTROY_REGION: u32 = command::<Cookie>(ioc::READ, 0x22);
/// Receive, the result in the status array (old).
pub const CMD_INIT_ASYNC_RECV: u32 = command::<CmdInitAsyncRecv>(ioc::READ, 0x30);
/// Receive and wait (old).
pub const CMD_SYNC_RECV: u32 = command::<CmdSyncRecv>(ioc::READ, 0x31);
/// Copy from region to region.
pub const CMD_COPY: u32 = command::<CmdCopy>(ioc::READ, 0x32);
/// Copy between the caller's memory and a region.
pub const CMD_INLINE_COPY: u32 = command::<CmdInlineCopy>(ioc::READ, 0x33);
/// Copy from region to region, a given length at most.
pub const CMD_COPY_BOUNDED: u32 = command::<CmdCopyBounded>(ioc::READ, 0x34);
/// Copy between the caller's memory and a region, a given length at most.
pub const CMD_INLINE_COPY_BOUNDED: u32 = command::<CmdInlineCopyBounded>(ioc::READ, 0x35);

/// Layout of a structure: its C name, size in bytes, and each field's C name, offset and size.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Name in C, `struct` included.
    pub name: &'static str,
    /// Size in bytes.
    pub size: usize,
    /// Name, offset and size of each field, in order.
    pub fields: &'static [(&'static str, usize, usize)],
}

/// Asserts a structure's size and offsets, and describes them for the header's test.
macro_rules! layout {
    ($table:ident, $rust:ident, $c:literal, $size:literal, { $($field:ident: $ty:ty = $offset:literal),* $(,)? }) => {
        const _: () = assert!(size_of::<$rust>() == $size);
        $(const _: () = assert!(offset_of!($rust, $field) == $offset);)*
        // No implicit padding: the fields fill the structure.
        const _: () = assert!(0 $(+ size_of::<$ty>())* == $size);
        const $table: Layout = Layout {
            name: $c,
            size: $size,
            fields: &[$((stringify!($field), $offset, size_of::<$ty>())),*],
        };
    };
}

layout!(IOVEC, ParamIovec, "struct knem_cmd_param_iovec", 16, { base: u64 = 0, len: u64 = 8 });
layout!(INFO, CmdInfo, "struct knem_cmd_info", 16, {
    abi: u32 = 0, features: u32 = 4, ignored_flags: u32 = 8, forced_flags: u32 = 12,
});
layout!(BIND, CmdBindOffload, "struct knem_cmd_bind_offload", 16, {
    flags: u32 = 0, mask_len: u32 = 4, mask_ptr: u64 = 8,
});
layout!(CREATE, CmdCreateRegion, "struct knem_cmd_create_region", 32, {
    iovec_array: u64 = 0, iovec_nr: u32 = 8, flags: u32 = 12, protection: u32 = 16, pad1: u32 = 20, cookie: u64 = 24,
});
layout!(COPY, CmdCopy, "struct knem_cmd_copy", 48, {
    src_cookie: u64 = 0, src_offset: u64 = 8, dst_cookie: u64 = 16, dst_offset: u64 = 24,
    flags: u32 = 32, current_status: u32 = 36, async_status_index: u32 = 40, pad: u32 = 44,
});
layout!(COPY_BOUNDED, CmdCopyBounded, "struct knem_cmd_copy_bounded", 56, {
    src_cookie: u64 = 0, src_offset: u64 = 8, dst_cookie: u64 = 16, dst_offset: u64 = 24, length: u64 = 32,
    flags: u32 = 40, current_status: u32 = 44, async_status_index: u32 = 48, pad: u32 = 52,
});
layout!(INLINE_COPY, CmdInlineCopy, "struct knem_cmd_inline_copy", 48, {
    local_iovec_array: u64 = 0, local_iovec_nr: u32 = 8, write: u32 = 12, remote_cookie: u64 = 16, remote_offset: u64 = 24,
    flags: u32 = 32, current_status: u32 = 36, async_status_index: u32 = 40, pad: u32 = 44,
});
layout!(INLINE_COPY_BOUNDED, CmdInlineCopyBounded, "struct knem_cmd_inline_copy_bounded", 56, {
    local_iovec_array: u64 = 0, local_iovec_nr: u32 = 8, write: u32 = 12, remote_cookie: u64 = 16, remote_offset: u64 = 24,
    length: u64 = 32, flags: u32 = 40, current_status: u32 = 44, async_status_index: u32 = 48, pad: u32 = 52,
});
layout!(SEND, CmdInitSend, "struct knem_cmd_init_send_param", 24, {
    send_iovec_array: u64 = 0, send_iovec_nr: u32 = 8, flags: u32 = 12, send_cookie: u64 = 16,
});
layout!(ASYNC_RECV, CmdInitAsyncRecv, "struct knem_cmd_init_async_recv_param", 32, {
    recv_iovec_array: u64 = 0, recv_iovec_nr: u32 = 8, status_index: u32 = 12, send_cookie: u64 = 16,
    flags: u32 = 24, pad: u32 = 28,
});
layout!(RECV, CmdSyncRecv, "struct knem_cmd_sync_recv_param", 32, {
    recv_iovec_array: u64 = 0, recv_iovec_nr: u32 = 8, status: u32 = 12, send_cookie: u64 = 16,
    flags: u32 = 24, pad: u32 = 28,
});

/// Every structure of the interface, for the header's test.
pub const LAYOUTS: &[Layout] =
    &[IOVEC, INFO, BIND, CREATE, COPY, COPY_BOUNDED, INLINE_COPY, INLINE_COPY_BOUNDED, SEND, ASYNC_RECV, RECV];

/// Every number of the interface under its C name, for the header's test.
pub const CONSTANTS: &[(&str, u64)] = &[
    ("KNEM_ABI_VERSION", ABI_VERSION as u64),
    ("KNEM_STATUS_ARRAY_FILE_OFFSET", STATUS_ARRAY_FILE_OFFSET),
    ("KNEM_FEATURE_DMA", FEATURE_DMA as u64),
    ("KNEM_FLAG_DMA", FLAG_DMA as u64),
    ("KNEM_FLAG_ASYNCDMACOMPLETE", FLAG_ASYNCDMACOMPLETE as u64),
    ("KNEM_FLAG_DMATHREAD", FLAG_DMATHREAD as u64),
    ("KNEM_FLAG_MEMCPYTHREAD", FLAG_MEMCPYTHREAD as u64),
    ("KNEM_FLAG_PINLOCAL", FLAG_PINLOCAL as u64),
    ("KNEM_FLAG_SINGLEUSE", FLAG_SINGLEUSE as u64),
    ("KNEM_FLAG_NOTIFY_FD", FLAG_NOTIFY_FD as u64),
    ("KNEM_FLAG_ANY_USER_ACCESS", FLAG_ANY_USER_ACCESS as u64),
    ("KNEM_FLAG_ANY_THREAD_MASK", FLAG_ANY_THREAD_MASK as u64),
    ("KNEM_FLAG_ANY_ASYNC_MASK", FLAG_ANY_ASYNC_MASK as u64),
    ("KNEM_FLAG_ANY_DMA_MASK", FLAG_ANY_DMA_MASK as u64),
    ("KNEM_FLAG_ANY_CREATE_MASK", FLAG_ANY_CREATE_MASK as u64),
    ("KNEM_FLAG_ANY_COPY_MASK", FLAG_ANY_COPY_MASK as u64),
    ("KNEM_BIND_FLAG_CUSTOM", BIND_FLAG_CUSTOM as u64),
    ("KNEM_BIND_FLAG_CURRENT", BIND_FLAG_CURRENT as u64),
    ("KNEM_BIND_FLAG_CURRENT_REVERSED", BIND_FLAG_CURRENT_REVERSED as u64),
    ("KNEM_STATUS_PENDING", STATUS_PENDING as u64),
    ("KNEM_STATUS_SUCCESS", STATUS_SUCCESS as u64),
    ("KNEM_STATUS_FAILED", STATUS_FAILED as u64),
    ("KNEM_CMD_MAGIC", CMD_MAGIC as u64),
    ("KNEM_CMD_GET_INFO", CMD_GET_INFO as u64),
    ("KNEM_CMD_BIND_OFFLOAD", CMD_BIND_OFFLOAD as u64),
    ("KNEM_CMD_INIT_SEND", CMD_INIT_SEND as u64),
    ("KNEM_CMD_CREATE_REGION", CMD_CREATE_REGION as u64),
    ("KNEM_CMD_DESTROY_REGION", CMD_DESTROY_REGION as u64),
    ("KNEM_CMD_INIT_ASYNC_RECV", CMD_INIT_ASYNC_RECV as u64),
    ("KNEM_CMD_SYNC_RECV", CMD_SYNC_RECV as u64),
    ("KNEM_CMD_COPY", CMD_COPY as u64),
    ("KNEM_CMD_INLINE_COPY", CMD_INLINE_COPY as u64),
    ("KNEM_CMD_COPY_BOUNDED", CMD_COPY_BOUNDED as u64),
    ("KNEM_CMD_INLINE_COPY_BOUNDED", CMD_INLINE_COPY_BOUNDED as u64),
];

/// Every text of the interface under its C name, for the header's test.
pub const TEXTS: &[(&str, &str)] = &[("KNEM_DEVICE_NAME", DEVICE_NAME), ("KNEM_DEVICE_FILENAME", DEVICE_FILENAME)];

// The numbers that clients have compiled in (generic architectures).
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "x86",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64"
))]
const _: () = {
    assert!(CMD_GET_INFO == 0x4010_4B10);
    assert!(CMD_BIND_OFFLOAD == 0x8010_4B11);
    assert!(CMD_INIT_SEND == 0xC018_4B20);
    assert!(CMD_CREATE_REGION == 0xC020_4B21);
    assert!(CMD_DESTROY_REGION == 0x8008_4B22);
    assert!(CMD_INIT_ASYNC_RECV == 0x8020_4B30);
    assert!(CMD_SYNC_RECV == 0x8020_4B31);
    assert!(CMD_COPY == 0x8030_4B32);
    assert!(CMD_INLINE_COPY == 0x8030_4B33);
    assert!(CMD_COPY_BOUNDED == 0x8038_4B34);
    assert!(CMD_INLINE_COPY_BOUNDED == 0x8038_4B35);
    assert!(FLAG_ANY_COPY_MASK == 0x5F && FLAG_ANY_CREATE_MASK == 0xA0);
};
