// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test-only module full of bugs, each to show that a detector of the debug kernel finds it. Writing a name to
 * /sys/kernel/debug/knem_faults/trigger triggers that fault once, in the writer's context.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

static struct dentry *directory;
/* Number of refused allocations, read by the test of fault injection. */
static u32 refused;

static DEFINE_MUTEX(first);
static DEFINE_MUTEX(second);
static DEFINE_SPINLOCK(spin);
static int __rcu *guarded;

struct table {
	int before;
	int entries[4];
	int after;
};

/* Values that the compiler must not know. */
static noinline int hidden(int value)
{
	OPTIMIZER_HIDE_VAR(value);
	return value;
}

static int use_after_free(const char __user *buffer)
{
	u8 *bytes = kmalloc(64, GFP_KERNEL);

	if (!bytes)
		return -ENOMEM;
	kfree(bytes);
	WRITE_ONCE(bytes[hidden(8)], 1);
	return 0;
}

static int out_of_bounds(const char __user *buffer)
{
	u8 *bytes = kmalloc(60, GFP_KERNEL);

	if (!bytes)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(bytes);
	WRITE_ONCE(bytes[hidden(60)], 1);
	kfree(bytes);
	return 0;
}

static int vmalloc_out_of_bounds(const char __user *buffer)
{
	u8 *bytes = vmalloc(100);

	if (!bytes)
		return -ENOMEM;
	OPTIMIZER_HIDE_VAR(bytes);
	WRITE_ONCE(bytes[hidden(120)], 1);
	vfree(bytes);
	return 0;
}

static int double_free(const char __user *buffer)
{
	u8 *bytes = kmalloc(64, GFP_KERNEL);

	if (!bytes)
		return -ENOMEM;
	kfree(bytes);
	OPTIMIZER_HIDE_VAR(bytes);
	kfree(bytes);
	return 0;
}

static int leak(const char __user *buffer)
{
	int i;

	/* Several, because one address may still be on a stack. */
	for (i = 0; i < 8; i++) {
		u8 *bytes = kmalloc(200, GFP_KERNEL);

		if (!bytes)
			return -ENOMEM;
		OPTIMIZER_HIDE_VAR(bytes);
	}
	return 0;
}

static int pin(const char __user *buffer)
{
	struct page *page;

	return pin_user_pages_fast((unsigned long)buffer, 1, FOLL_LONGTERM, &page) == 1 ? 0 : -EFAULT;
}

static int sleep_under_spinlock(const char __user *buffer)
{
	spin_lock(&spin);
	msleep(hidden(1));
	spin_unlock(&spin);
	return 0;
}

static int lock_order(const char __user *buffer)
{
	mutex_lock(&first);
	mutex_lock(&second);
	mutex_unlock(&second);
	mutex_unlock(&first);

	mutex_lock(&second);
	mutex_lock(&first);
	mutex_unlock(&first);
	mutex_unlock(&second);
	return 0;
}

static int rcu(const char __user *buffer)
{
	return rcu_dereference(guarded) ? -EBUSY : 0;
}

static int shift(const char __user *buffer)
{
	return (1 << hidden(40)) == hidden(3) ? -EBUSY : 0;
}

static int array_index(const char __user *buffer)
{
	static struct table table;

	return table.entries[hidden(4)] ? -EBUSY : 0;
}

static void nothing(struct timer_list *timer)
{
}

static int object_state(const char __user *buffer)
{
	struct timer_list *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return -ENOMEM;
	timer_setup(timer, nothing, 0);
	mod_timer(timer, jiffies + 1000 * HZ);
	/* Initialised again while it is active. */
	timer_setup(timer, nothing, 0);
	timer_delete_sync(timer);
	kfree(timer);
	return 0;
}

static int hang(const char __user *buffer)
{
	schedule_timeout_uninterruptible(10 * HZ);
	return 0;
}

static int warning(const char __user *buffer)
{
	WARN_ON(hidden(1));
	return 0;
}

static int bug(const char __user *buffer)
{
	BUG_ON(hidden(1));
	return 0;
}

static int allocation(const char __user *buffer)
{
	void *bytes = kmalloc(hidden(100), GFP_KERNEL);

	if (!bytes) {
		refused++;
		return -ENOMEM;
	}
	kfree(bytes);
	return 0;
}

static int page(const char __user *buffer)
{
	/* Several, because the test refuses only large requests; otherwise the writer itself could not continue. */
	struct page *page = alloc_pages(GFP_KERNEL, 4);

	if (!page) {
		refused++;
		return -ENOMEM;
	}
	__free_pages(page, 4);
	return 0;
}

static int usercopy(const char __user *buffer)
{
	char byte;

	if (copy_from_user(&byte, buffer, 1)) {
		refused++;
		return -EFAULT;
	}
	return 0;
}

static const struct {
	const char *name;
	int (*commit)(const char __user *buffer);
} faults[] = {
	{ "allocation", allocation },
	{ "array-index", array_index },
	{ "bug", bug },
	{ "double-free", double_free },
	{ "hang", hang },
	{ "leak", leak },
	{ "lock-order", lock_order },
	{ "object-state", object_state },
	{ "out-of-bounds", out_of_bounds },
	{ "page", page },
	{ "pin", pin },
	{ "rcu", rcu },
	{ "shift", shift },
	{ "sleep-under-spinlock", sleep_under_spinlock },
	{ "use-after-free", use_after_free },
	{ "usercopy", usercopy },
	{ "vmalloc-out-of-bounds", vmalloc_out_of_bounds },
	{ "warning", warning },
};

static ssize_t trigger_write(struct file *file, const char __user *buffer, size_t count, loff_t *position)
{
	char name[32] = "";
	size_t i;
	int result;

	if (count >= sizeof(name))
		return -EINVAL;
	/* Not copy_from_user(), which one of the tests makes fail. */
	for (i = 0; i < count; i++)
		if (get_user(name[i], buffer + i))
			return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		if (!sysfs_streq(name, faults[i].name))
			continue;
		result = faults[i].commit(buffer);
		return result ? result : count;
	}
	return -ENOENT;
}

static const struct file_operations trigger = {
	.owner = THIS_MODULE,
	.write = trigger_write,
};

static int __init faults_init(void)
{
	directory = debugfs_create_dir("knem_faults", NULL);
	debugfs_create_file("trigger", 0200, directory, NULL, &trigger);
	debugfs_create_u32("refused", 0400, directory, &refused);
	return 0;
}

static void __exit faults_exit(void)
{
	debugfs_remove(directory);
}

module_init(faults_init);
module_exit(faults_exit);
MODULE_DESCRIPTION("Deliberate faults: for the tests of KNEM's debug kernel only");
MODULE_LICENSE("GPL");
