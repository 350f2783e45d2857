/* lib/net/conn.h - a connection: a descriptor, a timer, a stash and an id, whatever drives it.
 *
 * What drives it (a PROXY preface, a handshake, a session, a lingering close) is a table of functions that may be
 * changed at any time. A closed connection's memory stays until the end of the round. */
#ifndef EHLO_NET_CONN_H
#define EHLO_NET_CONN_H

#include "loop.h"
#include "socket.h"
#include "stash.h"

typedef struct ehlo_tls ehlo_tls;

typedef struct ehlo_conn_driver {
    void (*ready)(ehlo_loop *loop, ehlo_source *source, unsigned events); /* its source's, see poller.h */
    void (*expired)(ehlo_conn *conn); /* its deadline has passed; the timer is off */
    void (*stop)(ehlo_conn *conn);    /* the loop is to stop: come to an end soon */
    void (*end)(ehlo_conn *conn);     /* the loop ends: close now */
    void (*closed)(ehlo_conn *conn);  /* from ehlo_conn_close: gives back what the owner holds */
} ehlo_conn_driver;

struct ehlo_conn {
    ehlo_source source; /* first, see ehlo_conn_open */
    ehlo_timer timer;   /* due at UINT64_MAX where it does not run */
    ehlo_loop *loop;
    const ehlo_conn_driver *driver;
    ehlo_stash *stash;
    ehlo_tls *tls; /* NULL: it is in clear */
    ehlo_conn_id id;
    uint32_t drained; /* octets that a lingering close has thrown away */
};

/* Gives an id to a connection that has no descriptor yet. conn is zeroed memory from malloc at the start of its block,
 * which the loop frees; source is its first member. EHLO_ERR_MEMORY: nothing was done. */
int ehlo_conn_register(ehlo_conn *conn, ehlo_loop *loop, const ehlo_conn_driver *driver);
/* Takes over fd and watches it for reading. Negative: nothing was done, errno. */
int ehlo_conn_attach(ehlo_conn *conn, int fd);
/* Gives the descriptor back: what there was about it, its deadline too, is forgotten. */
int ehlo_conn_detach(ehlo_conn *conn);
/* Registers and attaches. */
int ehlo_conn_open(ehlo_conn *conn, ehlo_loop *loop, int fd, const ehlo_conn_driver *driver);
void ehlo_conn_close(ehlo_conn *conn);
static inline void ehlo_conn_drive(ehlo_conn *conn, const ehlo_conn_driver *driver)
{
    conn->driver = driver;
    conn->source.ready = driver->ready;
}
/* Costs nothing where interest is what it was. */
static inline void ehlo_conn_watch(ehlo_conn *conn, unsigned interest)
{
    if (conn->source.interest != interest) ehlo_poller_set(conn->loop->poller, &conn->source, interest);
}
/* Sees to it that `expired` comes by then; a timer that is due earlier is left alone: re-arming it for every command
 * would cost more than an early call now and then. UINT64_MAX: no need. EHLO_ERR_MEMORY. */
static inline int ehlo_conn_expire_by(ehlo_conn *conn, uint64_t due)
{
    return conn->timer.due <= due ? EHLO_OK : ehlo_loop_time(conn->loop, &conn->timer, due);
}
/* Forgets the deadline, sets a new one. EHLO_ERR_MEMORY. */
int ehlo_conn_expire_in(ehlo_conn *conn, uint32_t ms);

/* Reads at most len octets into the loop's input buffer, behind `held` that are there: *bytes is all of them. */
static inline ptrdiff_t ehlo_conn_receive_at(ehlo_conn *conn, size_t held, size_t len, ehlo_str *bytes)
{
    size_t room = conn->loop->input_size - held;
    ptrdiff_t received = ehlo_socket_receive(conn->source.fd, conn->loop->input + held, len < room ? len : room);
    *bytes = ehlo_str_make(conn->loop->input, held + (received > 0 ? (size_t)received : 0));
    return received;
}
ptrdiff_t ehlo_conn_receive_behind(ehlo_conn *conn, size_t len, ehlo_str *bytes);
/* Reads behind what the stash holds, at most len octets, into the loop's input buffer: *bytes is the stash
 * and what came. Returns as ehlo_socket_receive. The stash stays as it was. */
static inline ptrdiff_t ehlo_conn_receive(ehlo_conn *conn, size_t len, ehlo_str *bytes)
{
    if (conn->stash == NULL) return ehlo_conn_receive_at(conn, 0, len, bytes);
    ehlo_str all; /* so that the caller's may stay in registers */
    ptrdiff_t received = ehlo_conn_receive_behind(conn, len, &all);
    *bytes = all;
    return received;
}

/* Closing a socket with unread input makes the kernel reset the connection, and the peer may lose our last
 * reply. So: shut down the sending side, read and drop for a while, then close. driver is one whose `ready`
 * and `stop` are those below; its other functions close. */
void ehlo_linger(ehlo_conn *conn, const ehlo_conn_driver *driver);
void ehlo_linger_ready(ehlo_loop *loop, ehlo_source *source, unsigned events);
/* The loop is to stop. */
void ehlo_linger_stop(ehlo_conn *conn);
/* The same in no time, for a peer that has no claim to more: drops what is here, and closes. */
void ehlo_linger_briefly(ehlo_conn *conn);

#endif
