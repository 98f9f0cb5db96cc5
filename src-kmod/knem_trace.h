/* SPDX-License-Identifier: GPL-2.0-only */
/* Trace events of the driver: /sys/kernel/tracing/events/knem. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM knem

#if !defined(KNEM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KNEM_TRACE_H

#include <linux/tracepoint.h>

/* The calling task was refused a command: its number (knem_io.h) and the errno. */
TRACE_EVENT(knem_refused,
	TP_PROTO(unsigned int command, int error),
	TP_ARGS(command, error),
	TP_STRUCT__entry(
		__field(unsigned int, command)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->command = command;
		__entry->error = error;
	),
	TP_printk("command=0x%02x error=%d", __entry->command & 0xff, __entry->error)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE knem_trace
#include <trace/define_trace.h>
