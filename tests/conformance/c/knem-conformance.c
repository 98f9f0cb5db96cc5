/* SPDX-License-Identifier: CECILL-B */
/*
 * The interface as a C program sees it: built with nothing but the installed header, for 64 and for 32 bits.
 *
 * It checks the header's numbers and layouts, every command, flags, the order of a few errors, the status array,
 * events, and the quick vectors. The Rust program knem-conformance goes further.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <knem_io.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#define GARBAGE 0xdeadbeefu
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char *device = KNEM_DEVICE_FILENAME;

/* What a structure's fields hold as 64-bit addresses, whatever the size of a pointer. */
static uint64_t address(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

static int open_device(int flags)
{
	int fd = open(device, flags | O_CLOEXEC);

	expect(fd >= 0);
	return fd;
}

static struct knem_cmd_param_iovec segment(const void *base, uint64_t len)
{
	struct knem_cmd_param_iovec segment = { .base = address(base), .len = len };

	return segment;
}

static int create(int fd, const struct knem_cmd_param_iovec *list, uint32_t count, uint32_t protection, uint32_t flags,
		  knem_cookie_t *cookie)
{
	struct knem_cmd_create_region command = {
		.iovec_array = address(list),
		.iovec_nr = count,
		.flags = flags,
		.protection = protection,
		.pad1 = GARBAGE,
	};
	int result = ioctl(fd, KNEM_CMD_CREATE_REGION, &command);

	*cookie = command.cookie;
	expect(command.pad1 == GARBAGE);
	return result;
}

/* A region of one piece of memory; 0 if there is none. */
static knem_cookie_t region(int fd, const void *memory, uint64_t length, uint32_t protection, uint32_t flags)
{
	struct knem_cmd_param_iovec list = segment(memory, length);
	knem_cookie_t cookie = 0;

	expect_ok(create(fd, &list, 1, protection, flags, &cookie));
	expect(cookie != 0);
	return cookie;
}

struct way {
	uint32_t write, flags, index;
	uint64_t offset;
};

static int inline_copy(int fd, knem_cookie_t cookie, const void *memory, uint64_t length, struct way way,
		       uint32_t *status)
{
	struct knem_cmd_param_iovec list = segment(memory, length);
	struct knem_cmd_inline_copy command = {
		.local_iovec_array = address(&list),
		.local_iovec_nr = 1,
		.write = way.write,
		.remote_cookie = cookie,
		.remote_offset = way.offset,
		.flags = way.flags,
		.current_status = GARBAGE,
		.async_status_index = way.index,
		.pad = GARBAGE,
	};
	int result = ioctl(fd, KNEM_CMD_INLINE_COPY, &command);

	*status = command.current_status;
	expect(command.pad == GARBAGE);
	expect(result == 0 || command.current_status == GARBAGE);
	return result;
}

static int read_region(int fd, knem_cookie_t cookie, void *memory, uint64_t length, uint32_t flags, uint32_t *status)
{
	struct way way = { .flags = flags, .index = GARBAGE };

	return inline_copy(fd, cookie, memory, length, way, status);
}

/* A status array, with the file closed behind it by the caller. */
static volatile uint8_t *map_slots(int fd, size_t length)
{
	void *slots = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, KNEM_STATUS_ARRAY_FILE_OFFSET);

	expect(slots != MAP_FAILED);
	return slots == MAP_FAILED ? NULL : slots;
}

static uint8_t wait_slot(volatile uint8_t *slot)
{
	/* The alarm of the check ends it if it never comes. */
	for (;;) {
		uint8_t status = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

		if (status != KNEM_STATUS_PENDING)
			return status;
		sched_yield();
	}
}

/* Bytes of a page, which are also the slots of the smallest status array. */
static uint32_t page(void)
{
	return (uint32_t)sysconf(_SC_PAGESIZE);
}

/* The largest of all architectures. */
#define LARGEST_PAGE 65536

/* An address where nothing is mapped. */
static void *hole(void)
{
	size_t length = 16 * (size_t)page();
	void *place = mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(place, length);
	return place;
}

#define SIZE(name, size) expect(sizeof(name) == (size))
#define FIELD(name, field, offset) expect(offsetof(name, field) == (offset))

