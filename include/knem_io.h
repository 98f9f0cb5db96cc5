/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR CECILL-B */
/*
 * knem_io.h: the KNEM interface for C and C++, ABI 0x0d.
 *
 * KNEM copies between the memory of two processes of one machine with a single copy in the kernel. A process opens
 * KNEM_DEVICE_FILENAME for writing, declares memory as a region with KNEM_CMD_CREATE_REGION and passes the region's
 * cookie to any other process. That process copies from or into the region with KNEM_CMD_INLINE_COPY, without the
 * participation of the owner.
 *
 * A file that is open only for reading returns statistics as text; it accepts no command.
 *
 * This header is written by hand. A test compares it with src-kmod/uapi.rs, which is authoritative: change both or
 * neither. Numbers and layouts are frozen.
 *
 * - Every structure is naturally aligned, has no implicit padding, and is the same for 32-bit and
 *   64-bit callers. Addresses travel as 64-bit integers.
 * - The directions in the command numbers are the reverse of those that Linux uses elsewhere. They are part of the
 *   interface.
 * - Padding fields are never read, nor is async_status_index in a request that has no asynchronous flag.
 * - Unknown flag bits, and bits that do not apply to a command, are ignored.
 * - If a command fails, its argument is not changed.
 */
#ifndef KNEM_IO_H
#define KNEM_IO_H

#ifdef __KERNEL__
#include <linux/ioctl.h>
#include <linux/types.h>
typedef __u8 knem_status_t;
typedef __u32 knem_flags;
typedef __u32 knem_bind_flags;
typedef __u64 knem_cookie_t;
#define KNEM_IO_U32 __u32
#define KNEM_IO_U64 __u64
#else
#include <stdint.h>
#include <sys/ioctl.h>
/* One slot of the status array; holds an enum knem_status_e. */
typedef uint8_t knem_status_t;
/* Bits of KNEM_FLAG_*. */
typedef uint32_t knem_flags;
/* Bits of KNEM_BIND_FLAG_*. */
typedef uint32_t knem_bind_flags;
/* Identifies a region in the whole system. Opaque, and never 0. */
typedef uint64_t knem_cookie_t;
#define KNEM_IO_U32 uint32_t
#define KNEM_IO_U64 uint64_t
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Name of the device, and the path of its node. */
#define KNEM_DEVICE_NAME "knem"
#define KNEM_DEVICE_FILENAME "/dev/knem"

/* Version of the interface. Compare it for equality with knem_cmd_info.abi. */
#define KNEM_ABI_VERSION 0x0000000d

/* File offset at which the status array is mapped. One mapping for each open file; a slot is one byte. */
#define KNEM_STATUS_ARRAY_FILE_OFFSET 0

/* Bits of knem_cmd_info.features. */

/* A DMA channel is available. */
#define KNEM_FEATURE_DMA (1U << 0)

/*
 * Request flags. In the kernel: effective = ((yours | forced) & ~ignored) & mask of the command.
 */

/* Copy: use DMA. EINVAL if no channel is available. */
#define KNEM_FLAG_DMA (1U << 0)
/* Copy: do not wait for the DMA copy; the result appears in the status array. */
#define KNEM_FLAG_ASYNCDMACOMPLETE (1U << 1)
/* Copy: let the worker thread drive the DMA copy; the result appears in the status array. */
#define KNEM_FLAG_DMATHREAD (1U << 2)
/* Copy: let the worker thread copy; the result appears in the status array. */
#define KNEM_FLAG_MEMCPYTHREAD (1U << 3)
/* Copy: pin the caller's own memory rather than copy through its mapping. */
#define KNEM_FLAG_PINLOCAL (1U << 4)
/* Create: the first request that is accepted for the region consumes it. */
#define KNEM_FLAG_SINGLEUSE (1U << 5)
/* Copy: when the request completes, queue its async_status_index to be read from the file.
 * Needs a thread flag; not together with KNEM_FLAG_ASYNCDMACOMPLETE. */
#define KNEM_FLAG_NOTIFY_FD (1U << 6)
/* Create: users other than the owner may use the region. */
#define KNEM_FLAG_ANY_USER_ACCESS (1U << 7)

