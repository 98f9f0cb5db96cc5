// SPDX-License-Identifier: CECILL-B
// Shared functions of the checks: memory with a pattern and guards, random numbers that are the same in all ranks, and
// a tally.
#ifndef CHECK_H
#define CHECK_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

// What this rank has received and compared.
struct tally {
    unsigned long long messages;
    unsigned long long bytes;
};
extern struct tally tally;

extern int rank, ranks;

// Prints why the data is wrong and ends the job with status 1.
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Returns the next number of a sequence; the same seed gives the same sequence in every rank.
uint64_t next_random(uint64_t *state);

// Returns a size from 0 to `most`; small and large ones are equally frequent.
size_t random_size(uint64_t *state, size_t most);

// Fills memory with the pattern of `key`, and fails unless memory has it.
void fill(void *memory, size_t bytes, uint64_t key);
void demand(const void *memory, size_t bytes, uint64_t key, const char *what);

// Returns the byte at `offset` of a pattern.
unsigned char pattern_byte(uint64_t key, size_t offset);

// Memory of `bytes` at a random offset in its page, with guards before and after.
struct buffer {
    unsigned char *data;
    size_t bytes;
    unsigned char *mapping;
    size_t mapped;
};
struct buffer new_buffer(size_t bytes, size_t offset);
// Fails if something was written outside of the buffer, and unmaps it.
void end_buffer(struct buffer *buffer);

// Counts a message that was compared.
void count(size_t bytes);

void point_to_point(uint64_t seed, int rounds);
void vectors(uint64_t seed, int rounds);
void exchange_all(uint64_t seed, int rounds);
void one_sided(uint64_t seed, int rounds);
void threads(uint64_t seed, int rounds);
void children(uint64_t seed, int rounds);
void large_message(uint64_t seed, int rounds);
void traffic(uint64_t seed, int rounds);
void heap(uint64_t seed, int rounds);
// Not a check: prints times.
void times(uint64_t seed, int rounds);
// Fails if a rank may read another's memory.
void no_cma(uint64_t seed, int rounds);
// Ends the job: a byte of what was received is changed before it is compared.
void spoiled(uint64_t seed, int rounds);

#endif
