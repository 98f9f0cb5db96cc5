// SPDX-License-Identifier: CECILL-B
// Uses /dev/knem as MPICH up to 3.3 did (ch3:nemesis with large messages over DMA), which no distribution has any more:
//
//     knem-nemesis ROUNDS
//
// The sender creates a single-use region of up to 16 segments for each message, and never destroys it. The receiver
// copies it synchronously or asynchronously, with an index of the mapped status array from a stack, and polls the
// array. It keeps polling an index after a synchronous copy: a status that the driver wrote there would complete
// another message.
#include <errno.h>
#include <fcntl.h>
#include <knem_io.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 4096
#define PIECES 16
#define IN_FLIGHT 24
#define MOST (512 << 10)

// The packet that announces a message.
struct announced {
    uint64_t cookie;
    uint32_t bytes;
    uint32_t seed;
};

// A receive that is not complete.
struct receive {
    unsigned char *memory;
    struct announced packet;
    int index;
};

static unsigned long long messages, bytes;

static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "knem-nemesis: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (%s)\n", strerror(errno));
    exit(1);
}

static unsigned char byte_of(uint32_t seed, uint32_t at)
{
    uint32_t z = (seed ^ (at >> 2)) * 2654435761u;

    return (unsigned char)(z >> (8 * (at & 3)));
}

// Cuts memory into pieces of random lengths, with holes between them, and returns how many there are.
static unsigned cut(unsigned char *memory, uint32_t length, struct knem_cmd_param_iovec *pieces, uint32_t *seed)
{
    unsigned count = 0;
    uint32_t at = 0;

    while (length > 0) {
        uint32_t part = count == PIECES - 1 ? length : 1 + rand_r(seed) % length;
        pieces[count].base = (uintptr_t)(memory + at);
        pieces[count].len = part;
        count++;
        at += part + rand_r(seed) % 3000;
        length -= part;
    }
    return count;
}

// The most bytes that segments with their gaps occupy.
#define ROOM (MOST + PIECES * 3000 + 4096)

static void put(const struct knem_cmd_param_iovec *pieces, unsigned count, uint32_t seed)
{
    for (uint32_t piece = 0, at = 0; piece < count; piece++)
        for (uint64_t i = 0; i < pieces[piece].len; i++)
            ((unsigned char *)(uintptr_t)pieces[piece].base)[i] = byte_of(seed, at++);
}

static int open_device(uint32_t *features)
{
    struct knem_cmd_info info;
    int device = open(KNEM_DEVICE_FILENAME, O_RDWR);

    if (device < 0 || ioctl(device, KNEM_CMD_GET_INFO, &info) != 0)
        fail("no device");
    if (info.abi != KNEM_ABI_VERSION)
        fail("ABI %x", info.abi);
    if (features)
        *features = info.features;
    return device;
}

static void send_all(int channel, int rounds)
{
    int device = open_device(NULL);
    unsigned char *memory[IN_FLIGHT];
    uint32_t seed = 1;

    for (int i = 0; i < IN_FLIGHT; i++)
        memory[i] = malloc(ROOM);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < IN_FLIGHT; i++) {
            struct announced packet = { .bytes = 1 + rand_r(&seed) % MOST, .seed = seed };
            struct knem_cmd_param_iovec pieces[PIECES];
            struct knem_cmd_create_region create;

            // As MPICH does, which does not initialise the padding.
            memset(&create, 0xcc, sizeof create);
            create.iovec_array = (uintptr_t)pieces;
            create.iovec_nr = cut(memory[i], packet.bytes, pieces, &seed);
            create.flags = KNEM_FLAG_SINGLEUSE;
            create.protection = PROT_READ;
            put(pieces, create.iovec_nr, packet.seed);
            if (ioctl(device, KNEM_CMD_CREATE_REGION, &create) != 0)
                fail("create");
            packet.cookie = create.cookie;
            if (write(channel, &packet, sizeof packet) != sizeof packet)
                fail("announce");
        }
        char done;
        if (read(channel, &done, 1) != 1)
            fail("the receiver is gone");
    }
}

static void complete(struct receive *receive)
{
    for (uint32_t i = 0; i < receive->packet.bytes; i++)
        if (receive->memory[i] != byte_of(receive->packet.seed, i))
            fail("wrong data at byte %u of %u", i, receive->packet.bytes);
    for (uint32_t i = receive->packet.bytes; i < MOST + 4096; i++)
        if (receive->memory[i] != 0x77)
            fail("written behind a message");
    messages++;
    bytes += receive->packet.bytes;
}

