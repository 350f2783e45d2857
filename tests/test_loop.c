/* test_loop.c - the socket floor over the loopback interface.
 *
 * The test drives the loop itself, a round at a time, and plays the clients with plain sockets in between: no
 * thread but where threads are the subject, and no sleep. test_loop_poll.c runs all of it with the portable
 * sources. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ehlo/net.h>

#include "../lib/net/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "system.h"

enum { PATIENCE_MS = 120000, GOT_MAX = 4 << 20 };

/* -- the server's side ------------------------------------------------------------------------------ */

/* What the application saw, and how it is to behave. */
typedef struct app {
    ehlo_loop *loop;
    ehlo_conn_id id;
    ehlo_token token;
    ehlo_peer peer;
    unsigned connects;
    unsigned messages;
    unsigned resets;
    unsigned closes;
    int close_reason;
    uint64_t body_octets;
    size_t body_at_once; /* 0: all */
    int answer_inside;
    pthread_t thread;
    int use_thread;
    ehlo_timer resume;
    ehlo_reply reply;
} app;

typedef struct world {
    app app;
    ehlo_service *service;
    ehlo_loop *loop;
    ehlo_listener *listener;
    ehlo_address address;
} world;

static int on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)token;
    (void)r;
    (void)user;
    a->connects++;
    a->id = ehlo_conn_number(s);
    a->peer = *ehlo_server_peer(s);
    assert_ptr_equal(ehlo_loop_server(ehlo_conn_loop(s), a->id), s);
    return EHLO_OK;
}

static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)token;
    (void)message;
    (void)r;
    (void)user;
    a->messages++;
    return EHLO_OK;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)reason;
    (void)user;
    a->resets++;
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)pending;
    (void)user;
    a->closes++;
    a->close_reason = reason;
}

static void resume_body(ehlo_loop *loop, void *arg)
{
    app *a = arg;
    assert_int_equal(ehlo_loop_resume(loop, a->id), EHLO_OK);
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)bytes;
    (void)r;
    (void)user;
    if (a->body_at_once != 0 && len > a->body_at_once) {
        *taken = a->body_at_once;
        assert_int_equal(ehlo_timer_start(ehlo_conn_loop(s), &a->resume, 1, resume_body, a), EHLO_OK);
    }
    a->body_octets += *taken;
    return EHLO_OK;
}

static void *answer_in_thread(void *arg)
{
    app *a = arg;
    char text[] = "from elsewhere";
    ehlo_reply reply = { .code = 251, .enhanced = { 2, 1, 5 }, .text = ehlo_str_from(text) };
    ehlo_loop_answer(a->loop, a->id, a->token, &reply);
    memset(text, 'x', sizeof text); /* the reply was copied */
    return NULL;
}

/* Answers as the app says: inside, from a thread, or when the test does. [C235] A loop is not run from inside. */
static int on_rcpt_later(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    app *a = ehlo_conn_ctx(s);
    (void)rcpt;
    (void)r;
    (void)user;
    a->loop = ehlo_conn_loop(s);
    a->id = ehlo_conn_number(s);
    a->token = token;
    assert_int_equal(ehlo_loop_step(a->loop, 0), EHLO_ERR_REENTRY);
    if (a->answer_inside) ehlo_loop_answer(a->loop, a->id, token, &a->reply);
    if (a->use_thread) assert_int_equal(pthread_create(&a->thread, NULL, answer_in_thread, a), 0);
    return EHLO_LATER;
}

static const ehlo_server_callbacks plain_callbacks = {
    .on_connect = on_connect, .on_message = on_message, .on_body = on_body, .on_reset = on_reset, .on_close = on_close
};

static const ehlo_service_config plain_config = { .hostname = { "test.example", 12 } };

static ehlo_address loopback(uint16_t port)
{
    ehlo_address address = { .family = EHLO_FAMILY_IPV4, .port = port, .octets = { 127, 0, 0, 1 } };
    return address;
}

/* NULL: the plain ones. */
static void world_open(world *w, const ehlo_service_config *cfg, const ehlo_server_callbacks *callbacks,
                       const ehlo_listen_config *listen, const ehlo_loop_config *loop)
{
    ehlo_listen_config own = { .address = loopback(0) };
    memset(w, 0, sizeof *w);
    assert_int_equal(
        ehlo_net_service_new(&w->service, cfg ? cfg : &plain_config, callbacks ? callbacks : &plain_callbacks),
        EHLO_OK);
    assert_int_equal(ehlo_loop_new(&w->loop, loop), EHLO_OK);
    if (listen != NULL) own = *listen;
    own.service = w->service;
    own.ctx = &w->app;
    assert_int_equal(ehlo_loop_listen(w->loop, &own, &w->listener), EHLO_OK);
    w->address = ehlo_listener_address(w->listener);
    assert_int_not_equal(w->address.port, 0);
}

static void world_close(world *w)
{
    ehlo_loop_free(w->loop);
    ehlo_net_service_free(w->service);
}

/* Runs rounds until the condition holds; fails when patience is at its end. */
#define pump_until(loop, condition)                                                                                    \
    do {                                                                                                               \
        uint64_t end_ = now_ms() + PATIENCE_MS;                                                                        \
        while (!(condition)) {                                                                                         \
            assert_true(now_ms() < end_);                                                                              \
            assert_true(ehlo_loop_step((loop), 5) >= 0);                                                               \
        }                                                                                                              \
    } while (0)

/* Rounds until nothing is ready. */
static void pump_quiet(ehlo_loop *loop)
{
    for (int i = 0; i < 8; i++) assert_true(ehlo_loop_step(loop, 0) >= 0);
}

/* -- the client's side ------------------------------------------------------------------------------ */

typedef struct client {
    world *w;
    int fd;
    char *got; /* all that was received, NUL-ended */
    size_t len;
    int eof;
    int reset;
} client;

