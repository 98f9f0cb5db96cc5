// SPDX-License-Identifier: CECILL-B
// Strided data on both sides, with blocks of different lengths; the gaps between the blocks must not change.
#include "check.h"

#include <string.h>

#define GAP_BYTE 0x5c

// Returns a type of `blocks` blocks of `length` bytes, each `stride` bytes after the previous one.
static MPI_Datatype strided(int blocks, int length, int stride)
{
    MPI_Datatype type;

    MPI_Type_vector(blocks, length, stride, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    return type;
}

void vectors(uint64_t seed, int rounds)
{
    static const int lengths[] = { 64, 192, 512, 4096, 8192, 65536 };
    const int kinds = sizeof lengths / sizeof *lengths;

    for (int round = 0; round < rounds; round++) {
        int to = (rank + 1) % ranks, from = (rank - 1 + ranks) % ranks;
        // The same number of bytes on both sides.
        int bytes = 3 * 65536 * (1 + (int)(next_random(&seed) % 4));
        int send_length = lengths[next_random(&seed) % kinds], receive_length = lengths[next_random(&seed) % kinds];
        int send_stride = send_length + (int)(next_random(&seed) % 100);
        int receive_stride = receive_length + (int)(next_random(&seed) % 100);
        int send_blocks = bytes / send_length, receive_blocks = bytes / receive_length;
        uint64_t key = next_random(&seed);
        struct buffer send = new_buffer((size_t)send_blocks * send_stride, next_random(&seed) % 4096);
        struct buffer receive = new_buffer((size_t)receive_blocks * receive_stride, next_random(&seed) % 4096);
        MPI_Datatype send_type = strided(send_blocks, send_length, send_stride);
        MPI_Datatype receive_type = strided(receive_blocks, receive_length, receive_stride);

        for (int i = 0; i < bytes; i++)
            send.data[i / send_length * send_stride + i % send_length] = pattern_byte(key + (uint64_t)rank, i);
        memset(receive.data, GAP_BYTE, receive.bytes);
        MPI_Sendrecv(send.data, 1, send_type, to, round, receive.data, 1, receive_type, from, round, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
        for (int i = 0; i < bytes; i++)
            if (receive.data[i / receive_length * receive_stride + i % receive_length] != pattern_byte(key + (uint64_t)from, i))
                fail("vectors: wrong data at byte %d of %d", i, bytes);
        for (int block = 0; block < receive_blocks; block++)
            for (int i = receive_length; i < receive_stride; i++)
                if (receive.data[block * receive_stride + i] != GAP_BYTE)
                    fail("vectors: written between blocks");
        count((size_t)bytes);
        MPI_Type_free(&send_type);
        MPI_Type_free(&receive_type);
        end_buffer(&send);
        end_buffer(&receive);
    }
}
