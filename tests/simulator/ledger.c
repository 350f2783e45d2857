/* ledger.c - the books. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { FENCE_AT = 23, FENCE_LEN = 10, NOT_RECORDED = -1, LOST = -2 };

/* One attempt at one recipient of a copy. */
typedef struct attempt {
    struct attempt *next; /* the one before */
    uint64_t fence;
    machine *by;
    unsigned boots; /* of that machine, this one included */
    int late;       /* it was asked for before that machine was told to end, and granted afterwards */
    int64_t leased; /* till then, at least */
    uint64_t began; /* true time, as all here */
    uint64_t ended; /* when it was recorded */
    int64_t wait;   /* till the next one, as it was recorded */
    int by_itself;  /* the next hop that took it reports no success */
    int outcome;    /* ehlo_outcome, or one of the above */
    unsigned taken; /* by the next hop */
} attempt;

/* One recipient of a message as a store has it. */
typedef struct copy {
    struct copy *next;
    unsigned store;
    char name[24];
    char to[LEDGER_ADDRESS_MAX];
    int damaged; /* in the store */
    int delayed; /* it was queued still when the sender was to be told */
    attempt *last;
} copy;

/* A report that has arrived. */
typedef struct arrived {
    struct arrived *next;
    uint64_t hash;
} arrived;

static struct {
    ledger_message *messages;
    unsigned last_number;
    copy *copies;
    arrived *reports;
    ledger_sums sums;
} books;

/* -- life ------------------------------------------------------------------------------------------- */

static void *must(void *mem)
{
    if (mem == NULL) abort();
    return mem;
}

void ledger_begin(void)
{
    memset(&books, 0, sizeof books);
}

static void free_attempts(attempt *a)
{
    while (a != NULL) {
        attempt *next = a->next;
        free(a);
        a = next;
    }
}

void ledger_end(void)
{
    while (books.messages != NULL) {
        ledger_message *message = books.messages;
        books.messages = message->next;
        free(message->content);
        free(message);
    }
    while (books.copies != NULL) {
        copy *c = books.copies;
        books.copies = c->next;
        free_attempts(c->last);
        free(c);
    }
    while (books.reports != NULL) {
        arrived *report = books.reports;
        books.reports = report->next;
        free(report);
    }
}

/* -- messages --------------------------------------------------------------------------------------- */

/* Some lines begin with dots, some are long, some empty. */
static size_t write_line(char *out)
{
    static const char letters[] = ".. abcdefgh";
    size_t len = world_chance(100) ? 0 : (size_t)world_between(1, 200);
    for (size_t i = 0; i < len; i++) out[i] = letters[world_draw(sizeof letters - 1)];
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}

ledger_message *ledger_new(const char *from, size_t lines)
{
    ledger_message *message = must(calloc(1, sizeof *message));
    message->number = ++books.last_number;
    snprintf(message->from, sizeof message->from, "%s", from);
    message->content = must(malloc(256 + lines * 256));
    int head = snprintf(message->content, 256, "X-Token: %u\r\nFrom: <%s>\r\nSubject: one of many\r\n\r\n",
                        message->number, from);
    message->len = (size_t)head;
    for (; lines > 0; lines--) message->len += write_line(message->content + message->len);
    message->next = books.messages;
    books.messages = message;
    books.sums.messages++;
    return message;
}

void ledger_add(ledger_message *message, const char *prefix, const char *domain, uint8_t notify)
{
    struct ledger_rcpt *rcpt = &message->rcpts[message->n];
    snprintf(rcpt->to, sizeof rcpt->to, "%s%u.%zu@%s", prefix, message->number, message->n, domain);
    rcpt->notify = notify;
    rcpt->told = -1;
    message->n++;
    books.sums.rcpts++;
}

static int is(ehlo_str text, const char *wanted)
{
    return text.len == strlen(wanted) && memcmp(text.ptr, wanted, text.len) == 0;
}

static struct ledger_rcpt *find_rcpt(ehlo_str to, ledger_message **of)
{
    for (ledger_message *message = books.messages; message != NULL; message = message->next) {
        for (size_t i = 0; i < message->n; i++) {
            if (!is(to, message->rcpts[i].to)) continue;
            if (of != NULL) *of = message;
            return &message->rcpts[i];
        }
    }
    return NULL;
}

