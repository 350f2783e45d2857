/* What tests over sockets have in common: a loop's rounds, and sockets of the test's own. */
#ifndef EHLO_TESTS_SOCKETS_H
#define EHLO_TESTS_SOCKETS_H

#include <ehlo/net.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "system.h"

enum { PATIENCE_MS = 120000 };

/* Repeats the step until the condition holds; fails when patience is at its end. */
#define repeat_until(condition, step)                                                                                  \
    do {                                                                                                               \
        uint64_t end_ = now_ms() + PATIENCE_MS;                                                                        \
        while (!(condition)) {                                                                                         \
            assert_true(now_ms() < end_);                                                                              \
            step;                                                                                                      \
        }                                                                                                              \
    } while (0)

#define pump_until(loop, condition) repeat_until(condition, assert_true(ehlo_loop_step((loop), 5) >= 0))

/* Rounds until nothing is ready. */
static inline void pump_quiet(ehlo_loop *loop)
{
    for (int i = 0; i < 8; i++) assert_true(ehlo_loop_step(loop, 0) >= 0);
}

/* For a thread. */
static inline void *run_loop(void *loop)
{
    ehlo_loop_run(loop);
    return NULL;
}

/* -- addresses and sockets -------------------------------------------------------------------------- */

static inline ehlo_address loopback(uint16_t port)
{
    return (ehlo_address){ .family = EHLO_FAMILY_IPV4, .port = port, .octets = { 127, 0, 0, 1 } };
}

/* The length of the name. */
static inline socklen_t socket_name(const ehlo_address *address, struct sockaddr_storage *name)
{
    memset(name, 0, sizeof *name);
    if (address->family == EHLO_FAMILY_IPV6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)name;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(address->port);
        memcpy(&v6->sin6_addr, address->octets, 16);
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)name;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address->port);
    memcpy(&v4->sin_addr, address->octets, 4);
    return sizeof *v4;
}

/* Bound to a port of 127.0.0.1; *port 0: to one that is free, which it then is. */
static inline int bound_socket(uint16_t *port)
{
    struct sockaddr_storage name;
    const ehlo_address address = loopback(*port);
    socklen_t len = socket_name(&address, &name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
    *port = ntohs(((struct sockaddr_in *)&name)->sin_port);
    return fd;
}

static inline int listening_socket(uint16_t *port)
{
    *port = 0;
    int fd = bound_socket(port);
    assert_int_equal(listen(fd, 8), 0);
    return fd;
}

/* buffer: octets that the system keeps for it, each way; 0: what it thinks right. */
static inline int connected_socket(const ehlo_address *address, int buffer)
{
    struct sockaddr_storage name;
    socklen_t len = socket_name(address, &name);
    int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (buffer != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    }
    assert_int_equal(connect(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* From now on a close is a reset. */
static inline void close_will_reset(int fd)
{
    const struct linger hard = { .l_onoff = 1 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
}

static inline int have_ipv6(void)
{
    struct sockaddr_storage name;
    const ehlo_address address = { .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } };
    socklen_t len = socket_name(&address, &name);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return 0;
    int bound = bind(fd, (struct sockaddr *)&name, len) == 0;
    close(fd);
    return bound;
}

#endif
