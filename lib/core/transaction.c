/* transaction.c - one message over a client session: what is queued, and when. */
#include "transaction.h"

#include "chars.h"

#include <string.h>

/* A message in pieces smaller than this goes by DATA: a command and a reply for each would cost more. */
enum { CHUNK_MIN = 4096 };
/* Recipients of one batch at most, so that replies can be counted. */
enum { BATCH_MAX = 10000 };
/* Until the server has said that it takes any recipient, a chunk is at most this long: it may all be for nothing. */
enum { CHUNK_UNASKED = 65536 };

/* -- refusals of our own ---------------------------------------------------------------------------- */

enum {
    REFUSED_NOT = 0,
    REFUSED_UTF8,
    REFUSED_REQUIRETLS,
    REFUSED_BINARY,
    REFUSED_8BIT,
    REFUSED_7BIT,
    REFUSED_SIZE,
    REFUSED_PARAMETER,
    REFUSED_BARE,
    REFUSED_LONG,
    REFUSED_TOGETHER
};

typedef struct refusal {
    uint16_t code;
    uint16_t enhanced[3];
    const char *text;
} refusal;

static const refusal refusals[] = {
    [REFUSED_UTF8] = { 553, { 5, 6, 7 }, "553 5.6.7 The server does not offer SMTPUTF8" },           /* RFC 6531 3.5 */
    [REFUSED_REQUIRETLS] = { 550, { 5, 7, 30 }, "550 5.7.30 The server does not offer REQUIRETLS" }, /* RFC 8689 5 */
    [REFUSED_BINARY] = { 554, { 5, 6, 3 }, "554 5.6.3 The server does not offer BINARYMIME" },       /* RFC 3030 3 */
    [REFUSED_8BIT] = { 554, { 5, 6, 3 }, "554 5.6.3 The server does not offer 8BITMIME" },           /* RFC 6152 3 */
    [REFUSED_7BIT] = { 554, { 5, 6, 1 }, "554 5.6.1 The message has 8-bit octets" },
    [REFUSED_SIZE] = { 552, { 5, 3, 4 }, "552 5.3.4 The message is longer than the server takes" }, /* RFC 1870 6.1 */
    [REFUSED_PARAMETER] = { 555, { 5, 5, 4 }, "555 5.5.4 The server does not offer a parameter that is needed" },
    [REFUSED_TOGETHER] = { 452, { 4, 5, 3 }, "452 4.5.3 The server takes fewer recipients at once" },
    [REFUSED_BARE] = { 554, { 5, 6, 0 }, "554 5.6.0 The message has a bare CR or LF" },
    [REFUSED_LONG] = { 554, { 5, 6, 0 }, "554 5.6.0 The message has a line that is too long" },
};

static ehlo_reply refusal_reply(unsigned why)
{
    const refusal *it = &refusals[why];
    ehlo_reply r = { it->code, { it->enhanced[0], it->enhanced[1], it->enhanced[2] }, ehlo_str_from(it->text) };
    return r;
}

static int wants_more(const ehlo_envelope *envelope, uint32_t params)
{
    return envelope->more != NULL && (envelope->more->present & params) != 0;
}

/* Parameters that promise something: without the extension the promise cannot be kept. */
static int lacks_parameter(const ehlo_envelope *envelope, uint32_t caps)
{
    return (wants_more(envelope, EHLO_PARAM_BY) && !(caps & EHLO_CAP_DELIVERBY)) ||
           (wants_more(envelope, EHLO_PARAM_MT_PRIORITY) && !(caps & EHLO_CAP_MT_PRIORITY)) ||
           (wants_more(envelope, EHLO_PARAM_HOLDFOR | EHLO_PARAM_HOLDUNTIL) && !(caps & EHLO_CAP_FUTURERELEASE));
}

/* 7BIT was declared, or nothing was and the server does not say that it takes more: then REFUSED_*. */
static unsigned refused_8bit(const ehlo_transaction *t)
{
    if (t->envelope.body == EHLO_BODY_7BIT) return REFUSED_7BIT;
    int taken = t->envelope.body != EHLO_BODY_DEFAULT || (t->client->offers.caps & EHLO_CAP_8BITMIME);
    return taken ? REFUSED_NOT : REFUSED_8BIT;
}

