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
#include <unistd.h>

#include <cmocka.h>

#include "app.h"
#include "ends.h"

/* -- the server's side ------------------------------------------------------------------------------ */

typedef struct world {
    app app; /* first: the listener's ctx is both */
    ehlo_service *service;
    ehlo_loop *loop;
    ehlo_listener *listener;
    ehlo_address address;
    /* A recipient that is answered later: */
    ehlo_token token;
    int answer_inside;
    pthread_t thread;
    int use_thread;
    ehlo_reply reply;
} world;

static void *answer_in_thread(void *arg)
{
    world *w = arg;
    char text[] = "from elsewhere";
    ehlo_reply reply = { .code = 251, .enhanced = { 2, 1, 5 }, .text = ehlo_str_from(text) };
    ehlo_loop_answer(w->loop, w->app.id, w->token, &reply);
    memset(text, 'x', sizeof text); /* the reply was copied */
    return NULL;
}

/* Answers as the world says: inside, from a thread, or when the test does. [C235] A loop is not run from inside. */
static int on_rcpt_later(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    world *w = ehlo_conn_ctx(s);
    (void)rcpt;
    (void)r;
    (void)user;
    w->token = token;
    assert_int_equal(ehlo_conn_number(s), w->app.id);
    assert_int_equal(ehlo_loop_step(w->loop, 0), EHLO_ERR_REENTRY);
    if (w->answer_inside) ehlo_loop_answer(w->loop, w->app.id, token, &w->reply);
    if (w->use_thread) assert_int_equal(pthread_create(&w->thread, NULL, answer_in_thread, w), 0);
    return EHLO_LATER;
}

static ehlo_server_callbacks later_callbacks(void)
{
    ehlo_server_callbacks callbacks = app_callbacks;
    callbacks.on_rcpt = on_rcpt_later;
    return callbacks;
}

static const ehlo_service_config plain_config = { .hostname = { "test.example", 12 } };

/* NULL: the plain ones. */
static void world_open(world *w, const ehlo_service_config *cfg, const ehlo_server_callbacks *callbacks,
                       const ehlo_listen_config *listen, const ehlo_loop_config *loop)
{
    ehlo_listen_config own = { .address = loopback(0) };
    memset(w, 0, sizeof *w);
    assert_int_equal(
        ehlo_net_service_new(&w->service, cfg ? cfg : &plain_config, callbacks ? callbacks : &app_callbacks), EHLO_OK);
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
    ends_close();
}

static end *dial(world *w)
{
    return end_new(w->loop, connected_socket(&w->address, 0));
}

/* A world with one client. */
static end *world_and_end(world *w, const ehlo_service_config *cfg, const ehlo_server_callbacks *callbacks)
{
    world_open(w, cfg, callbacks, NULL, NULL);
    return dial(w);
}

/* -- conversations ---------------------------------------------------------------------------------- */

static void a_conversation_runs_over_tcp(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    await(c, "220 test.example");
    say(c, HELLO);
    await(c, "\r\n250 ");
    say(c, "MAIL FROM:<a@example.org>\r\n");
    await(c, "250 2.1.0");
    say(c, "RCPT TO:<b@example.org>\r\n");
    await(c, "250 2.1.5");
    say(c, "DATA\r\n");
    await(c, "354 ");
    say(c, "Subject: x\r\n\r\n..hello\r\n.\r\n");
    await(c, "250 2.0.0");
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.octets, strlen("Subject: x\r\n\r\n.hello\r\n"));
    say(c, "QUIT\r\n");
    await(c, "221 ");
    await_end(c);
    assert_false(c->failed);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_QUIT);
    assert_int_equal(w.app.closes, 1);
    end_drop(c);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    world_close(&w);
}

#if defined(__linux__)
/* [C142] [C243] One segment is one send: there is TCP_NODELAY, and loopback's segments are larger than the replies. */
static void a_pipelined_batch_is_answered_by_one_send(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    await(c, "220 ");
    say(c, HELLO);
    await(c, "\r\n250 ");
    for (int i = 0; i < 3; i++) {
        unsigned before = data_segments_in(c->fd);
        end_forget(c);
        say(c, ENVELOPE "RCPT TO:<c@example.org>\r\nDATA\r\n");
        await(c, "354 ");
        assert_int_equal(data_segments_in(c->fd) - before, 1);
        say(c, "x\r\n.\r\nNOOP\r\n");
        await(c, "250 2.0.0");
    }
    world_close(&w);
}
#endif

