#include "store.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "script.h"

struct store_text {
    struct store_text *next;
    char bytes[];
};

/* A message that is not committed. */
typedef struct draft {
    struct draft *next;
    store_message *message;
    store_batch *batches;
    int busy; /* a call on it waits */
} draft;

/* A batch as it was claimed. */
typedef struct held {
    ehlo_batch batch; /* first: it is what a runner knows of it */
    struct held *next;
    store_batch *stored;
    char *piece; /* of its body, where nothing else is: who reads beyond it, or too late, is found out */
    int busy;
    int recorded;
} held;

/* A call with its arguments. */
typedef struct request {
    struct request *next;
    store_call call;
    store_fate fate;
    ehlo_pending *pending;
    draft *draft;
    held *held;
    const ehlo_queued *queued;
    void **message;
    ehlo_str *name;
    ehlo_claim *claim;
    int64_t until;
    const ehlo_progress *progress;
    void *const *reports;
    size_t nreports;
    uint64_t offset;
    ehlo_str *piece;
    int *last;
    char option;
    ehlo_str node;
    size_t *n;
} request;

struct store_door {
    store_door *next;
    store *store;
    store_setup setup;
    draft *drafts;
    held *held;
    request *waiting;
    size_t counts[STORE_CALLS];
};

const char *store_call_name(store_call call)
{
    static const char *const names[] = { "create", "append", "commit", "claim", "renew", "record", "body", "hurry" };
    return names[call];
}

__attribute__((format(printf, 2, 3))) static void breach(store *s, const char *format, ...)
{
    va_list args;
    if (s->fault[0] != '\0') return;
    va_start(args, format);
    vsnprintf(s->fault, sizeof s->fault, format, args);
    va_end(args);
}

/* -- messages and batches --------------------------------------------------------------------------- */

static ehlo_str keep(store_message *message, ehlo_str text)
{
    struct store_text *kept = must(malloc(sizeof *kept + text.len));
    if (text.len > 0) memcpy(kept->bytes, text.ptr, text.len);
    kept->next = message->texts;
    message->texts = kept;
    return ehlo_str_make(kept->bytes, text.len);
}

static void message_free(store_message *message)
{
    while (message->texts != NULL) {
        struct store_text *text = message->texts;
        message->texts = text->next;
        free(text);
    }
    free(message->body);
    free(message);
}

static void batches_free(store_batch *batch)
{
    while (batch != NULL) {
        store_batch *next = batch->next;
        free(batch->rcpts);
        free(batch);
        batch = next;
    }
}

static store_message *message_new(store *s, const ehlo_queued *queued)
{
    store_message *message = must(calloc(1, sizeof *message));
    const ehlo_envelope *from = queued->envelope;
    snprintf(message->name, sizeof message->name, "M%llu", (unsigned long long)++s->last_message);
    message->envelope = *from;
    message->envelope.rcpts = NULL;
    message->envelope.nrcpts = 0;
    message->envelope.more = NULL;
    message->envelope.content = ehlo_str_make(NULL, 0);
    message->envelope.from = keep(message, from->from);
    message->envelope.envid = keep(message, from->envid);
    message->envelope.auth = keep(message, from->auth);
    message->envelope.params = keep(message, from->params);
    message->hello = keep(message, queued->hello);
    message->arrived = queued->arrived;
    return message;
}

