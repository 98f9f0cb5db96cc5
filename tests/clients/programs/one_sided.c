// SPDX-License-Identifier: CECILL-B
// Puts into and gets from the window of another rank, at random offsets, between fences or under a lock.
#include "check.h"

#include <string.h>

// Each rank's window has one part that the neighbour puts into, and one that it gets from.
#define PART ((size_t)1 << 20)

void one_sided(uint64_t seed, int rounds)
{
    int to = (rank + 1) % ranks, from = (rank - 1 + ranks) % ranks;
    struct buffer window_memory = new_buffer(2 * PART, 64);
    MPI_Win window;

    MPI_Win_create(window_memory.data, (MPI_Aint)(2 * PART), 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window);
    for (int round = 0; round < rounds; round++) {
        uint64_t key = next_random(&seed);
        size_t bytes = random_size(&seed, PART);
        size_t offset = next_random(&seed) % (PART - bytes + 1);
        int locked = next_random(&seed) % 2;
        struct buffer put = new_buffer(bytes, next_random(&seed) % 4096), got = new_buffer(bytes, next_random(&seed) % 4096);

        fill(put.data, bytes, key + (uint64_t)rank);
        memset(window_memory.data, 0x33, PART);
        fill(window_memory.data + PART + offset, bytes, ~key + (uint64_t)rank);
        MPI_Barrier(MPI_COMM_WORLD);
        if (locked) {
            MPI_Win_lock(MPI_LOCK_EXCLUSIVE, to, 0, window);
            MPI_Put(put.data, (int)bytes, MPI_BYTE, to, (MPI_Aint)offset, (int)bytes, MPI_BYTE, window);
            MPI_Win_unlock(to, window);
            MPI_Win_lock(MPI_LOCK_SHARED, to, 0, window);
            MPI_Get(got.data, (int)bytes, MPI_BYTE, to, (MPI_Aint)(PART + offset), (int)bytes, MPI_BYTE, window);
            MPI_Win_unlock(to, window);
        } else {
            MPI_Win_fence(MPI_MODE_NOPRECEDE, window);
            MPI_Put(put.data, (int)bytes, MPI_BYTE, to, (MPI_Aint)offset, (int)bytes, MPI_BYTE, window);
            MPI_Get(got.data, (int)bytes, MPI_BYTE, to, (MPI_Aint)(PART + offset), (int)bytes, MPI_BYTE, window);
            MPI_Win_fence(MPI_MODE_NOSUCCEED, window);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        demand(window_memory.data + offset, bytes, key + (uint64_t)from, "put");
        for (size_t i = 0; i < PART; i++)
            if ((i < offset || i >= offset + bytes) && window_memory.data[i] != 0x33)
                fail("put: written outside of the target at %zu", i);
        demand(got.data, bytes, ~key + (uint64_t)to, "get");
        count(bytes);
        count(bytes);
        end_buffer(&put);
        end_buffer(&got);
        // Nothing may be put before the memory has been compared.
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI_Win_free(&window);
    end_buffer(&window_memory);
}
