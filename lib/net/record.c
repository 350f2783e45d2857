/* lib/net/record.c - the store's side of an attempt: the lease, the message, and what is recorded at the end. */
#include "record.h"

#include "report.h"

#include <stdlib.h>

static void answered(ehlo_loop *loop, ehlo_pending *pending, int result);

/* -- calls ------------------------------------------------------------------------------------------ */

static ehlo_pending *pending_of(ehlo_attempt *a)
{
    a->pending.loop = a->relay->loop;
    a->pending.fn = answered;
    return &a->pending;
}

static const ehlo_store *store_of(const ehlo_attempt *a)
{
    return a->relay->cfg.store;
}

static void *store_ctx(const ehlo_attempt *a)
{
    return a->relay->cfg.store_ctx;
}

static void problem(const ehlo_attempt *a, const char *what, int error)
{
    ehlo_relay_problem(a->relay, what, a->batch->message, error);
}

/* -- the end ---------------------------------------------------------------------------------------- */

/* What the store may still write to stays as long as the loop. */
static void dispose(ehlo_attempt *a)
{
    if (a->reports != NULL && a->relay->gone) ehlo_reports_disown(a->reports);
    if (a->call == EHLO_CALL_NONE) {
        ehlo_reports_free(a->reports);
        free(a);
        return;
    }
    a->relay = NULL;
    if (a->reports != NULL) ehlo_loop_keep(a->pending.loop, (ehlo_kept *)a->reports);
    ehlo_loop_keep(a->pending.loop, &a->kept);
}

void ehlo_attempt_leave(ehlo_attempt *a)
{
    ehlo_relay *relay = a->relay;
    ehlo_timer_stop(relay->loop, &a->renewal);
    ehlo_timer_stop(relay->loop, &a->retry);
    ehlo_timer_stop(relay->loop, &a->limit);
    ehlo_relay_rested(relay, a);
    if (a->lookup != NULL) ehlo_lookup_cancel(a->lookup);
    a->destination->busy--;
    ehlo_relay_ended(relay, a);
    dispose(a);
}

static void drop_reports(ehlo_attempt *a)
{
    ehlo_reports_free(a->reports);
    a->reports = NULL;
}

static void release(ehlo_attempt *a)
{
    drop_reports(a);
    store_of(a)->release(store_ctx(a), a->batch);
    ehlo_attempt_leave(a);
}

/* -- failures of the store -------------------------------------------------------------------------- */

static void retry(ehlo_loop *loop, void *arg)
{
    ehlo_attempt *a = arg;
    (void)loop;
    ehlo_relay_rested(a->relay, a);
    ehlo_attempt_advance(a);
}

/* What was delivered must not be forgotten, and what is recorded must have its reports: so both are tried again, as long
 * as there is time. 0: the attempt is over. */
static int rest(ehlo_attempt *a, const char *what, int error)
{
    ehlo_loop *loop = a->relay->loop;
    problem(a, what, error);
    if (!a->relay->out_of_grace &&
        ehlo_timer_start(loop, &a->retry, ehlo_patience(&a->patience_ms), retry, a) == EHLO_OK) {
        ehlo_relay_rests(a->relay, a);
        return 1;
    }
    problem(a, "it is left to its lease: what was delivered may be delivered again", EHLO_OK);
    ehlo_attempt_leave(a);
    return 0;
}

void ehlo_attempt_hurry(ehlo_attempt *a)
{
    ehlo_timer_stop(a->relay->loop, &a->retry);
    ehlo_relay_rested(a->relay, a);
    ehlo_attempt_advance(a);
}

/* -- lease ------------------------------------------------------------------------------------------ */

static void renewal_due(ehlo_loop *loop, void *arg)
{
    ehlo_attempt *a = arg;
    (void)loop;
    a->renewal_due = 1;
    ehlo_attempt_advance(a);
}

int ehlo_attempt_hold(ehlo_attempt *a)
{
    return ehlo_timer_start(a->relay->loop, &a->renewal, a->relay->cfg.lease_ms / 2, renewal_due, a);
}

