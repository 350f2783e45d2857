/* lib/net/serve.c - server sessions on connections of a loop: from accept, or the PROXY preface, to the
 * lingering close.
 *
 * Every call into a session is followed by settle, which looks at what the session wants now. */
#include "serve.h"

#include "conn.h"
#include "limits.h"
#include "rare.h"
#include "socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads grow from the first to the size of the input buffer as long as the session takes all of them: what a
 * blocked session left has to be kept, and a peer should not make us keep much. */
enum { READ_MIN = 1 << 14, READ_MAX = 1 << 30 };

/* A connection that carries a session; one block with the session and the user's octets behind it. */
typedef struct ehlo_hosted {
    ehlo_conn conn; /* first, see ehlo_conn_open */
    ehlo_listener *listener;
    ehlo_server *server; /* NULL before the session and after it */
    ehlo_peer peer;      /* lent to the session */
    uint32_t wants;      /* EHLO_WANT_*, as of the last settle */
    uint32_t read_size;  /* of the next read */
    uint8_t eof;         /* 1: the peer has sent its last octet */
    uint8_t stalled;     /* 1: the stash holds what the session did not take because it was blocked */
    uint8_t counted;     /* 1: by the listener's limits */
} ehlo_hosted;

static const ehlo_conn_driver preface_driver, session_driver, linger_driver;

/* -- memory ----------------------------------------------------------------------------------------- */

static size_t aligned(size_t size)
{
    size_t unit = _Alignof(max_align_t);
    return (size + unit - 1) / unit * unit;
}

/* A session lies behind its connection. */
static ehlo_hosted *hosted_of(const ehlo_server *s)
{
    return (ehlo_hosted *)((uintptr_t)s - aligned(sizeof(ehlo_hosted)));
}

static void *server_memory(ehlo_hosted *hosted)
{
    return (char *)hosted + aligned(sizeof *hosted);
}

static void *user_memory(ehlo_hosted *hosted)
{
    return (char *)server_memory(hosted) + aligned(ehlo_server_size(hosted->listener->cfg.service));
}

static ehlo_hosted *hosted_new(ehlo_listener *listener)
{
    const ehlo_listen_config *cfg = &listener->cfg;
    size_t fixed = aligned(sizeof(ehlo_hosted)) + aligned(ehlo_server_size(cfg->service));
    if (cfg->user_size > SIZE_MAX - fixed) return NULL;
    ehlo_hosted *hosted = malloc(fixed + cfg->user_size);
    if (hosted == NULL) return NULL;
    memset(hosted, 0, sizeof *hosted);
    memset((char *)hosted + fixed, 0, cfg->user_size);
    hosted->listener = listener;
    hosted->read_size = READ_MIN;
    return hosted;
}

static void hosted_closed(ehlo_conn *conn)
{
    ehlo_hosted *hosted = (ehlo_hosted *)conn;
    if (hosted->counted) ehlo_limits_give(hosted->listener->cfg.limits, &hosted->peer.remote);
    ehlo_listener_release(hosted->listener);
}

/* -- the end of a session --------------------------------------------------------------------------- */

static void end_session(ehlo_hosted *hosted)
{
    ehlo_server_close(hosted->server);
    hosted->server = NULL;
}

static EHLO_RARE void lose_session(ehlo_hosted *hosted)
{
    ehlo_server_lost(hosted->server);
    end_session(hosted);
    ehlo_conn_close(&hosted->conn);
}

static void finish_session(ehlo_hosted *hosted)
{
    end_session(hosted);
    if (hosted->eof)
        ehlo_conn_close(&hosted->conn);
    else
        ehlo_linger(&hosted->conn, &linger_driver);
}

/* -- input ------------------------------------------------------------------------------------------ */

/* A session that is blocked goes on with what it left once it is not. */
static void note_stalled(ehlo_hosted *hosted, size_t left)
{
    hosted->stalled = left != 0 && !(ehlo_server_wants(hosted->server) & EHLO_WANT_READ);
    if (hosted->stalled) hosted->read_size = READ_MIN;
}

static int feed(ehlo_hosted *hosted, ehlo_str bytes, size_t *used)
{
    return ehlo_server_feed(hosted->server, hosted->conn.loop->now, bytes.ptr, bytes.len, used);
}

static int feed_stash(ehlo_hosted *hosted)
{
    size_t used = 0;
    ehlo_str bytes = ehlo_stash_view(hosted->conn.stash);
    int result = feed(hosted, bytes, &used);
    note_stalled(hosted, bytes.len - used);
    ehlo_stash_drop(&hosted->conn.stash, used);
    return result;
}

/* Keeps what the session left of the input, which began with what the stash holds; sees to secrets and the size of the
 * next read. */