static int client_socket(const ehlo_address *address)
{
    struct sockaddr_storage name;
    socklen_t len;
    memset(&name, 0, sizeof name);
    if (address->family == EHLO_FAMILY_IPV6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&name;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(address->port);
        memcpy(&v6->sin6_addr, address->octets, 16);
        len = sizeof *v6;
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&name;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(address->port);
        memcpy(&v4->sin_addr, address->octets, 4);
        len = sizeof *v4;
    }
    int fd = socket(name.ss_family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, len), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void client_open(client *c, world *w)
{
    memset(c, 0, sizeof *c);
    c->w = w;
    c->fd = client_socket(&w->address);
    c->got = calloc(1, GOT_MAX);
    assert_non_null(c->got);
}

static void client_close(client *c)
{
    if (c->fd >= 0) close(c->fd);
    free(c->got);
}

/* Takes what is here; 1 if anything was new. */
static int client_read(client *c)
{
    if (c->eof) return 0;
    ssize_t n = recv(c->fd, c->got + c->len, GOT_MAX - 1 - c->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
    if (n <= 0) {
        c->eof = 1;
        c->reset = n < 0;
        return 1;
    }
    c->len += (size_t)n;
    c->got[c->len] = '\0';
    return 1;
}

static int client_has(client *c, const char *text)
{
    client_read(c);
    return strstr(c->got, text) != NULL;
}

static int client_ended(client *c)
{
    client_read(c);
    return c->eof;
}

#define await(c, text) pump_until((c)->w->loop, client_has((c), (text)))
#define await_end(c) pump_until((c)->w->loop, client_ended(c))

/* Forgets what was received so far. */
static void client_forget(client *c)
{
    c->len = 0;
    c->got[0] = '\0';
}

static void client_write(client *c, const char *bytes, size_t len)
{
    uint64_t end = now_ms() + PATIENCE_MS;
    while (len > 0) {
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN);
        assert_true(now_ms() < end);
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        } else {
            ehlo_loop_step(c->w->loop, 0);
            client_read(c);
        }
    }
}

static void say(client *c, const char *text)
{
    client_write(c, text, strlen(text));
}

static size_t count_lines(const char *text, const char *start)
{
    size_t count = 0;
    size_t len = strlen(start);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, start, len) == 0) count++;
        line = strchr(line, '\n');
        if (line != NULL) line++;
    }
    return count;
}

#define HELLO "EHLO client.example\r\n"
#define ENVELOPE "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"

/* -- conversations ---------------------------------------------------------------------------------- */

static void a_conversation_runs_over_tcp(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 test.example");
    say(&c, HELLO);
    await(&c, "\r\n250 ");
    say(&c, "MAIL FROM:<a@example.org>\r\n");
    await(&c, "250 2.1.0");
    say(&c, "RCPT TO:<b@example.org>\r\n");
    await(&c, "250 2.1.5");
    say(&c, "DATA\r\n");
    await(&c, "354 ");
    say(&c, "Subject: x\r\n\r\n..hello\r\n.\r\n");
    await(&c, "250 2.0.0");
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.body_octets, strlen("Subject: x\r\n\r\n.hello\r\n"));
    say(&c, "QUIT\r\n");
    await(&c, "221 ");
    await_end(&c);
    assert_false(c.reset);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_QUIT);
    assert_int_equal(w.app.closes, 1);
    client_close(&c);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    world_close(&w);
}

#if defined(__linux__)
/* [C142] [C243] One segment is one send: there is TCP_NODELAY, and loopback's segments are larger than the replies. */
static void a_pipelined_batch_is_answered_by_one_send(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    say(&c, HELLO);
    await(&c, "\r\n250 ");
    for (int i = 0; i < 3; i++) {
        unsigned before = data_segments_in(c.fd);
        client_forget(&c);
        say(&c, ENVELOPE "RCPT TO:<c@example.org>\r\nDATA\r\n");
        await(&c, "354 ");
        assert_int_equal(data_segments_in(c.fd) - before, 1);
        say(&c, "x\r\n.\r\nNOOP\r\n");
        await(&c, "250 2.0.0");
    }
    client_close(&c);
    world_close(&w);
}
#endif

/* [C141] What was consumed is answered, though the peer sends no more. */
static void a_half_closed_peer_gets_all_replies(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\nbody\r\n.\r\nNOOP\r\n");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    await_end(&c);
    assert_false(c.reset);
    assert_int_equal(count_lines(c.got, "220 "), 1);
    assert_int_equal(count_lines(c.got, "354 "), 1);
    assert_int_equal(count_lines(c.got, "250 "), 5); /* hello, MAIL, RCPT, message, NOOP */
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_EOF);
    assert_int_equal(ehlo_loop_connections(w.loop), 0); /* no lingering for a peer that has finished */
    client_close(&c);
    world_close(&w);
}

/* [R03] [C75] */
static void a_half_closed_message_is_discarded(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\nhalf a message\r\n");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    await_end(&c);
    assert_int_equal(count_lines(c.got, "250 "), 3); /* hello, MAIL, RCPT */
    assert_int_equal(w.app.messages, 0);
    assert_int_equal(w.app.resets, 1);
    client_close(&c);
    world_close(&w);
}

/* [C75] */
static void a_reset_ends_the_session_and_no_other(void **state)
{
    world w;
    client c, other;
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&other, &w);
    client_open(&c, &w);
    await(&other, "220 ");
    say(&c, HELLO ENVELOPE "DATA\r\nhalf a mess");
    await(&c, "354 ");
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(c.fd);
    c.fd = -1;
    pump_until(w.loop, w.app.closes == 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    assert_int_equal(w.app.resets, 1);
    assert_int_equal(w.app.messages, 0);
    say(&other, HELLO);
    await(&other, "\r\n250 ");
    client_close(&c);
    client_close(&other);
    world_close(&w);
}

/* Without interest in reading or writing, the poller tells of a reset unasked. */
static void a_reset_is_noticed_while_an_answer_is_pending(void **state)
{
    world w;
    client c;
    struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    ehlo_server_callbacks callbacks = plain_callbacks;
    (void)state;
    callbacks.on_rcpt = on_rcpt_later;
    world_open(&w, NULL, &callbacks, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE);
    pump_until(w.loop, w.app.token != 0);
    pump_quiet(w.loop);
    while (client_read(&c)) continue;
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(c.fd);
    c.fd = -1;
    pump_until(w.loop, w.app.closes == 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    client_close(&c);
    world_close(&w);
}

/* -- back-pressure and the stash -------------------------------------------------------------------- */

/* Fills *bytes with count NOOPs. */
static char *noops(size_t count, size_t *len)
{
    char *bytes = malloc(count * 6);
    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) memcpy(bytes + i * 6, "NOOP\r\n", 6);
    *len = count * 6;
    return bytes;
}

static ehlo_service_config patient_config(void)
{
    ehlo_service_config cfg = plain_config;
    cfg.max_idle_commands = 10000000;
    return cfg;
}

