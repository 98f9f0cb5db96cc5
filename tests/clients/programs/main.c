// SPDX-License-Identifier: CECILL-B
// Checks that the messages of an MPI library arrive as they were sent:
//
//     knem-mpi-check SEED ROUNDS CHECK...
//
// The last line of rank 0 is "verified MESSAGES messages, BYTES bytes", of all ranks. Wrong data ends the job with
// status 1.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    void (*run)(uint64_t seed, int rounds);
} checks[] = {
    { "point-to-point", point_to_point }, { "vectors", vectors },   { "alltoallv", exchange_all }, { "one-sided", one_sided },
    { "threads", threads },               { "children", children }, { "large", large_message },    { "spoiled", spoiled },
    { "traffic", traffic },               { "no-cma", no_cma },     { "times", times },
    { "heap", heap },
};

static void run(const char *name, uint64_t seed, int rounds)
{
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (strcmp(checks[i].name, name) == 0) {
            checks[i].run(seed, rounds);
            return;
        }
    fail("there is no check %s", name);
}

int main(int argc, char **argv)
{
    int provided;
    int wanted = MPI_THREAD_SINGLE;
    unsigned long long mine[2], all[2];

    for (int i = 3; i < argc; i++)
        if (strcmp(argv[i], "threads") == 0)
            wanted = MPI_THREAD_MULTIPLE;
    MPI_Init_thread(&argc, &argv, wanted, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc < 4 || ranks < 2)
        fail("usage: mpirun -np 2 knem-mpi-check SEED ROUNDS CHECK...");
    if (provided < wanted)
        fail("this MPI library has no threads");
    for (int i = 3; i < argc; i++) {
        run(argv[i], strtoull(argv[1], NULL, 10), atoi(argv[2]));
        MPI_Barrier(MPI_COMM_WORLD);
    }
    mine[0] = tally.messages;
    mine[1] = tally.bytes;
    MPI_Reduce(mine, all, 2, MPI_UNSIGNED_LONG_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("verified %llu messages, %llu bytes\n", all[0], all[1]);
    MPI_Finalize();
    return 0;
}
