#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "spool_io.h"

#include <errno.h>
#include <unistd.h>

int spool_write_at(int fd, const char *bytes, size_t len, uint64_t at)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        bytes += n;
        len -= (size_t)n;
        at += (size_t)n;
    }
    return 0;
}

int spool_read_at(int fd, char *to, size_t *len, uint64_t at)
{
    size_t got = 0;
    while (got < *len) {
        ssize_t n = pread(fd, to + got, *len - got, (off_t)(at + got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        if (n == 0) break;
        got += (size_t)n;
    }
    *len = got;
    return 0;
}
