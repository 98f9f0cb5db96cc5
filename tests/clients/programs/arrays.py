# SPDX-License-Identifier: CECILL-B
"""Arrays of numpy between ranks with mpi4py: knem-mpi-arrays SEED ROUNDS CHECK."""
import sys

import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, ranks = world.Get_rank(), world.Get_size()
to, source = (rank + 1) % ranks, (rank - 1) % ranks
messages = volume = 0


def pattern(seed, size, kind):
    """The same array in every rank."""
    return numpy.random.default_rng(seed).integers(0, 256, size * numpy.dtype(kind).itemsize, dtype="u1").view(kind)


def demand(received, expected, what):
    """Compares the bytes: a float may be no number."""
    global messages, volume
    wrong = numpy.flatnonzero(received.view("u1") != expected.view("u1"))
    if wrong.size:
        where = f"wrong data at byte {wrong[0]}, in {wrong.size} of {received.nbytes} bytes up to {wrong[-1]}"
        value = received.view("u1")[wrong[0]]
        print(f"rank {rank}: {what} of {received.dtype}: {where}, where {value} is", file=sys.stderr, flush=True)
        world.Abort(1)
    messages += 1
    volume += received.nbytes


seed, rounds = int(sys.argv[1]), int(sys.argv[2])
sizes = numpy.random.default_rng(seed).integers(1, 300_000, rounds)
for number, size in enumerate(sizes):
    kind = ["u1", "<i4", "<f8", "<c16"][number % 4]
    keys = [seed + 1000 * number + other for other in range(ranks)]
    mine = pattern(keys[rank], int(size), kind)
    received = numpy.zeros_like(mine)
    world.Sendrecv([mine.view("u1"), MPI.BYTE], to, 0, [received.view("u1"), MPI.BYTE], source, 0)
    demand(received, pattern(keys[source], int(size), kind), "array")
    # Every second element: a strided type on the sending side, contiguous memory on the other.
    strided = MPI.BYTE.Create_contiguous(mine.itemsize).Commit()
    every_second = strided.Create_vector(mine.size // 2 or 1, 1, 2).Commit()
    half = numpy.zeros(mine.size // 2 or 1, kind)
    world.Sendrecv([mine, 1, every_second], to, 1, [half.view("u1"), MPI.BYTE], source, 1)
    demand(half, numpy.ascontiguousarray(pattern(keys[source], int(size), kind)[: 2 * half.size : 2]), "strided array")
    every_second.Free()
    strided.Free()
    # Pickled, and large enough to be sent through the driver.
    objects = world.sendrecv({"rank": rank, "array": mine}, to, 2, None, source, 2)
    demand(objects["array"], pattern(keys[source], int(size), kind), "object")

totals = world.reduce((messages, volume), op=lambda a, b: (a[0] + b[0], a[1] + b[1]))
if rank == 0:
    print(f"verified {totals[0]} messages, {totals[1]} bytes")
