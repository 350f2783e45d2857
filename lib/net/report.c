/* lib/net/report.c - the reports that an attempt leaves behind.
 *
 * For each action in turn: a message is created, the pieces of the report are appended, then what is returned of the
 * message reported on, then the end. Each step is a call of the store, which may answer later. */
#include "report.h"

#include "random.h"

#include <stdlib.h>
#include <string.h>

enum { ACTIONS = sizeof((ehlo_progress *)NULL)->reports, DESTINATION_MAX = 255, ID_OCTETS = 16 };

typedef enum step {
    STEP_BEGIN = 0, /* the next one, if there is any */
    STEP_CREATE,    /* its message */
    STEP_WRITE,     /* a piece of the report */
    STEP_READ,      /* a piece of the message reported on */
    STEP_FIT,       /* what is left of that */
    STEP_CLOSE,     /* the end of the report */
    STEP_APPEND,    /* what is left of `text` */
    STEP_END,       /* it is whole */
    STEP_DONE
} step;

struct ehlo_reports {
    ehlo_kept kept; /* first */
    const ehlo_relay *relay;
    const ehlo_attempt *attempt;
    ehlo_batch *batch;
    void *messages[ACTIONS];
    size_t nmessages; /* that are whole; another one is being written where `open` */
    uint8_t open;
    uint8_t action; /* of the one that is being written, ehlo_action */
    uint8_t step;
    uint8_t then; /* the step behind STEP_APPEND */
    uint8_t bare; /* 1: the message reported on is damaged: nothing of it is returned */

    ehlo_recipient to;
    ehlo_envelope envelope;
    ehlo_queued queued;
    ehlo_str destination;
    ehlo_str name;
    char destination_text[DESTINATION_MAX];
    char id[2 * ID_OCTETS];

    ehlo_dsn dsn;
    ehlo_dsn_cursor cursor;
    ehlo_str text; /* to be appended */
    size_t taken;
    ehlo_header header; /* of the message reported on, where that alone is returned */
    uint64_t offset;
    ehlo_str piece;
    int last;
    uint8_t held;   /* of ehlo_dsn_fit */
    uint8_t behind; /* the step behind the last STEP_FIT of a piece */
    char out[EHLO_DSN_PIECE_MAX];
    ehlo_dsn_recipient rcpts[];
};

/* -- what a report says ----------------------------------------------------------------------------- */

/* A route that cannot be had has a reply of ours, which no host gave; so has what the server need not be asked for. */
static int was_said(const ehlo_batch_rcpt *r)
{
    return r->rcpt.code != 0 && r->rcpt.stage != EHLO_STAGE_RESOLVE && !r->rcpt.unasked;
}

/* RFC 3463 3.5: X.4.7 "Delivery time expired" */
static void write_status(const ehlo_batch_rcpt *r, uint16_t status[3])
{
    static const uint16_t expired[3] = { 4, 4, 7 };
    memcpy(status, r->state == EHLO_STATE_EXPIRED ? expired : r->rcpt.enhanced, sizeof expired);
}

static ehlo_dsn_recipient describe(const ehlo_reports *reports, const ehlo_batch_rcpt *r)
{
    const ehlo_batch *batch = reports->batch;
    const ehlo_schedule *schedule = &reports->relay->policy.schedule;
    ehlo_dsn_recipient result = { .to = r->rcpt.to,
                                  .orcpt_type = r->rcpt.orcpt_type,
                                  .orcpt = r->rcpt.orcpt,
                                  .action = r->action,
                                  .remote_mta = ehlo_str_make(r->host, r->host_len),
                                  .code = was_said(r) ? r->rcpt.code : 0,
                                  .text = ehlo_str_make(r->text, r->text_len),
                                  .last_attempt = reports->attempt->concluded / 1000,
                                  .may_have_arrived = r->uncertain };
    if (r->action == EHLO_ACTION_DELAYED) result.retry_until = ehlo_schedule_expires(schedule, batch->arrived) / 1000;
    memcpy(result.enhanced, r->rcpt.enhanced, sizeof result.enhanced);
    write_status(r, result.status);
    return result;
}

