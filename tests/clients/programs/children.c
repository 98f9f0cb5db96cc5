// SPDX-License-Identifier: CECILL-B
// Each rank starts a program while a message is in flight: the child shares the parent's memory until it calls exec,
// and has the device open.
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

#define BYTES ((size_t)1 << 20)

void children(uint64_t seed, int rounds)
{
    int to = (rank + 1) % ranks, from = (rank - 1 + ranks) % ranks;

    for (int round = 0; round < rounds; round++) {
        uint64_t key = next_random(&seed);
        struct buffer send = new_buffer(BYTES, next_random(&seed) % 4096), receive = new_buffer(BYTES, next_random(&seed) % 4096);
        MPI_Request requests[2];
        MPI_Status statuses[2];
        int status;

        fill(send.data, BYTES, key + (uint64_t)rank);
        MPI_Irecv(receive.data, (int)BYTES, MPI_BYTE, from, round, MPI_COMM_WORLD, &requests[0]);
        MPI_Isend(send.data, (int)BYTES, MPI_BYTE, to, round, MPI_COMM_WORLD, &requests[1]);
        pid_t child = fork();
        if (child < 0)
            fail("no child");
        if (child == 0) {
            // The child's writes are not visible to the parent.
            fill(send.data, BYTES, ~key);
            execl("/bin/true", "true", (char *)NULL);
            _exit(127);
        }
        MPI_Waitall(2, requests, statuses);
        if (waitpid(child, &status, 0) != child || status != 0)
            fail("a child ended with status %d", status);
        demand(receive.data, BYTES, key + (uint64_t)from, "children");
        demand(send.data, BYTES, key + (uint64_t)rank, "what was sent beside a child");
        count(BYTES);
        end_buffer(&send);
        end_buffer(&receive);
    }
}
