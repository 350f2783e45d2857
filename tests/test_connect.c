/* test_connect.c - sending over sockets, on the loopback interface.
 *
 * The other side is a listener of ours on the same loop, or a puppet: a socket that says its lines and awaits those of
 * the client, moved between the loop's rounds. No sleep; threads only where a call blocks. test_connect_poll.c runs all
 * of it with the portable sources. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <ehlo/net.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "app.h"
#include "puppet.h"
#include "sender.h"

enum { PUPPETS_MAX = HOSTS_MAX - 1 };

/* -- our own server --------------------------------------------------------------------------------- */

static int begins(ehlo_str text, const char *with)
{
    return text.len >= strlen(with) && memcmp(text.ptr, with, strlen(with)) == 0;
}

static int server_on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    (void)s;
    (void)token;
    (void)user;
    if (begins(rcpt->path.mailbox, "no")) *r = (ehlo_reply){ .code = 550, .enhanced = { 5, 1, 1 } };
    if (begins(rcpt->path.mailbox, "later")) *r = (ehlo_reply){ .code = 450, .enhanced = { 4, 2, 0 } };
    return EHLO_OK;
}

/* LMTP: the second recipient's mailbox is full. */
static int server_on_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *r, void *user)
{
    (void)s;
    (void)token;
    (void)user;
    if (rcpt == 1) *r = (ehlo_reply){ .code = 452, .enhanced = { 4, 2, 2 } };
    return EHLO_OK;
}

static ehlo_server_callbacks server_callbacks(void)
{
    ehlo_server_callbacks callbacks = app_callbacks;
    callbacks.on_rcpt = server_on_rcpt;
    callbacks.on_result = server_on_result;
    return callbacks;
}

/* -- the scene -------------------------------------------------------------------------------------- */

typedef struct scene {
    ehlo_loop *loop;
    ehlo_service *service;
    app app;
    uint16_t port; /* of our own server */
    puppet puppets[PUPPETS_MAX];
    size_t npuppets;
} scene;

static void scene_open_as(scene *s, unsigned flags)
{
    ehlo_service_config cfg = { .hostname = { "test.example", 12 }, .flags = flags };
    const ehlo_server_callbacks callbacks = server_callbacks();
    ehlo_listen_config listen = { .address = loopback(0) };
    ehlo_listener *listener;
    memset(s, 0, sizeof *s);
    assert_int_equal(ehlo_net_service_new(&s->service, &cfg, &callbacks), EHLO_OK);
    assert_int_equal(ehlo_loop_new(&s->loop, NULL), EHLO_OK);
    listen.service = s->service;
    listen.ctx = &s->app;
    assert_int_equal(ehlo_loop_listen(s->loop, &listen, &listener), EHLO_OK);
    s->port = ehlo_listener_address(listener).port;
}

static void scene_open(scene *s)
{
    scene_open_as(s, 0);
}

static puppet *scene_puppet(scene *s, const char *const *script)
{
    puppet *p = &s->puppets[s->npuppets++];
    puppet_open(p, script);
    return p;
}

static void scene_close(scene *s)
{
    ehlo_loop_free(s->loop);
    ehlo_net_service_free(s->service);
    for (size_t i = 0; i < s->npuppets; i++) puppet_close(&s->puppets[i]);
}

static void scene_move(scene *s, int ms)
{
    for (size_t i = 0; i < s->npuppets; i++) puppet_move(&s->puppets[i]);
    assert_true(ehlo_loop_step(s->loop, ms) >= 0);
}

/* Runs rounds until the condition holds; fails when patience is at its end. */
#define play_until(scene, condition) repeat_until(condition, scene_move((scene), 2))

static void play_quiet(scene *s)
{
    for (int i = 0; i < 8; i++) scene_move(s, 0);
}

/* -- the client's side ------------------------------------------------------------------------------ */

/* Which is to send as many messages. */
static void scene_and_sender_open(scene *s, sender *a, unsigned messages)
{
    scene_open(s);
    sender_open(a, s->loop, messages);
}

/* To ports of 127.0.0.1, in turn. client NULL: the plain one. */
static void sender_go(sender *a, const ehlo_client_config *client, const uint16_t *ports, size_t n)
{
    sender_go_as(a, (ehlo_connect_config){ .client = client }, ports, n);
}

/* A port where nobody listens: its socket stays, so that nobody else gets it. */
static uint16_t closed_port(scene *s)
{
    static const char *const nothing[] = { NULL };
    puppet *p = &s->puppets[s->npuppets++];
    *p = (puppet){ .script = nothing, .step = nothing, .listener = -1, .deaf = 1 };
    p->fd = bound_socket(&p->port);
    return p->port;
}

/* -- messages --------------------------------------------------------------------------------------- */

static void a_message_goes_to_a_listener_on_the_same_loop(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, is_over(&a));
    assert_int_equal(a.readies, 1);
    assert_int_equal(a.closes, 1);
    assert_int_equal(a.reason, EHLO_CLOSE_QUIT);
    assert_int_equal(a.dones, 1);
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(a.rcpts[0].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(a.rcpts[0].stage, EHLO_STAGE_FINAL);
    assert_int_equal(s.app.messages, 1);
    assert_int_equal(s.app.octets, sizeof CONTENT - 1);
    assert_null(ehlo_loop_client(s.loop, a.id));
    play_until(&s, ehlo_loop_connections(s.loop) == 0);
    scene_close(&s);
}

static void many_messages_go_over_one_connection(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 300);
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, is_over(&a));
    assert_int_equal(a.dones, 300);
    assert_true(a.nexts > 0);
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.app.connects, 1);
    assert_int_equal(s.app.messages, 300);
    scene_close(&s);
}

static void each_recipient_has_its_own_outcome(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    a.to[0] = "no@example.net";
    a.to[1] = "yes@example.net";
    a.to[2] = "later@example.net";
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, is_over(&a));
    assert_int_equal(a.rcpts[0].outcome, EHLO_OUTCOME_REJECTED);
    assert_int_equal(a.rcpts[0].code, 550);
    assert_int_equal(a.rcpts[1].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(a.rcpts[2].outcome, EHLO_OUTCOME_DEFERRED);
    assert_int_equal(a.worst, EHLO_OUTCOME_REJECTED);
    assert_int_equal(s.app.messages, 1);
    scene_close(&s);
}

