/* lib/net/send.c - one message, and a wait for what becomes of it. */
#include <ehlo/net.h>

#include <stdlib.h>
#include <string.h>

/* A message on its way. */
typedef struct sending {
    ehlo_envelope envelope;
    size_t recipient_size;
    ehlo_transaction_callbacks callbacks;
    void (*on_failed)(ehlo_loop *loop, const ehlo_failure *failure, void *user);
    void *user;
    void *memory; /* of the transaction */
    int error;    /* it could not even begin */
    int over;
} sending;

/* -- transaction ------------------------------------------------------------------------------------ */

/* Nobody would say when a body that is to come later has come. */
static int on_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    const sending *s = user;
    int result = s->callbacks.body(t, offset, piece, last, s->user);
    int later = result == EHLO_LATER || (result == EHLO_OK && piece->len == 0 && !*last);
    return later ? EHLO_ERR_STATE : result;
}

static void on_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    const sending *s = user;
    s->callbacks.on_rcpt(t, index, r, s->user);
}

static void on_next(ehlo_transaction *t, void *user)
{
    const sending *s = user;
    s->callbacks.on_next(t, s->user);
}

static void say_quit(ehlo_client *c)
{
    ehlo_client_command(c, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
}

/* Nothing that becomes of QUIT changes what became of the message. */
static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    const sending *s = user;
    ehlo_client *c = ehlo_transaction_client(t);
    if (s->callbacks.on_done != NULL) s->callbacks.on_done(t, outcome, s->user);
    say_quit(c);
}

/* -- connection ------------------------------------------------------------------------------------- */

static void on_ready(ehlo_client *c, void *user)
{
    sending *s = user;
    ehlo_transaction *t;
    ehlo_transaction_callbacks callbacks = { .on_done = on_done };
    if (s->callbacks.body != NULL) callbacks.body = on_body;
    if (s->callbacks.on_rcpt != NULL) callbacks.on_rcpt = on_rcpt;
    if (s->callbacks.on_next != NULL) callbacks.on_next = on_next;
    s->error = ehlo_transaction_start_sized(&t, s->memory, ehlo_transaction_size(), c, &s->envelope, sizeof s->envelope,
                                            s->recipient_size, &callbacks, sizeof callbacks, s, NULL);
    if (s->error != EHLO_OK) say_quit(c);
}

static void on_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    sending *s = user;
    ehlo_envelope_settle_sized(&s->envelope, sizeof s->envelope, s->recipient_size, failure->outcome, failure->stage,
                               failure->reply);
    if (s->on_failed != NULL) s->on_failed(loop, failure, s->user);
    s->over = 1;
}

static void on_closed(ehlo_client *c, int reason, void *user)
{
    sending *s = user;
    (void)c;
    (void)reason;
    s->over = 1;
}

static int run(sending *s, ehlo_loop *loop, const ehlo_connect_config *cfg)
{
    const ehlo_connect_callbacks callbacks = { .on_ready = on_ready, .on_failed = on_failed, .on_closed = on_closed };
    ehlo_conn_id id;
    int result = ehlo_loop_connect(loop, cfg, &callbacks, s, &id);
    if (result != EHLO_OK) return result;
    do {
        result = ehlo_loop_step(loop, -1);
    } while (result > 0 && !s->over);
    return ehlo_loop_disconnect(loop, id); /* where the loop itself failed */
}

/* -- send ------------------------------------------------------------------------------------------- */

static int run_with_resolver(sending *s, ehlo_loop *loop, const ehlo_connect_config *cfg,
                             const ehlo_resolver_config *resolver, size_t resolver_size)
{
    ehlo_connect_config own = *cfg;
    if (resolver == NULL) return run(s, loop, &own);
    int result = ehlo_resolver_new_sized(&own.resolver, loop, resolver, resolver_size);
    if (result != EHLO_OK) return result;
    result = run(s, loop, &own);
    ehlo_resolver_free(own.resolver);
    return result;
}

static int send_message(sending *s, const ehlo_connect_config *cfg, const ehlo_resolver_config *resolver,
                        size_t resolver_size)
{
    ehlo_loop *loop;
    int result = ehlo_loop_new(&loop, NULL);
    if (result != EHLO_OK) return result;
    result = run_with_resolver(s, loop, cfg, resolver, resolver_size);
    ehlo_loop_free(loop);
    if (result == EHLO_OK) result = s->error;
    if (result != EHLO_OK) return result;
    return (int)ehlo_envelope_settle_sized(&s->envelope, sizeof s->envelope, s->recipient_size, EHLO_OUTCOME_NOT_SENT,
                                           EHLO_STAGE_CONNECT, NULL);
}

int ehlo_send_sized(const ehlo_connect_config *cfg, size_t cfg_size, const ehlo_resolver_config *resolver,
                    size_t resolver_size, const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                    const ehlo_transaction_callbacks *callbacks, size_t callbacks_size,
                    void (*failed)(ehlo_loop *loop, const ehlo_failure *failure, void *user), void *user)
{
    sending s = { .recipient_size = recipient_size, .on_failed = failed, .user = user };
    ehlo_connect_config own = { 0 };
    memcpy(&own, cfg, cfg_size < sizeof own ? cfg_size : sizeof own);
    memcpy(&s.envelope, envelope, envelope_size < sizeof s.envelope ? envelope_size : sizeof s.envelope);
    if (callbacks != NULL) {
        memcpy(&s.callbacks, callbacks, callbacks_size < sizeof s.callbacks ? callbacks_size : sizeof s.callbacks);
    }
    int result = ehlo_envelope_check_sized(&s.envelope, sizeof s.envelope, recipient_size, NULL);
    if (result != EHLO_OK) return result;
    if (own.resolver != NULL || (s.envelope.content.ptr == NULL && s.callbacks.body == NULL)) return EHLO_ERR_ARG;
    s.memory = malloc(ehlo_transaction_size());
    if (s.memory == NULL) return EHLO_ERR_MEMORY;
    result = send_message(&s, &own, resolver, resolver_size);
    free(s.memory);
    return result;
}
