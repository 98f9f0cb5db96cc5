// SPDX-License-Identifier: CECILL-B
// Four threads in each rank, each exchanging with the same thread of a neighbour.
#include "check.h"

#include <pthread.h>

#define THREADS 4
#define MOST ((size_t)1 << 20)

struct work {
    uint64_t seed;
    int rounds;
    int number;
    MPI_Comm communicator;
};

static void *exchange(void *argument)
{
    struct work work = *(struct work *)argument;
    int to = (rank + 1) % ranks, from = (rank - 1 + ranks) % ranks;

    for (int round = 0; round < work.rounds; round++) {
        size_t bytes = random_size(&work.seed, MOST);
        uint64_t key = next_random(&work.seed);
        struct buffer send = new_buffer(bytes, next_random(&work.seed) % 4096);
        struct buffer receive = new_buffer(bytes, next_random(&work.seed) % 4096);

        fill(send.data, bytes, key + (uint64_t)rank);
        MPI_Sendrecv(send.data, (int)bytes, MPI_BYTE, to, work.number, receive.data, (int)bytes, MPI_BYTE, from, work.number,
                     work.communicator, MPI_STATUS_IGNORE);
        demand(receive.data, bytes, key + (uint64_t)from, "threads");
        count(bytes);
        end_buffer(&send);
        end_buffer(&receive);
    }
    return NULL;
}

void threads(uint64_t seed, int rounds)
{
    pthread_t all[THREADS];
    struct work work[THREADS];

    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){ .seed = seed + (uint64_t)i, .rounds = rounds, .number = i };
        MPI_Comm_dup(MPI_COMM_WORLD, &work[i].communicator);
    }
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&all[i], NULL, exchange, &work[i]) != 0)
            fail("no thread");
    for (int i = 0; i < THREADS; i++) {
        pthread_join(all[i], NULL);
        MPI_Comm_free(&work[i].communicator);
    }
}