static void lmtp_has_a_result_per_recipient(void **state)
{
    const ehlo_client_config lmtp = { .name = plain_client.name, .flags = EHLO_CLIENT_LMTP };
    scene s;
    sender a;
    (void)state;
    scene_open_as(&s, EHLO_SERVICE_LMTP);
    sender_open(&a, s.loop, 1);
    a.to[1] = "c@example.net";
    a.to[2] = "d@example.net";
    sender_go(&a, &lmtp, &s.port, 1);
    play_until(&s, is_over(&a));
    assert_int_equal(a.rcpts[0].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(a.rcpts[1].outcome, EHLO_OUTCOME_DEFERRED);
    assert_int_equal(a.rcpts[1].code, 452);
    assert_int_equal(a.rcpts[2].outcome, EHLO_OUTCOME_DELIVERED);
    scene_close(&s);
}

/* -- alternates ------------------------------------------------------------------------------------- */

#define EHLO_OFFERS HEAR("EHLO client.example\r\n"), SAY("250-puppet.example\r\n250 PIPELINING\r\n")

static const char *const says_421[] = { SAY("421 4.3.2 not now\r\n"), NULL };
static const char *const says_421_and_closes[] = { SAY("421 4.3.2 not now\r\n"), CLOSE, NULL };
static const char *const says_554[] = { SAY("554 5.7.1 go away\r\n"), HEAR("QUIT\r\n"), SAY("221 bye\r\n"), NULL };
static const char *const says_nothing[] = { NULL };
static const char *const says_rubbish[] = { SAY("SSH-2.0-OpenSSH_9.2\r\n"), NULL };
static const char *const closes[] = { CLOSE, NULL };
static const char *const resets[] = { RESET, NULL };
static const char *const refuses_hello[] = { GREET,
                                             HEAR("EHLO "),
                                             SAY("550 5.7.1 no\r\n"),
                                             HEAR("HELO "),
                                             SAY("550 5.7.1 no\r\n"),
                                             HEAR("QUIT\r\n"),
                                             SAY("221 bye\r\n"),
                                             NULL };
static const char *const defers_hello[] = { GREET, HEAR("EHLO "), SAY("451 4.3.0 hm\r\n"), HEAR("QUIT\r\n"), NULL };
static const char *const hello_421[] = { GREET, HEAR("EHLO "), SAY("421 4.3.2 bye\r\n"), CLOSE, NULL };
static const char *const ignores_hello[] = { GREET, HEAR("EHLO "), NULL };
static const char *const closes_at_hello[] = { GREET, HEAR("EHLO "), CLOSE, NULL };
static const char *const resets_at_hello[] = { GREET, HEAR("EHLO "), RESET, NULL };
static const char *const half_a_greeting[] = { SAY("220-pup"), CLOSE, NULL };

/* What a server may do to us, and what is left when there is no other. */
static const struct fate {
    const char *name;
    const char *const *script; /* NULL: it accepts no connection */
    ehlo_stage stage;
    ehlo_outcome outcome;
    uint16_t code;
    int error;
} fates[] = {
    { "refuses the connection", NULL, EHLO_STAGE_CONNECT, EHLO_OUTCOME_NOT_SENT, 0, ECONNREFUSED },
    { "greets with 421", says_421, EHLO_STAGE_GREETING, EHLO_OUTCOME_DEFERRED, 421, 0 },
    { "greets with 421 and closes", says_421_and_closes, EHLO_STAGE_GREETING, EHLO_OUTCOME_DEFERRED, 421, 0 },
    { "greets with 554", says_554, EHLO_STAGE_GREETING, EHLO_OUTCOME_REJECTED, 554, 0 },
    { "says nothing", says_nothing, EHLO_STAGE_GREETING, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "speaks something else", says_rubbish, EHLO_STAGE_GREETING, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "closes at once", closes, EHLO_STAGE_GREETING, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "resets at once", resets, EHLO_STAGE_NONE, EHLO_OUTCOME_NOT_SENT, 0, 0 }, /* before or after we look */
    { "closes inside the greeting", half_a_greeting, EHLO_STAGE_GREETING, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "refuses EHLO and HELO", refuses_hello, EHLO_STAGE_HELLO, EHLO_OUTCOME_REJECTED, 550, 0 },
    { "defers EHLO", defers_hello, EHLO_STAGE_HELLO, EHLO_OUTCOME_DEFERRED, 451, 0 },
    { "answers EHLO with 421", hello_421, EHLO_STAGE_HELLO, EHLO_OUTCOME_DEFERRED, 421, 0 },
    { "ignores EHLO", ignores_hello, EHLO_STAGE_HELLO, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "closes at EHLO", closes_at_hello, EHLO_STAGE_HELLO, EHLO_OUTCOME_NOT_SENT, 0, 0 },
    { "resets at EHLO", resets_at_hello, EHLO_STAGE_HELLO, EHLO_OUTCOME_NOT_SENT, 0, 0 },
};
enum { FATES = sizeof fates / sizeof fates[0] };

static uint16_t fated_port(scene *s, const struct fate *fate)
{
    return fate->script != NULL ? scene_puppet(s, fate->script)->port : closed_port(s);
}

/* [C24] The second server gets the message, and the first has got nothing of it. */
static void an_alternate_is_tried_whatever_the_first_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < FATES; i++) {
        scene s;
        sender a;
        scene_and_sender_open(&s, &a, 1);
        uint16_t ports[] = { fated_port(&s, &fates[i]), s.port };
        sender_go(&a, &hasty_client, ports, 2);
        play_until(&s, is_over(&a));
        if (a.worst != EHLO_OUTCOME_DELIVERED) print_message("the first %s\n", fates[i].name);
        assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
        assert_int_equal(a.readies, 1);
        assert_int_equal(a.fails, 0);
        assert_int_equal(s.app.messages, 1);
        assert_null(strstr(s.puppets[0].heard, "MAIL"));
        scene_close(&s);
    }
}

static void a_failure_tells_what_happened(void **state)
{
    (void)state;
    for (size_t i = 0; i < FATES; i++) {
        const struct fate *fate = &fates[i];
        scene s;
        sender a;
        scene_and_sender_open(&s, &a, 0);
        uint16_t port = fated_port(&s, fate);
        sender_go(&a, &hasty_client, &port, 1);
        play_until(&s, is_over(&a));
        if (a.failure.outcome != fate->outcome) print_message("a server that %s\n", fate->name);
        assert_int_equal(a.fails, 1);
        assert_int_equal(a.readies + a.closes, 0);
        assert_int_equal(a.failure.outcome, fate->outcome);
        if (fate->stage != EHLO_STAGE_NONE) {
            assert_int_equal(a.failure.stage, fate->stage);
            assert_int_equal(a.failure.error, fate->error);
        }
        assert_int_equal(a.failure.host, 0);
        assert_int_equal(a.failure.address.family, EHLO_FAMILY_IPV4);
        assert_int_equal(a.failure.address.port, port);
        assert_int_equal(a.reply.code, fate->code);
        play_quiet(&s);
        assert_int_equal(a.fails, 1);
        scene_close(&s);
    }
}

