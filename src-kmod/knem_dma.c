// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's DMA engine API, which consists of inline functions and macros. Rust makes the decisions: see
 * glue/dma.rs, and knem_dma.h for the purpose of each function.
 *
 * The end of a copy is reported by callback and never polled: engines that are private to their clients return
 * DMA_OUT_OF_ORDER for any cookie. A descriptor's memory stays mapped and pinned until its callback is called or its
 * channel is stopped.
 *
 * Lock: knem_dma_channel.lock protects the list of copies. It is taken in callbacks, hence with interrupts disabled. A
 * leaf.
 */
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/topology.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "knem_dma.h"

unsigned int knem_param_dma = 1;
module_param_named(dma, knem_param_dma, uint, 0444);
MODULE_PARM_DESC(dma, "Use a DMA channel for requests with the flag DMA (0: ignore the flag) [1]");

unsigned int knem_param_dmamin = 1024;
module_param_named(dmamin, knem_param_dmamin, uint, 0644);
MODULE_PARM_DESC(dmamin, "Copy chunks up to this size on the CPU even for requests with the flag DMA, in bytes [1024]");

unsigned int knem_param_dmachannels;
module_param_named(dmachannels, knem_param_dmachannels, uint, 0644);
MODULE_PARM_DESC(dmachannels, "Claim at most this many DMA channels, on first use (0: none) [0]");

unsigned int knem_param_dmatimeout = 5000;
module_param_named(dmatimeout, knem_param_dmatimeout, uint, 0644);
MODULE_PARM_DESC(dmatimeout, "Terminate a DMA channel that makes no progress for this time, in ms [5000]");

/* How tasks and work items that drive a transfer sleep. */

static struct workqueue_struct *knem_dma_queue;

int knem_dma_work_begin(void)
{
	/* Freezable: nothing is submitted while the machine is suspended. */
	knem_dma_queue = alloc_workqueue("knem_dma", WQ_UNBOUND | WQ_FREEZABLE, 0);
	return knem_dma_queue ? 0 : -ENOMEM;
}

void knem_dma_work_end(void)
{
	destroy_workqueue(knem_dma_queue);
}

/* Assumed by glue/ffi.rs, and by glue/dma/flight.rs, which computes its structure's address from the work item's. */
static_assert(sizeof(struct delayed_work) <= 320 && __alignof__(struct delayed_work) <= 8);
static_assert(offsetof(struct delayed_work, work) == 0);

void knem_dma_work_init(struct delayed_work *work, void (*function)(struct work_struct *))
{
	INIT_DELAYED_WORK(work, function);
}

bool knem_dma_work_after(struct delayed_work *work, u32 milliseconds)
{
	return queue_delayed_work(knem_dma_queue, work, msecs_to_jiffies(milliseconds));
}

bool knem_dma_work_now(struct delayed_work *work)
{
	return !mod_delayed_work(knem_dma_queue, work, 0);
}

bool knem_dma_work_cancel(struct delayed_work *work)
{
	return cancel_delayed_work(work);
}

void knem_dma_wait_init(struct wait_queue_head *queue)
{
	init_waitqueue_head(queue);
}

void knem_dma_wake(struct wait_queue_head *queue)
{
	wake_up(queue);
}

void knem_dma_wait(struct wait_queue_head *queue, bool (*ready)(void *data), void *data, u32 milliseconds, bool killable)
{
	/* One more tick, since the timeout must not expire early. */
	unsigned long timeout = msecs_to_jiffies(milliseconds) + 1;

	if (killable || !(current->flags & PF_KTHREAD))
		wait_event_killable_timeout(*queue, ready(data), timeout);
	else
		/*
		 * Kernel threads receive no signals, and an interruptible sleep does not count as load. Suspend wakes
		 * them.
		 */
		wait_event_freezable_timeout(*queue, ready(data), timeout);
}

u64 knem_dma_now(void)
{
	return jiffies64_to_msecs(get_jiffies_64());
}

u32 knem_dma_distance(int from, int to)
{
	/* A device or address without a node (NUMA_NO_NODE) is taken to be near. */
	if ((unsigned int)from >= MAX_NUMNODES || (unsigned int)to >= MAX_NUMNODES)
		return LOCAL_DISTANCE;
	return node_distance(from, to);
}

int knem_dma_node(const void *address)
{
	return page_to_nid(virt_to_page(address));
}

void knem_dma_hold_module(void)
{
	__module_get(THIS_MODULE);
}

void knem_dma_let_module_go(void)
{
	module_put(THIS_MODULE);
}

#if IS_ENABLED(CONFIG_DMA_ENGINE)

struct knem_dma_channel {
	struct dma_chan *chan;
	/*
	 * References: to the channel's entry, which is cleared when the provider unregisters it, and to the provider's
	 * device. `mapper` is the one of them that memory is mapped for.
	 */
	struct dma_chan_dev *entry;
	struct device *parent;
	struct device *mapper;
	spinlock_t lock;
	struct list_head copies;
	unsigned int count;
	/* Time at which a copy last ended, or began while there was none, in jiffies. */
	unsigned long progress;
};