static int has_8bit(ehlo_str octets)
{
    return ehlo_chars_find_high(octets) < octets.len;
}

/* What can be known before a word is said. */
static unsigned refused_at_once(const ehlo_transaction *t)
{
    const ehlo_envelope *e = &t->envelope;
    const ehlo_offers *offers = &t->client->offers;
    if ((e->flags & EHLO_SEND_UTF8) && !(offers->caps & EHLO_CAP_SMTPUTF8)) return REFUSED_UTF8;
    if ((e->flags & EHLO_SEND_REQUIRETLS) && !(offers->caps & EHLO_CAP_REQUIRETLS)) return REFUSED_REQUIRETLS;
    if (e->body == EHLO_BODY_BINARYMIME && !(offers->caps & EHLO_CAP_BINARYMIME)) return REFUSED_BINARY;
    if (e->body == EHLO_BODY_8BITMIME && !(offers->caps & EHLO_CAP_8BITMIME)) return REFUSED_8BIT;
    if (offers->size_max != 0 && ehlo_envelope_size(e) > offers->size_max) return REFUSED_SIZE;
    if (lacks_parameter(e, offers->caps)) return REFUSED_PARAMETER;
    if (e->content.len > 0 && refused_8bit(t) != REFUSED_NOT && has_8bit(e->content)) return refused_8bit(t);
    return REFUSED_NOT;
}

/* -- the order of transactions ---------------------------------------------------------------------- */

/* RFC 9422 4.1: MAILMAX. */
static int may_say_mail(const ehlo_client *c)
{
    return c->offers.mail_max == 0 || c->mails < c->offers.mail_max;
}

int ehlo_client_next(const ehlo_client *c)
{
    if (c->phase != EHLO_CLIENT_READY || c->greeted == EHLO_VERB_UNKNOWN || c->error != EHLO_OK) return 0;
    if (c->sending != NULL || c->waiting != NULL || c->opening != NULL) return 0;
    if (c->body.mode != EHLO_SEND_NONE && !c->body.whole) return 0;
    return c->count + 4 <= EHLO_RING && may_say_mail(c) && ehlo_client_ready(c);
}

/* t wants to queue: now, or when it is its turn. */
static void join(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    ehlo_transaction **end = &c->waiting;
    t->next = NULL;
    c->eager = 1;
    if (c->sending == NULL) {
        c->sending = t;
        return;
    }
    while (*end != NULL) end = &(*end)->next;
    *end = t;
}

static void leave(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    ehlo_transaction **at = &c->waiting;
    if (c->sending == t) {
        c->sending = c->waiting;
        if (c->waiting == NULL) return;
        c->waiting = c->waiting->next;
        c->eager = 1;
        return;
    }
    while (*at != NULL && *at != t) at = &(*at)->next;
    if (*at != NULL) *at = t->next;
}

void ehlo_transaction_make_way(ehlo_transaction *t)
{
    t->phase = EHLO_PHASE_SENT;
    leave(t);
    if (t->callbacks.on_next != NULL && ehlo_client_next(t->client)) t->callbacks.on_next(t, t->user);
}

/* -- envelope --------------------------------------------------------------------------------------- */

/* RFC 9422 4.2, 4.3: not more recipients, or domains, than the server takes at once. Changes of domain are counted,
 * which may be too many but never too few. */
static int has_room_for(const ehlo_transaction *t, const ehlo_recipient *rcpt, ehlo_str *domain, int *change)
{
    const ehlo_offers *offers = &t->client->offers;
    *change = 0;
    if (t->crowded || t->batch == BATCH_MAX || (offers->rcpt_max != 0 && t->batch >= offers->rcpt_max)) return 0;
    if (offers->rcpt_domain_max == 0) return 1;
    size_t at = rcpt->to.len;
    while (at > 0 && rcpt->to.ptr[at - 1] != '@') at--;
    *domain = ehlo_str_make(rcpt->to.ptr + at, rcpt->to.len - at);
    *change = t->batch == 0 || !ehlo_domain_equal(*domain, t->domain);
    return !*change || t->domains < offers->rcpt_domain_max;
}

