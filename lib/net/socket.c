/* lib/net/socket.c - the socket calls, and what differs between systems. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A gathering write takes this many parts at most; the session offers the rest again. */
enum { PARTS_MAX = 128 };

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
} any_address;

static socklen_t address_out(const ehlo_address *address, any_address *out)
{
    memset(out, 0, sizeof *out);
    if (address->family == EHLO_FAMILY_IPV4) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(address->port);
        memcpy(&out->v4.sin_addr, address->octets, 4);
        return sizeof out->v4;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(address->port);
    memcpy(&out->v6.sin6_addr, address->octets, 16);
    return sizeof out->v6;
}

/* An IPv4 peer of a socket for both families is told as what it is: ::ffff:192.0.2.1 becomes 192.0.2.1. */
static ehlo_address address_in(const any_address *in)
{
    ehlo_address address;
    memset(&address, 0, sizeof address);
    if (in->any.sa_family == AF_INET) {
        address.family = EHLO_FAMILY_IPV4;
        address.port = ntohs(in->v4.sin_port);
        memcpy(address.octets, &in->v4.sin_addr, 4);
    } else if (in->any.sa_family == AF_INET6) {
        int mapped = IN6_IS_ADDR_V4MAPPED(&in->v6.sin6_addr);
        address.family = mapped ? EHLO_FAMILY_IPV4 : EHLO_FAMILY_IPV6;
        address.port = ntohs(in->v6.sin6_port);
        if (mapped)
            memcpy(address.octets, (const char *)&in->v6.sin6_addr + 12, 4);
        else
            memcpy(address.octets, &in->v6.sin6_addr, 16);
    }
    return address;
}

static int turn_on(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

#if !defined(__linux__) || defined(EHLO_NET_POLL)
static int set_flags(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) return -1;
#ifdef SO_NOSIGPIPE
    turn_on(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    return 0;
}
#endif

static int close_with_errno(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* type: SOCK_STREAM or SOCK_DGRAM. */
static int open_socket(int family, int type)
{
#if defined(__linux__) && !defined(EHLO_NET_POLL)
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, type, 0);
    return fd < 0 || set_flags(fd) == 0 ? fd : close_with_errno(fd);
#endif
}

static int share(int fd)
{
#ifdef SO_REUSEPORT
    return turn_on(fd, SOL_SOCKET, SO_REUSEPORT, 1);
#else
    (void)fd;
    errno = EOPNOTSUPP;
    return -1;
#endif
}

static int listen_on(const ehlo_address *address, int both_families, int backlog, int share_port)
{
    any_address name;
    socklen_t len = address_out(address, &name);
    int fd = open_socket(name.any.sa_family, SOCK_STREAM);
    if (fd < 0) return -1;
    if (turn_on(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0) return close_with_errno(fd);
    if (share_port && share(fd) != 0) return close_with_errno(fd);
    if (name.any.sa_family == AF_INET6 && turn_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both_families) != 0) {
        return close_with_errno(fd);
    }
    if (bind(fd, &name.any, len) != 0 || listen(fd, backlog) != 0) return close_with_errno(fd);
    return fd;
}

int ehlo_socket_listen(const ehlo_address *address, int backlog, int share_port)
{
    if (address->family != EHLO_FAMILY_NONE) return listen_on(address, 0, backlog, share_port);
    ehlo_address every = { .family = EHLO_FAMILY_IPV6, .port = address->port };
    int fd = listen_on(&every, 1, backlog, share_port);
    if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) return fd;
    every.family = EHLO_FAMILY_IPV4;
    return listen_on(&every, 0, backlog, share_port);
}

int ehlo_socket_accept(int listener, ehlo_address *remote)
{
    any_address name;
    socklen_t len = sizeof name;
#if defined(__linux__) && !defined(EHLO_NET_POLL)
    int fd = accept4(listener, &name.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -1;
#else
    int fd = accept(listener, &name.any, &len);
    if (fd < 0) return -1;
    if (set_flags(fd) != 0) return close_with_errno(fd);
#endif
    turn_on(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* replies leave whole: there is nothing to wait for */
    *remote = address_in(&name);
    return fd;
}

/* Addresses in use by connections that are over are free to take. */
static int bind_local(int fd, const ehlo_address *local)
{
    any_address name;
    if (local->family == EHLO_FAMILY_NONE) return 0;
    socklen_t len = address_out(local, &name);
    return turn_on(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && bind(fd, &name.any, len) == 0 ? 0 : -1;
}

int ehlo_socket_connect(const ehlo_address *remote, const ehlo_address *local, int *fd)
{
    any_address name;
    socklen_t len = address_out(remote, &name);
    *fd = open_socket(name.any.sa_family, SOCK_STREAM);
    if (*fd < 0) return -1;
    turn_on(*fd, IPPROTO_TCP, TCP_NODELAY, 1); /* what is written is whole: there is nothing to wait for */
    if (bind_local(*fd, local) == 0) {
        if (connect(*fd, &name.any, len) == 0) return 0;
        if (errno == EINPROGRESS || errno == EINTR) return 1;
    }
    *fd = close_with_errno(*fd);
    return -1;
}

int ehlo_socket_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

int ehlo_socket_datagram(const ehlo_address *remote)
{
    any_address name;
    socklen_t len = address_out(remote, &name);
    int fd = open_socket(name.any.sa_family, SOCK_DGRAM);
    return fd < 0 || connect(fd, &name.any, len) == 0 ? fd : close_with_errno(fd);
}

ehlo_address ehlo_socket_local(int fd)
{
    any_address name;
    socklen_t len = sizeof name;
    memset(&name, 0, sizeof name);
    if (getsockname(fd, &name.any, &len) != 0) name.any.sa_family = AF_UNSPEC;
    return address_in(&name);
}

ptrdiff_t ehlo_socket_send_parts(int fd, const ehlo_str *parts, size_t n)
{
    struct iovec vector[PARTS_MAX];
    struct msghdr message;
    memset(&message, 0, sizeof message);
    if (n > PARTS_MAX) n = PARTS_MAX;
    for (size_t i = 0; i < n; i++) {
        vector[i].iov_base = (void *)(uintptr_t)parts[i].ptr; /* iovec is shared with reading: it has no const */
        vector[i].iov_len = parts[i].len;
    }
    message.msg_iov = vector;
    message.msg_iovlen = n;
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}