/* [C12] With the limit on idle commands out of the way. */
static void a_hundred_thousand_noops_in_one_write_are_all_answered(void **state)
{
    enum { COUNT = 100000 };
    ehlo_service_config cfg = patient_config();
    world w;
    client c;
    size_t len;
    (void)state;
    char *bytes = noops(COUNT, &len);
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    client_forget(&c);
    client_write(&c, bytes, len);
    pump_until(w.loop, (client_read(&c), c.len > COUNT && count_lines(c.got, "250 ") == COUNT));
    assert_int_equal(w.app.closes, 0);
    free(bytes);
    client_close(&c);
    world_close(&w);
}

/* [R06] [C237] The peer that never reads fills the sockets' buffers and then waits: the loop reads no more than it must.
 * When it reads at last, nothing is lost. */
static void a_peer_that_does_not_read_is_not_read_from(void **state)
{
    enum { MOST = 4000000 };
    ehlo_service_config cfg = patient_config();
    world w;
    client c;
    size_t len, sent = 0, replies = 0;
    int small = 65536;
    (void)state;
    char *bytes = noops(MOST, &len);
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    await(&c, "220 ");
    client_forget(&c);
    say(&c, "NOOP\r\n");
    await(&c, "\r\n");
    size_t reply = c.len;
    for (int idle = 0; idle < 20;) {
        ssize_t n = send(c.fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) sent += (size_t)n;
        ehlo_loop_step(w.loop, 1);
    }
    assert_true(sent < len);
    assert_int_equal(w.app.closes, 0);
    uint64_t end = now_ms() + PATIENCE_MS;
    while (replies < sent / 6 * reply) {
        c.len = 0;
        ehlo_loop_step(w.loop, 1);
        client_read(&c);
        replies += c.len;
        assert_false(c.eof);
        assert_true(now_ms() < end);
    }
    assert_int_equal(replies, sent / 6 * reply);
    free(bytes);
    client_close(&c);
    world_close(&w);
}

/* [R01] [C234] */
static void a_conversation_byte_by_byte_is_the_same(void **state)
{
    static const char text[] = HELLO ENVELOPE "DATA\r\nline one\r\n..dot\r\n.\r\nQUIT\r\n";
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        client_write(&c, text + i, 1);
        pump_quiet(w.loop);
    }
    await_end(&c);
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.body_octets, strlen("line one\r\n.dot\r\n"));
    assert_int_equal(count_lines(c.got, "221 "), 1);
    client_close(&c);
    world_close(&w);
}

/* All of the message is with the loop at once: no new octet comes to remind it of what was left. */
static void a_body_taken_slowly_arrives_whole(void **state)
{
    enum { SIZE = 60000 };
    world w;
    client c;
    char line[] = "0123456789012345678901234567890123456789012345678901234567\r\n"; /* 60 octets */
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\n");
    await(&c, "354 ");
    w.app.body_at_once = 1000;
    for (int i = 0; i < SIZE / 60; i++) say(&c, line);
    say(&c, ".\r\nNOOP\r\nQUIT\r\n");
    await(&c, "221 ");
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.body_octets, SIZE);
    client_close(&c);
    world_close(&w);
}

static void a_large_message_arrives_whole(void **state)
{
    enum { LINES = 200000 };
    world w;
    client c;
    (void)state;
    char *bytes = malloc(LINES * 60);
    assert_non_null(bytes);
    for (int i = 0; i < LINES; i++) {
        memcpy(bytes + i * 60, "0123456789012345678901234567890123456789012345678901234567\r\n", 60);
    }
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\n");
    await(&c, "354 ");
    client_write(&c, bytes, LINES * 60);
    say(&c, ".\r\nQUIT\r\n");
    await(&c, "221 ");
    assert_int_equal(w.app.body_octets, LINES * 60);
    assert_int_equal(w.app.messages, 1);
    free(bytes);
    client_close(&c);
    world_close(&w);
}

/* -- answers ---------------------------------------------------------------------------------------- */

static ehlo_server_callbacks later_callbacks(void)
{
    ehlo_server_callbacks callbacks = plain_callbacks;
    callbacks.on_rcpt = on_rcpt_later;
    return callbacks;
}

static void an_answer_comes_from_another_thread(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, &callbacks, NULL, NULL);
    w.app.use_thread = 1;
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\n");
    await(&c, "251 2.1.5 from elsewhere\r\n");
    assert_int_equal(pthread_join(w.app.thread, NULL), 0);
    await(&c, "354 "); /* what was pipelined behind it is taken without a new octet */
    client_close(&c);
    world_close(&w);
}

static void an_answer_comes_from_inside_the_callback(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, &callbacks, NULL, NULL);
    w.app.answer_inside = 1;
    w.app.reply = (ehlo_reply){ .code = 550, .enhanced = { 5, 1, 1 }, .text = ehlo_str_from("no such person") };
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "NOOP\r\n");
    await(&c, "550 5.1.1 no such person\r\n250 2.0.0");
    client_close(&c);
    world_close(&w);
}

static void an_answer_that_may_not_be_sent_keeps_its_code(void **state)
{
    static const struct {
        ehlo_reply reply;
        const char *start;
    } cases[] = {
        { { .code = 550, .text = { "a\rb", 3 } }, "550 5." },
        { { .code = 452, .enhanced = { 5, 0, 0 } }, "452 4." },
        { { .code = 334 }, "451 4." },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ehlo_server_callbacks callbacks = later_callbacks();
        world w;
        client c;
        world_open(&w, NULL, &callbacks, NULL, NULL);
        client_open(&c, &w);
        say(&c, HELLO ENVELOPE);
        pump_until(w.loop, w.app.token != 0);
        client_read(&c);
        client_forget(&c);
        ehlo_loop_answer(w.loop, w.app.id, w.app.token, &cases[i].reply);
        await(&c, cases[i].start);
        client_close(&c);
        world_close(&w);
    }
}

