/* test_tls.c - TLS on connections of a loop, both ways, with an engine that plays every trick of one.
 *
 * The other side is the test: a socket, inside the same engine or not yet, moved between the loop's rounds. No sleep;
 * threads only where a call blocks. test_tls_poll.c runs all of it with the portable sources; test_tls_openssl.c has
 * a real engine. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ehlo/net.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app.h"
#include "ends.h"
#include "sender.h"

enum { BODY_MAX = 4 << 20 };

/* -- the world: a loop, a server of ours on it, and who sends --------------------------------------- */

typedef struct world {
    app app; /* first: the listener's ctx is both */
    ehlo_loop *loop;
    ehlo_service *service;
    ehlo_address address;
    int implicit;
    fake_plan plan; /* of the server */
    ehlo_tls_engine engine;
    fake_plan client_plan;
    ehlo_tls_engine client_engine;
    sender sender;
    const ehlo_credentials *credentials; /* of the sender */
    int stage;                           /* where the test plays a server; -1: it does not */
    uint16_t stage_port;

    unsigned mails;
    int later; /* 1: RCPT is answered when the test does */
    ehlo_token token;
    unsigned with;   /* as of on_mail */
    char sought[64]; /* likewise: the name that the client told */
} world;

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    world *w = ehlo_conn_ctx(s);
    const ehlo_tls_facts *facts = ehlo_server_tls_facts(s);
    (void)token;
    (void)mail;
    (void)r;
    (void)user;
    w->mails++;
    w->app.facts = facts;
    w->with = ehlo_server_with(s);
    if (facts == NULL) return EHLO_OK;
    assert_true(facts->server_name.len < sizeof w->sought);
    memcpy(w->sought, facts->server_name.ptr, facts->server_name.len);
    return EHLO_OK;
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    world *w = ehlo_conn_ctx(s);
    (void)rcpt;
    (void)r;
    (void)user;
    w->app.id = ehlo_conn_number(s);
    w->token = token;
    return w->later ? EHLO_LATER : EHLO_OK;
}

static ehlo_service_config plain_service(void)
{
    ehlo_service_config cfg = { .hostname = { "test.example", 12 },
                                .extensions = EHLO_CAP_SIZE | EHLO_CAP_8BITMIME | EHLO_CAP_PIPELINING |
                                              EHLO_CAP_CHUNKING | EHLO_CAP_ENHANCEDSTATUSCODES | EHLO_CAP_STARTTLS };
    return cfg;
}

/* cfg NULL: the plain one. */
static void world_open_as(world *w, const ehlo_service_config *cfg, ehlo_listen_config listen)
{
    const ehlo_service_config plain = plain_service();
    ehlo_server_callbacks callbacks = app_callbacks;
    ehlo_listener *listener;
    callbacks.on_mail = on_mail;
    callbacks.on_rcpt = on_rcpt;
    memset(w, 0, sizeof *w);
    w->engine = fake_engine(&w->plan);
    w->client_engine = fake_engine(&w->client_plan);
    w->implicit = listen.implicit_tls;
    w->stage = -1;
    assert_int_equal(ehlo_net_service_new(&w->service, cfg != NULL ? cfg : &plain, &callbacks), EHLO_OK);
    assert_int_equal(ehlo_loop_new(&w->loop, NULL), EHLO_OK);
    listen.address = loopback(0);
    listen.service = w->service;
    listen.ctx = w;
    listen.tls = &w->engine;
    assert_int_equal(ehlo_loop_listen(w->loop, &listen, &listener), EHLO_OK);
    w->address = ehlo_listener_address(listener);
    sender_open(&w->sender, w->loop, 1);
}

static world *world_open(world *w, int implicit)
{
    world_open_as(w, NULL, (ehlo_listen_config){ .implicit_tls = (uint8_t)implicit });
    return w;
}

/* What an engine opened it was told to close. */
static void world_close(world *w)
{
    ehlo_loop_free(w->loop);
    ehlo_net_service_free(w->service);
    ends_close();
    if (w->stage >= 0) close(w->stage);
    assert_int_equal(w->plan.opens, w->plan.closes);
    assert_int_equal(w->client_plan.opens, w->client_plan.closes);
    assert_int_equal(w->plan.reads_past_end + w->client_plan.reads_past_end, 0);
    assert_int_equal(w->app.connects, w->app.closes);
}

static void await_nobody(world *w)
{
    pump_until(w->loop, ehlo_loop_connections(w->loop) == 0);
}

/* The same when the peers have gone, and the loop knows. */
static void world_end(world *w)
{
    ends_close();
    await_nobody(w);
    world_close(w);
}

/* -- clients that the test plays -------------------------------------------------------------------- */

#define MESSAGE "Subject: x\r\n\r\n..hello\r\n.\r\n"

static end *dial(world *w)
{
    return end_new(w->loop, connected_socket(&w->address, 0));
}

/* In clear, greeted, and with a hello said. */
static end *dial_and_greet(world *w)
{
    end *e = dial(w);
    await(e, "220 test.example");
    say(e, HELLO);
    await(e, "\r\n250 ");
    return e;
}

/* Where the handshake is due: at once, or behind the 220 to STARTTLS. */
static end *dial_up_to_tls(world *w)
{
    if (w->implicit) return dial(w);
    end *e = dial_and_greet(w);
    say(e, "STARTTLS\r\n");
    await(e, "220 2.0.0");
    await(e, "\r\n");
    return e;
}

/* Begins TLS. */
static end *dial_tls(world *w)
{
    end *e = dial_up_to_tls(w);
    end_tls(e, 0);
    return e;
}

/* Inside TLS, greeted, and with a hello said. */
static end *dial_inside(world *w)
{
    end *e = dial_tls(w);
    if (w->implicit) await(e, "220 test.example");
    await_shaken(e);
    say(e, HELLO);
    await(e, "\r\n250 ");
    end_forget(e);
    return e;
}

/* -- a server's session ----------------------------------------------------------------------------- */

static end *converse(world *w)
{
    end *e = dial_inside(w);
    say(e, ENVELOPE "DATA\r\n");
    await(e, "354 ");
    say(e, MESSAGE "QUIT\r\n");
    await(e, "250 2.0.0");
    await(e, "221 ");
    await_end(e);
    return e;
}

/* [C207] [C208] What was said in clear is forgotten, and STARTTLS is not offered again. */
static void a_session_goes_on_inside_tls(void **state)
{
    world w;
    (void)state;
    end *e = dial_tls(world_open(&w, 0));
    say(e, "MAIL FROM:<a@example.org>\r\n");
    await(e, "503 ");
    assert_int_equal(w.mails, 0);
    say(e, HELLO);
    await(e, "250-test.example");
    pump_until(w.loop, end_has(e, "\r\n250 "));
    assert_null(strstr(e->got, "STARTTLS"));
    assert_non_null(strstr(e->got, "PIPELINING"));
    say(e, "STARTTLS\r\n");
    await(e, "\r\n503 ");
    say(e, "MAIL FROM:<a@example.org>\r\n");
    await(e, "250 2.1.0");
    assert_non_null(w.app.facts);
    assert_true(w.app.facts->version.len == 6 && memcmp(w.app.facts->version.ptr, "FAKEv1", 6) == 0);
    assert_string_equal(w.sought, "sought.example");
    assert_true(w.with & EHLO_WITH_TLS);
    assert_int_equal(w.plan.flags, EHLO_ENGINE_AS_SERVER);
    assert_string_equal(w.plan.name, "");
    assert_int_equal(w.plan.facts, 1);
    world_close(&w);
}

/* [C138] The facts are there before the greeting. */
static void implicit_tls_begins_before_the_greeting(void **state)
{
    world w;
    (void)state;
    end *e = dial(world_open(&w, 1));
    pump_quiet(w.loop);
    end_move(e);
    assert_int_equal(e->len, 0);
    assert_int_equal(w.app.connects, 0);
    end_tls(e, 0);
    await(e, "220 test.example");
    assert_non_null(w.app.facts);
    assert_int_equal(w.app.facts->exporter.len, 32);
    say(e, HELLO);
    pump_until(w.loop, end_has(e, "\r\n250 "));
    assert_null(strstr(e->got, "STARTTLS"));
    say(e, "STARTTLS\r\n");
    await(e, "\r\n503 ");
    world_close(&w);
}

