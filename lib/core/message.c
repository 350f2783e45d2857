/* DATA and BDAT: octets to on_body, the end to on_message, refusals drained and answered in their place. */
#include "session.h"

#include "chars.h"

#include <string.h>

/* -- refusing --------------------------------------------------------------------------------------- */

/* From here on octets are dropped; the reply just queued is held until the peer can expect it. */
static void start_draining(ehlo_server *s)
{
    s->draining = 1;
    ehlo_session_forget(s, EHLO_RESET_REFUSED);
}

EHLO_COLD static void refuse(ehlo_server *s, ehlo_standard why)
{
    ehlo_reply reply = ehlo_standard_reply(why);
    (void)ehlo_session_hold_reply(s, &reply);
    start_draining(s);
}

/* Says an application's reply; with the default text where its own may not be sent. */
static void say_or_amend(ehlo_server *s, ehlo_reply *reply, int (*say)(ehlo_server *s, const ehlo_reply *reply))
{
    ehlo_reply instead = { reply->code, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_answer_complete(reply, EHLO_ASKED_MESSAGE);
    if (say(s, reply) == EHLO_OK) return;
    ehlo_answer_complete(&instead, EHLO_ASKED_MESSAGE);
    (void)say(s, &instead);
}

/* The application's refusal of a body: 554 5.6.0 if it names none. */
EHLO_COLD static void refuse_saying(ehlo_server *s, ehlo_reply *reply)
{
    if (reply->code < 400) {
        refuse(s, EHLO_SAY_CONTENT);
        return;
    }
    reply->code = ehlo_answer_instead(EHLO_ASKED_MESSAGE, EHLO_VERB_DATA, reply->code);
    if (reply->code == 421) {
        ehlo_session_end(s, EHLO_CLOSE_REFUSED, EHLO_RESET_CLOSED);
        say_or_amend(s, reply, ehlo_session_say_reply);
    } else {
        say_or_amend(s, reply, ehlo_session_hold_reply);
        start_draining(s);
    }
}

/* A refused message or chunk is longer than drain_max: its final replies are said at once, and the session is over.
 * LMTP's many are said as far as they fit; at least one does. */
EHLO_COLD static void stop_draining(ehlo_server *s, uint32_t results)
{
    if (s->fatal != 0) results = 0; /* there was no block to hold a reply in */
    for (; results > 1 && ehlo_out_fits(&s->out, s->out.held); results--) ehlo_out_release(&s->out);
    if (results > 0) ehlo_out_promote(&s->out);
    ehlo_session_end(s, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
}

/* 1 if so much of a refused message or chunk is too much. */
static int is_over_drained(const ehlo_server *s, uint64_t octets)
{
    return s->draining && octets > s->service->config.drain_max;
}

/* -- final replies ---------------------------------------------------------------------------------- */

void ehlo_session_pay(ehlo_server *s, uint32_t results, ehlo_paying paying)
{
    s->results = results;
    s->result = 0;
    s->paying = (uint8_t)paying;
    ehlo_session_pay_results(s);
}

static void ask_result(ehlo_server *s)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token = ehlo_session_ask(s, EHLO_ASKED_RESULT, EHLO_VERB_DATA);
    ehlo_session_verdict(s, s->service->callbacks.on_result(s, token, s->result, &reply, s->user), &reply);
}

static int pay_one(ehlo_server *s)
{
    if (!ehlo_out_fits(&s->out, s->service->reply_max)) ehlo_session_flush(s);
    if (!ehlo_out_fits(&s->out, s->service->reply_max)) return 0;
    if (s->out.held == 0) {
        ask_result(s);
    } else {
        ehlo_out_release(&s->out);
        s->results--;
    }
    return 1;
}

void ehlo_session_pay_results(ehlo_server *s)
{
    while (s->results > 0 && s->question == EHLO_ASKED_NOTHING && s->fatal == 0) {
        if (!pay_one(s)) return;
    }
    if (s->results > 0 || s->question != EHLO_ASKED_NOTHING) return;
    if (s->paying == EHLO_PAYING_MESSAGE) ehlo_state_end(&s->state);
    s->paying = EHLO_PAYING_NOTHING;
    s->draining = 0;
    s->since = s->now;
    ehlo_out_drop_held(&s->out);
}

/* -- delivering ------------------------------------------------------------------------------------- */

static size_t call_on_body(ehlo_server *s, const char *bytes, size_t len)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    size_t taken = len;
    int verdict;
    if (s->service->callbacks.on_body == NULL) return len;
    s->running = EHLO_RUNNING_CALLBACK;
    verdict = s->service->callbacks.on_body(s, bytes, len, &taken, &reply, s->user);
    s->running = EHLO_RUNNING_NOTHING;
    if (verdict < 0) {
        ehlo_session_end_saying(s, EHLO_SAY_FAILED, EHLO_CLOSE_REFUSED, EHLO_RESET_CLOSED);
        return len;
    }
    if (verdict == EHLO_REFUSE) {
        refuse_saying(s, &reply);
        return len;
    }
    if (taken >= len) return len;
    s->stalled = 1;
    s->since = s->now;
    return taken;
}