static void a_stale_id_or_token_does_nothing(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    ehlo_reply refusal = { .code = 550 };
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, &callbacks, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE);
    pump_until(w.loop, w.app.token != 0);
    ehlo_conn_id first = w.app.id;
    assert_true(first != 0);
    assert_int_equal(ehlo_loop_answer(w.loop, first, w.app.token + 77, &refusal), EHLO_OK);
    pump_quiet(w.loop);
    assert_int_equal(ehlo_loop_answer(w.loop, first, w.app.token, NULL), EHLO_OK);
    await(&c, "250 2.1.5");
    client_close(&c);
    pump_until(w.loop, w.app.closes == 1);
    assert_null(ehlo_loop_server(w.loop, first));

    client_open(&c, &w); /* under another id */
    say(&c, HELLO ENVELOPE);
    pump_until(w.loop, w.app.connects == 2 && w.app.id != first);
    assert_null(ehlo_loop_server(w.loop, first));
    pump_quiet(w.loop);
    ehlo_loop_answer(w.loop, first, w.app.token, &refusal);
    ehlo_loop_answer(w.loop, 0, w.app.token, &refusal);
    ehlo_loop_answer(w.loop, UINT64_MAX, w.app.token, &refusal);
    ehlo_loop_resume(w.loop, first);
    pump_quiet(w.loop);
    client_read(&c);
    assert_null(strstr(c.got, "550"));
    assert_null(ehlo_loop_server(w.loop, 0));
    client_close(&c);
    world_close(&w);
}

/* -- timers and posted work ------------------------------------------------------------------------- */

typedef struct recorder {
    int order[8];
    int count;
} recorder;

typedef struct numbered_timer {
    ehlo_timer timer;
    recorder *recorder;
    int number;
} numbered_timer;

static void record(ehlo_loop *loop, void *arg)
{
    numbered_timer *t = arg;
    (void)loop;
    t->recorder->order[t->recorder->count++] = t->number;
}

static void timers_fire_in_order_and_once(void **state)
{
    static const uint32_t delays[] = { 30, 0, 50, 10, 40, 20 };
    static const int order[] = { 1, 3, 0, 4, 2 };
    recorder r = { .count = 0 };
    numbered_timer timers[6];
    ehlo_loop *loop;
    (void)state;
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    memset(timers, 0, sizeof timers);
    assert_int_equal(ehlo_loop_timeout(loop), -1);
    for (int i = 0; i < 6; i++) {
        timers[i].recorder = &r;
        timers[i].number = i;
        assert_int_equal(ehlo_timer_start(loop, &timers[i].timer, 100000, record, &timers[i]), EHLO_OK);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(ehlo_timer_start(loop, &timers[i].timer, delays[i], record, &timers[i]), EHLO_OK);
    }
    ehlo_timer_stop(loop, &timers[5].timer);
    ehlo_timer_stop(loop, &timers[5].timer);
    uint64_t start = now_ms();
    pump_until(loop, r.count == 5);
    assert_true(now_ms() - start >= 49);
    pump_quiet(loop);
    assert_int_equal(r.count, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(r.order[i], order[i]);
    assert_int_equal(ehlo_loop_timeout(loop), -1);
    ehlo_loop_free(loop);
}

static void again(ehlo_loop *loop, void *arg)
{
    numbered_timer *t = arg;
    t->number++;
    ehlo_timer_start(loop, &t->timer, 0, again, t);
}

static void a_timer_that_starts_itself_does_not_hold_up_the_round(void **state)
{
    numbered_timer t;
    ehlo_loop *loop;
    (void)state;
    memset(&t, 0, sizeof t);
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    ehlo_timer_start(loop, &t.timer, 0, again, &t);
    pump_until(loop, t.number > 3);
    ehlo_timer_stop(loop, &t.timer);
    ehlo_loop_free(loop);
}

/* A thousand timers at random times, half of them stopped: the heap against a plain sort. */
static uint64_t last_due;
static int fired;

static void check_due(ehlo_loop *loop, void *arg)
{
    ehlo_timer *t = arg;
    (void)loop;
    assert_true(t->due >= last_due);
    last_due = t->due;
    fired++;
}

static void many_timers_fire_in_order(void **state)
{
    enum { COUNT = 1000 };
    static ehlo_timer timers[COUNT];
    ehlo_loop *loop;
    (void)state;
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    last_due = 0;
    fired = 0;
    unsigned seed = 1;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1103515245u + 12345u;
        ehlo_timer_start(loop, &timers[i], (seed >> 16) % 60, check_due, &timers[i]);
    }
    for (int i = 0; i < COUNT; i += 2) ehlo_timer_stop(loop, &timers[i]);
    pump_until(loop, ehlo_loop_timeout(loop) == -1);
    assert_int_equal(fired, COUNT / 2);
    ehlo_loop_free(loop);
}

enum { POSTERS = 4, POSTS = 2000 };

typedef struct poster {
    ehlo_loop *loop;
    pthread_t thread;
    int next;
    int seen;
} poster;

static void count_post(ehlo_loop *loop, void *arg)
{
    poster *p = arg;
    (void)loop;
    p->seen++;
}

static void *post_many(void *arg)
{
    poster *p = arg;
    for (int i = 0; i < POSTS; i++) {
        if (ehlo_loop_post(p->loop, count_post, p) == EHLO_OK) p->next++;
    }
    return NULL;
}

