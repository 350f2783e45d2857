/* lib/net/serve.c - server sessions on connections of a loop: from accept, the PROXY preface and the handshake of
 * implicit TLS to the lingering close. */
#include "serve.h"

#include "carry.h"
#include "handshake.h"
#include "limits.h"
#include "rare.h"
#include "socket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A connection that carries a server's session; one block with the session and the user's octets behind it. */
typedef struct ehlo_hosted {
    ehlo_carrier carrier; /* first, see ehlo_conn_open */
    ehlo_listener *listener;
    ehlo_peer peer;  /* lent to the session */
    uint8_t counted; /* 1: by the listener's limits */
} ehlo_hosted;

static const ehlo_conn_driver handshake_driver, session_driver, linger_driver;
static const ehlo_session_calls server_calls;

/* -- memory ----------------------------------------------------------------------------------------- */

static ehlo_hosted *hosted_of(const ehlo_server *s)
{
    return (ehlo_hosted *)((uintptr_t)s - ehlo_aligned(sizeof(ehlo_hosted)));
}

static void *server_memory(ehlo_hosted *hosted)
{
    return (char *)hosted + ehlo_aligned(sizeof *hosted);
}

static void *user_memory(ehlo_hosted *hosted)
{
    return (char *)server_memory(hosted) + ehlo_aligned(ehlo_server_size(hosted->listener->cfg.service));
}

static ehlo_hosted *hosted_new(ehlo_listener *listener)
{
    const ehlo_listen_config *cfg = &listener->cfg;
    size_t fixed = ehlo_aligned(sizeof(ehlo_hosted)) + ehlo_aligned(ehlo_server_size(cfg->service));
    if (cfg->user_size > SIZE_MAX - fixed) return NULL;
    ehlo_hosted *hosted = malloc(fixed + cfg->user_size);
    if (hosted == NULL) return NULL;
    memset(hosted, 0, sizeof *hosted);
    memset((char *)hosted + fixed, 0, cfg->user_size);
    hosted->listener = listener;
    ehlo_carry_prepare(&hosted->carrier, &server_calls);
    return hosted;
}

static void hosted_closed(ehlo_conn *conn)
{
    ehlo_hosted *hosted = (ehlo_hosted *)conn;
    if (hosted->counted) ehlo_limits_give(hosted->listener->cfg.limits, &hosted->peer.remote);
    ehlo_listener_release(hosted->listener);
}

/* -- session ---------------------------------------------------------------------------------------- */

static int server_feed(void *session, uint64_t now, const char *bytes, size_t len, size_t *used)
{
    return ehlo_server_feed(session, now, bytes, len, used);
}

static int server_flush(void *session, uint64_t now)
{
    return ehlo_server_flush(session, now);
}

static int server_tick(void *session, uint64_t now)
{
    return ehlo_server_tick(session, now);
}

static int server_eof(void *session, uint64_t now)
{
    return ehlo_server_eof(session, now);
}

static int server_tls_started(void *session, uint64_t now, size_t held, const ehlo_tls_facts *facts)
{
    return ehlo_server_tls_started(session, now, held, facts);
}

static unsigned server_status(const void *session, uint64_t *deadline)
{
    return ehlo_server_status(session, deadline);
}

static int open_tls(ehlo_carrier *carrier)
{
    const ehlo_hosted *hosted = (ehlo_hosted *)carrier;
    return ehlo_tls_open(&carrier->conn, hosted->listener->cfg.tls, EHLO_ENGINE_AS_SERVER, ehlo_str_make(NULL, 0));
}

static void end_session(ehlo_carrier *carrier)
{
    ehlo_server_close(carrier->session);
    carrier->session = NULL;
}

static EHLO_RARE void server_over(ehlo_carrier *carrier, int lost)
{
    if (lost) ehlo_server_lost(carrier->session);
    end_session(carrier);
    if (!lost) ehlo_tls_shutdown(&carrier->conn);
    if (lost || carrier->eof)
        ehlo_conn_close(&carrier->conn);
    else
        ehlo_linger(&carrier->conn, &linger_driver);
}

static const ehlo_session_calls server_calls = { server_feed,        server_flush,  server_tick, server_eof,
                                                 server_tls_started, server_status, open_tls,    server_over };

