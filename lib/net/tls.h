/* lib/net/tls.h - the TLS of a connection: what is between its descriptor and the engine that the application lent.
 *
 * It exists from the handshake on; a connection without TLS has none of it. */
#ifndef EHLO_NET_TLS_H
#define EHLO_NET_TLS_H

#include "conn.h"

struct ehlo_tls {
    const ehlo_tls_engine *engine;
    void *state; /* the engine's */
    ehlo_tls_facts facts;
    size_t blocked; /* octets that the next write must have at least: the last one had them, and is to be repeated */
    uint8_t read_needs; /* EHLO_POLL_*: what the next read waits for */
    uint8_t write_needs;
    uint8_t established;                            /* 1: the handshake is done */
    uint8_t failed;                                 /* 1: a call was negative */
    uint8_t catching_up;                            /* 1: what the engine holds is being read */
    void (*done)(ehlo_conn *conn, int established); /* see handshake.h */
};

/* TLS for the connection, whose descriptor stays its own. EHLO_ERR_UNSUPPORTED: engine is NULL; EHLO_ERR_MEMORY: also
 * where the engine has none. */
int ehlo_tls_open(ehlo_conn *conn, const ehlo_tls_engine *engine, unsigned flags, ehlo_str server_name);
/* Gives all of it back; the connection is in clear, and to be closed. */
void ehlo_tls_close(ehlo_conn *conn);
/* Tells the peer that nothing follows, where there is TLS and it works. Tried once: what the peer has been told inside
 * says as much. */
void ehlo_tls_shutdown(ehlo_conn *conn);

/* EHLO_TLS_*, or negative. With DONE the facts are known. */
int ehlo_tls_handshake(ehlo_tls *tls);
/* As ehlo_conn_receive. */
ptrdiff_t ehlo_tls_receive(ehlo_conn *conn, size_t len, ehlo_str *bytes);
/* Takes octets as a session's write callback does. EHLO_ERR_MEMORY, EHLO_ERR_TRANSPORT. */
int ehlo_tls_send(ehlo_conn *conn, const ehlo_str *parts, size_t n, size_t *taken);

/* Octets that can be received at once, though no poll tells of them. */
size_t ehlo_tls_pending(const ehlo_tls *tls);
/* What the engine says of a call that was negative; empty if none was. Lives until close. */
ehlo_str ehlo_tls_problem(const ehlo_tls *tls);

#endif