static void work_posted_by_many_threads_is_all_done(void **state)
{
    poster posters[POSTERS];
    ehlo_loop *loop;
    (void)state;
    memset(posters, 0, sizeof posters);
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    for (int i = 0; i < POSTERS; i++) {
        posters[i].loop = loop;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    for (int i = 0; i < POSTERS; i++) {
        pump_until(loop, posters[i].seen == POSTS);
        pthread_join(posters[i].thread, NULL);
    }
    assert_int_equal(ehlo_loop_post(loop, count_post, &posters[0]), EHLO_OK);
    ehlo_loop_free(loop);
    assert_int_equal(posters[0].seen, POSTS + 1);
}

static void record_post(ehlo_loop *loop, void *arg)
{
    record(loop, arg);
}

static void posted_work_is_done_in_order(void **state)
{
    recorder r = { .count = 0 };
    numbered_timer items[8];
    ehlo_loop *loop;
    (void)state;
    memset(items, 0, sizeof items);
    assert_int_equal(ehlo_loop_new(&loop, NULL), EHLO_OK);
    for (int i = 0; i < 8; i++) {
        items[i].recorder = &r;
        items[i].number = i;
        ehlo_loop_post(loop, record_post, &items[i]);
    }
    pump_until(loop, r.count == 8);
    for (int i = 0; i < 8; i++) assert_int_equal(r.order[i], i);
    ehlo_loop_free(loop);
}

/* -- deadlines -------------------------------------------------------------------------------------- */

/* [C88] */
static void a_silent_peer_is_told_421(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    client c;
    (void)state;
    cfg.command_ms = 60;
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    say(&c, HELLO);
    await(&c, "\r\n250 ");
    uint64_t start = now_ms();
    await(&c, "421 4.4.2");
    assert_true(now_ms() - start >= 50);
    await_end(&c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_TIMEOUT);
    client_close(&c);
    world_close(&w);
}

/* The timer of a command must not stand in for the shorter one of a message. */
static void a_peer_that_falls_silent_in_a_message_is_told_421(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    client c;
    (void)state;
    cfg.data_ms = 60;
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\n");
    await(&c, "354 ");
    await(&c, "421 4.4.2");
    await_end(&c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_TIMEOUT);
    client_close(&c);
    world_close(&w);
}

/* Some stay, so that their slots are met again and again; all that is known of the others is that they are gone. */
static void connections_are_numbered_from_1_and_no_number_comes_twice(void **state)
{
    enum { STAYING = 20, PASSING = 120 };
    world w;
    client staying[STAYING], passing;
    ehlo_conn_id ids[STAYING], last = 0;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    for (int i = 0; i < STAYING; i++) {
        client_open(&staying[i], &w);
        await(&staying[i], "220 ");
        ids[i] = w.app.id;
        assert_true(ids[i] > last);
        last = ids[i];
    }
    assert_int_equal(ids[0], 1);
    for (unsigned i = 0; i < PASSING; i++) {
        client_open(&passing, &w);
        await(&passing, "220 ");
        assert_true(w.app.id > last);
        last = w.app.id;
        client_close(&passing);
        pump_until(w.loop, w.app.closes == i + 1);
        assert_null(ehlo_loop_server(w.loop, last));
    }
    for (int i = 0; i < STAYING; i++) {
        assert_non_null(ehlo_loop_server(w.loop, ids[i]));
        client_close(&staying[i]);
    }
    world_close(&w);
}

/* -- the end ---------------------------------------------------------------------------------------- */

/* [C88] */
static void stop_lets_a_message_finish_and_says_421_to_idle_peers(void **state)
{
    world w;
    client busy, idle;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&busy, &w);
    client_open(&idle, &w);
    say(&busy, HELLO ENVELOPE "DATA\r\nhalf");
    await(&busy, "354 ");
    say(&idle, HELLO);
    await(&idle, "\r\n250 ");
    ehlo_loop_stop(w.loop, 10000);
    await(&idle, "421 ");
    await_end(&idle);
    assert_int_equal(w.app.messages, 0);
    say(&busy, " and half\r\n.\r\n");
    await(&busy, "250 2.0.0");
    await_end(&busy);
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.closes, 2);
    assert_int_equal(w.app.resets, 0);
    client_close(&busy);
    client_close(&idle);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 5000);
    assert_int_equal(ehlo_loop_step(w.loop, -1), 0);
    world_close(&w);
}

static void stop_ends_what_does_not_finish_in_time(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE "DATA\r\nhalf");
    await(&c, "354 ");
    ehlo_loop_stop(w.loop, 60000);
    assert_int_equal(ehlo_loop_step(w.loop, 0), 1);
    ehlo_loop_stop(w.loop, 50); /* shorter */
    ehlo_loop_stop(w.loop, 70000);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 5000);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(w.app.resets, 1);
    client_close(&c);
    world_close(&w);
}

/* One has said QUIT and stays, the other is told to go and stays; both have their last reply. */
static void stop_does_not_wait_long_for_peers_that_have_their_last_reply(void **state)
{
    world w;
    client quit, idle;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&quit, &w);
    client_open(&idle, &w);
    say(&quit, "QUIT\r\n");
    await_end(&quit);
    say(&idle, HELLO);
    await(&idle, "\r\n250 ");
    assert_int_equal(ehlo_loop_connections(w.loop), 2);
    ehlo_loop_stop(w.loop, 10000);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 1500);
    await_end(&idle);
    assert_int_equal(count_lines(idle.got, "421 "), 1);
    assert_false(idle.reset);
    client_close(&quit);
    client_close(&idle);
    world_close(&w);
}

static ehlo_loop *signalled;

static void stop_from_signal(int number)
{
    (void)number;
    ehlo_loop_stop(signalled, 0);
}

static void raise_signal(ehlo_loop *loop, void *arg)
{
    (void)loop;
    (void)arg;
    raise(SIGUSR1);
}

static void stop_from_a_signal_handler_ends_run(void **state)
{
    world w;
    ehlo_timer timer = { 0 };
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    signalled = w.loop;
    signal(SIGUSR1, stop_from_signal);
    client_open(&c, &w);
    ehlo_timer_start(w.loop, &timer, 10, raise_signal, NULL);
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(ehlo_loop_connections(w.loop), 0);
    signal(SIGUSR1, SIG_DFL);
    client_close(&c);
    world_close(&w);
}

static void freeing_a_loop_closes_its_sessions(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO ENVELOPE);
    await(&c, "250 2.1.5");
    world_close(&w);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_CLOSED);
    assert_int_equal(w.app.resets, 1);
    client_close(&c);
}

/* A reset in answer to unread input would overtake the reply. */
static void the_last_reply_arrives_though_input_is_unread(void **state)
{
    ehlo_loop_config small = { .input_size = 4096 };
    world w;
    client c;
    char junk[40000];
    (void)state;
    memset(junk, 'x', sizeof junk);
    world_open(&w, NULL, NULL, NULL, &small);
    client_open(&c, &w);
    await(&c, "220 ");
    client_forget(&c);
    say(&c, "QUIT\r\n");
    client_write(&c, junk, sizeof junk);
    await_end(&c);
    assert_false(c.reset);
    assert_int_equal(count_lines(c.got, "221 "), 1);
    assert_int_equal(w.app.closes, 1);
    client_close(&c);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    world_close(&w);
}

static void a_lingering_close_ends_without_the_peer(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, "QUIT\r\n");
    await_end(&c);
    assert_int_equal(ehlo_loop_connections(w.loop), 1);
    uint64_t start = now_ms();
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    assert_true(now_ms() - start < 4000);
    client_close(&c);
    world_close(&w);
}

static void a_server_starts_again_at_once_on_the_same_port(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    ehlo_listen_config listen = { .address = w.address };
    world_close(&w); /* our end closes first: it is left in TIME_WAIT */
    world_open(&w, NULL, NULL, &listen, NULL);
    client_close(&c);
    client_open(&c, &w);
    await(&c, "220 ");
    client_close(&c);
    world_close(&w);
}

/* -- failures --------------------------------------------------------------------------------------- */

static int lender_is_empty;

static void *lend(size_t len, void *ctx)
{
    (void)ctx;
    return lender_is_empty ? NULL : malloc(len);
}