static void describe_recipients(ehlo_reports *reports)
{
    const ehlo_batch *batch = reports->batch;
    reports->dsn.nrcpts = 0;
    for (size_t i = 0; i < batch->nrcpts; i++) {
        if (batch->rcpts[i].action != reports->action) continue;
        reports->rcpts[reports->dsn.nrcpts++] = describe(reports, &batch->rcpts[i]);
    }
}

/* RFC 8689 5: of a message that demands TLS the header alone is returned, and the report asks for TLS too. */
static void describe_message(ehlo_reports *reports)
{
    const ehlo_batch *batch = reports->batch;
    const ehlo_envelope *envelope = &batch->envelope;
    reports->dsn = (ehlo_dsn){ .reporting_mta = reports->relay->client.name,
                               .to = envelope->from,
                               .id = ehlo_str_make(reports->id, sizeof reports->id),
                               .time = reports->attempt->concluded / 1000,
                               .envid = envelope->envid,
                               .received_from = batch->hello,
                               .arrived = batch->arrived / 1000,
                               .ret = envelope->flags & EHLO_SEND_REQUIRETLS ? EHLO_RET_HDRS : envelope->ret,
                               .body = envelope->body,
                               .utf8 = (envelope->flags & EHLO_SEND_UTF8) != 0,
                               .size = envelope->size,
                               .rcpts = reports->rcpts };
    describe_recipients(reports);
}

/* -- its envelope ----------------------------------------------------------------------------------- */

static int has_8bit(ehlo_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] > 127) return 1;
    }
    return 0;
}

/* RFC 5321 6.1: "the reverse-path in the envelope of notification messages" is null. Where the message was 7BIT its report
 * is, unless that is UTF-8. */
static int address_report(ehlo_reports *reports)
{
    const ehlo_envelope *envelope = &reports->batch->envelope;
    size_t len;
    int error = ehlo_destination_write(&reports->relay->policy, envelope->from, reports->destination_text,
                                       DESTINATION_MAX, &len);
    if (error != EHLO_OK) return error;
    reports->destination = ehlo_str_make(reports->destination_text, len);
    reports->to = (ehlo_recipient){ .to = envelope->from };
    reports->envelope = (ehlo_envelope){
        .rcpts = &reports->to, .nrcpts = 1, .flags = envelope->flags & EHLO_SEND_REQUIRETLS, .body = EHLO_BODY_7BIT
    };
    if (has_8bit(envelope->from)) reports->envelope.flags |= EHLO_SEND_UTF8;
    reports->queued = (ehlo_queued){ .envelope = &reports->envelope,
                                     .destinations = &reports->destination,
                                     .arrived = reports->attempt->concluded };
    return EHLO_OK;
}

static int write_id(ehlo_reports *reports)
{
    unsigned char octets[ID_OCTETS];
    if (ehlo_random(octets, sizeof octets) != 0) return EHLO_ERR_SYSTEM;
    for (size_t i = 0; i < sizeof octets; i++) {
        reports->id[2 * i] = "0123456789abcdef"[octets[i] >> 4];
        reports->id[2 * i + 1] = "0123456789abcdef"[octets[i] & 15];
    }
    return EHLO_OK;
}

/* -- steps ------------------------------------------------------------------------------------------ */

static const ehlo_store *store_of(const ehlo_reports *reports)
{
    return reports->relay->cfg.store;
}

static void *store_ctx(const ehlo_reports *reports)
{
    return reports->relay->cfg.store_ctx;
}

static void discard(ehlo_reports *reports)
{
    if (reports->open) store_of(reports)->discard(store_ctx(reports), reports->messages[reports->nmessages]);
    reports->open = 0;
}

/* One that can never be written must not keep the others, and what is to be recorded, for ever. */
static int skip(ehlo_reports *reports, int error)
{
    ehlo_relay_problem(reports->relay, "a report on it cannot be written", reports->batch->message, error);
    discard(reports);
    reports->step = STEP_BEGIN;
    return EHLO_OK;
}