/* What an engine may do, without a change to what is said. */
static const struct trick {
    const char *name;
    fake_plan plan;
} tricks[] = {
    { "none", { .give_max = 0 } },
    { "reads give an octet", { .give_max = 1 } },
    { "reads give seven octets", { .give_max = 7 } },
    { "writes take an octet", { .take_max = 1 } },
    { "the socket moves an octet at a time", { .trickle = 1 } },
    { "reads want to write", { .reads_write = 1 } },
    { "reads want to write, and give an octet", { .reads_write = 1, .give_max = 1 } },
    { "writes want to read", { .writes_read = 1 } },
    { "writes want to read, and take three octets", { .writes_read = 1, .take_max = 3 } },
    { "all of them", { .give_max = 2, .take_max = 5, .trickle = 1, .reads_write = 1, .writes_read = 1 } },
};
enum { TRICKS = sizeof tricks / sizeof tricks[0] };

static void a_server_bears_with_every_trick_of_an_engine(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * TRICKS; i++) {
        int implicit = i % 2 == 1;
        world w;
        world_open(&w, implicit);
        w.plan = tricks[i / 2].plan;
        end *e = converse(&w);
        if (w.app.messages != 1) print_message("trick: %s\n", tricks[i / 2].name);
        assert_int_equal(w.app.messages, 1);
        assert_int_equal(w.app.octets, strlen("Subject: x\r\n\r\n.hello\r\n"));
        assert_int_equal(w.app.close_reason, EHLO_CLOSE_QUIT);
        assert_true(e->closed || w.plan.trickle); /* by a notice, which is tried once, and which no cut looks like */
        assert_int_equal(w.plan.shutdowns, 1);
        end_drop(e);
        await_nobody(&w);
        assert_int_equal(w.plan.closes, 1);
        world_close(&w);
    }
}

/* -- what the engine holds -------------------------------------------------------------------------- */

/* Where a read of the engine ends, so that the rest is held: a whole command, half of one, two and a half. */
static void commands_that_the_engine_holds_are_answered(void **state)
{
    static const char text[] = "NOOP\r\nRSET\r\nNOOP\r\n";
    static const size_t gives[] = { 6, 3, 12, 15, 17 };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof gives / sizeof gives[0]; i++) {
        int implicit = i % 2 == 1;
        world w;
        end *e = dial_inside(world_open(&w, implicit));
        w.plan.give_max = gives[i / 2];
        say(e, text); /* in one record; behind it nothing is readable any more */
        pump_until(w.loop, (end_move(e), count_lines(e->got, "250 ") == 3));
        world_close(&w);
    }
}

/* Half a command is held when the other half has yet to come. */
static void a_half_command_that_the_engine_holds_waits_for_its_end(void **state)
{
    world w;
    (void)state;
    end *e = dial_inside(world_open(&w, 1));
    w.plan.give_max = 6;
    say(e, "NOOP\r\nRSE");
    pump_until(w.loop, (end_move(e), count_lines(e->got, "250 ") == 1));
    pump_quiet(w.loop);
    say(e, "T\r\n");
    pump_until(w.loop, (end_move(e), count_lines(e->got, "250 ") == 2));
    world_close(&w);
}

/* The last octets of the handshake and the first command come in one segment, which the handshake has swallowed. */
static void a_command_that_came_with_the_end_of_the_handshake_is_answered(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        end *e = dial_tls(world_open(&w, implicit));
        end_move(e);
        pump_until(w.loop, e->tls->in_len > 0 || (fake_fill(e->tls), e->tls->in_len > 0)); /* the server's part */
        e->plan.cork = 1;
        await_shaken(e);
        say(e, implicit ? "NOOP\r\n" : HELLO);
        e->plan.cork = 0;
        fake_flush(e->tls);
        if (implicit) await(e, "220 test.example");
        await(e, implicit ? "250 2.0.0" : "\r\n250 ");
        world_close(&w);
    }
}

/* A session that waits for an answer reads nothing, and what the engine holds is there when it reads again. */
static void what_the_engine_holds_outlasts_a_pending_answer(void **state)
{
    static const size_t gives[] = { 0, 1, 26, 60 };
    (void)state;
    for (size_t i = 0; i < sizeof gives / sizeof gives[0]; i++) {
        world w;
        end *e = dial_inside(world_open(&w, 1));
        w.later = 1;
        w.plan.give_max = gives[i];
        say(e, ENVELOPE "NOOP\r\nDATA\r\n");
        pump_until(w.loop, w.token != 0);
        pump_quiet(w.loop);
        end_move(e);
        assert_null(strstr(e->got, "354"));
        assert_int_equal(ehlo_loop_answer(w.loop, w.app.id, w.token, NULL), EHLO_OK);
        await(e, "354 ");
        world_close(&w);
    }
}

/* The same for a body that is taken slowly. */
static void what_the_engine_holds_outlasts_a_body_that_is_stopped(void **state)
{
    enum { SIZE = 30000 };
    static const size_t gives[] = { 0, 500, 7 };
    (void)state;
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = "0123456789012345678901234567890123456789012345678901234567\r\n"[i % 60];
    for (size_t i = 0; i < sizeof gives / sizeof gives[0]; i++) {
        world w;
        end *e = dial_inside(world_open(&w, 1));
        say(e, ENVELOPE "DATA\r\n");
        await(e, "354 ");
        w.app.body_at_once = 999;
        w.plan.give_max = gives[i];
        end_write(e, text, SIZE);
        say(e, ".\r\nQUIT\r\n");
        await(e, "250 2.0.0");
        await(e, "221 ");
        assert_int_equal(w.app.octets, SIZE);
        world_close(&w);
    }
    free(text);
}

/* -- clear text behind STARTTLS --------------------------------------------------------------------- */

#define INJECTED "MAIL FROM:<injected@x.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n"

/* What remains of a session that was talked into: nothing was done, and it is gone. */
static void assert_refused(world *w)
{
    pump_until(w->loop, w->app.closes == 1);
    assert_int_equal(w->mails + w->app.messages, 0);
    assert_true(w->app.close_reason == EHLO_CLOSE_PROTOCOL || w->app.close_reason == EHLO_CLOSE_LOST);
    world_end(w);
}

/* [T01] [T02] [C209] In one segment: the command, and behind it 1 octet, or 2... or all of these. Then a handshake
 * that nothing is wrong with. */
static void clear_text_behind_starttls_ends_the_session_at_every_cut(void **state)
{
    static const char text[] = "STARTTLS\r\n" INJECTED;
    (void)state;
    for (size_t cut = strlen("STARTTLS\r\n") + 1; cut < sizeof text; cut++) {
        world w;
        end *e = dial_and_greet(world_open(&w, 0));
        say_clear(e, text, cut);
        end_forget(e);
        pump_until(w.loop, w.app.closes == 1 || end_has(e, "\r\n"));
        assert_int_equal(count_lines(e->got, "250 "), 0);
        if (e->len > 0) assert_int_equal(strncmp(e->got, "220 ", 4), 0);
        assert_refused(&w);
    }
}

/* [C209] In two segments, cut anywhere: the second comes when the loop has done with the first, and finds a handshake
 * where the command was whole. */
static void clear_text_in_two_segments_is_never_executed(void **state)
{
    static const char text[] = "STARTTLS\r\n" INJECTED;
    (void)state;
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        world w;
        end *e = dial_and_greet(world_open(&w, 0));
        say_clear(e, text, cut);
        pump_quiet(w.loop);
        ssize_t sent = send(e->fd, text + cut, sizeof text - 1 - cut, MSG_NOSIGNAL);
        assert_true(sent > 0 || cut > strlen("STARTTLS\r\n"));
        assert_refused(&w);
    }
}