/* How much of these octets may belong to the message, and why no more. */
static size_t acceptable(const ehlo_server *s, const char *bytes, size_t len, ehlo_standard *why)
{
    uint64_t room = s->service->config.max_size - s->message_size;
    size_t ok = len;
    if (len > room) {
        ok = (size_t)room;
        *why = EHLO_SAY_TOO_BIG; /* RFC 1870 6.3: whatever SIZE= said */
    }
    if ((s->service->config.flags & EHLO_SERVICE_REFUSE_8BIT) && s->state.body < EHLO_BODY_8BITMIME) {
        size_t clean = ehlo_chars_find_high(ehlo_str_make(bytes, ok));
        if (clean < ok) *why = EHLO_SAY_8BIT;
        ok = clean;
    }
    return ok;
}

/* Hands decoded octets on. Returns how many were taken: all, unless the application stalls. */
static size_t deliver(ehlo_server *s, const char *bytes, size_t len)
{
    ehlo_standard why = EHLO_SAY_NOTHING;
    size_t ok, taken;
    if (s->draining) return len;
    ok = acceptable(s, bytes, len, &why);
    if (ok > 0) {
        taken = call_on_body(s, bytes, ok);
        s->message_size += taken;
        if (s->stalled) return taken;
    }
    if (ok < len && !s->draining && s->phase < EHLO_PHASE_CLOSING) refuse(s, why);
    return len;
}

/* -- the end ---------------------------------------------------------------------------------------- */