static void layouts(void)
{
	SIZE(struct knem_cmd_param_iovec, 16);
	SIZE(struct knem_cmd_info, 16);
	SIZE(struct knem_cmd_bind_offload, 16);
	SIZE(struct knem_cmd_create_region, 32);
	SIZE(struct knem_cmd_copy, 48);
	SIZE(struct knem_cmd_copy_bounded, 56);
	SIZE(struct knem_cmd_inline_copy, 48);
	SIZE(struct knem_cmd_inline_copy_bounded, 56);
	SIZE(struct knem_cmd_init_send_param, 24);
	SIZE(struct knem_cmd_init_async_recv_param, 32);
	SIZE(struct knem_cmd_sync_recv_param, 32);
	SIZE(knem_cookie_t, 8);
	SIZE(knem_status_t, 1);
	FIELD(struct knem_cmd_info, features, 4);
	FIELD(struct knem_cmd_info, ignored_flags, 8);
	FIELD(struct knem_cmd_info, forced_flags, 12);
	FIELD(struct knem_cmd_bind_offload, mask_len, 4);
	FIELD(struct knem_cmd_bind_offload, mask_ptr, 8);
	FIELD(struct knem_cmd_create_region, iovec_nr, 8);
	FIELD(struct knem_cmd_create_region, flags, 12);
	FIELD(struct knem_cmd_create_region, protection, 16);
	FIELD(struct knem_cmd_create_region, pad1, 20);
	FIELD(struct knem_cmd_create_region, cookie, 24);
	FIELD(struct knem_cmd_copy, dst_cookie, 16);
	FIELD(struct knem_cmd_copy, flags, 32);
	FIELD(struct knem_cmd_copy, current_status, 36);
	FIELD(struct knem_cmd_copy, async_status_index, 40);
	FIELD(struct knem_cmd_copy_bounded, length, 32);
	FIELD(struct knem_cmd_copy_bounded, flags, 40);
	FIELD(struct knem_cmd_copy_bounded, current_status, 44);
	FIELD(struct knem_cmd_inline_copy, local_iovec_nr, 8);
	FIELD(struct knem_cmd_inline_copy, write, 12);
	FIELD(struct knem_cmd_inline_copy, remote_cookie, 16);
	FIELD(struct knem_cmd_inline_copy, remote_offset, 24);
	FIELD(struct knem_cmd_inline_copy, current_status, 36);
	FIELD(struct knem_cmd_inline_copy_bounded, length, 32);
	FIELD(struct knem_cmd_inline_copy_bounded, current_status, 44);
	FIELD(struct knem_cmd_init_send_param, send_cookie, 16);
	FIELD(struct knem_cmd_init_async_recv_param, status_index, 12);
	FIELD(struct knem_cmd_init_async_recv_param, send_cookie, 16);
	FIELD(struct knem_cmd_init_async_recv_param, flags, 24);
	FIELD(struct knem_cmd_sync_recv_param, status, 12);
	FIELD(struct knem_cmd_sync_recv_param, flags, 24);
}

static void numbers(void)
{
	expect(KNEM_ABI_VERSION == 0x0d);
	expect(KNEM_CMD_MAGIC == 'K');
	expect((uint32_t)KNEM_CMD_GET_INFO == 0x40104B10u);
	expect((uint32_t)KNEM_CMD_BIND_OFFLOAD == 0x80104B11u);
	expect((uint32_t)KNEM_CMD_INIT_SEND == 0xC0184B20u);
	expect((uint32_t)KNEM_CMD_CREATE_REGION == 0xC0204B21u);
	expect((uint32_t)KNEM_CMD_DESTROY_REGION == 0x80084B22u);
	expect((uint32_t)KNEM_CMD_INIT_ASYNC_RECV == 0x80204B30u);
	expect((uint32_t)KNEM_CMD_SYNC_RECV == 0x80204B31u);
	expect((uint32_t)KNEM_CMD_COPY == 0x80304B32u);
	expect((uint32_t)KNEM_CMD_INLINE_COPY == 0x80304B33u);
	expect((uint32_t)KNEM_CMD_COPY_BOUNDED == 0x80384B34u);
	expect((uint32_t)KNEM_CMD_INLINE_COPY_BOUNDED == 0x80384B35u);
	expect(KNEM_FLAG_NOTIFY_FD == 0x40 && KNEM_FLAG_ANY_USER_ACCESS == 0x80);
	expect(KNEM_FLAG_ANY_COPY_MASK == 0x5f && KNEM_FLAG_ANY_CREATE_MASK == 0xa0);
	expect(KNEM_FLAG_ANY_ASYNC_MASK == 0x0e && KNEM_FLAG_ANY_THREAD_MASK == 0x0c && KNEM_FLAG_ANY_DMA_MASK == 0x07);
	expect(KNEM_STATUS_PENDING == 0 && KNEM_STATUS_SUCCESS == 1 && KNEM_STATUS_FAILED == 2);
	expect(KNEM_BIND_FLAG_CUSTOM == 1 && KNEM_BIND_FLAG_CURRENT == 2 && KNEM_BIND_FLAG_CURRENT_REVERSED == 4);
}

