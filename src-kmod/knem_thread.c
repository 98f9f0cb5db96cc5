// SPDX-License-Identifier: GPL-2.0-only
/*
 * Worker threads of contexts: how they start and end, and their CPUs. Rust determines what they execute. See
 * knem_shim.h for the purpose of each function.
 *
 * On kernels with vhost tasks, a worker is a thread of the process whose request started it: copy_process() gives it
 * the control groups, CPUs, nice value, policy, accounts and limits of that task. On other kernels it is a kernel
 * thread that adopts what it can. Both end in the same way: as the last use of its data, the worker queues `reap`,
 * which waits for the worker's end. So a worker that does not run, because its process is stopped or frozen, blocks no
 * task and only keeps the module loaded.
 */
#include <linux/cgroup.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "knem_shim.h"

struct knem_worker {
	bool (*turn)(void *data);
	void (*killed)(void *data);
	void (*gone)(void *data);
	void *data;
	/* Whether `reap` is queued. */
	atomic_t ended;
	struct work_struct reap;
#ifdef COMPAT_USER_WORKER
	struct vhost_task *task;
#else
	struct task_struct *task;
	/*
	 * The task that starts the worker, valid until `ready`; the error if the worker could not join its control
	 * groups.
	 */
	struct task_struct *starter;
	int error;
	struct completion ready;
	struct completion go;
#endif
};

static struct workqueue_struct *knem_reaper;

int knem_workers_begin(void)
{
	knem_reaper = alloc_workqueue("knem_reaper", WQ_UNBOUND, 0);
	return knem_reaper ? 0 : -ENOMEM;
}

void knem_workers_end(void)
{
	destroy_workqueue(knem_reaper);
}

static void knem_worker_ended(struct knem_worker *worker)
{
	if (!atomic_xchg(&worker->ended, 1))
		queue_work(knem_reaper, &worker->reap);
}

static void knem_worker_reap(struct work_struct *work);

static struct knem_worker *knem_worker_new(bool (*turn)(void *), void (*killed)(void *), void (*gone)(void *), void *data)
{
	struct knem_worker *worker = kzalloc(sizeof(*worker), GFP_KERNEL_ACCOUNT);

	if (!worker)
		return NULL;
	worker->turn = turn;
	worker->killed = killed;
	worker->gone = gone;
	worker->data = data;
	INIT_WORK(&worker->reap, knem_worker_reap);
	return worker;
}

#ifdef CONFIG_CGROUPS
/* Whether two tasks are in the same cpuset. */
static bool knem_same_cpuset(struct task_struct *left, struct task_struct *right)
{
	bool same = true;

#ifdef CONFIG_CPUSETS
	rcu_read_lock();
	same = task_css(left, cpuset_cgrp_id) == task_css(right, cpuset_cgrp_id);
	rcu_read_unlock();
#endif
	return same;
}
#endif

/*
 * Makes the calling kernel thread join the control groups of a task that waits. This uses the thread's own credentials,
 * because the task's may not suffice to move a kernel thread.
 */
static int knem_join(struct task_struct *task)
{
#ifdef CONFIG_CGROUPS
	int error;

	/*
	 * Moving a thread stops forks on the whole machine for a moment, so that it is avoided if both are in the root
	 * groups.
	 */
	if (rcu_access_pointer(task->cgroups) == rcu_access_pointer(current->cgroups))
		return 0;
	error = cgroup_attach_task_all(task, current);
	/*
	 * Before 5.16 this does not include the unified hierarchy. The thread is not accounted to the task's group
	 * then. But if that has a cpuset, the thread is bound to the task's CPUs, which are those of the cpuset or
	 * fewer.
	 */
	if (!error && !knem_same_cpuset(task, current))
		error = set_cpus_allowed_ptr(current, task->cpus_ptr);
	return error;
#else
	return 0;
#endif
}

/*
 * The end of a kernel thread. It returns only when it is stopped, so that the module cannot be unloaded while the
 * thread runs.
 */