/* Flags that pass the request to the worker thread. */
#define KNEM_FLAG_ANY_THREAD_MASK (KNEM_FLAG_DMATHREAD | KNEM_FLAG_MEMCPYTHREAD)
/* Flags that let the copy complete after the command returned. */
#define KNEM_FLAG_ANY_ASYNC_MASK (KNEM_FLAG_ASYNCDMACOMPLETE | KNEM_FLAG_ANY_THREAD_MASK)
/* Flags that concern DMA. */
#define KNEM_FLAG_ANY_DMA_MASK (KNEM_FLAG_DMA | KNEM_FLAG_ASYNCDMACOMPLETE | KNEM_FLAG_DMATHREAD)
/* Flags that apply to the commands that create regions. */
#define KNEM_FLAG_ANY_CREATE_MASK (KNEM_FLAG_SINGLEUSE | KNEM_FLAG_ANY_USER_ACCESS)
/* Flags that apply to the commands that copy. */
#define KNEM_FLAG_ANY_COPY_MASK                                                                    \
	(KNEM_FLAG_DMA | KNEM_FLAG_ASYNCDMACOMPLETE | KNEM_FLAG_DMATHREAD |                        \
	 KNEM_FLAG_MEMCPYTHREAD | KNEM_FLAG_PINLOCAL | KNEM_FLAG_NOTIFY_FD)

/* Values of knem_cmd_bind_offload.flags: exactly one of them. */

/* The CPUs of the given mask. */
#define KNEM_BIND_FLAG_CUSTOM (1U << 0)
/* The CPUs that the caller may use now. */
#define KNEM_BIND_FLAG_CURRENT (1U << 1)
/* The CPUs that the caller may not use now. */
#define KNEM_BIND_FLAG_CURRENT_REVERSED (1U << 2)

/* State of a request: in current_status, and in the slots of the status array. */
enum knem_status_e {
	/* Not complete yet. */
	KNEM_STATUS_PENDING = 0,
	/* Every byte was copied. */
	KNEM_STATUS_SUCCESS = 1,
	/* The copy stopped early; the destination's contents are unspecified. */
	KNEM_STATUS_FAILED = 2
};

/* A segment of memory. An empty one is skipped, and its address is not read. */
struct knem_cmd_param_iovec {
	KNEM_IO_U64 base;
	KNEM_IO_U64 len;
};

/* KNEM_CMD_GET_INFO: all of it is written by the driver. */
struct knem_cmd_info {
	KNEM_IO_U32 abi;       /* KNEM_ABI_VERSION of the driver */
	KNEM_IO_U32 features;  /* KNEM_FEATURE_* */
	knem_flags ignored_flags; /* the driver ignores these */
	knem_flags forced_flags;  /* the driver adds these */
};

/* KNEM_CMD_BIND_OFFLOAD: sets the CPUs of this context's worker thread. EBUSY once the status array is mapped. */
struct knem_cmd_bind_offload {
	knem_bind_flags flags;
	KNEM_IO_U32 mask_len; /* bytes at mask_ptr */
	KNEM_IO_U64 mask_ptr; /* for KNEM_BIND_FLAG_CUSTOM: a mask as for sched_setaffinity */
};

/*
 * KNEM_CMD_CREATE_REGION: declare memory of the caller as a region.
 *
 * The region exists until KNEM_CMD_DESTROY_REGION, the last close of the file, or, with KNEM_FLAG_SINGLEUSE, its first
 * use. Its memory stays pinned until then.
 */
struct knem_cmd_create_region {
	KNEM_IO_U64 iovec_array; /* struct knem_cmd_param_iovec[iovec_nr] */
	KNEM_IO_U32 iovec_nr;    /* 0 creates an empty region */
	knem_flags flags;        /* KNEM_FLAG_ANY_CREATE_MASK */
	KNEM_IO_U32 protection;  /* PROT_READ: may be read, PROT_WRITE: may be written */
	KNEM_IO_U32 pad1;
	knem_cookie_t cookie; /* out */
};

/* KNEM_CMD_COPY: from region to region, to the end of the shorter side. */
struct knem_cmd_copy {
	knem_cookie_t src_cookie;
	KNEM_IO_U64 src_offset;
	knem_cookie_t dst_cookie;
	KNEM_IO_U64 dst_offset;
	knem_flags flags;           /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 current_status; /* out: enum knem_status_e */
	KNEM_IO_U32 async_status_index;
	KNEM_IO_U32 pad;
};

/* KNEM_CMD_COPY_BOUNDED: the same, and no more than length bytes. */
struct knem_cmd_copy_bounded {
	knem_cookie_t src_cookie;
	KNEM_IO_U64 src_offset;
	knem_cookie_t dst_cookie;
	KNEM_IO_U64 dst_offset;
	KNEM_IO_U64 length;
	knem_flags flags;           /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 current_status; /* out: enum knem_status_e */
	KNEM_IO_U32 async_status_index;
	KNEM_IO_U32 pad;
};