/* [T03] */
static void much_clear_text_behind_starttls_ends_the_session(void **state)
{
    enum { SIZE = 65536 };
    world w;
    (void)state;
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++) text[i] = "NOOP\r\n"[i % 6];
    memcpy(text, "STARTTLS\r\n\r\n", 12);
    end *e = dial_and_greet(world_open(&w, 0));
    end_forget(e);
    for (size_t at = 0; at < SIZE;) {
        ssize_t n = send(e->fd, text + at, SIZE - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) break;
        if (n > 0) at += (size_t)n;
        ehlo_loop_step(w.loop, 0);
    }
    pump_until(w.loop, w.app.closes == 1);
    end_move(e);
    assert_int_equal(count_lines(e->got, "250"), 0);
    free(text);
    assert_refused(&w);
}

/* A client that does not wait for the 220 cannot be told from one whose words were put before its handshake. */
static void a_handshake_that_does_not_wait_for_the_220_ends_the_session(void **state)
{
    world w;
    char text[64];
    size_t len = 0;
    (void)state;
    end *e = dial_and_greet(world_open(&w, 0));
    e->plan.cork = 1;
    end_tls(e, 0);
    end_move(e);
    memcpy(text, "STARTTLS\r\n", 10);
    len = 10 + e->tls->out_len;
    assert_true(e->tls->out_len > 0 && len < sizeof text);
    memcpy(text + 10, e->tls->out, e->tls->out_len);
    say_clear(e, text, len);
    assert_refused(&w);
}

/* -- handshakes that fail --------------------------------------------------------------------------- */

/* [T05] Nothing is said or heard in clear behind a handshake that failed, and others are not disturbed. */
static void a_handshake_that_fails_ends_its_session_alone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        int implicit = i >= 3;
        world w;
        end *other = dial_inside(world_open(&w, implicit));
        unsigned connects = w.app.connects;
        w.plan.fail_at = 1 + i % 3;
        end *e = dial_tls(&w);
        end_forget(e);
        await_end(e);
        assert_int_equal(e->len, 0);
        pump_until(w.loop, ehlo_loop_connections(w.loop) == 1);
        assert_int_equal(w.app.connects, connects + !implicit); /* no session, as it has no greeting */
        assert_int_equal(w.app.closes, !implicit);
        if (!implicit) assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
        assert_int_equal(w.plan.closes, 1);
        say(other, "NOOP\r\n");
        await(other, "250 2.0.0");
        world_close(&w);
    }
}

/* The peer goes in the midst of it, with a word or without. */
static void a_handshake_that_the_peer_leaves_ends_its_session(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        int implicit = i & 1;
        world w;
        end *e = dial_tls(world_open(&w, implicit));
        if (i & 2) {
            e->plan.endless = 1;
            end_move(e);
            pump_quiet(w.loop);
        }
        if (i & 4)
            end_reset(e);
        else
            end_drop(e);
        await_nobody(&w);
        if (!implicit) assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
        world_close(&w);
    }
}

/* Clear text where the handshake is due. */
static void commands_instead_of_a_handshake_are_not_answered(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        end *e = dial_up_to_tls(world_open(&w, implicit));
        end_forget(e);
        say_clear(e, HELLO ENVELOPE, sizeof HELLO ENVELOPE - 1);
        await_end(e);
        assert_int_equal(e->len, 0);
        assert_int_equal(w.mails, 0);
        world_end(&w);
    }
}

/* [R14] Silent, or with an octet now and then, for ever. */
static void a_handshake_that_never_ends_is_ended(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int implicit = i & 1, talks = i & 2;
        ehlo_service_config cfg = plain_service();
        world w;
        cfg.tls_ms = implicit ? 0 : SOON_MS;
        world_open_as(&w, &cfg,
                      (ehlo_listen_config){ .implicit_tls = (uint8_t)implicit, .tls_ms = implicit ? SOON_MS : 0 });
        uint64_t start = now_ms();
        end *e = dial_up_to_tls(&w);
        w.plan.endless = 1;
        end_tls(e, 0);
        pump_until(w.loop, ((void)(talks && send(e->fd, "\x16", 1, MSG_NOSIGNAL)), end_ended(e)));
        assert_in_range(now_ms() - start, SOON_MS - 2, SOON_MS + 10000);
        end_drop(e);
        await_nobody(&w);
        assert_int_equal(w.app.closes, !implicit);
        if (!implicit) assert_int_equal(w.app.close_reason, EHLO_CLOSE_TIMEOUT);
        world_close(&w);
    }
}

static void an_engine_without_memory_ends_the_connection(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        world_open(&w, implicit);
        w.plan.no_open = 1;
        end *e = dial_tls(&w);
        await_end(e);
        await_nobody(&w);
        assert_int_equal(w.plan.opens, 0);
        world_close(&w);
    }
}

/* -- how a session inside TLS ends ------------------------------------------------------------------ */

#define CHUNK ENVELOPE "BDAT 100\r\n0123456789"
#define DATA ENVELOPE "DATA\r\nhalf a message\r\n"

/* [B22] [C209] A message is not whole because the connection ends: neither where the peer says so nor where it is
 * cut, which anybody can do. What comes in clear then is not heard. */
static void a_message_that_ends_with_the_connection_is_not_accepted(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        int notify = i & 1, chunk = i & 2, implicit = (i & 4) != 0;
        world w;
        end *e = dial_inside(world_open(&w, implicit));
        say(e, chunk ? CHUNK : DATA);
        await(e, chunk ? "250 2.1.5" : "354 ");
        pump_until(w.loop, w.app.octets > 0);
        size_t octets = w.app.octets;
        if (notify) {
            fake_shutdown(e->tls);
            say_clear(e, "9", 1);
            pump_quiet(w.loop);
            send(e->fd, "\r\n.\r\nNOOP\r\n", 11, MSG_NOSIGNAL);
        } else {
            shutdown(e->fd, SHUT_WR);
        }
        end_forget(e);
        await_end(e);
        pump_until(w.loop, w.app.closes == 1);
        assert_int_equal(w.app.resets, 1);
        assert_int_equal(w.app.reset_reason, notify ? EHLO_RESET_EOF : EHLO_RESET_LOST);
        assert_int_equal(w.app.close_reason, notify ? EHLO_CLOSE_EOF : EHLO_CLOSE_LOST);
        assert_int_equal(w.app.messages, 0);
        assert_int_equal(w.app.octets, octets);
        assert_int_equal(count_lines(e->got, "2"), 0);
        world_end(&w);
    }
}

/* A peer that has properly ended its side still gets its replies. */
static void commands_before_a_close_notify_are_answered(void **state)
{
    world w;
    (void)state;
    end *e = dial_inside(world_open(&w, 1));
    e->plan.cork = 1;
    say(e, "NOOP\r\nRSET\r\nNOOP\r\n");
    fake_shutdown(e->tls);
    e->plan.cork = 0;
    fake_flush(e->tls);
    await_end(e);
    assert_true(e->closed);
    assert_int_equal(count_lines(e->got, "250 "), 3);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_EOF);
    world_close(&w);
}

static void a_reset_inside_tls_is_a_loss(void **state)
{
    world w;
    (void)state;
    end *e = dial_inside(world_open(&w, 0));
    say(e, ENVELOPE);
    await(e, "250 2.1.5");
    end_reset(e);
    pump_until(w.loop, w.app.closes == 1);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    assert_int_equal(w.app.reset_reason, EHLO_RESET_LOST);
    world_close(&w);
}

/* A record that is none: the engine says that the connection must end. */
static void clear_text_inside_tls_is_a_loss(void **state)
{
    world w;
    (void)state;
    end *e = dial_inside(world_open(&w, 0));
    say_clear(e, "QUIT\r\n", 6);
    await_end(e);
    assert_int_equal(e->len, 0);
    assert_int_equal(w.app.close_reason, EHLO_CLOSE_LOST);
    world_close(&w);
}

