/* lib/net/conn.c - a connection: a descriptor, a timer, a stash and an id, whatever drives it. */
#include "conn.h"

#include "tls.h"

#include <sys/socket.h>
#include <unistd.h>

/* A loop that is to stop should not wait for peers that have had their last reply: its connections linger for about
 * as long as what a peer has sent without having seen that reply may be on its way. */
enum { LINGER_MS = 2000, LINGER_STOPPING_MS = 200, LINGER_OCTETS = 65536 };

static void conn_expired(ehlo_loop *loop, void *arg)
{
    ehlo_conn *conn = arg;
    (void)loop;
    conn->driver->expired(conn);
}

int ehlo_conn_register(ehlo_conn *conn, ehlo_loop *loop, const ehlo_conn_driver *driver)
{
    conn->loop = loop;
    ehlo_conn_drive(conn, driver);
    conn->source.fd = -1;
    conn->timer.due = UINT64_MAX;
    conn->timer.fn = conn_expired;
    conn->timer.arg = conn;
    return ehlo_slots_add(&loop->conns, conn, &conn->id);
}

int ehlo_conn_attach(ehlo_conn *conn, int fd)
{
    conn->source.fd = fd;
    if (ehlo_poller_add(conn->loop->poller, &conn->source, EHLO_POLL_READ) == 0) return 0;
    conn->source.fd = -1;
    return -1;
}

int ehlo_conn_detach(ehlo_conn *conn)
{
    ehlo_stash_keep(&conn->stash, NULL, 0);
    if (conn->tls != NULL) ehlo_tls_close(conn);
    ehlo_timers_stop(&conn->loop->timers, &conn->timer);
    return ehlo_loop_release_source(conn->loop, &conn->source);
}

int ehlo_conn_open(ehlo_conn *conn, ehlo_loop *loop, int fd, const ehlo_conn_driver *driver)
{
    if (ehlo_conn_register(conn, loop, driver) != EHLO_OK) return -1;
    if (ehlo_conn_attach(conn, fd) == 0) return 0;
    ehlo_slots_remove(&loop->conns, conn->id);
    return -1;
}

void ehlo_conn_close(ehlo_conn *conn)
{
    ehlo_loop *loop = conn->loop;
    ehlo_stash_keep(&conn->stash, NULL, 0);
    if (conn->tls != NULL) ehlo_tls_close(conn);
    ehlo_timers_stop(&loop->timers, &conn->timer);
    ehlo_slots_remove(&loop->conns, conn->id);
    conn->driver->closed(conn);
    if (conn->source.fd >= 0) ehlo_loop_close_source(loop, &conn->source);
    ehlo_loop_free_later(loop, &conn->source);
}

int ehlo_conn_expire_in(ehlo_conn *conn, uint32_t ms)
{
    return ehlo_loop_time(conn->loop, &conn->timer, conn->loop->now + ms);
}

ptrdiff_t ehlo_conn_receive_behind(ehlo_conn *conn, size_t len, ehlo_str *bytes)
{
    return ehlo_conn_receive_at(conn, ehlo_stash_copy(conn->stash, conn->loop->input), len, bytes);
}

/* -- lingering close -------------------------------------------------------------------------------- */

void ehlo_linger(ehlo_conn *conn, const ehlo_conn_driver *driver)
{
    ehlo_conn_drive(conn, driver);
    ehlo_stash_keep(&conn->stash, NULL, 0);
    if (conn->tls != NULL) ehlo_tls_close(conn);
    uint32_t ms = ehlo_loop_stopping(conn->loop) ? LINGER_STOPPING_MS : LINGER_MS;
    if (shutdown(conn->source.fd, SHUT_WR) != 0 || ehlo_conn_expire_in(conn, ms) != EHLO_OK) {
        ehlo_conn_close(conn);
        return;
    }
    ehlo_conn_watch(conn, EHLO_POLL_READ);
}

void ehlo_linger_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_conn *conn = (ehlo_conn *)source;
    ehlo_str bytes;
    ptrdiff_t received = ehlo_conn_receive(conn, loop->input_size, &bytes);
    (void)events;
    if (received == EHLO_RECEIVE_NOTHING) return;
    if (received > 0) conn->drained += (uint32_t)received;
    if (received <= 0 || conn->drained >= LINGER_OCTETS) ehlo_conn_close(conn);
}

void ehlo_linger_stop(ehlo_conn *conn)
{
    if (ehlo_conn_expire_by(conn, conn->loop->now + LINGER_STOPPING_MS) != EHLO_OK) ehlo_conn_close(conn);
}

void ehlo_linger_briefly(ehlo_conn *conn)
{
    ehlo_str bytes;
    shutdown(conn->source.fd, SHUT_WR);
    ehlo_conn_receive(conn, conn->loop->input_size, &bytes);
    ehlo_conn_close(conn);
}