static void give(void *mem, size_t len, void *ctx)
{
    (void)ctx;
    (void)len;
    free(mem);
}

static void a_session_without_memory_ends_alone(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    client c, other;
    (void)state;
    cfg.lender = (ehlo_lender){ lend, give, NULL };
    lender_is_empty = 0;
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    client_open(&other, &w);
    await(&c, "220 ");
    await(&other, "220 ");
    lender_is_empty = 1;
    say(&c, HELLO);
    await_end(&c);
    assert_int_equal(w.app.closes, 1);
    lender_is_empty = 0;
    say(&other, HELLO);
    await(&other, "\r\n250 ");
    client_close(&c);
    client_close(&other);
    world_close(&w);
}

static void a_session_that_wants_tls_ends_as_long_as_there_is_none(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    client c;
    (void)state;
    cfg.extensions = EHLO_CAP_STARTTLS;
    world_open(&w, &cfg, NULL, NULL, NULL);
    client_open(&c, &w);
    say(&c, HELLO);
    await(&c, "\r\n250 ");
    say(&c, "STARTTLS\r\n");
    await_end(&c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    client_close(&c);
    world_close(&w);
}

static int lowest_free_descriptor(void)
{
    int fd = dup(0);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

/* Under valgrind the connection that comes too early is taken and dropped, so that a second one has to tell. */
static void accepting_backs_off_without_descriptors_and_recovers(void **state)
{
    struct rlimit saved, tight;
    world w;
    client early, late;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&early, &w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    tight = saved;
    tight.rlim_cur = (rlim_t)lowest_free_descriptor();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int rounds = 0;
    for (uint64_t end = now_ms() + 250; now_ms() < end; rounds++) ehlo_loop_step(w.loop, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    assert_int_equal(w.app.connects, 0);
    assert_in_range(rounds, 3, 30);
    client_open(&late, &w);
    await(&late, "220 ");
    pump_until(w.loop, client_has(&early, "220 ") || client_ended(&early));
    client_close(&early);
    client_close(&late);
    world_close(&w);
}

/* -- limits ----------------------------------------------------------------------------------------- */

/* [R09] */
static void connections_beyond_the_limit_are_told_421(void **state)
{
    ehlo_limits *limits;
    world w;
    client a, b, c;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 2, 0), EHLO_OK);
    ehlo_listen_config listen = { .address = loopback(0), .limits = limits };
    world_open(&w, NULL, NULL, &listen, NULL);
    client_open(&a, &w);
    client_open(&b, &w);
    client_open(&c, &w);
    await(&a, "220 ");
    await(&b, "220 ");
    await(&c, "421 4.7.0 ");
    await_end(&c);
    assert_false(c.reset);
    assert_int_equal(w.app.connects, 2);
    client_close(&a);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 1);
    client_close(&c);
    client_open(&c, &w);
    await(&c, "220 ");
    client_close(&b);
    client_close(&c);
    world_close(&w);
    ehlo_limits_free(limits);
}

static void connections_of_one_address_are_limited_across_loops(void **state)
{
    ehlo_limits *limits;
    world w, v;
    client a, b;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 0, 1), EHLO_OK);
    ehlo_listen_config listen = { .address = loopback(0), .limits = limits };
    world_open(&w, NULL, NULL, &listen, NULL);
    world_open(&v, NULL, NULL, &listen, NULL);
    client_open(&a, &w);
    await(&a, "220 ");
    client_open(&b, &v);
    await(&b, "421 4.7.0 ");
    await_end(&b);
    client_close(&b);
    client_close(&a);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    client_open(&b, &v);
    await(&b, "220 ");
    client_close(&b);
    world_close(&w);
    world_close(&v);
    ehlo_limits_free(limits);
}

/* Random coming and going of 500 addresses against an array of counts. */
static void limits_count_like_a_plain_table(void **state)
{
    enum { ADDRESSES = 500, MAX = 3, TOTAL = 600, TURNS = 200000 };
    static size_t counts[ADDRESSES];
    size_t total = 0;
    unsigned seed = 7;
    ehlo_limits *limits;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, TOTAL, MAX), EHLO_OK);
    for (int turn = 0; turn < TURNS; turn++) {
        seed = seed * 1103515245u + 12345u;
        unsigned n = (seed >> 16) % ADDRESSES;
        ehlo_address address = { .family = n % 2 ? EHLO_FAMILY_IPV4 : EHLO_FAMILY_IPV6, .port = (uint16_t)turn };
        address.octets[2] = (uint8_t)(n >> 8);
        address.octets[3] = (uint8_t)n;
        if (address.family == EHLO_FAMILY_IPV6) address.octets[15] = (uint8_t)turn; /* within one /64 */
        if ((seed >> 8) % 2 != 0) {
            int allowed = counts[n] < MAX && total < TOTAL;
            assert_int_equal(ehlo_limits_take(limits, &address), allowed);
            counts[n] += (size_t)allowed;
            total += (size_t)allowed;
        } else if (counts[n] > 0) {
            ehlo_limits_give(limits, &address);
            counts[n]--;
            total--;
        }
    }
    ehlo_limits_free(limits);
}

/* -- PROXY ------------------------------------------------------------------------------------------ */

static void proxy_open(world *w, uint32_t ms, ehlo_limits *limits)
{
    ehlo_listen_config listen = { .address = loopback(0), .proxy = 1, .proxy_ms = ms, .limits = limits };
    world_open(w, NULL, NULL, &listen, NULL);
}

static void a_proxy_preface_tells_the_peer(void **state)
{
    static const char v1[] = "PROXY TCP4 192.0.2.7 198.51.100.1 1234 25\r\n";
    static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x04\xd2\x00\x19";
    static const struct {
        const char *bytes;
        size_t len;
    } prefaces[] = { { v1, sizeof v1 - 1 }, { v2, sizeof v2 - 1 } };
    static const uint8_t remote[4] = { 192, 0, 2, 7 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (int slowly = 0; slowly < 2; slowly++) {
            world w;
            client c;
            proxy_open(&w, 0, NULL);
            client_open(&c, &w);
            pump_quiet(w.loop);
            for (size_t at = 0; slowly && at + 1 < prefaces[i].len; at++) {
                client_write(&c, prefaces[i].bytes + at, 1);
                pump_quiet(w.loop);
            }
            assert_int_equal(w.app.connects, 0);
            size_t rest = slowly ? prefaces[i].len - 1 : 0;
            char all[128];
            memcpy(all, prefaces[i].bytes + rest, prefaces[i].len - rest);
            memcpy(all + prefaces[i].len - rest, "NOOP\r\nQUIT\r\n", 12);
            client_write(&c, all, prefaces[i].len - rest + 12); /* what follows is the session's, without a new octet */
            await(&c, "221 ");
            assert_int_equal(count_lines(c.got, "250 "), 1);
            assert_int_equal(w.app.peer.proxied, 1);
            assert_int_equal(w.app.peer.remote.port, 1234);
            assert_int_equal(w.app.peer.local.port, 25);
            assert_memory_equal(w.app.peer.remote.octets, remote, 4);
            client_close(&c);
            world_close(&w);
        }
    }
}