/* Input that nobody reads has the kernel reset the connection, which must not cost the last reply. */
static void the_last_reply_arrives_inside_tls_though_input_is_unread(void **state)
{
    enum { SIZE = 60000 };
    static char junk[SIZE];
    ehlo_service_config cfg = plain_service();
    world w;
    (void)state;
    memset(junk, 'x', sizeof junk);
    cfg.max_bad = 1;
    world_open_as(&w, &cfg, (ehlo_listen_config){ .implicit_tls = 1 });
    end *e = dial_inside(&w);
    e->plan.cork = 1;
    say(e, "NONSENSE\r\nNONSENSE\r\nNONSENSE\r\n");
    end_write(e, junk, sizeof junk);
    e->plan.cork = 0;
    pump_until(w.loop, fake_flush(e->tls) || e->tls->mute);
    await(e, "421 ");
    await_end(e);
    assert_true(e->closed);
    end_drop(e);
    await_nobody(&w);
    assert_int_equal(w.plan.shutdowns, 1);
    world_close(&w);
}

/* -- pressure --------------------------------------------------------------------------------------- */

/* [R06] A peer inside TLS that does not read is not read from; when it reads at last, nothing is lost. The engine sees
 * to it that a write that did not go is repeated as it was. */
static void a_peer_inside_tls_that_does_not_read_loses_nothing(void **state)
{
    enum { MOST = 400000 };
    static char bytes[MOST * 6];
    ehlo_service_config cfg = plain_service();
    world w;
    size_t sent = 0, replies = 0;
    (void)state;
    if (getenv("EHLO_TLS_COUNT") != NULL)
        skip(); /* a run that is slowed down: to fill the kernel's buffers takes minutes */
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = "NOOP\r\n"[i % 6];
    cfg.max_idle_commands = MOST * 2;
    world_open_as(&w, &cfg, (ehlo_listen_config){ .implicit_tls = 1 });
    end *e = end_new(w.loop, connected_socket(&w.address, 8192));
    end_tls(e, 0);
    await(e, "220 test.example");
    await(e, "\r\n");
    say(e, "NOOP\r\n");
    pump_until(w.loop, end_has(e, "\r\n"));
    size_t reply = e->len;
    for (int idle = 0; idle < 20;) {
        ssize_t n = sent < sizeof bytes ? end_write_some(e, bytes + sent, sizeof bytes - sent) : 0;
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) sent += (size_t)n;
        ehlo_loop_step(w.loop, 1);
    }
    assert_true(sent > 0 && sent < sizeof bytes);
    assert_int_equal(w.app.closes, 0);
    e->len = 0;
    uint64_t patience = now_ms() + PATIENCE_MS;
    size_t wanted = sent + e->tls->record; /* a record that is on its way arrives too */
    while (replies < wanted / 6 * reply) {
        fake_flush(e->tls);
        ehlo_loop_step(w.loop, 0);
        e->len = 0;
        end_move(e);
        replies += e->len;
        assert_false(e->eof);
        assert_true(now_ms() < patience);
    }
    assert_int_equal(replies, wanted / 6 * reply);
    world_close(&w);
}

/* [C237] Replies to a pipelined group leave as one write of the engine's. */
static void a_pipelined_group_is_answered_by_one_write(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        end *e = dial_inside(world_open(&w, implicit));
        unsigned writes = w.plan.writes;
        say(e, ENVELOPE "RCPT TO:<c@example.org>\r\nDATA\r\n");
        await(e, "354 ");
        assert_int_equal(w.plan.writes - writes, 1);
        world_close(&w);
    }
}

/* -- PROXY, limits, stop ---------------------------------------------------------------------------- */

/* The preface is in clear, and the handshake may be in the same segment, or begin anywhere behind. */
static void a_proxy_preface_comes_before_the_handshake(void **state)
{
    static const char preface[] = "PROXY TCP4 192.0.2.7 198.51.100.1 1234 465\r\n";
    static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc6\x33\x64\x01\x04\xd2\x00\x19";
    (void)state;
    for (int i = 0; i < 6; i++) {
        ehlo_listen_config listen = { .implicit_tls = 1, .proxy = 1 };
        const char *bytes = i % 2 ? v2 : preface;
        size_t len = (i % 2 ? sizeof v2 : sizeof preface) - 1;
        world w;
        char text[128];
        world_open_as(&w, NULL, listen);
        end *e = dial(&w);
        e->plan.cork = i < 2; /* in one segment */
        if (i >= 4) {         /* in two, cut inside the preface */
            say_clear(e, bytes, 5);
            pump_quiet(w.loop);
            bytes += 5;
            len -= 5;
            e->plan.cork = 1;
        }
        if (!e->plan.cork) {
            say_clear(e, bytes, len);
            pump_quiet(w.loop);
        }
        end_tls(e, 0);
        end_move(e);
        if (e->plan.cork) {
            memcpy(text, bytes, len);
            memcpy(text + len, e->tls->out, e->tls->out_len);
            say_clear(e, text, len + e->tls->out_len);
            e->tls->out_len = 0;
            e->plan.cork = 0;
        }
        await(e, "220 test.example");
        assert_non_null(w.app.facts);
        say(e, "QUIT\r\n");
        await(e, "221 ");
        world_close(&w);
    }
}

/* A connection counts from its first moment, and no longer than it lasts: a handshake that failed counts no more. */
static void connections_in_a_handshake_count(void **state)
{
    ehlo_limits *limits;
    (void)state;
    assert_int_equal(ehlo_limits_new(&limits, 1, 0), EHLO_OK);
    ehlo_listen_config listen = { .implicit_tls = 1, .limits = limits };
    world w;
    world_open_as(&w, NULL, listen);
    end *a = dial(&w);
    pump_until(w.loop, ehlo_loop_connections(w.loop) == 1);
    pump_quiet(w.loop);
    end *b = dial_tls(&w);
    await_end(b); /* one too many */
    assert_int_equal(w.app.connects, 0);
    end_drop(b);
    for (int i = 0; i < 3; i++) {
        end_drop(a);
        await_nobody(&w);
        w.plan.fail_at = (unsigned)i; /* first none, then two that fail */
        a = dial_tls(&w);
        if (i == 0)
            await(a, "220 ");
        else
            await_end(a);
    }
    w.plan.fail_at = 0;
    await_nobody(&w);
    dial_inside(&w);
    world_close(&w);
    ehlo_limits_free(limits);
}

/* With a handshake under way, and with a session inside TLS. */
static void stop_ends_handshakes_and_tells_idle_peers(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        end *idle = dial_inside(world_open(&w, implicit));
        end *busy = dial_up_to_tls(&w);
        pump_until(w.loop, w.plan.opens == 2);
        ehlo_loop_stop(w.loop, 300);
        await(idle, "421 ");
        await_end(idle);
        assert_true(idle->closed);
        end_drop(idle);
        uint64_t patience = now_ms() + PATIENCE_MS;
        while (ehlo_loop_step(w.loop, 5) > 0) assert_true(now_ms() < patience);
        await_end(busy);
        world_close(&w);
    }
}

static void freeing_a_loop_closes_what_is_inside_tls(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        end *idle = dial_inside(world_open(&w, implicit));
        say(idle, ENVELOPE "DATA\r\n");
        await(idle, "354 ");
        dial_up_to_tls(&w);
        pump_until(w.loop, w.plan.opens == 2);
        ehlo_loop_free(w.loop);
        w.loop = NULL;
        end_move(idle);
        world_close(&w); /* sees to the engine */
    }
}

/* -- a client's session ----------------------------------------------------------------------------- */

static void sender_go_to(world *w, const ehlo_client_config *client, ehlo_tls_policy tls, const uint16_t *ports,
                         size_t n)
{
    const ehlo_connect_config cfg = {
        .client = client, .tls = (uint8_t)tls, .tls_engine = &w->client_engine, .credentials = w->credentials
    };
    sender_go_as(&w->sender, cfg, ports, n);
}

/* To our own server, until all is over. client NULL: the plain one. */
static void send_all(world *w, const ehlo_client_config *client, ehlo_tls_policy tls)
{
    sender_go_to(w, client, tls, &w->address.port, 1);
    pump_until(w->loop, is_over(&w->sender));
}

static ehlo_tls_policy strict_policy(int wrapped)
{
    return wrapped ? EHLO_TLS_WRAPPED : EHLO_TLS_REQUIRED;
}

static const ehlo_tls_policy policies[] = { EHLO_TLS_REQUIRED, EHLO_TLS_WRAPPED, EHLO_TLS_OPPORTUNISTIC,
                                            EHLO_TLS_DEFAULT };