/* The next recipient to be asked; nrcpts if there is none in this batch. */
static size_t next_to_ask(ehlo_transaction *t)
{
    while (t->asked < t->envelope.nrcpts) {
        const ehlo_recipient *rcpt = ehlo_transaction_recipient(t, t->asked);
        if (rcpt->outcome == EHLO_OUTCOME_NONE && rcpt->step == EHLO_STEP_WAITING) break;
        t->asked++;
    }
    return t->asked;
}

static int queue_rcpt(ehlo_transaction *t, size_t index, ehlo_fault *fault)
{
    ehlo_recipient *rcpt = ehlo_transaction_recipient(t, index);
    ehlo_rcpt_command command;
    ehlo_envelope_rcpt(&t->envelope, rcpt, t->client->offers.caps, &command);
    t->client->own = 1;
    int error = ehlo_client_rcpt(t->client, &command, ehlo_transaction_on_rcpt, t, fault);
    if (error != EHLO_OK) return error;
    rcpt->step = EHLO_STEP_ASKED;
    t->asked = index + 1;
    t->pending++;
    t->unanswered++;
    t->batch++;
    return EHLO_OK;
}

static int queue_rcpts(ehlo_transaction *t, ehlo_fault *fault)
{
    int error = EHLO_OK, change;
    while (error == EHLO_OK) {
        size_t index = next_to_ask(t);
        ehlo_str domain = t->domain;
        if (index == t->envelope.nrcpts) break;
        if (!has_room_for(t, ehlo_transaction_recipient(t, index), &domain, &change)) break;
        error = queue_rcpt(t, index, fault);
        if (error != EHLO_OK) return error;
        t->domain = domain;
        t->domains += (uint32_t)change;
    }
    t->phase = EHLO_PHASE_DECIDE;
    return EHLO_OK;
}

/* What the last transaction left open on the server goes first: for sure, or perhaps, as servers keep one whose last
 * chunk they refused because there was no recipient. RSET costs no round trip then. */
static int queue_rset(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    if (!c->dirty && c->doubtful == NULL) return EHLO_OK;
    c->own = 1;
    int error = ehlo_client_command(c, EHLO_VERB_RSET, ehlo_str_make(NULL, 0), NULL, t, NULL);
    if (error != EHLO_OK) return error;
    c->dirty = 0;
    c->doubtful = NULL;
    return EHLO_OK;
}

static int queue_mail(ehlo_transaction *t, ehlo_fault *fault)
{
    ehlo_client *c = t->client;
    int error = queue_rset(t);
    if (error != EHLO_OK) return error;
    ehlo_mail_command mail;
    ehlo_envelope_mail(&t->envelope, c->offers.caps, &mail);
    c->own = 1;
    error = ehlo_client_mail(c, &mail, ehlo_transaction_on_mail, t, fault);
    if (error != EHLO_OK) return error;
    t->mail_queued = 1;
    t->pending++;
    c->mails++;
    return EHLO_OK;
}

static int queue_envelope(ehlo_transaction *t, ehlo_fault *fault)
{
    int error = t->mail_queued ? EHLO_OK : queue_mail(t, fault);
    return error == EHLO_OK ? queue_rcpts(t, fault) : error;
}

/* -- body ------------------------------------------------------------------------------------------- */

static int is_pushed(const ehlo_transaction *t)
{
    return t->callbacks.body == NULL && t->envelope.content.ptr == NULL;
}

/* Its body, or a chunk of it, is on its way. */
static int is_leaving(const ehlo_transaction *t)
{
    return t->client->body.owner == t && t->client->body.mode != EHLO_SEND_NONE;
}

/* What has begun with DATA, or with a chunk, can only end with the session. */
static void break_off(ehlo_transaction *t, ehlo_outcome outcome, const ehlo_reply *r, const char *problem)
{
    int begun = is_leaving(t) || t->phase == EHLO_PHASE_GO;
    ehlo_transaction_settle(t, EHLO_STEP_WAITING, outcome, EHLO_STAGE_DATA, r);
    t->abandoned = 1;
    if (begun) ehlo_client_end(t->client, EHLO_CLOSE_CLOSED, problem);
}

