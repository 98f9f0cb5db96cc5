// SPDX-License-Identifier: CECILL-B
#define _GNU_SOURCE
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GUARD 256
#define GUARD_BYTE 0xa5

struct tally tally;
int rank, ranks;

void fail(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "rank %d: ", rank);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

size_t random_size(uint64_t *state, size_t most)
{
    unsigned bits = 0;

    while ((most >> bits) != 0)
        bits++;
    size_t size = next_random(state) & (((uint64_t)1 << next_random(state) % (bits + 1)) - 1);
    return size > most ? most : size;
}

// Returns the word of a pattern with the bytes from 8 * `index` on.
static uint64_t pattern_word(uint64_t key, size_t index)
{
    return (key ^ index) * 0x9e3779b97f4a7c15 + (key >> 7);
}

unsigned char pattern_byte(uint64_t key, size_t offset)
{
    return (unsigned char)(pattern_word(key, offset / 8) >> (8 * (offset % 8)));
}

void fill(void *memory, size_t bytes, uint64_t key)
{
    unsigned char *at = memory;
    size_t words = bytes / 8;

    for (size_t i = 0; i < words; i++) {
        uint64_t word = pattern_word(key, i);
        memcpy(at + 8 * i, &word, 8);
    }
    for (size_t i = 8 * words; i < bytes; i++)
        at[i] = pattern_byte(key, i);
}

void demand(const void *memory, size_t bytes, uint64_t key, const char *what)
{
    const unsigned char *at = memory;
    size_t words = bytes / 8;

    for (size_t i = 0; i < words; i++) {
        uint64_t word;
        memcpy(&word, at + 8 * i, 8);
        if (word != pattern_word(key, i))
            fail("%s: wrong data at byte %zu of %zu", what, 8 * i, bytes);
    }
    for (size_t i = 8 * words; i < bytes; i++)
        if (at[i] != pattern_byte(key, i))
            fail("%s: wrong data at byte %zu of %zu", what, i, bytes);
}

struct buffer new_buffer(size_t bytes, size_t offset)
{
    struct buffer new = { .bytes = bytes };

    new.mapped = (GUARD + offset + bytes + GUARD + 4095) & ~(size_t)4095;
    new.mapping = mmap(NULL, new.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new.mapping == MAP_FAILED)
        fail("no memory for %zu bytes", new.mapped);
    new.data = new.mapping + GUARD + offset;
    memset(new.data - GUARD, GUARD_BYTE, GUARD);
    memset(new.data + bytes, GUARD_BYTE, GUARD);
    return new;
}

void end_buffer(struct buffer *old)
{
    for (size_t i = 0; i < GUARD; i++)
        if (old->data[-1 - (ptrdiff_t)i] != GUARD_BYTE || old->data[old->bytes + i] != GUARD_BYTE)
            fail("written outside of a buffer of %zu bytes", old->bytes);
    munmap(old->mapping, old->mapped);
}

void count(size_t bytes)
{
    __atomic_fetch_add(&tally.messages, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&tally.bytes, bytes, __ATOMIC_RELAXED);
}