/* [C141] What was consumed is answered, though the peer sends no more. */
static void a_half_closed_peer_gets_all_replies(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE "DATA\r\nbody\r\n.\r\nNOOP\r\n");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    await_end(c);
    assert_false(c->failed);
    assert_int_equal(count_lines(c->got, "220 "), 1);
    assert_int_equal(count_lines(c->got, "354 "), 1);
    assert_int_equal(count_lines(c->got, "250 "), 5); /* hello, MAIL, RCPT, message, NOOP */
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_EOF);
    assert_int_equal(ehlo_loop_connections(w.loop), 0); /* no lingering for a peer that has finished */
    world_close(&w);
}

/* [R03] [C75] */
static void a_half_closed_message_is_discarded(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE "DATA\r\nhalf a message\r\n");
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    await_end(c);
    assert_int_equal(count_lines(c->got, "250 "), 3); /* hello, MAIL, RCPT */
    assert_int_equal(w.app.messages, 0);
    assert_int_equal(w.app.resets, 1);
    world_close(&w);
}

/* [C75] */
static void a_reset_ends_the_session_and_no_other(void **state)
{
    world w;
    (void)state;
    end *other = world_and_end(&w, NULL, NULL);
    end *c = dial(&w);
    await(other, "220 ");
    say(c, HELLO ENVELOPE "DATA\r\nhalf a mess");
    await(c, "354 ");
    end_reset(c);
    pump_until(w.loop, w.app.closes == 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    assert_int_equal(w.app.resets, 1);
    assert_int_equal(w.app.messages, 0);
    say(other, HELLO);
    await(other, "\r\n250 ");
    world_close(&w);
}

/* Without interest in reading or writing, the poller tells of a reset unasked. */
static void a_reset_is_noticed_while_an_answer_is_pending(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, &callbacks);
    say(c, HELLO ENVELOPE);
    pump_until(w.loop, w.token != 0);
    pump_quiet(w.loop);
    end_move(c);
    end_reset(c);
    pump_until(w.loop, w.app.closes == 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
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
    size_t len;
    (void)state;
    char *bytes = noops(COUNT, &len);
    end *c = world_and_end(&w, &cfg, NULL);
    await(c, "220 ");
    end_forget(c);
    end_write(c, bytes, len);
    pump_until(w.loop, (end_move(c), c->len > COUNT && count_lines(c->got, "250 ") == COUNT));
    assert_int_equal(w.app.closes, 0);
    free(bytes);
    world_close(&w);
}

/* [R06] [C237] The peer that never reads fills the sockets' buffers and then waits: the loop reads no more than it must.
 * When it reads at last, nothing is lost. */
static void a_peer_that_does_not_read_is_not_read_from(void **state)
{
    enum { MOST = 4000000 };
    ehlo_service_config cfg = patient_config();
    world w;
    size_t len, sent = 0, replies = 0;
    int small = 65536;
    (void)state;
    char *bytes = noops(MOST, &len);
    end *c = world_and_end(&w, &cfg, NULL);
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    await(c, "220 ");
    end_forget(c);
    say(c, "NOOP\r\n");
    pump_until(w.loop, end_has(c, "\r\n"));
    size_t reply = c->len;
    for (int idle = 0; idle < 20;) {
        ssize_t n = send(c->fd, bytes + sent, len - sent, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) sent += (size_t)n;
        ehlo_loop_step(w.loop, 1);
    }
    assert_true(sent < len);
    assert_int_equal(w.app.closes, 0);
    uint64_t patience = now_ms() + PATIENCE_MS;
    while (replies < sent / 6 * reply) {
        c->len = 0;
        ehlo_loop_step(w.loop, 1);
        end_move(c);
        replies += c->len;
        assert_false(c->eof);
        assert_true(now_ms() < patience);
    }
    assert_int_equal(replies, sent / 6 * reply);
    free(bytes);
    world_close(&w);
}

/* [R01] [C234] */
static void a_conversation_byte_by_byte_is_the_same(void **state)
{
    static const char text[] = HELLO ENVELOPE "DATA\r\nline one\r\n..dot\r\n.\r\nQUIT\r\n";
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    await(c, "220 ");
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        end_write(c, text + i, 1);
        pump_quiet(w.loop);
    }
    await_end(c);
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.octets, strlen("line one\r\n.dot\r\n"));
    assert_int_equal(count_lines(c->got, "221 "), 1);
    world_close(&w);
}