/* [C24] What leaves most hope is told: a message is rejected only if every server rejects it. */
static void of_several_failures_the_most_hopeful_is_told(void **state)
{
    static const struct {
        const char *const *scripts[2];
        ehlo_outcome outcome;
        uint16_t code;
        size_t host;
    } cases[] = {
        { { says_554, says_421 }, EHLO_OUTCOME_DEFERRED, 421, 1 },
        { { says_421, says_554 }, EHLO_OUTCOME_DEFERRED, 421, 0 },
        { { closes, says_554 }, EHLO_OUTCOME_NOT_SENT, 0, 0 },
        { { says_554, closes }, EHLO_OUTCOME_NOT_SENT, 0, 1 },
        { { says_554, NULL }, EHLO_OUTCOME_NOT_SENT, 0, 1 },
        { { NULL, says_421 }, EHLO_OUTCOME_NOT_SENT, 0, 0 },
        { { says_554, refuses_hello }, EHLO_OUTCOME_REJECTED, 550, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        sender a;
        uint16_t ports[2];
        scene_and_sender_open(&s, &a, 0);
        for (size_t j = 0; j < 2; j++) {
            ports[j] = cases[i].scripts[j] != NULL ? scene_puppet(&s, cases[i].scripts[j])->port : closed_port(&s);
        }
        sender_go(&a, &hasty_client, ports, 2);
        play_until(&s, is_over(&a));
        assert_int_equal(a.fails, 1);
        assert_int_equal(a.failure.outcome, cases[i].outcome);
        assert_int_equal(a.failure.host, cases[i].host);
        assert_int_equal(a.reply.code, cases[i].code);
        if (a.reply.code == 421) assert_non_null(strstr(a.reply_text, "not now"));
        scene_close(&s);
    }
}

/* [C24] QUIT goes before the close, and the next server does not wait for its reply. */
static void a_server_that_refuses_is_told_quit(void **state)
{
    static const char *const never_answers_quit[] = { SAY("554 5.7.1 go away\r\n"), NULL };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    puppet *p = scene_puppet(&s, never_answers_quit);
    uint16_t ports[] = { p->port, s.port };
    uint64_t start = now_ms();
    sender_go(&a, NULL, ports, 2);
    play_until(&s, a.readies == 1);
    assert_true(now_ms() - start < 1500);
    play_until(&s, p->ends == 1); /* our side is shut */
    assert_string_equal(p->heard, "QUIT\r\n");
    assert_int_equal(ehlo_loop_disconnect(s.loop, a.id), EHLO_OK);
    play_until(&s, ehlo_loop_connections(s.loop) == 0);
    scene_close(&s);
}

/* [C25] */
static void a_server_that_knows_only_helo_gets_the_message(void **state)
{
    static const char *const old[] = { GREET,
                                       HEAR("EHLO "),
                                       SAY("502 what\r\n"),
                                       HEAR("HELO client.example\r\n"),
                                       SAY("250 hello\r\n"),
                                       HEAR("MAIL FROM:<a@example.org>\r\n"),
                                       SAY("250 ok\r\n"),
                                       HEAR("RCPT TO:<b@example.net>\r\n"),
                                       SAY("250 ok\r\n"),
                                       HEAR("DATA\r\n"),
                                       SAY("354 go\r\n"),
                                       HEAR("..hello\r\n.\r\n"),
                                       SAY("250 ok\r\n"),
                                       HEAR("QUIT\r\n"),
                                       SAY("221 bye\r\n"),
                                       NULL };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    sender_go(&a, NULL, &scene_puppet(&s, old)->port, 1);
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(a.reason, EHLO_CLOSE_QUIT);
    scene_close(&s);
}

#if defined(__linux__)
#define TAKES_ONE HEAR("DATA\r\n"), SAY("250 ok\r\n250 ok\r\n354 go\r\n"), HEAR("\r\n.\r\n"), SAY("250 ok\r\n")

/* One segment is one send: a message, its end and the next envelope are one; EHLO, the first envelope and QUIT are the
 * others. */
static void a_message_leaves_with_the_next_envelope_in_one_send(void **state)
{
    static const char *const takes_five[] = { GREET,     EHLO_OFFERS, TAKES_ONE, TAKES_ONE,
                                              TAKES_ONE, TAKES_ONE,   TAKES_ONE, NULL };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 5);
    puppet *p = scene_puppet(&s, takes_five);
    sender_go(&a, NULL, &p->port, 1);
    play_until(&s, strstr(p->heard, "QUIT\r\n") != NULL);
    assert_int_equal(a.dones, 5);
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(data_segments_in(p->fd), 5 + 3);
    scene_close(&s);
}
#endif

/* A full backlog answers no SYN. */
static void a_server_that_does_not_accept_in_time_is_passed_over(void **state)
{
    scene s;
    sender a;
    int fillers[3];
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    puppet *p = scene_puppet(&s, says_nothing);
    p->fd = p->listener; /* never accepted from */
    p->listener = -1;
    p->deaf = 1;
    p->step = p->script;
    assert_int_equal(listen(p->fd, 0), 0);
    for (size_t i = 0; i < 3; i++) {
        struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(p->port) };
        name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fillers[i], (struct sockaddr *)&name, sizeof name);
    }
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = p->port };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &plain_client, .connect_ms = SOON_MS };
    sender_connect(&a, cfg);
    play_until(&s, is_over(&a));
    assert_int_equal(a.failure.stage, EHLO_STAGE_CONNECT);
    assert_int_equal(a.failure.error, ETIMEDOUT);
    assert_int_equal(a.failure.outcome, EHLO_OUTCOME_NOT_SENT);
    for (size_t i = 0; i < 3; i++) close(fillers[i]);
    scene_close(&s);
}

/* -- names and addresses ---------------------------------------------------------------------------- */

/* A resolver over a hosts file of this text, and a server that nobody runs. */
static ehlo_resolver *resolver_over(ehlo_loop *loop, const char *hosts)
{
    char path[] = "/tmp/ehlo_hosts_XXXXXX";
    const ehlo_address nobody = { .family = EHLO_FAMILY_IPV4, .port = 9, .octets = { 127, 0, 0, 1 } };
    ehlo_resolver *resolver;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, hosts, strlen(hosts)), (ssize_t)strlen(hosts));
    close(fd);
    ehlo_resolver_config cfg = {
        .servers = &nobody, .nservers = 1, .hosts_file = ehlo_str_from(path), .try_ms = 50, .tries = 1
    };
    assert_int_equal(ehlo_resolver_new(&resolver, loop, &cfg), EHLO_OK);
    unlink(path);
    return resolver;
}

static void sender_go_by_name(sender *a, ehlo_resolver *resolver, const char *name, uint16_t port, uint32_t most,
                              ehlo_address local)
{
    ehlo_host host = { .name = ehlo_str_from(name), .port = port };
    ehlo_connect_config cfg = { .hosts = &host,
                                .nhosts = 1,
                                .client = &plain_client,
                                .resolver = resolver,
                                .local = local,
                                .addresses_max = most };
    sender_connect(a, cfg);
}

/* Our server listens on IPv4 alone: the addresses before are refused. */
static void each_address_of_a_host_is_tried(void **state)
{
    static const char hosts[] = "127.0.0.9 mx.example\n127.0.0.1 mx.example\n::1 mx.example\n";
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    ehlo_resolver *resolver = resolver_over(s.loop, hosts);
    sender_go_by_name(&a, resolver, "mx.example", s.port, 0, (ehlo_address){ .family = EHLO_FAMILY_NONE });
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    ehlo_resolver_free(resolver);
    scene_close(&s);
}

static void no_more_addresses_are_tried_than_asked_for(void **state)
{
    static const char hosts[] = "127.0.0.9 mx.example\n127.0.0.1 mx.example\n";
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    ehlo_resolver *resolver = resolver_over(s.loop, hosts);
    sender_go_by_name(&a, resolver, "mx.example", s.port, 1, (ehlo_address){ .family = EHLO_FAMILY_NONE });
    play_until(&s, is_over(&a));
    assert_int_equal(a.fails, 1);
    assert_int_equal(a.failure.error, ECONNREFUSED);
    assert_int_equal(a.failure.address.octets[3], 9);
    ehlo_resolver_free(resolver);
    scene_close(&s);
}