/* A copy that was submitted. */
struct knem_dma_copy {
	struct list_head list;
	struct knem_dma_channel *channel;
	dma_addr_t from;
	dma_addr_t to;
	size_t length;
	knem_dma_done done;
	void *owner;
};

bool knem_dma_supported(void)
{
	return true;
}

struct knem_dma_wish {
	int node;
	/* Largest distance that is accepted. */
	u32 distance;
	struct dma_chan_dev *entry;
	struct device *parent;
};

static u32 knem_dma_chan_distance(const struct dma_chan *chan, const struct knem_dma_wish *wish)
{
	return knem_dma_distance(wish->node, dev_to_node(chan->device->dev));
}

/*
 * Whether none of the device's channels is being unregistered, because the entry of such a channel in sysfs could be
 * freed already. dmaengine decrements the number of channels under the lock that it holds here, and changes the list
 * only after that.
 */
static bool knem_dma_whole(const struct dma_device *device)
{
	size_t count = list_count_nodes((struct list_head *)&device->channels);

	/* The I/OAT and PLX drivers count their channels twice before 6.12. */
	return device->chancnt == count || device->chancnt == 2 * count;
}

/* Inspects each free channel, and accepts none. */
static bool knem_dma_survey(struct dma_chan *chan, void *data)
{
	struct knem_dma_wish *wish = data;

	if (knem_dma_whole(chan->device))
		wish->distance = min(wish->distance, knem_dma_chan_distance(chan, wish));
	return false;
}

static void knem_dma_forget(struct knem_dma_wish *wish)
{
	if (wish->entry)
		put_device(&wish->entry->device);
	if (wish->parent)
		put_device(wish->parent);
	wish->entry = NULL;
	wish->parent = NULL;
}

static bool knem_dma_take(struct dma_chan *chan, void *data)
{
	struct knem_dma_wish *wish = data;

	if (!knem_dma_whole(chan->device) || knem_dma_chan_distance(chan, wish) > wish->distance)
		return false;
	/* dmaengine could not allocate a channel that was accepted before. */
	knem_dma_forget(wish);
	get_device(&chan->dev->device);
	wish->entry = chan->dev;
	wish->parent = get_device(chan->device->dev);
	return true;
}

struct knem_dma_channel *knem_dma_claim(int node, u32 nearer_than)
{
	struct knem_dma_wish wish = { .node = node, .distance = U32_MAX };
	struct knem_dma_channel *channel;
	dma_cap_mask_t mask;

	dma_cap_zero(mask);
	dma_cap_set(DMA_MEMCPY, mask);
	dma_request_channel(mask, knem_dma_survey, &wish);
	if (wish.distance == U32_MAX || wish.distance >= nearer_than)
		return NULL;

	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return NULL;
	channel->chan = dma_request_channel(mask, knem_dma_take, &wish);
	if (!channel->chan) {
		knem_dma_forget(&wish);
		kfree(channel);
		return NULL;
	}
	channel->entry = wish.entry;
	channel->parent = wish.parent;
	channel->mapper = compat_chan_dma_dev(channel->entry) ? &channel->entry->device : channel->parent;
	spin_lock_init(&channel->lock);
	INIT_LIST_HEAD(&channel->copies);
	channel->progress = jiffies;
	return channel;
}

void knem_dma_release(struct knem_dma_channel *channel)
{
	struct knem_dma_wish held = { .entry = channel->entry, .parent = channel->parent };

	WARN_ON_ONCE(!list_empty(&channel->copies));
	dma_release_channel(channel->chan);
	knem_dma_forget(&held);
	kfree(channel);
}

void knem_dma_get_limits(const struct knem_dma_channel *channel, struct knem_dma_limits *limits)
{
	struct device *mapper = channel->mapper;

	*limits = (struct knem_dma_limits){
		.mapping = dma_max_mapping_size(mapper),
		/* The kernel's default for devices that declare none, 64 KiB, applies to scatter lists. */
		.segment = mapper->dma_parms ? mapper->dma_parms->max_segment_size : 0,
		.shift = channel->chan->device->copy_align,
		/* Parts of cache lines must not be mapped if mapping invalidates the lines. */
		.line = dma_dev_need_sync(mapper) ? dma_get_cache_alignment() : 0,
		.node = dev_to_node(channel->parent),
	};
}

bool knem_dma_gone(const struct knem_dma_channel *channel)
{
	return !READ_ONCE(channel->entry->chan);
}

u64 knem_dma_idle(struct knem_dma_channel *channel)
{
	return jiffies_to_msecs(jiffies - READ_ONCE(channel->progress));
}

static void knem_dma_unmap(const struct knem_dma_copy *copy)
{
	struct device *mapper = copy->channel->mapper;

	dma_unmap_single(mapper, copy->to, copy->length, DMA_FROM_DEVICE);
	dma_unmap_single(mapper, copy->from, copy->length, DMA_TO_DEVICE);
}

/* Removes a copy from the channel's list. */
static void knem_dma_unlist(struct knem_dma_copy *copy)
{
	struct knem_dma_channel *channel = copy->channel;
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	list_del(&copy->list);
	channel->count--;
	WRITE_ONCE(channel->progress, jiffies);
	spin_unlock_irqrestore(&channel->lock, flags);
}