static int is_due(const ehlo_reports *reports)
{
    const ehlo_relay_config *cfg = &reports->relay->cfg;
    if (!reports->attempt->progress.reports[reports->action]) return 0;
    return cfg->on_report == NULL || cfg->on_report(reports->batch, (ehlo_action)reports->action, cfg->ctx);
}

static int begin(ehlo_reports *reports, ehlo_pending *pending)
{
    (void)pending;
    do {
        reports->action++;
    } while (reports->action < ACTIONS && !is_due(reports));
    reports->bare = 0;
    reports->step = reports->action < ACTIONS ? STEP_CREATE : STEP_DONE;
    if (reports->step == STEP_DONE) return EHLO_OK;
    int error = address_report(reports);
    return error == EHLO_OK ? write_id(reports) : skip(reports, error);
}

static int create(ehlo_reports *reports, ehlo_pending *pending)
{
    memset(&reports->cursor, 0, sizeof reports->cursor);
    memset(&reports->header, 0, sizeof reports->header);
    reports->offset = 0;
    reports->held = 0;
    describe_message(reports);
    if (reports->dsn.utf8 || ehlo_dsn_returns_full(&reports->dsn)) reports->envelope.body = EHLO_BODY_DEFAULT;
    return store_of(reports)->create(store_ctx(reports), &reports->queued, &reports->messages[reports->nmessages],
                                     &reports->name, pending);
}

static void set_text(ehlo_reports *reports, ehlo_str text, step then)
{
    reports->text = text;
    reports->step = STEP_APPEND;
    reports->then = (uint8_t)then;
}

static int write_piece(ehlo_reports *reports, ehlo_pending *pending)
{
    size_t len;
    int more = ehlo_dsn_next(&reports->dsn, &reports->cursor, reports->out, sizeof reports->out, &len);
    (void)pending;
    if (more < 0) return skip(reports, more);
    if (more)
        set_text(reports, ehlo_str_make(reports->out, len), STEP_WRITE);
    else
        reports->step = reports->bare ? STEP_CLOSE : STEP_READ;
    return EHLO_OK;
}

static int write_end(ehlo_reports *reports, ehlo_pending *pending)
{
    size_t len;
    int error = ehlo_dsn_end(&reports->dsn, reports->out, sizeof reports->out, &len);
    (void)pending;
    if (error != EHLO_OK) return skip(reports, error);
    set_text(reports, ehlo_str_make(reports->out, len), STEP_END);
    return EHLO_OK;
}

static int read_piece(ehlo_reports *reports, ehlo_pending *pending)
{
    reports->piece = ehlo_str_make(NULL, 0);
    reports->last = 0;
    return store_of(reports)->body(store_ctx(reports), reports->batch, reports->offset, &reports->piece, &reports->last,
                                   pending);
}

/* As much of the piece as `out` holds. */
static int fit_piece(ehlo_reports *reports, ehlo_pending *pending)
{
    size_t most = sizeof reports->out - 1;
    size_t len = reports->piece.len < most ? reports->piece.len : most;
    size_t fit = ehlo_dsn_fit(&reports->dsn, &reports->held, reports->piece.ptr, len, reports->out);
    (void)pending;
    reports->piece = ehlo_str_make(reports->piece.ptr + len, reports->piece.len - len);
    set_text(reports, ehlo_str_make(reports->out, fit), reports->piece.len > 0 ? STEP_FIT : (step)reports->behind);
    return EHLO_OK;
}

static int append(ehlo_reports *reports, ehlo_pending *pending)
{
    reports->taken = 0;
    if (reports->text.len == 0) return EHLO_OK;
    return store_of(reports)->append(store_ctx(reports), reports->messages[reports->nmessages], reports->text.ptr,
                                     reports->text.len, &reports->taken, pending);
}

static int end(ehlo_reports *reports, ehlo_pending *pending)
{
    (void)pending;
    reports->nmessages++;
    reports->open = 0;
    reports->step = STEP_BEGIN;
    return EHLO_OK;
}

/* -- what came of a step ---------------------------------------------------------------------------- */

