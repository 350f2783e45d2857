/* lib/net/conn.c - a connection: a descriptor, a timer, a stash and an id, whatever drives it. */
#include "conn.h"

#include "socket.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 2000, LINGER_OCTETS = 65536 };

static void conn_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_conn *conn = (ehlo_conn *)source;
    (void)loop;
    conn->driver->ready(conn, events);
}

static void conn_expired(ehlo_loop *loop, void *arg)
{
    ehlo_conn *conn = arg;
    (void)loop;
    conn->driver->expired(conn);
}

ehlo_conn_id ehlo_conn_id_of(const ehlo_conn *conn)
{
    return ehlo_slots_id(&conn->loop->conns, conn->slot);
}

int ehlo_conn_open(ehlo_conn *conn, ehlo_loop *loop, int fd, const ehlo_conn_driver *driver)
{
    conn->loop = loop;
    conn->driver = driver;
    conn->source.ready = conn_ready;
    conn->source.fd = fd;
    conn->timer.fn = conn_expired;
    conn->timer.arg = conn;
    if (ehlo_slots_add(&loop->conns, conn, &conn->slot) != EHLO_OK) return -1;
    if (ehlo_poller_add(loop->poller, &conn->source, EHLO_POLL_READ) == 0) return 0;
    ehlo_slots_remove(&loop->conns, conn->slot);
    return -1;
}

void ehlo_conn_close(ehlo_conn *conn)
{
    ehlo_loop *loop = conn->loop;
    ehlo_stash_keep(&conn->stash, NULL, 0);
    ehlo_timers_stop(&loop->timers, &conn->timer);
    ehlo_slots_remove(&loop->conns, conn->slot);
    conn->driver->closed(conn);
    ehlo_loop_close_source(loop, &conn->source);
    ehlo_loop_free_later(loop, &conn->source);
}

int ehlo_conn_expire_in(ehlo_conn *conn, uint32_t ms)
{
    return ehlo_loop_time(conn->loop, &conn->timer, conn->loop->now + ms);
}

ptrdiff_t ehlo_conn_receive(ehlo_conn *conn, size_t len, ehlo_str *bytes)
{
    ehlo_loop *loop = conn->loop;
    ehlo_str held = ehlo_stash_view(conn->stash);
    size_t room = loop->input_size - held.len;
    if (held.len != 0) memcpy(loop->input, held.ptr, held.len);
    ptrdiff_t received = ehlo_socket_receive(conn->source.fd, loop->input + held.len, len < room ? len : room);
    *bytes = ehlo_str_make(loop->input, held.len + (received > 0 ? (size_t)received : 0));
    return received;
}

/* -- lingering close -------------------------------------------------------------------------------- */

void ehlo_linger(ehlo_conn *conn, const ehlo_conn_driver *driver)
{
    conn->driver = driver;
    ehlo_stash_keep(&conn->stash, NULL, 0);
    if (shutdown(conn->source.fd, SHUT_WR) != 0 || ehlo_conn_expire_in(conn, LINGER_MS) != EHLO_OK) {
        ehlo_conn_close(conn);
        return;
    }
    ehlo_conn_watch(conn, EHLO_POLL_READ);
}

void ehlo_linger_ready(ehlo_conn *conn, unsigned events)
{
    ehlo_str bytes;
    ptrdiff_t received = ehlo_conn_receive(conn, conn->loop->input_size, &bytes);
    (void)events;
    if (received == EHLO_RECEIVE_NOTHING) return;
    if (received > 0) conn->drained += (uint32_t)received;
    if (received <= 0 || conn->drained >= LINGER_OCTETS) ehlo_conn_close(conn);
}

void ehlo_linger_briefly(ehlo_conn *conn)
{
    ehlo_str bytes;
    shutdown(conn->source.fd, SHUT_WR);
    ehlo_conn_receive(conn, conn->loop->input_size, &bytes);
    ehlo_conn_close(conn);
}
