// SPDX-License-Identifier: CECILL-B
// Messages of random sizes, at random offsets, each rank to another, from memory that is new in every round.
#include "check.h"

#define MOST ((size_t)3 << 20)

void point_to_point(uint64_t seed, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        int step = 1 + (int)(next_random(&seed) % (uint64_t)(ranks - 1));
        int to = (rank + step) % ranks, from = (rank - step + ranks) % ranks;
        size_t bytes = random_size(&seed, MOST);
        size_t send_offset = next_random(&seed) % 4096, receive_offset = next_random(&seed) % 4096;
        uint64_t key = next_random(&seed);
        int way = (int)(next_random(&seed) % 3);
        struct buffer send = new_buffer(bytes, send_offset), receive = new_buffer(bytes, receive_offset);
        MPI_Request requests[2];
        MPI_Status status;
        int got;

        fill(send.data, bytes, key + (uint64_t)rank);
        switch (way) {
        case 0:
            MPI_Sendrecv(send.data, (int)bytes, MPI_BYTE, to, round, receive.data, (int)bytes, MPI_BYTE, from, round,
                         MPI_COMM_WORLD, &status);
            break;
        case 1:
            MPI_Irecv(receive.data, (int)bytes, MPI_BYTE, from, round, MPI_COMM_WORLD, &requests[0]);
            MPI_Issend(send.data, (int)bytes, MPI_BYTE, to, round, MPI_COMM_WORLD, &requests[1]);
            MPI_Wait(&requests[1], MPI_STATUS_IGNORE);
            MPI_Wait(&requests[0], &status);
            break;
        default:
            // The message arrives before a receive is posted.
            MPI_Isend(send.data, (int)bytes, MPI_BYTE, to, round, MPI_COMM_WORLD, &requests[0]);
            MPI_Barrier(MPI_COMM_WORLD);
            MPI_Recv(receive.data, (int)bytes, MPI_BYTE, MPI_ANY_SOURCE, round, MPI_COMM_WORLD, &status);
            MPI_Wait(&requests[0], MPI_STATUS_IGNORE);
        }
        MPI_Get_count(&status, MPI_BYTE, &got);
        if ((size_t)got != bytes || status.MPI_SOURCE != from)
            fail("point to point: %d bytes from %d, and not %zu from %d", got, status.MPI_SOURCE, bytes, from);
        demand(receive.data, bytes, key + (uint64_t)from, "point to point");
        demand(send.data, bytes, key + (uint64_t)rank, "what was sent");
        count(bytes);
        end_buffer(&send);
        end_buffer(&receive);
    }
}
