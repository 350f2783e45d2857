/* What tests over sockets ask of the system. */
#ifndef EHLO_TESTS_SYSTEM_H
#define EHLO_TESTS_SYSTEM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>

static inline uint64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* 0 where the system does not tell. */
static inline unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return 0;
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count;
}

#if defined(__linux__)
/* Of the kernel's struct tcp_info; libc's ends before it. */
enum { TCPI_DATA_SEGS_IN = 152 };

static inline uint32_t data_segments_in(int fd)
{
    uint32_t info[64] = { 0 };
    socklen_t len = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len), 0);
    assert_true(len > TCPI_DATA_SEGS_IN);
    return info[TCPI_DATA_SEGS_IN / sizeof info[0]];
}
#endif

#endif
