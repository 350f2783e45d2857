/* lib/net/conn.h - a connection: a descriptor, a timer, a stash and an id, whatever drives it.
 *
 * What drives it (a PROXY preface, a session, a lingering close) is a table of functions that may be changed
 * at any time. A closed connection's memory stays until the end of the round. */
#ifndef EHLO_NET_CONN_H
#define EHLO_NET_CONN_H

#include "loop.h"
#include "stash.h"

typedef struct ehlo_conn_driver {
    void (*ready)(ehlo_conn *conn, unsigned events); /* EHLO_POLL_* */
    void (*expired)(ehlo_conn *conn);                /* its deadline has passed; the timer is off */
    void (*stop)(ehlo_conn *conn);                   /* the loop is to stop: come to an end soon */
    void (*end)(ehlo_conn *conn);                    /* the loop ends: close now */
    void (*closed)(ehlo_conn *conn);                 /* from ehlo_conn_close: gives back what the owner holds */
} ehlo_conn_driver;

struct ehlo_conn {
    ehlo_source source; /* first, see ehlo_conn_open */
    ehlo_timer timer;
    ehlo_loop *loop;
    const ehlo_conn_driver *driver;
    ehlo_stash *stash;
    uint32_t slot;
    uint32_t drained; /* octets that a lingering close has thrown away */
};

/* Takes over fd, watches it for reading, and gives an id. conn is zeroed memory from malloc at the start of
 * its block, which the loop frees; source is its first member. Negative: nothing was done, errno. */
int ehlo_conn_open(ehlo_conn *conn, ehlo_loop *loop, int fd, const ehlo_conn_driver *driver);
void ehlo_conn_close(ehlo_conn *conn);
ehlo_conn_id ehlo_conn_id_of(const ehlo_conn *conn);
/* Costs nothing where interest is what it was. */
static inline void ehlo_conn_watch(ehlo_conn *conn, unsigned interest)
{
    if (conn->source.interest != interest) ehlo_poller_set(conn->loop->poller, &conn->source, interest);
}
/* Sees to it that `expired` comes by then; a timer that runs and is due earlier is left alone: re-arming it
 * for every command would cost more than an early call now and then. UINT64_MAX: no need. EHLO_ERR_MEMORY. */
static inline int ehlo_conn_expire_by(ehlo_conn *conn, uint64_t due)
{
    if ((ehlo_timer_runs(&conn->timer) && conn->timer.due <= due) || due == UINT64_MAX) return EHLO_OK;
    return ehlo_loop_time(conn->loop, &conn->timer, due);
}
/* Forgets the deadline, sets a new one. EHLO_ERR_MEMORY. */
int ehlo_conn_expire_in(ehlo_conn *conn, uint32_t ms);

/* Reads behind what the stash holds, at most len octets, into the loop's input buffer: *bytes is the stash
 * and what came. Returns as ehlo_socket_receive. The stash stays as it was. */
ptrdiff_t ehlo_conn_receive(ehlo_conn *conn, size_t len, ehlo_str *bytes);

/* Closing a socket with unread input makes the kernel reset the connection, and the peer may lose our last
 * reply. So: shut down the sending side, read and drop for a while, then close. driver is one whose `ready`
 * and `expired` are those below. */
void ehlo_linger(ehlo_conn *conn, const ehlo_conn_driver *driver);
void ehlo_linger_ready(ehlo_conn *conn, unsigned events);
/* The same in no time, for a peer that has no claim to more: drops what is here, and closes. */
void ehlo_linger_briefly(ehlo_conn *conn);

#endif