/* The message cannot be sent, now that it is seen. */
static void refuse_body(ehlo_transaction *t, unsigned why)
{
    ehlo_reply r = refusal_reply(why);
    t->unasked = 1;
    break_off(t, EHLO_OUTCOME_REJECTED, &r, "the message cannot be sent");
    t->unasked = 0;
}

void ehlo_transaction_body_refused(ehlo_transaction *t)
{
    refuse_body(t, t->client->body.fault == EHLO_BODY_LONG ? REFUSED_LONG : REFUSED_BARE);
}

/* The application gives up. */
static void give_up(ehlo_transaction *t)
{
    break_off(t, EHLO_OUTCOME_NOT_SENT, NULL, "the message was cancelled");
}

static void own_body(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    if (c->body.owner == t) return;
    ehlo_clear(&c->body, sizeof c->body);
    c->body.owner = t;
}

static int ask(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last)
{
    int answer;
    do {
        t->resumed = 0;
        answer = t->callbacks.body(t, offset, piece, last, t->user);
    } while (answer == EHLO_LATER && t->resumed);
    if (answer == EHLO_OK && piece->len == 0 && !*last) answer = EHLO_LATER;
    return answer;
}

/* What ehlo_transaction_push was given, once. */
static ehlo_str take_pushed(ehlo_transaction *t, int *last)
{
    ehlo_str piece = t->pushed;
    *last = t->pushed_last;
    t->pushed = ehlo_str_make(NULL, 0);
    t->pushed_last = 0;
    return piece;
}

/* The body from where the transport stands. EHLO_OK, EHLO_LATER, or negative. */
static int get_piece(ehlo_transaction *t, ehlo_str *piece, int *last)
{
    uint64_t offset = t->client->body.taken;
    *piece = ehlo_str_make(NULL, 0);
    *last = 0;
    if (t->callbacks.body != NULL) return ask(t, offset, piece, last);
    if (is_pushed(t)) {
        *piece = take_pushed(t, last);
        return piece->len > 0 || *last ? EHLO_OK : EHLO_LATER;
    }
    ehlo_str content = t->envelope.content;
    *piece = ehlo_str_make(content.ptr + offset, content.len - (size_t)offset);
    *last = 1;
    return EHLO_OK;
}

static int used_up(const ehlo_sending *body)
{
    return body->piece.len == 0 && body->fixed.len == 0;
}

/* The body goes on with this piece, of which the first octets may be judged already. 0: it may not be sent. */
static int hand_over(ehlo_transaction *t, ehlo_str piece, int last, uint64_t judged)
{
    unsigned why = refused_8bit(t);
    if (why != REFUSED_NOT && judged < piece.len &&
        has_8bit(ehlo_str_make(piece.ptr + judged, piece.len - (size_t)judged))) {
        refuse_body(t, why);
        return 0;
    }
    ehlo_client_offer(t->client, piece, last);
    return 1;
}

/* Sees to it that octets of the body, or its end, are at hand: 1 if they are. */
static int pull(ehlo_transaction *t)
{
    ehlo_sending *body = &t->client->body;
    ehlo_str piece;
    int last;
    own_body(t);
    if (body->last || !used_up(body)) return 1;
    if (t->later) return 0;
    int answer = get_piece(t, &piece, &last);
    if (answer == EHLO_LATER) t->later = !is_pushed(t);
    if (answer < 0) give_up(t);
    if (answer != EHLO_OK) return 0;
    return hand_over(t, piece, last, 0);
}

/* -- DATA ------------------------------------------------------------------------------------------- */

static int queue_data(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    c->own = 1;
    if (ehlo_client_data(c, ehlo_transaction_on_data, t) != EHLO_OK) return 0;
    t->phase = EHLO_PHASE_GO;
    t->pending++;
    return 1;
}

void ehlo_transaction_open_message(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    unsigned replies = ehlo_transaction_is_lmtp(t) ? t->accepted : 1; /* RFC 2033 4.2 */
    c->own = 1;
    if (ehlo_client_message(c, replies, ehlo_transaction_on_final, t) != EHLO_OK) return;
    c->body.owner = t;
    t->phase = EHLO_PHASE_BODY;
    t->pending += replies;
}

/* All that is left is at hand: the next envelope may be queued behind it. */
static void message_is_whole(ehlo_transaction *t)
{
    t->client->body.whole = 1;
    t->final_queued = 1;
    ehlo_transaction_make_way(t);
}