static int __maybe_unused knem_until_stopped(void)
{
	for (;;) {
		set_current_state(TASK_IDLE);
		if (kthread_should_stop())
			break;
		schedule();
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

#ifdef COMPAT_USER_WORKER

static bool knem_worker_fn(void *data)
{
	struct knem_worker *worker = data;

	/* The kernel calls this in TASK_INTERRUPTIBLE, so that vhost_task_stop() wakes a task that sleeps. */
	if (atomic_read(&worker->ended))
		return false;
	__set_current_state(TASK_RUNNING);
	if (!worker->turn(worker->data))
		knem_worker_ended(worker);
	return true;
}

static void knem_worker_killed(void *data)
{
	struct knem_worker *worker = data;

	worker->killed(worker->data);
	knem_worker_ended(worker);
}

struct knem_worker *knem_worker_create(bool (*turn)(void *), void (*killed)(void *), void (*gone)(void *), void *data,
				       unsigned long ordinal)
{
	struct knem_worker *worker = knem_worker_new(turn, killed, gone, data);
	char name[TASK_COMM_LEN];
	struct vhost_task *task;

	if (!worker)
		return ERR_PTR(-ENOMEM);
	snprintf(name, sizeof(name), "knem-ctx-%lx", ordinal);
	task = vhost_task_create(knem_worker_fn, knem_worker_killed, worker, name);
	/* Some kernels return NULL. */
	if (IS_ERR_OR_NULL(task)) {
		kfree(worker);
		return task ? ERR_CAST(task) : ERR_PTR(-EAGAIN);
	}
	worker->task = task;
	return worker;
}

void knem_worker_go(struct knem_worker *worker)
{
	/* The caller has an open file of the module. */
	__module_get(THIS_MODULE);
	vhost_task_start(worker->task);
}

static void knem_worker_reap(struct work_struct *work)
{
	struct knem_worker *worker = container_of(work, struct knem_worker, reap);
	void (*gone)(void *) = worker->gone;
	void *data = worker->data;

	vhost_task_stop(worker->task);
	kfree(worker);
	/* Module unload waits for the end of this function. */
	module_put(THIS_MODULE);
	gone(data);
}

unsigned long knem_worker_most(void)
{
	return ULONG_MAX;
}

bool knem_worker_due(void)
{
	/*
	 * Since 6.18 a task is throttled by task work that it runs on its way to user space, which a worker never
	 * takes. get_signal(), which the kernel calls between two turns if a signal is pending, runs such work as well.
	 */
	if (task_work_pending(current))
		set_thread_flag(TIF_NOTIFY_SIGNAL);
	return signal_pending(current);
}

#else /* COMPAT_USER_WORKER */

static int knem_worker_main(void *data)
{
	struct knem_worker *worker = data;

	worker->error = knem_join(worker->starter);
	compat_schedule_as(worker->starter);
	complete(&worker->ready);
	wait_for_completion(&worker->go);
	if (!worker->error) {
		set_freezable();
		while (worker->turn(worker->data))
			try_to_freeze();
		knem_worker_ended(worker);
	}
	return knem_until_stopped();
}

static void knem_worker_stop(struct knem_worker *worker)
{
	kthread_stop_put(worker->task);
	kfree(worker);
}

struct knem_worker *knem_worker_create(bool (*turn)(void *), void (*killed)(void *), void (*gone)(void *), void *data,
				       unsigned long ordinal)
{
	struct knem_worker *worker = knem_worker_new(turn, killed, gone, data);
	struct task_struct *task;
	int error;

	if (!worker)
		return ERR_PTR(-ENOMEM);
	init_completion(&worker->ready);
	init_completion(&worker->go);
	worker->starter = current;
	task = kthread_create(knem_worker_main, worker, "knem-ctx-%lx", ordinal);
	if (IS_ERR(task)) {
		kfree(worker);
		return ERR_CAST(task);
	}
	get_task_struct(task);
	worker->task = task;
	wake_up_process(task);
	wait_for_completion(&worker->ready);
	error = worker->error;
	if (error) {
		/* The thread ends without a turn. */
		complete(&worker->go);
		knem_worker_stop(worker);
		return ERR_PTR(error);
	}
	return worker;
}

void knem_worker_go(struct knem_worker *worker)
{
	/* The caller has an open file of the module. */
	__module_get(THIS_MODULE);
	complete(&worker->go);
}

static void knem_worker_reap(struct work_struct *work)
{
	struct knem_worker *worker = container_of(work, struct knem_worker, reap);
	void (*gone)(void *) = worker->gone;
	void *data = worker->data;

	knem_worker_stop(worker);
	/* Module unload waits for the end of this function. */
	module_put(THIS_MODULE);
	gone(data);
}

unsigned long knem_worker_most(void)
{
	return rlimit(RLIMIT_NPROC);
}

bool knem_worker_due(void)
{
	return freezing(current);
}

#endif /* COMPAT_USER_WORKER */

/* A mask in Rust's memory has this many words, as alloc_cpumask_var() would allocate. */
unsigned long knem_shim_cpumask_words(void)
{
	return cpumask_size() / sizeof(unsigned long);
}

void knem_shim_allowed_cpus(struct cpumask *mask)
{
	cpumask_copy(mask, current->cpus_ptr);
}

void knem_shim_online_cpus(struct cpumask *mask)
{
	cpumask_copy(mask, cpu_online_mask);
}

#if defined(CONFIG_CGROUPS) && defined(CONFIG_CPUSETS)
struct knem_probe {
	struct cpumask *mask;
	struct task_struct *task;
	int error;
	struct completion done;
};

static int knem_probe_main(void *data)
{
	struct knem_probe *probe = data;

	probe->error = knem_join(probe->task);
	cpumask_copy(probe->mask, current->cpus_ptr);
	complete(&probe->done);
	return knem_until_stopped();
}

/*
 * Determines the CPUs of the calling task's cpuset, for which the kernel exports no function, with a thread that joins
 * its control groups. That stops forks on the whole machine for a moment; Rust limits how often.
 */
static int knem_probe_cpuset(struct cpumask *mask)
{
	struct knem_probe probe = { .mask = mask, .task = current };
	struct task_struct *thread;

	init_completion(&probe.done);
	thread = kthread_run(knem_probe_main, &probe, "knem-cpuset");
	if (!IS_ERR(thread)) {
		wait_for_completion(&probe.done);
		kthread_stop(thread);
	}
	return IS_ERR(thread) ? PTR_ERR(thread) : probe.error;
}
#endif

int knem_shim_sleep(u32 milliseconds)
{
	return milliseconds && schedule_timeout_killable(msecs_to_jiffies(milliseconds)) ? -EINTR : 0;
}

int knem_shim_cpuset_cpus(struct cpumask *mask)
{
#if defined(CONFIG_CGROUPS) && defined(CONFIG_CPUSETS)
	if (!knem_same_cpuset(current, &init_task))
		return knem_probe_cpuset(mask);
#endif
	cpumask_copy(mask, cpu_online_mask);
	return 0;
}

void knem_worker_bind(const struct cpumask *mask)
{
	compat_choose_cpus(mask);
	if (set_cpus_allowed_ptr(current, mask))
		pr_debug("knem: %s: cannot bind the worker thread to its CPUs\n", current->comm);
}