static int is_certain(int outcome)
{
    return outcome == EHLO_OUTCOME_NOT_SENT || outcome == EHLO_OUTCOME_DEFERRED || outcome == EHLO_OUTCOME_REJECTED;
}

void ledger_told(ledger_message *message, size_t index, ehlo_outcome outcome)
{
    struct ledger_rcpt *rcpt = &message->rcpts[index];
    world_trace("told %s: %.*s", rcpt->to, (int)ehlo_outcome_name(outcome).len, ehlo_outcome_name(outcome).ptr);
    rcpt->told = (int)outcome;
    if (outcome == EHLO_OUTCOME_DELIVERED && rcpt->accepted == 0)
        world_breach("%s: 250 for what no relay has stored", rcpt->to);
    if (is_certain((int)outcome) && rcpt->accepted > 0)
        world_breach("%s: accepted, and the sender was told otherwise", rcpt->to);
}

/* -- the line that names a copy --------------------------------------------------------------------- */

void ledger_line(unsigned store_number, ehlo_str name, char *out)
{
    unsigned long number = strtoul(name.ptr + 1, NULL, 10);
    snprintf(out, LEDGER_LINE_LEN + 1, "X-Copy: %02u M%010lu %010u\r\n", store_number, number, 0u);
}

static int has_line(const char *content, size_t len)
{
    return len >= LEDGER_LINE_LEN && memcmp(content, "X-Copy: ", 8) == 0;
}

/* Reports have no such line. */
void ledger_patch(const ehlo_batch *batch, uint64_t offset, char *piece, size_t len)
{
    char digits[FENCE_LEN + 1];
    snprintf(digits, sizeof digits, "%010llu", (unsigned long long)batch->fence);
    for (size_t i = 0; i < FENCE_LEN; i++) {
        if (offset <= FENCE_AT + i && FENCE_AT + i - offset < len) piece[FENCE_AT + i - offset] = digits[i];
    }
}

/* -- copies and attempts ---------------------------------------------------------------------------- */

static copy *find_copy(unsigned store_number, ehlo_str name, ehlo_str to)
{
    for (copy *c = books.copies; c != NULL; c = c->next) {
        if (c->store == store_number && is(to, c->to) && is(name, c->name)) return c;
    }
    copy *made = must(calloc(1, sizeof *made));
    made->store = store_number;
    snprintf(made->name, sizeof made->name, "%.*s", (int)name.len, name.ptr);
    snprintf(made->to, sizeof made->to, "%.*s", (int)to.len, to.ptr);
    made->next = books.copies;
    books.copies = made;
    return made;
}

static attempt *find_attempt(copy *c, uint64_t fence)
{
    attempt *a = c->last;
    while (a != NULL && a->fence != fence) a = a->next;
    return a;
}

/* Where a clock is wrong, attempts are too early and too late by as much. */
static int clocks_differ(void)
{
    const machine *m = world_machines();
    while (m != NULL && m->clock_ms == 0) m = m->next;
    return m != NULL;
}

/* "No retry at once": what was recorded says when the next attempt may begin; a lease that is held, that nobody else
 * does before it ends. */
static void check_start(const copy *c, const attempt *before, const attempt *now)
{
    int by_same = before->by == now->by && before->boots == now->boots && !now->late;
    if (before->outcome == NOT_RECORDED && by_same && (int64_t)now->began < before->leased && !clocks_differ())
        world_breach("%s of %s: given back and claimed again", c->to, c->name);
    if (before->outcome >= 0 && !clocks_differ() && (int64_t)(now->began - before->ended) < before->wait)
        world_breach("%s of store %u: tried again after %llu ms, not %lld", c->to, c->store,
                     (unsigned long long)(now->began - before->ended), (long long)before->wait);
}

void ledger_claimed(machine *by, const ledger_rules *rules, const ehlo_batch *batch)
{
    for (size_t i = 0; i < batch->nrcpts; i++) {
        copy *c = find_copy(rules->store_number, batch->message, batch->rcpts[i].rcpt.to);
        attempt *a = must(calloc(1, sizeof *a));
        a->fence = batch->fence;
        a->by = by;
        a->boots = by->boots;
        a->late = by->ending;
        a->leased = batch->lease_until - SIMULATOR_EPOCH_MS;
        a->began = world_now();
        a->outcome = NOT_RECORDED;
        a->next = c->last;
        if (c->last != NULL) check_start(c, c->last, a);
        c->last = a;
        books.sums.attempts++;
    }
    world_trace("claims %.*s for %.*s, fence %llu", (int)batch->message.len, batch->message.ptr,
                (int)batch->destination.len, batch->destination.ptr, (unsigned long long)batch->fence);
}