/* All of the message is with the loop at once: no new octet comes to remind it of what was left. */
static void a_body_taken_slowly_arrives_whole(void **state)
{
    enum { SIZE = 60000 };
    world w;
    char line[] = "0123456789012345678901234567890123456789012345678901234567\r\n"; /* 60 octets */
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE "DATA\r\n");
    await(c, "354 ");
    w.app.body_at_once = 1000;
    for (int i = 0; i < SIZE / 60; i++) say(c, line);
    say(c, ".\r\nNOOP\r\nQUIT\r\n");
    await(c, "221 ");
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.octets, SIZE);
    world_close(&w);
}

static void a_large_message_arrives_whole(void **state)
{
    enum { LINES = 200000 };
    world w;
    (void)state;
    char *bytes = malloc(LINES * 60);
    assert_non_null(bytes);
    for (int i = 0; i < LINES; i++) {
        memcpy(bytes + i * 60, "0123456789012345678901234567890123456789012345678901234567\r\n", 60);
    }
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE "DATA\r\n");
    await(c, "354 ");
    end_write(c, bytes, LINES * 60);
    say(c, ".\r\nQUIT\r\n");
    await(c, "221 ");
    assert_int_equal(w.app.octets, LINES * 60);
    assert_int_equal(w.app.messages, 1);
    free(bytes);
    world_close(&w);
}

/* -- answers ---------------------------------------------------------------------------------------- */

static void an_answer_comes_from_another_thread(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, &callbacks);
    w.use_thread = 1;
    say(c, HELLO ENVELOPE "DATA\r\n");
    await(c, "251 2.1.5 from elsewhere\r\n");
    assert_int_equal(pthread_join(w.thread, NULL), 0);
    await(c, "354 "); /* what was pipelined behind it is taken without a new octet */
    world_close(&w);
}

static void an_answer_comes_from_inside_the_callback(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    world w;
    (void)state;
    world_open(&w, NULL, &callbacks, NULL, NULL);
    w.answer_inside = 1;
    w.reply = (ehlo_reply){ .code = 550, .enhanced = { 5, 1, 1 }, .text = ehlo_str_from("no such person") };
    end *c = dial(&w);
    say(c, HELLO ENVELOPE "NOOP\r\n");
    await(c, "550 5.1.1 no such person\r\n250 2.0.0");
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
        end *c = world_and_end(&w, NULL, &callbacks);
        say(c, HELLO ENVELOPE);
        pump_until(w.loop, w.token != 0);
        end_move(c);
        end_forget(c);
        ehlo_loop_answer(w.loop, w.app.id, w.token, &cases[i].reply);
        await(c, cases[i].start);
        world_close(&w);
    }
}

static void a_stale_id_or_token_does_nothing(void **state)
{
    ehlo_server_callbacks callbacks = later_callbacks();
    ehlo_reply refusal = { .code = 550 };
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, &callbacks);
    say(c, HELLO ENVELOPE);
    pump_until(w.loop, w.token != 0);
    ehlo_conn_id first = w.app.id;
    assert_true(first != 0);
    assert_int_equal(ehlo_loop_answer(w.loop, first, w.token + 77, &refusal), EHLO_OK);
    pump_quiet(w.loop);
    assert_int_equal(ehlo_loop_answer(w.loop, first, w.token, NULL), EHLO_OK);
    await(c, "250 2.1.5");
    end_drop(c);
    pump_until(w.loop, w.app.closes == 1);
    assert_null(ehlo_loop_server(w.loop, first));

    c = dial(&w); /* under another id */
    say(c, HELLO ENVELOPE);
    pump_until(w.loop, w.app.connects == 2 && w.app.id != first);
    assert_null(ehlo_loop_server(w.loop, first));
    pump_quiet(w.loop);
    ehlo_loop_answer(w.loop, first, w.token, &refusal);
    ehlo_loop_answer(w.loop, 0, w.token, &refusal);
    ehlo_loop_answer(w.loop, UINT64_MAX, w.token, &refusal);
    ehlo_loop_resume(w.loop, first);
    pump_quiet(w.loop);
    end_move(c);
    assert_null(strstr(c->got, "550"));
    assert_null(ehlo_loop_server(w.loop, 0));
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
    (void)state;
    cfg.command_ms = 60;
    end *c = world_and_end(&w, &cfg, NULL);
    await(c, "220 ");
    say(c, HELLO);
    await(c, "\r\n250 ");
    uint64_t start = now_ms();
    await(c, "421 4.4.2");
    assert_true(now_ms() - start >= 50);
    await_end(c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_TIMEOUT);
    world_close(&w);
}