static void info(void)
{
	struct knem_cmd_info info = { GARBAGE, GARBAGE, GARBAGE, GARBAGE };
	int fd = open_device(O_RDWR);

	expect_ok(ioctl(fd, KNEM_CMD_GET_INFO, &info));
	expect(info.abi == KNEM_ABI_VERSION);
	expect((info.features & ~KNEM_FEATURE_DMA) == 0);
	expect((info.ignored_flags & info.forced_flags) == 0);
	expect_errno(ioctl(fd, KNEM_CMD_GET_INFO, hole()), EFAULT);
	close(fd);
}

static void opening_modes(void)
{
	struct knem_cmd_info info;
	char text[64];
	int fd = open_device(O_RDONLY);

	expect_errno(ioctl(fd, KNEM_CMD_GET_INFO, &info), EBADF);
	expect_errno(ioctl(fd, 0x12345678, NULL), EBADF);
	expect(read(fd, text, sizeof(text)) == sizeof(text));
	expect(strncmp(text, "knem ", 5) == 0);
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EBADF);
	close(fd);
	fd = open_device(O_WRONLY);
	expect_ok(ioctl(fd, KNEM_CMD_GET_INFO, &info));
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	close(fd);
	fd = open_device(O_RDWR);
	expect_errno(ioctl(fd, 0x12345678, NULL), ENOSYS);
	expect_errno(ioctl(fd, KNEM_CMD_GET_INFO ^ 0x100, &info), ENOSYS);
	close(fd);
}

static void regions(void)
{
	char memory[100], copy[120];
	uint32_t status;
	int fd = open_device(O_RDWR), other = open_device(O_RDWR);

	memset(memory, 'm', sizeof(memory));
	memset(copy, '.', sizeof(copy));
	knem_cookie_t cookie = region(fd, memory, sizeof(memory), PROT_READ | PROT_WRITE, 0);

	expect_ok(read_region(other, cookie, copy, sizeof(copy), 0, &status));
	expect(status == KNEM_STATUS_SUCCESS);
	expect(memcmp(copy, memory, 100) == 0 && copy[100] == '.');
	knem_cookie_t foreign = cookie;
	expect_errno(ioctl(other, KNEM_CMD_DESTROY_REGION, &foreign), EINVAL);
	expect_ok(ioctl(fd, KNEM_CMD_DESTROY_REGION, &cookie));
	expect_errno(ioctl(fd, KNEM_CMD_DESTROY_REGION, &cookie), EINVAL);
	expect_errno(read_region(other, cookie, copy, sizeof(copy), 0, &status), EINVAL);
	cookie = 0;
	expect_errno(ioctl(fd, KNEM_CMD_DESTROY_REGION, &cookie), EINVAL);
	expect_errno(read_region(fd, 0, copy, 1, 0, &status), EINVAL);
	close(fd);
	close(other);
}

static void empty_pieces(void)
{
	char memory[8] = "abcdefgh", copy[8] = "........";
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie;
	struct knem_cmd_param_iovec list[] = {
		{ .base = UINT64_MAX, .len = 0 }, segment(memory, 4), { .base = 0, .len = 0 }, segment(memory + 4, 4),
	};

	expect_ok(create(fd, list, LENGTH(list), PROT_READ, 0, &cookie));
	expect_ok(read_region(fd, cookie, copy, 8, 0, &status));
	expect(memcmp(memory, copy, 8) == 0);
	expect_ok(create(fd, NULL, 0, 0, 0, &cookie));
	expect_errno(read_region(fd, cookie, copy, 8, 0, &status), EACCES);
	expect_ok(create(fd, hole(), 0, PROT_READ, 0, &cookie));
	expect_ok(read_region(fd, cookie, copy, 8, 0, &status));
	expect(status == KNEM_STATUS_SUCCESS);
	close(fd);
}

