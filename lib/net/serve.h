/* lib/net/serve.h - server sessions on connections of a loop. */
#ifndef EHLO_NET_SERVE_H
#define EHLO_NET_SERVE_H

#include "listener.h"

/* Takes over fd, which the listener has accepted. On an error it was not taken. */
int ehlo_serve(ehlo_listener *listener, int fd, const ehlo_address *remote);

/* The write callback of every session that a loop hosts. */
int ehlo_serve_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user);

#endif
