#include "sender.h"

#include "progress.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_MAX = 32,
    TICK_MS = 100,        /* progress, signals, and lines that wait to be printed */
    LAST_WORDS_MS = 5000, /* after a signal, for replies to what has left */
    DNS_TRY_MS = 5000
};

/* One copy on its way. Two take turns, more where the server's replies are far behind. */
struct slot {
    struct sender *sender;
    void *memory;
    ehlo_transaction *transaction; /* NULL: the slot is free */
    ehlo_envelope envelope;        /* with recipients of its own */
    struct report_text *texts;     /* beside them */
    struct content_window window;
    int error; /* errno: the message could not be read */
};

struct sender {
    const struct job *job;
    ehlo_loop *loop;
    ehlo_conn_id connection;
    ehlo_client *client; /* NULL: not connected */
    struct slot slots[SLOTS_MAX];
    uint64_t waiting;      /* copies not started */
    uint64_t running;      /* in slots */
    uint64_t settled;      /* with outcomes that stay */
    uint64_t started_here; /* over this connection, as the two below */
    uint64_t answered_here;
    int next_wanted; /* 1: another copy may perhaps be started */
    int starting;
    int quitting;
    int worst;
    int signals; /* that were acted on */
    uint64_t give_up_at;
    int finished;
    ehlo_timer timer;
};

static void finish(struct sender *s)
{
    s->finished = 1;
    ehlo_loop_stop(s->loop, 0);
}

/* -- outcomes --------------------------------------------------------------------------------------- */

/* texts: one for each recipient, or with step 0 one for all. */
static void print_copy(struct sender *s, const ehlo_envelope *envelope, const struct report_text *texts, size_t step)
{
    for (size_t i = 0; i < envelope->nrcpts; i++) {
        report_recipient(&envelope->rcpts[i], &texts[i * step]);
        if (envelope->rcpts[i].outcome > s->worst) s->worst = envelope->rcpts[i].outcome;
    }
}

/* Copies that never came to a transaction. */
static void settle_waiting(struct sender *s, ehlo_outcome outcome, ehlo_stage stage, const ehlo_reply *r,
                           const struct report_text *text)
{
    ehlo_envelope envelope = s->job->envelope;
    if (s->waiting == 0) return;
    for (size_t i = 0; i < envelope.nrcpts; i++) envelope.rcpts[i].outcome = EHLO_OUTCOME_NONE;
    ehlo_envelope_settle(&envelope, outcome, stage, r);
    int before = *s->job->signals; /* there may be thousands of millions: a signal ends that too */
    for (; s->waiting > 0 && *s->job->signals == before; s->waiting--) print_copy(s, &envelope, text, 0);
    s->waiting = 0;
}

static void settle_waiting_as(struct sender *s, ehlo_stage stage, ehlo_str why)
{
    struct report_text text;
    report_text_set(&text, why);
    settle_waiting(s, EHLO_OUTCOME_NOT_SENT, stage, NULL, &text);
}

static ehlo_str why_lost(const struct slot *slot, const ehlo_transaction *t)
{
    if (slot->error != 0) return ehlo_str_from(strerror(slot->error));
    if (slot->sender->signals > 0) return ehlo_str_from("interrupted");
    return ehlo_client_problem(ehlo_transaction_client(t));
}

static void on_rcpt(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user)
{
    struct slot *slot = user;
    if (slot->envelope.rcpts[index].outcome == EHLO_OUTCOME_NONE) return; /* accepted so far */
    if (r != NULL) {
        report_text_reply(&slot->texts[index], r->text);
    } else {
        report_text_set(&slot->texts[index], why_lost(slot, t));
    }
}

/* The connection was lost before anything of the message had left. */
static int may_start_again(const struct sender *s, const struct slot *slot)
{
    for (size_t i = 0; i < slot->envelope.nrcpts; i++) {
        const ehlo_recipient *r = &slot->envelope.rcpts[i];
        if (r->outcome != EHLO_OUTCOME_NOT_SENT || r->stage >= EHLO_STAGE_DATA) return 0;
    }
    return s->answered_here > 0 && s->signals == 0 && ehlo_client_reason(s->client) != 0;
}

/* -- copies ----------------------------------------------------------------------------------------- */

static int body(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    struct slot *slot = user;
    (void)t;
    slot->error = content_read(&slot->sender->job->content, &slot->window, offset, piece, last);
    return slot->error == 0 ? EHLO_OK : EHLO_ERR_SYSTEM;
}

static void start_copies(struct sender *s);

static void on_next(ehlo_transaction *t, void *user)
{
    struct slot *slot = user;
    (void)t;
    start_copies(slot->sender);
}

static void say_quit(struct sender *s)
{
    if (!s->quitting && ehlo_client_command(s->client, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL) == 0)
        s->quitting = 1;
}

