/* lib/net/carry.h - a connection that carries a session, a server's or a client's.
 *
 * Every call into a session is followed by ehlo_carry_settle, which looks at what the session wants now. What happens
 * at every event is written here, and takes the table of the session's calls as a constant: so none of them is made
 * through a pointer. Inside TLS a connection has a `ready` of its own: without it, nothing asks whether there is any
 * but the write callback. */
#ifndef EHLO_NET_CARRY_H
#define EHLO_NET_CARRY_H

#include "conn.h"

#include <stddef.h>

typedef struct ehlo_carrier ehlo_carrier;

/* What server.h and client.h have in common; each as it is there. */
typedef struct ehlo_session_calls {
    int (*feed)(void *session, uint64_t now, const char *bytes, size_t len, size_t *used);
    int (*flush)(void *session, uint64_t now);
    int (*tick)(void *session, uint64_t now);
    int (*eof)(void *session, uint64_t now);
    int (*tls_started)(void *session, uint64_t now, size_t held, const ehlo_tls_facts *facts);
    unsigned (*status)(const void *session, uint64_t *deadline);
    /* STARTTLS was agreed on: ehlo_tls_open, as this side does it. */
    int (*open_tls)(ehlo_carrier *carrier);
    /* The session has come to its end, or lost: its connection has. Closes it, and does with the connection what is
     * then due. */
    void (*over)(ehlo_carrier *carrier, int lost);
} ehlo_session_calls;

struct ehlo_carrier {
    ehlo_conn conn; /* first, see ehlo_conn_open */
    const ehlo_session_calls *calls;
    void *session;      /* NULL before it and after it */
    uint8_t wants;      /* EHLO_WANT_*, as of the last settle */
    uint8_t eof;        /* 1: the peer has sent its last octet */
    uint8_t stalled;    /* 1: the stash holds what the session did not take because it was blocked */
    uint32_t read_size; /* of the next read */
};

/* In `wants`: the next settle looks at them as if they had changed. */
enum { EHLO_CARRY_ANEW = 1 << 7 };

/* A session lies behind its carrier, in the same block: where things may begin. */
static inline size_t ehlo_aligned(size_t size)
{
    size_t unit = _Alignof(max_align_t);
    return (size + unit - 1) / unit * unit;
}

/* Readies the carrier for a session of this kind. */
void ehlo_carry_prepare(ehlo_carrier *carrier, const ehlo_session_calls *calls);
/* It carries the session from now on, inside TLS if there is any. What starts the session comes next, and settles. */
void *ehlo_carry_host(ehlo_carrier *carrier, void *session, const ehlo_conn_driver *driver);

/* What is seldom needed. */
void ehlo_carry_turn(ehlo_carrier *carrier, unsigned wants);
void ehlo_carry_lost(ehlo_carrier *carrier);
int ehlo_carry_keep(ehlo_carrier *carrier, size_t len, size_t used, int result);
int ehlo_carry_flush(ehlo_carrier *carrier, unsigned events);
unsigned ehlo_carry_events(const ehlo_source *source, unsigned events);
int ehlo_carry_encrypt(ehlo_carrier *carrier, const ehlo_str *parts, size_t n, size_t *taken);
/* Settles a little later. */
void ehlo_carry_put_off(ehlo_carrier *carrier);
/* As ehlo_conn_receive, inside TLS if there is any. */
ptrdiff_t ehlo_carry_read(ehlo_carrier *carrier, size_t len, ehlo_str *bytes);

/* Before a call that ehlo_carry_settle follows. */
static inline void *ehlo_carry_drive(ehlo_carrier *carrier)
{
    carrier->conn.loop->driven = &carrier->conn;
    return carrier->session;
}

/* result is that of the call. */
static inline void ehlo_carry_settle(const ehlo_session_calls *calls, ehlo_carrier *carrier, int result)
{
    uint64_t deadline;
    unsigned wants = carrier->wants;
    if (result > EHLO_ERR_FATAL) {
        wants = calls->status(carrier->session, &deadline);
        result = ehlo_conn_expire_by(&carrier->conn, deadline);
    }
    if (result <= EHLO_ERR_FATAL)
        ehlo_carry_lost(carrier);
    else if (wants != carrier->wants)
        ehlo_carry_turn(carrier, wants);
    carrier->conn.loop->driven = NULL;
}

static inline int ehlo_carry_feed(const ehlo_session_calls *calls, ehlo_carrier *carrier, ehlo_str bytes)
{
    size_t used = 0;
    int result = calls->feed(carrier->session, carrier->conn.loop->now, bytes.ptr, bytes.len, &used);
    int plain = used == bytes.len && carrier->conn.stash == NULL && bytes.len < carrier->read_size;
    return plain && !(carrier->wants & EHLO_WANT_SECRET) ? result : ehlo_carry_keep(carrier, bytes.len, used, result);
}

/* received is that of ehlo_conn_receive, or its like. */
static inline int ehlo_carry_take(const ehlo_session_calls *calls, ehlo_carrier *carrier, ptrdiff_t received,
                                  ehlo_str bytes)
{
    if (received > 0) return ehlo_carry_feed(calls, carrier, bytes);
    if (received == EHLO_RECEIVE_NOTHING) return EHLO_OK;
    if (received == EHLO_RECEIVE_LOST) return EHLO_ERR_TRANSPORT;
    carrier->eof = 1;
    return calls->eof(carrier->session, carrier->conn.loop->now);
}

/* One read per event: what is still there is reported again. */
static inline int ehlo_carry_receive(const ehlo_session_calls *calls, ehlo_carrier *carrier)
{
    ehlo_str bytes;
    ptrdiff_t received = ehlo_conn_receive(&carrier->conn, carrier->read_size, &bytes);
    return ehlo_carry_take(calls, carrier, received, bytes);
}

/* For the driver of a connection that carries a session. */
static inline void ehlo_carry_ready(const ehlo_session_calls *calls, ehlo_source *source, unsigned events)
{
    ehlo_carrier *carrier = (ehlo_carrier *)source;
    ehlo_carry_drive(carrier);
    if (events != EHLO_POLL_READ || source->interest != EHLO_POLL_READ) events = ehlo_carry_events(source, events);
    ehlo_carry_settle(calls, carrier,
                      events == EHLO_POLL_READ ? ehlo_carry_receive(calls, carrier)
                                               : ehlo_carry_flush(carrier, events));
}
void ehlo_carry_expired(ehlo_conn *conn);

/* The write callback of every session that a loop hosts. */
static inline int ehlo_carry_write(ehlo_carrier *carrier, const ehlo_str *parts, size_t n, size_t *taken)
{
    if (carrier->conn.tls != NULL) return ehlo_carry_encrypt(carrier, parts, n, taken);
    ptrdiff_t sent = ehlo_socket_send(carrier->conn.source.fd, parts, n);
    *taken = sent > 0 ? (size_t)sent : 0;
    return sent >= 0 ? EHLO_OK : EHLO_ERR_TRANSPORT;
}

#endif