/* Client and server are both ours. Whose certificate it is matters where TLS is required. */
static void a_message_goes_inside_tls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        int wrapped = policies[i] == EHLO_TLS_WRAPPED;
        int strict = policies[i] == strict_policy(wrapped);
        world w;
        world_open(&w, wrapped);
        send_all(&w, NULL, policies[i]);
        assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(w.sender.reason, EHLO_CLOSE_QUIT);
        assert_int_equal(w.app.messages, 1);
        assert_non_null(w.app.facts);
        assert_int_equal(w.client_plan.flags, strict ? EHLO_ENGINE_VERIFY : 0);
        assert_string_equal(w.client_plan.name, "127.0.0.1");
        assert_int_equal(w.sender.verified, strict);
        assert_int_equal(w.sender.facts_before_hello, wrapped);
        assert_int_equal(w.client_plan.facts, 1);
        await_nobody(&w);
        assert_int_equal(w.client_plan.shutdowns, 1);
        world_close(&w);
    }
}

static void a_client_bears_with_every_trick_of_an_engine(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * TRICKS; i++) {
        int wrapped = i % 2 == 1, both = i % 4 >= 2;
        const struct trick *trick = &tricks[i / 4];
        world w;
        world_open(&w, wrapped);
        w.client_plan = trick->plan;
        if (both) w.plan = trick->plan;
        w.sender.messages = 3;
        send_all(&w, NULL, strict_policy(wrapped));
        if (w.sender.dones != 3) print_message("trick: %s\n", trick->name);
        assert_int_equal(w.sender.dones, 3);
        assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(w.app.messages, 3);
        assert_int_equal(w.app.octets, 3 * (sizeof CONTENT - 1));
        world_close(&w);
    }
}

/* Through every trick, and much larger than the buffers on the way. */
static void a_large_message_arrives_whole_inside_tls(void **state)
{
    enum { LINES = 30000 };
    static char text[LINES * 64];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = ".12345678901234567890123456789012345678901234567890123456789012\r\n"[i % 64];
        if (i % 64 >= 62) text[i] = i % 64 == 62 ? '\r' : '\n';
    }
    snprintf(text + sizeof text - 64, 64, "%-61s", "the end");
    memcpy(text + sizeof text - 3, "!\r\n", 3);
    static const fake_plan plans[] = { { .give_max = 0 },
                                       { .give_max = 1000, .take_max = 700 },
                                       { .reads_write = 1, .writes_read = 1 } };
    for (size_t i = 0; i < 3 * 2; i++) {
        world w;
        world_open(&w, 1);
        w.plan = w.client_plan = plans[i / 2];
        w.app.body_at_once = i % 2 ? 50000 : 0;
        w.sender.content = ehlo_str_make(text, sizeof text);
        send_all(&w, NULL, EHLO_TLS_WRAPPED);
        assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(w.app.octets, sizeof text);
        assert_string_equal(w.app.last_octets, "!\r\n");
        world_close(&w);
    }
}

/* A message's last octets and the next envelope are one write. */
static void a_message_leaves_with_the_next_envelope_in_one_write(void **state)
{
    enum { MESSAGES = 20 };
    const ehlo_client_config no_chunks = { .name = plain_client.name, .flags = EHLO_CLIENT_NO_CHUNKING };
    world w;
    (void)state;
    world_open(&w, 1);
    w.sender.messages = MESSAGES;
    send_all(&w, &no_chunks, EHLO_TLS_WRAPPED);
    assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(w.client_plan.writes, MESSAGES + 3); /* hello, the first envelope, QUIT */
    world_close(&w);
}

/* -- servers that the test plays -------------------------------------------------------------------- */

/* A world with a stage: the test accepts there. */
static void stage_open(world *w)
{
    world_open(w, 0);
    w->stage = listening_socket(&w->stage_port);
}

static void send_to_stage(world *w, const ehlo_client_config *client, ehlo_tls_policy tls)
{
    sender_go_to(w, client, tls, &w->stage_port, 1);
}

static int is_called(int listener)
{
    struct pollfd watch = { .fd = listener, .events = POLLIN };
    return poll(&watch, 1, 0) == 1;
}

static end *end_accept(world *w, int listener)
{
    pump_until(w->loop, is_called(listener));
    return end_new(w->loop, accept(listener, NULL, NULL));
}

/* In one piece: no segment waits for the other. */
static void say_offer(end *e, const char *offer)
{
    char text[128];
    snprintf(text, sizeof text, "250-puppet.example\r\n250 %s\r\n", offer);
    say(e, text);
}

/* As a server that offers as much, up to what is said behind. */
static end *play_up_to_offer(world *w, const char *offer)
{
    end *e = end_accept(w, w->stage);
    say(e, "220 puppet.example\r\n");
    await(e, HELLO);
    say_offer(e, offer);
    return e;
}

static end *play_up_to_starttls(world *w)
{
    end *e = play_up_to_offer(w, "STARTTLS");
    await(e, "STARTTLS\r\n");
    assert_int_equal(e->len, 0); /* it waits */
    return e;
}

/* As a server up to the handshake, of which nothing is done. */
static end *play_up_to_tls(world *w, int wrapped)
{
    if (wrapped) return end_accept(w, w->stage);
    end *e = play_up_to_starttls(w);
    say(e, "220 2.0.0 go\r\n");
    return e;
}

/* As a server inside TLS, up to the hello, with what it then offers. */
static end *play_up_to_hello(world *w, const char *offer)
{
    end *e = play_up_to_tls(w, 0);
    end_tls(e, EHLO_ENGINE_AS_SERVER);
    await(e, HELLO);
    say_offer(e, offer);
    return e;
}

/* Nothing was said inside TLS, and nothing in clear behind STARTTLS. */
static void assert_unsent(world *w, end *e, ehlo_outcome outcome)
{
    const sender *a = &w->sender;
    pump_until(w->loop, is_over(a));
    assert_int_equal(a->fails, 1);
    assert_int_equal(a->readies + a->closes, 0);
    assert_int_equal(a->failure.stage, EHLO_STAGE_STARTTLS);
    assert_int_equal(a->failure.outcome, outcome);
    end_move(e);
    for (size_t i = 0; i + 4 <= e->len; i++) {
        assert_memory_not_equal(e->got + i, "MAIL", 4);
        assert_memory_not_equal(e->got + i, "EHLO", 4);
        assert_memory_not_equal(e->got + i, "AUTH", 4);
    }
    pump_quiet(w->loop);
    assert_false(is_called(w->stage)); /* it is not tried again */
    world_end(w);
}

#define CLEAR_REPLIES "250-SMTPUTF8 INJECTED\r\n250-AUTH PLAIN\r\n250 HELP\r\n235 2.7.0 ok\r\n"

/* [K08] [C210] Lines and parts of lines behind the 220, in the segment with it or in the next, cut anywhere. */
static void clear_text_behind_the_220_ends_the_session_at_every_cut(void **state)
{
    static const char text[] = "220 2.0.0 go\r\n" CLEAR_REPLIES;
    const size_t go = strlen("220 2.0.0 go\r\n");
    (void)state;
    for (size_t i = 1; i < 2 * sizeof text - 2; i++) {
        size_t cut = (i + 1) / 2;
        int rest = i % 2 == 0; /* or it ends there, with a handshake where one may follow */
        if (!rest && cut <= go) continue;
        world w;
        stage_open(&w);
        send_to_stage(&w, NULL, EHLO_TLS_REQUIRED);
        end *e = play_up_to_starttls(&w);
        say_clear(e, text, cut);
        if (rest) {
            pump_quiet(w.loop);
            send(e->fd, text + cut, sizeof text - 1 - cut, MSG_NOSIGNAL);
        }
        assert_unsent(&w, e, EHLO_OUTCOME_NOT_SENT);
    }
}

