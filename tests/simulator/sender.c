/* sender.c - hands messages to relays, and tells the books what it was told. */
#include "hosts.h"

#include <stdlib.h>
#include <string.h>

/* One message on its way, for as long as the loop lives. */
typedef struct errand {
    struct errand *next;
    machine *machine;
    ledger_message *message;
    ehlo_address relay;
    ehlo_recipient rcpts[LEDGER_RCPTS_MAX];
    void *memory; /* of the transaction */
    int told;
} errand;

static void tell(errand *e)
{
    if (e->told) return;
    e->told = 1;
    for (size_t i = 0; i < e->message->n; i++) ledger_told(e->message, i, (ehlo_outcome)e->rcpts[i].outcome);
}

static void say_quit(ehlo_client *c)
{
    ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    (void)outcome;
    tell(user);
    say_quit(ehlo_transaction_client(t));
}

static ehlo_envelope envelope_of(errand *e)
{
    return (ehlo_envelope){ .from = ehlo_str_from(e->message->from),
                            .rcpts = e->rcpts,
                            .nrcpts = e->message->n,
                            .content = ehlo_str_make(e->message->content, e->message->len) };
}

static void on_ready(ehlo_client *c, void *user)
{
    static const ehlo_transaction_callbacks callbacks = { .on_done = on_done };
    errand *e = user;
    ehlo_transaction *t;
    ehlo_envelope envelope = envelope_of(e);
    if (ehlo_transaction_start(&t, e->memory, ehlo_transaction_size(), c, &envelope, &callbacks, e, NULL) != EHLO_OK)
        world_breach("the sender's transaction does not start");
}

static void settle(errand *e, ehlo_outcome outcome, ehlo_stage stage)
{
    ehlo_envelope envelope = envelope_of(e);
    ehlo_envelope_settle(&envelope, outcome, stage, NULL);
    tell(e);
}

static void on_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    (void)loop;
    settle(user, failure->outcome, failure->stage);
}

static void on_closed(ehlo_client *c, int reason, void *user)
{
    const errand *e = user;
    (void)c;
    (void)reason;
    if (!e->told) world_breach("the sender's session has ended without an outcome");
}

static void begin(machine *m, void *arg)
{
    static const ehlo_connect_callbacks callbacks = { .on_ready = on_ready,
                                                      .on_failed = on_failed,
                                                      .on_closed = on_closed };
    errand *e = arg;
    ehlo_host host = { .name = ehlo_str_from("relay.example"), .addresses = &e->relay, .naddresses = 1 };
    ehlo_client_config client = { .name = ehlo_str_from("sender.example") };
    ehlo_connect_config cfg = { .hosts = &host, .nhosts = 1, .client = &client };
    for (size_t i = 0; i < e->message->n; i++) {
        e->rcpts[i].to = ehlo_str_from(e->message->rcpts[i].to);
        e->rcpts[i].notify = e->message->rcpts[i].notify;
    }
    if (ehlo_loop_connect(m->loop, &cfg, &callbacks, e, NULL) != EHLO_OK)
        settle(e, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_CONNECT);
}

static void begin_errand(void *arg, int run)
{
    errand *e = arg;
    if (run) machine_run(e->machine, begin, e);
}

void sender_send(machine *m, uint64_t ms, ledger_message *message, const ehlo_address *relay)
{
    errand *e = calloc(1, sizeof *e);
    if (e == NULL) abort();
    e->machine = m;
    e->message = message;
    e->relay = *relay;
    e->relay.port = 0;
    e->memory = malloc(ehlo_transaction_size());
    if (e->memory == NULL) abort();
    e->next = m->app;
    m->app = e;
    world_after(ms, begin_errand, e);
}

/* -- the machine ------------------------------------------------------------------------------------ */

static void boot(machine *m)
{
    if (ehlo_loop_new(&m->loop, NULL) != EHLO_OK) abort();
}

static void halt(machine *m, int crashed)
{
    (void)crashed;
    for (errand *e = m->app; e != NULL; e = e->next) e->told = 1; /* too late: the books are closed */
    ehlo_loop_free(m->loop);
}

static void discard(machine *m)
{
    while (m->app != NULL) {
        errand *e = m->app;
        m->app = e->next;
        free(e->memory);
        free(e);
    }
}

machine *sender_machine(const char *name)
{
    machine *m = machine_new(name, boot, halt, NULL);
    m->discard = discard;
    return m;
}