static int renew(ehlo_attempt *a)
{
    a->renewal_due = 0;
    a->lease_asked = ehlo_relay_now(a->relay) + a->relay->cfg.lease_ms;
    return store_of(a)->renew(store_ctx(a), a->batch, a->lease_asked, pending_of(a));
}

static void lose(ehlo_attempt *a)
{
    problem(a, "the lease was lost", EHLO_OK);
    a->lost = 1;
    if (a->phase != EHLO_PHASE_DELIVER) a->phase = EHLO_PHASE_RELEASE;
}

/* One that fails is tried again before the lease ends. */
static int renewed(ehlo_attempt *a, int result)
{
    uint32_t ms = a->relay->cfg.lease_ms;
    if (result == EHLO_ERR_STALE) {
        lose(a);
        return 1;
    }
    if (result == EHLO_OK)
        a->lease_until = a->lease_asked;
    else
        problem(a, "its lease could not be renewed", result);
    ehlo_timer_start(a->relay->loop, &a->renewal, result == EHLO_OK ? ms / 2 : ms / 8, renewal_due, a);
    return 1;
}

/* -- message ---------------------------------------------------------------------------------------- */

/* Without the lease somebody else may be sending it. */
static int may_be_sent(const ehlo_attempt *a)
{
    return !a->lost && !a->broken && ehlo_relay_now(a->relay) < a->lease_until;
}

/* A piece that is neither octets nor an end would be waited for in vain. */
static int took_body(ehlo_attempt *a, int result)
{
    if (result == EHLO_OK && a->piece.len == 0 && !a->piece_last) result = EHLO_ERR_SYSTEM;
    a->body_here = result == EHLO_OK;
    a->broken = result != EHLO_OK;
    if (a->broken) problem(a, "it cannot be read", result);
    return 1;
}

static int call_body(ehlo_attempt *a, uint64_t offset)
{
    a->body_here = 0;
    a->body_offset = offset;
    a->piece = ehlo_str_make(NULL, 0);
    a->piece_last = 0;
    return store_of(a)->body(store_ctx(a), a->batch, offset, &a->piece, &a->piece_last, pending_of(a));
}

int ehlo_attempt_body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    ehlo_attempt *a = user;
    (void)t;
    if (!may_be_sent(a)) return EHLO_ERR_STATE;
    if (!a->body_here || a->body_offset != offset) {
        a->body_wanted = 1;
        if (a->call != EHLO_CALL_NONE) return EHLO_LATER;
        int result = call_body(a, offset);
        if (result == EHLO_LATER) {
            a->call = EHLO_CALL_BODY;
            return EHLO_LATER;
        }
        took_body(a, result);
    }
    a->body_wanted = 0;
    *piece = a->piece;
    *last = a->piece_last;
    return a->broken ? EHLO_ERR_STATE : EHLO_OK;
}

/* -- reports ---------------------------------------------------------------------------------------- */

static int any_report(const ehlo_progress *progress)
{
    for (size_t i = 0; i < sizeof progress->reports; i++) {
        if (progress->reports[i]) return 1;
    }
    return 0;
}

/* A batch that is none is put off, as it can be neither delivered nor reported on. */
static void put_off(ehlo_attempt *a)
{
    const ehlo_batch *batch = a->batch;
    problem(a, "what the store handed out is no batch", EHLO_OK);
    a->progress = (ehlo_progress){ .attempt = batch->attempt + 1, .warned = batch->warned };
    a->progress.next_try = ehlo_schedule_next(&a->relay->policy.schedule, batch->attempt + 1, a->concluded, batch->id);
}

void ehlo_attempt_conclude(ehlo_attempt *a)
{
    a->concluded = ehlo_relay_now(a->relay);
    if (a->delivery == NULL)
        put_off(a);
    else
        ehlo_delivery_conclude(a->delivery, a->concluded, &a->progress);
    a->phase = any_report(&a->progress) ? EHLO_PHASE_REPORT : EHLO_PHASE_RECORD;
    if (a->lost) a->phase = EHLO_PHASE_RELEASE;
    ehlo_attempt_advance(a);
}

static int write_reports(ehlo_attempt *a)
{
    if (a->reports == NULL) a->reports = ehlo_reports_new(a);
    return a->reports != NULL ? ehlo_reports_write(a->reports, pending_of(a)) : EHLO_ERR_MEMORY;
}

