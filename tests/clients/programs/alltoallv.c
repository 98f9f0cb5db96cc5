// SPDX-License-Identifier: CECILL-B
// Each rank sends to each other, with random sizes, some of them 0.
#include "check.h"

#include <stdlib.h>

#define MOST ((size_t)1 << 20)

void exchange_all(uint64_t seed, int rounds)
{
    int *sizes = calloc((size_t)ranks * ranks, sizeof *sizes);
    int *plan = calloc(4 * (size_t)ranks, sizeof *plan);
    int *to_size = plan, *to_offset = plan + ranks, *from_size = plan + 2 * ranks, *from_offset = plan + 3 * ranks;

    for (int round = 0; round < rounds; round++) {
        uint64_t key = next_random(&seed);
        int sent = 0, received = 0;

        for (int i = 0; i < ranks * ranks; i++)
            sizes[i] = (int)random_size(&seed, MOST);
        for (int other = 0; other < ranks; other++) {
            to_size[other] = sizes[rank * ranks + other];
            to_offset[other] = sent;
            sent += to_size[other];
            from_size[other] = sizes[other * ranks + rank];
            from_offset[other] = received;
            received += from_size[other];
        }
        struct buffer send = new_buffer((size_t)sent, next_random(&seed) % 4096);
        struct buffer receive = new_buffer((size_t)received, next_random(&seed) % 4096);
        for (int other = 0; other < ranks; other++)
            fill(send.data + to_offset[other], (size_t)to_size[other], key + (uint64_t)(rank * ranks + other));
        MPI_Alltoallv(send.data, to_size, to_offset, MPI_BYTE, receive.data, from_size, from_offset, MPI_BYTE, MPI_COMM_WORLD);
        for (int other = 0; other < ranks; other++) {
            demand(receive.data + from_offset[other], (size_t)from_size[other], key + (uint64_t)(other * ranks + rank), "alltoallv");
            count((size_t)from_size[other]);
        }
        end_buffer(&send);
        end_buffer(&receive);
    }
    free(sizes);
    free(plan);
}
