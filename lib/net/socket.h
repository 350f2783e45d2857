/* lib/net/socket.h - the socket calls, and what differs between systems. No descriptor blocks; exec closes them. */
#ifndef EHLO_NET_SOCKET_H
#define EHLO_NET_SOCKET_H

#include <ehlo/net.h>

#include <errno.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* then SO_NOSIGPIPE does it */
#endif

/* A descriptor that listens, or -1 with errno. Family NONE: both families where IPv6 is there. */
int ehlo_socket_listen(const ehlo_address *address, int backlog, int share_port);
/* The next connection, or -1 with errno. */
int ehlo_socket_accept(int listener, ehlo_address *remote);
/* Begins a connection from local (family NONE: the system's choice). 0: it is there; 1: under way, and *fd gets
 * writable when it is there or has failed, which ehlo_socket_error tells; -1 with errno: *fd is -1. */
int ehlo_socket_connect(const ehlo_address *remote, const ehlo_address *local, int *fd);
/* What became of a connection under way, or of what was sent before: 0, or an errno, which is told once. */
int ehlo_socket_error(int fd);
/* A descriptor for datagrams to remote, which receives from there alone, or -1 with errno. Its port is the system's
 * choice. */
int ehlo_socket_datagram(const ehlo_address *remote);
/* Our end; family NONE if it can't be told. */
ehlo_address ehlo_socket_local(int fd);

/* 1: the last call on a socket did not fail, it only came at the wrong time. */
static inline int ehlo_socket_not_now(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* As sendmsg does it. */
ptrdiff_t ehlo_socket_send_parts(int fd, const ehlo_str *parts, size_t n);
/* Octets taken: 0 to len; fewer if the socket is full; -1 if the connection is gone. */
static inline ptrdiff_t ehlo_socket_send(int fd, const ehlo_str *parts, size_t n)
{
    ptrdiff_t sent = n == 1 ? send(fd, parts[0].ptr, parts[0].len, MSG_NOSIGNAL) : ehlo_socket_send_parts(fd, parts, n);
    if (sent >= 0) return sent;
    return ehlo_socket_not_now() ? 0 : -1;
}

/* Results of ehlo_socket_receive that are no number of octets. */
enum { EHLO_RECEIVE_EOF = 0, EHLO_RECEIVE_NOTHING = -1, EHLO_RECEIVE_LOST = -2 };

/* flags: of recv. Octets received, EHLO_RECEIVE_EOF, nothing for now, or lost. */
static inline ptrdiff_t ehlo_socket_receive_as(int fd, char *bytes, size_t len, int flags)
{
    ptrdiff_t received = recv(fd, bytes, len, flags);
    if (received >= 0) return received;
    return ehlo_socket_not_now() ? EHLO_RECEIVE_NOTHING : EHLO_RECEIVE_LOST;
}

static inline ptrdiff_t ehlo_socket_receive(int fd, char *bytes, size_t len)
{
    return ehlo_socket_receive_as(fd, bytes, len, 0);
}

/* What is there stays there. */
static inline ptrdiff_t ehlo_socket_peek(int fd, char *bytes, size_t len)
{
    return ehlo_socket_receive_as(fd, bytes, len, MSG_PEEK);
}

#endif