/* RFC 2920 3.1: where DATA succeeds although no recipient was accepted, a lone dot ends the message. */
static int send_text(ehlo_transaction *t)
{
    int nobody = t->accepted == 0 || t->abandoned;
    if (nobody) {
        ehlo_client_offer(t->client, ehlo_str_make(NULL, 0), 1);
        message_is_whole(t);
        return 1;
    }
    if (!pull(t) || !t->client->body.last) return 0;
    message_is_whole(t);
    return 1;
}

/* -- BDAT ------------------------------------------------------------------------------------------- */

static int may_chunk(const ehlo_transaction *t)
{
    if (!(t->client->offers.caps & EHLO_CAP_CHUNKING)) return 0;
    /* In LMTP the number of replies to the last chunk depends on the replies to RCPT: nothing is won over DATA. */
    return !ehlo_transaction_is_lmtp(t) || t->envelope.body == EHLO_BODY_BINARYMIME;
}

static int is_raw(const ehlo_transaction *t)
{
    const ehlo_client_config *config = &t->client->config;
    return t->envelope.body == EHLO_BODY_BINARYMIME ||
           (config->bare_cr == EHLO_BARE_PASS && config->bare_lf == EHLO_BARE_PASS);
}

static int worth_chunks(const ehlo_transaction *t)
{
    const ehlo_sending *body = &t->client->body;
    return t->envelope.body == EHLO_BODY_BINARYMIME || body->last || body->piece.len >= CHUNK_MIN;
}

/* 0 if an octet may not be sent. */
static int plan_chunk(ehlo_transaction *t, ehlo_chunk *plan)
{
    ehlo_client *c = t->client;
    ehlo_str piece = c->body.piece;
    int answered = t->unanswered == 0 && t->mail_accepted;
    if (!answered && piece.len > CHUNK_UNASKED) piece.len = CHUNK_UNASKED;
    plan->last = c->body.last && piece.len == c->body.piece.len;
    plan->raw = is_raw(t);
    plan->span = piece.len;
    plan->size = c->body.fixed.len + piece.len;
    plan->behind = c->body.encoder;
    if (!plan->raw && c->body.fault == 0) {
        c->body.fault = (uint8_t)ehlo_client_measure(c, piece, plan);
    }
    if (c->body.fault == 0) return 1;
    ehlo_transaction_body_refused(t);
    return 0;
}

static int queue_chunk(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    ehlo_chunk plan;
    if (c->body.mode != EHLO_SEND_NONE || !ehlo_client_ready(c) || c->count == EHLO_RING) return 0;
    if (!pull(t) || !plan_chunk(t, &plan)) return 0; /* the plan takes a look at every octet: not in vain */
    if (plan.size == 0 && !plan.last) return ehlo_client_hold_cr(c);
    unsigned replies = plan.last && ehlo_transaction_is_lmtp(t) ? t->accepted : 1;
    ehlo_on_reply done = plan.last ? ehlo_transaction_on_final : ehlo_transaction_on_chunk;
    c->own = 1;
    if (ehlo_client_announce(c, plan.size, plan.last, replies, done, t) != EHLO_OK) return 0;
    t->pending += replies;
    ehlo_client_open_chunk(c, plan.raw ? EHLO_SEND_RAW : EHLO_SEND_LINES, plan.span, plan.size);
    if (plan.raw) c->body.encoder = plan.behind;
    if (!plan.last) return 0;
    if (t->pending > replies) c->doubtful = t; /* it may be refused for what goes before it */
    message_is_whole(t);
    return 1;
}

void ehlo_transaction_body_left(ehlo_transaction *t)
{
    t->sent = t->client->body.taken;
    t->committed = t->final_queued;
    if (t->final_queued) t->client->pushing = NULL;
    ehlo_transaction_end_batch(t); /* LMTP: a message for nobody has no reply */
}

/* -- the decision ----------------------------------------------------------------------------------- */

static int envelope_is_answered(const ehlo_transaction *t)
{
    return t->unanswered == 0 && (t->mail_accepted || t->mail_refused);
}