/* Even what looks like the server's part of the handshake. */
static void a_handshake_behind_the_220_that_nobody_began_ends_the_session(void **state)
{
    static const char text[] = "220 2.0.0 go\r\n\x16\0";
    world w;
    (void)state;
    stage_open(&w);
    send_to_stage(&w, NULL, EHLO_TLS_REQUIRED);
    end *e = play_up_to_starttls(&w);
    say_clear(e, text, sizeof text); /* its last NUL makes the record whole */
    assert_unsent(&w, e, EHLO_OUTCOME_NOT_SENT);
}

/* The server's greeting may come with its part of the handshake, and is then held by the engine. */
static void a_greeting_that_came_with_the_handshake_is_heard(void **state)
{
    world w;
    (void)state;
    stage_open(&w);
    send_to_stage(&w, NULL, EHLO_TLS_WRAPPED);
    end *e = end_accept(&w, w.stage);
    end_tls(e, EHLO_ENGINE_AS_SERVER);
    e->plan.cork = 1;
    pump_until(w.loop, (end_move(e), e->tls->step == 2));
    fake_put(e->tls, FAKE_DATA, "220 puppet.example\r\n", 20);
    e->plan.cork = 0;
    assert_true(fake_flush(e->tls));
    await(e, "EHLO client.example\r\n");
    assert_int_equal(w.sender.facts_before_hello, 1);
    ehlo_loop_disconnect(w.loop, w.sender.id);
    world_close(&w);
}

/* -- handshakes that fail, on the client ------------------------------------------------------------ */

/* [C139] Whichever side fails at whichever step: nothing is sent, in clear or otherwise, and what the engine says is
 * told. */
static void where_tls_is_required_a_failed_handshake_sends_nothing(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        int wrapped = i % 2 == 1, ours = i % 4 >= 2;
        world w;
        world_open(&w, wrapped);
        *(ours ? &w.client_plan.fail_at : &w.plan.fail_at) = 1 + i / 4;
        send_all(&w, NULL, strict_policy(wrapped));
        assert_int_equal(w.sender.worst, 0);
        assert_int_equal(w.mails + w.app.messages, 0);
        assert_int_equal(w.sender.fails,
                         1); /* even if the server failed when our side was done: it has greeted nobody */
        assert_int_equal(w.sender.failure.outcome, EHLO_OUTCOME_NOT_SENT);
        if (ours || i / 4 < 2) assert_int_equal(w.sender.failure.stage, EHLO_STAGE_STARTTLS);
        if (ours) assert_string_equal(w.sender.problem, "the handshake was made to fail");
        assert_int_equal(w.sender.failure.address.port, w.address.port);
        await_nobody(&w);
        assert_int_equal(w.app.connects, !wrapped);
        world_close(&w);
    }
}

/* It is tried once more, in clear, where it may. */
static void where_tls_is_optional_a_failed_handshake_leads_to_clear_text(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        world w;
        world_open(&w, 0);
        if (i < 6)
            *(i % 2 ? &w.client_plan.fail_at : &w.plan.fail_at) = 1 + i / 2;
        else if (i == 6)
            w.client_plan.no_open = 1;
        else
            *(i == 7 ? &w.client_plan.endless : &w.plan.endless) = 1;
        if (i == 4) w.plan.fail_at = 2; /* a server that fails behind our last step is known too late */
        send_all(&w, &hasty_client, i % 2 ? EHLO_TLS_DEFAULT : EHLO_TLS_OPPORTUNISTIC);
        assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(w.sender.readies, 1);
        assert_int_equal(w.sender.verified, -1);
        assert_int_equal(w.app.connects, 2);
        assert_int_equal(w.app.messages, 1);
        assert_null(w.app.facts);
        world_close(&w);
    }
}

/* [R14] [C139] */
static void a_server_whose_handshake_never_ends_is_not_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        int wrapped = i & 1, talks = i & 2;
        world w;
        stage_open(&w);
        send_to_stage(&w, &hasty_client, strict_policy(wrapped));
        end *e = play_up_to_tls(&w, wrapped);
        if (talks) say_clear(e, "\x16\x7f\xff", 3); /* a record of which an octet comes now and then */
        pump_until(w.loop, ((void)(talks && send(e->fd, "x", 1, MSG_NOSIGNAL)), is_over(&w.sender)));
        assert_string_equal(w.sender.problem, "the handshake took too long");
        assert_unsent(&w, e, EHLO_OUTCOME_NOT_SENT);
    }
}

static void an_alternate_is_tried_after_a_failed_handshake(void **state)
{
    world w;
    (void)state;
    stage_open(&w);
    const uint16_t ports[] = { w.stage_port, w.address.port };
    sender_go_to(&w, NULL, EHLO_TLS_REQUIRED, ports, 2);
    end *e = play_up_to_tls(&w, 0);
    pump_quiet(w.loop);
    say_clear(e, "\x15no\r\n", 5);
    pump_until(w.loop, is_over(&w.sender));
    assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(w.sender.verified, 1);
    world_close(&w);
}

/* What is wrong with the credentials is so everywhere; what is wrong with a server is not. */
static void an_alternate_is_tried_unless_the_credentials_were_refused(void **state)
{
    static const struct {
        const char *verdict;
        int alternate;
        ehlo_outcome outcome;
    } cases[] = {
        { "535 5.7.8 no\r\n", 0, EHLO_OUTCOME_REJECTED },
        { "454 4.7.0 later\r\n", 1, EHLO_OUTCOME_DEFERRED },
        { "421 4.3.2 bye\r\n", 1, EHLO_OUTCOME_DEFERRED },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ehlo_credentials credentials = { .user = ehlo_str_from("user"), .password = ehlo_str_from("secret") };
        world w;
        uint16_t ports[2];
        stage_open(&w);
        ports[0] = w.stage_port;
        int second = listening_socket(&ports[1]);
        w.credentials = &credentials;
        sender_go_to(&w, NULL, EHLO_TLS_DEFAULT, ports, 2); /* required, as there are credentials */
        end *e = play_up_to_hello(&w, "AUTH PLAIN");
        await(e, "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n");
        say(e, cases[i].verdict);
        if (cases[i].alternate) {
            end_drop(end_accept(&w, second));
        }
        pump_until(w.loop, is_over(&w.sender));
        assert_int_equal(w.sender.fails, 1);
        if (!cases[i].alternate) {
            assert_int_equal(w.sender.failure.stage, EHLO_STAGE_AUTH);
            assert_int_equal(w.sender.failure.outcome, cases[i].outcome);
            assert_int_equal(w.sender.reply.code, 535);
            assert_false(is_called(second));
        }
        end_move(e);
        assert_null(strstr(e->got, "MAIL"));
        close(second);
        world_close(&w);
    }
}

/* [K09] Nothing is said to a server that does not offer STARTTLS, or does not go along. */
static void a_server_without_starttls_gets_nothing_where_tls_is_required(void **state)
{
    static const char *const offers[] = { "HELP", "AUTH PLAIN", "STARTTLS" };
    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        ehlo_credentials credentials = { .user = ehlo_str_from("user"), .password = ehlo_str_from("secret") };
        world w;
        stage_open(&w);
        w.credentials = &credentials;
        send_to_stage(&w, NULL, EHLO_TLS_DEFAULT);
        end *e = play_up_to_offer(&w, offers[i]);
        if (i == 2) {
            await(e, "STARTTLS\r\n");
            say(e, "454 4.7.0 not now\r\n");
        }
        assert_unsent(&w, e, i == 2 ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_NOT_SENT);
    }
}

/* -- how a client's session inside TLS ends --------------------------------------------------------- */

/* A notice that the server ends is one thing, a cut another; behind the last octet of a message both leave it open what
 * became of it, a part of a reply too. */
