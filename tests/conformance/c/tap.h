/* SPDX-License-Identifier: CECILL-B */
/* The Test Anything Protocol, version 14: one line for each check, and the counts at the end. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>

/* A check, which is a function of its own. */
struct check {
	const char *name;
	void (*run)(void);
};

/* Checks a condition in the running check; the first one that is false is reported as the reason of the failure. */
#define expect(condition) expect_at((condition), #condition, __LINE__)
/* As expect, for results of commands: 0, or -1 and errno. */
#define expect_ok(call) expect_errno_at((call), 0, #call, __LINE__)
#define expect_errno(call, number) expect_errno_at((call), (number), #call, __LINE__)

void expect_at(bool holds, const char *what, int line);
void expect_errno_at(int result, int number, const char *what, int line);

/* Skips the running check, which cannot run here. */
void skip(const char *reason);

/* Runs the checks and returns the program's exit status. */
int run_checks(const struct check *checks, unsigned int count);

#endif