static int asks_first(const ehlo_transaction *t)
{
    return (t->envelope.flags & EHLO_SEND_ALL_OR_NONE) || !ehlo_client_pipelines(t->client) ||
           (ehlo_transaction_is_lmtp(t) && t->envelope.body == EHLO_BODY_BINARYMIME);
}

/* ALL_OR_NONE: nothing is sent where someone was refused, or cannot be asked together with the others. */
static void want_all(ehlo_transaction *t)
{
    ehlo_reply together = refusal_reply(REFUSED_TOGETHER);
    if (t->any_refused)
        ehlo_transaction_settle(t, EHLO_STEP_WAITING, EHLO_OUTCOME_NOT_SENT, EHLO_STAGE_RCPT, NULL);
    else if (next_to_ask(t) < t->envelope.nrcpts)
        ehlo_transaction_settle(t, EHLO_STEP_WAITING, EHLO_OUTCOME_DEFERRED, EHLO_STAGE_RCPT, &together);
    else
        return;
    t->accepted = 0;
}

/* The envelope is queued: DATA or BDAT, now or when it is answered. */
static int decide(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    if (envelope_is_answered(t)) {
        if (t->envelope.flags & EHLO_SEND_ALL_OR_NONE) want_all(t);
        if (t->accepted == 0) {
            t->abandoned = 1;
            return 1;
        }
    } else if (asks_first(t)) {
        return 0;
    }
    if (!may_chunk(t)) return queue_data(t);
    if (c->body.mode != EHLO_SEND_NONE) return 0;
    if (!pull(t)) return t->abandoned;
    t->chunked = (uint8_t)worth_chunks(t);
    if (t->chunked) {
        t->phase = EHLO_PHASE_BODY;
        return 1;
    }
    c->body.owner = NULL; /* it begins anew behind the 354 */
    return queue_data(t);
}

/* -- progress --------------------------------------------------------------------------------------- */

/* Nothing more is sent of this batch. What the server has of it is forgotten before the next. */
static int abandon_batch(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    if (is_leaving(t)) return 0; /* a chunk must come to its end */
    if (c->body.owner == t) c->body.owner = NULL;
    c->dirty |= t->mail_queued && !t->mail_refused;
    ehlo_transaction_make_way(t);
    return 1;
}

static int refuse_unspoken(ehlo_transaction *t)
{
    ehlo_reply r = refusal_reply(t->refusal);
    t->unasked = 1;
    ehlo_transaction_settle(t, EHLO_STEP_WAITING, EHLO_OUTCOME_REJECTED, EHLO_STAGE_MAIL, &r);
    t->unasked = 0;
    ehlo_transaction_make_way(t);
    return 1;
}

static int advance(ehlo_transaction *t)
{
    int gone = t->abandoned && t->phase != EHLO_PHASE_GO && (t->phase != EHLO_PHASE_BODY || t->chunked);
    if (gone) return abandon_batch(t);
    switch (t->phase) {
    case EHLO_PHASE_UNSPOKEN:
        return refuse_unspoken(t);
    case EHLO_PHASE_ENVELOPE:
        return queue_envelope(t, NULL) == EHLO_OK;
    case EHLO_PHASE_DECIDE:
        return decide(t);
    case EHLO_PHASE_BODY:
        return t->chunked ? queue_chunk(t) : send_text(t);
    default:
        return 0;
    }
}

void ehlo_transaction_advance(ehlo_transaction *t)
{
    ehlo_client *c = t->client;
    int moved = 1;
    while (moved && c->sending == t && !ehlo_client_over(c)) {
        int abandoned = t->abandoned;
        moved = advance(t) || t->abandoned != abandoned;
        if (t->phase != EHLO_PHASE_SENT) continue;
        ehlo_transaction_end_batch(t);
        return;
    }
}

/* -- the end ---------------------------------------------------------------------------------------- */

static void begin_batch(ehlo_transaction *t)
{
    for (size_t i = t->first; i < t->asked; i++) {
        ehlo_recipient *rcpt = ehlo_transaction_recipient(t, i);
        if (rcpt->outcome != EHLO_OUTCOME_NONE) rcpt->step = EHLO_STEP_WAITING; /* no reply is to come for it */
    }
    t->asked = t->heard = t->told = t->first;
    t->batch = t->unanswered = t->accepted = t->domains = 0;
    t->mail_queued = t->mail_accepted = t->mail_refused = t->any_refused = t->crowded = t->abandoned = 0;
    t->chunked = t->final_queued = t->committed = t->later = 0;
    t->phase = EHLO_PHASE_ENVELOPE;
    if (t->client->body.owner == t) t->client->body.owner = NULL;
}

