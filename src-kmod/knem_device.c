// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/knem: the misc device and its file operations, which pass to Rust (glue/operations.rs) what that needs from the
 * kernel's structures. The private data of a file is its context, or NULL if it was not opened for writing.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>

#include "knem_device.h"
#include "knem_shim.h"

/* glue/wait.rs. */
static_assert((__force unsigned int)EPOLLIN == 1 && (__force unsigned int)EPOLLERR == 8);

static int knem_fops_open(struct inode *inode, struct file *file)
{
	return knem_open(file->f_mode & FMODE_WRITE, &file->private_data);
}

static int knem_fops_release(struct inode *inode, struct file *file)
{
	knem_release(file->private_data);
	return 0;
}

static long knem_fops_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	return knem_ioctl(file->private_data, command, argument);
}

static ssize_t knem_fops_read(struct file *file, char __user *to, size_t length, loff_t *position)
{
	return knem_read(file->private_data, file, to, length, position);
}

static ssize_t knem_fops_write(struct file *file, const char __user *from, size_t length, loff_t *position)
{
	return knem_write(file->private_data, file, length);
}

static __poll_t knem_fops_poll(struct file *file, struct poll_table_struct *table)
{
	return (__force __poll_t)knem_poll(file->private_data, file, table);
}

static int knem_fops_mmap(struct file *file, struct vm_area_struct *vma)
{
	return knem_mmap(file->private_data, vma, vma->vm_pgoff);
}

static const struct file_operations knem_fops = {
	/* The module stays loaded while a file is open. */
	.owner = THIS_MODULE,
	.open = knem_fops_open,
	.release = knem_fops_release,
	.unlocked_ioctl = knem_fops_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = knem_fops_read,
	.write = knem_fops_write,
	.poll = knem_fops_poll,
	.mmap = knem_fops_mmap,
};

static struct miscdevice knem_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "knem",
	.fops = &knem_fops,
	/* Accessible to root alone until udev applies its rule. */
	.mode = 0600,
};

int knem_device_register(void)
{
	return misc_register(&knem_device);
}

void knem_device_deregister(void)
{
	misc_deregister(&knem_device);
}