/* Nobody is asked for the name; a failure tells which address it was. */
static void known_addresses_are_tried_in_their_order(void **state)
{
    scene s;
    sender a;
    (void)state;
    for (size_t last = 1; last <= 9; last += 8) {
        char name[] = "mx.example";
        ehlo_address addresses[] = { loopback(0), loopback(0), loopback(0) };
        addresses[0].octets[3] = 9;
        addresses[1].octets[3] = 8;
        addresses[2].octets[3] = (uint8_t)last;
        scene_and_sender_open(&s, &a, 1);
        ehlo_host hosts[] = {
            { .name = ehlo_str_from(name), .port = s.port, .addresses = addresses, .naddresses = 3 }
        };
        sender_connect(&a, (ehlo_connect_config){ .hosts = hosts, .nhosts = 1 });
        memset(addresses, 'x', sizeof addresses); /* they were copied */
        memset(name, 'x', sizeof name);
        memset(hosts, 'x', sizeof hosts);
        play_until(&s, is_over(&a));
        assert_int_equal(a.closes, last == 1);
        assert_int_equal(a.fails, last != 1);
        if (a.fails) assert_int_equal(a.failure.stage, EHLO_STAGE_CONNECT);
        if (a.fails) assert_int_equal(a.failure.address.octets[3], last);
        scene_close(&s);
    }
}

static void each_host_has_its_own_known_addresses(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    ehlo_address down = loopback(0), up = loopback(0);
    down.octets[3] = 9;
    const ehlo_host hosts[] = {
        { .name = ehlo_str_from("down.example"), .port = s.port, .addresses = &down, .naddresses = 1 },
        { .name = ehlo_str_from("up.example"), .port = s.port, .addresses = &up, .naddresses = 1 },
    };
    sender_connect(&a, (ehlo_connect_config){ .hosts = hosts, .nhosts = 2 });
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    scene_close(&s);
}

static void a_name_that_cannot_be_looked_up_is_not_sent(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    ehlo_resolver *resolver = resolver_over(s.loop, "");
    sender_go_by_name(&a, resolver, "mx.example", s.port, 0, (ehlo_address){ .family = EHLO_FAMILY_NONE });
    play_until(&s, is_over(&a));
    assert_int_equal(a.fails, 1);
    assert_int_equal(a.failure.stage, EHLO_STAGE_RESOLVE);
    assert_int_equal(a.failure.outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(a.failure.dns, EHLO_DNS_FAILED);
    assert_int_equal(a.failure.address.family, EHLO_FAMILY_NONE);
    ehlo_resolver_free(resolver);
    scene_close(&s);
}

static void free_the_resolver(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    ehlo_resolver **resolver = user;
    (void)loop;
    assert_int_equal(failure->stage, EHLO_STAGE_RESOLVE);
    ehlo_resolver_free(*resolver);
    *resolver = NULL;
}

/* The connection is over when its failure is told, and the look-up with it. */
static void a_resolver_may_be_freed_when_the_look_up_is_given_up(void **state)
{
    static const ehlo_connect_callbacks callbacks = { .on_ready = sender_on_ready, .on_failed = free_the_resolver };
    ehlo_host host = { .name = ehlo_str_from("mx.example"), .port = 25 };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &plain_client };
    ehlo_conn_id id;
    scene s;
    (void)state;
    scene_open(&s);
    ehlo_resolver *resolver = resolver_over(s.loop, "");
    cfg.resolver = resolver;
    assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &callbacks, &resolver, &id), EHLO_OK);
    assert_int_equal(ehlo_loop_disconnect(s.loop, id), EHLO_OK);
    assert_null(resolver);
    play_quiet(&s);
    scene_close(&s);
}

/* The loop's own resolver, which goes with it: localhost needs no server. */
static void localhost_needs_no_resolver_of_the_callers(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    sender_go_by_name(&a, NULL, "localhost", s.port, 0, (ehlo_address){ .family = EHLO_FAMILY_NONE });
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    scene_close(&s);
}

static void addresses_need_no_look_up(void **state)
{
    static const char *const names[] = { "127.0.0.1", "[127.0.0.1]", "::1", "[::1]", "[IPv6:::1]" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        scene s;
        sender a;
        scene_and_sender_open(&s, &a, 0);
        sender_go_by_name(&a, NULL, names[i], i < 2 ? s.port : closed_port(&s), 0,
                          (ehlo_address){ .family = EHLO_FAMILY_NONE });
        play_until(&s, a.readies + a.fails > 0);
        assert_int_equal(a.readies, i < 2);
        if (a.fails) assert_int_equal(a.failure.stage, EHLO_STAGE_CONNECT);
        if (a.fails) assert_int_equal(a.failure.address.family, EHLO_FAMILY_IPV6);
        ehlo_loop_disconnect(s.loop, a.id);
        scene_close(&s);
    }
}

#if defined(__linux__)
static void our_end_is_what_was_asked_for(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    sender_go_by_name(&a, NULL, "127.0.0.1", s.port, 0,
                      (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 127, 0, 0, 7 } });
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.app.peer.remote.octets[3], 7);
    scene_close(&s);
}
#endif

static void servers_that_our_end_cannot_reach_are_passed_over(void **state)
{
    scene s;
    sender a;
    (void)state;
    if (!have_ipv6()) skip();
    scene_and_sender_open(&s, &a, 0);
    sender_go_by_name(&a, NULL, "127.0.0.1", s.port, 0,
                      (ehlo_address){ .family = EHLO_FAMILY_IPV6, .octets = { [15] = 1 } });
    play_until(&s, is_over(&a));
    assert_int_equal(a.fails, 1);
    assert_int_equal(a.failure.stage, EHLO_STAGE_CONNECT);
    assert_int_equal(a.failure.error, EAFNOSUPPORT);
    assert_int_equal(s.app.connects, 0);
    scene_close(&s);
}

static void what_cannot_be_connected_to_is_refused(void **state)
{
    const ehlo_client_config lmtp = { .name = plain_client.name, .flags = EHLO_CLIENT_LMTP };
    const ehlo_client_config nameless = { .flags = 0 };
    const ehlo_client_config injected = { .name = ehlo_str_from("a.example\r\nRSET") };
    const struct {
        ehlo_str name;
        uint16_t port;
        const ehlo_client_config *client;
    } cases[] = {
        { { "", 0 }, 25, &plain_client },
        { { "a b", 3 }, 25, &plain_client },
        { { "a\r\nb", 4 }, 25, &plain_client },
        { { "127.0.0.1\0", 10 }, 25, &plain_client },
        { { "-x.example", 10 }, 25, &plain_client },
        { { "mx.example", 10 }, 25, NULL },
        { { "mx.example", 10 }, 25, &nameless },
        { { "mx.example", 10 }, 25, &injected },
        { { "127.0.0.1", 9 }, 25, &lmtp },
        { { "127.0.0.1", 9 }, 0, &lmtp },
    };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ehlo_host host = { .name = cases[i].name, .port = cases[i].port };
        ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = cases[i].client };
        assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &sender_callbacks, &a, NULL), EHLO_ERR_ARG);
    }
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = s.port };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 0, .client = &plain_client };
    ehlo_connect_callbacks unready = { .on_failed = sender_on_failed };
    assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &sender_callbacks, &a, NULL), EHLO_ERR_ARG);
    cfg.nhosts = 1;
    assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &unready, &a, NULL), EHLO_ERR_ARG);
    play_quiet(&s);
    assert_int_equal(ehlo_loop_connections(s.loop), 0);
    assert_int_equal(a.fails + a.readies, 0);
    scene_close(&s);
}

