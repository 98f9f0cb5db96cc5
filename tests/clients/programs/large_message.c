// SPDX-License-Identifier: CECILL-B
// One message of more than 2 GiB, whose size exceeds an int, from rank 0 to rank 1.
#include "check.h"

#define BLOCK ((size_t)65536)
#define BLOCKS 32896
#define BYTES (BLOCK * BLOCKS)

void large_message(uint64_t seed, int rounds)
{
    MPI_Datatype block;

    (void)rounds;
    MPI_Type_contiguous((int)BLOCK, MPI_BYTE, &block);
    MPI_Type_commit(&block);
    if (rank < 2) {
        struct buffer memory = new_buffer(BYTES, 100);
        if (rank == 0) {
            fill(memory.data, BYTES, seed);
            MPI_Send(memory.data, BLOCKS, block, 1, 0, MPI_COMM_WORLD);
        } else {
            MPI_Recv(memory.data, BLOCKS, block, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            demand(memory.data, BYTES, seed, "large message");
            count(BYTES);
        }
        end_buffer(&memory);
    }
    MPI_Type_free(&block);
}
