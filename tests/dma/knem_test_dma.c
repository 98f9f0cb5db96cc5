// SPDX-License-Identifier: GPL-2.0-only
/*
 * A DMA engine without hardware, for tests only: it copies with the CPU, and can be slow, out of order, failing,
 * hanging and removed.
 *
 * Its parameters determine its behaviour. Those of the device take effect when it appears: write 0 and then 1 to
 * `present`. Those of copies take effect at once. Counters can be read, and are reset by writing to them.
 *
 * Callbacks are called with interrupts disabled, the strictest context in which an engine may call them.
 */
#include <linux/atomic.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dmaengine.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#define MOST_CHANNELS 16

/* Properties of the device. */
static unsigned int channels = 1;
module_param(channels, uint, 0644);
MODULE_PARM_DESC(channels, "Channels [1]");
static bool private;
module_param(private, bool, 0644);
MODULE_PARM_DESC(private, "Only for those who claim a channel, as DSA [0]");
static bool disorder;
module_param(disorder, bool, 0644);
MODULE_PARM_DESC(disorder, "Complete in any order and report no order, as DSA [0]");
static bool terminable = true;
module_param(terminable, bool, 0644);
MODULE_PARM_DESC(terminable, "Can be stopped [1]");
static unsigned int align;
module_param(align, uint, 0644);
MODULE_PARM_DESC(align, "Binary logarithm of the alignment of copies [0]");
static unsigned int mask = 64;
module_param(mask, uint, 0644);
MODULE_PARM_DESC(mask, "Address bits; other memory is copied through a bounce buffer [64]");
static int node = NUMA_NO_NODE;
module_param(node, int, 0644);
MODULE_PARM_DESC(node, "NUMA node [-1: none]");

/* Behaviour of copies. */
static unsigned int delay;
module_param(delay, uint, 0644);
MODULE_PARM_DESC(delay, "Milliseconds until it begins with what it is given [0]");
static unsigned int fail;
module_param(fail, uint, 0644);
MODULE_PARM_DESC(fail, "Each copy with a number divisible by this fails [0: none]");
static unsigned int refuse;
module_param(refuse, uint, 0644);
MODULE_PARM_DESC(refuse, "Each descriptor with a number divisible by this is refused when it is prepared [0: none]");
static unsigned int reject;
module_param(reject, uint, 0644);
MODULE_PARM_DESC(reject, "Each descriptor with a number divisible by this is refused when it is submitted [0: none]");
static unsigned int most;
module_param(most, uint, 0644);
MODULE_PARM_DESC(most, "Most descriptors of a channel at a time [0: no limit]");

/* Counters. */
static atomic_t copied, failed, refused, aborted, live, in_use, abandoned, longest, misaligned;

static int counter_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", atomic_read((atomic_t *)param->arg));
}

static int counter_set(const char *text, const struct kernel_param *param)
{
	atomic_set((atomic_t *)param->arg, 0);
	return 0;
}

static const struct kernel_param_ops counter = { .get = counter_get, .set = counter_set };
static const struct kernel_param_ops gauge = { .get = counter_get };

module_param_cb(copied, &counter, &copied, 0644);
MODULE_PARM_DESC(copied, "Copies that were done");
module_param_cb(failed, &counter, &failed, 0644);
MODULE_PARM_DESC(failed, "Copies that failed");
module_param_cb(refused, &counter, &refused, 0644);
MODULE_PARM_DESC(refused, "Descriptors that were refused");
module_param_cb(aborted, &counter, &aborted, 0644);
MODULE_PARM_DESC(aborted, "Copies that were stopped");
module_param_cb(abandoned, &counter, &abandoned, 0644);
MODULE_PARM_DESC(abandoned, "Copies that were not done when their channel was given back: an error of the client");
module_param_cb(misaligned, &counter, &misaligned, 0644);
MODULE_PARM_DESC(misaligned, "Copies that were not aligned: an error of the client");
module_param_cb(longest, &counter, &longest, 0644);
MODULE_PARM_DESC(longest, "Bytes of the longest copy");
module_param_cb(live, &gauge, &live, 0444);
MODULE_PARM_DESC(live, "Descriptors there are");
module_param_cb(in_use, &gauge, &in_use, 0444);
MODULE_PARM_DESC(in_use, "Channels in use");

struct channel {
	struct dma_chan chan;
	struct engine *engine;
	spinlock_t lock;
	/* Descriptors that were submitted, and those that were issued. */
	struct list_head submitted;
	struct list_head issued;
	unsigned int count;
	struct delayed_work work;
};