/* -- the end ---------------------------------------------------------------------------------------- */

static const char *const offers_much[] = { GREET, EHLO_OFFERS, NULL };

/* From every state; what it has come to is told from inside the call, once. */
static void a_connection_can_be_given_up_at_every_stage(void **state)
{
    (void)state;
    for (int stage = 0; stage < 6; stage++) {
        scene s;
        sender a;
        scene_and_sender_open(&s, &a, 0);
        puppet *p = scene_puppet(&s, stage == 2 ? says_nothing : stage == 3 ? ignores_hello : offers_much);
        a.messages = stage == 5;
        if (stage == 0)
            sender_go_by_name(&a, NULL, "unheard-of.invalid", 25, 0, (ehlo_address){ .family = EHLO_FAMILY_NONE });
        else
            sender_go(&a, NULL, &p->port, 1);
        if (stage == 2) play_until(&s, p->accepts == 1);
        if (stage == 3) play_until(&s, strstr(p->heard, "EHLO") != NULL);
        if (stage == 4) play_until(&s, a.readies == 1);
        if (stage == 5) play_until(&s, strstr(p->heard, "DATA") != NULL);
        assert_int_equal(a.fails + a.closes, 0);
        assert_int_equal(ehlo_loop_disconnect(s.loop, a.id), EHLO_OK);
        assert_int_equal(a.fails, stage < 4);
        assert_int_equal(a.closes, stage >= 4);
        if (a.fails) assert_int_equal(a.failure.outcome, EHLO_OUTCOME_NOT_SENT);
        if (a.closes) assert_int_equal(a.reason, EHLO_CLOSE_LOST);
        if (stage == 5) assert_int_equal(a.rcpts[0].outcome, EHLO_OUTCOME_NOT_SENT);
        assert_int_equal(ehlo_loop_connections(s.loop), 0);
        assert_int_equal(ehlo_loop_disconnect(s.loop, a.id), EHLO_OK);
        play_quiet(&s);
        assert_int_equal(a.fails + a.closes, 1);
        scene_close(&s);
    }
}

static void freeing_a_loop_ends_its_sessions(void **state)
{
    scene s;
    sender a[3];
    (void)state;
    scene_open(&s);
    puppet *silent = scene_puppet(&s, says_nothing);
    puppet *talking = scene_puppet(&s, offers_much);
    for (size_t i = 0; i < 3; i++) sender_open(&a[i], s.loop, 0);
    a[1].messages = 1;
    sender_go(&a[0], NULL, &silent->port, 1);
    sender_go(&a[1], NULL, &talking->port, 1);
    sender_go(&a[2], NULL, &s.port, 1);
    play_until(&s, silent->accepts == 1 && strstr(talking->heard, "DATA") != NULL && a[2].readies == 1);
    scene_close(&s);
    assert_int_equal(a[0].fails, 1);
    assert_int_equal(a[1].closes, 1);
    assert_int_equal(a[1].dones, 1);
    assert_int_equal(a[1].worst, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(a[2].closes, 1);
}

/* Idle sessions say QUIT, those that are not there yet fail, a message in flight is finished. */
static void stop_lets_a_message_finish(void **state)
{
    static const char *const slow[] = {
        GREET,         EHLO_OFFERS, HEAR("DATA\r\n"), SAY("250 ok\r\n250 ok\r\n354 go\r\n"), HEAR("\r\n.\r\n"),
        HEAR("go on"), NULL
    };
    scene s;
    sender a[3];
    (void)state;
    scene_open(&s);
    puppet *silent = scene_puppet(&s, says_nothing);
    puppet *busy = scene_puppet(&s, slow);
    for (size_t i = 0; i < 3; i++) sender_open(&a[i], s.loop, 0);
    a[1].messages = 1;
    a[1].stay = 1;
    sender_go(&a[0], NULL, &silent->port, 1);
    sender_go(&a[1], NULL, &busy->port, 1);
    sender_go(&a[2], NULL, &s.port, 1);
    play_until(&s, silent->accepts == 1 && strstr(busy->heard, "\r\n.\r\n") != NULL && a[2].readies == 1);
    ehlo_loop_stop(s.loop, PATIENCE_MS);
    play_until(&s, a[2].closes == 1 && a[0].fails == 1);
    assert_int_equal(a[1].dones + a[1].closes, 0);
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = s.port };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &plain_client };
    assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &sender_callbacks, &a[0], NULL), EHLO_ERR_STATE);
    assert_true(send(busy->fd, "250 ok\r\n", 8, MSG_NOSIGNAL) == 8);
    play_until(&s, a[1].dones == 1 && strstr(busy->heard, "QUIT") != NULL);
    assert_int_equal(a[1].worst, EHLO_OUTCOME_DELIVERED);
    assert_true(send(busy->fd, "221 bye\r\n", 9, MSG_NOSIGNAL) == 9);
    play_until(&s, a[1].closes == 1);
    assert_int_equal(a[1].reason, EHLO_CLOSE_QUIT);
    play_until(&s, ehlo_loop_step(s.loop, 0) == 0);
    scene_close(&s);
}

static void stop_loses_what_does_not_finish_in_time(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    sender_go(&a, NULL, &scene_puppet(&s, offers_much)->port, 1);
    play_until(&s, strstr(s.puppets[0].heard, "DATA") != NULL);
    ehlo_loop_stop(s.loop, 30);
    play_until(&s, ehlo_loop_step(s.loop, 5) == 0);
    assert_int_equal(a.closes, 1);
    assert_int_equal(a.worst, EHLO_OUTCOME_NOT_SENT);
    scene_close(&s);
}

/* [C82] Before the message's end has left nothing was sent; after it, it may have arrived. */
static void a_connection_that_ends_in_a_message_tells_what_is_known(void **state)
{
    static const char *const at_mail[] = { GREET, EHLO_OFFERS, HEAR("MAIL"), RESET, NULL };
    static const char *const at_data[] = { GREET, EHLO_OFFERS, HEAR("DATA\r\n"), SAY("250 ok\r\n250 ok\r\n"),
                                           CLOSE, NULL };
    static const char *const at_end[] = {
        GREET, EHLO_OFFERS, HEAR("DATA\r\n"), SAY("250 ok\r\n250 ok\r\n354 go\r\n"), HEAR("\r\n.\r\n"), CLOSE, NULL
    };
    static const char *const reset_at_end[] = {
        GREET, EHLO_OFFERS, HEAR("DATA\r\n"), SAY("250 ok\r\n250 ok\r\n354 go\r\n"), HEAR("\r\n.\r\n"), RESET, NULL
    };
    static const struct {
        const char *const *script;
        ehlo_outcome outcome;
    } cases[] = { { at_mail, EHLO_OUTCOME_NOT_SENT },
                  { at_data, EHLO_OUTCOME_NOT_SENT },
                  { at_end, EHLO_OUTCOME_UNCERTAIN },
                  { reset_at_end, EHLO_OUTCOME_UNCERTAIN } };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene s;
        sender a;
        scene_and_sender_open(&s, &a, 1);
        uint16_t ports[] = { scene_puppet(&s, cases[i].script)->port, s.port };
        sender_go(&a, NULL, ports, 2);
        play_until(&s, is_over(&a));
        assert_int_equal(a.closes, 1);
        assert_int_equal(a.dones, 1);
        assert_int_equal(a.worst, cases[i].outcome);
        assert_int_equal(s.app.connects, 0); /* no alternate once anything was sent */
        scene_close(&s);
    }
}

