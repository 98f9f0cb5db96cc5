// SPDX-License-Identifier: CECILL-B
// The traffic of the usual benchmarks, with the data compared: windows of messages in one and in both directions as in
// OSU's bw and bibw, and the exchanges and collectives of IMB. Sizes are powers of two and their neighbours.
#include "check.h"

#include <stdlib.h>

#define WINDOW 16
#define MOST ((size_t)1 << 20)

static size_t size_of(int round, uint64_t *seed)
{
    size_t size = (size_t)1 << next_random(seed) % 21;

    // One less, the power of two, one more.
    size = size + (size_t)(round % 3) - 1;
    return size > MOST ? MOST : size;
}

// Ranks 2n and 2n+1 are a pair. With `both`, each sends; otherwise the even rank does. The last of an odd number has no
// partner.
static void windows(size_t size, uint64_t key, int both)
{
    int other = rank ^ 1;
    int sends = both || rank % 2 == 0, receives = both || rank % 2 == 1;
    struct buffer out[WINDOW], in[WINDOW];
    MPI_Request requests[2 * WINDOW];
    MPI_Status statuses[2 * WINDOW];
    int count_of = 0;

    if (other >= ranks)
        return;
    for (int i = 0; i < WINDOW; i++) {
        in[i] = new_buffer(size, (size_t)i * 8);
        out[i] = new_buffer(size, (size_t)i * 72);
        fill(out[i].data, size, key + (uint64_t)(rank * WINDOW + i));
    }
    for (int i = 0; receives && i < WINDOW; i++)
        MPI_Irecv(in[i].data, (int)size, MPI_BYTE, other, i, MPI_COMM_WORLD, &requests[count_of++]);
    for (int i = 0; sends && i < WINDOW; i++)
        MPI_Isend(out[i].data, (int)size, MPI_BYTE, other, i, MPI_COMM_WORLD, &requests[count_of++]);
    MPI_Waitall(count_of, requests, statuses);
    for (int i = 0; i < WINDOW; i++) {
        if (receives) {
            demand(in[i].data, size, key + (uint64_t)(other * WINDOW + i), "window");
            count(size);
        }
        end_buffer(&in[i]);
        end_buffer(&out[i]);
    }
}

// Sends to and receives from both neighbours in a ring at the same time.
static void exchange(size_t size, uint64_t key)
{
    int left = (rank + ranks - 1) % ranks, right = (rank + 1) % ranks;
    struct buffer out = new_buffer(size, 16), in[2] = { new_buffer(size, 24), new_buffer(size, 4000) };
    MPI_Request requests[4];
    MPI_Status statuses[4];

    fill(out.data, size, key + (uint64_t)rank);
    MPI_Irecv(in[0].data, (int)size, MPI_BYTE, left, 1, MPI_COMM_WORLD, &requests[0]);
    MPI_Irecv(in[1].data, (int)size, MPI_BYTE, right, 2, MPI_COMM_WORLD, &requests[1]);
    MPI_Isend(out.data, (int)size, MPI_BYTE, right, 1, MPI_COMM_WORLD, &requests[2]);
    MPI_Isend(out.data, (int)size, MPI_BYTE, left, 2, MPI_COMM_WORLD, &requests[3]);
    MPI_Waitall(4, requests, statuses);
    demand(in[0].data, size, key + (uint64_t)left, "exchange");
    demand(in[1].data, size, key + (uint64_t)right, "exchange");
    count(2 * size);
    end_buffer(&in[0]);
    end_buffer(&in[1]);
    end_buffer(&out);
}

static void broadcast(size_t size, uint64_t key, int root)
{
    struct buffer data = new_buffer(size, 40);

    if (rank == root)
        fill(data.data, size, key);
    MPI_Bcast(data.data, (int)size, MPI_BYTE, root, MPI_COMM_WORLD);
    demand(data.data, size, key, "broadcast");
    count(size);
    end_buffer(&data);
}

static void gather(size_t size, uint64_t key)
{
    struct buffer mine = new_buffer(size, 56), all = new_buffer(size * (size_t)ranks, 72);

    fill(mine.data, size, key + (uint64_t)rank);
    MPI_Allgather(mine.data, (int)size, MPI_BYTE, all.data, (int)size, MPI_BYTE, MPI_COMM_WORLD);
    for (int other = 0; other < ranks; other++)
        demand(all.data + size * (size_t)other, size, key + (uint64_t)other, "allgather");
    count(size * (size_t)ranks);
    end_buffer(&mine);
    end_buffer(&all);
}

// The exclusive or of patterns, which each rank can compute.
static void reduce(size_t size, uint64_t key)
{
    struct buffer mine = new_buffer(size, 88), all = new_buffer(size, 104);

    fill(mine.data, size, key + (uint64_t)rank);
    MPI_Allreduce(mine.data, all.data, (int)size, MPI_BYTE, MPI_BXOR, MPI_COMM_WORLD);
    for (size_t i = 0; i < size; i++) {
        unsigned char wanted = 0;
        for (int other = 0; other < ranks; other++)
            wanted ^= pattern_byte(key + (uint64_t)other, i);
        if (all.data[i] != wanted)
            fail("allreduce: wrong data at byte %zu of %zu", i, size);
    }
    count(size);
    end_buffer(&mine);
    end_buffer(&all);
}

void traffic(uint64_t seed, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        size_t size = size_of(round, &seed);
        uint64_t key = next_random(&seed);

        windows(size, key, 0);
        windows(size, key + 1000, 1);
        exchange(size, key + 2000);
        broadcast(size, key + 3000, round % ranks);
        gather(size, key + 4000);
        reduce(size, key + 5000);
    }
}
