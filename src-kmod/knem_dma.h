/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's Rust needs of the kernel's DMA engines; glue/ffi.rs declares the same. Where the kernel is built
 * without them (CONFIG_DMA_ENGINE), there is the same, and never a channel.
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

/* What a channel is like. */
struct knem_dma_limits {
	/* Longest mapping, and longest segment that the device names; 0 if it names none. */
	u64 mapping;
	u64 segment;
	/* The engine's copies are aligned to 1 << shift; mappings to this many bytes, where they must not share a cache line. */
	u32 shift;
	u32 line;
	/* NUMA node, or negative. */
	s32 node;
	u32 pad;
};

/* A copy has ended; called once for each, in any context. */
typedef void (*knem_dma_done)(void *owner, bool ok);

/* Whether the kernel has DMA engines at all. */
bool knem_dma_supported(void);
/*
 * Claims the free channel that is nearest to the node, if it is nearer than the distance, for nobody else's use; NULL if
 * there is none. May take a while.
 */
struct knem_dma_channel *knem_dma_claim(int node, u32 nearer_than);
/* Gives a channel back that has no copy left. Waits for callbacks that are still running. */
void knem_dma_release(struct knem_dma_channel *channel);
void knem_dma_get_limits(const struct knem_dma_channel *channel, struct knem_dma_limits *limits);
/* Whether the channel's device has gone. */
bool knem_dma_gone(const struct knem_dma_channel *channel);
/* Milliseconds since a copy ended, or began on an idle channel. */
u64 knem_dma_idle(struct knem_dma_channel *channel);
/*
 * Hands a copy between addresses of the direct map to the engine. 0, and done is called later; else it is not called:
 * -ENOMEM or -EFAULT if memory cannot be allocated or mapped for it; -EBUSY if the engine does not take it now, -EIO if it does not
 * take it after all. Callers take turns.
 */
int knem_dma_submit(struct knem_dma_channel *channel, void *to, const void *from, unsigned long length,
		    knem_dma_done done, void *owner);
/* Copies that the engine has, of all transfers. */
u32 knem_dma_count(const struct knem_dma_channel *channel);
/* Has the engine begin what it was handed. */
void knem_dma_issue(struct knem_dma_channel *channel);
/* Stops the engine: all its copies have ended, without success, when this returns 0. Nothing may be handed to it again. */
int knem_dma_terminate(struct knem_dma_channel *channel);

/* Distance of two nodes, where 10 is the same; the node of an address of the direct map. */
u32 knem_dma_distance(int from, int to);
int knem_dma_node(const void *address);
/* Milliseconds since some time before. */
u64 knem_dma_now(void);

/* The queue of the work items that drive transfers nobody waits for. */
int knem_dma_work_begin(void);
/* Waits for those that are queued; no timer may be pending. */
void knem_dma_work_end(void);
void knem_dma_work_init(struct delayed_work *work, void (*function)(struct work_struct *));
/* Runs the work item after a time, unless it is pending; returns whether it was not. */
bool knem_dma_work_after(struct delayed_work *work, u32 milliseconds);
/* Runs the work item now; returns whether it was not pending before. In any context. */
bool knem_dma_work_now(struct delayed_work *work);
/* Returns whether the work item was pending, and is no more. */
bool knem_dma_work_cancel(struct delayed_work *work);

/* A queue where the task that drives a transfer sleeps. The second may be called in any context. */
void knem_dma_wait_init(struct wait_queue_head *queue);
void knem_dma_wake(struct wait_queue_head *queue);
/*
 * Sleeps until ready() says so, or time is up. If killable, also until the task is killed. Otherwise it is a kernel
 * thread, which may be woken by others as well.
 */
void knem_dma_wait(struct wait_queue_head *queue, bool (*ready)(void *data), void *data, u32 milliseconds, bool killable);

/* Keeps the module loaded, while somebody else does already; lets go of it. */
void knem_dma_hold_module(void);
void knem_dma_let_module_go(void);

#endif