static int same(ehlo_str a, ehlo_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static store_batch *batch_for(store_batch **batches, store_message *message, ehlo_str destination)
{
    while (*batches != NULL && !same((*batches)->destination, destination)) batches = &(*batches)->next;
    if (*batches == NULL) {
        *batches = must(calloc(1, sizeof **batches));
        (*batches)->message = message;
        (*batches)->destination = keep(message, destination);
        (*batches)->fresh = 1;
    }
    return *batches;
}

static void add_recipient(store_batch *batch, const ehlo_recipient *from)
{
    store_message *message = batch->message;
    batch->rcpts = must(realloc(batch->rcpts, (batch->nrcpts + 1) * sizeof *batch->rcpts));
    ehlo_batch_rcpt *to = &batch->rcpts[batch->nrcpts];
    memset(to, 0, sizeof *to);
    to->rcpt.to = keep(message, from->to);
    to->rcpt.orcpt_type = keep(message, from->orcpt_type);
    to->rcpt.orcpt = keep(message, from->orcpt);
    to->rcpt.params = keep(message, from->params);
    to->rcpt.notify = from->notify;
    to->number = (uint32_t)batch->nrcpts++;
}

static draft *draft_new(store *s, const ehlo_queued *queued)
{
    draft *made = must(calloc(1, sizeof *made));
    made->message = message_new(s, queued);
    for (size_t i = 0; i < queued->envelope->nrcpts; i++) {
        store_batch *batch = batch_for(&made->batches, made->message, queued->destinations[i]);
        add_recipient(batch, &queued->envelope->rcpts[i]);
    }
    return made;
}

static void draft_append(draft *to, const char *bytes, size_t len)
{
    store_message *message = to->message;
    if (message->room - message->len < len) {
        message->room = (message->len + len) * 2;
        message->body = must(realloc(message->body, message->room));
    }
    if (len > 0) memcpy(message->body + message->len, bytes, len);
    message->len += len;
}

/* Onto stable storage. */
static void draft_commit(store *s, draft *committed)
{
    store_message **last = &s->messages;
    store_batch **end = &s->batches;
    while (*last != NULL) last = &(*last)->next;
    *last = committed->message;
    while (*end != NULL) end = &(*end)->next;
    *end = committed->batches;
    for (store_batch *batch = committed->batches; batch != NULL; batch = batch->next) batch->id = ++s->last_batch;
    free(committed);
}

static void draft_free(draft *dropped)
{
    batches_free(dropped->batches);
    message_free(dropped->message);
    free(dropped);
}

/* -- the store -------------------------------------------------------------------------------------- */

store *store_new(const ehlo_schedule *schedule)
{
    store *s = must(calloc(1, sizeof *s));
    if (schedule != NULL) s->schedule = *schedule;
    return s;
}

void store_free(store *s)
{
    batches_free(s->batches);
    while (s->messages != NULL) {
        store_message *message = s->messages;
        s->messages = message->next;
        message_free(message);
    }
    free(s);
}

size_t store_queued(const store *s)
{
    size_t n = 0;
    for (const store_batch *batch = s->batches; batch != NULL; batch = batch->next) n += batch->next_try != EHLO_NEVER;
    return n;
}

store_message *store_find(const store *s, ehlo_str name)
{
    store_message *message = s->messages;
    while (message != NULL && !same(ehlo_str_from(message->name), name)) message = message->next;
    return message;
}

store_batch *store_batch_of(const store *s, const store_message *message, size_t index)
{
    for (store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        if (batch->message == message && index-- == 0) return batch;
    }
    return NULL;
}

/* -- what a door holds ------------------------------------------------------------------------------ */

static draft *draft_of(store_door *door, void *message, store_call call)
{
    draft *found = door->drafts;
    while (found != NULL && (void *)found != message) found = found->next;
    if (found == NULL) breach(door->store, "%s: there is no such message", store_call_name(call));
    if (found != NULL && found->busy) breach(door->store, "%s: a call on this message waits", store_call_name(call));
    return found;
}

/* Takes it out of the door. */
static draft *take_draft(store_door *door, draft *taken)
{
    draft **link = &door->drafts;
    while (*link != taken) link = &(*link)->next;
    *link = taken->next;
    return taken;
}

static held *held_of(store_door *door, const ehlo_batch *batch, const char *call)
{
    held *found = door->held;
    while (found != NULL && &found->batch != batch) found = found->next;
    if (found == NULL) breach(door->store, "%s: there is no such batch", call);
    if (found != NULL && found->busy) breach(door->store, "%s: a call on this batch waits", call);
    if (found != NULL && found->recorded && strcmp(call, "release") != 0)
        breach(door->store, "%s: this batch was recorded", call);
    return found;
}

static void held_free(held *dropped)
{
    free(dropped->piece);
    free(dropped->batch.rcpts);
    free(dropped);
}

static void drop_held(store_door *door, held *dropped)
{
    held **link = &door->held;
    while (*link != dropped) link = &(*link)->next;
    *link = dropped->next;
    held_free(dropped);
}

static int is_lost(const held *claimed)
{
    return claimed->stored->fence != claimed->batch.fence || claimed->stored->next_try == EHLO_NEVER;
}

static void end_lease(store_batch *batch)
{
    batch->lease_until = 0;
    batch->holder = NULL;
}

static void tell(const store_door *door, store_call call, const ehlo_batch *batch, const ehlo_progress *progress,
                 int result)
{
    if (door->setup.happened != NULL) door->setup.happened(door->setup.ctx, call, batch, progress, result);
}

/* -- create, append, commit, discard ---------------------------------------------------------------- */

static int do_create(store_door *door, const request *r)
{
    draft *made = draft_new(door->store, r->queued);
    made->next = door->drafts;
    door->drafts = made;
    *r->message = made;
    *r->name = ehlo_str_from(made->message->name);
    return EHLO_OK;
}

static int do_commit(store_door *door, const request *r)
{
    draft *committed = take_draft(door, r->draft);
    store_message *message = committed->message;
    if (r->fate.result == EHLO_OK) {
        draft_commit(door->store, committed);
        if (door->setup.committed != NULL) door->setup.committed(door->setup.ctx, message);
    } else {
        draft_free(committed);
    }
    return r->fate.result;
}

/* -- claim and release ------------------------------------------------------------------------------ */

static int is_due(const store_batch *batch, int64_t now)
{
    return batch->next_try != EHLO_NEVER && batch->lease_until <= now && (batch->fresh || batch->next_try <= now);
}

static int64_t due_since(const store_batch *batch)
{
    return batch->fresh ? batch->message->arrived : batch->next_try;
}

static int has_room(const ehlo_claim *claim, ehlo_str destination)
{
    size_t room = claim->destination_max;
    for (size_t i = 0; i < claim->nrooms; i++) {
        if (same(claim->rooms[i].destination, destination)) room = claim->rooms[i].room;
    }
    for (size_t i = 0; i < claim->n && room > 0; i++) {
        if (same(claim->batches[i]->destination, destination)) room--;
    }
    return room > 0;
}

static store_batch *longest_due(const store *s, const ehlo_claim *claim)
{
    store_batch *best = NULL;
    for (store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        if (!is_due(batch, claim->now) || !has_room(claim, batch->destination)) continue;
        if (best == NULL || due_since(batch) < due_since(best)) best = batch;
    }
    return best;
}

static void copy_queued(const store_batch *stored, ehlo_batch *batch)
{
    batch->rcpts = must(malloc(stored->nrcpts * sizeof *batch->rcpts));
    for (size_t i = 0; i < stored->nrcpts; i++) {
        if (stored->rcpts[i].state == EHLO_STATE_QUEUED) batch->rcpts[batch->nrcpts++] = stored->rcpts[i];
    }
}

static ehlo_batch *lease(store_door *door, store_batch *stored, int64_t until)
{
    held *claimed = must(calloc(1, sizeof *claimed));
    ehlo_batch *batch = &claimed->batch;
    stored->fence = ++door->store->last_fence;
    stored->lease_until = until;
    stored->holder = door;
    batch->id = stored->id;
    batch->fence = stored->fence;
    batch->lease_until = until;
    batch->message = ehlo_str_from(stored->message->name);
    batch->destination = stored->destination;
    batch->hello = stored->message->hello;
    batch->arrived = stored->message->arrived;
    batch->attempt = stored->attempt;
    batch->warned = stored->warned;
    batch->envelope = stored->message->envelope;
    batch->envelope.size = stored->message->len;
    copy_queued(stored, batch);
    claimed->stored = stored;
    claimed->next = door->held;
    door->held = claimed;
    return batch;
}

/* The clock may have been put back since. */
static void heed_clock(store *s, int64_t now)
{
    s->now = now;
    for (store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        if (batch->next_try != EHLO_NEVER) batch->next_try = ehlo_schedule_sane(&s->schedule, batch->next_try, now);
    }
}

static int64_t next_due(const store *s, int64_t now)
{
    int64_t next = EHLO_NEVER;
    for (const store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        int64_t when = batch->lease_until > now ? batch->lease_until : batch->next_try;
        if (batch->next_try != EHLO_NEVER && when > now && when < next) next = when;
    }
    return next;
}

static int do_claim(store_door *door, const request *r)
{
    ehlo_claim *claim = r->claim;
    store_batch *due;
    claim->n = 0;
    while (claim->n < claim->max && (due = longest_due(door->store, claim)) != NULL) {
        ehlo_batch *batch = lease(door, due, claim->lease_until);
        claim->batches[claim->n++] = batch;
        tell(door, STORE_CLAIM, batch, NULL, EHLO_OK);
    }
    claim->next_due = next_due(door->store, claim->now);
    return EHLO_OK;
}

/* -- renew and record ------------------------------------------------------------------------------- */

static int do_renew(store_door *door, const request *r)
{
    if (is_lost(r->held)) {
        tell(door, STORE_RENEW, &r->held->batch, NULL, EHLO_ERR_STALE);
        return EHLO_ERR_STALE;
    }
    r->held->stored->lease_until = r->held->batch.lease_until = r->until;
    return EHLO_OK;
}

static void check_progress(store *s, const ehlo_batch *batch, const ehlo_progress *progress)
{
    size_t queued = 0;
    for (size_t i = 0; i < batch->nrcpts; i++) queued += batch->rcpts[i].state == EHLO_STATE_QUEUED;
    if ((queued == 0) != (progress->next_try == EHLO_NEVER))
        breach(s, "record: %zu recipients are queued, next_try is %lld", queued, (long long)progress->next_try);
    if (progress->attempt != batch->attempt && progress->attempt != batch->attempt + 1)
        breach(s, "record: attempt %u follows %u", progress->attempt, batch->attempt);
    if (batch->warned && !progress->warned) breach(s, "record: the warning was forgotten");
}

/* What is stored keeps its own views. */
static void store_result(store_batch *stored, const ehlo_batch_rcpt *from)
{
    ehlo_batch_rcpt *to = &stored->rcpts[from->number];
    ehlo_recipient own = to->rcpt;
    *to = *from;
    to->rcpt = own;
    to->rcpt.outcome = from->rcpt.outcome;
    to->rcpt.stage = from->rcpt.stage;
    to->rcpt.code = from->rcpt.code;
    memcpy(to->rcpt.enhanced, from->rcpt.enhanced, sizeof own.enhanced);
}

static void queue_reports(store_door *door, const request *r)
{
    for (size_t i = 0; i < r->nreports; i++) {
        draft *report = draft_of(door, r->reports[i], STORE_RECORD);
        if (report == NULL) continue;
        report->message->is_report = 1;
        if (report->message->envelope.from.len > 0) breach(door->store, "record: a report has a reverse-path");
        draft_commit(door->store, take_draft(door, report));
    }
}

static int store_attempt(store_door *door, const request *r)
{
    held *claimed = r->held;
    store_batch *stored = claimed->stored;
    free(claimed->piece);
    claimed->piece = NULL;
    if (is_lost(claimed)) return EHLO_ERR_STALE;
    check_progress(door->store, &claimed->batch, r->progress);
    for (size_t i = 0; i < claimed->batch.nrcpts; i++) store_result(stored, &claimed->batch.rcpts[i]);
    stored->next_try = r->progress->next_try;
    stored->attempt = r->progress->attempt;
    stored->warned = r->progress->warned;
    stored->fresh = 0;
    end_lease(stored);
    claimed->recorded = 1;
    queue_reports(door, r);
    return EHLO_OK;
}

static int do_record(store_door *door, const request *r)
{
    int result = store_attempt(door, r);
    tell(door, STORE_RECORD, &r->held->batch, r->progress, result);
    return result;
}

/* -- body and hurry -------------------------------------------------------------------------- */

static int do_body(store_door *door, const request *r)
{
    held *claimed = r->held;
    const store_message *message = claimed->stored->message;
    if (r->offset > message->len) {
        breach(door->store, "body: offset %llu of %zu octets", (unsigned long long)r->offset, message->len);
        return EHLO_ERR_ARG;
    }
    size_t len = message->len - (size_t)r->offset;
    if (r->fate.most > 0 && len > r->fate.most) len = r->fate.most;
    *r->last = r->offset + len == message->len;
    if (*r->last && message->damaged) return EHLO_ERR_SYNTAX;
    free(claimed->piece);
    claimed->piece = must(malloc(len + 1));
    if (len > 0) memcpy(claimed->piece, message->body + r->offset, len);
    if (door->setup.patch != NULL) door->setup.patch(door->setup.ctx, &claimed->batch, r->offset, claimed->piece, len);
    *r->piece = ehlo_str_make(claimed->piece, len);
    return EHLO_OK;
}

static int do_hurry(store_door *door, const request *r)
{
    store *s = door->store;
    *r->n = 0;
    for (store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        if (batch->next_try == EHLO_NEVER || batch->lease_until > s->now) continue;
        if (!ehlo_destination_matches(batch->destination, r->option, r->node)) continue;
        batch->fresh = 1;
        ++*r->n;
    }
    tell(door, STORE_HURRY, NULL, NULL, EHLO_OK);
    return EHLO_OK;
}

/* -- calls ------------------------------------------------------------------------------------------ */

static int do_nothing(store_door *door, const request *r)
{
    (void)door;
    (void)r;
    return EHLO_OK;
}

/* What it was that failed is gone where the contract says so. */
static int fail(store_door *door, const request *r)
{
    return r->call == STORE_COMMIT ? do_commit(door, r) : r->fate.result;
}

static int perform(store_door *door, const request *r)
{
    static int (*const deeds[])(store_door *, const request *) = { do_create, do_nothing, do_commit, do_claim,
                                                                   do_renew,  do_record,  do_body,   do_hurry };
    return r->fate.result == EHLO_OK ? deeds[r->call](door, r) : fail(door, r);
}

static store_fate decide(store_door *door, store_call call)
{
    store_fate fate = { .later = 0 };
    door->counts[call]++;
    return door->setup.decide != NULL ? door->setup.decide(door->setup.ctx, call) : fate;
}

static void set_busy(const request *r, int busy)
{
    if (r->draft != NULL) r->draft->busy = busy;
    if (r->held != NULL) r->held->busy = busy;
}

static int put_off(store_door *door, const request *r)
{
    request **end = &door->waiting;
    while (*end != NULL) end = &(*end)->next;
    *end = must(malloc(sizeof **end));
    **end = *r;
    set_busy(r, 1);
    if (door->setup.put_off != NULL) door->setup.put_off(door->setup.ctx, door);
    return EHLO_LATER;
}

static int call(store_door *door, request r)
{
    r.fate = decide(door, r.call);
    return r.fate.later ? put_off(door, &r) : perform(door, &r);
}

int store_pump(store_door *door)
{
    request *first = door->waiting;
    if (first == NULL) return 0;
    door->waiting = first->next;
    set_busy(first, 0);
    ehlo_store_answer(first->pending, perform(door, first));
    free(first);
    return 1;
}

void store_pump_all(store_door *door)
{
    while (store_pump(door)) continue;
}

size_t store_waiting(const store_door *door)
{
    size_t n = 0;
    for (const request *r = door->waiting; r != NULL; r = r->next) n++;
    return n;
}

size_t store_count(const store_door *door, store_call kind)
{
    return door->counts[kind];
}

size_t store_held(const store_door *door)
{
    size_t n = 0;
    for (const draft *d = door->drafts; d != NULL; d = d->next) n++;
    for (const held *h = door->held; h != NULL; h = h->next) n++;
    return n;
}

/* -- the table -------------------------------------------------------------------------------------- */

static int on_create(void *ctx, const ehlo_queued *queued, void **message, ehlo_str *name, ehlo_pending *pending)
{
    return call(
        ctx, (request){ .call = STORE_CREATE, .pending = pending, .queued = queued, .message = message, .name = name });
}

/* The octets are taken at once, whenever the answer comes. */
static int on_append(void *ctx, void *message, const char *bytes, size_t len, size_t *taken, ehlo_pending *pending)
{
    store_door *door = ctx;
    request r = { .call = STORE_APPEND, .pending = pending, .draft = draft_of(door, message, STORE_APPEND) };
    r.fate = decide(door, r.call);
    *taken = 0;
    if (r.draft == NULL) return EHLO_ERR_ARG;
    if (r.fate.result == EHLO_OK) {
        *taken = r.fate.later && r.fate.most > 0 && r.fate.most < len ? r.fate.most : len;
        draft_append(r.draft, bytes, *taken);
    }
    return r.fate.later ? put_off(door, &r) : r.fate.result;
}

static int on_commit(void *ctx, void *message, ehlo_pending *pending)
{
    request r = { .call = STORE_COMMIT, .pending = pending, .draft = draft_of(ctx, message, STORE_COMMIT) };
    return r.draft != NULL ? call(ctx, r) : EHLO_ERR_ARG;
}

static void on_discard(void *ctx, void *message)
{
    draft *dropped = draft_of(ctx, message, STORE_COMMIT);
    if (dropped != NULL && !dropped->busy) draft_free(take_draft(ctx, dropped));
}

static int on_claim(void *ctx, ehlo_claim *claim, ehlo_pending *pending)
{
    store_door *door = ctx;
    if (claim->max == 0) breach(door->store, "claim: no room");
    heed_clock(door->store, claim->now); /* which tells the time now, not when it is answered */
    return call(door, (request){ .call = STORE_CLAIM, .pending = pending, .claim = claim });
}

static int on_renew(void *ctx, ehlo_batch *batch, int64_t until, ehlo_pending *pending)
{
    request r = { .call = STORE_RENEW, .pending = pending, .held = held_of(ctx, batch, "renew"), .until = until };
    return r.held != NULL ? call(ctx, r) : EHLO_ERR_STALE;
}

static int on_record(void *ctx, ehlo_batch *batch, const ehlo_progress *progress, void *const *reports, size_t nreports,
                     ehlo_pending *pending)
{
    request r = { .call = STORE_RECORD,
                  .pending = pending,
                  .held = held_of(ctx, batch, "record"),
                  .progress = progress,
                  .reports = reports,
                  .nreports = nreports };
    return r.held != NULL ? call(ctx, r) : EHLO_ERR_STALE;
}

static void on_release(void *ctx, ehlo_batch *batch)
{
    held *given = held_of(ctx, batch, "release");
    if (given == NULL || given->busy) return;
    if (!given->recorded && !is_lost(given)) end_lease(given->stored);
    drop_held(ctx, given);
}

static int on_body(void *ctx, ehlo_batch *batch, uint64_t offset, ehlo_str *piece, int *last, ehlo_pending *pending)
{
    request r = { .call = STORE_BODY,
                  .pending = pending,
                  .held = held_of(ctx, batch, "body"),
                  .offset = offset,
                  .piece = piece,
                  .last = last };
    return r.held != NULL ? call(ctx, r) : EHLO_ERR_SYSTEM;
}

static int on_hurry(void *ctx, char option, ehlo_str node, size_t *n, ehlo_pending *pending)
{
    return call(ctx, (request){ .call = STORE_HURRY, .pending = pending, .option = option, .node = node, .n = n });
}

const ehlo_store store_functions = {
    .create = on_create,
    .append = on_append,
    .commit = on_commit,
    .discard = on_discard,
    .claim = on_claim,
    .renew = on_renew,
    .record = on_record,
    .release = on_release,
    .body = on_body,
    .hurry = on_hurry,
};

/* -- opening and closing ---------------------------------------------------------------------------- */

store_door *store_open(store *s, const store_setup *setup)
{
    store_door *door = must(calloc(1, sizeof *door));
    if (setup != NULL) door->setup = *setup;
    door->store = s;
    door->next = s->doors;
    s->doors = door;
    return door;
}

static int changes_storage(store_call kind)
{
    return kind == STORE_COMMIT || kind == STORE_CLAIM || kind == STORE_RENEW || kind == STORE_RECORD ||
           kind == STORE_HURRY;
}

static void end_waiting(store_door *door, int (*survives)(void *ctx, store_call call))
{
    while (door->waiting != NULL) {
        request *first = door->waiting;
        door->waiting = first->next;
        if (survives != NULL && changes_storage(first->call) && survives(door->setup.ctx, first->call))
            perform(door, first);
        free(first);
    }
}

void store_crash(store_door *door, int (*survives)(void *ctx, store_call call), int leases)
{
    store *s = door->store;
    store_door **link = &s->doors;
    end_waiting(door, survives);
    while (door->drafts != NULL) draft_free(take_draft(door, door->drafts));
    while (door->held != NULL) drop_held(door, door->held);
    for (store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        if (batch->holder != door) continue;
        batch->holder = NULL;
        if (!leases) end_lease(batch);
    }
    while (*link != door) link = &(*link)->next;
    *link = door->next;
    free(door);
}

void store_close(store_door *door)
{
    store_crash(door, NULL, 1);
}

/* -- queueing --------------------------------------------------------------------------------------- */

enum { PUT_MAX = 64 };

/* The next word of *text, which moves behind it. */
static ehlo_str next_word(const char **text)
{
    *text += strspn(*text, " ");
    ehlo_str word = ehlo_str_make(*text, strcspn(*text, " "));
    *text += word.len;
    return word;
}

store_message *store_put(store *s, const ehlo_relay_policy *policy, const char *from, const char *recipients,
                         ehlo_str content, int64_t arrived)
{
    static const ehlo_relay_policy plain;
    ehlo_recipient rcpts[PUT_MAX];
    ehlo_str destinations[PUT_MAX];
    char texts[PUT_MAX][256];
    ehlo_envelope envelope = { .from = ehlo_str_from(from), .rcpts = rcpts };
    memset(rcpts, 0, sizeof rcpts);
    for (ehlo_str word = next_word(&recipients); word.len > 0; word = next_word(&recipients)) {
        size_t n = envelope.nrcpts, len;
        if (n == PUT_MAX) return NULL;
        if (ehlo_destination_write(policy != NULL ? policy : &plain, word, texts[n], sizeof texts[n], &len) != EHLO_OK)
            return NULL;
        rcpts[n].to = word;
        destinations[n] = ehlo_str_make(texts[n], len);
        envelope.nrcpts++;
    }
    ehlo_queued queued = { .envelope = &envelope, .destinations = destinations, .arrived = arrived };
    draft *made = draft_new(s, &queued);
    store_message *message = made->message;
    draft_append(made, content.ptr, content.len);
    draft_commit(s, made);
    return message;
}