/* KNEM_CMD_INLINE_COPY: between the caller's memory and a region, to the end of the shorter side. */
struct knem_cmd_inline_copy {
	KNEM_IO_U64 local_iovec_array; /* struct knem_cmd_param_iovec[local_iovec_nr] */
	KNEM_IO_U32 local_iovec_nr;
	KNEM_IO_U32 write; /* 0: from the region to the caller; otherwise from the caller to the region */
	knem_cookie_t remote_cookie;
	KNEM_IO_U64 remote_offset;
	knem_flags flags;           /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 current_status; /* out: enum knem_status_e */
	KNEM_IO_U32 async_status_index;
	KNEM_IO_U32 pad;
};

/* KNEM_CMD_INLINE_COPY_BOUNDED: the same, and no more than length bytes. */
struct knem_cmd_inline_copy_bounded {
	KNEM_IO_U64 local_iovec_array; /* struct knem_cmd_param_iovec[local_iovec_nr] */
	KNEM_IO_U32 local_iovec_nr;
	KNEM_IO_U32 write; /* 0: from the region to the caller; otherwise from the caller to the region */
	knem_cookie_t remote_cookie;
	KNEM_IO_U64 remote_offset;
	KNEM_IO_U64 length;
	knem_flags flags;           /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 current_status; /* out: enum knem_status_e */
	KNEM_IO_U32 async_status_index;
	KNEM_IO_U32 pad;
};

/*
 * The interface before regions. New programs do not need these three.
 */

/* KNEM_CMD_INIT_SEND: create a single-use region that other processes may read. */
struct knem_cmd_init_send_param {
	KNEM_IO_U64 send_iovec_array; /* struct knem_cmd_param_iovec[send_iovec_nr] */
	KNEM_IO_U32 send_iovec_nr;
	knem_flags flags; /* KNEM_FLAG_ANY_CREATE_MASK */
	knem_cookie_t send_cookie; /* out */
};

/* KNEM_CMD_INIT_ASYNC_RECV: read a region; the result appears in the status array. */
struct knem_cmd_init_async_recv_param {
	KNEM_IO_U64 recv_iovec_array; /* struct knem_cmd_param_iovec[recv_iovec_nr] */
	KNEM_IO_U32 recv_iovec_nr;
	KNEM_IO_U32 status_index;
	knem_cookie_t send_cookie;
	knem_flags flags; /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 pad;
};

/* KNEM_CMD_SYNC_RECV: read a region and wait. */
struct knem_cmd_sync_recv_param {
	KNEM_IO_U64 recv_iovec_array; /* struct knem_cmd_param_iovec[recv_iovec_nr] */
	KNEM_IO_U32 recv_iovec_nr;
	KNEM_IO_U32 status; /* out: enum knem_status_e */
	knem_cookie_t send_cookie;
	knem_flags flags; /* KNEM_FLAG_ANY_COPY_MASK */
	KNEM_IO_U32 pad;
};

/*
 * Commands. On a file that is open only for reading all of them fail with EBADF; an unknown number fails with ENOSYS.
 */
#define KNEM_CMD_MAGIC 'K'

#define KNEM_CMD_GET_INFO _IOW(KNEM_CMD_MAGIC, 0x10, struct knem_cmd_info)
#define KNEM_CMD_BIND_OFFLOAD _IOR(KNEM_CMD_MAGIC, 0x11, struct knem_cmd_bind_offload)

#define KNEM_CMD_INIT_SEND _IOWR(KNEM_CMD_MAGIC, 0x20, struct knem_cmd_init_send_param)
#define KNEM_CMD_CREATE_REGION _IOWR(KNEM_CMD_MAGIC, 0x21, struct knem_cmd_create_region)
#define KNEM_CMD_DESTROY_REGION _IOR(KNEM_CMD_MAGIC, 0x22, knem_cookie_t)

#define KNEM_CMD_INIT_ASYNC_RECV _IOR(KNEM_CMD_MAGIC, 0x30, struct knem_cmd_init_async_recv_param)
#define KNEM_CMD_SYNC_RECV _IOR(KNEM_CMD_MAGIC, 0x31, struct knem_cmd_sync_recv_param)
#define KNEM_CMD_COPY _IOR(KNEM_CMD_MAGIC, 0x32, struct knem_cmd_copy)
#define KNEM_CMD_INLINE_COPY _IOR(KNEM_CMD_MAGIC, 0x33, struct knem_cmd_inline_copy)
#define KNEM_CMD_COPY_BOUNDED _IOR(KNEM_CMD_MAGIC, 0x34, struct knem_cmd_copy_bounded)
#define KNEM_CMD_INLINE_COPY_BOUNDED _IOR(KNEM_CMD_MAGIC, 0x35, struct knem_cmd_inline_copy_bounded)

#ifdef __cplusplus
}
#endif

#undef KNEM_IO_U32
#undef KNEM_IO_U64

#endif /* KNEM_IO_H */
