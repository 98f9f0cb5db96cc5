// SPDX-License-Identifier: GPL-2.0-only
/* Reports of refusals. */
#include <linux/pid.h>
#include <linux/printk.h>
#include <linux/sched.h>

#include "knem_shim.h"

#define CREATE_TRACE_POINTS
#include "knem_trace.h"

void knem_shim_refused(unsigned int command, int error)
{
	trace_knem_refused(command, error);
	if (READ_ONCE(knem_param_debug))
		pr_info_ratelimited("knem: %s[%d]: command 0x%02x refused, error %d\n", current->comm,
				    task_tgid_nr(current), command & 0xff, error);
}