struct engine {
	struct dma_device dma;
	struct list_head list;
	bool disorder;
	bool gone;
	struct channel channels[MOST_CHANNELS];
};

struct descriptor {
	struct dma_async_tx_descriptor tx;
	struct list_head list;
	dma_addr_t to;
	dma_addr_t from;
	size_t length;
};

static struct platform_device *device;
static struct workqueue_struct *queue;
/* The engine that is present, and the lock that protects its appearance and removal. */
static struct engine *engine;
static DEFINE_MUTEX(presence);
/* All engines with a channel in use, even if they were removed. */
static LIST_HEAD(engines);
static DEFINE_SPINLOCK(engines_lock);
static atomic_t prepared, copies;

static bool nth(atomic_t *count, unsigned int n)
{
	unsigned int number = atomic_inc_return(count);

	return n && number % n == 0;
}

static struct channel *to_channel(struct dma_chan *chan)
{
	return container_of(chan, struct channel, chan);
}

static void discard(struct channel *channel, struct descriptor *descriptor)
{
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	channel->count--;
	spin_unlock_irqrestore(&channel->lock, flags);
	atomic_dec(&live);
	kfree(descriptor);
}

static dma_cookie_t submit(struct dma_async_tx_descriptor *tx)
{
	struct descriptor *descriptor = container_of(tx, struct descriptor, tx);
	struct channel *channel = to_channel(tx->chan);
	static atomic_t submissions;
	unsigned long flags;
	dma_cookie_t cookie;

	if (nth(&submissions, READ_ONCE(reject))) {
		atomic_inc(&refused);
		discard(channel, descriptor);
		return -EIO;
	}
	spin_lock_irqsave(&channel->lock, flags);
	cookie = tx->chan->cookie + 1;
	if (cookie < DMA_MIN_COOKIE)
		cookie = DMA_MIN_COOKIE;
	tx->cookie = tx->chan->cookie = cookie;
	list_add_tail(&descriptor->list, &channel->submitted);
	spin_unlock_irqrestore(&channel->lock, flags);
	return cookie;
}

static struct dma_async_tx_descriptor *prepare(struct dma_chan *chan, dma_addr_t to, dma_addr_t from, size_t length,
					       unsigned long flags)
{
	struct channel *channel = to_channel(chan);
	struct descriptor *descriptor;
	unsigned int limit = READ_ONCE(most);
	unsigned long irq;

	if (READ_ONCE(channel->engine->gone) || nth(&prepared, READ_ONCE(refuse)) ||
	    (limit && READ_ONCE(channel->count) >= limit)) {
		atomic_inc(&refused);
		return NULL;
	}
	descriptor = kzalloc(sizeof(*descriptor), GFP_NOWAIT);
	if (!descriptor)
		return NULL;
	spin_lock_irqsave(&channel->lock, irq);
	channel->count++;
	spin_unlock_irqrestore(&channel->lock, irq);
	atomic_inc(&live);
	dma_async_tx_descriptor_init(&descriptor->tx, chan);
	descriptor->tx.flags = flags;
	descriptor->tx.tx_submit = submit;
	descriptor->to = to;
	descriptor->from = from;
	descriptor->length = length;
	if (!is_dma_copy_aligned(chan->device, to, from, length))
		atomic_inc(&misaligned);
	return &descriptor->tx;
}

static void issue(struct dma_chan *chan)
{
	struct channel *channel = to_channel(chan);
	unsigned long flags;
	bool any;

	spin_lock_irqsave(&channel->lock, flags);
	list_splice_tail_init(&channel->submitted, &channel->issued);
	any = !list_empty(&channel->issued);
	spin_unlock_irqrestore(&channel->lock, flags);
	if (any)
		queue_delayed_work(queue, &channel->work, msecs_to_jiffies(READ_ONCE(delay)));
}

/* Makes the engine hang: it does nothing while this is true. Its copies are made when that ends. */
static bool hang;

static struct descriptor *next(struct channel *channel)
{
	struct descriptor *descriptor = NULL;
	unsigned long flags;

	spin_lock_irqsave(&channel->lock, flags);
	if (!list_empty(&channel->issued) && !READ_ONCE(hang)) {
		descriptor = list_first_entry(&channel->issued, struct descriptor, list);
		/* The last or the second one before the first: early ones are overtaken, but none waits forever. */
		if (channel->engine->disorder && !list_is_singular(&channel->issued))
			descriptor = get_random_u32_below(4) ?
				list_last_entry(&channel->issued, struct descriptor, list) :
				list_next_entry(descriptor, list);
		list_del(&descriptor->list);
	}
	spin_unlock_irqrestore(&channel->lock, flags);
	return descriptor;
}

