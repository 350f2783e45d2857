/* lib/net/handshake.c - a connection during its TLS handshake. */
#include "handshake.h"

/* A step at a time, until the engine waits for the peer no more. */
static void step(ehlo_conn *conn)
{
    int result = ehlo_tls_handshake(conn->tls);
    if (result == EHLO_ENGINE_READ || result == EHLO_ENGINE_WRITE)
        ehlo_conn_watch(conn, result == EHLO_ENGINE_READ ? EHLO_POLL_READ : EHLO_POLL_WRITE);
    else
        conn->tls->done(conn, result == EHLO_ENGINE_DONE);
}

/* Of a connection that is gone the engine finds out, and can say more. */
static void handshake_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    (void)loop;
    (void)events;
    step((ehlo_conn *)source);
}

void ehlo_handshake_start(ehlo_conn *conn, void (*done)(ehlo_conn *conn, int established))
{
    conn->tls->done = done;
    conn->source.ready = handshake_ready;
    step(conn);
}