/* 1 if the server was not asked about a recipient yet, or shall be asked again. */
static int someone_waits(ehlo_transaction *t)
{
    while (t->first < t->envelope.nrcpts) {
        if (ehlo_transaction_recipient(t, t->first)->outcome == EHLO_OUTCOME_NONE) return 1;
        t->first++;
    }
    return 0;
}

void ehlo_transaction_end_batch(ehlo_transaction *t)
{
    if (t->phase != EHLO_PHASE_SENT || t->pending > 0) return;
    if (is_leaving(t) && !ehlo_client_over(t->client)) return;
    if (someone_waits(t)) {
        if (!is_pushed(t) && !ehlo_client_over(t->client) && may_say_mail(t->client)) {
            begin_batch(t);
            join(t);
            return;
        }
        ehlo_transaction_settle(t, EHLO_STEP_WAITING, is_pushed(t) ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_NOT_SENT,
                                EHLO_STAGE_RCPT, NULL);
    }
    if (t->client->body.owner == t) t->client->body.owner = NULL;
    if (t->client->pushing == t) t->client->pushing = NULL;
    if (t->callbacks.on_done != NULL) t->callbacks.on_done(t, t->worst, t->user);
}

void ehlo_transaction_abandon(ehlo_transaction *t)
{
    ehlo_transaction_lose(t);
    ehlo_transaction_end_batch(t);
}

/* -- what the application calls --------------------------------------------------------------------- */

size_t ehlo_transaction_size(void)
{
    return sizeof(ehlo_transaction);
}

/* Members that this server is not told are judged too: what is wrong is wrong everywhere. */
static int check_unsaid(const ehlo_transaction *t, ehlo_envelope_fault *fault)
{
    const ehlo_envelope *e = &t->envelope;
    int unsaid = e->envid.len > 0 || e->auth.len > 0 || e->more != NULL || t->refusal != REFUSED_NOT;
    int result = unsaid ? ehlo_envelope_check_mail(e, fault) : EHLO_OK;
    for (size_t i = 0; i < e->nrcpts && result == EHLO_OK; i++) {
        const ehlo_recipient *rcpt = ehlo_transaction_recipient(t, i);
        int said = i < t->asked && rcpt->orcpt.len + rcpt->orcpt_type.len == 0;
        if (!said) result = ehlo_envelope_check_rcpt(e, rcpt, i, fault);
    }
    return result;
}

static void clear_recipients(ehlo_transaction *t)
{
    for (size_t i = 0; i < t->envelope.nrcpts; i++) {
        ehlo_recipient *rcpt = ehlo_transaction_recipient(t, i);
        ehlo_recipient_settle(rcpt, EHLO_OUTCOME_NONE, EHLO_STAGE_NONE, NULL);
        rcpt->step = EHLO_STEP_WAITING;
    }
}

/* A command that was refused says which member it was. */
static int name_fault(ehlo_transaction *t, int error, ehlo_envelope_fault *fault)
{
    ehlo_envelope_fault ignored;
    if (fault == NULL) fault = &ignored;
    if (error == EHLO_ERR_ARG || error == EHLO_ERR_SPACE) {
        int named = t->mail_queued ? ehlo_envelope_check_rcpt(&t->envelope, ehlo_transaction_recipient(t, t->asked),
                                                              t->asked, fault)
                                   : ehlo_envelope_check_mail(&t->envelope, fault);
        if (named == EHLO_OK) fault->member = "more"; /* well-formed, but too long for this block */
    }
    return error;
}