static int wrote_reports(ehlo_attempt *a, int result)
{
    if (result == EHLO_OK) {
        a->phase = EHLO_PHASE_RECORD;
        return 1;
    }
    drop_reports(a);
    return rest(a, "a report on it could not be written", result);
}

/* -- record ----------------------------------------------------------------------------------------- */

static int record(ehlo_attempt *a)
{
    size_t n = 0;
    void *const *reports = a->reports != NULL ? ehlo_reports_messages(a->reports, &n) : NULL;
    return store_of(a)->record(store_ctx(a), a->batch, &a->progress, reports, n, pending_of(a));
}

/* The reports may be what the store cannot take any more: they are written anew. */
static int not_recorded(ehlo_attempt *a, int error)
{
    if (a->reports != NULL) a->phase = EHLO_PHASE_REPORT;
    drop_reports(a);
    return rest(a, "what became of it could not be recorded", error);
}

static int recorded(ehlo_attempt *a, int result)
{
    const ehlo_relay_config *cfg = &a->relay->cfg;
    if (result == EHLO_ERR_STALE) {
        lose(a);
        return 1;
    }
    if (result != EHLO_OK) return not_recorded(a, result);
    if (a->reports != NULL) ehlo_reports_disown(a->reports);
    if (cfg->on_recorded != NULL) cfg->on_recorded(a->batch, &a->progress, cfg->ctx);
    release(a);
    return 0;
}

/* -- one step after the other ----------------------------------------------------------------------- */

/* What is to be called now. */
static ehlo_call next_call(const ehlo_attempt *a)
{
    if (a->renewal_due && !a->lost) return EHLO_CALL_RENEW;
    if (a->phase == EHLO_PHASE_DELIVER || ehlo_timer_runs(&a->retry)) return EHLO_CALL_NONE;
    return a->phase == EHLO_PHASE_REPORT ? EHLO_CALL_REPORT : EHLO_CALL_RECORD;
}

static int make_call(ehlo_attempt *a, ehlo_call call)
{
    if (call == EHLO_CALL_RENEW) return renew(a);
    return call == EHLO_CALL_REPORT ? write_reports(a) : record(a);
}

/* 0: the attempt is over. */
static int take_result(ehlo_attempt *a, ehlo_call call, int result)
{
    switch (call) {
    case EHLO_CALL_RENEW:
        return renewed(a, result);
    case EHLO_CALL_BODY:
        return took_body(a, result);
    case EHLO_CALL_REPORT:
        return wrote_reports(a, result);
    default:
        return recorded(a, result);
    }
}

/* The delivery has lost its batch, or was waiting for a piece of the message. */
static void tell_delivery(ehlo_attempt *a)
{
    if (a->lost)
        ehlo_attempt_break_off(a);
    else if (a->transaction != NULL && a->body_wanted)
        ehlo_loop_body_ready(a->transaction);
}

void ehlo_attempt_advance(ehlo_attempt *a)
{
    while (a->call == EHLO_CALL_NONE) {
        ehlo_call call = next_call(a);
        if (a->phase == EHLO_PHASE_RELEASE) {
            release(a);
            return;
        }
        if (call == EHLO_CALL_NONE) {
            if (a->phase == EHLO_PHASE_DELIVER) tell_delivery(a);
            return;
        }
        int result = make_call(a, call);
        if (result == EHLO_LATER)
            a->call = (uint8_t)call;
        else if (!take_result(a, call, result))
            return;
    }
}

static void answered(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    ehlo_attempt *a = (ehlo_attempt *)((char *)pending - offsetof(ehlo_attempt, pending));
    ehlo_call call = (ehlo_call)a->call;
    (void)loop;
    if (a->relay == NULL) return; /* it has left */
    a->call = EHLO_CALL_NONE;
    if (call == EHLO_CALL_REPORT) {
        result = ehlo_reports_answer(a->reports, result, pending_of(a));
        if (result == EHLO_LATER) {
            a->call = EHLO_CALL_REPORT;
            return;
        }
    }
    if (take_result(a, call, result)) ehlo_attempt_advance(a);
}