static int endless_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    static char lines[65536];
    (void)t;
    (void)user;
    if (lines[0] == '\0') {
        for (size_t i = 0; i < sizeof lines; i++) lines[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
    }
    *piece = ehlo_str_make(lines, sizeof lines);
    *last = offset > (1U << 30);
    return EHLO_OK;
}

static void a_server_that_never_reads_is_not_waited_for(void **state)
{
    const ehlo_client_config impatient = { .name = plain_client.name, .write_ms = SOON_MS };
    static const char *const asks[] = { UP_TO_DATA, NULL };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    a.content = ehlo_str_make(NULL, 0);
    a.body = endless_body;
    puppet *p = scene_puppet(&s, asks);
    sender_go(&a, &impatient, &p->port, 1);
    play_until(&s, strstr(p->heard, "DATA") != NULL);
    p->deaf = 1;
    play_until(&s, is_over(&a));
    assert_int_equal(a.reason, EHLO_CLOSE_TIMEOUT);
    assert_int_equal(a.worst, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(a.rcpts[0].stage, EHLO_STAGE_DATA);
    scene_close(&s);
}

static void connect_again(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    sender *a = user;
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = failure->address.port };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &plain_client };
    const ehlo_connect_callbacks callbacks = { .on_ready = sender_on_ready, .on_failed = connect_again };
    if (++a->fails < 3) assert_int_equal(ehlo_loop_connect(loop, &cfg, &callbacks, a, NULL), EHLO_OK);
}

static void a_failure_may_lead_to_another_try(void **state)
{
    scene s;
    sender a;
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1") };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &plain_client };
    const ehlo_connect_callbacks callbacks = { .on_ready = sender_on_ready, .on_failed = connect_again };
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    host.port = closed_port(&s);
    assert_int_equal(ehlo_loop_connect(s.loop, &cfg, &callbacks, &a, NULL), EHLO_OK);
    play_until(&s, a.fails == 3);
    assert_int_equal(ehlo_loop_connections(s.loop), 0);
    scene_close(&s);
}

static void a_session_that_wants_tls_ends_as_long_as_there_is_none(void **state)
{
    static const char *const starts_tls[] = {
        GREET, HEAR("EHLO "), SAY("250-puppet.example\r\n250 STARTTLS\r\n"), HEAR("STARTTLS\r\n"), SAY("220 go\r\n"),
        NULL
    };
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    sender_go(&a, NULL, &scene_puppet(&s, starts_tls)->port, 1);
    play_until(&s, a.readies == 1);
    assert_int_equal(ehlo_client_command(a.client, EHLO_VERB_STARTTLS, ehlo_str_make(NULL, 0), NULL, NULL, NULL),
                     EHLO_OK);
    ehlo_client_kick(a.client);
    play_until(&s, is_over(&a));
    assert_int_equal(a.reason, EHLO_CLOSE_LOST);
    scene_close(&s);
}

/* -- from outside ----------------------------------------------------------------------------------- */

static void a_message_starts_from_outside_with_a_kick(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, a.readies == 1);
    play_quiet(&s);
    for (unsigned i = 1; i <= 3; i++) {
        a.messages = i;
        a.stay = i < 3;
        start_message(&a, a.client);
        ehlo_client_kick(a.client);
        play_until(&s, a.dones == i);
    }
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.app.messages, 3);
    assert_int_equal(s.app.connects, 1);
    scene_close(&s);
}

static sender *to_kick;

static void kick_the_other(ehlo_client *c, const ehlo_reply *r, void *user)
{
    (void)user;
    if (r == NULL) return;
    to_kick->messages = 1;
    start_message(to_kick, to_kick->client);
    ehlo_client_kick(to_kick->client);
    ehlo_client_kick(c); /* does nothing */
}

static void a_callback_of_one_session_starts_a_message_of_another(void **state)
{
    scene s;
    sender a, b;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    sender_open(&b, s.loop, 0);
    to_kick = &b;
    sender_go(&a, NULL, &s.port, 1);
    sender_go(&b, NULL, &s.port, 1);
    play_until(&s, a.readies == 1 && b.readies == 1);
    assert_int_equal(ehlo_client_command(a.client, EHLO_VERB_NOOP, ehlo_str_make(NULL, 0), kick_the_other, NULL, NULL),
                     EHLO_OK);
    ehlo_client_kick(a.client);
    play_until(&s, b.closes == 1);
    assert_int_equal(b.worst, EHLO_OUTCOME_DELIVERED);
    scene_close(&s);
}

static void give_up_the_other(ehlo_client *c, const ehlo_reply *r, void *user)
{
    (void)c;
    (void)user;
    if (r != NULL) assert_int_equal(ehlo_loop_disconnect(to_kick->loop, to_kick->id), EHLO_OK);
}

static void a_callback_of_one_session_gives_up_another(void **state)
{
    scene s;
    sender a, b;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    sender_open(&b, s.loop, 0);
    to_kick = &b;
    sender_go(&a, NULL, &s.port, 1);
    sender_go(&b, NULL, &s.port, 1);
    play_until(&s, a.readies == 1 && b.readies == 1);
    for (int i = 0; i < 2; i++) { /* the second time it is gone */
        assert_int_equal(
            ehlo_client_command(a.client, EHLO_VERB_NOOP, ehlo_str_make(NULL, 0), give_up_the_other, NULL, NULL),
            EHLO_OK);
        ehlo_client_kick(a.client);
        play_until(&s, b.closes == 1);
        play_quiet(&s);
    }
    assert_int_equal(b.closes, 1);
    assert_int_equal(a.closes, 0);
    scene_close(&s);
    assert_int_equal(a.closes, 1);
}

static void give_back(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sender *a = user;
    (void)c;
    assert_null(r);
    assert_int_equal(ehlo_loop_disconnect(a->loop, a->id), EHLO_ERR_REENTRY);
    a->nexts++;
}