/* -- records ---------------------------------------------------------------------------------------- */

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The wait doubles from attempt to attempt, up to a bound; an eighth may come on top. It counts from the end of the
 * attempt, which is somewhere between the claim and the record. */
static void check_wait(const ledger_rules *rules, const ehlo_batch *batch, const ehlo_progress *progress,
                       uint64_t began)
{
    const ehlo_schedule *s = &rules->policy->schedule;
    int64_t least = (int64_t)s->first_s * 1000, most = (int64_t)s->max_s * 1000;
    for (uint32_t i = 1; i < progress->attempt && least < most; i++) least *= 2;
    least = smaller(least, most);
    int64_t next = progress->next_try - SIMULATOR_EPOCH_MS;
    if (next < (int64_t)began + least || next > (int64_t)world_now() + least + least / 8)
        world_breach("%.*s: attempt %u has lasted from %llu to %llu, and the next one is at %lld",
                     (int)batch->message.len, batch->message.ptr, progress->attempt, (unsigned long long)began,
                     (unsigned long long)world_now(), (long long)next);
}

static void check_state(const machine *by, const ledger_rules *rules, const ehlo_batch *batch,
                        const ehlo_batch_rcpt *rcpt)
{
    int outcome = rcpt->rcpt.outcome;
    int64_t age = machine_unix_ms(by) - batch->arrived;
    int uncertain = outcome == EHLO_OUTCOME_UNCERTAIN;
    int fine = 1;
    if (rcpt->state == EHLO_STATE_DELIVERED)
        fine = outcome == EHLO_OUTCOME_DELIVERED || (uncertain && rules->policy->uncertain == EHLO_UNCERTAIN_TRUST);
    else if (rcpt->state == EHLO_STATE_FAILED)
        fine = outcome == EHLO_OUTCOME_REJECTED || (uncertain && rules->policy->uncertain == EHLO_UNCERTAIN_FAIL);
    else if (rcpt->state == EHLO_STATE_EXPIRED)
        fine = age >= (int64_t)rules->policy->schedule.expire_s * 1000 || clocks_differ();
    else
        fine = outcome == EHLO_OUTCOME_NOT_SENT || outcome == EHLO_OUTCOME_DEFERRED || uncertain;
    if (!fine)
        world_breach("%.*s: outcome %d has led to state %u at the age of %lld ms", (int)rcpt->rcpt.to.len,
                     rcpt->rcpt.to.ptr, outcome, rcpt->state, (long long)age);
}

/* What is certain has to be true. */
static void check_outcome(const copy *c, const attempt *a)
{
    if (a->outcome == EHLO_OUTCOME_DELIVERED && a->taken == 0)
        world_breach("%s of %s: recorded as delivered, but nobody took it", c->to, c->name);
    if (is_certain(a->outcome) && a->taken > 0)
        world_breach("%s of %s: it was taken, and recorded otherwise", c->to, c->name);
}

static int is_report(const ehlo_batch *batch)
{
    return batch->envelope.from.len == 0 && find_rcpt(batch->rcpts[0].rcpt.to, NULL) == NULL;
}

static void record_one(const machine *by, const ledger_rules *rules, const ehlo_batch *batch,
                       const ehlo_batch_rcpt *rcpt, const ehlo_progress *progress, int result)
{
    copy *c = find_copy(rules->store_number, batch->message, rcpt->rcpt.to);
    attempt *a = find_attempt(c, batch->fence);
    if (a == NULL) {
        world_breach("%s of %s: recorded without a claim", c->to, c->name);
        return;
    }
    a->outcome = result == EHLO_OK ? rcpt->rcpt.outcome : LOST;
    a->ended = world_now();
    a->wait = progress->next_try == EHLO_NEVER ? 0 : progress->next_try - machine_unix_ms(by);
    world_trace("records %s of %s: %.*s, %u %.*s: %d", c->to, c->name, (int)ehlo_outcome_name(rcpt->rcpt.outcome).len,
                ehlo_outcome_name(rcpt->rcpt.outcome).ptr, rcpt->state, rcpt->text_len, rcpt->text, result);
    if (result != EHLO_OK) return;
    books.sums.uncertain += a->outcome == EHLO_OUTCOME_UNCERTAIN;
    check_state(by, rules, batch, rcpt);
    if (rcpt->state == EHLO_STATE_QUEUED && !clocks_differ())
        c->delayed |=
            ehlo_schedule_warns(&rules->policy->schedule, batch->arrived, (int64_t)a->began + SIMULATOR_EPOCH_MS);
    if (a->wait != 0 && !clocks_differ()) check_wait(rules, batch, progress, a->began);
    if (!is_report(batch)) check_outcome(c, a);
}

