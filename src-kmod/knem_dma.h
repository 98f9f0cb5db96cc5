/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's DMA engine API for the driver's Rust; glue/ffi.rs declares the same. In a kernel without it
 * (CONFIG_DMA_ENGINE) the functions exist, but there is never a channel.
 */
#ifndef KNEM_DMA_H
#define KNEM_DMA_H

#include <linux/types.h>

struct delayed_work;
struct knem_dma_channel;
struct wait_queue_head;
struct work_struct;

/* Module parameters. */
extern unsigned int knem_param_dma;
extern unsigned int knem_param_dmamin;
extern unsigned int knem_param_dmachannels;
extern unsigned int knem_param_dmatimeout;

/* Properties of a channel. */
struct knem_dma_limits {
	/* Longest mapping, and longest segment that the device declares; 0 if it declares none. */
	u64 mapping;
	u64 segment;
	/* Copies must be aligned to 1 << shift, and mappings to `line` bytes, if they must not share a cache line. */
	u32 shift;
	u32 line;
	/* NUMA node, or negative. */
	s32 node;
	u32 pad;
};

/* Called once for each copy, when it has ended, in any context. */
typedef void (*knem_dma_done)(void *owner, bool ok);

/* Whether the kernel has the DMA engine API. */
bool knem_dma_supported(void);
/*
 * Claims the free channel that is nearest to the node, if it is nearer than the distance, for exclusive use. Returns
 * NULL if there is none. May take long.
 */
struct knem_dma_channel *knem_dma_claim(int node, u32 nearer_than);
/* Releases a channel that has no copies. Waits for callbacks that still run. */
void knem_dma_release(struct knem_dma_channel *channel);
void knem_dma_get_limits(const struct knem_dma_channel *channel, struct knem_dma_limits *limits);
/* Whether the channel's device has gone. */
bool knem_dma_gone(const struct knem_dma_channel *channel);
/* Milliseconds since a copy ended, or began on an idle channel. */
u64 knem_dma_idle(struct knem_dma_channel *channel);
/*
 * Submits a copy between addresses of the direct map. Returns 0, and done is called later. Otherwise done is not
 * called: -ENOMEM or -EFAULT if memory cannot be allocated or mapped; -EBUSY if the engine does not accept the copy
 * now, -EIO if it rejects it. Callers must serialise calls.
 */
int knem_dma_submit(struct knem_dma_channel *channel, void *to, const void *from, unsigned long length,
		    knem_dma_done done, void *owner);
/* Number of copies that the channel has, of all transfers. */
u32 knem_dma_count(const struct knem_dma_channel *channel);
/* Starts the copies that were submitted. */
void knem_dma_issue(struct knem_dma_channel *channel);
/* Stops the channel. All its copies have failed when this returns 0. Nothing may be submitted to it again. */
int knem_dma_terminate(struct knem_dma_channel *channel);

/* Distance between two nodes, 10 for the same node; the node of an address of the direct map. */
u32 knem_dma_distance(int from, int to);
int knem_dma_node(const void *address);
/* Milliseconds since some fixed time. */
u64 knem_dma_now(void);

/* The queue of the work items that drive transfers for which no task waits. */
int knem_dma_work_begin(void);
/* Waits for queued work items; no timer may be pending. */
void knem_dma_work_end(void);
void knem_dma_work_init(struct delayed_work *work, void (*function)(struct work_struct *));
/* Runs the work item after a time, unless it is pending; returns whether it was not. */
bool knem_dma_work_after(struct delayed_work *work, u32 milliseconds);
/* Runs the work item now; returns whether it was not pending before. In any context. */
bool knem_dma_work_now(struct delayed_work *work);
/* Cancels the work item if it is pending; returns whether it was. */
bool knem_dma_work_cancel(struct delayed_work *work);

/* A queue where the task that drives a transfer sleeps. The second may be called in any context. */
void knem_dma_wait_init(struct wait_queue_head *queue);
void knem_dma_wake(struct wait_queue_head *queue);
/*
 * Sleeps until ready() is true or the time is up. If killable, also until the task is killed. Otherwise the caller is a
 * kernel thread, which may be woken spuriously.
 */
void knem_dma_wait(struct wait_queue_head *queue, bool (*ready)(void *data), void *data, u32 milliseconds, bool killable);

/* The first takes a reference to the module, which must have another one; the second drops it. */
void knem_dma_hold_module(void);
void knem_dma_let_module_go(void);

#endif
