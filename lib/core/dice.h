/* Choices that follow from a seed of the caller's. */
#ifndef EHLO_CORE_DICE_H
#define EHLO_CORE_DICE_H

#include <stdint.h>

/* The next of a sequence of evenly spread numbers (a Weyl sequence, mixed as SplitMix64 does it). */
static inline uint64_t ehlo_dice_next(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* 0 to n - 1, for an n far below 2^64: what remains of unevenness cannot be seen. */
static inline uint64_t ehlo_dice_below(uint64_t *seed, uint64_t n)
{
    return ehlo_dice_next(seed) % n;
}

#endif