static void receive_all(int channel, int rounds)
{
    // Synchronous; as the BTL sm of Open MPI up to 2 requests without DMA; and with the thread, which is asynchronous
    // without DMA. MPICH requested DMA too, if the driver offers it.
    static const uint32_t flags[] = { 0, KNEM_FLAG_ASYNCDMACOMPLETE, KNEM_FLAG_ASYNCDMACOMPLETE | KNEM_FLAG_MEMCPYTHREAD };
    uint32_t features;
    int device = open_device(&features);
    volatile knem_status_t *status = mmap(NULL, SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, device, KNEM_STATUS_ARRAY_FILE_OFFSET);
    int stack[SLOTS], top = 0, pending_once = 0;
    struct receive receives[IN_FLIGHT];

    if (status == MAP_FAILED)
        fail("status array");
    for (int i = 0; i < SLOTS; i++) {
        if (status[i] != KNEM_STATUS_PENDING)
            fail("slot %d starts with %d", i, status[i]);
        stack[top++] = i;
    }
    for (int i = 0; i < IN_FLIGHT; i++)
        receives[i].memory = malloc(MOST + 4096);
    for (int round = 0; round < rounds; round++) {
        int waiting = 0;

        for (int i = 0; i < IN_FLIGHT; i++) {
            struct receive *receive = &receives[i];
            struct knem_cmd_inline_copy copy;
            // Longer than the region: the copy ends at the end of the shorter side.
            struct knem_cmd_param_iovec local = { (uintptr_t)receive->memory, MOST + 4096 };

            if (recv(channel, &receive->packet, sizeof receive->packet, MSG_WAITALL) != sizeof receive->packet)
                fail("the sender is gone");
            memset(receive->memory, 0x77, MOST + 4096);
            receive->index = stack[--top];
            memset(&copy, 0xcc, sizeof copy);
            copy.local_iovec_array = (uintptr_t)&local;
            copy.local_iovec_nr = 1;
            copy.write = 0;
            copy.remote_cookie = receive->packet.cookie;
            copy.remote_offset = 0;
            copy.flags = flags[(round + i) % 3];
            if (copy.flags != 0 && (features & KNEM_FEATURE_DMA))
                copy.flags |= KNEM_FLAG_DMA;
            copy.async_status_index = (uint32_t)receive->index;
            if (ioctl(device, KNEM_CMD_INLINE_COPY, &copy) != 0)
                fail("copy");
            if (copy.current_status == KNEM_STATUS_PENDING) {
                waiting++;
                pending_once = 1;
                continue;
            }
            if (copy.current_status != KNEM_STATUS_SUCCESS)
                fail("a copy failed at once: %u", copy.current_status);
            // An asynchronous request has its result in both places.
            if (status[receive->index] != (copy.flags == 0 ? KNEM_STATUS_PENDING : KNEM_STATUS_SUCCESS))
                fail("slot after a copy with flags %x that was complete at once: %d", copy.flags, status[receive->index]);
            status[receive->index] = KNEM_STATUS_PENDING;
            complete(receive);
            stack[top++] = receive->index;
            receive->index = -1;
        }
        for (int i = 0; waiting > 0; i = (i + 1) % IN_FLIGHT) {
            struct receive *receive = &receives[i];
            knem_status_t now = receive->index < 0 ? KNEM_STATUS_PENDING : status[receive->index];

            if (now == KNEM_STATUS_PENDING) {
                if (i == 0)
                    usleep(100);
                continue;
            }
            if (now != KNEM_STATUS_SUCCESS)
                fail("an asynchronous copy failed: %d", now);
            complete(receive);
            status[receive->index] = KNEM_STATUS_PENDING;
            stack[top++] = receive->index;
            receive->index = -1;
            waiting--;
        }
        if (write(channel, "", 1) != 1)
            fail("the sender is gone");
    }
    for (int i = 0; i < SLOTS; i++)
        if (status[i] != KNEM_STATUS_PENDING)
            fail("slot %d ends with %d", i, status[i]);
    if (!pending_once)
        fail("no copy was asynchronous");
}

int main(int argc, char **argv)
{
    int rounds = argc == 2 ? atoi(argv[1]) : 0;
    int channel[2], status;

    if (rounds < 1) {
        fprintf(stderr, "usage: knem-nemesis ROUNDS\n");
        return 2;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0)
        fail("no channel");
    pid_t sender = fork();
    if (sender == 0) {
        close(channel[1]);
        send_all(channel[0], rounds);
        return 0;
    }
    close(channel[0]);
    receive_all(channel[1], rounds);
    if (waitpid(sender, &status, 0) != sender || status != 0)
        fail("the sender ended with status %d", status);
    printf("verified %llu messages, %llu bytes\n", messages, bytes);
    return 0;
}