static void *memory(struct device *dev, dma_addr_t address)
{
	return phys_to_virt(dma_to_phys(dev, address));
}

static void complete_one(struct channel *channel, struct descriptor *descriptor)
{
	struct dma_async_tx_descriptor *tx = &descriptor->tx;
	struct dmaengine_result result = { .result = DMA_TRANS_NOERROR };
	dma_async_tx_callback_result callback = tx->callback_result;
	dma_async_tx_callback simple = tx->callback;
	struct device *dev = channel->engine->dma.dev;
	void *data = tx->callback_param;
	unsigned long flags;

	if (READ_ONCE(channel->engine->gone)) {
		result.result = DMA_TRANS_ABORTED;
		atomic_inc(&aborted);
	} else if (nth(&copies, READ_ONCE(fail))) {
		result.result = DMA_TRANS_WRITE_FAILED;
		atomic_inc(&failed);
	} else {
		int before = atomic_read(&longest);

		memmove(memory(dev, descriptor->to), memory(dev, descriptor->from), descriptor->length);
		atomic_inc(&copied);
		while (descriptor->length > before && !atomic_try_cmpxchg(&longest, &before, descriptor->length))
			;
	}
	/* Engines without an order do not use the cookies' order either. */
	if (!channel->engine->disorder)
		channel->chan.completed_cookie = tx->cookie;
	discard(channel, descriptor);
	local_irq_save(flags);
	if (callback)
		callback(data, &result);
	else if (simple)
		simple(data);
	local_irq_restore(flags);
}

static void work(struct work_struct *item)
{
	struct channel *channel = container_of(to_delayed_work(item), struct channel, work);
	struct descriptor *descriptor;

	while ((descriptor = next(channel))) {
		complete_one(channel, descriptor);
		cond_resched();
	}
}

static enum dma_status status(struct dma_chan *chan, dma_cookie_t cookie, struct dma_tx_state *state)
{
	if (to_channel(chan)->engine->disorder)
		return DMA_OUT_OF_ORDER;
	return dma_async_is_complete(cookie, chan->completed_cookie, chan->cookie);
}

static unsigned int drop_all(struct channel *channel)
{
	struct descriptor *descriptor, *more;
	unsigned int count = 0;
	unsigned long flags;
	LIST_HEAD(left);

	spin_lock_irqsave(&channel->lock, flags);
	list_splice_init(&channel->submitted, &left);
	list_splice_init(&channel->issued, &left);
	spin_unlock_irqrestore(&channel->lock, flags);
	list_for_each_entry_safe(descriptor, more, &left, list) {
		discard(channel, descriptor);
		count++;
	}
	return count;
}

static int terminate(struct dma_chan *chan)
{
	atomic_add(drop_all(to_channel(chan)), &aborted);
	return 0;
}

static void synchronize(struct dma_chan *chan)
{
	cancel_delayed_work_sync(&to_channel(chan)->work);
}

static int alloc_resources(struct dma_chan *chan)
{
	chan->cookie = chan->completed_cookie = DMA_MIN_COOKIE;
	atomic_inc(&in_use);
	return 1;
}

static void free_resources(struct dma_chan *chan)
{
	cancel_delayed_work_sync(&to_channel(chan)->work);
	atomic_add(drop_all(to_channel(chan)), &abandoned);
	atomic_dec(&in_use);
}

static void release(struct dma_device *dma)
{
	struct engine *old = container_of(dma, struct engine, dma);

	spin_lock(&engines_lock);
	list_del(&old->list);
	spin_unlock(&engines_lock);
	kfree(old);
}