/* The timer of a command must not stand in for the shorter one of a message. */
static void a_peer_that_falls_silent_in_a_message_is_told_421(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    (void)state;
    cfg.data_ms = 60;
    end *c = world_and_end(&w, &cfg, NULL);
    say(c, HELLO ENVELOPE "DATA\r\n");
    await(c, "354 ");
    await(c, "421 4.4.2");
    await_end(c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_TIMEOUT);
    world_close(&w);
}

/* Some stay, so that their slots are met again and again; all that is known of the others is that they are gone. */
static void connections_are_numbered_from_1_and_no_number_comes_twice(void **state)
{
    enum { STAYING = 20, PASSING = 120 };
    world w;
    end *staying[STAYING];
    ehlo_conn_id ids[STAYING], last = 0;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    for (int i = 0; i < STAYING; i++) {
        staying[i] = dial(&w);
        await(staying[i], "220 ");
        ids[i] = w.app.id;
        assert_true(ids[i] > last);
        last = ids[i];
    }
    assert_int_equal(ids[0], 1);
    for (unsigned i = 0; i < PASSING; i++) {
        end *passing = dial(&w);
        await(passing, "220 ");
        assert_true(w.app.id > last);
        last = w.app.id;
        end_drop(passing);
        pump_until(w.loop, w.app.closes == i + 1);
        assert_null(ehlo_loop_server(w.loop, last));
    }
    for (int i = 0; i < STAYING; i++) assert_non_null(ehlo_loop_server(w.loop, ids[i]));
    world_close(&w);
}

/* -- the end ---------------------------------------------------------------------------------------- */

/* [C88] */
static void stop_lets_a_message_finish_and_says_421_to_idle_peers(void **state)
{
    world w;
    (void)state;
    end *busy = world_and_end(&w, NULL, NULL);
    end *idle = dial(&w);
    say(busy, HELLO ENVELOPE "DATA\r\nhalf");
    await(busy, "354 ");
    say(idle, HELLO);
    await(idle, "\r\n250 ");
    ehlo_loop_stop(w.loop, 10000);
    await(idle, "421 ");
    await_end(idle);
    assert_int_equal(w.app.messages, 0);
    say(busy, " and half\r\n.\r\n");
    await(busy, "250 2.0.0");
    await_end(busy);
    assert_int_equal(w.app.messages, 1);
    assert_int_equal(w.app.closes, 2);
    assert_int_equal(w.app.resets, 0);
    end_drop(idle);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 5000);
    assert_int_equal(ehlo_loop_step(w.loop, -1), 0);
    world_close(&w);
}

static void stop_ends_what_does_not_finish_in_time(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE "DATA\r\nhalf");
    await(c, "354 ");
    ehlo_loop_stop(w.loop, 60000);
    assert_int_equal(ehlo_loop_step(w.loop, 0), 1);
    ehlo_loop_stop(w.loop, 50); /* shorter */
    ehlo_loop_stop(w.loop, 70000);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 5000);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(w.app.resets, 1);
    world_close(&w);
}

/* One has said QUIT and stays, the other is told to go and stays; both have their last reply. */
static void stop_does_not_wait_long_for_peers_that_have_their_last_reply(void **state)
{
    world w;
    (void)state;
    end *quit = world_and_end(&w, NULL, NULL);
    end *idle = dial(&w);
    say(quit, "QUIT\r\n");
    await_end(quit);
    say(idle, HELLO);
    await(idle, "\r\n250 ");
    assert_int_equal(ehlo_loop_connections(w.loop), 2);
    ehlo_loop_stop(w.loop, 10000);
    uint64_t start = now_ms();
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_true(now_ms() - start < 1500);
    await_end(idle);
    assert_int_equal(count_lines(idle->got, "421 "), 1);
    assert_false(idle->failed);
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
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    signalled = w.loop;
    signal(SIGUSR1, stop_from_signal);
    dial(&w);
    ehlo_timer_start(w.loop, &timer, 10, raise_signal, NULL);
    assert_int_equal(ehlo_loop_run(w.loop), EHLO_OK);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(ehlo_loop_connections(w.loop), 0);
    signal(SIGUSR1, SIG_DFL);
    world_close(&w);
}

static void freeing_a_loop_closes_its_sessions(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, HELLO ENVELOPE);
    await(c, "250 2.1.5");
    world_close(&w);
    assert_int_equal(w.app.closes, 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_CLOSED);
    assert_int_equal(w.app.resets, 1);
}

