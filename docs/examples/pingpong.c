/* SPDX-License-Identifier: CECILL-B */
/*
 * pingpong.c: two processes exchange a message through KNEM and check every byte.
 *
 *     cc -O2 $(pkg-config --cflags knem) -o pingpong pingpong.c && ./pingpong
 *
 * The parent declares a region; the child copies it into its own memory (ping), changes it, and copies it back (pong).
 * Then it does both again asynchronously: the context's worker thread copies, and the child waits for an event.
 * Exit status: 0 if every byte is right, 1 if not, 77 if KNEM is not available. docs/guide.md explains the parts.
 */
#include <errno.h>
#include <fcntl.h>
#include <knem_io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH = 300000, SLOTS = 64, ROUNDS = 4 };

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* [open] */
/* Opens KNEM. Returns -1 if it is not usable: the program then uses another path. */
static int knem_open(void)
{
	struct knem_cmd_info info;
	int fd = open(KNEM_DEVICE_FILENAME, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (ioctl(fd, KNEM_CMD_GET_INFO, &info) < 0 || info.abi != KNEM_ABI_VERSION) {
		close(fd);
		return -1;
	}
	return fd;
}
/* [/open] */

/* [create] */
/* Declares memory as a readable and writable region. Returns its cookie, or 0. */
static knem_cookie_t knem_region(int fd, void *memory, size_t length)
{
	struct knem_cmd_param_iovec iovec = { .base = (uintptr_t)memory, .len = length };
	struct knem_cmd_create_region create = {
		.iovec_array = (uintptr_t)&iovec,
		.iovec_nr = 1,
		.protection = PROT_READ | PROT_WRITE,
	};

	if (ioctl(fd, KNEM_CMD_CREATE_REGION, &create) < 0)
		return 0;
	return create.cookie;
}
/* [/create] */

/* [copy] */
/* Copies between a region, starting at an offset, and local memory. Returns 0, or -1 with errno. */
static int knem_copy(int fd, knem_cookie_t region, size_t offset, void *memory, size_t length, int write)
{
	struct knem_cmd_param_iovec iovec = { .base = (uintptr_t)memory, .len = length };
	struct knem_cmd_inline_copy copy = {
		.local_iovec_array = (uintptr_t)&iovec,
		.local_iovec_nr = 1,
		.write = write,
		.remote_cookie = region,
		.remote_offset = offset,
	};

	if (ioctl(fd, KNEM_CMD_INLINE_COPY, &copy) < 0)
		return -1;
	if (copy.current_status != KNEM_STATUS_SUCCESS) {
		/* The local memory is not accessible. */
		errno = EFAULT;
		return -1;
	}
	return 0;
}
/* [/copy] */

/* [start] */
/* Starts the same copy and returns. Its status goes to slot `slot`; an event signals its completion. */
static int knem_start(int fd, knem_cookie_t region, size_t offset, void *memory, size_t length, int write,
		      unsigned int slot)
{
	struct knem_cmd_param_iovec iovec = { .base = (uintptr_t)memory, .len = length };
	struct knem_cmd_inline_copy copy = {
		.local_iovec_array = (uintptr_t)&iovec,
		.local_iovec_nr = 1,
		.write = write,
		.remote_cookie = region,
		.remote_offset = offset,
		.flags = KNEM_FLAG_MEMCPYTHREAD | KNEM_FLAG_NOTIFY_FD,
		.async_status_index = slot,
	};

	return ioctl(fd, KNEM_CMD_INLINE_COPY, &copy);
}
/* [/start] */

/* [wait] */
/* Waits for the completion of one request. Returns its slot, or -1. */
static int knem_wait(int fd, int epoll, const volatile knem_status_t *array)
{
	struct epoll_event ready;
	uint32_t slot;

	while (epoll_wait(epoll, &ready, 1, -1) < 0)
		if (errno != EINTR)
			return -1;
	if (read(fd, &slot, sizeof(slot)) != sizeof(slot))
		return -1;
	/* The slot is final before its event is queued. */
	if (__atomic_load_n(&array[slot], __ATOMIC_ACQUIRE) != KNEM_STATUS_SUCCESS)
		return -1;
	return (int)slot;
}
/* [/wait] */

static unsigned char content(unsigned int round, size_t n)
{
	return (unsigned char)(round * 91 + n * 7 + (n >> 8));
}

static void fill(unsigned char *memory, unsigned int round)
{
	for (size_t n = 0; n < LENGTH; n++)
		memory[n] = content(round, n);
}

static int check(const unsigned char *memory, unsigned int round)
{
	for (size_t n = 0; n < LENGTH; n++) {
		if (memory[n] != content(round, n)) {
			fprintf(stderr, "round %u: byte %zu is wrong\n", round, n);
			return -1;
		}
	}
	return 0;
}

static int child(knem_cookie_t region)
{
	unsigned char *memory = malloc(LENGTH);
	int fd = knem_open();

	if (fd < 0 || !memory)
		die("child");
	if (knem_copy(fd, region, 0, memory, LENGTH, 0) < 0)
		die("copy from the region");
	if (check(memory, 0) < 0)
		return 1;
	fill(memory, 1);
	if (knem_copy(fd, region, 0, memory, LENGTH, 1) < 0)
		die("copy to the region");

	/* [async] */
	/* One byte for each request in flight; the kernel rounds up to whole pages. */
	knem_status_t *array = mmap(NULL, SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				    KNEM_STATUS_ARRAY_FILE_OFFSET);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event readable = { .events = EPOLLIN };

	if (array == MAP_FAILED || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &readable) < 0)
		die("status array");
	/* The message is split into parts, which are all in flight at the same time. */
	memset(memory, 0, LENGTH);
	for (unsigned int part = 0; part < ROUNDS; part++) {
		size_t start = part * (LENGTH / ROUNDS);

		if (knem_start(fd, region, start, memory + start, LENGTH / ROUNDS, 0, part) < 0)
			die("start");
	}
	for (unsigned int part = 0; part < ROUNDS; part++)
		if (knem_wait(fd, epoll, array) < 0)
			die("wait");
	/* [/async] */
	if (check(memory, 1) < 0)
		return 1;
	fill(memory, 2);
	if (knem_start(fd, region, 0, memory, LENGTH, 1, 7) < 0 || knem_wait(fd, epoll, array) != 7)
		die("pong");
	/* Exiting closes the device; no request is in flight any more. */
	return 0;
}

int main(void)
{
	unsigned char *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status, fd = knem_open();
	knem_cookie_t region;
	pid_t pid;

	if (fd < 0) {
		perror(KNEM_DEVICE_FILENAME);
		return 77;
	}
	if (memory == MAP_FAILED)
		die("mmap");
	fill(memory, 0);
	region = knem_region(fd, memory, LENGTH);
	if (!region)
		die("region");

	/* The other process needs only the cookie. Here it inherits the cookie; other programs send it. */
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(fd);
		_exit(child(region));
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return 1;
	if (check(memory, 2) < 0)
		return 1;
	/* [destroy] */
	if (ioctl(fd, KNEM_CMD_DESTROY_REGION, &region) < 0)
		die("destroy");
	/* [/destroy] */
	puts("every byte is right");
	return 0;
}
