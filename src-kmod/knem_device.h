/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/knem: functions of knem_device.c for Rust, and the file operations that glue/operations.rs defines and
 * documents.
 */
#ifndef KNEM_DEVICE_H
#define KNEM_DEVICE_H

#include <linux/types.h>

struct file;
struct poll_table_struct;
struct vm_area_struct;

/* The first returns 0 or a negative errno. Files can be opened before it returns, and not after the second returns. */
int knem_device_register(void);
void knem_device_deregister(void);

int knem_open(bool writable, void **context);
void knem_release(void *context);
long knem_ioctl(void *context, unsigned int command, unsigned long argument);
ssize_t knem_read(void *context, struct file *file, void __user *to, size_t length, loff_t *position);
ssize_t knem_write(void *context, const struct file *file, size_t length);
unsigned int knem_poll(void *context, struct file *file, struct poll_table_struct *table);
int knem_mmap(void *context, struct vm_area_struct *vma, unsigned long first_page);

#endif