static void without_a_preface_the_connection_is_closed_without_a_word(void **state)
{
    static const char *const openings[] = { HELLO, "PROXY TCP4 nonsense\r\n", "", "PROXY TCP4 192.0.2.7" };
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        world w;
        client c;
        proxy_open(&w, 60, NULL);
        client_open(&c, &w);
        say(&c, openings[i]);
        await_end(&c);
        assert_int_equal(c.len, 0);
        assert_int_equal(w.app.connects, 0);
        pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
        client_close(&c);
        world_close(&w);
    }
}

static void limits_count_the_address_behind_the_proxy(void **state)
{
    static const struct {
        const char *preface;
        const char *reply;
    } cases[] = {
        { "PROXY TCP4 192.0.2.7 198.51.100.1 1 25\r\n", "220 " },
        { "PROXY TCP4 192.0.2.7 198.51.100.1 2 25\r\n", "421 4.7.0" },
        { "PROXY TCP4 192.0.2.8 198.51.100.1 3 25\r\n", "220 " },
        { "PROXY TCP6 2001:db8:0:1::1 2001:db8::9 4 25\r\n", "220 " },
        { "PROXY TCP6 2001:db8:0:1::2 2001:db8::9 5 25\r\n", "421 4.7.0" }, /* the same /64 */
        { "PROXY TCP6 2001:db8:0:2::1 2001:db8::9 6 25\r\n", "220 " },
    };
    enum { COUNT = sizeof cases / sizeof cases[0] };
    ehlo_limits *limits;
    world w;
    client c[COUNT];
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 0, 1), EHLO_OK);
    proxy_open(&w, 0, limits);
    for (size_t i = 0; i < COUNT; i++) {
        client_open(&c[i], &w);
        say(&c[i], cases[i].preface);
        await(&c[i], cases[i].reply);
    }
    for (size_t i = 0; i < COUNT; i++) client_close(&c[i]);
    world_close(&w);
    ehlo_limits_free(limits);
}

/* -- listeners -------------------------------------------------------------------------------------- */

static int have_ipv6(void)
{
    struct sockaddr_in6 any;
    memset(&any, 0, sizeof any);
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) return 0;
    int bound = bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
    close(fd);
    return bound;
}

static void an_ipv6_listener_serves_ipv6(void **state)
{
    ehlo_listen_config listen = { .address = { .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } } };
    world w;
    client c;
    (void)state;
    if (!have_ipv6()) skip();
    world_open(&w, NULL, NULL, &listen, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV6);
    assert_memory_equal(w.app.peer.local.octets, listen.address.octets, 16);
    client_close(&c);
    world_close(&w);
}

static void a_listener_on_every_address_tells_ipv4_as_ipv4(void **state)
{
    ehlo_listen_config listen = { .address = { .family = EHLO_FAMILY_NONE } };
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, &listen, NULL);
    assert_int_equal(w.address.family, EHLO_FAMILY_NONE);
    w.address = loopback(w.address.port);
    client_open(&c, &w);
    await(&c, "220 ");
    assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV4);
    assert_int_equal(w.app.peer.local.family, EHLO_FAMILY_IPV4);
    assert_memory_equal(w.app.peer.local.octets, w.address.octets, 4);
    client_close(&c);
    if (have_ipv6()) {
        w.address = (ehlo_address){ .family = EHLO_FAMILY_IPV6, .port = w.address.port, .octets = { [15] = 1 } };
        client_open(&c, &w);
        await(&c, "220 ");
        assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV6);
        client_close(&c);
    }
    world_close(&w);
}

#ifdef SO_REUSEPORT
static void two_loops_share_a_port(void **state)
{
    enum { CLIENTS = 64 };
    ehlo_listen_config listen = { .address = loopback(0), .share_port = 1 };
    world w, v;
    int fds[CLIENTS];
    (void)state;
    world_open(&w, NULL, NULL, &listen, NULL);
    listen.address = w.address;
    world_open(&v, NULL, NULL, &listen, NULL);
    assert_int_equal(v.address.port, w.address.port);
    for (int i = 0; i < CLIENTS; i++) fds[i] = client_socket(&w.address);
    for (int i = 0; i < 1000 && w.app.connects + v.app.connects < CLIENTS; i++) {
        ehlo_loop_step(w.loop, 1);
        ehlo_loop_step(v.loop, 1);
    }
    assert_int_equal(w.app.connects + v.app.connects, CLIENTS);
    assert_true(w.app.connects > 0 && v.app.connects > 0);
    for (int i = 0; i < CLIENTS; i++) close(fds[i]);
    world_close(&w);
    world_close(&v);
}
#endif

static void a_port_in_use_is_an_error_of_the_system(void **state)
{
    world w;
    ehlo_listen_config listen = { 0 };
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    listen.address = w.address;
    listen.service = w.service;
    errno = 0;
    assert_int_equal(ehlo_loop_listen(w.loop, &listen, NULL), EHLO_ERR_SYSTEM);
    assert_int_equal(errno, EADDRINUSE);
    listen.implicit_tls = 1;
    assert_int_equal(ehlo_loop_listen(w.loop, &listen, NULL), EHLO_ERR_ARG);
    listen.implicit_tls = 0;
    listen.service = NULL;
    assert_int_equal(ehlo_loop_listen(w.loop, &listen, NULL), EHLO_ERR_ARG);
    world_close(&w);
}

static void connections_outlive_their_listener(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    client_open(&c, &w);
    await(&c, "220 ");
    ehlo_listener_close(w.listener);
    say(&c, HELLO ENVELOPE);
    await(&c, "250 2.1.5");
    client_close(&c);
    pump_until(w.loop, w.app.closes == 1);
    world_close(&w);
}

/* -- inside another loop ---------------------------------------------------------------------------- */