void ledger_recorded(machine *by, const ledger_rules *rules, const ehlo_batch *batch, const ehlo_progress *progress,
                     int result)
{
    if (result != EHLO_OK && result != EHLO_ERR_STALE) return;
    books.sums.lost += result != EHLO_OK;
    for (size_t i = 0; i < batch->nrcpts; i++) record_one(by, rules, batch, &batch->rcpts[i], progress, result);
}

static void lose(attempt *a)
{
    if (a->outcome == NOT_RECORDED) a->outcome = LOST;
}

void ledger_lease_lost(const ledger_rules *rules, const ehlo_batch *batch)
{
    for (size_t i = 0; i < batch->nrcpts; i++) {
        attempt *a =
            find_attempt(find_copy(rules->store_number, batch->message, batch->rcpts[i].rcpt.to), batch->fence);
        if (a != NULL) lose(a);
    }
}

/* What is due now need not wait. */
void ledger_hurried(const ledger_rules *rules)
{
    for (copy *c = books.copies; c != NULL; c = c->next) {
        if (c->store == rules->store_number && c->last != NULL) c->last->wait = 0;
    }
}

void ledger_crashed(const machine *m)
{
    for (copy *c = books.copies; c != NULL; c = c->next) {
        for (attempt *a = c->last; a != NULL; a = a->next) {
            if (a->by == m) lose(a);
        }
    }
}

/* -- what the next hop takes ------------------------------------------------------------------------ */

static void take(const copy *c, attempt *a, int reports)
{
    a->by_itself = !reports;
    if (c->damaged) world_breach("%s of %s: taken, but it is damaged", c->to, c->name);
    if (++a->taken > 1) world_breach("%s of %s: one attempt has delivered it twice", c->to, c->name);
    if (is_certain(a->outcome)) world_breach("%s of %s: taken, but recorded otherwise before", c->to, c->name);
}

/* Which attempt has brought this: *content is then without the line. 0: there is none: it is a report, or comes from
 * the sender. */
static int note_attempt(ehlo_str content, ehlo_str to, int reports)
{
    char name[24];
    if (!has_line(content.ptr, content.len)) return 0;
    unsigned store_number = (unsigned)strtoul(content.ptr + 8, NULL, 10);
    snprintf(name, sizeof name, "M%lu", strtoul(content.ptr + 12, NULL, 10));
    copy *c = find_copy(store_number, ehlo_str_from(name), to);
    attempt *a = find_attempt(c, strtoul(content.ptr + FENCE_AT, NULL, 10));
    if (a == NULL)
        world_breach("%.*s: comes from an attempt that never was", (int)to.len, to.ptr);
    else
        take(c, a, reports);
    return 1;
}

/* -- contents --------------------------------------------------------------------------------------- */

static size_t line_len(ehlo_str text)
{
    const char *end = text.len > 0 ? memchr(text.ptr, '\n', text.len) : NULL;
    return end != NULL ? (size_t)(end - text.ptr) + 1 : text.len;
}

static int begins(ehlo_str text, const char *with)
{
    return text.len >= strlen(with) && strncasecmp(text.ptr, with, strlen(with)) == 0;
}

/* Without what relays have put on top. */
static ehlo_str without_trace(ehlo_str content)
{
    int inside = 0;
    while (content.len > 0) {
        int goes_on = content.ptr[0] == ' ' || content.ptr[0] == '\t';
        inside = goes_on ? inside : begins(content, "X-Copy:") || begins(content, "Received:");
        if (!inside) break;
        size_t len = line_len(content);
        content = ehlo_str_make(content.ptr + len, content.len - len);
    }
    return content;
}

static uint64_t hash_of(ehlo_str text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++) hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    return hash;
}

