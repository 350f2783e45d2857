/* Whoever sends over a loop: messages as many as are asked for, then QUIT; and what came of it. */
#ifndef EHLO_TESTS_SENDER_H
#define EHLO_TESTS_SENDER_H

#include "sockets.h"

#include <stdlib.h>

enum { SOON_MS = 150, HOSTS_MAX = 4, RCPTS_MAX = 3 };

static const char CONTENT[] = "Subject: x\r\n\r\n.hello\r\n";

static const ehlo_client_config plain_client = { .name = { "client.example", 14 } };
static const ehlo_client_config hasty_client = { .name = { "client.example", 14 },
                                                 .greeting_ms = SOON_MS,
                                                 .command_ms = SOON_MS,
                                                 .tls_ms = SOON_MS,
                                                 .quit_ms = SOON_MS };

typedef struct sender {
    ehlo_loop *loop;
    ehlo_conn_id id;
    ehlo_client *client;
    unsigned readies, fails, closes, nexts, dones;
    int reason;
    ehlo_failure failure;
    char problem[128];
    ehlo_reply reply;
    char reply_text[256];
    int calling;            /* ehlo_loop_connect runs */
    int verified;           /* as of on_ready; -1: not inside TLS */
    int facts_before_hello; /* when the greeting came */

    unsigned messages; /* to be sent, each begun as soon as the one before lets it */
    unsigned started;
    int stay; /* 1: no QUIT behind the last */
    ehlo_str content;
    int (*body)(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user);
    int pushed;
    const char *to[RCPTS_MAX];
    ehlo_recipient rcpts[RCPTS_MAX]; /* of the last message that came to its end */
    int worst;                       /* of all messages */
    ehlo_transaction *t;             /* the last that was started */
} sender;

/* One message; many may be in flight. */
typedef struct letter {
    sender *a;
    ehlo_recipient rcpts[RCPTS_MAX];
    max_align_t memory[];
} letter;

static inline void start_message(sender *a, ehlo_client *c);

static inline int letter_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    sender *a = ((letter *)user)->a;
    return a->body(t, offset, piece, last, a);
}

static inline void start_if_due(sender *a, ehlo_client *c)
{
    if (a->started < a->messages && (ehlo_client_wants(c) & EHLO_WANT_NEXT)) start_message(a, c);
}

static inline void letter_on_next(ehlo_transaction *t, void *user)
{
    sender *a = ((letter *)user)->a;
    a->nexts++;
    start_if_due(a, ehlo_transaction_client(t));
}

static inline void letter_on_done(ehlo_transaction *t, int outcome, void *user)
{
    letter *l = user;
    sender *a = l->a;
    ehlo_client *c = ehlo_transaction_client(t);
    a->dones++;
    if (outcome > a->worst) a->worst = outcome;
    memcpy(a->rcpts, l->rcpts, sizeof a->rcpts);
    free(l);
    start_if_due(a, c);
    if (a->dones == a->messages && !a->stay) {
        ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
    }
}

static inline void start_message(sender *a, ehlo_client *c)
{
    letter *l = calloc(1, sizeof *l + ehlo_transaction_size());
    assert_non_null(l);
    ehlo_envelope envelope = { .from = ehlo_str_from("a@example.org"), .rcpts = l->rcpts, .content = a->content };
    const ehlo_transaction_callbacks callbacks = { .body = a->body != NULL ? letter_body : NULL,
                                                   .on_next = letter_on_next,
                                                   .on_done = letter_on_done };
    l->a = a;
    while (envelope.nrcpts < RCPTS_MAX && a->to[envelope.nrcpts] != NULL) {
        l->rcpts[envelope.nrcpts].to = ehlo_str_from(a->to[envelope.nrcpts]);
        envelope.nrcpts++;
    }
    a->started++;
    assert_int_equal(
        ehlo_transaction_start(&a->t, l->memory, ehlo_transaction_size(), c, &envelope, &callbacks, l, NULL), EHLO_OK);
}

static inline void sender_on_ready(ehlo_client *c, void *user)
{
    sender *a = user;
    const ehlo_tls_facts *facts = ehlo_client_tls_facts(c);
    assert_false(a->calling);
    assert_ptr_equal(ehlo_client_loop(c), a->loop);
    assert_int_equal(ehlo_client_number(c), a->id);
    assert_ptr_equal(ehlo_loop_client(a->loop, a->id), c);
    assert_ptr_equal(ehlo_client_user(c), a);
    assert_int_equal(ehlo_loop_disconnect(a->loop, a->id), EHLO_ERR_REENTRY);
    a->readies++;
    a->client = c;
    a->verified = facts != NULL ? facts->peer_verified : -1;
    if (a->messages > 0) start_message(a, c);
}

static inline void sender_on_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    sender *a = user;
    assert_false(a->calling);
    assert_ptr_equal(loop, a->loop);
    assert_in_range(failure->problem.len, 1, sizeof a->problem - 1);
    a->fails++;
    a->failure = *failure;
    memcpy(a->problem, failure->problem.ptr, failure->problem.len);
    if (failure->reply == NULL) return;
    assert_true(failure->reply->text.len < sizeof a->reply_text);
    a->reply = *failure->reply;
    memcpy(a->reply_text, failure->reply->text.ptr, failure->reply->text.len);
}

static inline void sender_on_closed(ehlo_client *c, int reason, void *user)
{
    sender *a = user;
    assert_false(a->calling);
    assert_ptr_equal(c, a->client);
    assert_int_equal(a->dones, a->started);
    a->closes++;
    a->reason = reason;
    a->client = NULL;
}

static inline void sender_on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    sender *a = user;
    (void)bytes;
    (void)secret;
    if (direction == EHLO_TRACE_IN && a->facts_before_hello < 0)
        a->facts_before_hello = ehlo_client_tls_facts(c) != NULL;
}

static const ehlo_connect_callbacks sender_callbacks = { .on_ready = sender_on_ready,
                                                         .on_failed = sender_on_failed,
                                                         .on_closed = sender_on_closed,
                                                         .on_trace = sender_on_trace };

static inline void sender_open(sender *a, ehlo_loop *loop, unsigned messages)
{
    memset(a, 0, sizeof *a);
    a->loop = loop;
    a->messages = messages;
    a->to[0] = "b@example.net";
    a->content = ehlo_str_make(CONTENT, sizeof CONTENT - 1);
    a->facts_before_hello = -1;
}

/* cfg.client NULL: the plain one. */
static inline void sender_connect(sender *a, ehlo_connect_config cfg)
{
    if (cfg.client == NULL) cfg.client = &plain_client;
    a->calling = 1;
    assert_int_equal(ehlo_loop_connect(a->loop, &cfg, &sender_callbacks, a, &a->id), EHLO_OK);
    a->calling = 0;
}

/* To ports of 127.0.0.1, in turn; all but the hosts is as cfg says. */
static inline void sender_go_as(sender *a, ehlo_connect_config cfg, const uint16_t *ports, size_t n)
{
    ehlo_host hosts[HOSTS_MAX];
    cfg.hosts = hosts;
    cfg.nhosts = n;
    for (size_t i = 0; i < n; i++) hosts[i] = (ehlo_host){ .name = ehlo_str_from("127.0.0.1"), .port = ports[i] };
    sender_connect(a, cfg);
    memset(hosts, 'x', sizeof hosts); /* they were copied */
}

static inline int is_over(const sender *a)
{
    return a->fails + a->closes > 0;
}

#endif