/* A reset in answer to unread input would overtake the reply. */
static void the_last_reply_arrives_though_input_is_unread(void **state)
{
    ehlo_loop_config small = { .input_size = 4096 };
    world w;
    char junk[40000];
    (void)state;
    memset(junk, 'x', sizeof junk);
    world_open(&w, NULL, NULL, NULL, &small);
    end *c = dial(&w);
    await(c, "220 ");
    end_forget(c);
    say(c, "QUIT\r\n");
    end_write(c, junk, sizeof junk);
    await_end(c);
    assert_false(c->failed);
    assert_int_equal(count_lines(c->got, "221 "), 1);
    assert_int_equal(w.app.closes, 1);
    end_drop(c);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    world_close(&w);
}

static void a_lingering_close_ends_without_the_peer(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    say(c, "QUIT\r\n");
    await_end(c);
    assert_int_equal(ehlo_loop_connections(w.loop), 1);
    uint64_t start = now_ms();
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    assert_true(now_ms() - start < 4000);
    world_close(&w);
}

static void a_server_starts_again_at_once_on_the_same_port(void **state)
{
    world w;
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    await(c, "220 ");
    ehlo_listen_config listen = { .address = w.address };
    world_close(&w); /* our end closes first: it is left in TIME_WAIT */
    world_open(&w, NULL, NULL, &listen, NULL);
    c = dial(&w);
    await(c, "220 ");
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
    (void)state;
    cfg.lender = (ehlo_lender){ lend, give, NULL };
    lender_is_empty = 0;
    end *c = world_and_end(&w, &cfg, NULL);
    end *other = dial(&w);
    await(c, "220 ");
    await(other, "220 ");
    lender_is_empty = 1;
    say(c, HELLO);
    await_end(c);
    assert_int_equal(w.app.closes, 1);
    lender_is_empty = 0;
    say(other, HELLO);
    await(other, "\r\n250 ");
    world_close(&w);
}

static void a_session_that_wants_tls_ends_as_long_as_there_is_none(void **state)
{
    ehlo_service_config cfg = plain_config;
    world w;
    (void)state;
    cfg.extensions = EHLO_CAP_STARTTLS;
    end *c = world_and_end(&w, &cfg, NULL);
    say(c, HELLO);
    await(c, "\r\n250 ");
    say(c, "STARTTLS\r\n");
    await_end(c);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
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
    (void)state;
    end *early = world_and_end(&w, NULL, NULL);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    tight = saved;
    tight.rlim_cur = (rlim_t)lowest_free_descriptor();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    int rounds = 0;
    for (uint64_t later = now_ms() + 250; now_ms() < later; rounds++) ehlo_loop_step(w.loop, 50);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    assert_int_equal(w.app.connects, 0);
    assert_in_range(rounds, 3, 30);
    end *late = dial(&w);
    await(late, "220 ");
    pump_until(w.loop, end_has(early, "220 ") || end_ended(early));
    world_close(&w);
}

/* -- limits ----------------------------------------------------------------------------------------- */

/* [R09] */
static void connections_beyond_the_limit_are_told_421(void **state)
{
    ehlo_limits *limits;
    world w;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 2, 0), EHLO_OK);
    ehlo_listen_config listen = { .address = loopback(0), .limits = limits };
    world_open(&w, NULL, NULL, &listen, NULL);
    end *a = dial(&w);
    end *b = dial(&w);
    end *c = dial(&w);
    await(a, "220 ");
    await(b, "220 ");
    await(c, "421 4.7.0 ");
    await_end(c);
    assert_false(c->failed);
    assert_int_equal(w.app.connects, 2);
    end_drop(a);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 1);
    end_drop(c);
    c = dial(&w);
    await(c, "220 ");
    world_close(&w);
    ehlo_limits_free(limits);
}