static void check_content(const ledger_message *message, ehlo_str content)
{
    if (content.len != message->len || memcmp(content.ptr, message->content, content.len) != 0)
        world_breach("message %u: %zu octets arrive that are not the %zu that were sent", message->number, content.len,
                     message->len);
}

void ledger_committed(machine *by, const ledger_rules *rules, const store_message *message, const store *s)
{
    ehlo_str received = ehlo_str_make(message->body + LEDGER_LINE_LEN, message->len - LEDGER_LINE_LEN);
    const store_batch *batch;
    (void)by;
    /* Our own field first: what came is behind it. */
    do {
        size_t len = line_len(received);
        received = ehlo_str_make(received.ptr + len, received.len - len);
    } while (received.len > 0 && (received.ptr[0] == ' ' || received.ptr[0] == '\t'));
    for (size_t k = 0; (batch = store_batch_of(s, message, k)) != NULL; k++) {
        for (size_t i = 0; i < batch->nrcpts; i++) {
            ledger_message *sent = NULL;
            struct ledger_rcpt *rcpt = find_rcpt(batch->rcpts[i].rcpt.to, &sent);
            int relayed = note_attempt(received, batch->rcpts[i].rcpt.to, 1);
            if (rcpt == NULL) continue;
            check_content(sent, without_trace(received));
            if (!relayed && ++rcpt->accepted > 1) world_breach("%s: accepted twice from the sender", rcpt->to);
            if (!relayed && is_certain(rcpt->told)) world_breach("%s: accepted after all", rcpt->to);
            find_copy(rules->store_number, ehlo_str_from(message->name), batch->rcpts[i].rcpt.to)->damaged =
                message->damaged;
            world_trace("commits %s as %s%s", rcpt->to, message->name, message->damaged ? ", damaged" : "");
        }
    }
}

static void note_report(ehlo_str content)
{
    arrived *report = must(calloc(1, sizeof *report));
    report->hash = hash_of(without_trace(content));
    report->next = books.reports;
    books.reports = report;
}

void ledger_delivered(machine *by, ehlo_str content, const ehlo_str *rcpts, size_t n, int reports)
{
    for (size_t i = 0; i < n; i++) {
        ledger_message *sent = NULL;
        struct ledger_rcpt *rcpt = find_rcpt(rcpts[i], &sent);
        world_trace("takes %.*s", (int)rcpts[i].len, rcpts[i].ptr);
        if (rcpt == NULL) {
            note_report(content);
            continue;
        }
        if (!note_attempt(content, rcpts[i], reports)) world_breach("%s: %s got it from nowhere", rcpt->to, by->name);
        check_content(sent, without_trace(content));
        if (is_certain(rcpt->told)) world_breach("%s: delivered, and the sender was told otherwise", rcpt->to);
        if (sent->deadline != 0 && world_now() > sent->deadline) world_breach("%s: delivered too late", rcpt->to);
        rcpt->delivered++;
    }
}

/* -- the end ---------------------------------------------------------------------------------------- */

int ledger_all_told(void)
{
    for (const ledger_message *message = books.messages; message != NULL; message = message->next) {
        for (size_t i = 0; i < message->n; i++) {
            if (message->rcpts[i].told < 0) return 0;
        }
    }
    return 1;
}

/* A line of a report, behind its field's name, without spaces around it. */
static ehlo_str value_of(ehlo_str line, const char *field)
{
    line = ehlo_str_make(line.ptr + strlen(field), line.len - strlen(field));
    while (line.len > 0 && line.ptr[0] == ' ') line = ehlo_str_make(line.ptr + 1, line.len - 1);
    while (line.len > 0 && strchr(" \r\n", line.ptr[line.len - 1]) != NULL) line.len--;
    return line;
}

static int is_action(ehlo_str value, ehlo_action action)
{
    ehlo_str name = ehlo_action_name(action);
    return value.len == name.len && memcmp(value.ptr, name.ptr, name.len) == 0;
}