static void protection(void)
{
	char memory[8] = "abcdefgh", local[8] = "........";
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t reads = region(fd, memory, 8, PROT_READ, 0), writes = region(fd, memory, 8, PROT_WRITE, 0);
	struct way write = { .write = 77, .index = GARBAGE };

	expect_errno(read_region(fd, writes, local, 8, 0, &status), EACCES);
	expect_errno(inline_copy(fd, reads, local, 8, write, &status), EACCES);
	expect_ok(inline_copy(fd, writes, local, 8, write, &status));
	expect(memcmp(memory, "........", 8) == 0);
	close(fd);
}

static void single_use(void)
{
	char memory[8] = "abcdefgh", local[8];
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, 8, PROT_READ, KNEM_FLAG_SINGLEUSE);

	for (int bit = 0; bit < 64; bit++)
		expect_errno(read_region(fd, cookie ^ (UINT64_C(1) << bit), local, 8, 0, &status), EINVAL);
	expect_ok(read_region(fd, cookie, local, 8, 0, &status));
	expect_errno(read_region(fd, cookie, local, 8, 0, &status), EINVAL);
	close(fd);
}

static void copies_between_regions(void)
{
	char source[10] = "0123456789", target[10];
	int fd = open_device(O_RDWR);

	memset(target, '.', sizeof(target));
	struct knem_cmd_copy copy = {
		.src_cookie = region(fd, source, 10, PROT_READ, 0),
		.src_offset = 3,
		.dst_cookie = region(fd, target, 10, PROT_WRITE, 0),
		.dst_offset = 1,
		.current_status = GARBAGE,
		.async_status_index = GARBAGE,
		.pad = GARBAGE,
	};
	expect_ok(ioctl(fd, KNEM_CMD_COPY, &copy));
	expect(copy.current_status == KNEM_STATUS_SUCCESS && copy.pad == GARBAGE && copy.src_offset == 3);
	expect(memcmp(target, ".3456789..", 10) == 0);
	memset(target, '.', sizeof(target));
	struct knem_cmd_copy_bounded bounded = {
		.src_cookie = copy.src_cookie,
		.src_offset = 1,
		.dst_cookie = copy.dst_cookie,
		.dst_offset = 7,
		.length = 2,
		.pad = GARBAGE,
	};
	expect_ok(ioctl(fd, KNEM_CMD_COPY_BOUNDED, &bounded));
	expect(bounded.current_status == KNEM_STATUS_SUCCESS && bounded.pad == GARBAGE);
	expect(memcmp(target, ".......12.", 10) == 0);
	bounded.length = UINT64_MAX;
	bounded.src_offset = UINT64_MAX;
	expect_ok(ioctl(fd, KNEM_CMD_COPY_BOUNDED, &bounded));
	expect(bounded.current_status == KNEM_STATUS_SUCCESS);
	expect(memcmp(target, ".......12.", 10) == 0);
	close(fd);
}

static void bounded_inline_copies(void)
{
	char memory[10] = "0123456789", local[10];
	int fd = open_device(O_RDWR);
	struct knem_cmd_param_iovec list[2] = { segment(local + 1, 2), segment(local + 5, 5) };
	struct knem_cmd_inline_copy_bounded command = {
		.local_iovec_array = address(list),
		.local_iovec_nr = 2,
		.remote_cookie = region(fd, memory, 10, PROT_READ | PROT_WRITE, 0),
		.remote_offset = 2,
		.length = 4,
		.async_status_index = GARBAGE,
		.pad = GARBAGE,
	};

	memset(local, '.', sizeof(local));
	expect_ok(ioctl(fd, KNEM_CMD_INLINE_COPY_BOUNDED, &command));
	expect(command.current_status == KNEM_STATUS_SUCCESS && command.pad == GARBAGE);
	expect(memcmp(local, ".23..45...", 10) == 0);
	command.length = 0;
	expect_ok(ioctl(fd, KNEM_CMD_INLINE_COPY_BOUNDED, &command));
	command.write = 1;
	command.length = 3;
	memset(local, 'w', sizeof(local));
	expect_ok(ioctl(fd, KNEM_CMD_INLINE_COPY_BOUNDED, &command));
	expect(memcmp(memory, "01www56789", 10) == 0);
	close(fd);
}