static void the_descriptor_is_readable_when_there_is_work(void **state)
{
    world w;
    client c;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    struct pollfd watch = { .fd = ehlo_loop_fd(w.loop), .events = POLLIN };
#if defined(__linux__) && !defined(EHLO_NET_POLL)
    assert_int_equal(poll(&watch, 1, 0), 0);
    client_open(&c, &w);
    assert_int_equal(poll(&watch, 1, PATIENCE_MS), 1);
    await(&c, "220 ");
    assert_in_range(ehlo_loop_timeout(w.loop), 1, 300000);
    client_close(&c);
#else
    (void)c;
    assert_int_equal(watch.fd, EHLO_ERR_UNSUPPORTED);
#endif
    world_close(&w);
}

/* -- addresses -------------------------------------------------------------------------------------- */

static void addresses_are_read_as_users_write_them(void **state)
{
    static const struct {
        const char *text;
        int family; /* -1: a syntax error */
        uint16_t port;
    } cases[] = {
        { "192.0.2.1:25", EHLO_FAMILY_IPV4, 25 },
        { "127.0.0.1:0", EHLO_FAMILY_IPV4, 0 },
        { "[2001:db8::1]:65535", EHLO_FAMILY_IPV6, 65535 },
        { "[::]:25", EHLO_FAMILY_IPV6, 25 },
        { "*:25", EHLO_FAMILY_NONE, 25 },
        { "localhost:25", EHLO_FAMILY_IPV4, 25 },
        { "", -1, 0 },
        { ":25", -1, 0 },
        { "25", -1, 0 },
        { "192.0.2.1", -1, 0 },
        { "192.0.2.1:", -1, 0 },
        { "192.0.2.1:65536", -1, 0 },
        { "192.0.2.1:+5", -1, 0 },
        { "192.0.2.1:000025", -1, 0 },
        { "2001:db8::1:25", -1, 0 },
        { "[2001:db8::1]", -1, 0 },
        { "[192.0.2.1]:25", -1, 0 },
        { "[]:25", -1, 0 },
        { "[:25", -1, 0 },
        { "192.0.2:25", -1, 0 },
        { "mail.example:25", -1, 0 },
        { "192.0.2.1:2 5", -1, 0 },
        { "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:25", -1, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ehlo_address address;
        int result = ehlo_address_parse(ehlo_str_from(cases[i].text), &address);
        assert_int_equal(result, cases[i].family < 0 ? EHLO_ERR_SYNTAX : EHLO_OK);
        if (result == EHLO_OK) assert_int_equal(address.family, cases[i].family);
        assert_int_equal(address.port, cases[i].port);
    }
    ehlo_address address;
    assert_int_equal(ehlo_address_parse(ehlo_str_make("127.0.0.1\0:25", 13), &address), EHLO_ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_conversation_runs_over_tcp),
#if defined(__linux__)
        cmocka_unit_test(a_pipelined_batch_is_answered_by_one_send),
#endif
        cmocka_unit_test(a_half_closed_peer_gets_all_replies),
        cmocka_unit_test(a_half_closed_message_is_discarded),
        cmocka_unit_test(a_reset_ends_the_session_and_no_other),
        cmocka_unit_test(a_reset_is_noticed_while_an_answer_is_pending),
        cmocka_unit_test(a_hundred_thousand_noops_in_one_write_are_all_answered),
        cmocka_unit_test(a_peer_that_does_not_read_is_not_read_from),
        cmocka_unit_test(a_conversation_byte_by_byte_is_the_same),
        cmocka_unit_test(a_body_taken_slowly_arrives_whole),
        cmocka_unit_test(a_large_message_arrives_whole),
        cmocka_unit_test(an_answer_comes_from_another_thread),
        cmocka_unit_test(an_answer_comes_from_inside_the_callback),
        cmocka_unit_test(an_answer_that_may_not_be_sent_keeps_its_code),
        cmocka_unit_test(a_stale_id_or_token_does_nothing),
        cmocka_unit_test(timers_fire_in_order_and_once),
        cmocka_unit_test(a_timer_that_starts_itself_does_not_hold_up_the_round),
        cmocka_unit_test(many_timers_fire_in_order),
        cmocka_unit_test(work_posted_by_many_threads_is_all_done),
        cmocka_unit_test(posted_work_is_done_in_order),
        cmocka_unit_test(a_silent_peer_is_told_421),
        cmocka_unit_test(a_peer_that_falls_silent_in_a_message_is_told_421),
        cmocka_unit_test(connections_are_numbered_from_1_and_no_number_comes_twice),
        cmocka_unit_test(stop_lets_a_message_finish_and_says_421_to_idle_peers),
        cmocka_unit_test(stop_ends_what_does_not_finish_in_time),
        cmocka_unit_test(stop_does_not_wait_long_for_peers_that_have_their_last_reply),
        cmocka_unit_test(stop_from_a_signal_handler_ends_run),
        cmocka_unit_test(freeing_a_loop_closes_its_sessions),
        cmocka_unit_test(the_last_reply_arrives_though_input_is_unread),
        cmocka_unit_test(a_lingering_close_ends_without_the_peer),
        cmocka_unit_test(a_server_starts_again_at_once_on_the_same_port),
        cmocka_unit_test(a_session_without_memory_ends_alone),
        cmocka_unit_test(a_session_that_wants_tls_ends_as_long_as_there_is_none),
        cmocka_unit_test(accepting_backs_off_without_descriptors_and_recovers),
        cmocka_unit_test(connections_beyond_the_limit_are_told_421),
        cmocka_unit_test(connections_of_one_address_are_limited_across_loops),
        cmocka_unit_test(limits_count_like_a_plain_table),
        cmocka_unit_test(a_proxy_preface_tells_the_peer),
        cmocka_unit_test(without_a_preface_the_connection_is_closed_without_a_word),
        cmocka_unit_test(limits_count_the_address_behind_the_proxy),
        cmocka_unit_test(an_ipv6_listener_serves_ipv6),
        cmocka_unit_test(a_listener_on_every_address_tells_ipv4_as_ipv4),
#ifdef SO_REUSEPORT
        cmocka_unit_test(two_loops_share_a_port),
#endif
        cmocka_unit_test(a_port_in_use_is_an_error_of_the_system),
        cmocka_unit_test(connections_outlive_their_listener),
        cmocka_unit_test(the_descriptor_is_readable_when_there_is_work),
        cmocka_unit_test(addresses_are_read_as_users_write_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
