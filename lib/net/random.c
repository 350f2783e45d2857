/* lib/net/random.c - numbers that nobody can guess. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "random.h"

#include <fcntl.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/random.h>
#endif

static int read_device(void *octets, size_t len)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t got = read(fd, octets, len);
    close(fd);
    return got == (ssize_t)len ? 0 : -1;
}

/* The call needs no descriptor, but kernels and sandboxes are met that do not have it. */
int ehlo_random(void *octets, size_t len)
{
#ifdef __linux__
    if (getrandom(octets, len, 0) == (ssize_t)len) return 0;
#endif
    return read_device(octets, len);
}