static int appear(void)
{
	struct engine *new;
	unsigned int n;
	int error;

	if (!channels || channels > MOST_CHANNELS || align > 12 || mask < 16 || mask > 64)
		return -EINVAL;
	error = dma_coerce_mask_and_coherent(&device->dev, DMA_BIT_MASK(mask));
	if (error)
		return error;
	set_dev_node(&device->dev, node);
	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	new->disorder = disorder;
	dma_cap_set(DMA_MEMCPY, new->dma.cap_mask);
	if (private)
		dma_cap_set(DMA_PRIVATE, new->dma.cap_mask);
	if (disorder)
		dma_cap_set(DMA_COMPLETION_NO_ORDER, new->dma.cap_mask);
	new->dma.dev = &device->dev;
	new->dma.copy_align = align;
	new->dma.device_alloc_chan_resources = alloc_resources;
	new->dma.device_free_chan_resources = free_resources;
	new->dma.device_prep_dma_memcpy = prepare;
	new->dma.device_issue_pending = issue;
	new->dma.device_tx_status = status;
	new->dma.device_release = release;
	if (terminable)
		new->dma.device_terminate_all = terminate;
	new->dma.device_synchronize = synchronize;
	INIT_LIST_HEAD(&new->dma.channels);
	for (n = 0; n < channels; n++) {
		struct channel *channel = &new->channels[n];

		channel->engine = new;
		channel->chan.device = &new->dma;
		spin_lock_init(&channel->lock);
		INIT_LIST_HEAD(&channel->submitted);
		INIT_LIST_HEAD(&channel->issued);
		INIT_DELAYED_WORK(&channel->work, work);
		list_add_tail(&channel->chan.device_node, &new->dma.channels);
	}
	spin_lock(&engines_lock);
	list_add(&new->list, &engines);
	spin_unlock(&engines_lock);
	error = dma_async_device_register(&new->dma);
	if (error) {
		release(&new->dma);
		return error;
	}
	engine = new;
	return 0;
}

/* The channels' copies are aborted, unless the engine hangs. */
static void vanish(void)
{
	struct engine *old = engine;
	unsigned int n;

	engine = NULL;
	WRITE_ONCE(old->gone, true);
	/* The engine is freed there if no channel is in use, so that its work must be queued first. */
	for (n = 0; n < MOST_CHANNELS; n++)
		if (old->channels[n].engine)
			mod_delayed_work(queue, &old->channels[n].work, 0);
	flush_workqueue(queue);
	dma_async_device_unregister(&old->dma);
}

static int present_set(const char *text, const struct kernel_param *param)
{
	bool want;
	int error = kstrtobool(text, &want);

	if (error)
		return error;
	mutex_lock(&presence);
	if (!device)
		error = -ENODEV;
	else if (want && !engine)
		error = appear();
	else if (!want && engine)
		vanish();
	mutex_unlock(&presence);
	return error;
}

static int present_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%d\n", READ_ONCE(engine) ? 1 : 0);
}

static const struct kernel_param_ops present = { .set = present_set, .get = present_get };
module_param_cb(present, &present, NULL, 0644);
MODULE_PARM_DESC(present, "Whether the device is there; 0 when the module is loaded");

static int hang_set(const char *text, const struct kernel_param *param)
{
	int error = param_set_bool(text, param);
	struct engine *each;
	unsigned int n;

	if (error || hang)
		return error;
	spin_lock(&engines_lock);
	list_for_each_entry(each, &engines, list)
		for (n = 0; n < MOST_CHANNELS; n++)
			if (each->channels[n].engine)
				queue_delayed_work(queue, &each->channels[n].work, 0);
	spin_unlock(&engines_lock);
	return 0;
}

static const struct kernel_param_ops hang_ops = { .set = hang_set, .get = param_get_bool };
module_param_cb(hang, &hang_ops, &hang, 0644);
MODULE_PARM_DESC(hang, "Do nothing [0]");

static int probe(struct platform_device *found)
{
	return 0;
}

static struct platform_driver driver = {
	.probe = probe,
	.driver = { .name = KBUILD_MODNAME },
};

static int __init knem_test_dma_init(void)
{
	struct platform_device *new;
	int error;

	queue = alloc_workqueue(KBUILD_MODNAME, WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	error = platform_driver_register(&driver);
	if (error)
		goto destroy;
	new = platform_device_register_simple(KBUILD_MODNAME, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(new)) {
		error = PTR_ERR(new);
		goto unregister;
	}
	mutex_lock(&presence);
	device = new;
	mutex_unlock(&presence);
	return 0;

unregister:
	platform_driver_unregister(&driver);
destroy:
	destroy_workqueue(queue);
	return error;
}
module_init(knem_test_dma_init);

/* No channel is in use, since each one holds the module. */
static void __exit knem_test_dma_exit(void)
{
	mutex_lock(&presence);
	if (engine)
		vanish();
	mutex_unlock(&presence);
	platform_device_unregister(device);
	platform_driver_unregister(&driver);
	destroy_workqueue(queue);
}
module_exit(knem_test_dma_exit);

MODULE_DESCRIPTION("A DMA engine without hardware, for tests of knem");
MODULE_AUTHOR("The KNEM in Rust developers");
MODULE_LICENSE("GPL");