static void on_done(ehlo_transaction *t, int outcome, void *user)
{
    struct slot *slot = user;
    struct sender *s = slot->sender;
    (void)t;
    slot->transaction = NULL;
    s->running--;
    if (may_start_again(s, slot)) {
        s->waiting++;
        return;
    }
    print_copy(s, &slot->envelope, slot->texts, 1);
    s->settled++;
    s->answered_here += outcome != EHLO_OUTCOME_NOT_SENT && outcome != EHLO_OUTCOME_UNCERTAIN;
    /* Else what runs will ask for the next one. */
    if (s->running == 0 || s->running + 1 == SLOTS_MAX) start_copies(s);
}

static const ehlo_transaction_callbacks from_memory = { .on_rcpt = on_rcpt, .on_next = on_next, .on_done = on_done };
static const ehlo_transaction_callbacks from_file = {
    .body = body, .on_rcpt = on_rcpt, .on_next = on_next, .on_done = on_done
};

static void slot_free(struct slot *slot)
{
    free(slot->memory);
    free(slot->texts);
    free(slot->envelope.rcpts);
    free(slot->window.bytes);
    memset(slot, 0, sizeof *slot);
}

static int slot_prepare(struct slot *slot, struct sender *s)
{
    slot->sender = s;
    slot->envelope = s->job->envelope;
    slot->memory = malloc(ehlo_transaction_size());
    slot->texts = calloc(slot->envelope.nrcpts, sizeof *slot->texts);
    slot->envelope.rcpts = calloc(slot->envelope.nrcpts, sizeof *slot->envelope.rcpts);
    if (slot->memory == NULL || slot->texts == NULL || slot->envelope.rcpts == NULL) {
        slot_free(slot);
        return 0;
    }
    memcpy(slot->envelope.rcpts, s->job->envelope.rcpts, slot->envelope.nrcpts * sizeof *slot->envelope.rcpts);
    return 1;
}

static struct slot *free_slot(struct sender *s)
{
    struct slot *slot = s->slots;
    while (slot < s->slots + SLOTS_MAX && slot->transaction != NULL) slot++;
    if (slot == s->slots + SLOTS_MAX) return NULL;
    return slot->memory != NULL || slot_prepare(slot, s) ? slot : NULL;
}

/* 1 if it is on its way, 0 if it has to wait. */
static int start_copy(struct sender *s, struct slot *slot)
{
    const ehlo_envelope *envelope = &slot->envelope;
    ehlo_transaction *t;
    slot->transaction = slot->memory; /* before the call, as on_done may come from inside it */
    s->waiting--;
    s->running++;
    s->started_here++;
    int error = ehlo_transaction_start(&t, slot->memory, ehlo_transaction_size(), s->client, envelope,
                                       envelope->content.ptr != NULL ? &from_memory : &from_file, slot, NULL);
    if (error == EHLO_OK) return 1;
    slot->transaction = NULL;
    s->waiting++;
    s->running--;
    s->started_here--;
    if (error != EHLO_ERR_STATE && error != EHLO_ERR_FULL)
        settle_waiting_as(s, EHLO_STAGE_MAIL, ehlo_error_text(error));
    return 0;
}

/* RFC 9422: MAILMAX. */
static int connection_is_used_up(const struct sender *s)
{
    uint32_t most = ehlo_client_offers(s->client)->mail_max;
    return most > 0 && s->started_here >= most;
}

/* When another one may perhaps be started; ehlo_transaction_start says whether. What is settled at once, or asks from
 * inside its start for the next one, is followed by it here, not inside itself. */
static void start_copies(struct sender *s)
{
    s->next_wanted = 1;
    if (s->starting || s->quitting) return;
    s->starting = 1;
    while (s->next_wanted && s->waiting > 0 && !connection_is_used_up(s)) {
        struct slot *slot = free_slot(s);
        s->next_wanted = 0;
        if (slot == NULL || !start_copy(s, slot)) break;
    }
    s->starting = 0;
    if (s->running > 0) return;
    if (s->waiting > 0 && free_slot(s) == NULL) settle_waiting_as(s, EHLO_STAGE_NONE, ehlo_error_text(EHLO_ERR_MEMORY));
    if (s->waiting == 0 || connection_is_used_up(s)) say_quit(s);
}

/* -- connections ------------------------------------------------------------------------------------ */

static void on_ready(ehlo_client *c, void *user)
{
    struct sender *s = user;
    s->client = c;
    start_copies(s);
}

static void on_failed(ehlo_loop *loop, const ehlo_failure *f, void *user)
{
    struct sender *s = user;
    struct report_text text = { 0 };
    (void)loop;
    if (f->reply != NULL && f->reply->code >= 400) {
        report_text_reply(&text, f->reply->text);
    } else {
        report_text_set(&text, f->error != 0 ? ehlo_str_from(strerror(f->error)) : f->problem);
    }
    settle_waiting(s, f->outcome, f->stage, f->reply, &text);
    finish(s);
}

