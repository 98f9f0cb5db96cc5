// SPDX-License-Identifier: GPL-2.0-only
/*
 * The C side of the stand-in for the `kernel` crate: one line for each function where possible. It is compiled against
 * the headers of the kernel that the module is built for, and asserts everything that the Rust side assumes about it.
 */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/rbtree.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "../compat.h"
#include "standin.h"

/* page.rs. */
static_assert(PAGE_SHIFT == STANDIN_PAGE_SHIFT);
/* sync/lock.rs. */
static_assert(sizeof(spinlock_t) <= 128 && __alignof__(spinlock_t) <= 8);
static_assert(sizeof(struct mutex) <= 192 && __alignof__(struct mutex) <= 8);
static_assert(sizeof(struct lock_class_key) <= 32);
/* rbtree.rs. */
static_assert(sizeof(struct rb_node) == 24 && sizeof(struct rb_root) == 8);
static_assert(offsetof(struct rb_node, rb_right) == 8 && offsetof(struct rb_node, rb_left) == 16);
/* alloc.rs. */
static_assert(ARCH_KMALLOC_MINALIGN >= 8);
/* error.rs. */
static_assert(EINTR == 4 && EIO == 5 && EAGAIN == 11 && ENOMEM == 12 && EFAULT == 14 && EBUSY == 16 && EEXIST == 17);
static_assert(ENODEV == 19 && EINVAL == 22 && ERESTARTNOINTR == 513 && MAX_ERRNO == 4095);

COMPAT_INDIRECT_THUNK;
COMPAT_RETURN_THUNK;

void standin_print(unsigned int level, const char *text, size_t length)
{
	printk("%c%c%.*s", KERN_SOH_ASCII, '0' + level, (int)length, text);
}

static gfp_t standin_gfp(unsigned int flags)
{
	return (flags & 8 ? GFP_ATOMIC : GFP_KERNEL) | (flags & 1 ? __GFP_ACCOUNT : 0) | (flags & 2 ? __GFP_NOWARN : 0) |
	       (flags & 4 ? __GFP_ZERO : 0);
}

void *standin_kmalloc(size_t size, unsigned int flags)
{
	return kmalloc(size, standin_gfp(flags));
}

void standin_kfree(const void *memory)
{
	kfree(memory);
}

void *standin_kvmalloc(size_t size, unsigned int flags)
{
	return kvmalloc(size, standin_gfp(flags));
}

void standin_kvfree(const void *memory)
{
	kvfree(memory);
}

struct page *standin_page_alloc(unsigned int flags)
{
	return alloc_page(standin_gfp(flags));
}

void standin_page_free(struct page *page)
{
	__free_page(page);
}

void standin_spin_init(spinlock_t *lock, const char *name, struct lock_class_key *class)
{
	spin_lock_init(lock);
	lockdep_set_class_and_name(lock, class, name);
}

void standin_spin_lock(spinlock_t *lock)
{
	spin_lock(lock);
}

void standin_spin_unlock(spinlock_t *lock)
{
	spin_unlock(lock);
}

void standin_mutex_init(struct mutex *lock, const char *name, struct lock_class_key *class)
{
	mutex_init(lock);
	lockdep_set_class_and_name(lock, class, name);
}

void standin_mutex_lock(struct mutex *lock)
{
	mutex_lock(lock);
}

void standin_mutex_unlock(struct mutex *lock)
{
	mutex_unlock(lock);
}

unsigned long standin_copy_from_user(void *to, const void __user *from, unsigned long length)
{
	return copy_from_user(to, from, length);
}

unsigned long standin_copy_to_user(void __user *to, const void *from, unsigned long length)
{
	return copy_to_user(to, from, length);
}

struct mm_struct *standin_current_mm(void)
{
	return current->mm;
}

void standin_mm_grab(struct mm_struct *mm)
{
	mmgrab(mm);
}

void standin_mm_drop(struct mm_struct *mm)
{
	mmdrop(mm);
}

unsigned long standin_vma_start(const struct vm_area_struct *vma)
{
	return vma->vm_start;
}

unsigned long standin_vma_end(const struct vm_area_struct *vma)
{
	return vma->vm_end;
}

bool standin_vma_shared(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_SHARED;
}

int standin_vma_clear_mayexec(struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_EXEC)
		return -EINVAL;
	vm_flags_clear(vma, VM_MAYEXEC);
	return 0;
}

void standin_vma_set_dontexpand(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_DONTEXPAND);
}

void standin_vma_set_dontdump(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_DONTDUMP);
}

void standin_vma_set_mixedmap(struct vm_area_struct *vma)
{
	vm_flags_set(vma, COMPAT_VM_MIXEDMAP);
}

int standin_vma_insert_page(struct vm_area_struct *vma, unsigned long address, struct page *page)
{
	return compat_vm_insert_page(vma, address, page);
}

static int __init standin_init(void)
{
	return standin_load();
}

static void __exit standin_exit(void)
{
	standin_unload();
}

module_init(standin_init);
module_exit(standin_exit);