static void a_connection_that_ends_inside_tls_tells_what_is_known(void **state)
{
    static const struct {
        const char *last; /* words */
        int outcome;
        int behind_the_dot;
    } cases[] = {
        { "", EHLO_OUTCOME_NOT_SENT, 0 },
        { "250 2.1.", EHLO_OUTCOME_NOT_SENT, 0 },
        { "", EHLO_OUTCOME_UNCERTAIN, 1 },
        { "250 2.0.0 ok", EHLO_OUTCOME_UNCERTAIN, 1 },
        { "250-2.0.0 ok\r\n", EHLO_OUTCOME_UNCERTAIN, 1 },
    };
    (void)state;
    for (size_t i = 0; i < 3 * sizeof cases / sizeof cases[0]; i++) {
        world w;
        int how = (int)(i % 3);
        stage_open(&w);
        send_to_stage(&w, NULL, EHLO_TLS_REQUIRED);
        end *e = play_up_to_hello(&w, "PIPELINING");
        await(e, "DATA\r\n");
        if (cases[i / 3].behind_the_dot) {
            say(e, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
            await(e, "\r\n.\r\n");
        }
        if (cases[i / 3].last[0] != '\0') say(e, cases[i / 3].last);
        if (how == 0) {
            fake_shutdown(e->tls);
            say_clear(e, "\r\n250 2.0.0 ok\r\n", 16); /* in clear: nobody heeds it */
        } else if (how == 1) {
            shutdown(e->fd, SHUT_WR);
        } else {
            pump_quiet(w.loop);
            end_reset(e);
        }
        pump_until(w.loop, is_over(&w.sender));
        assert_int_equal(w.sender.closes, 1);
        assert_int_equal(w.sender.worst, cases[i / 3].outcome);
        assert_int_equal(w.sender.reason, how == 0 ? EHLO_CLOSE_EOF : EHLO_CLOSE_LOST);
        world_close(&w);
    }
}

/* A server that refuses a message in its midst, and closes: its reply is the truth. */
static void a_reply_in_the_midst_of_a_message_is_heard_inside_tls(void **state)
{
    enum { SIZE = BODY_MAX };
    world w;
    (void)state;
    char *text = malloc(SIZE);
    assert_non_null(text);
    for (size_t i = 0; i < SIZE; i++) text[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
    stage_open(&w);
    w.sender.content = ehlo_str_make(text, SIZE);
    send_to_stage(&w, NULL, EHLO_TLS_REQUIRED);
    end *e = play_up_to_hello(&w, "PIPELINING");
    await(e, "DATA\r\n");
    say(e, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n");
    await(e, "xxx\r\n");
    say(e, "552 5.3.4 too much\r\n");
    fake_shutdown(e->tls);
    shutdown(e->fd, SHUT_WR);
    pump_until(w.loop, (end_move(e), is_over(&w.sender)));
    assert_int_equal(w.sender.worst, EHLO_OUTCOME_REJECTED);
    assert_int_equal(w.sender.rcpts[0].code, 552);
    free(text);
    world_close(&w);
}

/* -- given up --------------------------------------------------------------------------------------- */

static void a_handshake_can_be_given_up(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        int wrapped = i & 1;
        world w;
        stage_open(&w);
        send_to_stage(&w, NULL, strict_policy(wrapped));
        play_up_to_tls(&w, wrapped);
        pump_until(w.loop, w.client_plan.opens == 1);
        pump_quiet(w.loop);
        if (i / 2 == 0) assert_int_equal(ehlo_loop_disconnect(w.loop, w.sender.id), EHLO_OK);
        if (i / 2 == 1) ehlo_loop_stop(w.loop, 10000);
        if (i / 2 < 2) {
            pump_until(w.loop, is_over(&w.sender));
            assert_int_equal(w.sender.fails, 1);
            assert_int_equal(w.client_plan.closes, 1);
        }
        world_close(&w); /* or the loop is freed */
        assert_int_equal(w.sender.fails, 1);
    }
}

/* -- what may be asked for -------------------------------------------------------------------------- */

static void what_needs_an_engine_is_refused_without_one(void **state)
{
    static const struct {
        ehlo_tls_policy tls;
        int credentials, result;
    } cases[] = {
        { EHLO_TLS_DEFAULT, 0, EHLO_OK },        { EHLO_TLS_NONE, 0, EHLO_OK },
        { EHLO_TLS_OPPORTUNISTIC, 0, EHLO_OK },  { EHLO_TLS_REQUIRED, 0, EHLO_ERR_ARG },
        { EHLO_TLS_WRAPPED, 0, EHLO_ERR_ARG },   { EHLO_TLS_DEFAULT, 1, EHLO_ERR_ARG },
        { EHLO_TLS_NONE, 1, EHLO_OK },           { EHLO_TLS_OPPORTUNISTIC, 1, EHLO_OK },
        { (ehlo_tls_policy)5, 0, EHLO_ERR_ARG },
    };
    const ehlo_credentials credentials = { .user = ehlo_str_from("user"), .password = ehlo_str_from("secret") };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world w;
        world_open(&w, 0);
        const ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = w.address.port };
        const ehlo_connect_config cfg = { .hosts = &host,
                                          .nhosts = 1,
                                          .client = &plain_client,
                                          .tls = (uint8_t)cases[i].tls,
                                          .credentials = cases[i].credentials ? &credentials : NULL };
        assert_int_equal(ehlo_loop_connect(w.loop, &cfg, &sender_callbacks, &w.sender, &w.sender.id), cases[i].result);
        if (cases[i].result == EHLO_OK) {
            pump_until(w.loop, is_over(&w.sender));
            assert_int_equal(w.app.messages, !cases[i].credentials); /* no AUTH is offered */
            assert_null(w.app.facts);
        }
        world_close(&w);
    }
}

static void only_what_is_verified_is_asked_to_be(void **state)
{
    static const struct {
        ehlo_tls_policy tls;
        uint8_t unverified;
        unsigned flags;
    } cases[] = {
        { EHLO_TLS_REQUIRED, 0, EHLO_ENGINE_VERIFY },
        { EHLO_TLS_REQUIRED, 1, 0 },
        { EHLO_TLS_WRAPPED, 0, EHLO_ENGINE_VERIFY },
        { EHLO_TLS_WRAPPED, 1, 0 },
        { EHLO_TLS_OPPORTUNISTIC, 0, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        world w;
        world_open(&w, cases[i].tls == EHLO_TLS_WRAPPED);
        const ehlo_host host = { .name = ehlo_str_from("localhost"), .port = w.address.port };
        const ehlo_connect_config cfg = { .hosts = &host,
                                          .nhosts = 1,
                                          .local = loopback(0),
                                          .tls = (uint8_t)cases[i].tls,
                                          .unverified = cases[i].unverified,
                                          .tls_engine = &w.client_engine };
        sender_connect(&w.sender, cfg);
        pump_until(w.loop, is_over(&w.sender));
        assert_int_equal(w.sender.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(w.client_plan.flags, cases[i].flags);
        assert_string_equal(w.client_plan.name, "localhost"); /* as it was asked for, not where it led */
        assert_string_equal(w.sought, "localhost");
        world_close(&w);
    }
}

/* [C139] Port 25 between servers, 587 for submission, 465 where all of it is inside TLS (RFC 8314 3.3). */
static void a_port_that_is_not_said_is_the_customary_one(void **state)
{
    static const struct {
        ehlo_tls_policy tls;
        int credentials;
        uint16_t port;
    } cases[] = {
        { EHLO_TLS_DEFAULT, 0, 25 },  { EHLO_TLS_NONE, 0, 25 },      { EHLO_TLS_REQUIRED, 0, 25 },
        { EHLO_TLS_DEFAULT, 1, 587 }, { EHLO_TLS_REQUIRED, 1, 587 }, { EHLO_TLS_WRAPPED, 1, 465 },
        { EHLO_TLS_WRAPPED, 0, 465 },
    };
    ehlo_credentials credentials = { .user = ehlo_str_from("user"), .password = ehlo_str_from("secret") };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const ehlo_host host = { .name = ehlo_str_from("127.93.71.17"),
                                 .port = 0 }; /* where nobody listens, most likely */
        world w;
        world_open(&w, 0);
        w.client_plan.fail_at = 1;
        sender_connect(&w.sender, (ehlo_connect_config){ .hosts = &host,
                                                         .nhosts = 1,
                                                         .client = &hasty_client,
                                                         .tls = (uint8_t)cases[i].tls,
                                                         .tls_engine = &w.client_engine,
                                                         .credentials = cases[i].credentials ? &credentials : NULL });
        pump_until(w.loop, is_over(&w.sender));
        if (w.sender.fails > 0) assert_int_equal(w.sender.failure.address.port, cases[i].port);
        world_close(&w);
    }
}

/* -- ehlo_send -------------------------------------------------------------------------------------- */

static void note_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    (void)loop;
    *(ehlo_stage *)user = failure->stage;
}

