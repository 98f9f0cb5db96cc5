// SPDX-License-Identifier: GPL-2.0-only
/*
 * The threads of files: kernel threads, their processors and their control groups. One line each where possible; what
 * they do is Rust's. See knem_shim.h for what each is for.
 */
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/freezer.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "compat.h"
#include "knem_shim.h"

/* A thread that runs body(data) until it is stopped, with a reference to it. It waits to be woken. */
struct task_struct *knem_shim_thread(int (*body)(void *), void *data, unsigned long ordinal)
{
	struct task_struct *thread = kthread_create(body, data, "knem-ctx-%lx", ordinal);

	if (!IS_ERR(thread))
		get_task_struct(thread);
	return thread;
}

void knem_shim_wake_thread(struct task_struct *thread)
{
	wake_up_process(thread);
}

/* If the thread has not begun, its body never runs. */
void knem_shim_thread_stop(struct task_struct *thread)
{
	kthread_stop_put(thread);
}

void knem_shim_thread_begin(void)
{
	set_freezable();
}

bool knem_shim_thread_stopping(void)
{
	return kthread_should_stop();
}

bool knem_shim_thread_interrupted(void)
{
	return kthread_freezable_should_stop(NULL);
}

#ifdef CONFIG_CGROUPS
/* Whether a task is in the cpuset of the calling one. */
static bool knem_same_cpuset(struct task_struct *task)
{
	bool same = true;

#ifdef CONFIG_CPUSETS
	rcu_read_lock();
	same = task_css(task, cpuset_cgrp_id) == task_css(current, cpuset_cgrp_id);
	rcu_read_unlock();
#endif
	return same;
}
#endif

/* Moves a thread that waits to be woken to the control groups of the calling task. */
int knem_shim_join_cgroups(struct task_struct *thread)
{
#ifdef CONFIG_CGROUPS
	int error;

	/* Moving stops forks on the whole machine for a moment: not done where both are in the root groups. */
	if (rcu_access_pointer(thread->cgroups) == rcu_access_pointer(current->cgroups))
		return 0;
	error = cgroup_attach_task_all(current, thread);
	/*
	 * Before 5.16 that leaves out the unified hierarchy. Then the thread is not accounted to the task's group; but if that has
	 * a cpuset, the thread keeps to the task's CPUs, which are those of the cpuset or fewer.
	 */
	if (!error && !knem_same_cpuset(thread))
		error = set_cpus_allowed_ptr(thread, current->cpus_ptr);
	return error;
#else
	return 0;
#endif
}

struct knem_later {
	struct callback_head head;
	struct file *file;
	void (*body)(void *private);
};

static void knem_now(struct callback_head *head)
{
	struct knem_later *later = container_of(head, struct knem_later, head);

	later->body(later->file->private_data);
	/* The file is closed after this has returned, if it is the last reference: the module stays until then. */
	fput(later->file);
	kfree(later);
}

/* Runs body(private data of the file) when the calling task is about to go back to user space; if there is no memory for that, never. */
void knem_shim_later(struct file *file, void (*body)(void *private))
{
	struct knem_later *later = kmalloc(sizeof(*later), GFP_KERNEL_ACCOUNT);

	if (!later)
		return;
	init_task_work(&later->head, knem_now);
	later->file = get_file(file);
	later->body = body;
	if (task_work_add(current, &later->head, TWA_RESUME)) {
		/* The task is going to end. */
		fput(later->file);
		kfree(later);
	}
}

/* A mask in memory of Rust's is one of this many words, as alloc_cpumask_var() would allocate. */
unsigned long knem_shim_cpumask_words(void)
{
	return cpumask_size() / sizeof(unsigned long);
}

/* The processors that a task may use now; the calling one if it is NULL. */
void knem_shim_allowed_cpus(struct cpumask *mask, const struct task_struct *task)
{
	cpumask_copy(mask, (task ? task : current)->cpus_ptr);
}

void knem_shim_bind(const struct cpumask *mask)
{
	if (set_cpus_allowed_ptr(current, mask))
		pr_debug("knem: %s: none of its processors can be used\n", current->comm);
}

/* For a thread: sleeps for some milliseconds. */
void knem_shim_thread_pause(void)
{
	schedule_timeout_interruptible(max(1, HZ / 500));
}