/* The first commands are queued, so that a bad argument is found before any octet leaves. */
static int begin(ehlo_transaction *t, ehlo_envelope_fault *fault)
{
    ehlo_client *c = t->client;
    ehlo_client_mark mark = ehlo_client_mark_make(c);
    uint32_t mails = c->mails;
    t->refusal = (uint8_t)refused_at_once(t);
    t->phase = t->refusal == REFUSED_NOT ? EHLO_PHASE_ENVELOPE : EHLO_PHASE_UNSPOKEN;
    int error = t->refusal == REFUSED_NOT ? queue_envelope(t, NULL) : EHLO_OK;
    error = error == EHLO_ERR_FULL ? EHLO_OK : name_fault(t, error, fault);
    if (error == EHLO_OK) error = check_unsaid(t, fault);
    if (error == EHLO_OK) return EHLO_OK;
    if (error > EHLO_ERR_FATAL) ehlo_client_rewind(c, &mark);
    c->mails = mails;
    return error;
}

int ehlo_transaction_start_sized(ehlo_transaction **out, void *mem, size_t len, ehlo_client *c,
                                 const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                                 const ehlo_transaction_callbacks *callbacks, size_t callbacks_size, void *user,
                                 ehlo_envelope_fault *fault)
{
    ehlo_transaction *t = mem;
    if (out == NULL || mem == NULL || c == NULL || callbacks == NULL || callbacks_size > sizeof t->callbacks ||
        envelope == NULL || envelope_size != sizeof *envelope || recipient_size < sizeof(ehlo_recipient)) {
        return EHLO_ERR_ARG;
    }
    if (len < sizeof *t) return EHLO_ERR_SPACE;
    if (c->quiet) return EHLO_ERR_REENTRY;
    if (!ehlo_client_next(c)) return EHLO_ERR_STATE;
    if (envelope->rcpts == NULL || envelope->nrcpts == 0 || envelope->body > EHLO_BODY_BINARYMIME) {
        if (fault != NULL) *fault = (ehlo_envelope_fault){ "rcpts", 0, { 0, EHLO_RULE_MISSING } };
        return EHLO_ERR_ARG;
    }
    ehlo_clear(t, sizeof *t);
    memcpy(&t->callbacks, callbacks, callbacks_size);
    t->client = c;
    t->envelope = *envelope;
    t->stride = recipient_size;
    t->user = user;
    clear_recipients(t);
    int error = begin(t, fault);
    if (error != EHLO_OK) return error;
    join(t);
    *out = t;
    return EHLO_OK;
}

int ehlo_transaction_push(ehlo_transaction *t, uint64_t now, const char *bytes, size_t len, int last, size_t *used)
{
    ehlo_client *c = t->client;
    *used = 0;
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    int in_flight = is_leaving(t);
    if (!is_pushed(t) || t->committed || (t->phase == EHLO_PHASE_SENT && !in_flight) || ehlo_client_over(c)) {
        c->running = 0;
        return EHLO_ERR_STATE;
    }
    c->pushing = t;
    c->pushed = 0;
    t->pushed = ehlo_str_make(bytes, len);
    t->pushed_last = last != 0;
    if (in_flight) {
        int end;
        ehlo_str piece = take_pushed(t, &end);
        hand_over(t, piece, end, c->body.mode == EHLO_SEND_TEXT ? c->body.raw : c->body.span);
    }
    error = ehlo_client_leave(c);
    *used = c->pushed;
    if (c->pushing == NULL) return error; /* all of it has left: t may be no more */
    c->pushing = NULL;
    if (t->pushed.len > 0) t->pushed_last = 0; /* an end without octets is remembered */
    t->pushed = ehlo_str_make(NULL, 0);
    if (c->body.owner == t) ehlo_client_withdraw(c);
    return error;
}

int ehlo_transaction_resume(ehlo_transaction *t, uint64_t now)
{
    t->later = 0;
    t->resumed = 1;
    return t->client->running ? EHLO_OK : ehlo_client_flush(t->client, now);
}

int ehlo_transaction_cancel(ehlo_transaction *t, uint64_t now)
{
    ehlo_client *c = t->client;
    if (!c->running && t->committed) return EHLO_ERR_STATE;
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    give_up(t);
    return ehlo_client_leave(c);
}

ehlo_client *ehlo_transaction_client(const ehlo_transaction *t)
{
    return t->client;
}

uint64_t ehlo_transaction_sent(const ehlo_transaction *t)
{
    return t->client->body.owner == t ? t->client->body.taken : t->sent;
}