static EHLO_RARE int keep(ehlo_hosted *hosted, size_t len, size_t used, int result)
{
    char *input = hosted->conn.loop->input;
    note_stalled(hosted, len - used);
    int kept = ehlo_stash_keep(&hosted->conn.stash, input + used, len - used);
    if (hosted->wants & EHLO_WANT_SECRET) ehlo_wipe(input, len);
    if (len >= hosted->read_size && !hosted->stalled && hosted->read_size < READ_MAX) hosted->read_size *= 2;
    return result > EHLO_ERR_FATAL ? kept : result;
}

static int feed_received(ehlo_hosted *hosted, ehlo_str bytes)
{
    size_t used = 0;
    int result = feed(hosted, bytes, &used);
    int plain = used == bytes.len && hosted->conn.stash == NULL && bytes.len < hosted->read_size;
    return plain && !(hosted->wants & EHLO_WANT_SECRET) ? result : keep(hosted, bytes.len, used, result);
}

/* One read per event: what is still there is reported again. */
static int receive(ehlo_hosted *hosted)
{
    ehlo_str bytes;
    ptrdiff_t received = ehlo_conn_receive(&hosted->conn, hosted->read_size, &bytes);
    if (received > 0) return feed_received(hosted, bytes);
    if (received == EHLO_RECEIVE_NOTHING) return EHLO_OK;
    if (received == EHLO_RECEIVE_LOST) return EHLO_ERR_TRANSPORT;
    hosted->eof = 1;
    return ehlo_server_eof(hosted->server, hosted->conn.loop->now);
}

/* -- after every call ------------------------------------------------------------------------------- */

static void settle(ehlo_hosted *hosted, int result);

/* The session wants something else than before. What it left when it was blocked goes first once it reads again, and
 * no new octet need come for that. */
static EHLO_RARE void turn(ehlo_hosted *hosted, unsigned wants)
{
    unsigned interest = 0;
    if (wants & EHLO_WANT_READ) interest |= EHLO_POLL_READ;
    if (wants & EHLO_WANT_WRITE) interest |= EHLO_POLL_WRITE;
    if (hosted->stalled && (wants & EHLO_WANT_READ)) {
        settle(hosted, feed_stash(hosted));
        return;
    }
    hosted->wants = wants;
    if (wants & EHLO_WANT_TLS)
        lose_session(hosted); /* no TLS engine is there */
    else if (wants & EHLO_WANT_CLOSE)
        finish_session(hosted);
    else
        ehlo_conn_watch(&hosted->conn, interest);
}

/* result is that of the call. */
static void settle(ehlo_hosted *hosted, int result)
{
    uint64_t deadline;
    unsigned wants = hosted->wants;
    if (result > EHLO_ERR_FATAL) {
        wants = ehlo_server_status(hosted->server, &deadline);
        result = ehlo_conn_expire_by(&hosted->conn, deadline);
    }
    if (result <= EHLO_ERR_FATAL)
        lose_session(hosted);
    else if (wants != hosted->wants)
        turn(hosted, wants);
    hosted->conn.loop->driven = NULL;
}

/* Before a call that settle follows. */
static ehlo_server *drive(ehlo_hosted *hosted)
{
    hosted->conn.loop->driven = &hosted->conn;
    return hosted->server;
}

/* -- session ---------------------------------------------------------------------------------------- */

/* Reading or writing tells what happened to a connection that is gone, if we do either. The interest may have changed
 * since the events were collected. */
static EHLO_RARE unsigned events_to_act_on(const ehlo_source *source, unsigned events)
{
    if (!(events & EHLO_POLL_GONE)) return events & source->interest;
    return source->interest != 0 ? source->interest : EHLO_POLL_GONE;
}

static EHLO_RARE int flush(ehlo_hosted *hosted, unsigned events)
{
    if (events & EHLO_POLL_GONE) return EHLO_ERR_TRANSPORT;
    return events & EHLO_POLL_WRITE ? ehlo_server_flush(hosted->server, hosted->conn.loop->now) : EHLO_OK;
}

static void session_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_hosted *hosted = (ehlo_hosted *)source;
    loop->driven = &hosted->conn;
    if (events != EHLO_POLL_READ || source->interest != EHLO_POLL_READ) events = events_to_act_on(source, events);
    settle(hosted, events == EHLO_POLL_READ ? receive(hosted) : flush(hosted, events));
}

static void session_expired(ehlo_conn *conn)
{
    ehlo_hosted *hosted = (ehlo_hosted *)conn;
    settle(hosted, ehlo_server_tick(drive(hosted), conn->loop->now));
}

static void session_stop(ehlo_conn *conn)
{
    ehlo_hosted *hosted = (ehlo_hosted *)conn;
    settle(hosted, ehlo_server_shutdown(drive(hosted), conn->loop->now));
}