/* How many times a report says this of that recipient. */
static unsigned count_actions(const store_message *report, ehlo_str to, ehlo_action action)
{
    ehlo_str rest = ehlo_str_make(report->body, report->len);
    unsigned n = 0;
    int of_this_one = 0;
    if (memmem(rest.ptr, rest.len, to.ptr, to.len) == NULL) return 0;
    while (rest.len > 0) {
        ehlo_str line = ehlo_str_make(rest.ptr, line_len(rest));
        rest = ehlo_str_make(rest.ptr + line.len, rest.len - line.len);
        if (begins(line, "Final-Recipient: rfc822;")) {
            ehlo_str value = value_of(line, "Final-Recipient: rfc822;");
            of_this_one = value.len == to.len && memcmp(value.ptr, to.ptr, to.len) == 0;
        } else if (begins(line, "Action:")) {
            n += of_this_one && is_action(value_of(line, "Action:"), action);
            of_this_one = 0;
        }
    }
    return n;
}

static unsigned count_reports(const store *s, ehlo_str to, ehlo_action action)
{
    unsigned n = 0;
    for (const store_message *message = s->messages; message != NULL; message = message->next) {
        if (message->is_report) n += count_actions(message, to, action);
    }
    return n;
}

/* 1 if the sender wants to know. */
static int is_wanted(const ledger_message *message, const struct ledger_rcpt *rcpt, ehlo_action action)
{
    return message->from[0] != '\0' && ehlo_action_wanted(action, rcpt->notify);
}

/* How many reports of that kind this recipient's copies in that store have led to. */
static unsigned count_due(unsigned store_number, const struct ledger_rcpt *rcpt, ehlo_action action)
{
    unsigned n = 0;
    for (const copy *c = books.copies; c != NULL; c = c->next) {
        if (c->store != store_number || strcmp(c->to, rcpt->to) != 0) continue;
        if (action == EHLO_ACTION_DELAYED) n += c->delayed != 0;
        for (const attempt *a = c->last; a != NULL && action == EHLO_ACTION_RELAYED; a = a->next) {
            n += a->outcome == EHLO_OUTCOME_DELIVERED && a->by_itself;
        }
    }
    return n;
}

/* As many as are due, where they are wanted, and none elsewhere. most: more than are certain, where more may be. */
static void check_reports(const store *s, unsigned store_number, const ledger_message *message,
                          const struct ledger_rcpt *rcpt, ehlo_action action, unsigned due, unsigned most)
{
    unsigned n = count_reports(s, ehlo_str_from(rcpt->to), action);
    int wanted = is_wanted(message, rcpt, action);
    books.sums.reports += n;
    if (wanted ? n < due || n > most : n > 0)
        world_breach("%s of store %u: %u reports that it is %.*s; due are %u", rcpt->to, store_number, n,
                     (int)ehlo_action_name(action).len, ehlo_action_name(action).ptr, wanted ? due : 0);
}

static int is_over(const ehlo_batch_rcpt *rcpt)
{
    return rcpt->state == EHLO_STATE_FAILED || rcpt->state == EHLO_STATE_EXPIRED;
}

static int has_arrived(const store_message *message)
{
    uint64_t hash = hash_of(without_trace(ehlo_str_make(message->body, message->len)));
    const arrived *report = books.reports;
    while (report != NULL && report->hash != hash) report = report->next;
    return report != NULL;
}

/* Copies in this store that ended without delivery. */
static unsigned count_ended(const store *s, ehlo_str to)
{
    unsigned n = 0;
    for (const store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        for (size_t i = 0; i < batch->nrcpts; i++) {
            const ehlo_batch_rcpt *rcpt = &batch->rcpts[i];
            if (rcpt->rcpt.to.len != to.len || memcmp(rcpt->rcpt.to.ptr, to.ptr, to.len) != 0) continue;
            if (rcpt->state == EHLO_STATE_QUEUED) world_breach("%.*s: is queued still", (int)to.len, to.ptr);
            n += is_over(rcpt) != 0;
        }
    }
    return n;
}

/* 1 if a copy is taken for delivered, as a policy has it, though nobody can be sure. */
static int is_trusted(const store *s, ehlo_str to)
{
    for (const store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        for (size_t i = 0; i < batch->nrcpts; i++) {
            const ehlo_batch_rcpt *rcpt = &batch->rcpts[i];
            int is_he = rcpt->rcpt.to.len == to.len && memcmp(rcpt->rcpt.to.ptr, to.ptr, to.len) == 0;
            if (is_he && rcpt->state == EHLO_STATE_DELIVERED && rcpt->rcpt.outcome == EHLO_OUTCOME_UNCERTAIN) return 1;
        }
    }
    return 0;
}