static void connect_to_server(struct sender *s);

/* A server may end a session between two messages; one that ends it before the first has its reasons. */
static void on_closed(ehlo_client *c, int reason, void *user)
{
    struct sender *s = user;
    (void)reason;
    s->client = NULL;
    if (s->waiting > 0 && s->answered_here > 0 && s->signals == 0) {
        connect_to_server(s);
        return;
    }
    settle_waiting_as(s, EHLO_STAGE_NONE, ehlo_client_problem(c));
    finish(s);
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    (void)c;
    (void)user;
    report_trace(direction, bytes, secret);
}

static void connect_to_server(struct sender *s)
{
    ehlo_connect_callbacks callbacks = { .on_ready = on_ready, .on_failed = on_failed, .on_closed = on_closed };
    if (s->job->trace) callbacks.on_trace = on_trace;
    s->started_here = s->answered_here = 0;
    s->quitting = 0;
    int error = ehlo_loop_connect(s->loop, &s->job->connect, &callbacks, s, &s->connection);
    if (error == EHLO_OK) return;
    settle_waiting_as(s, EHLO_STAGE_CONNECT, ehlo_error_text(error));
    finish(s);
}

/* -- the watch -------------------------------------------------------------------------------------- */

static uint64_t octets_sent(const struct sender *s)
{
    uint64_t sent = s->settled * s->job->content.size;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].transaction != NULL) sent += ehlo_transaction_sent(s->slots[i].transaction);
    }
    return sent;
}

static void give_up(struct sender *s)
{
    if (s->client != NULL) settle_waiting_as(s, EHLO_STAGE_NONE, ehlo_str_from("Interrupted"));
    ehlo_loop_disconnect(s->loop, s->connection);
}

/* What has left cannot be taken back: its reply is waited for, a while. */
static void cancel_what_has_not_left(struct sender *s, uint64_t now)
{
    settle_waiting_as(s, EHLO_STAGE_NONE, ehlo_str_from("Interrupted"));
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (s->slots[i].transaction != NULL) ehlo_transaction_cancel(s->slots[i].transaction, now);
    }
    if (s->running == 0) say_quit(s);
    ehlo_client_kick(s->client);
}

static void heed_signals(struct sender *s, uint64_t now)
{
    int before = s->signals;
    s->signals = (int)*s->job->signals;
    if (s->signals == 0) return;
    if (before == 0) s->give_up_at = now + LAST_WORDS_MS;
    if (s->client == NULL || s->signals > 1 || now >= s->give_up_at) {
        give_up(s);
    } else if (before == 0) {
        cancel_what_has_not_left(s, now);
    }
}

static void on_timer(ehlo_loop *loop, void *arg)
{
    struct sender *s = arg;
    uint64_t now = ehlo_loop_now(loop);
    report_flush();
    progress_show(now, octets_sent(s));
    heed_signals(s, now);
    if (s->client != NULL && !s->finished) {
        start_copies(s); /* it may have been too early before */
        ehlo_client_kick(s->client);
    }
    if (!s->finished) ehlo_timer_start(loop, &s->timer, TICK_MS, on_timer, s);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static int open_resolver(const struct job *job, ehlo_loop *loop, ehlo_resolver **resolver)
{
    ehlo_resolver_config cfg = { .try_ms = job->timeout_ms < DNS_TRY_MS ? job->timeout_ms : DNS_TRY_MS };
    cfg.tries = 1 + (job->timeout_ms > DNS_TRY_MS);
    return job->timeout_ms == 0 ? EHLO_OK : ehlo_resolver_new(resolver, loop, &cfg);
}

static int run_loop(struct sender *s)
{
    progress_start(ehlo_loop_now(s->loop), s->waiting * s->job->content.size, s->job->content.size);
    int error = ehlo_timer_start(s->loop, &s->timer, TICK_MS, on_timer, s);
    if (error < 0) return error;
    connect_to_server(s);
    error = ehlo_loop_run(s->loop);
    progress_clear();
    report_flush();
    return error < 0 ? error : s->worst;
}

int sender_run(const struct job *job)
{
    struct sender *s = calloc(1, sizeof *s);
    ehlo_resolver *resolver = NULL;
    struct job own = *job;
    if (s == NULL) return EHLO_ERR_MEMORY;
    int result = ehlo_loop_new(&s->loop, NULL);
    if (result == EHLO_OK) result = open_resolver(job, s->loop, &resolver);
    if (result == EHLO_OK) {
        own.connect.resolver = resolver;
        s->job = &own;
        s->waiting = job->copies;
        result = run_loop(s);
    }
    ehlo_resolver_free(resolver);
    if (s->loop != NULL) ehlo_loop_free(s->loop);
    for (size_t i = 0; i < SLOTS_MAX; i++) slot_free(&s->slots[i]);
    free(s);
    return result;
}
