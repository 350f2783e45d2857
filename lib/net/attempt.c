/* lib/net/attempt.c - one batch under way: does what its delivery asks for.
 *
 * Every function that tells the delivery of an event goes on with ehlo_attempt_go_on as its last deed: the attempt may
 * be over then. */
#include "attempt.h"

#include "carry.h"
#include "dial.h"
#include "random.h"
#include "record.h"
#include "relay_session.h"

#include <stdlib.h>
#include <string.h>

static void *transaction_memory(ehlo_attempt *a)
{
    return a->memory;
}

static void *delivery_memory(ehlo_attempt *a)
{
    return (char *)a->memory + ehlo_aligned(ehlo_transaction_size());
}

/* -- look-ups --------------------------------------------------------------------------------------- */

static void on_mx(ehlo_loop *loop, ehlo_dns_answer *answer, void *arg)
{
    ehlo_attempt *a = arg;
    (void)loop;
    a->lookup = NULL;
    ehlo_delivery_mx(a->delivery, answer);
    ehlo_attempt_go_on(a);
}

static void on_addresses(ehlo_loop *loop, ehlo_dns_status status, const ehlo_address *addresses, size_t n, void *arg)
{
    ehlo_attempt *a = arg;
    (void)loop;
    a->lookup = NULL;
    ehlo_delivery_addresses(a->delivery, status, addresses, n);
    ehlo_attempt_go_on(a);
}

/* These do one task each: 1: it is under way; 0: the delivery was told already what came of it. */

static int look_up_mx(ehlo_attempt *a, const ehlo_task *task)
{
    ehlo_resolver *resolver = ehlo_loop_resolver(a->relay->loop, a->relay->cfg.resolver);
    if (resolver != NULL && ehlo_resolve_mx(resolver, task->name, on_mx, a, &a->lookup) == EHLO_OK) return 1;
    a->lookup = NULL;
    ehlo_delivery_mx(a->delivery, NULL);
    return 0;
}

static int look_up_addresses(ehlo_attempt *a, const ehlo_task *task)
{
    ehlo_resolver *resolver = ehlo_loop_resolver(a->relay->loop, a->relay->cfg.resolver);
    if (resolver != NULL && ehlo_resolve(resolver, task->name, on_addresses, a, &a->lookup) == EHLO_OK) return 1;
    a->lookup = NULL;
    ehlo_delivery_addresses(a->delivery, EHLO_DNS_FAILED, NULL, 0);
    return 0;
}

/* -- sessions --------------------------------------------------------------------------------------- */

static void tell_failed(ehlo_attempt *a, ehlo_stage stage, ehlo_str problem)
{
    const ehlo_reply words = { .text = problem };
    ehlo_delivery_failed(a->delivery, stage, EHLO_OUTCOME_NOT_SENT, &words);
}

static int connect_to(ehlo_attempt *a, const ehlo_task *task)
{
    if (task->verified_tls && a->relay->cfg.tls_engine == NULL) {
        tell_failed(a, EHLO_STAGE_STARTTLS, ehlo_str_from("There is no TLS here"));
        return 0;
    }
    int error = ehlo_relay_session_open(a, task);
    if (error == EHLO_OK) return 1;
    tell_failed(a, EHLO_STAGE_CONNECT, ehlo_error_text(error));
    return 0;
}

/* The order of look-ups, addresses and hosts does not matter where a session with one of them is open. */
static int finds_session(ehlo_attempt *a)
{
    if (a->reused) return 0;
    a->session = ehlo_relay_session_find(a);
    if (a->session == NULL) return 0;
    a->reused = a->reached = 1;
    ehlo_delivery_connected(a->delivery, ehlo_str_make(a->session->host, a->session->host_len));
    return 1;
}

static int offers_require_tls(const ehlo_attempt *a)
{
    return (ehlo_client_offers(a->session->client)->caps & EHLO_CAP_REQUIRETLS) != 0;
}

/* RFC 8689 4.2.1: a host that does not offer REQUIRETLS inside verified TLS is left for the next one. The session may serve
 * messages that do not demand it. */
static void pass_over(ehlo_attempt *a)
{
    const ehlo_reply reply = { .code = 550,
                               .enhanced = { 5, 7, 30 },
                               .text = ehlo_str_from("The server does not offer REQUIRETLS") };
    a->session->verified = 0;
    ehlo_relay_session_rest(a);
    ehlo_delivery_failed(a->delivery, EHLO_STAGE_STARTTLS, EHLO_OUTCOME_REJECTED, &reply);
}

void ehlo_attempt_ready(ehlo_attempt *a)
{
    a->reached = 1;
    if (ehlo_delivery_task(a->delivery)->verified_tls && !offers_require_tls(a))
        pass_over(a);
    else
        ehlo_delivery_connected(a->delivery, ehlo_str_make(NULL, 0));
    ehlo_attempt_go_on(a);
}