/* The one that gives up the other is given up from that other's last callback: it is inside one of its own. */
static void two_sessions_do_not_give_each_other_up(void **state)
{
    const ehlo_str nothing = ehlo_str_make(NULL, 0);
    scene s;
    sender a, b;
    (void)state;
    scene_and_sender_open(&s, &a, 0);
    sender_open(&b, s.loop, 0);
    to_kick = &b;
    sender_go(&a, NULL, &s.port, 1);
    sender_go(&b, NULL, &s.port, 1);
    play_until(&s, a.readies == 1 && b.readies == 1);
    assert_int_equal(ehlo_client_command(b.client, EHLO_VERB_NOOP, nothing, give_back, &a, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_command(a.client, EHLO_VERB_NOOP, nothing, give_up_the_other, NULL, NULL), EHLO_OK);
    ehlo_client_kick(a.client);
    play_until(&s, b.closes == 1);
    play_quiet(&s);
    assert_int_equal(a.nexts, 1);
    assert_int_equal(a.closes, 0);
    assert_int_equal(ehlo_loop_disconnect(a.loop, a.id), EHLO_OK);
    play_until(&s, a.closes == 1);
    scene_close(&s);
}

/* Nothing is there at first; the end comes in a second piece. */
static int late_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    sender *a = user;
    (void)t;
    if (a->pushed == 0) return EHLO_LATER;
    *piece = ehlo_str_make(CONTENT + offset, (a->pushed == 1 ? 5 : sizeof CONTENT - 1) - (size_t)offset);
    *last = a->pushed == 2;
    return EHLO_OK;
}

static void a_body_that_comes_later_is_sent_when_it_has_come(void **state)
{
    scene s;
    sender a;
    (void)state;
    scene_and_sender_open(&s, &a, 1);
    a.content = ehlo_str_make(NULL, 0);
    a.body = late_body;
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, a.readies == 1);
    for (int i = 0; i < 3; i++) {
        play_quiet(&s);
        assert_int_equal(a.dones, 0);
        a.pushed = i;
        assert_int_equal(ehlo_loop_body_ready(a.t), EHLO_OK);
    }
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.app.octets, sizeof CONTENT - 1);
    scene_close(&s);
}

static void a_body_can_be_pushed(void **state)
{
    enum { LINES = 40000 };
    static char text[LINES * 16];
    scene s;
    sender a;
    size_t at = 0;
    (void)state;
    for (size_t i = 0; i < LINES; i++) memcpy(text + 16 * i, ".of 14 octets.\r\n", 16);
    scene_and_sender_open(&s, &a, 1);
    a.content = ehlo_str_make(NULL, 0);
    sender_go(&a, NULL, &s.port, 1);
    play_until(&s, a.readies == 1);
    uint64_t end = now_ms() + PATIENCE_MS;
    while (at < sizeof text) {
        size_t used = 0;
        assert_true(now_ms() < end);
        assert_int_equal(ehlo_loop_push(a.t, text + at, sizeof text - at, 1, &used), EHLO_OK);
        at += used;
        scene_move(&s, 0);
    }
    play_until(&s, is_over(&a));
    assert_int_equal(a.worst, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(s.app.octets, sizeof text);
    scene_close(&s);
}

/* -- ehlo_send -------------------------------------------------------------------------------------- */

typedef struct told {
    unsigned failed, done, rcpts;
    ehlo_stage stage;
} told;

static void tell_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    told *t = user;
    (void)loop;
    t->failed++;
    t->stage = failure->stage;
}

static void tell_done(ehlo_transaction *t, int outcome, void *user)
{
    (void)t;
    (void)outcome;
    ((told *)user)->done++;
}

static void tell_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    (void)t;
    (void)index;
    (void)r;
    ((told *)user)->rcpts++;
}

static int never_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    (void)t;
    (void)offset;
    (void)piece;
    (void)last;
    (void)user;
    return EHLO_LATER;
}

/* What ehlo_send returns; without content, the body never comes. */
static int send_to(uint16_t port, ehlo_recipient *rcpts, size_t n, ehlo_str content, told *t)
{
    ehlo_transaction_callbacks callbacks = { .on_done = tell_done, .on_rcpt = tell_rcpt };
    if (content.ptr == NULL) callbacks.body = never_body;
    ehlo_envelope envelope = {
        .from = ehlo_str_from("a@example.org"), .rcpts = rcpts, .nrcpts = n, .content = content
    };
    ehlo_host host = { .name = ehlo_str_from("127.0.0.1"), .port = port };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &hasty_client };
    return ehlo_send(&cfg, NULL, &envelope, &callbacks, tell_failed, t);
}

static void ehlo_send_sends_one_message_and_tells_its_outcome(void **state)
{
    scene s;
    pthread_t thread;
    ehlo_str content = ehlo_str_make(CONTENT, sizeof CONTENT - 1);
    (void)state;
    scene_open(&s);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, s.loop), 0);

    ehlo_recipient two[2] = { { .to = ehlo_str_from("b@example.net") }, { .to = ehlo_str_from("c@example.net") } };
    told t = { .failed = 0 };
    assert_int_equal(send_to(s.port, two, 2, content, &t), EHLO_OUTCOME_DELIVERED);
    assert_int_equal(two[1].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(t.done, 1);
    assert_true(t.rcpts >= 2);
    assert_int_equal(t.failed, 0);

    ehlo_recipient mixed[2] = { { .to = ehlo_str_from("b@example.net") }, { .to = ehlo_str_from("no@example.net") } };
    assert_int_equal(send_to(s.port, mixed, 2, content, &t), EHLO_OUTCOME_REJECTED);
    assert_int_equal(mixed[0].outcome, EHLO_OUTCOME_DELIVERED);
    assert_int_equal(mixed[1].code, 550);

    ehlo_recipient never = { .to = ehlo_str_from("b@example.net") };
    assert_int_equal(send_to(s.port, &never, 1, ehlo_str_make(NULL, 0), &t), EHLO_OUTCOME_NOT_SENT);

    ehlo_loop_stop(s.loop, 0);
    pthread_join(thread, NULL);
    assert_int_equal(s.app.messages, 2);
    scene_close(&s);
}

