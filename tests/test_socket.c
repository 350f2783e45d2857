/* test_socket.c - outgoing sockets. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../lib/net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000 };

static const ehlo_address any;
static const ehlo_address loopback = { .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 1 } };

static void await(int fd, short events)
{
    struct pollfd entry = { .fd = fd, .events = events };
    assert_int_equal(poll(&entry, 1, PATIENCE_MS), 1);
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static int listen_here(ehlo_address *address)
{
    int fd = ehlo_socket_listen(&loopback, 8, 0);
    assert_true(fd >= 0);
    *address = ehlo_socket_local(fd);
    return fd;
}

static void a_connection_is_made_without_waiting(void **state)
{
    ehlo_address remote;
    ehlo_address peer;
    int fd;
    (void)state;
    int listener = listen_here(&remote);
    assert_true(ehlo_socket_connect(&remote, &any, &fd) >= 0);
    await(fd, POLLOUT);
    assert_int_equal(ehlo_socket_error(fd), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_not_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    await(listener, POLLIN);
    int accepted = ehlo_socket_accept(listener, &peer);
    assert_true(accepted >= 0);
    assert_int_equal(peer.port, ehlo_socket_local(fd).port);
    close(accepted);
    close(fd);
    close(listener);
}

/* Linux has all of 127/8 on the loopback interface; a port that was ours a moment ago is free again. */
static void a_connection_may_come_from_an_address_and_port_of_choice(void **state)
{
    ehlo_address remote;
    ehlo_address local = loopback;
    ehlo_address peer;
    (void)state;
    int listener = listen_here(&remote);
    for (int i = 0; i < 2; i++) {
        int fd;
        assert_true(ehlo_socket_connect(&remote, &local, &fd) >= 0);
        await(listener, POLLIN);
        int accepted = ehlo_socket_accept(listener, &peer);
        assert_true(accepted >= 0);
        assert_memory_equal(peer.octets, local.octets, 4);
        if (i == 1) assert_int_equal(peer.port, local.port);
        local.port = peer.port;
        close(accepted); /* the server's end waits in TIME_WAIT, not ours */
        await(fd, POLLIN);
        close(fd);
    }
    close(listener);
}

static void a_refused_connection_says_why(void **state)
{
    ehlo_address remote;
    int fd;
    (void)state;
    close(listen_here(&remote));
    int result = ehlo_socket_connect(&remote, &any, &fd);
    if (result == 1) {
        await(fd, POLLOUT);
        assert_int_equal(ehlo_socket_error(fd), ECONNREFUSED);
        close(fd);
    } else {
        assert_int_equal(result, -1);
        assert_int_equal(errno, ECONNREFUSED);
    }
}

static void what_cannot_begin_leaves_no_descriptor(void **state)
{
    ehlo_address foreign = { .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 } };
    ehlo_address broadcast = { .family = EHLO_FAMILY_IPV4, .port = 9, .octets = { 255, 255, 255, 255 } };
    ehlo_address remote;
    int fd = 0;
    (void)state;
    int listener = listen_here(&remote);
    int next = dup(listener);
    close(next);
    assert_int_equal(ehlo_socket_connect(&remote, &foreign, &fd), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
    assert_int_equal(fd, -1);
    assert_int_equal(ehlo_socket_connect(&broadcast, &any, &fd), -1);
    assert_int_equal(fd, -1);
    assert_int_equal(ehlo_socket_datagram(&broadcast), -1);
    fd = dup(listener);
    assert_int_equal(fd, next);
    close(fd);
    close(listener);
}

static void datagrams_are_taken_from_the_one_asked_alone(void **state)
{
    char bytes[8];
    (void)state;
    int asked =
        ehlo_socket_datagram(&(ehlo_address){ .family = EHLO_FAMILY_IPV4, .port = 9, .octets = { 127, 0, 0, 1 } });
    ehlo_address ours = ehlo_socket_local(asked);
    int stranger = ehlo_socket_datagram(&ours);
    assert_true(asked >= 0 && stranger >= 0);
    assert_true(fcntl(asked, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(asked, F_GETFD) & FD_CLOEXEC);
    send(stranger, "x", 1, 0);
    assert_int_equal(ehlo_socket_receive(asked, bytes, sizeof bytes), EHLO_RECEIVE_NOTHING);
    close(asked);
    close(stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_made_without_waiting),
        cmocka_unit_test(a_connection_may_come_from_an_address_and_port_of_choice),
        cmocka_unit_test(a_refused_connection_says_why),
        cmocka_unit_test(what_cannot_begin_leaves_no_descriptor),
        cmocka_unit_test(datagrams_are_taken_from_the_one_asked_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