static void settle(ehlo_hosted *hosted, int result)
{
    ehlo_carry_settle(&server_calls, &hosted->carrier, result);
}

static ehlo_server *drive(ehlo_hosted *hosted)
{
    return ehlo_carry_drive(&hosted->carrier);
}

static void session_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    (void)loop;
    ehlo_carry_ready(&server_calls, source, events);
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
    end_session(&hosted->carrier);
    ehlo_conn_close(conn);
    conn->loop->driven = NULL;
}

static const ehlo_conn_driver session_driver = { session_ready, ehlo_carry_expired, session_stop, session_end,
                                                 hosted_closed };

int ehlo_serve_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)user;
    return ehlo_carry_write(&hosted_of(s)->carrier, parts, n, taken);
}

/* -- lingering close -------------------------------------------------------------------------------- */

static const ehlo_conn_driver linger_driver = { ehlo_linger_ready, ehlo_conn_close, ehlo_linger_stop, ehlo_conn_close,
                                                hosted_closed };

/* -- start ------------------------------------------------------------------------------------------ */

static void refuse_in_clear(ehlo_hosted *hosted)
{
    char text[300], line[512];
    size_t len = 0;
    ehlo_str host = ehlo_service_hostname(hosted->listener->cfg.service);
    int text_len = snprintf(text, sizeof text, "%.*s Too many connections", (int)host.len, host.ptr);
    ehlo_reply reply = { .code = 421, .enhanced = { 4, 7, 0 }, .text = ehlo_str_make(text, (size_t)text_len) };
    if (ehlo_reply_write(&reply, EHLO_REPLY_ENHANCED, line, sizeof line, &len, NULL) == EHLO_OK) {
        ehlo_str part = ehlo_str_make(line, len);
        ehlo_socket_send(hosted->carrier.conn.source.fd, &part, 1);
    }
}

static int start_session(ehlo_hosted *hosted, ehlo_server *server)
{
    ehlo_conn *conn = &hosted->carrier.conn;
    ehlo_carry_host(&hosted->carrier, server, &session_driver);
    int result = conn->tls != NULL ? ehlo_server_tls_started(server, conn->loop->now, 0, &conn->tls->facts) : EHLO_OK;
    return result == EHLO_OK ? ehlo_server_start(server, conn->loop->now) : result;
}

static void begin_session(ehlo_hosted *hosted)
{
    const ehlo_service *service = hosted->listener->cfg.service;
    ehlo_server *server;
    int error = ehlo_server_init(&server, server_memory(hosted), ehlo_server_size(service), service, &hosted->peer,
                                 user_memory(hosted));
    if (error == EHLO_OK)
        settle(hosted, start_session(hosted, server));
    else
        ehlo_conn_close(&hosted->carrier.conn);
}

static void handshake_done(ehlo_conn *conn, int established)
{
    ehlo_timer_stop(conn->loop, &conn->timer);
    if (established)
        begin_session((ehlo_hosted *)conn);
    else
        ehlo_conn_close(conn);
}

/* RFC 8314 3.3: "TLS negotiation begins immediately" */
static void begin_handshake(ehlo_hosted *hosted)
{
    ehlo_conn *conn = &hosted->carrier.conn;
    ehlo_conn_drive(conn, &handshake_driver);
    if (ehlo_conn_expire_in(conn, hosted->listener->cfg.tls_ms) == EHLO_OK && open_tls(&hosted->carrier) == EHLO_OK)
        ehlo_handshake_start(conn, handshake_done);
    else
        ehlo_conn_close(conn);
}

static const ehlo_conn_driver handshake_driver = { NULL, ehlo_conn_close, ehlo_conn_close, ehlo_conn_close,
                                                   hosted_closed };

/* The peer is known. Where TLS comes first, nothing can be said to one that is too many. */
static void admit(ehlo_hosted *hosted)
{
    const ehlo_listen_config *cfg = &hosted->listener->cfg;
    hosted->counted = ehlo_limits_take(cfg->limits, &hosted->peer.remote) != 0;
    if (hosted->counted && cfg->implicit_tls)
        begin_handshake(hosted);
    else if (hosted->counted)
        begin_session(hosted);
    else {
        if (!cfg->implicit_tls) refuse_in_clear(hosted);
        ehlo_linger_briefly(&hosted->carrier.conn);
    }
}