static void bad_addresses(void)
{
	char memory[8];
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie, good = region(fd, memory, 8, PROT_READ | PROT_WRITE, 0);
	struct knem_cmd_param_iovec nowhere = segment(hole(), 8), wrapped = { .base = address(memory), .len = UINT64_MAX },
				    beyond = { .base = UINT64_C(0xffff888000000000), .len = 8 },
				    four_gib = { .base = UINT64_C(0x100000000) + address(memory), .len = 8 };

	expect_errno(create(fd, &nowhere, 1, PROT_READ, 0, &cookie), EFAULT);
	expect_errno(create(fd, &wrapped, 1, PROT_READ, 0, &cookie), EFAULT);
	expect_errno(create(fd, &beyond, 1, PROT_READ, 0, &cookie), EFAULT);
	if (sizeof(void *) == 4)
		/* All 64 bits count: the lower half alone would be the program's memory. */
		expect_errno(create(fd, &four_gib, 1, PROT_READ, 0, &cookie), EFAULT);
	expect_errno(create(fd, hole(), 1, PROT_READ, 0, &cookie), EFAULT);
	expect_errno(create(fd, &nowhere, UINT32_MAX, PROT_READ, 0, &cookie), ENOMEM);
	expect_ok(read_region(fd, good, hole(), 8, 0, &status));
	expect(status == KNEM_STATUS_FAILED);
	expect_errno(read_region(fd, good, hole(), 8, KNEM_FLAG_PINLOCAL, &status), EFAULT);
	expect_errno(ioctl(fd, KNEM_CMD_INLINE_COPY, hole()), EFAULT);
	expect_errno(ioctl(fd, KNEM_CMD_COPY, hole()), EFAULT);
	close(fd);
}

static void flags(void)
{
	char memory[8] = "abcdefgh", local[8] = "........";
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, 8, PROT_READ, ~KNEM_FLAG_ANY_CREATE_MASK);

	expect_ok(read_region(fd, cookie, local, 8, 0xffffffa0u, &status));
	expect(status == KNEM_STATUS_SUCCESS && memcmp(memory, local, 8) == 0);
	expect_errno(read_region(fd, cookie, local, 8, KNEM_FLAG_NOTIFY_FD, &status), EINVAL);
	expect_errno(read_region(fd, cookie, local, 8, 0x4e, &status), EINVAL);
	expect_errno(read_region(fd, cookie, local, 8, KNEM_FLAG_MEMCPYTHREAD, &status), EINVAL);
	expect_errno(read_region(fd, cookie, local, 8, KNEM_FLAG_ASYNCDMACOMPLETE, &status), EINVAL);
	close(fd);
}

static void status_array(void)
{
	static char memory[100000], local[100000];
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, sizeof(memory), PROT_READ, 0);
	volatile uint8_t *slots = map_slots(fd, 1);
	struct way way = { .flags = KNEM_FLAG_MEMCPYTHREAD, .index = page() - 1 };

	memset(memory, 'm', sizeof(memory));
	if (!slots)
		return;
	expect_ok(inline_copy(fd, cookie, local, sizeof(local), way, &status));
	expect(status == KNEM_STATUS_PENDING);
	expect(wait_slot(slots + page() - 1) == KNEM_STATUS_SUCCESS);
	expect(memcmp(memory, local, sizeof(local)) == 0);
	way.index = page();
	expect_errno(inline_copy(fd, cookie, local, 8, way, &status), EINVAL);
	/* Without an engine: at once, and in both places. */
	struct knem_cmd_info facts;
	expect_ok(ioctl(fd, KNEM_CMD_GET_INFO, &facts));
	way = (struct way){ .flags = KNEM_FLAG_ASYNCDMACOMPLETE, .index = 7 };
	expect_ok(inline_copy(fd, cookie, local, 8, way, &status));
	expect(status == KNEM_STATUS_SUCCESS && slots[7] == KNEM_STATUS_SUCCESS);
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EBUSY);
	munmap((void *)slots, page());
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EBUSY);
	close(fd);
}

static void mapping_rules(void)
{
	int fd = open_device(O_RDWR);

	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, page()) == MAP_FAILED && errno == EINVAL);
	/* Beyond 32 bits: the whole offset counts. */
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, (off_t)1 << 32) == MAP_FAILED && errno == EINVAL);
	expect(mmap(NULL, page(), PROT_READ, MAP_SHARED, fd, (off_t)1 << 40) == MAP_FAILED && errno == EINVAL);
#if UINTPTR_MAX > UINT32_MAX
	expect(mmap(NULL, ((size_t)1 << 32) + 1, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL);
#endif
	expect(map_slots(fd, 45) != NULL);
	close(fd);
}

