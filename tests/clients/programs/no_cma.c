// SPDX-License-Identifier: CECILL-B
// Not a check of MPI: checks that the ranks may not read each other's memory, so that only the driver can make a single
// copy.
#define _GNU_SOURCE
#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

void no_cma(uint64_t seed, int rounds)
{
    struct {
        int pid;
        uint64_t address;
    } mine, all[ranks];
    unsigned char byte = 1, copy;

    (void)seed;
    (void)rounds;
    memset(&mine, 0, sizeof mine);
    mine.pid = (int)getpid();
    mine.address = (uint64_t)(uintptr_t)&byte;
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, all, sizeof mine, MPI_BYTE, MPI_COMM_WORLD);
    for (int other = 0; other < ranks; other++) {
        struct iovec local = { &copy, 1 }, remote = { (void *)(uintptr_t)all[other].address, 1 };

        if (other != rank && (process_vm_readv(all[other].pid, &local, 1, &remote, 1, 0) != -1 || errno != EPERM))
            fail("process_vm_readv of rank %d is not refused", other);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}