/* The channel may be released as soon as done() is called for its last copy. */
static void knem_dma_end(struct knem_dma_copy *copy, bool ok)
{
	knem_dma_unmap(copy);
	copy->done(copy->owner, ok);
	kfree(copy);
}

static void knem_dma_callback(void *data, const struct dmaengine_result *result)
{
	struct knem_dma_copy *copy = data;

	knem_dma_unlist(copy);
	knem_dma_end(copy, !result || result->result == DMA_TRANS_NOERROR);
}

int knem_dma_submit(struct knem_dma_channel *channel, void *to, const void *from, unsigned long length,
		    knem_dma_done done, void *owner)
{
	struct dma_async_tx_descriptor *descriptor;
	struct device *mapper = channel->mapper;
	struct knem_dma_copy *copy;
	unsigned long flags;
	int error = -EFAULT;

	copy = kmalloc(sizeof(*copy), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!copy)
		return -ENOMEM;
	copy->channel = channel;
	copy->length = length;
	copy->done = done;
	copy->owner = owner;
	copy->from = dma_map_single(mapper, (void *)from, length, DMA_TO_DEVICE);
	if (dma_mapping_error(mapper, copy->from))
		goto free;
	copy->to = dma_map_single(mapper, to, length, DMA_FROM_DEVICE);
	if (dma_mapping_error(mapper, copy->to))
		goto unmap_from;

	/*
	 * Some drivers (I/OAT) hold a spinlock from here until the descriptor is submitted, others (DSA) may sleep
	 * here. Each descriptor has an interrupt, since an engine may complete them in any order.
	 */
	descriptor = dmaengine_prep_dma_memcpy(channel->chan, copy->to, copy->from, length,
					       DMA_PREP_INTERRUPT | DMA_CTRL_ACK);
	if (!descriptor) {
		error = -EBUSY;
		goto unmap;
	}
	descriptor->callback = NULL;
	descriptor->callback_result = knem_dma_callback;
	descriptor->callback_param = copy;

	/* The callback may be called before dmaengine_submit() returns. */
	spin_lock_irqsave(&channel->lock, flags);
	list_add_tail(&copy->list, &channel->copies);
	if (!channel->count++)
		WRITE_ONCE(channel->progress, jiffies);
	spin_unlock_irqrestore(&channel->lock, flags);
	if (!dma_submit_error(dmaengine_submit(descriptor)))
		return 0;
	/* The provider has freed the descriptor. */
	knem_dma_unlist(copy);
	error = -EIO;
unmap:
	dma_unmap_single(mapper, copy->to, length, DMA_FROM_DEVICE);
unmap_from:
	dma_unmap_single(mapper, copy->from, length, DMA_TO_DEVICE);
free:
	kfree(copy);
	return error;
}

u32 knem_dma_count(const struct knem_dma_channel *channel)
{
	return READ_ONCE(channel->count);
}

void knem_dma_issue(struct knem_dma_channel *channel)
{
	dma_async_issue_pending(channel->chan);
}

int knem_dma_terminate(struct knem_dma_channel *channel)
{
	const struct dma_device *device = channel->chan->device;
	struct knem_dma_copy *copy, *next;
	unsigned long flags;
	LIST_HEAD(left);
	int error;

	/* Without device_synchronize() it is unknown when the engine has stopped. */
	if (!device->device_terminate_all || !device->device_synchronize)
		return -EOPNOTSUPP;
	error = dmaengine_terminate_sync(channel->chan);
	if (error)
		return error;

	/* No callback is called from here on. Some engines have called all of them, others none. */
	spin_lock_irqsave(&channel->lock, flags);
	list_splice_init(&channel->copies, &left);
	channel->count = 0;
	spin_unlock_irqrestore(&channel->lock, flags);
	list_for_each_entry_safe(copy, next, &left, list)
		knem_dma_end(copy, false);
	return 0;
}

#else /* !CONFIG_DMA_ENGINE */

bool knem_dma_supported(void)
{
	return false;
}

struct knem_dma_channel *knem_dma_claim(int node, u32 nearer_than)
{
	return NULL;
}

/* These are never called, as there is no channel. */

void knem_dma_release(struct knem_dma_channel *channel)
{
}

void knem_dma_get_limits(const struct knem_dma_channel *channel, struct knem_dma_limits *limits)
{
	*limits = (struct knem_dma_limits){};
}

bool knem_dma_gone(const struct knem_dma_channel *channel)
{
	return true;
}

u64 knem_dma_idle(struct knem_dma_channel *channel)
{
	return 0;
}

int knem_dma_submit(struct knem_dma_channel *channel, void *to, const void *from, unsigned long length,
		    knem_dma_done done, void *owner)
{
	return -EIO;
}

u32 knem_dma_count(const struct knem_dma_channel *channel)
{
	return 0;
}

void knem_dma_issue(struct knem_dma_channel *channel)
{
}

int knem_dma_terminate(struct knem_dma_channel *channel)
{
	return -EOPNOTSUPP;
}

#endif