static void ehlo_send_without_a_server_gives_everybody_an_outcome(void **state)
{
    scene s;
    told t = { .failed = 0 };
    ehlo_recipient two[2] = { { .to = ehlo_str_from("b@example.net") }, { .to = ehlo_str_from("c@example.net") } };
    (void)state;
    scene_open(&s);
    uint16_t port = closed_port(&s);
    assert_int_equal(send_to(port, two, 2, ehlo_str_from("x\r\n"), &t), EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(t.failed, 1);
    assert_int_equal(t.done, 0);
    assert_int_equal(t.stage, EHLO_STAGE_CONNECT);
    assert_int_equal(two[0].outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(two[1].outcome, EHLO_OUTCOME_NOT_SENT);
    assert_int_equal(two[1].stage, EHLO_STAGE_CONNECT);
    scene_close(&s);
}

/* Nothing is sent of an envelope that cannot be sent, not even a connection is made. */
static void ehlo_send_refuses_a_bad_envelope_before_it_connects(void **state)
{
    scene s;
    told t = { .failed = 0 };
    (void)state;
    scene_open(&s);
    ehlo_recipient bad = { .to = ehlo_str_from("b@example.net>\r\nRCPT TO:<c@example.net") };
    assert_true(send_to(s.port, &bad, 1, ehlo_str_from("x\r\n"), &t) < 0);
    assert_true(send_to(s.port, NULL, 0, ehlo_str_from("x\r\n"), &t) < 0);
    play_quiet(&s);
    assert_int_equal(s.app.connects, 0);
    assert_int_equal(t.failed + t.done, 0);
    scene_close(&s);
}

static void *play_puppet(void *arg)
{
    puppet *p = arg;
    uint64_t end = now_ms() + PATIENCE_MS;
    while (p->accepts < 1 || p->fd >= 0) {
        if (now_ms() > end) break;
        puppet_move(p);
    }
    return NULL;
}

/* The reply of a server that refuses us becomes everybody's. */
static void ehlo_send_gives_the_refusal_of_a_server_to_everybody(void **state)
{
    puppet p;
    pthread_t thread;
    told t = { .failed = 0 };
    ehlo_recipient rcpt = { .to = ehlo_str_from("b@example.net") };
    (void)state;
    puppet_open(&p, says_554);
    assert_int_equal(pthread_create(&thread, NULL, play_puppet, &p), 0);
    assert_int_equal(send_to(p.port, &rcpt, 1, ehlo_str_from("x\r\n"), &t), EHLO_OUTCOME_REJECTED);
    pthread_join(thread, NULL);
    assert_int_equal(rcpt.stage, EHLO_STAGE_GREETING);
    assert_int_equal(rcpt.code, 554);
    assert_int_equal(rcpt.enhanced[1], 7);
    assert_int_equal(t.failed, 1);
    puppet_close(&p);
}

/* [C87] What becomes of QUIT changes nothing. */
static void ehlo_send_does_not_mind_a_server_that_ignores_quit(void **state)
{
    static const char *const no_quit[] = { UP_TO_DATA, HEAR("\r\n.\r\n"), SAY("250 ok\r\n"), NULL };
    puppet p;
    pthread_t thread;
    told t = { .failed = 0 };
    ehlo_recipient rcpt = { .to = ehlo_str_from("b@example.net") };
    (void)state;
    puppet_open(&p, no_quit);
    assert_int_equal(pthread_create(&thread, NULL, play_puppet, &p), 0);
    assert_int_equal(send_to(p.port, &rcpt, 1, ehlo_str_from("x\r\n"), &t), EHLO_OUTCOME_DELIVERED);
    pthread_join(thread, NULL);
    assert_non_null(strstr(p.heard, "QUIT\r\n"));
    puppet_close(&p);
}

/* -- nothing is lost -------------------------------------------------------------------------------- */

/* Two hundred connections of all fates, some of them given up. */
static void no_descriptor_is_lost(void **state)
{
    const ehlo_client_config reckless = { .name = plain_client.name, .greeting_ms = 20, .command_ms = 20 };
    (void)state;
    unsigned before = count_descriptors();
    if (before == 0) skip();
    scene s;
    scene_open(&s);
    unsigned at_work = 0;
    for (unsigned i = 0; i < 200; i++) {
        sender a;
        const struct fate *fate = &fates[i % FATES];
        sender_open(&a, s.loop, i % 3);
        uint16_t ports[] = { fated_port(&s, fate), s.port };
        sender_go(&a, &reckless, ports, 1 + i % 2);
        for (unsigned rounds = 0; rounds < i % 7; rounds++) scene_move(&s, 0);
        if (i % 5 == 0) ehlo_loop_disconnect(s.loop, a.id);
        if (i % 2 == 1 && a.messages == 0) play_until(&s, a.readies + a.fails > 0);
        if (a.readies && a.messages == 0) ehlo_loop_disconnect(s.loop, a.id);
        play_until(&s, is_over(&a));
        assert_int_equal(a.fails + a.closes, 1);
        while (s.npuppets > 0) puppet_close(&s.puppets[--s.npuppets]);
        if (i == 0) at_work = count_descriptors();
    }
    play_until(&s, ehlo_loop_connections(s.loop) == 0);
    assert_true(count_descriptors() <= at_work);
    scene_close(&s);
    assert_int_equal(count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_to_a_listener_on_the_same_loop),
        cmocka_unit_test(many_messages_go_over_one_connection),
        cmocka_unit_test(each_recipient_has_its_own_outcome),
        cmocka_unit_test(lmtp_has_a_result_per_recipient),
        cmocka_unit_test(an_alternate_is_tried_whatever_the_first_does),
        cmocka_unit_test(a_failure_tells_what_happened),
        cmocka_unit_test(of_several_failures_the_most_hopeful_is_told),
        cmocka_unit_test(a_server_that_refuses_is_told_quit),
        cmocka_unit_test(a_server_that_knows_only_helo_gets_the_message),
#if defined(__linux__)
        cmocka_unit_test(a_message_leaves_with_the_next_envelope_in_one_send),
#endif
        cmocka_unit_test(a_server_that_does_not_accept_in_time_is_passed_over),
        cmocka_unit_test(each_address_of_a_host_is_tried),
        cmocka_unit_test(no_more_addresses_are_tried_than_asked_for),
        cmocka_unit_test(known_addresses_are_tried_in_their_order),
        cmocka_unit_test(each_host_has_its_own_known_addresses),
        cmocka_unit_test(a_name_that_cannot_be_looked_up_is_not_sent),
        cmocka_unit_test(a_resolver_may_be_freed_when_the_look_up_is_given_up),
        cmocka_unit_test(localhost_needs_no_resolver_of_the_callers),
        cmocka_unit_test(addresses_need_no_look_up),
#if defined(__linux__)
        cmocka_unit_test(our_end_is_what_was_asked_for),
#endif
        cmocka_unit_test(servers_that_our_end_cannot_reach_are_passed_over),
        cmocka_unit_test(what_cannot_be_connected_to_is_refused),
        cmocka_unit_test(a_connection_can_be_given_up_at_every_stage),
        cmocka_unit_test(freeing_a_loop_ends_its_sessions),
        cmocka_unit_test(stop_lets_a_message_finish),
        cmocka_unit_test(stop_loses_what_does_not_finish_in_time),
        cmocka_unit_test(a_connection_that_ends_in_a_message_tells_what_is_known),
        cmocka_unit_test(a_server_that_never_reads_is_not_waited_for),
        cmocka_unit_test(a_failure_may_lead_to_another_try),
        cmocka_unit_test(a_session_that_wants_tls_ends_as_long_as_there_is_none),
        cmocka_unit_test(a_message_starts_from_outside_with_a_kick),
        cmocka_unit_test(a_callback_of_one_session_starts_a_message_of_another),
        cmocka_unit_test(a_callback_of_one_session_gives_up_another),
        cmocka_unit_test(two_sessions_do_not_give_each_other_up),
        cmocka_unit_test(a_body_that_comes_later_is_sent_when_it_has_come),
        cmocka_unit_test(a_body_can_be_pushed),
        cmocka_unit_test(ehlo_send_sends_one_message_and_tells_its_outcome),
        cmocka_unit_test(ehlo_send_without_a_server_gives_everybody_an_outcome),
        cmocka_unit_test(ehlo_send_refuses_a_bad_envelope_before_it_connects),
        cmocka_unit_test(ehlo_send_gives_the_refusal_of_a_server_to_everybody),
        cmocka_unit_test(ehlo_send_does_not_mind_a_server_that_ignores_quit),
        cmocka_unit_test(no_descriptor_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
