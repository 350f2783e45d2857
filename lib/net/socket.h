/* lib/net/socket.h - the socket calls, and what differs between systems. No descriptor blocks; exec closes them. */
#ifndef EHLO_NET_SOCKET_H
#define EHLO_NET_SOCKET_H

#include <ehlo/net.h>

/* A descriptor that listens, or -1 with errno. Family NONE: both families where IPv6 is there. */
int ehlo_socket_listen(const ehlo_address *address, int backlog, int share_port);
/* The next connection, or -1 with errno. */
int ehlo_socket_accept(int listener, ehlo_address *remote);
/* Our end; family NONE if it can't be told. */
ehlo_address ehlo_socket_local(int fd);

/* Octets taken: 0 to len; fewer if the socket is full; -1 if the connection is gone. */
ptrdiff_t ehlo_socket_send(int fd, const ehlo_str *parts, size_t n);

/* Results of ehlo_socket_receive that are no number of octets. */
enum { EHLO_RECEIVE_EOF = 0, EHLO_RECEIVE_NOTHING = -1, EHLO_RECEIVE_LOST = -2 };

/* Octets received, EHLO_RECEIVE_EOF, nothing for now, or lost. */
ptrdiff_t ehlo_socket_receive(int fd, char *bytes, size_t len);

#endif
