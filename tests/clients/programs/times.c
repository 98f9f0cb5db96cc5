// SPDX-License-Identifier: CECILL-B
// Measures messages: prints "timed KIND BYTES MICROSECONDS" from rank 0, the median of the rounds, for two ranks or
// more. Each buffer is reused, as programs do.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST ((size_t)8 << 10)
#define LARGEST ((size_t)16 << 20)
// Bytes that a round moves each way, so that its time is far above the cost of reading the clock.
#define VOLUME ((size_t)16 << 20)
#define WINDOW 8

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

// Back and forth between ranks 0 and 1: half of the time is a message.
static void ping_pong(struct buffer *buffers, size_t size, int repeats)
{
    for (int i = 0; i < repeats; i++) {
        if (rank == 0)
            MPI_Send(buffers[0].data, (int)size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        MPI_Recv(buffers[1].data, (int)size, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (rank == 1)
            MPI_Send(buffers[0].data, (int)size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
}

// Many messages from rank 0 to rank 1 at the same time.
static void window(struct buffer *buffers, size_t size, int repeats)
{
    MPI_Request requests[WINDOW];
    MPI_Status statuses[WINDOW];

    for (int done = 0; done < repeats; done += WINDOW) {
        int now = repeats - done < WINDOW ? repeats - done : WINDOW;
        for (int i = 0; i < now; i++)
            if (rank == 0)
                MPI_Isend(buffers[0].data, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, &requests[i]);
            else
                MPI_Irecv(buffers[i + 1].data, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, &requests[i]);
        MPI_Waitall(now, requests, statuses);
    }
    if (rank == 0)
        MPI_Recv(NULL, 0, MPI_BYTE, 1, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    else
        MPI_Send(NULL, 0, MPI_BYTE, 0, 2, MPI_COMM_WORLD);
}

// Both ranks send at the same time, as in a halo exchange.
static void exchange(struct buffer *buffers, size_t size, int repeats)
{
    for (int i = 0; i < repeats; i++)
        MPI_Sendrecv(buffers[0].data, (int)size, MPI_BYTE, 1 - rank, 3, buffers[1].data, (int)size, MPI_BYTE, 1 - rank, 3,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void measure(const char *kind, void (*run)(struct buffer *, size_t, int), double messages, size_t size, int rounds)
{
    int repeats = (int)(VOLUME / size < 4 ? 4 : VOLUME / size > 256 ? 256 : VOLUME / size);
    double times[rounds];
    struct buffer buffers[WINDOW + 1];

    for (int i = 0; i <= WINDOW; i++)
        buffers[i] = new_buffer(size, 64);
    fill(buffers[0].data, size, size);
    for (int round = -1; round < rounds; round++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        if (rank < 2)
            run(buffers, size, round < 0 ? 2 : repeats);
        if (round >= 0)
            times[round] = (MPI_Wtime() - start) * 1e6 / repeats / messages;
    }
    if (rank == 1) {
        demand(buffers[1].data, size, size, kind);
        count(size);
    }
    qsort(times, (size_t)rounds, sizeof *times, compare);
    if (rank == 0)
        printf("timed %s %zu %.3f\n", kind, size, times[rounds / 2]);
    for (int i = 0; i <= WINDOW; i++)
        end_buffer(&buffers[i]);
}

void times(uint64_t seed, int rounds)
{
    (void)seed;
    for (size_t size = SMALLEST; size <= LARGEST; size *= 2) {
        measure("ping-pong", ping_pong, 2, size, rounds);
        measure("window", window, 1, size, rounds);
        measure("exchange", exchange, 1, size, rounds);
    }
}
