/* Numbers without a pattern, the same in each run. */
#ifndef EHLO_TESTS_SEED_H
#define EHLO_TESTS_SEED_H

#include <stdint.h>

/* The n-th of them (SplitMix64). */
static inline uint64_t seed_of(uint64_t n)
{
    uint64_t x = (n + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

#endif
