/* lib/net/clock.h - the clock of every loop. */
#ifndef EHLO_NET_CLOCK_H
#define EHLO_NET_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds; never goes back. */
static inline uint64_t ehlo_clock_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

#endif