static void events(void)
{
	char memory[8] = "abcdefgh", local[8];
	uint32_t status, event[3];
	int fd = open_device(O_RDWR);
	struct pollfd poller = { .fd = fd, .events = POLLIN | POLLOUT };
	knem_cookie_t cookie = region(fd, memory, 8, PROT_READ, 0);

	expect(poll(&poller, 1, 0) == 1 && poller.revents == POLLERR);
	expect(read(fd, event, 4) == -1 && errno == EINVAL);
	if (!map_slots(fd, page()))
		return;
	expect(poll(&poller, 1, 0) == 0);
	for (uint32_t index = 0; index < 3; index++) {
		struct way way = { .flags = KNEM_FLAG_MEMCPYTHREAD | KNEM_FLAG_NOTIFY_FD, .index = 100 - index };

		expect_ok(inline_copy(fd, cookie, local, index == 1 ? 0 : 8, way, &status));
		expect(status == KNEM_STATUS_PENDING);
		expect(read(fd, event, 4) == 4 && event[0] == 100 - index);
	}
	expect(read(fd, event, 3) == -1 && errno == EINVAL);
	expect(read(fd, event, 0) == 0);
	expect(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == 0);
	expect(read(fd, event, 4) == -1 && errno == EAGAIN);
	for (uint32_t index = 0; index < 2; index++) {
		struct way way = { .flags = KNEM_FLAG_MEMCPYTHREAD | KNEM_FLAG_NOTIFY_FD, .index = index };

		expect_ok(inline_copy(fd, cookie, local, 8, way, &status));
		expect(poll(&poller, 1, -1) == 1 && poller.revents == POLLIN);
		expect(read(fd, event, sizeof(event)) == 4 && event[0] == index);
	}
	close(fd);
}

static void capacity(void)
{
	char memory[8] = "abcdefgh", local[8];
	static uint32_t list[LARGEST_PAGE];
	uint32_t status;
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, 8, PROT_READ, 0);
	struct way way = { .flags = KNEM_FLAG_MEMCPYTHREAD | KNEM_FLAG_NOTIFY_FD };

	if (!map_slots(fd, 1))
		return;
	for (way.index = 0; way.index < page(); way.index++)
		expect_ok(inline_copy(fd, cookie, local, 8, way, &status));
	way.index = 0;
	expect_errno(inline_copy(fd, cookie, local, 8, way, &status), EBUSY);
	expect(read(fd, list, page() * sizeof(list[0])) == (ssize_t)(page() * sizeof(list[0])));
	for (uint32_t n = 0; n < page(); n++)
		expect(list[n] == n);
	expect_ok(inline_copy(fd, cookie, local, 8, way, &status));
	/* Both sides of the copy are on the stack: it has to end before they do. */
	expect(read(fd, list, sizeof(list[0])) == sizeof(list[0]) && list[0] == 0);
	close(fd);
}

static void bind_offload(void)
{
	cpu_set_t set;
	int fd = open_device(O_RDWR);
	struct knem_cmd_bind_offload command = {
		.flags = KNEM_BIND_FLAG_CUSTOM, .mask_len = sizeof(set), .mask_ptr = address(&set),
	};

	expect_ok(sched_getaffinity(0, sizeof(set), &set));
	expect_ok(ioctl(fd, KNEM_CMD_BIND_OFFLOAD, &command));
	command.mask_ptr = address(hole());
	expect_errno(ioctl(fd, KNEM_CMD_BIND_OFFLOAD, &command), EFAULT);
	for (uint32_t bits = 0; bits < 16; bits++) {
		bool one = bits == KNEM_BIND_FLAG_CURRENT || bits == KNEM_BIND_FLAG_CURRENT_REVERSED;

		command.flags = bits;
		expect_errno(ioctl(fd, KNEM_CMD_BIND_OFFLOAD, &command),
			     one ? 0 : bits == KNEM_BIND_FLAG_CUSTOM ? EFAULT : EINVAL);
	}
	expect(map_slots(fd, 1) != NULL);
	command.flags = KNEM_BIND_FLAG_CURRENT;
	expect_errno(ioctl(fd, KNEM_CMD_BIND_OFFLOAD, &command), EBUSY);
	close(fd);
}