static void session_end(ehlo_conn *conn)
{
    ehlo_hosted *hosted = (ehlo_hosted *)conn;
    drive(hosted);
    end_session(hosted);
    ehlo_conn_close(conn);
    conn->loop->driven = NULL;
}

static const ehlo_conn_driver session_driver = { session_ready, session_expired, session_stop, session_end,
                                                 hosted_closed };

int ehlo_serve_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)user;
    ptrdiff_t sent = ehlo_socket_send(hosted_of(s)->conn.source.fd, parts, n);
    *taken = sent > 0 ? (size_t)sent : 0;
    return sent >= 0 ? EHLO_OK : EHLO_ERR_TRANSPORT;
}

/* -- lingering close -------------------------------------------------------------------------------- */

static const ehlo_conn_driver linger_driver = { ehlo_linger_ready, ehlo_conn_close, ehlo_linger_stop, ehlo_conn_close,
                                                hosted_closed };

/* -- start ------------------------------------------------------------------------------------------ */

static void refuse(ehlo_hosted *hosted)
{
    char text[300], line[512];
    size_t len = 0;
    ehlo_str host = ehlo_service_hostname(hosted->listener->cfg.service);
    int text_len = snprintf(text, sizeof text, "%.*s Too many connections", (int)host.len, host.ptr);
    ehlo_reply reply = { .code = 421, .enhanced = { 4, 7, 0 }, .text = ehlo_str_make(text, (size_t)text_len) };
    if (ehlo_reply_write(&reply, EHLO_REPLY_ENHANCED, line, sizeof line, &len, NULL) == EHLO_OK) {
        ehlo_str part = ehlo_str_make(line, len);
        ehlo_socket_send(hosted->conn.source.fd, &part, 1);
    }
    ehlo_linger_briefly(&hosted->conn);
}

/* The peer is known: the session begins, with what the stash holds as its first input. */
static void begin_session(ehlo_hosted *hosted)
{
    const ehlo_listen_config *cfg = &hosted->listener->cfg;
    if (!ehlo_limits_take(cfg->limits, &hosted->peer.remote)) {
        refuse(hosted);
        return;
    }
    hosted->counted = 1;
    int error = ehlo_server_init(&hosted->server, server_memory(hosted), ehlo_server_size(cfg->service), cfg->service,
                                 &hosted->peer, user_memory(hosted));
    if (error != EHLO_OK) {
        ehlo_conn_close(&hosted->conn);
        return;
    }
    ehlo_conn_drive(&hosted->conn, &session_driver);
    settle(hosted, ehlo_server_start(drive(hosted), hosted->conn.loop->now));
}

int ehlo_serve(ehlo_listener *listener, int fd, const ehlo_address *remote)
{
    ehlo_hosted *hosted = hosted_new(listener);
    if (hosted == NULL) return EHLO_ERR_MEMORY;
    int proxied = listener->cfg.proxy;
    if (ehlo_conn_open(&hosted->conn, listener->loop, fd, proxied ? &preface_driver : &session_driver) != 0) {
        free(hosted);
        return EHLO_ERR_SYSTEM;
    }
    listener->refs++;
    hosted->peer.remote = *remote;
    hosted->peer.local = ehlo_socket_local(fd);
    if (!proxied)
        begin_session(hosted);
    else if (ehlo_conn_expire_in(&hosted->conn, listener->cfg.proxy_ms) != EHLO_OK)
        ehlo_conn_close(&hosted->conn);
    return EHLO_OK;
}

/* -- PROXY preface ---------------------------------------------------------------------------------- */

static void preface_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_conn *conn = (ehlo_conn *)source;
    ehlo_hosted *hosted = (ehlo_hosted *)source;
    ehlo_str bytes;
    size_t used = 0;
    (void)events;
    ptrdiff_t received = ehlo_conn_receive(conn, EHLO_PROXY_MAX - ehlo_stash_view(conn->stash).len, &bytes);
    if (received == EHLO_RECEIVE_NOTHING) return;
    int result = received > 0 ? ehlo_proxy_parse(bytes.ptr, bytes.len, &hosted->peer, &used) : EHLO_ERR_SYNTAX;
    if (result == EHLO_ERR_INCOMPLETE && bytes.len == EHLO_PROXY_MAX) result = EHLO_ERR_SYNTAX;
    if (result == EHLO_OK || result == EHLO_ERR_INCOMPLETE) {
        if (ehlo_stash_keep(&conn->stash, bytes.ptr + used, bytes.len - used) != EHLO_OK) result = EHLO_ERR_MEMORY;
    }
    if (result == EHLO_ERR_INCOMPLETE) return;
    if (result != EHLO_OK) {
        ehlo_conn_close(conn);
        return;
    }
    ehlo_timer_stop(loop, &conn->timer);
    hosted->stalled = bytes.len > used;
    begin_session(hosted);
}