static void ask_message(ehlo_server *s, int chunked)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_message message;
    ehlo_token token;
    int verdict = EHLO_OK;
    message.size = s->message_size;
    message.recipients = s->state.recipients;
    message.body = s->state.body;
    message.smtputf8 = s->state.utf8;
    message.chunked = (uint8_t)chunked;
    ehlo_state_kill(&s->state); /* from here on it is the application's: never on_reset behind on_message */
    token = ehlo_session_ask(s, EHLO_ASKED_MESSAGE, EHLO_VERB_DATA);
    if (s->service->callbacks.on_message != NULL) {
        verdict = s->service->callbacks.on_message(s, token, &message, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

static void start_body(ehlo_server *s, ehlo_phase phase)
{
    s->phase = (uint8_t)phase;
    s->body_octets = 0;
    s->body_since = s->now;
}

/* -- DATA (RFC 5321 4.1.1.4) ------------------------------------------------------------------------ */

/* DATA, or the first BDAT. */
static void ask_data(ehlo_server *s, ehlo_question question, ehlo_verb verb)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token = ehlo_session_ask(s, question, verb);
    int verdict = EHLO_OK;
    if (s->service->callbacks.on_data != NULL) verdict = s->service->callbacks.on_data(s, token, &reply, s->user);
    ehlo_session_verdict(s, verdict, &reply);
}

void ehlo_session_data(ehlo_server *s, size_t behind)
{
    s->urgent = 1;
    if (behind > 0 && (s->service->config.flags & EHLO_SERVICE_EARLY_INPUT)) {
        ehlo_session_end_saying(s, EHLO_SAY_EARLY_DATA, EHLO_CLOSE_PROTOCOL, EHLO_RESET_LIMIT);
        return;
    }
    ask_data(s, EHLO_ASKED_DATA, EHLO_VERB_DATA);
}

void ehlo_session_data_begin(ehlo_server *s)
{
    start_body(s, EHLO_PHASE_DATA);
    ehlo_decoder_init(&s->decoder);
    s->message_size = 0;
    s->left = 0;
}

/* RFC 2033 4.2: in LMTP one for each recipient. */
static uint32_t data_results(const ehlo_server *s)
{
    return ehlo_session_is_lmtp(s) ? s->state.recipients : 1;
}

static void data_end(ehlo_server *s)
{
    s->phase = EHLO_PHASE_COMMAND;
    if (s->draining)
        ehlo_session_pay(s, data_results(s), EHLO_PAYING_MESSAGE);
    else
        ask_message(s, 0);
}

EHLO_COLD static void data_violated(ehlo_server *s, int what)
{
    if (!s->draining) refuse(s, what == EHLO_BODY_LONG ? EHLO_SAY_TEXT_LINE : EHLO_SAY_BARE);
}

/* One step of the decoder; returns the octets consumed. */
static size_t data_step(ehlo_server *s, const char *bytes, size_t len, int *what)
{
    ehlo_decoder before = s->decoder;
    ehlo_str slice;
    size_t used, taken;
    *what = ehlo_decode(&s->decoder, &s->service->codec, bytes, len, &used, &slice);
    if (slice.len == 0) return used;
    taken = deliver(s, slice.ptr, slice.len);
    if (taken == slice.len) return used;
    if (taken == 0) {
        s->decoder = before; /* as if the step had never been */
        return 0;
    }
    s->left = slice.len - taken;
    return used - (slice.len - taken);
}

size_t ehlo_session_take_data(ehlo_server *s, const char *bytes, size_t len)
{
    const size_t terminator = 3; /* ".CRLF" is no octet of the message */
    size_t at = 0, n;
    int what = EHLO_BODY_SLICE;
    while (at < len && what != EHLO_BODY_MORE) {
        if (s->left > 0) {
            n = deliver(s, bytes + at, s->left < len - at ? (size_t)s->left : len - at);
            s->left -= n;
        } else {
            n = data_step(s, bytes + at, len - at, &what);
        }
        at += n;
        if (s->stalled || s->phase != EHLO_PHASE_DATA) break;
        if (what >= EHLO_BODY_BARE_CR) data_violated(s, what);
        if (is_over_drained(s, s->body_octets + at - (what == EHLO_BODY_END ? terminator : 0))) {
            stop_draining(s, data_results(s));
            break;
        }
        if (what != EHLO_BODY_END) continue;
        data_end(s);
        break;
    }
    s->body_octets += at;
    if (at > 0 && !s->stalled) s->since = s->now;
    return at;
}

/* -- BDAT (RFC 3030 2) ------------------------------------------------------------------------------ */

/* RFC 2033 4.3: in LMTP the last chunk is answered once per recipient, in a transaction that has any. */
static uint32_t chunk_results(const ehlo_server *s)
{
    int inside = s->state.transaction != EHLO_TRANSACTION_NONE;
    return ehlo_session_is_lmtp(s) && s->chunk_last && inside ? s->state.recipients : 1;
}

static void chunk_end(ehlo_server *s)
{
    s->phase = EHLO_PHASE_COMMAND;
    if (s->draining) {
        ehlo_session_pay(s, chunk_results(s), s->chunk_last ? EHLO_PAYING_MESSAGE : EHLO_PAYING_CHUNK);
    } else if (s->chunk_last) {
        ask_message(s, 1);
    } else {
        ehlo_session_say(s, EHLO_SAY_CHUNK_OK);
    }
}

static void chunk_start(ehlo_server *s)
{
    start_body(s, EHLO_PHASE_CHUNK);
    if (s->left == 0) chunk_end(s);
}

/* RFC 3030 2: the octets of a refused chunk are read all the same, before its reply. */
static void chunk_drain(ehlo_server *s)
{
    if (s->left > s->service->config.drain_max)
        stop_draining(s, chunk_results(s));
    else
        chunk_start(s);
}

void ehlo_session_chunk_begin(ehlo_server *s)
{
    ehlo_state_chunk(&s->state);
    chunk_start(s);
}

void ehlo_session_chunk_refused(ehlo_server *s)
{
    start_draining(s);
    chunk_drain(s);
}

static void chunk_refuse(ehlo_server *s, ehlo_standard why)
{
    if (s->left > s->service->config.drain_max) why = EHLO_SAY_TOO_BIG;
    refuse(s, why);
    chunk_drain(s);
}

/* Counts a chunk as progress or not; 1 if the session has ended over it. */
static int chunk_counts(ehlo_server *s, uint64_t size, ehlo_standard no)
{
    if (no != EHLO_SAY_NOTHING && ehlo_session_count_bad(s, no)) {
        ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY_BAD, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
        return 1;
    }
    if (size < s->service->config.tiny_chunk) return ehlo_session_idle(s);
    if (no == EHLO_SAY_NOTHING) s->idle = 0;
    return 0;
}

void ehlo_session_chunk_unreadable(ehlo_server *s)
{
    ehlo_session_end_saying(s, EHLO_SAY_CHUNK_ARGUMENT, EHLO_CLOSE_PROTOCOL, EHLO_RESET_LIMIT);
}

void ehlo_session_chunk(ehlo_server *s, ehlo_str argument, ehlo_standard no)
{
    uint64_t size;
    int last;
    if (ehlo_bdat_parse(argument, &size, &last, NULL) != EHLO_OK) {
        ehlo_session_chunk_unreadable(s);
        return;
    }
    if (chunk_counts(s, size, no)) return;
    s->left = size;
    s->chunk_last = (uint8_t)last;
    if (s->state.transaction != EHLO_TRANSACTION_CHUNKS) s->message_size = 0;
    if (no != EHLO_SAY_NOTHING)
        chunk_refuse(s, no);
    else if (size > s->service->config.max_size - s->message_size)
        chunk_refuse(s, EHLO_SAY_TOO_BIG);
    else if (s->state.transaction == EHLO_TRANSACTION_CHUNKS)
        chunk_start(s);
    else
        ask_data(s, EHLO_ASKED_CHUNK, EHLO_VERB_BDAT);
}

size_t ehlo_session_take_chunk(ehlo_server *s, const char *bytes, size_t len)
{
    size_t taken = deliver(s, bytes, s->left < len ? (size_t)s->left : len);
    s->left -= taken;
    s->body_octets += taken;
    if (taken > 0 && !s->stalled) s->since = s->now;
    if (s->stalled || s->phase != EHLO_PHASE_CHUNK) return taken;
    if (is_over_drained(s, s->body_octets))
        stop_draining(s, chunk_results(s));
    else if (s->left == 0)
        chunk_end(s);
    return taken;
}