/* What went wrong, as a sentence begins. */
static ehlo_str sentence(ehlo_str problem, char text[EHLO_REPLY_KEPT])
{
    size_t len = problem.len < EHLO_REPLY_KEPT ? problem.len : EHLO_REPLY_KEPT;
    memcpy(text, problem.ptr, len);
    if (len > 0 && text[0] >= 'a' && text[0] <= 'z') text[0] = (char)(text[0] - 'a' + 'A');
    return ehlo_str_make(text, len);
}

void ehlo_attempt_unreached(ehlo_attempt *a, const ehlo_failure *failure)
{
    char text[EHLO_REPLY_KEPT];
    const ehlo_reply words = { .text = sentence(failure->problem, text) };
    const ehlo_reply *reply = failure->reply != NULL ? failure->reply : &words;
    ehlo_delivery_failed(a->delivery, failure->stage, failure->outcome, reply);
    ehlo_attempt_go_on(a);
}

/* -- transaction ------------------------------------------------------------------------------------ */

static void on_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    const ehlo_attempt *a = user;
    static const ehlo_reply unreadable = { .text = { "The message cannot be read for now", 34 } };
    (void)t;
    ehlo_delivery_reply(a->delivery, index, r == NULL && a->broken ? &unreadable : r);
}

/* The session has done its part: it may serve another batch before this one is recorded. */
static void tell_sent(ehlo_attempt *a)
{
    int reports = (ehlo_client_offers(a->session->client)->caps & EHLO_CAP_DSN) != 0;
    ehlo_relay_session_rest(a);
    ehlo_delivery_sent(a->delivery, reports);
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    ehlo_attempt *a = user;
    (void)t;
    if (a->relay->gone) return;
    a->transaction = NULL;
    a->body_wanted = a->body_here = 0;
    if (outcome == EHLO_OUTCOME_DELIVERED) ehlo_destination_widen(a->relay, a->destination);
    tell_sent(a);
    ehlo_attempt_go_on(a);
}

static const ehlo_transaction_callbacks transaction_callbacks = { .body = ehlo_attempt_body,
                                                                  .on_rcpt = on_rcpt,
                                                                  .on_done = on_done };

static ehlo_envelope envelope_of(const ehlo_attempt *a, size_t first, size_t n)
{
    ehlo_envelope envelope = a->batch->envelope;
    envelope.rcpts = &a->batch->rcpts[first].rcpt;
    envelope.nrcpts = n;
    return envelope;
}

static void settle(ehlo_attempt *a, size_t first, size_t n, ehlo_outcome outcome)
{
    ehlo_envelope envelope = envelope_of(a, first, n);
    ehlo_envelope_settle_sized(&envelope, sizeof envelope, sizeof *a->batch->rcpts, outcome, EHLO_STAGE_MAIL, NULL);
}

/* What cannot be put into commands is refused: a recipient, or the whole message. */
static void settle_unsendable(ehlo_attempt *a, size_t n, int error, const ehlo_envelope_fault *fault)
{
    int unsendable = error == EHLO_ERR_ARG || error == EHLO_ERR_SPACE;
    int of_one = unsendable && fault->member != NULL &&
                 (strcmp(fault->member, "to") == 0 || strcmp(fault->member, "orcpt") == 0 ||
                  strcmp(fault->member, "rcpt params") == 0);
    for (size_t i = 0; i < n; i++) a->batch->rcpts[i].rcpt.outcome = EHLO_OUTCOME_NONE;
    if (of_one) settle(a, fault->recipient, 1, EHLO_OUTCOME_REJECTED);
    settle(a, 0, n, unsendable && !of_one ? EHLO_OUTCOME_REJECTED : EHLO_OUTCOME_NOT_SENT);
    ehlo_relay_problem(a->relay, "it cannot be sent as it is queued", a->batch->message, error);
}

static int send_message(ehlo_attempt *a, const ehlo_task *task)
{
    ehlo_client *c = a->session->client;
    ehlo_envelope envelope = envelope_of(a, 0, task->nrcpts);
    ehlo_envelope_fault fault = { 0 };
    a->begun = 1;
    a->session->messages++;
    int error = ehlo_transaction_start_sized(&a->transaction, transaction_memory(a), ehlo_transaction_size(), c,
                                             &envelope, sizeof envelope, sizeof *a->batch->rcpts,
                                             &transaction_callbacks, sizeof transaction_callbacks, a, &fault);
    if (error == EHLO_OK) {
        ehlo_client_kick(c); /* the last: it may all be over then */
        return 1;
    }
    a->transaction = NULL;
    settle_unsendable(a, task->nrcpts, error, &fault);
    tell_sent(a);
    return 0;
}

/* -- tasks ------------------------------------------------------------------------------------------ */

/* Nothing new is to begin: the loop is to stop, or the message is not ours any more, or cannot be read, or took too
 * long. */