static int send_to(world *w, ehlo_tls_policy tls, ehlo_stage *stage)
{
    const ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = w->address.port };
    ehlo_recipient rcpt = { .to = ehlo_str_from("b@example.net") };
    const ehlo_connect_config cfg = {
        .hosts = &host, .nhosts = 1, .client = &plain_client, .tls = (uint8_t)tls, .tls_engine = &w->client_engine
    };
    const ehlo_envelope envelope = { .from = ehlo_str_from("a@example.org"),
                                     .rcpts = &rcpt,
                                     .nrcpts = 1,
                                     .content = ehlo_str_make(CONTENT, sizeof CONTENT - 1) };
    int outcome = ehlo_send(&cfg, NULL, &envelope, NULL, note_failed, stage);
    assert_int_equal(rcpt.outcome, outcome);
    return outcome;
}

static void ehlo_send_sends_inside_tls_or_not_at_all(void **state)
{
    (void)state;
    for (int implicit = 0; implicit < 2; implicit++) {
        ehlo_tls_policy strict = strict_policy(implicit);
        ehlo_stage stage = EHLO_STAGE_NONE;
        pthread_t thread;
        world w;
        world_open(&w, implicit);
        assert_int_equal(pthread_create(&thread, NULL, run_loop, w.loop), 0);
        assert_int_equal(send_to(&w, strict, &stage), EHLO_OUTCOME_DELIVERED);
        assert_int_equal(stage, EHLO_STAGE_NONE);
        w.client_plan.fail_at = 3;
        assert_int_equal(send_to(&w, strict, &stage), EHLO_OUTCOME_NOT_SENT);
        assert_int_equal(stage, EHLO_STAGE_STARTTLS);
        if (!implicit) assert_int_equal(send_to(&w, EHLO_TLS_OPPORTUNISTIC, &stage), EHLO_OUTCOME_DELIVERED);
        ehlo_loop_stop(w.loop, 0);
        pthread_join(thread, NULL);
        assert_int_equal(w.app.messages, implicit ? 1 : 2);
        world_close(&w);
    }
}

/* -- nothing is lost -------------------------------------------------------------------------------- */

/* Handshakes of all fates, some of them given up. */
static void no_descriptor_is_lost_in_a_handshake(void **state)
{
    (void)state;
    unsigned before = count_descriptors();
    if (before == 0) skip();
    for (int implicit = 0; implicit < 2; implicit++) {
        world w;
        world_open(&w, implicit);
        unsigned at_work = count_descriptors();
        for (unsigned i = 0; i < 120; i++) {
            memset(&w.plan, 0, sizeof w.plan);
            memset(&w.client_plan, 0, sizeof w.client_plan);
            w.plan.fail_at = i % 5;
            w.client_plan.fail_at = i / 5 % 5;
            w.client_plan.no_open = i % 11 == 0;
            sender_open(&w.sender, w.loop, i % 3);
            sender_go_to(&w, NULL, implicit || i % 2 ? strict_policy(implicit) : EHLO_TLS_DEFAULT, &w.address.port, 1);
            for (unsigned rounds = 0; rounds < i % 7; rounds++) ehlo_loop_step(w.loop, 0);
            if (i % 4 == 0) ehlo_loop_disconnect(w.loop, w.sender.id);
            pump_until(w.loop, w.sender.readies > 0 || is_over(&w.sender));
            if (w.sender.messages == 0) ehlo_loop_disconnect(w.loop, w.sender.id);
            pump_until(w.loop, is_over(&w.sender) && ehlo_loop_connections(w.loop) == 0);
            assert_int_equal(w.sender.fails + w.sender.closes, 1);
            assert_int_equal(w.plan.opens, w.plan.closes);
            assert_int_equal(w.client_plan.opens, w.client_plan.closes);
            assert_in_range(count_descriptors(), 0, at_work);
        }
        world_close(&w);
    }
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_goes_on_inside_tls),
        cmocka_unit_test(implicit_tls_begins_before_the_greeting),
        cmocka_unit_test(a_server_bears_with_every_trick_of_an_engine),
        cmocka_unit_test(commands_that_the_engine_holds_are_answered),
        cmocka_unit_test(a_half_command_that_the_engine_holds_waits_for_its_end),
        cmocka_unit_test(a_command_that_came_with_the_end_of_the_handshake_is_answered),
        cmocka_unit_test(what_the_engine_holds_outlasts_a_pending_answer),
        cmocka_unit_test(what_the_engine_holds_outlasts_a_body_that_is_stopped),
        cmocka_unit_test(clear_text_behind_starttls_ends_the_session_at_every_cut),
        cmocka_unit_test(clear_text_in_two_segments_is_never_executed),
        cmocka_unit_test(much_clear_text_behind_starttls_ends_the_session),
        cmocka_unit_test(a_handshake_that_does_not_wait_for_the_220_ends_the_session),
        cmocka_unit_test(a_handshake_that_fails_ends_its_session_alone),
        cmocka_unit_test(a_handshake_that_the_peer_leaves_ends_its_session),
        cmocka_unit_test(commands_instead_of_a_handshake_are_not_answered),
        cmocka_unit_test(a_handshake_that_never_ends_is_ended),
        cmocka_unit_test(an_engine_without_memory_ends_the_connection),
        cmocka_unit_test(a_message_that_ends_with_the_connection_is_not_accepted),
        cmocka_unit_test(commands_before_a_close_notify_are_answered),
        cmocka_unit_test(a_reset_inside_tls_is_a_loss),
        cmocka_unit_test(clear_text_inside_tls_is_a_loss),
        cmocka_unit_test(the_last_reply_arrives_inside_tls_though_input_is_unread),
        cmocka_unit_test(a_peer_inside_tls_that_does_not_read_loses_nothing),
        cmocka_unit_test(a_pipelined_group_is_answered_by_one_write),
        cmocka_unit_test(a_proxy_preface_comes_before_the_handshake),
        cmocka_unit_test(connections_in_a_handshake_count),
        cmocka_unit_test(stop_ends_handshakes_and_tells_idle_peers),
        cmocka_unit_test(freeing_a_loop_closes_what_is_inside_tls),
        cmocka_unit_test(a_message_goes_inside_tls),
        cmocka_unit_test(a_client_bears_with_every_trick_of_an_engine),
        cmocka_unit_test(a_large_message_arrives_whole_inside_tls),
        cmocka_unit_test(a_message_leaves_with_the_next_envelope_in_one_write),
        cmocka_unit_test(clear_text_behind_the_220_ends_the_session_at_every_cut),
        cmocka_unit_test(a_handshake_behind_the_220_that_nobody_began_ends_the_session),
        cmocka_unit_test(a_greeting_that_came_with_the_handshake_is_heard),
        cmocka_unit_test(where_tls_is_required_a_failed_handshake_sends_nothing),
        cmocka_unit_test(where_tls_is_optional_a_failed_handshake_leads_to_clear_text),
        cmocka_unit_test(a_server_whose_handshake_never_ends_is_not_waited_for),
        cmocka_unit_test(an_alternate_is_tried_after_a_failed_handshake),
        cmocka_unit_test(an_alternate_is_tried_unless_the_credentials_were_refused),
        cmocka_unit_test(a_server_without_starttls_gets_nothing_where_tls_is_required),
        cmocka_unit_test(a_connection_that_ends_inside_tls_tells_what_is_known),
        cmocka_unit_test(a_reply_in_the_midst_of_a_message_is_heard_inside_tls),
        cmocka_unit_test(a_handshake_can_be_given_up),
        cmocka_unit_test(what_needs_an_engine_is_refused_without_one),
        cmocka_unit_test(only_what_is_verified_is_asked_to_be),
        cmocka_unit_test(a_port_that_is_not_said_is_the_customary_one),
        cmocka_unit_test(ehlo_send_sends_inside_tls_or_not_at_all),
        cmocka_unit_test(no_descriptor_is_lost_in_a_handshake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