/* -- PROXY preface ---------------------------------------------------------------------------------- */

/* What follows the preface is a session's, or a TLS engine's: it stays where they read. */
static int take_preface(ehlo_hosted *hosted)
{
    ehlo_conn *conn = &hosted->carrier.conn;
    char *input = conn->loop->input;
    size_t used = 0, held = ehlo_stash_copy(conn->stash, input);
    ptrdiff_t there = ehlo_socket_peek(conn->source.fd, input + held, EHLO_PROXY_MAX - held);
    if (there == EHLO_RECEIVE_NOTHING) return EHLO_ERR_INCOMPLETE;
    if (there <= 0) return EHLO_ERR_SYNTAX;
    size_t len = held + (size_t)there;
    int result = ehlo_proxy_parse(input, len, &hosted->peer, &used);
    if (result != EHLO_OK && (result != EHLO_ERR_INCOMPLETE || len == EHLO_PROXY_MAX)) return EHLO_ERR_SYNTAX;
    if (result != EHLO_OK) used = len;
    ehlo_socket_receive(conn->source.fd, input + held, used - held);
    int kept = ehlo_stash_keep(&conn->stash, input, result != EHLO_OK ? len : 0);
    return kept == EHLO_OK ? result : kept;
}

static void preface_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    ehlo_conn *conn = (ehlo_conn *)source;
    int result = take_preface((ehlo_hosted *)conn);
    (void)events;
    if (result == EHLO_ERR_INCOMPLETE) return;
    if (result != EHLO_OK) {
        ehlo_conn_close(conn);
        return;
    }
    ehlo_timer_stop(loop, &conn->timer);
    admit((ehlo_hosted *)conn);
}

static const ehlo_conn_driver preface_driver = { preface_ready, ehlo_conn_close, ehlo_conn_close, ehlo_conn_close,
                                                 hosted_closed };

/* -- accept ----------------------------------------------------------------------------------------- */

int ehlo_serve(ehlo_listener *listener, int fd, const ehlo_address *remote)
{
    ehlo_hosted *hosted = hosted_new(listener);
    if (hosted == NULL) return EHLO_ERR_MEMORY;
    int proxied = listener->cfg.proxy;
    if (ehlo_conn_open(&hosted->carrier.conn, listener->loop, fd, proxied ? &preface_driver : &session_driver) != 0) {
        free(hosted);
        return EHLO_ERR_SYSTEM;
    }
    listener->refs++;
    hosted->peer.remote = *remote;
    hosted->peer.local = ehlo_socket_local(fd);
    if (!proxied)
        admit(hosted);
    else if (ehlo_conn_expire_in(&hosted->carrier.conn, listener->cfg.proxy_ms) != EHLO_OK)
        ehlo_conn_close(&hosted->carrier.conn);
    return EHLO_OK;
}

/* -- what applications see of it -------------------------------------------------------------------- */

ehlo_loop *ehlo_conn_loop(const ehlo_server *s)
{
    return hosted_of(s)->carrier.conn.loop;
}

ehlo_conn_id ehlo_conn_number(const ehlo_server *s)
{
    return hosted_of(s)->carrier.conn.id;
}

void *ehlo_conn_ctx(const ehlo_server *s)
{
    return hosted_of(s)->listener->cfg.ctx;
}

/* A connection that something else drives carries no server, or not now. */
static ehlo_hosted *find_hosted(const ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_conn *conn = ehlo_slots_find(&loop->conns, id);
    return conn != NULL && conn->driver == &session_driver ? (ehlo_hosted *)conn : NULL;
}

ehlo_server *ehlo_loop_server(ehlo_loop *loop, ehlo_conn_id id)
{
    ehlo_hosted *hosted = find_hosted(loop, id);
    return hosted != NULL ? hosted->carrier.session : NULL;
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
    if (loop->driven == &hosted->carrier.conn)
        answer_somehow(hosted->carrier.session, loop->now, token, reply);
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
