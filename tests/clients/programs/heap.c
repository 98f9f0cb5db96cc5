// SPDX-License-Identifier: CECILL-B
// Buffers from the heap, which shrinks and grows again between messages: memory that a library has registered there is
// other memory then. A library that does not notice sends the old contents.
#include "check.h"

#include <malloc.h>
#include <stdlib.h>

#define MOST ((size_t)1 << 20)

void heap(uint64_t seed, int rounds)
{
    int to = (rank + 1) % ranks, from = (rank + ranks - 1) % ranks;

    // All allocations are from the heap, and free memory at its end is released at once.
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 0);
    for (int round = 0; round < rounds; round++) {
        size_t size = 16384 + random_size(&seed, MOST);
        // At another address in the heap than before.
        void *below = malloc(next_random(&seed) % MOST);
        unsigned char *out = malloc(size), *in = malloc(size);
        uint64_t key = next_random(&seed);

        if (!below || !out || !in)
            fail("no memory for %zu bytes", size);
        fill(out, size, key + (uint64_t)rank);
        fill(in, size, ~key);
        MPI_Sendrecv(out, (int)size, MPI_BYTE, to, 0, in, (int)size, MPI_BYTE, from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        demand(in, size, key + (uint64_t)from, "heap");
        count(size);
        free(in);
        free(out);
        free(below);
    }
}