#ifdef __aarch64__
/* The top byte of an address may be a tag, if the process says so: HWASan, MTE. */
static void tagged_addresses(void)
{
	static char memory[100000], local[100000];
	const uint64_t tag = (uint64_t)0xab << 56;
	uint32_t status;
	int fd = open_device(O_RDWR);
	const void *tagged = (void *)(tag | address(memory)), *tagged_local = (void *)(tag | address(local));
	struct knem_cmd_param_iovec list = segment(tagged, sizeof(memory));
	struct way way = { .flags = KNEM_FLAG_PINLOCAL };
	knem_cookie_t cookie;

	expect_errno(create(fd, &list, 1, PROT_READ, 0, &cookie), EFAULT);
	if (prctl(PR_SET_TAGGED_ADDR_CTRL, PR_TAGGED_ADDR_ENABLE, 0, 0, 0)) {
		skip("this kernel takes no tagged addresses");
		return;
	}
	memset(memory, 't', sizeof(memory));
	cookie = region(fd, tagged, sizeof(memory), PROT_READ, 0);
	expect_ok(inline_copy(fd, cookie, tagged_local, sizeof(local), (struct way){ 0 }, &status));
	expect(memcmp(memory, local, sizeof(local)) == 0);
	memset(local, 0, sizeof(local));
	expect_ok(inline_copy(fd, cookie, tagged_local, sizeof(local), way, &status));
	expect(memcmp(memory, local, sizeof(local)) == 0);
	expect_ok(prctl(PR_SET_TAGGED_ADDR_CTRL, 0, 0, 0, 0));
	close(fd);
}
#endif

static void old_commands(void)
{
	char memory[8] = "abcdefgh", local[8] = "........";
	int fd = open_device(O_RDWR);
	struct knem_cmd_param_iovec from = segment(memory, 8), to = segment(local, 8);
	struct knem_cmd_init_send_param send = { .send_iovec_array = address(&from), .send_iovec_nr = 1 };

	expect_ok(ioctl(fd, KNEM_CMD_INIT_SEND, &send));
	struct knem_cmd_sync_recv_param receive = {
		.recv_iovec_array = address(&to),
		.recv_iovec_nr = 1,
		.status = GARBAGE,
		.send_cookie = send.send_cookie,
		.flags = KNEM_FLAG_MEMCPYTHREAD,
		.pad = GARBAGE,
	};
	expect_ok(ioctl(fd, KNEM_CMD_SYNC_RECV, &receive));
	expect(receive.status == KNEM_STATUS_SUCCESS && receive.pad == GARBAGE);
	expect(memcmp(memory, local, 8) == 0);
	expect_errno(ioctl(fd, KNEM_CMD_SYNC_RECV, &receive), EINVAL);
	expect_ok(ioctl(fd, KNEM_CMD_INIT_SEND, &send));
	struct knem_cmd_init_async_recv_param later = {
		.recv_iovec_array = address(&to),
		.recv_iovec_nr = 1,
		.status_index = 9,
		.send_cookie = send.send_cookie,
		.flags = KNEM_FLAG_MEMCPYTHREAD,
		.pad = GARBAGE,
	};
	memset(local, '.', sizeof(local));
	expect_errno(ioctl(fd, KNEM_CMD_INIT_ASYNC_RECV, &later), EINVAL);
	volatile uint8_t *slots = map_slots(fd, 1);
	if (!slots)
		return;
	expect_ok(ioctl(fd, KNEM_CMD_INIT_ASYNC_RECV, &later));
	expect(wait_slot(slots + 9) == KNEM_STATUS_SUCCESS);
	expect(memcmp(memory, local, 8) == 0);
	receive.flags = KNEM_FLAG_NOTIFY_FD;
	expect_errno(ioctl(fd, KNEM_CMD_SYNC_RECV, &receive), EINVAL);
	close(fd);
}

/* Offsets beyond 4 GiB are offsets beyond 4 GiB, also for 32-bit programs. */
static void large_offsets(void)
{
	char memory[64], local[64];
	uint32_t status;
	int fd = open_device(O_RDWR);
	struct way way = { .index = GARBAGE };

	memset(memory, 'm', sizeof(memory));
	memset(local, '.', sizeof(local));
	knem_cookie_t cookie = region(fd, memory, sizeof(memory), PROT_READ | PROT_WRITE, 0);
	const uint64_t far[] = { UINT64_C(1) << 32, (UINT64_C(1) << 32) + 1, UINT64_C(1) << 40, UINT64_MAX };

	for (unsigned int n = 0; n < LENGTH(far); n++) {
		way.offset = far[n];
		for (way.write = 0; way.write < 2; way.write++) {
			expect_ok(inline_copy(fd, cookie, local, sizeof(local), way, &status));
			expect(status == KNEM_STATUS_SUCCESS);
		}
	}
	expect(local[0] == '.' && local[63] == '.' && memory[0] == 'm' && memory[63] == 'm');
	close(fd);
}