static void check_store(const store *s, int others)
{
    if (s->fault[0] != '\0') world_breach("store: %s", s->fault);
    for (const store_batch *batch = s->batches; batch != NULL; batch = batch->next) {
        const store_message *message = batch->message;
        if (!message->is_report) continue;
        if (!others && batch->rcpts[0].state == EHLO_STATE_DELIVERED && !has_arrived(message) &&
            batch->rcpts[0].rcpt.outcome == EHLO_OUTCOME_DELIVERED)
            world_breach("report %s is delivered, but nobody has it", message->name);
    }
}

/* Copies of it that this store has had. */
static unsigned count_copies(unsigned store_number, const struct ledger_rcpt *rcpt)
{
    unsigned n = 0;
    for (const copy *c = books.copies; c != NULL; c = c->next) {
        n += c->store == store_number && strcmp(c->to, rcpt->to) == 0;
    }
    return n;
}

/* What this store says of the recipient: returns 1 if it is settled there. */
static int check_in_store(const store *s, unsigned number, const ledger_message *message, struct ledger_rcpt *rcpt)
{
    unsigned ended = count_ended(s, ehlo_str_from(rcpt->to));
    unsigned copies = count_copies(number, rcpt);
    unsigned relayed = count_due(number, rcpt, EHLO_ACTION_RELAYED);
    int trusted = is_trusted(s, ehlo_str_from(rcpt->to));
    check_reports(s, number, message, rcpt, EHLO_ACTION_FAILED, ended, ended);
    check_reports(s, number, message, rcpt, EHLO_ACTION_DELAYED, count_due(number, rcpt, EHLO_ACTION_DELAYED), copies);
    check_reports(s, number, message, rcpt, EHLO_ACTION_RELAYED, relayed, trusted ? copies : relayed);
    rcpt->ended += ended;
    return ended > 0 || trusted;
}

static void check_rcpt(const ledger_message *message, struct ledger_rcpt *rcpt, const store *const *stores, size_t n)
{
    int settled = rcpt->delivered > 0;
    for (size_t i = 0; i < n; i++) settled |= check_in_store(stores[i], (unsigned)i, message, rcpt);
    if (message->deadline != 0 && rcpt->delivered == 0)
        world_breach("%s: not delivered, though nothing was wrong", rcpt->to);
    if (rcpt->accepted > 0 && !settled) world_breach("%s: it was accepted, and is lost", rcpt->to);
    if (rcpt->accepted == 0 && rcpt->delivered > 0) world_breach("%s: delivered, never accepted", rcpt->to);
    books.sums.accepted += rcpt->accepted > 0;
    books.sums.delivered += rcpt->delivered > 0;
    books.sums.ended += rcpt->ended > 0;
}

/* Only a loop that ends gives back what it has claimed: it claims no more. */
static void check_given_back(const copy *c, const attempt *a)
{
    for (const attempt *later = c->last; later != a && a->outcome == NOT_RECORDED; later = later->next) {
        if (later->by == a->by && later->boots == a->boots && !later->late)
            world_breach("%s of %s: attempt %llu was not recorded, and there is no reason for it", c->to, c->name,
                         (unsigned long long)a->fence);
    }
}

/* Of two that took it, the first attempt has to have come to an end that nobody can be sure of. */
static void check_copy(const copy *c)
{
    for (const attempt *a = c->last, *later = NULL; a != NULL; a = a->next) {
        check_given_back(c, a);
        if (a->taken == 0) continue;
        if (later != NULL) books.sums.twice++;
        if (later != NULL && a->outcome != EHLO_OUTCOME_UNCERTAIN && a->outcome != LOST)
            world_breach("%s of %s: a copy too many, and no reason for it (attempt %llu, outcome %d)", c->to, c->name,
                         (unsigned long long)a->fence, a->outcome);
        later = a;
    }
}

void ledger_check(const store *const *stores, size_t n)
{
    for (size_t i = 0; i < n; i++) check_store(stores[i], n > 1);
    for (const copy *c = books.copies; c != NULL; c = c->next) check_copy(c);
    for (ledger_message *message = books.messages; message != NULL; message = message->next) {
        for (size_t i = 0; i < message->n; i++) check_rcpt(message, &message->rcpts[i], stores, n);
    }
}

ledger_sums ledger_sum(void)
{
    return books.sums;
}