static void connections_of_one_address_are_limited_across_loops(void **state)
{
    ehlo_limits *limits;
    world w, v;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 0, 1), EHLO_OK);
    ehlo_listen_config listen = { .address = loopback(0), .limits = limits };
    world_open(&w, NULL, NULL, &listen, NULL);
    world_open(&v, NULL, NULL, &listen, NULL);
    end *a = dial(&w);
    await(a, "220 ");
    end *b = dial(&v);
    await(b, "421 4.7.0 ");
    await_end(b);
    end_drop(a);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
    b = dial(&v);
    await(b, "220 ");
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
            proxy_open(&w, 0, NULL);
            end *c = dial(&w);
            pump_quiet(w.loop);
            for (size_t at = 0; slowly && at + 1 < prefaces[i].len; at++) {
                end_write(c, prefaces[i].bytes + at, 1);
                pump_quiet(w.loop);
            }
            assert_int_equal(w.app.connects, 0);
            size_t rest = slowly ? prefaces[i].len - 1 : 0;
            char all[128];
            memcpy(all, prefaces[i].bytes + rest, prefaces[i].len - rest);
            memcpy(all + prefaces[i].len - rest, "NOOP\r\nQUIT\r\n", 12);
            end_write(c, all, prefaces[i].len - rest + 12); /* what follows is the session's, without a new octet */
            pump_until(w.loop, end_has(c, "221 "));
            assert_int_equal(count_lines(c->got, "250 "), 1);
            assert_int_equal(w.app.peer.proxied, 1);
            assert_int_equal(w.app.peer.remote.port, 1234);
            assert_int_equal(w.app.peer.local.port, 25);
            assert_memory_equal(w.app.peer.remote.octets, remote, 4);
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
        proxy_open(&w, 60, NULL);
        end *c = dial(&w);
        say(c, openings[i]);
        await_end(c);
        assert_int_equal(c->len, 0);
        assert_int_equal(w.app.connects, 0);
        pump_until(w.loop, ehlo_loop_connections(w.loop) == 0);
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
    end *c[COUNT];
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 0, 1), EHLO_OK);
    proxy_open(&w, 0, limits);
    for (size_t i = 0; i < COUNT; i++) {
        c[i] = dial(&w);
        say(c[i], cases[i].preface);
        await(c[i], cases[i].reply);
    }
    world_close(&w);
    ehlo_limits_free(limits);
}

/* -- listeners -------------------------------------------------------------------------------------- */

static void an_ipv6_listener_serves_ipv6(void **state)
{
    ehlo_listen_config listen = { .address = { .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } } };
    world w;
    (void)state;
    if (!have_ipv6()) skip();
    world_open(&w, NULL, NULL, &listen, NULL);
    end *c = dial(&w);
    await(c, "220 ");
    assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV6);
    assert_memory_equal(w.app.peer.local.octets, listen.address.octets, 16);
    world_close(&w);
}

static void a_listener_on_every_address_tells_ipv4_as_ipv4(void **state)
{
    ehlo_listen_config listen = { .address = { .family = EHLO_FAMILY_NONE } };
    world w;
    (void)state;
    world_open(&w, NULL, NULL, &listen, NULL);
    assert_int_equal(w.address.family, EHLO_FAMILY_NONE);
    w.address = loopback(w.address.port);
    end *c = dial(&w);
    await(c, "220 ");
    assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV4);
    assert_int_equal(w.app.peer.local.family, EHLO_FAMILY_IPV4);
    assert_memory_equal(w.app.peer.local.octets, w.address.octets, 4);
    end_drop(c);
    if (have_ipv6()) {
        w.address = (ehlo_address){ .family = EHLO_FAMILY_IPV6, .port = w.address.port, .octets = { [15] = 1 } };
        c = dial(&w);
        await(c, "220 ");
        assert_int_equal(w.app.peer.remote.family, EHLO_FAMILY_IPV6);
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
    for (int i = 0; i < CLIENTS; i++) fds[i] = connected_socket(&w.address, 0);
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
    (void)state;
    end *c = world_and_end(&w, NULL, NULL);
    await(c, "220 ");
    ehlo_listener_close(w.listener);
    say(c, HELLO ENVELOPE);
    await(c, "250 2.1.5");
    end_drop(c);
    pump_until(w.loop, w.app.closes == 1);
    world_close(&w);
}

/* -- inside another loop ---------------------------------------------------------------------------- */

static void the_descriptor_is_readable_when_there_is_work(void **state)
{
    world w;
    (void)state;
    world_open(&w, NULL, NULL, NULL, NULL);
    struct pollfd watch = { .fd = ehlo_loop_fd(w.loop), .events = POLLIN };
#if defined(__linux__) && !defined(EHLO_NET_POLL)
    assert_int_equal(poll(&watch, 1, 0), 0);
    end *c = dial(&w);
    assert_int_equal(poll(&watch, 1, PATIENCE_MS), 1);
    await(c, "220 ");
    assert_in_range(ehlo_loop_timeout(w.loop), 1, 300000);
#else
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