/* The highest memory a program has: above 2 and nearly 4 GiB in one of 32 bits. */
static void high_addresses(void)
{
	char local[8] = "........";
	uint32_t status;
	int fd = open_device(O_RDWR);
	char on_the_stack[8] = "abcdefgh";

	expect(sizeof(void *) == 8 || address(on_the_stack) >= UINT64_C(0x80000000));
	knem_cookie_t cookie = region(fd, on_the_stack, 8, PROT_READ, 0);
	expect_ok(read_region(fd, cookie, local, 8, 0, &status));
	expect(memcmp(local, on_the_stack, 8) == 0);
	close(fd);
}

static void another_process(void)
{
	static char memory[200000], local[200000];
	int cookies[2], status = -1;
	uint32_t result;

	memset(memory, 'p', sizeof(memory));
	expect_ok(pipe(cookies));
	int fd = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, sizeof(memory), PROT_READ | PROT_WRITE, 0);
	pid_t child = fork();

	if (child == 0) {
		int own = open(device, O_RDWR);
		knem_cookie_t theirs = 0;
		struct way write = { .write = 1, .index = GARBAGE };

		if (own < 0 || read(cookies[0], &theirs, sizeof(theirs)) != sizeof(theirs))
			_exit(10);
		if (read_region(own, theirs, local, sizeof(local), 0, &result) || result != KNEM_STATUS_SUCCESS)
			_exit(11);
		for (size_t n = 0; n < sizeof(local); n++)
			if (local[n] != 'p')
				_exit(12);
		memset(local, 'c', sizeof(local));
		if (inline_copy(own, theirs, local, sizeof(local), write, &result) || result != KNEM_STATUS_SUCCESS)
			_exit(13);
		_exit(0);
	}
	expect(write(cookies[1], &cookie, sizeof(cookie)) == sizeof(cookie));
	expect(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	expect(memory[0] == 'c' && memory[sizeof(memory) - 1] == 'c');
	close(cookies[0]);
	close(cookies[1]);
	close(fd);
}

static void closing_ends_regions(void)
{
	char memory[8], local[8];
	uint32_t status;
	int fd = open_device(O_RDWR), other = open_device(O_RDWR);
	knem_cookie_t cookie = region(fd, memory, 8, PROT_READ, 0);
	volatile uint8_t *slots = map_slots(fd, 1);

	close(fd);
	/* The mapping keeps it. */
	expect_ok(read_region(other, cookie, local, 8, 0, &status));
	munmap((void *)slots, page());
	expect_errno(read_region(other, cookie, local, 8, 0, &status), EINVAL);
	close(other);
}

int main(int argc, char **argv)
{
	static const struct check checks[] = {
		{ "structures have their sizes and offsets (2)", layouts },
		{ "numbers are those that clients have compiled in (2, 3)", numbers },
		{ "GET_INFO (2.1)", info },
		{ "opening modes (1)", opening_modes },
		{ "regions are created, read and destroyed (2.3, 2.4)", regions },
		{ "empty pieces and lists (5.1)", empty_pieces },
		{ "protection decides the direction (4)", protection },
		{ "single use, and every bit of a cookie (4)", single_use },
		{ "COPY and COPY_BOUNDED (2.5)", copies_between_regions },
		{ "INLINE_COPY_BOUNDED (2.6)", bounded_inline_copies },
		{ "bad addresses (2.7, 6.1)", bad_addresses },
		{ "flags (3)", flags },
		{ "status array (7.2)", status_array },
		{ "mapping rules, with large offsets (7.1)", mapping_rules },
		{ "events (7.3)", events },
		{ "capacity for events (7.3)", capacity },
		{ "BIND_OFFLOAD (2.2)", bind_offload },
		{ "INIT_SEND, INIT_ASYNC_RECV, SYNC_RECV (2.8, 2.9, 2.10)", old_commands },
		{ "large offsets (5.3)", large_offsets },
		{ "high addresses (2)", high_addresses },
#ifdef __aarch64__
		{ "tagged addresses (5.1)", tagged_addresses },
#endif
		{ "another process reads and writes (4)", another_process },
		{ "closing ends regions, unless mapped (10)", closing_ends_regions },
	};

	if (argc == 3 && strcmp(argv[1], "--device") == 0) {
		device = argv[2];
	} else if (argc != 1) {
		fprintf(stderr, "usage: %s [--device PATH]\n", argv[0]);
		return 2;
	}
	if (access(device, F_OK)) {
		printf("Bail out! there is no %s: is the module loaded?\n", device);
		return 3;
	}
	return run_checks(checks, LENGTH(checks));
}