static int is_to_end(const ehlo_attempt *a)
{
    return ehlo_loop_stopping(a->relay->loop) || a->lost || a->broken || a->late;
}

/* An attempt that is given up for the loop's sake before anything was sent is none. */
static int end_early(ehlo_attempt *a)
{
    if ((a->begun || a->late) && !a->lost) {
        ehlo_delivery_stop(a->delivery);
        return 0;
    }
    a->phase = EHLO_PHASE_RELEASE;
    ehlo_attempt_advance(a);
    return 1;
}

static int conclude(ehlo_attempt *a)
{
    if (!a->reached) ehlo_destination_narrow(a->destination);
    ehlo_attempt_conclude(a);
    return 1;
}

static int seek(ehlo_attempt *a, const ehlo_task *task)
{
    if (is_to_end(a)) return end_early(a);
    if (finds_session(a)) return 0;
    if (task->kind == EHLO_TASK_MX) return look_up_mx(a, task);
    return task->kind == EHLO_TASK_ADDRESSES ? look_up_addresses(a, task) : connect_to(a, task);
}

static int do_task(ehlo_attempt *a)
{
    const ehlo_task *task = ehlo_delivery_task(a->delivery);
    if (task->kind == EHLO_TASK_RECORD) return conclude(a);
    return task->kind == EHLO_TASK_SEND ? send_message(a, task) : seek(a, task);
}

void ehlo_attempt_go_on(ehlo_attempt *a)
{
    while (!do_task(a)) continue;
}

/* A message whose last octet has left has time until its reply is overdue. */
static void break_off_transaction(ehlo_attempt *a)
{
    ehlo_loop *loop = a->relay->loop;
    ehlo_conn_id id = a->session->id;
    if (ehlo_transaction_cancel(a->transaction, loop->now) != EHLO_ERR_STATE) ehlo_loop_disconnect(loop, id);
}

static void give_up(ehlo_attempt *a)
{
    if (a->lookup != NULL) ehlo_lookup_cancel(a->lookup);
    a->lookup = NULL;
    ehlo_relay_session_give_up(a);
    ehlo_attempt_go_on(a);
}

void ehlo_attempt_break_off(ehlo_attempt *a)
{
    if (a->transaction != NULL)
        break_off_transaction(a);
    else
        give_up(a);
}

void ehlo_attempt_stop(ehlo_attempt *a)
{
    if (a->phase == EHLO_PHASE_DELIVER && a->transaction == NULL) give_up(a);
}

/* -- limit ------------------------------------------------------------------------------------------ */

static void took_too_long(ehlo_loop *loop, void *arg)
{
    ehlo_attempt *a = arg;
    (void)loop;
    if (a->phase != EHLO_PHASE_DELIVER) return;
    a->late = 1;
    ehlo_attempt_break_off(a);
}

static int limit(ehlo_attempt *a)
{
    uint64_t ms = a->relay->cfg.attempt_ms + a->batch->envelope.size / 4;
    return ehlo_timer_start(a->relay->loop, &a->limit, ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX, took_too_long, a);
}

/* -- life ------------------------------------------------------------------------------------------- */

static ehlo_attempt *attempt_new(ehlo_relay *relay, ehlo_batch *batch)
{
    size_t size = ehlo_aligned(ehlo_transaction_size()) + ehlo_delivery_size();
    ehlo_attempt *a = malloc(sizeof *a + size);
    if (a == NULL) return NULL;
    memset(a, 0, sizeof *a);
    a->relay = relay;
    a->batch = batch;
    a->lease_until = batch->lease_until;
    a->destination = ehlo_destination_join(relay, batch->destination);
    if (a->destination != NULL && ehlo_attempt_hold(a) == EHLO_OK) {
        if (limit(a) == EHLO_OK) return a;
        ehlo_timer_stop(relay->loop, &a->renewal);
    }
    if (a->destination != NULL) a->destination->busy--;
    free(a);
    return NULL;
}

/* Without entropy the order of equal hosts can be foreseen, which does no harm. */
static uint64_t dice(const ehlo_attempt *a)
{
    uint64_t seed;
    if (ehlo_random(&seed, sizeof seed) != 0) seed = a->batch->id ^ a->batch->fence << 32;
    return seed;
}

int ehlo_attempt_start(ehlo_relay *relay, ehlo_batch *batch)
{
    ehlo_attempt *a = attempt_new(relay, batch);
    if (a == NULL) {
        relay->cfg.store->release(relay->cfg.store_ctx, batch);
        return EHLO_ERR_MEMORY;
    }
    ehlo_relay_begun(relay, a);
    int error =
        ehlo_delivery_init(&a->delivery, delivery_memory(a), ehlo_delivery_size(), &relay->policy, batch, dice(a));
    if (error != EHLO_OK) a->delivery = NULL;
    if (error == EHLO_OK)
        ehlo_attempt_go_on(a);
    else
        ehlo_attempt_conclude(a);
    return EHLO_OK;
}
