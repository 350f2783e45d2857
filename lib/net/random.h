/* lib/net/random.h - numbers that nobody can guess. */
#ifndef EHLO_NET_RANDOM_H
#define EHLO_NET_RANDOM_H

#include <stddef.h>

/* Fills len octets, 256 at most, from the system's entropy. Negative with errno: there is none. */
int ehlo_random(void *octets, size_t len);

#endif