static const ehlo_conn_driver preface_driver = { preface_ready, ehlo_conn_close, ehlo_conn_close, ehlo_conn_close,
                                                 hosted_closed };

/* -- what applications see of it -------------------------------------------------------------------- */

ehlo_loop *ehlo_conn_loop(const ehlo_server *s)
{
    return hosted_of(s)->conn.loop;
}

ehlo_conn_id ehlo_conn_number(const ehlo_server *s)
{
    return hosted_of(s)->conn.id;
}

void *ehlo_conn_ctx(const ehlo_server *s)
{
    return hosted_of(s)->listener->cfg.ctx;
}

static ehlo_hosted *find_hosted(const ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_hosted *hosted = (ehlo_hosted *)ehlo_slots_find(&loop->conns, id);
    return hosted != NULL && hosted->server != NULL ? hosted : NULL;
}

ehlo_server *ehlo_loop_server(ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_hosted *hosted = find_hosted(loop, id);
    return hosted != NULL ? hosted->server : NULL;
}

/* -- answers ---------------------------------------------------------------------------------------- */

typedef struct posted_answer {
    ehlo_item item;
    ehlo_conn_id id;
    ehlo_token token;
    ehlo_reply reply;
    char text[];
} posted_answer;

/* Nobody is left to hear that a reply is not allowed, and the peer waits: its code alone then, or 451. */
static int answer_somehow(ehlo_server *server, uint64_t now, ehlo_token token, const ehlo_reply *reply)
{
    ehlo_reply plain = { .code = reply->code };
    int result = ehlo_server_answer(server, now, token, reply);
    if (result == EHLO_ERR_ARG) result = ehlo_server_answer(server, now, token, &plain);
    plain.code = 451;
    if (result == EHLO_ERR_ARG) result = ehlo_server_answer(server, now, token, &plain);
    return result;
}

static void answer_now(ehlo_loop *loop, ehlo_conn_id id, ehlo_token token, const ehlo_reply *reply)
{
    ehlo_hosted *hosted = find_hosted(loop, id);
    if (hosted == NULL) return;
    if (loop->driven == &hosted->conn)
        answer_somehow(hosted->server, loop->now, token, reply);
    else
        settle(hosted, answer_somehow(drive(hosted), loop->now, token, reply));
}

static void run_posted_answer(ehlo_loop *loop, ehlo_item *item)
{
    posted_answer *answer = (posted_answer *)item;
    answer_now(loop, answer->id, answer->token, &answer->reply);
    free(answer);
}

static int post_answer(ehlo_loop *loop, ehlo_conn_id id, ehlo_token token, const ehlo_reply *reply)
{
    posted_answer *answer = malloc(sizeof *answer + reply->text.len);
    if (answer == NULL) return EHLO_ERR_MEMORY;
    answer->item.run = run_posted_answer;
    answer->id = id;
    answer->token = token;
    answer->reply = *reply;
    answer->reply.text.ptr = answer->text;
    if (reply->text.len != 0) memcpy(answer->text, reply->text.ptr, reply->text.len);
    ehlo_inbox_put(&loop->inbox, &answer->item);
    return EHLO_OK;
}

/* From a callback of another session it is posted too: a chain of sessions that answer each other must not
 * become a chain of calls. */
int ehlo_loop_answer(ehlo_loop *loop, ehlo_conn_id id, ehlo_token token, const ehlo_reply *reply)
{
    static const ehlo_reply by_default;
    if (reply == NULL) reply = &by_default;
    if (!ehlo_loop_inside(loop)) return post_answer(loop, id, token, reply);
    if (loop->driven != NULL && loop->driven->id != id) {
        return post_answer(loop, id, token, reply);
    }
    answer_now(loop, id, token, reply);
    return EHLO_OK;
}

/* -- resume ----------------------------------------------------------------------------------------- */

typedef struct posted_resume {
    ehlo_item item;
    ehlo_conn_id id;
} posted_resume;

static void run_posted_resume(ehlo_loop *loop, ehlo_item *item)
{
    ehlo_hosted *hosted = find_hosted(loop, ((posted_resume *)item)->id);
    free(item);
    if (hosted != NULL) settle(hosted, ehlo_server_resume(drive(hosted), loop->now));
}

/* Posted, for the reason given above, and because a session may ask for itself: the callback has returned by
 * the time it happens. */
int ehlo_loop_resume(ehlo_loop *loop, ehlo_conn_id id)
{
    posted_resume *resume = malloc(sizeof *resume);
    if (resume == NULL) return EHLO_ERR_MEMORY;
    resume->item.run = run_posted_resume;
    resume->id = id;
    ehlo_inbox_put(&loop->inbox, &resume->item);
    return EHLO_OK;
}
