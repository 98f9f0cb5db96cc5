/* SPDX-License-Identifier: CECILL-B */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Seconds after which a check hangs. */
#define LIMIT 120

static char failure[512];
static const char *skipped;
static const char *running;

void expect_at(bool holds, const char *what, int line)
{
	if (!holds && failure[0] == 0)
		snprintf(failure, sizeof(failure), "line %d: %s", line, what);
}

void expect_errno_at(int result, int number, const char *what, int line)
{
	int got = result < 0 ? errno : 0;

	if (got != number && failure[0] == 0)
		snprintf(failure, sizeof(failure), "line %d: %s: %s, expected: %s", line, what, strerror(got),
			 number ? strerror(number) : "success");
}

void skip(const char *reason)
{
	skipped = reason;
}

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		_exit(2);
}

static void hangs(int number)
{
	(void)number;
	say("Bail out! it hangs: ");
	say(running);
	say("\n");
	_exit(1);
}

int run_checks(const struct check *checks, unsigned int count)
{
	unsigned int passed = 0, failed = 0, left_out = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, hangs);
	printf("TAP version 14\n1..%u\n", count);
	for (unsigned int n = 0; n < count; n++) {
		failure[0] = 0;
		skipped = NULL;
		running = checks[n].name;
		alarm(LIMIT);
		checks[n].run();
		alarm(0);
		if (failure[0]) {
			printf("not ok %u - %s\n  ---\n  message: |\n    %s\n  ...\n", n + 1, running, failure);
			failed++;
		} else if (skipped) {
			printf("ok %u - %s # SKIP %s\n", n + 1, running, skipped);
			left_out++;
		} else {
			printf("ok %u - %s\n", n + 1, running);
			passed++;
		}
	}
	printf("# %u passed, %u failed, %u skipped\n", passed, failed, left_out);
	return failed ? 1 : 0;
}