/* A message that is damaged, or cannot be read time and again, is reported on all the same, and nothing of it returned. */
static int was_not_read(ehlo_reports *reports, int error)
{
    if (error != EHLO_ERR_SYNTAX && reports->attempt->patience_ms == 0) return error;
    discard(reports);
    reports->bare = 1;
    reports->step = STEP_CREATE;
    return EHLO_OK;
}

static int was_read(ehlo_reports *reports, int result)
{
    size_t len = reports->piece.len;
    if (result == EHLO_OK && len == 0 && !reports->last) result = EHLO_ERR_SYSTEM;
    if (result != EHLO_OK) return was_not_read(reports, result);
    int full = ehlo_dsn_returns_full(&reports->dsn);
    if (!full) len = ehlo_header_scan(&reports->header, reports->piece.ptr, len);
    int more = !reports->last && (full || !reports->header.ended);
    reports->offset += reports->piece.len;
    reports->piece.len = len;
    reports->behind = more ? STEP_READ : STEP_CLOSE;
    reports->step = STEP_FIT;
    return EHLO_OK;
}

static int was_appended(ehlo_reports *reports, int result)
{
    if (result != EHLO_OK) return result;
    if (reports->taken == 0 && reports->text.len > 0) return EHLO_ERR_SYSTEM;
    reports->text.ptr += reports->taken;
    reports->text.len -= reports->taken;
    if (reports->text.len == 0) reports->step = reports->then;
    return EHLO_OK;
}

static int was_created(ehlo_reports *reports, int result)
{
    reports->open = result == EHLO_OK;
    reports->step = STEP_WRITE;
    return result;
}

/* -- one step after the other ----------------------------------------------------------------------- */

static int make_step(ehlo_reports *reports, ehlo_pending *pending)
{
    static int (*const steps[])(ehlo_reports * reports, ehlo_pending * pending) = {
        [STEP_BEGIN] = begin,   [STEP_CREATE] = create,   [STEP_WRITE] = write_piece, [STEP_READ] = read_piece,
        [STEP_FIT] = fit_piece, [STEP_CLOSE] = write_end, [STEP_APPEND] = append,     [STEP_END] = end
    };
    return steps[reports->step](reports, pending);
}

/* Those that call the store. */
static int take_result(ehlo_reports *reports, step made, int result)
{
    if (made == STEP_CREATE) return was_created(reports, result);
    if (made == STEP_READ) return was_read(reports, result);
    return made == STEP_APPEND ? was_appended(reports, result) : result;
}

int ehlo_reports_write(ehlo_reports *reports, ehlo_pending *pending)
{
    int result = EHLO_OK;
    while (result == EHLO_OK && reports->step != STEP_DONE) {
        step made = (step)reports->step;
        result = make_step(reports, pending);
        if (result != EHLO_LATER) result = take_result(reports, made, result);
    }
    return result;
}

int ehlo_reports_answer(ehlo_reports *reports, int result, ehlo_pending *pending)
{
    result = take_result(reports, (step)reports->step, result);
    return result == EHLO_OK ? ehlo_reports_write(reports, pending) : result;
}

/* -- life ------------------------------------------------------------------------------------------- */

ehlo_reports *ehlo_reports_new(const ehlo_attempt *attempt)
{
    ehlo_reports *reports = malloc(sizeof *reports + attempt->batch->nrcpts * sizeof *reports->rcpts);
    if (reports == NULL) return NULL;
    memset(reports, 0, sizeof *reports);
    reports->relay = attempt->relay;
    reports->attempt = attempt;
    reports->batch = attempt->batch;
    return reports;
}

void *const *ehlo_reports_messages(const ehlo_reports *reports, size_t *n)
{
    *n = reports->nmessages;
    return reports->messages;
}

void ehlo_reports_disown(ehlo_reports *reports)
{
    reports->open = 0;
    reports->nmessages = 0;
}

void ehlo_reports_free(ehlo_reports *reports)
{
    if (reports == NULL) return;
    discard(reports);
    while (reports->nmessages > 0)
        store_of(reports)->discard(store_ctx(reports), reports->messages[--reports->nmessages]);
    free(reports);
}
