// SPDX-License-Identifier: CECILL-B
// A check that must fail, to show that the others can fail.
#include "check.h"

#define BYTES ((size_t)1 << 20)

void spoiled(uint64_t seed, int rounds)
{
    (void)rounds;
    struct buffer memory = new_buffer(BYTES, 0);

    if (rank == 0) {
        fill(memory.data, BYTES, seed);
        MPI_Send(memory.data, (int)BYTES, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    } else if (rank == 1) {
        MPI_Recv(memory.data, (int)BYTES, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        memory.data[BYTES - 1] ^= 1;
        demand(memory.data, BYTES, seed, "spoiled");
    }
    end_buffer(&memory);
}
