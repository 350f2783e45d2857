#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#endif
#include "dialogue.h"
#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* -- names ------------------------------------------------------------------------------------------ */

static const script_named wants_bits[] = {
    { "READ", EHLO_WANT_READ },     { "WRITE", EHLO_WANT_WRITE },   { "TLS", EHLO_WANT_TLS },
    { "ANSWER", EHLO_WANT_ANSWER }, { "SECRET", EHLO_WANT_SECRET }, { "CLOSE", EHLO_WANT_CLOSE },
    { "NEXT", EHLO_WANT_NEXT },
};

static const char *const closes[] = { "open",  "quit",     "eof",     "lost",     "timeout",
                                      "limit", "protocol", "refused", "shutdown", "closed" };

/* -- faults and chance ------------------------------------------------------------------------------ */

static void fault(talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(talk *t, const char *format, ...)
{
    if (t->fault[0] != '\0') return;
    va_list args;
    va_start(args, format);
    vsnprintf(t->fault, sizeof t->fault, format, args);
    va_end(args);
}

static uint32_t draw(talk *t, uint32_t below)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 17;
    t->random ^= t->random << 5;
    return t->random % below;
}

static int is_over(const talk *t)
{
    return t->closing || ehlo_client_reason(t->client) != 0;
}

/* 1 if the transport takes nothing more for now. */
static int is_stalled(const talk *t)
{
    return t->stalled && t->out.len == t->stall_at;
}

/* -- the log ---------------------------------------------------------------------------------------- */

static void log_escaped(peer_text *log, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c <= 0x7E)
            peer_text_add(log, &bytes[i], 1);
        else
            peer_text_format(log, "\\x%02X", c);
    }
}

static void log_enhanced(peer_text *log, const uint16_t e[3])
{
    if (e[0] == 0 && e[1] == 0 && e[2] == 0)
        peer_text_format(log, " -");
    else
        peer_text_format(log, " %u.%u.%u", e[0], e[1], e[2]);
}

/* "250 2.0.0 one|two", or "none". A text of the library's own has no lines to take apart. */
static void log_reply(peer_text *log, const ehlo_reply *r)
{
    ehlo_str rest, text;
    int lines = 0;
    if (r == NULL) {
        peer_text_format(log, " none");
        return;
    }
    rest = r->text;
    peer_text_format(log, " %u", r->code);
    log_enhanced(log, r->enhanced);
    while (ehlo_reply_next(&rest, &text) > 0) {
        peer_text_add(log, lines++ == 0 ? " " : "|", 1);
        log_escaped(log, text.ptr, text.len < 200 ? text.len : 200);
    }
    if (lines > 0) return;
    peer_text_add(log, " ", 1);
    log_escaped(log, r->text.ptr, r->text.len < 200 ? r->text.len : 200);
}

/* r->text is a whole reply as it came. */
static void check_reply(talk *t, const ehlo_reply *r)
{
    char code[8];
    ehlo_str rest, text;
    int result;
    if (r == NULL) return;
    rest = r->text;
    while ((result = ehlo_reply_next(&rest, &text)) > 0) {}
    snprintf(code, sizeof code, "%03u", r->code);
    if (result < 0 || r->text.len < 3 || memcmp(r->text.ptr, code, 3) != 0) fault(t, "a reply whose text is none");
    if (r->enhanced[0] != 0 && r->enhanced[0] != r->code / 100) fault(t, "an enhanced code of another class");
}

/* -- secrets ---------------------------------------------------------------------------------------- */

static int holds_octets(const char *at, size_t len, const char *what, size_t n)
{
    for (; n > 0 && len >= n; at++, len--) {
        if (at[0] == what[0] && memcmp(at, what, n) == 0) return 1;
    }
    return 0;
}

/* Base64 of a secret behind 0, 1 or 2 octets of its first group; the digits that others share are left out. */
int talk_shows(const void *octets, size_t len, ehlo_str secret)
{
    static const size_t shared[] = { 0, 2, 3 };
    size_t room = (secret.len + 2) / 3 * 4 + 8, n;
    if (secret.len == 0) return 0;
    if (holds_octets(octets, len, secret.ptr, secret.len)) return 1;
    char *plain = must(calloc(1, secret.len + 2)), *digits = must(malloc(room));
    int shows = 0;
    for (size_t before = 0; before < COUNT(shared) && !shows; before++) {
        memcpy(plain + before, secret.ptr, secret.len);
        if (ehlo_base64_encode(ehlo_str_make(plain, before + secret.len), digits, room, &n) != EHLO_OK) abort();
        size_t whole = (before + secret.len) / 3 * 4;
        shows = whole > shared[before] && holds_octets(octets, len, digits + shared[before], whole - shared[before]);
    }
    free(plain);
    free(digits);
    return shows;
}

/* [C238] What the credentials hold must not be there. */
static void must_not_show(talk *t, const char *where, const void *octets, size_t len)
{
    const ehlo_credentials *credentials = &t->script->credentials;
    if (talk_shows(octets, len, credentials->password)) fault(t, "the password is in %s", where);
    if (talk_shows(octets, len, credentials->token)) fault(t, "the token is in %s", where);
}

static int is_one_of(const char *line, size_t len, const char *const *verbs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(verbs[i]);
        if (len >= n && memcmp(line, verbs[i], n) == 0 && (len == n || line[n] == ' ')) return 1;
    }
    return 0;
}

/* [C139] [C194] What may be said outside TLS, whatever the server does. */
static void check_clear(talk *t)
{
    static const char *const always[] = { "EHLO", "HELO", "LHLO", "STARTTLS", "QUIT" };
    const dialogue *d = t->script;
    int policy = d->opening.tls;
    if (policy == EHLO_TLS_DEFAULT && d->opening.credentials != NULL) policy = EHLO_TLS_REQUIRED;
    int must_be_tls = d->opens && (policy == EHLO_TLS_REQUIRED || policy == EHLO_TLS_WRAPPED);
    if (!d->credentials.clear) must_not_show(t, "clear text", t->out.ptr, t->clear);
    if (!(d->config.flags & EHLO_CLIENT_TRACE_SECRETS))
        must_not_show(t, "the trace", t->trace_out.ptr, t->trace_out.len);
    if (policy == EHLO_TLS_WRAPPED && t->clear > 0) fault(t, "clear text though TLS is to wrap all");
    for (size_t at = 0; at < t->clear && must_be_tls;) {
        const char *end = memchr(t->out.ptr + at, '\r', t->clear - at);
        size_t len = end != NULL ? (size_t)(end - t->out.ptr) - at : t->clear - at;
        /* One that was cut off has to be the beginning of a line that the script knows. */
        if (end != NULL && !is_one_of(t->out.ptr + at, len, always, COUNT(always))) {
            fault(t, "said in clear: %.*s", (int)len, t->out.ptr + at);
        }
        at += len + 2;
    }
}

/* -- what no callback may do ------------------------------------------------------------------------ */

static void must_be(talk *t, const char *call, int result, int wanted)
{
    if (result != wanted) fault(t, "%s gave %d, not %d", call, result, wanted);
}

/* Facts are readable anywhere, and agree. */
static void check_facts(talk *t)
{
    uint64_t deadline;
    unsigned wants = ehlo_client_status(t->client, &deadline);
    if (wants != ehlo_client_wants(t->client)) fault(t, "status and wants differ");
    if (deadline != ehlo_client_deadline(t->client)) fault(t, "status and deadline differ");
    if (ehlo_client_user(t->client) != t) fault(t, "user is not what was given");
    if (ehlo_client_offers(t->client) == NULL) fault(t, "no offers");
    (void)ehlo_client_problem(t->client);
    (void)ehlo_client_greeted(t->client);
    (void)ehlo_client_tls_facts(t->client);
}

/* [C235] From inside any callback. */
static void reenter(talk *t, const char *from, int commands_too)
{
    static const int R = EHLO_ERR_REENTRY;
    ehlo_client *c = t->client;
    size_t used = 0;
    char call[96];
    snprintf(call, sizeof call, "a call from inside %s", from);
    if (!t->mode.reenter) return;
    check_facts(t);
    must_be(t, call, ehlo_client_start(c, t->now, NULL, NULL), R);
    must_be(t, call, ehlo_client_feed(c, t->now, "250 x\r\n", 7, &used), R);
    must_be(t, call, ehlo_client_flush(c, t->now), R);
    must_be(t, call, ehlo_client_tls_started(c, t->now, 0, NULL), R);
    must_be(t, call, ehlo_client_tick(c, t->now + 1000000000u), R);
    must_be(t, call, ehlo_client_eof(c, t->now), R);
    must_be(t, call, ehlo_client_lost(c), R);
    must_be(t, call, ehlo_client_push(c, t->now, "x", 1, 0, &used), R);
    must_be(t, call, ehlo_client_close(c), R);
    if (!commands_too) return;
    snprintf(call, sizeof call, "a command from inside %s", from);
    must_be(t, call, ehlo_client_hello(c, NULL, NULL), R);
    must_be(t, call, ehlo_client_command(c, EHLO_VERB_RSET, ehlo_str_make(NULL, 0), NULL, NULL, NULL), R);
    must_be(t, call, ehlo_client_auth(c, ehlo_str_from("PLAIN"), ehlo_str_from("x"), NULL, NULL, NULL), R);
    must_be(t, call, ehlo_client_auth_answer(c, ehlo_str_from("x"), NULL, NULL), R);
    must_be(t, call, ehlo_client_message(c, 1, NULL, NULL), R);
    must_be(t, call, ehlo_client_chunk(c, 1, 1, 1, NULL, NULL), R);
}

static void reenter_transaction(talk_send *s, const char *from)
{
    talk *t = s->t;
    size_t used = 0;
    reenter(t, from, 0);
    if (!t->mode.reenter || s->transaction == NULL || s->done) return;
    if (ehlo_transaction_client(s->transaction) != t->client) fault(t, "a transaction of another client");
    must_be(t, "push from inside", ehlo_transaction_push(s->transaction, t->now, "x", 1, 0, &used), EHLO_ERR_REENTRY);
    must_be(t, "cancel from inside", ehlo_transaction_cancel(s->transaction, t->now), EHLO_ERR_REENTRY);
}

/* -- the transport ---------------------------------------------------------------------------------- */

/* What the client may have said by now: all that stands before the server's next line. */
static size_t allowed(const talk *t)
{
    for (size_t i = t->at; i < t->script->step_count; i++) {
        if (t->script->steps[i].kind == DIALOGUE_SERVER) return t->script->steps[i].said;
    }
    return t->script->said.len;
}

static void take(talk *t, const char *bytes, size_t len)
{
    const peer_text *said = &t->script->said;
    size_t at = t->out.len;
    for (size_t i = 0; i < len; i++, at++) {
        if (at < said->len && bytes[i] == said->ptr[at]) continue;
        peer_text shown = { 0 };
        size_t from = i > 40 ? i - 40 : 0;
        log_escaped(&shown, bytes + from, len - from < 120 ? len - from : 120);
        fault(t, "the client's octet %zu is not the script's: ...%s", at, shown.ptr);
        peer_text_free(&shown);
        break;
    }
    peer_text_add(&t->out, bytes, len);
    if (!t->tls) t->clear = t->out.len;
    if (t->out.len > allowed(t))
        fault(t, "octet %zu was said before the server's line %d", t->out.len,
              t->at < t->script->step_count ? t->script->steps[t->at].line : 0);
}

static void note_write(talk *t, size_t before)
{
    const char *bytes = t->out.ptr + before;
    size_t len = t->out.len - before;
    if (len == 0) return;
    t->rounds_open = 0;
    if (t->writes < TALK_WRITES) t->ends[t->writes] = t->out.len;
    t->writes++;
    if (len == 3 && memcmp(bytes, ".\r\n", 3) == 0) t->lone_ends++;
    if (len == 5 && memcmp(bytes, "\r\n.\r\n", 5) == 0) t->lone_tails++;
}

/* Octets of `total` that the transport takes now. */
static size_t room_for(talk *t, size_t total)
{
    size_t room = total, left = t->mode.stop_out - t->out.len;
    t->write_calls++;
    if (t->mode.write_blocks && t->write_calls % 2 == 1) return 0;
    if (t->stalled && room > t->stall_at - t->out.len) room = t->stall_at - t->out.len;
    if (t->mode.write_max > 0 && room > t->mode.write_max) room = t->mode.write_max;
    if (t->mode.stop != STOP_NEVER && room > left) {
        room = left;
        t->stopped = left == 0;
    }
    return room;
}

static int on_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    talk *t = user;
    size_t total = 0, before = t->out.len;
    (void)c;
    reenter(t, "write", 1);
    for (size_t i = 0; i < n; i++) total += parts[i].len;
    if (total == 0) fault(t, "a write of nothing");
    if (t->gone) fault(t, "a write after the transport was gone");
    size_t room = room_for(t, total), left = room;
    *taken = 0;
    if (t->stopped && t->mode.stop == STOP_GONE) t->gone = 1;
    if (t->gone) return -1;
    for (size_t i = 0; i < n && left > 0; i++) {
        size_t len = parts[i].len < left ? parts[i].len : left;
        take(t, parts[i].ptr, len);
        left -= len;
    }
    note_write(t, before);
    *taken = room;
    t->blocked = room < total;
    return 0;
}

/* -- the application: commands ---------------------------------------------------------------------- */

static void pump(talk *t);
static void after_call(talk *t, const char *call, int result);

/* What stands next may be done from inside the callback that answered the last thing. */
static void from_inside(talk *t)
{
    if (t->mode.inside && !t->script->outside && t->in_callback == 1) pump(t);
}

static void on_reply(ehlo_client *c, const ehlo_reply *r, void *user)
{
    talk_slot *slot = user;
    talk *t = slot->t;
    t->in_callback++;
    if (c != t->client) fault(t, "a completion of another client");
    if (slot->dead) fault(t, "a completion of a command that was refused");
    if (t->closes > 0) fault(t, "a completion after on_close");
    if (slot->got == slot->replies) fault(t, "%s completes more often than it may", slot->name);
    if (r == NULL && ehlo_client_reason(c) == 0) fault(t, "no reply, and no reason");
    check_reply(t, r);
    slot->got++;
    if (slot->got == slot->replies) t->awaiting--;
    peer_text_format(&t->log, "reply %s", slot->name);
    log_reply(&t->log, r);
    peer_text_add(&t->log, "\n", 1);
    if (r != NULL && strcmp(slot->name, "hello") == 0 && r->code / 100 == 2) {
        ehlo_str verb = ehlo_verb_name(ehlo_client_greeted(c));
        peer_text_format(&t->log, "greeted %.*s\n", (int)verb.len, verb.ptr);
    }
    reenter(t, "a completion", 0);
    from_inside(t);
    t->in_callback--;
}

static talk_slot *new_slot(talk *t, const char *name, unsigned replies)
{
    if (t->slot_count == TALK_SLOTS) abort();
    talk_slot *slot = &t->slots[t->slot_count++];
    slot->t = t;
    slot->replies = replies;
    snprintf(slot->name, sizeof slot->name, "%s", name);
    return slot;
}

static void on_capability(ehlo_client *c, ehlo_str keyword, ehlo_str args, void *user)
{
    talk *t = user;
    (void)c;
    t->in_callback++;
    peer_text_format(&t->log, "cap ");
    log_escaped(&t->log, keyword.ptr, keyword.len < 60 ? keyword.len : 60);
    if (args.len > 0) peer_text_add(&t->log, " ", 1);
    log_escaped(&t->log, args.ptr, args.len < 60 ? args.len : 60);
    peer_text_add(&t->log, "\n", 1);
    reenter(t, "on_capability", 1);
    t->in_callback--;
}

static void on_close(ehlo_client *c, int reason, void *user)
{
    talk *t = user;
    ehlo_str problem = ehlo_client_problem(c);
    t->in_callback++;
    t->closes++;
    t->closed_reason = reason;
    if (reason < 1 || reason >= (int)COUNT(closes)) fault(t, "closed for reason %d", reason);
    if (t->awaiting > 0) fault(t, "on_close before %u completions", t->awaiting);
    peer_text_format(&t->log, "close %s", reason > 0 && reason < (int)COUNT(closes) ? closes[reason] : "?");
    if (problem.len > 0) peer_text_format(&t->log, " (%.*s)", (int)problem.len, problem.ptr);
    peer_text_add(&t->log, "\n", 1);
    reenter(t, "on_close", 1);
    t->in_callback--;
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    talk *t = user;
    peer_text *trace = direction == EHLO_TRACE_IN ? &t->trace_in : &t->trace_out;
    (void)c;
    t->in_callback++;
    if (secret && (bytes.ptr == NULL) != !(t->script->config.flags & EHLO_CLIENT_TRACE_SECRETS)) {
        fault(t, "a secret in the trace, or none where it should be");
    }
    if (bytes.ptr == NULL && bytes.len > 0)
        peer_text_format(trace, "(%zu octets)", bytes.len);
    else
        log_escaped(trace, bytes.ptr, bytes.len);
    peer_text_add(trace, "\n", 1);
    if (bytes.len > 0 && bytes.ptr != NULL && memchr(bytes.ptr, '\n', bytes.len) != NULL) fault(t, "a traced line end");
    reenter(t, "on_trace", 1);
    t->in_callback--;
}

static void *lend(size_t len, void *ctx)
{
    talk *t = ctx;
    t->lends++;
    if (t->mode.fail_lend != 0 && t->lends >= t->mode.fail_lend) return NULL;
    t->blocks_lent++;
    return must(calloc(1, len)); /* nothing is in it that others left */
}

static void give_back(void *mem, size_t len, void *ctx)
{
    talk *t = ctx;
    must_not_show(t, "a block that is given back", mem, len);
    memset(mem, 0xA5, len);
    free(mem);
    t->blocks_lent--;
}

/* -- the application: the opening ------------------------------------------------------------------- */

/* What a failed step means for a message follows from the reply that decided. */
static ehlo_outcome outcome_of(const ehlo_opened *opened)
{
    if (opened->stage == EHLO_STAGE_NONE) return EHLO_OUTCOME_NONE;
    if (opened->reply == NULL) return EHLO_OUTCOME_NOT_SENT;
    if (opened->reply->code / 100 == 5) return EHLO_OUTCOME_REJECTED;
    return opened->reply->code / 100 == 4 ? EHLO_OUTCOME_DEFERRED : EHLO_OUTCOME_NOT_SENT;
}

static void log_opened(talk *t, const ehlo_opened *opened)
{
    ehlo_str stage = ehlo_stage_name(opened->stage), outcome = ehlo_outcome_name(opened->outcome);
    ehlo_str mechanism = ehlo_sasl_name(opened->mechanism);
    if (opened->stage == EHLO_STAGE_NONE) {
        peer_text_format(&t->log, "opened %.*s\n", (int)mechanism.len, mechanism.ptr);
        return;
    }
    peer_text_format(&t->log, "failed %.*s %.*s", (int)stage.len, stage.ptr, (int)outcome.len, outcome.ptr);
    log_reply(&t->log, opened->reply);
    peer_text_format(&t->log, " (%.*s)\n", (int)opened->problem.len, opened->problem.ptr);
}

/* [C238] The memory is given up inside, so that a later use of it shows. */
static void end_opening(talk *t)
{
    must_not_show(t, "the memory of the opening", t->opening_mem, t->opening_size);
    free(t->opening_mem);
    t->opening_mem = NULL;
}

static void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    talk *t = user;
    t->in_callback++;
    t->awaiting--;
    if (t->opened++ > 0) fault(t, "it is opened twice");
    if (t->closes > 0) fault(t, "opened after on_close");
    if (c != t->client) fault(t, "another client was opened");
    if (opened->outcome != outcome_of(opened)) fault(t, "an outcome that is not the reply's");
    if ((opened->problem.len == 0) != (opened->stage == EHLO_STAGE_NONE))
        fault(t, "a problem, or none, without reason");
    if (opened->stage == EHLO_STAGE_NONE && ehlo_client_reason(c) != 0) fault(t, "open, and over");
    check_reply(t, opened->reply);
    log_opened(t, opened);
    if (t->opened == 1) end_opening(t);
    if (ehlo_client_reason(c) == 0) must_not_show(t, "the session's memory", t->mem, t->mem_size);
    reenter(t, "on_opened", 0);
    from_inside(t);
    t->in_callback--;
}

static void start_opening(talk *t)
{
    t->opening_size = ehlo_opening_size(&t->script->opening);
    t->opening_mem = must(malloc(t->opening_size > 0 ? t->opening_size : 1));
    memset(t->opening_mem, 0x5A, t->opening_size);
    t->awaiting++;
    after_call(
        t, "opening",
        ehlo_opening_start(t->opening_mem, t->opening_size, t->client, t->now, &t->script->opening, on_opened, t));
}

/* -- the application: transactions ------------------------------------------------------------------ */

static int giving(const talk *t)
{
    return t->script->give == GIVE_ANY ? t->mode.give : t->script->give;
}

static size_t piece_size(const talk *t, size_t left)
{
    size_t pieces = t->script->give == GIVE_ANY ? t->mode.pieces : t->script->pieces;
    return pieces == 0 || pieces > left ? left : pieces;
}

static void free_piece(talk_send *s)
{
    free(s->piece);
    s->piece = NULL;
}

/* Each piece lives in memory of its own, of exactly its size, until the next. */
static int on_body(ehlo_transaction *tr, uint64_t offset, ehlo_str *piece, int *last, void *user)
{
    talk_send *s = user;
    talk *t = s->t;
    size_t len = s->message->content.len;
    (void)tr;
    t->in_callback++;
    reenter_transaction(s, "body");
    t->in_callback--;
    free_piece(s);
    if (offset > len || (offset != 0 && offset > s->reached))
        fault(t, "octets from %llu on are asked for", (unsigned long long)offset);
    if (s->resting) fault(t, "the body is asked for before resume");
    if (t->mode.later && s->calls++ % 2 == 0) {
        s->resting = 1;
        return EHLO_LATER;
    }
    size_t n = piece_size(t, len - (size_t)offset);
    s->piece = must(malloc(n + 1));
    s->piece = must(realloc(s->piece, n > 0 ? n : 1));
    if (n > 0) memcpy(s->piece, s->message->content.ptr + offset, n);
    *piece = ehlo_str_make(s->piece, n);
    *last = offset + n == len;
    s->reached = (size_t)offset + n;
    return EHLO_OK;
}

static void on_rcpt(ehlo_transaction *tr, size_t index, const ehlo_reply *r, void *user)
{
    talk_send *s = user;
    talk *t = s->t;
    (void)tr;
    t->in_callback++;
    if (s->done) fault(t, "on_rcpt after on_done");
    if (index >= s->envelope.nrcpts) {
        fault(t, "on_rcpt for recipient %zu", index);
    } else {
        ehlo_recipient *rcpt = &s->rcpts[index];
        peer_text_format(&t->log, "rcpt %zu", index);
        log_reply(&t->log, r);
        ehlo_str name = ehlo_outcome_name((ehlo_outcome)rcpt->outcome);
        if (rcpt->outcome != EHLO_OUTCOME_NONE) peer_text_format(&t->log, " = %.*s", (int)name.len, name.ptr);
        s->told += rcpt->outcome != EHLO_OUTCOME_NONE;
        peer_text_add(&t->log, "\n", 1);
        if (r == NULL && rcpt->outcome == EHLO_OUTCOME_NONE) fault(t, "no reply and no outcome");
    }
    reenter_transaction(s, "on_rcpt");
    t->in_callback--;
}

static void on_next(ehlo_transaction *tr, void *user)
{
    talk_send *s = user;
    talk *t = s->t;
    (void)tr;
    t->in_callback++;
    if (s->done) fault(t, "on_next comes after on_done");
    if (!(ehlo_client_wants(t->client) & EHLO_WANT_NEXT)) fault(t, "on_next, but NEXT is not wanted");
    peer_text_format(&t->log, "next\n");
    reenter_transaction(s, "on_next");
    from_inside(t);
    t->in_callback--;
}

static void log_outcomes(talk_send *s)
{
    talk *t = s->t;
    for (size_t i = 0; i < s->envelope.nrcpts; i++) {
        const ehlo_recipient *r = &s->rcpts[i];
        ehlo_str outcome = ehlo_outcome_name((ehlo_outcome)r->outcome), stage = ehlo_stage_name((ehlo_stage)r->stage);
        peer_text_format(&t->log, "outcome %.*s %.*s %.*s %u", (int)r->to.len, r->to.ptr, (int)outcome.len, outcome.ptr,
                         (int)stage.len, stage.ptr, r->code);
        log_enhanced(&t->log, r->enhanced);
        peer_text_add(&t->log, "\n", 1);
    }
}

static void on_done(ehlo_transaction *tr, int outcome, void *user)
{
    talk_send *s = user;
    talk *t = s->t;
    int worst = 0;
    (void)tr;
    t->in_callback++;
    if (s->done) fault(t, "on_done comes twice");
    if (t->closes > 0) fault(t, "on_done after on_close");
    s->done = 1;
    for (size_t i = 0; i < s->envelope.nrcpts; i++) {
        if (s->rcpts[i].outcome == EHLO_OUTCOME_NONE) fault(t, "recipient %zu has no outcome", i);
        if (s->rcpts[i].outcome > worst) worst = s->rcpts[i].outcome;
    }
    if (s->told != s->envelope.nrcpts) fault(t, "%zu recipients of %zu were told", s->told, s->envelope.nrcpts);
    if (worst != outcome) fault(t, "the worst outcome is %d, not %d", worst, outcome);
    ehlo_str name = ehlo_outcome_name((ehlo_outcome)outcome);
    peer_text_format(&t->log, "done %.*s\n", (int)name.len, name.ptr);
    log_outcomes(s);
    t->pushes[s - t->sends].open = 0;
    reenter_transaction(s, "on_done");
    from_inside(t);
    t->in_callback--;
}

static const ehlo_transaction_callbacks transaction_callbacks = { on_body, on_rcpt, on_next, on_done };

static void prepare_send(talk *t, talk_send *s, const dialogue_message *m)
{
    size_t room = m->nrcpts * sizeof *s->rcpts;
    memset(s, 0, sizeof *s);
    s->t = t;
    s->message = m;
    s->mem = must(malloc(ehlo_transaction_size()));
    s->rcpts = must(malloc(room > 0 ? room : 1));
    if (room > 0) memcpy(s->rcpts, m->rcpts, room);
    s->envelope = m->envelope;
    s->envelope.rcpts = s->rcpts;
    s->envelope.nrcpts = m->nrcpts;
    s->content = must(malloc(m->content.len + 1));
    s->content = must(realloc(s->content, m->content.len > 0 ? m->content.len : 1));
    if (m->content.len > 0) memcpy(s->content, m->content.ptr, m->content.len);
    if (giving(t) == GIVE_MEMORY) s->envelope.content = ehlo_str_make(s->content, m->content.len);
}

static void free_send(talk_send *s)
{
    free_piece(s);
    free(s->content);
    free(s->rcpts);
    free(s->mem);
    memset(s, 0, sizeof *s);
}

static int act_send(talk *t, const dialogue_step *step)
{
    ehlo_envelope_fault bad = { 0 };
    ehlo_transaction_callbacks callbacks = transaction_callbacks;
    talk_send *s = &t->sends[t->send_count];
    int waits = !(ehlo_client_wants(t->client) & EHLO_WANT_NEXT) && !is_over(t);
    if (waits && step->expected == EHLO_OK) return EHLO_ERR_FULL;
    prepare_send(t, s, &t->script->messages[step->message]);
    if (giving(t) != GIVE_PULL) callbacks.body = NULL;
    t->send_count++; /* it may be over before start returns */
    int result = ehlo_transaction_start(&s->transaction, s->mem, ehlo_transaction_size(), t->client, &s->envelope,
                                        &callbacks, s, &bad);
    if (result != EHLO_OK) {
        if (s->done) fault(t, "a transaction that was refused goes on");
        free_send(s);
        t->send_count--;
        if (result == EHLO_ERR_ARG) peer_text_format(&t->log, "wrong %s of %zu\n", bad.member, bad.recipient);
        return result;
    }
    if (giving(t) == GIVE_PUSH && !s->done) {
        t->pushes[s - t->sends] = (talk_push){ 1, s->content, s->message->content.len, 0, 0, s };
    }
    return EHLO_OK;
}

/* -- the application: actions ----------------------------------------------------------------------- */

typedef struct action {
    char word[96];    /* the first */
    const char *rest; /* behind it, or NULL */
    size_t rest_len;
} action;

static action take_apart(const dialogue_step *step)
{
    action a = { { 0 }, NULL, 0 };
    snprintf(a.word, sizeof a.word, "%s", step->subject);
    size_t len = strlen(a.word);
    if (len < step->len) {
        a.rest = step->text + len + 1;
        a.rest_len = step->len - len - 1;
    }
    return a;
}

static int act_command(talk *t, const action *a, const dialogue_step *step, talk_slot *slot)
{
    for (int verb = 1; verb < EHLO_VERB_COUNT; verb++) {
        ehlo_str name = ehlo_verb_name((ehlo_verb)verb);
        if (name.len == strlen(a->word) && memcmp(name.ptr, a->word, name.len) == 0) {
            return ehlo_client_command(t->client, (ehlo_verb)verb, ehlo_str_make(a->rest, a->rest_len), on_reply, slot,
                                       NULL);
        }
    }
    return ehlo_client_command(t->client, EHLO_VERB_UNKNOWN, ehlo_str_make(step->text, step->len), on_reply, slot,
                               NULL);
}

static int act_path(talk *t, const action *a, talk_slot *slot)
{
    size_t len = strcspn(a->rest, " ");
    ehlo_str mailbox = ehlo_str_make(a->rest, len);
    ehlo_str params = ehlo_str_from(a->rest[len] == ' ' ? a->rest + len + 1 : NULL);
    ehlo_mail_command mail = { .mailbox = mailbox, .params = params };
    ehlo_rcpt_command rcpt = { .mailbox = mailbox, .params = params };
    if (a->word[0] == 'm') return ehlo_client_mail(t->client, &mail, on_reply, slot, NULL);
    return ehlo_client_rcpt(t->client, &rcpt, on_reply, slot, NULL);
}

static int act_auth(talk *t, const action *a, talk_slot *slot)
{
    size_t len = strcspn(a->rest, " ");
    ehlo_str response = { NULL, 0 };
    if (a->rest[len] == ' ') response = ehlo_str_make(a->rest + len + 1, a->rest_len - len - 1);
    return ehlo_client_auth(t->client, ehlo_str_make(a->rest, len), response, on_reply, slot, NULL);
}

/* "message 1 octets", "chunk last 1 octets" */
static int act_body(talk *t, const action *a, talk_slot *slot)
{
    int chunk = a->word[0] == 'c', last = 0, result;
    const char *at = a->rest, *end = a->rest + a->rest_len;
    if (chunk) {
        last = *at == 'l';
        at += 5;
    }
    char *bytes;
    slot->replies = (unsigned)strtoul(at, &bytes, 10);
    if (bytes < end) bytes++;
    size_t len = (size_t)(end - bytes);
    if (chunk)
        result = ehlo_client_chunk(t->client, len, last, slot->replies, on_reply, slot);
    else
        result = ehlo_client_message(t->client, slot->replies, on_reply, slot);
    if (result != EHLO_OK || (chunk && len == 0)) return result;
    t->push = (talk_push){ 1, bytes, len, 0, 0, NULL };
    return result;
}

static int act_one(talk *t, const dialogue_step *step, talk_slot *slot)
{
    action a = take_apart(step);
    if (strcmp(a.word, "hello") == 0) return ehlo_client_hello(t->client, on_reply, slot);
    if (strcmp(a.word, "mail") == 0 || strcmp(a.word, "rcpt") == 0) return act_path(t, &a, slot);
    if (strcmp(a.word, "auth") == 0) return act_auth(t, &a, slot);
    if (strcmp(a.word, "message") == 0 || strcmp(a.word, "chunk") == 0) return act_body(t, &a, slot);
    if (strcmp(a.word, "cancel") == 0)
        return ehlo_client_auth_answer(t->client, ehlo_str_make(NULL, 0), on_reply, slot);
    if (strcmp(a.word, "answer") == 0) {
        return ehlo_client_auth_answer(t->client, ehlo_str_make(a.rest != NULL ? a.rest : "", a.rest_len), on_reply,
                                       slot);
    }
    return act_command(t, &a, step, slot);
}

/* 1 if the library will take it later: there is no room, or a transaction's message is on its way. */
static int not_yet(const talk *t, int result)
{
    int sending = 0;
    for (size_t i = 0; i < t->send_count; i++) sending |= !t->sends[i].done;
    return result == EHLO_ERR_FULL || (result == EHLO_ERR_STATE && sending);
}

static int act(talk *t, const dialogue_step *step)
{
    if (strcmp(step->subject, "send") == 0) return act_send(t, step);
    if (strcmp(step->subject, "give-up") == 0) {
        return ehlo_transaction_cancel(t->sends[t->send_count - 1].transaction, t->now);
    }
    talk_slot *slot = new_slot(t, step->subject, 1);
    t->awaiting++;
    int result = act_one(t, step, slot);
    if (result != EHLO_OK) {
        if (slot->got > 0) fault(t, "a command that was refused completed");
        t->awaiting--;
        slot->dead = !not_yet(t, result);
        if (!slot->dead) t->slot_count--;
    }
    return result;
}

/* Actions that wait, in order, until one is refused for now. Returns how many were taken. */
static unsigned run_queue(talk *t)
{
    unsigned taken = 0;
    while (t->queue_first < t->queue_count) {
        const dialogue_step *step = &t->script->steps[t->queue[t->queue_first]];
        if (t->push.open && step->expected == EHLO_OK && !is_over(t)) break; /* inside a body */
        if (t->in_callback > 0 && strcmp(step->subject, "give-up") == 0) break;
        int result = act(t, step);
        if (not_yet(t, result) && step->expected == EHLO_OK && !is_over(t)) break;
        t->queue_first++;
        if (result <= EHLO_ERR_FATAL) {
            t->result = result;
            t->closing = 1;
            return taken;
        }
        taken += result == EHLO_OK;
        if (step->expected != EHLO_OK && result != step->expected) {
            fault(t, "line %d: the library says %s", step->line, dialogue_error_name(result));
        } else if (step->expected == EHLO_OK && result != EHLO_OK) {
            peer_text_format(&t->log, "refused %s %s\n", step->subject, dialogue_error_name(result));
        }
    }
    return taken;
}

/* Nothing of ours waits for the server. */
static int is_idle(const talk *t)
{
    if (t->awaiting > 0) return 0;
    for (size_t i = 0; i < t->send_count; i++) {
        if (!t->sends[i].done) return 0;
    }
    return 1;
}

/* Queues the actions that stand next; takes what can be taken. Inside a callback. */
static void pump(talk *t)
{
    while (is_idle(t) && t->part == 0 && t->at < t->script->step_count) {
        dialogue_kind kind = t->script->steps[t->at].kind;
        if (kind == DIALOGUE_ACTION)
            t->queue[t->queue_count++] = t->at;
        else if (kind > DIALOGUE_NO_EVENT && kind != DIALOGUE_MARK)
            break;
        else if (kind < DIALOGUE_ACTION)
            break;
        t->at++;
    }
    run_queue(t);
}

/* -- calls and checks ------------------------------------------------------------------------------- */

static void after_call(talk *t, const char *call, int result)
{
    if (result == EHLO_ERR_TRANSPORT || result == EHLO_ERR_MEMORY) {
        t->closing = 1;
        t->result = result;
        return;
    }
    if (result != EHLO_OK) {
        t->result = result;
        fault(t, "%s gave %d", call, result);
    }
    check_facts(t);
    if (t->blocked && !is_over(t) && !(ehlo_client_wants(t->client) & EHLO_WANT_WRITE)) {
        fault(t, "the transport took too little, but WRITE is not wanted after %s", call);
    }
    t->blocked = 0;
}

static void pester(talk *t)
{
    if (!t->mode.pester || t->closing) return;
    must_be(t, "a second start", ehlo_client_start(t->client, t->now, NULL, NULL), EHLO_ERR_STATE);
    if (!(ehlo_client_wants(t->client) & EHLO_WANT_TLS)) {
        must_be(t, "tls_started", ehlo_client_tls_started(t->client, t->now, 0, NULL), EHLO_ERR_STATE);
    }
    size_t used = 7;
    if (!t->push.open && is_idle(t)) {
        must_be(t, "push without a body", ehlo_client_push(t->client, t->now, "x", 1, 0, &used), EHLO_ERR_STATE);
    }
    after_call(t, "feed of nothing", ehlo_client_feed(t->client, t->now, NULL, 0, &used));
}

static void between(talk *t)
{
    if (t->closing) return;
    if (t->mode.ticks) after_call(t, "tick", ehlo_client_tick(t->client, t->now));
    pester(t);
}

/* -- moves: 1 if something moved -------------------------------------------------------------------- */

static int move_queue(talk *t)
{
    size_t first = t->queue_first;
    unsigned taken = run_queue(t);
    if (taken > 0 && !t->closing) after_call(t, "flush", ehlo_client_flush(t->client, t->now));
    return t->queue_first > first;
}

static int move_flush(talk *t)
{
    unsigned calls = t->write_calls;
    if (!(ehlo_client_wants(t->client) & EHLO_WANT_WRITE) || is_stalled(t) || t->stopped) return 0;
    after_call(t, "flush", ehlo_client_flush(t->client, t->now));
    if (t->write_calls == calls && !t->closing && (ehlo_client_wants(t->client) & EHLO_WANT_WRITE)) {
        fault(t, "flush writes nothing though WRITE is wanted");
    }
    return 1;
}

static int push_octets(talk *t, talk_push *p, size_t n, int last, size_t *used)
{
    if (p->send == NULL) return ehlo_client_push(t->client, t->now, p->bytes + p->at, n, last, used);
    return ehlo_transaction_push(p->send->transaction, t->now, p->bytes + p->at, n, last, used);
}

/* What a push said, when it took none of the octets that it might have: 1 if there is more to be tried. */
static int push_again(talk *t, talk_push *p, int cut)
{
    if (cut && p->more < 2) {
        p->more++;
        return 1;
    }
    return !p->open || (!is_stalled(t) && (ehlo_client_wants(t->client) & EHLO_WANT_WRITE));
}

static int push_some(talk *t, talk_push *p)
{
    size_t left = p->len - p->at, n = piece_size(t, left), used = 0;
    n = n + p->more < left ? n + p->more : left;
    int result = push_octets(t, p, n, n == left, &used);
    if (!p->open) return 1;                            /* the transaction ended meanwhile */
    if (p->send != NULL && result == EHLO_ERR_STATE) { /* nothing more of it is wanted */
        p->open = 0;
        return 1;
    }
    if (result == EHLO_ERR_SYNTAX) {
        peer_text_format(&t->log, "octet %zu may not be sent\n", p->at + used);
        p->open = 0;
        return 1;
    }
    after_call(t, "push", result);
    if (used > n) fault(t, "push used more than it was given");
    p->at += used;
    if (result == EHLO_OK && used == n && n == left) p->open = 0;
    if (used == 0) return push_again(t, p, n < left);
    p->more = 0;
    return 1;
}

static int move_push(talk *t)
{
    if (ehlo_client_wants(t->client) & EHLO_WANT_WRITE) return 0;
    if (t->push.open && is_over(t)) t->push.open = 0;
    if (t->push.open && push_some(t, &t->push)) return 1;
    for (size_t i = 0; i < t->send_count; i++) {
        if (t->pushes[i].open) return push_some(t, &t->pushes[i]);
    }
    return 0;
}

static int move_resume(talk *t)
{
    int moved = 0;
    for (size_t i = 0; i < t->send_count && !t->closing; i++) {
        talk_send *s = &t->sends[i];
        if (!s->resting || s->done) continue;
        s->resting = 0;
        after_call(t, "resume", ehlo_transaction_resume(s->transaction, t->now));
        moved = 1;
    }
    return moved;
}

/* The octets held, flush against a page that can't be read. */
static char *arena_load(talk *t)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), len = t->hold.len;
    if (t->arena == NULL || t->arena_len < len) {
        if (t->arena != NULL) munmap(t->arena, t->arena_len + page);
        t->arena_len = (len / page + 1) * page;
        t->arena = mmap(NULL, t->arena_len + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (t->arena == MAP_FAILED || mprotect(t->arena + t->arena_len, page, PROT_NONE) != 0) abort();
    }
    if (len > 0) memcpy(t->arena + t->arena_len - len, t->hold.ptr, len);
    return t->arena + t->arena_len - len;
}

static int move_feed(talk *t)
{
    unsigned before = ehlo_client_wants(t->client);
    size_t len = t->hold.len, used = SIZE_MAX;
    if (len == 0 || (!(before & EHLO_WANT_READ) && !is_over(t))) return 0;
    char *bytes = arena_load(t);
    int result = ehlo_client_feed(t->client, t->now, bytes, len, &used);
    memset(bytes, 0xDD, len); /* no view may outlive the call */
    if (result == EHLO_OK && used > len) {
        fault(t, "feed used more than it was given");
        return 0;
    }
    if (result != EHLO_OK) used = len;
    unsigned after = ehlo_client_wants(t->client);
    size_t rest = len - used;
    if (result == EHLO_OK && rest > 0 && (after & EHLO_WANT_READ) && rest >= ehlo_client_input_min(t->client)) {
        fault(t, "live-lock: READ wanted, %zu octets offered, %zu used", len, used);
    }
    if (rest > 0) memmove(t->hold.ptr, t->hold.ptr + used, rest);
    t->hold.len = rest;
    after_call(t, "feed", result);
    return used > 0 || before != after;
}

static int move_once(talk *t)
{
    static int (*const moves[])(talk *) = { move_queue, move_flush, move_push, move_resume, move_feed };
    unsigned first = t->mode.cut == PEER_RANDOM ? draw(t, 5) : 0;
    for (unsigned i = 0; i < 5; i++) {
        if (t->fault[0] != '\0' || t->closing || t->stopped) return 0;
        if (moves[(first + i) % 5](t)) {
            between(t);
            return 1;
        }
    }
    return 0;
}

static void settle(talk *t)
{
    size_t budget = 100000 + 64 * t->script->said.len;
    while (move_once(t)) {
        if (budget-- == 0) fault(t, "it never settles");
    }
}

/* -- steps ------------------------------------------------------------------------------------------ */

static size_t next_piece(talk *t, size_t left)
{
    size_t len = left;
    if (t->mode.cut == PEER_BYTES) len = 1;
    if (t->mode.cut == PEER_RANDOM) len = draw(t, 8) == 0 ? 1 + draw(t, 400) : 1 + draw(t, 9);
    if (len > left) len = left;
    if (t->mode.stop != STOP_NEVER && t->heard + len > t->mode.stop_in) len = t->mode.stop_in - t->heard;
    return len;
}

/* Releases a piece of the server's line; whole ones go together with those that follow. */
static void release(talk *t)
{
    if (!t->rounds_open) {
        t->rounds++;
        t->writes_before = t->writes;
    }
    t->rounds_open = 1;
    do {
        const dialogue_step *step = &t->script->steps[t->at];
        size_t len = next_piece(t, step->len - t->part);
        peer_text_add(&t->hold, step->text + t->part, len);
        t->heard += len;
        t->part += len;
        if (t->part < step->len) break;
        t->part = 0;
        t->at++;
    } while (t->mode.cut == PEER_WHOLE && t->at < t->script->step_count &&
             t->script->steps[t->at].kind == DIALOGUE_SERVER);
    if (t->mode.stop != STOP_NEVER && t->heard == t->mode.stop_in) {
        settle(t);
        t->stopped = 1;
    }
}

/* Words that name bits which must be set, or with '!' must not. */
static void check_bits(talk *t, const dialogue_step *step, const script_named *table, size_t count, uint32_t bits)
{
    for (const char *word = step->text; *word != '\0';) {
        size_t len = strcspn(word, " "), absent = word[0] == '!';
        long bit = script_name(table, count, word + absent, len - absent);
        if (bit < 0 || ((bits & (uint32_t)bit) == 0) != (absent == 1)) {
            fault(t, "line %d: it is %#x, not %s", step->line, bits, step->text);
        }
        word += len + (word[len] == ' ');
    }
}

static void step_deadline(talk *t, const dialogue_step *step)
{
    uint64_t deadline = ehlo_client_deadline(t->client);
    uint64_t wanted = step->number == UINT64_MAX ? UINT64_MAX : t->now + step->number;
    if (deadline != wanted) {
        fault(t, "line %d: the deadline is in %lld ms", step->line, (long long)(deadline - t->now));
    }
}

static void step_writes(talk *t, const dialogue_step *step)
{
    int whole = t->mode.cut == PEER_WHOLE && t->mode.write_max == 0 && !t->mode.write_blocks;
    if (!whole || !(t->mode.inside || t->script->outside) || t->mode.stop != STOP_NEVER) return;
    if (t->script->give == GIVE_ANY && (t->mode.give != GIVE_MEMORY || t->mode.later)) return;
    if (t->writes - t->writes_before != step->number) {
        fault(t, "line %d: %u writes", step->line, t->writes - t->writes_before);
    }
}

static void step_rounds(talk *t, const dialogue_step *step)
{
    if (t->rounds - t->rounds_before != step->number) {
        fault(t, "line %d: %u round trips", step->line, t->rounds - t->rounds_before);
    }
    t->rounds_before = t->rounds;
}

static const ehlo_tls_facts *facts_of(const talk *t)
{
    static const ehlo_tls_facts verified = { .version = { "TLSv1.3", 7 }, .cipher = { "X", 1 }, .peer_verified = 1 };
    static const ehlo_tls_facts unverified = { .version = { "TLSv1.3", 7 }, .cipher = { "X", 1 } };
    return t->script->unverified ? &unverified : &verified;
}

static void step_tls(talk *t, const dialogue_step *step)
{
    size_t held = (size_t)step->number + t->hold.len;
    if (!(ehlo_client_wants(t->client) & EHLO_WANT_TLS)) {
        fault(t, "line %d: TLS is not wanted", step->line);
        return;
    }
    t->hold.len = 0;
    t->tls = held == 0;
    after_call(t, "tls_started", ehlo_client_tls_started(t->client, t->now, held, facts_of(t)));
    if (held == 0 && ehlo_client_tls_facts(t->client) != facts_of(t)) fault(t, "TLS facts are not what was given");
    if (held > 0 && !is_over(t)) fault(t, "held octets do not end the session");
}

static void lose(talk *t)
{
    must_be(t, "lost", ehlo_client_lost(t->client), EHLO_OK);
    if (ehlo_client_wants(t->client) != EHLO_WANT_CLOSE) fault(t, "lost, but wants is not CLOSE alone");
    if (ehlo_client_deadline(t->client) != UINT64_MAX) fault(t, "lost, but there is a deadline");
    t->closing = 1;
}

static void end_input(talk *t)
{
    settle(t);
    t->hold.len = 0;
    after_call(t, "eof", ehlo_client_eof(t->client, t->now));
    if (!t->closing && !is_over(t)) fault(t, "eof does not end the session");
}

static void step_end(talk *t, const dialogue_step *step)
{
    if (strcmp(step->text, "stall") == 0 || strncmp(step->text, "take ", 5) == 0) {
        t->stalled = 1;
        t->stall_at = t->out.len + (step->text[0] == 't' ? strtoul(step->text + 5, NULL, 10) : 0);
    } else if (strcmp(step->text, "flow") == 0)
        t->stalled = 0;
    else if (strcmp(step->text, "eof") == 0)
        end_input(t);
    else if (strcmp(step->text, "lost") == 0)
        lose(t);
    else if (strcmp(step->text, "gone") == 0) {
        t->mode.stop = STOP_GONE;
        t->mode.stop_out = t->out.len;
        t->mode.stop_in = SIZE_MAX;
    } else
        fault(t, "line %d: not understood", step->line);
}

static void step_pass(talk *t, uint64_t ms)
{
    t->now += ms;
    after_call(t, "tick", ehlo_client_tick(t->client, t->now));
}

/* A step that neither side says. */
static void step_other(talk *t, const dialogue_step *step)
{
    switch (step->kind) {
    case DIALOGUE_ACTION:
        t->queue[t->queue_count++] = t->at;
        break;
    case DIALOGUE_WANTS:
        check_bits(t, step, wants_bits, COUNT(wants_bits), ehlo_client_wants(t->client));
        break;
    case DIALOGUE_OFFERS:
        check_bits(t, step, script_caps, script_caps_count, ehlo_client_offers(t->client)->caps);
        break;
    case DIALOGUE_DEADLINE:
        step_deadline(t, step);
        break;
    case DIALOGUE_WRITES:
        step_writes(t, step);
        break;
    case DIALOGUE_ROUNDS:
        step_rounds(t, step);
        break;
    case DIALOGUE_PASS:
        step_pass(t, step->number);
        break;
    case DIALOGUE_TLS:
        step_tls(t, step);
        break;
    case DIALOGUE_END:
        step_end(t, step);
        break;
    default:
        break;
    }
}

/* The client waits for the server: somebody must be watching the clock. */
static void check_patience(talk *t)
{
    if (is_over(t) || is_idle(t)) return;
    if (ehlo_client_deadline(t->client) == UINT64_MAX) fault(t, "it waits for the server without a deadline");
}

static void walk(talk *t)
{
    const dialogue *d = t->script;
    while (t->fault[0] == '\0' && !t->closing && !t->stopped) {
        int batch = t->at > 0 && t->at < d->step_count && d->steps[t->at].kind == DIALOGUE_ACTION &&
                    d->steps[t->at - 1].kind == DIALOGUE_ACTION;
        if (!batch) settle(t);
        if (t->at == d->step_count || t->stopped || t->closing) break;
        const dialogue_step *step = &d->steps[t->at];
        if (step->kind == DIALOGUE_SERVER) {
            if (t->part == 0) check_patience(t);
            release(t);
        } else if (step->kind == DIALOGUE_CLIENT) {
            if (t->out.len < step->said + step->len && !t->stalled && !(t->mode.fail_lend && is_over(t))) {
                fault(t, "line %d: the client does not say it", step->line);
            }
            t->at++;
        } else {
            step_other(t, step);
            t->at++;
        }
    }
    if (!t->closing && !t->stopped && t->fault[0] == '\0') settle(t);
}

/* -- the end ---------------------------------------------------------------------------------------- */

static void run_out_of_time(talk *t)
{
    t->stalled = 1;
    t->stall_at = t->out.len;
    for (int i = 0; i < 8 && !is_over(t); i++) {
        uint64_t deadline = ehlo_client_deadline(t->client);
        if (deadline == UINT64_MAX || deadline < t->now) {
            if (!is_idle(t)) fault(t, "it waits without a deadline");
            return;
        }
        t->now = deadline;
        after_call(t, "tick", ehlo_client_tick(t->client, t->now));
    }
    if (!is_over(t)) fault(t, "deadlines do not end it");
}

static void stop(talk *t)
{
    int kind = t->mode.stop;
    if (t->closing || is_over(t)) return;
    t->hold.len = 0;
    if (kind == STOP_EOF || kind == STOP_GONE) after_call(t, "eof", ehlo_client_eof(t->client, t->now));
    if (kind == STOP_LOST) lose(t);
    if (kind == STOP_TIMEOUT) run_out_of_time(t);
}

static void end(talk *t)
{
    int result = ehlo_client_close(t->client);
    if (result != EHLO_OK) fault(t, "close gave %d", result);
    must_not_show(t, "the memory of a closed session", t->mem, t->mem_size);
    memset(t->mem, 0xA5, t->mem_size);
    if (t->closes != 1) fault(t, "on_close came %d times", t->closes);
    if (t->blocks_lent != 0) fault(t, "an output block was not given back");
    if (t->script->opens && t->opened != 1) fault(t, "the opening ended %u times", t->opened);
    check_clear(t);
    for (size_t i = 0; i < t->slot_count; i++) {
        const talk_slot *slot = &t->slots[i];
        if (!slot->dead && slot->got != slot->replies) fault(t, "%s never completed", slot->name);
    }
    for (size_t i = 0; i < t->send_count; i++) {
        if (!t->sends[i].done) fault(t, "transaction %zu was never done", i);
    }
    if (t->mode.stop == STOP_NEVER && t->mode.fail_lend == 0 && t->out.len != t->script->said.len) {
        fault(t, "the client said %zu octets of %zu", t->out.len, t->script->said.len);
    }
}

static talk *talk_new(const dialogue *d, const talk_mode *mode)
{
    static const ehlo_client_callbacks callbacks = { on_write, on_capability, on_close, on_trace };
    talk *t = must(calloc(1, sizeof *t));
    ehlo_client_config config = d->config;
    t->script = d;
    t->mode = *mode;
    if (t->mode.stop == STOP_NEVER) t->mode.stop_out = t->mode.stop_in = SIZE_MAX;
    t->now = 1000;
    t->queue = must(calloc(d->step_count + 1, sizeof *t->queue));
    t->random = mode->seed * 2654435761u + 1;
    peer_text_add(&t->out, "", 0);
    peer_text_add(&t->log, "", 0);
    peer_text_add(&t->trace_in, "", 0);
    peer_text_add(&t->trace_out, "", 0);
    if (d->lend != LEND_ANY) t->mode.lender = d->lend == LEND_ALWAYS;
    if (t->mode.lender) config.lender = (ehlo_lender){ lend, give_back, t };
    t->mem_size = ehlo_client_size(&config);
    t->mem = must(malloc(t->mem_size > 0 ? t->mem_size : 1));
    memset(t->mem, 0x5A, t->mem_size);
    int result = ehlo_client_init(&t->client, t->mem, t->mem_size, &config, &callbacks, t);
    if (result != EHLO_OK) fault(t, "init gave %d", result);
    return t;
}

static void start(talk *t)
{
    if (t->script->wrapped) {
        t->tls = 1;
        after_call(t, "tls_started", ehlo_client_tls_started(t->client, t->now, 0, facts_of(t)));
        if (ehlo_client_tls_facts(t->client) != facts_of(t)) fault(t, "TLS facts are not what was given");
    }
    if (t->script->opens) {
        start_opening(t);
        return;
    }
    talk_slot *greeting = new_slot(t, "greeting", 1);
    t->awaiting++;
    after_call(t, "start", ehlo_client_start(t->client, t->now, on_reply, greeting));
}

talk *talk_run(const dialogue *d, const talk_mode *mode)
{
    talk *t = talk_new(d, mode);
    if (t->fault[0] != '\0') return t;
    start(t);
    if (t->mode.stop != STOP_NEVER && t->mode.stop_in == 0) t->stopped = 1;
    walk(t);
    if (t->stopped) stop(t);
    end(t);
    return t;
}

void talk_free(talk *t)
{
    peer_text *texts[] = { &t->log, &t->out, &t->trace_in, &t->trace_out, &t->hold };
    for (size_t i = 0; i < COUNT(texts); i++) peer_text_free(texts[i]);
    for (size_t i = 0; i < t->send_count; i++) free_send(&t->sends[i]);
    if (t->arena != NULL) munmap(t->arena, t->arena_len + (size_t)sysconf(_SC_PAGESIZE));
    free(t->queue);
    free(t->opening_mem);
    free(t->mem);
    free(t);
}

/* -- judgement -------------------------------------------------------------------------------------- */

static size_t line_length(const char *line)
{
    return strcspn(line, "\n");
}

static const char *line_after(const char *line)
{
    size_t len = line_length(line);
    return line + len + (line[len] == '\n');
}

static int judge_event(const dialogue_step *step, const char **log, peer_text *why)
{
    const char *event = *log;
    for (; *event != '\0'; event = line_after(event)) {
        if (peer_matches(step->text, event, line_length(event))) {
            *log = line_after(event);
            return 1;
        }
        if (step->kind == DIALOGUE_NEXT_EVENT) break;
    }
    peer_text_format(why, "line %d: expected `%s`, got `%.*s`\n", step->line, step->text, (int)line_length(event),
                     *event != '\0' ? event : "(no such event)");
    return 0;
}

static int judge_no_event(const talk *t, const dialogue_step *step, peer_text *why)
{
    for (const char *event = t->log.ptr; *event != '\0'; event = line_after(event)) {
        if (!peer_matches(step->text, event, line_length(event))) continue;
        peer_text_format(why, "line %d: there is `%s`\n", step->line, step->text);
        return 0;
    }
    return 1;
}

static int has_marks(const dialogue *d)
{
    for (size_t i = 0; i < d->step_count; i++) {
        if (d->steps[i].kind == DIALOGUE_MARK) return 1;
    }
    return 0;
}

static int judge_outcomes(const talk *t, peer_text *why)
{
    for (size_t i = 0; i < t->send_count; i++) {
        const talk_send *s = &t->sends[i];
        for (size_t r = 0; r < s->envelope.nrcpts; r++) {
            ehlo_outcome wanted = dialogue_outcome(t->script, s->rcpts[r].to.ptr, t->out.len, t->heard);
            if (s->rcpts[r].outcome == wanted) continue;
            peer_text_format(why, "%s: outcome %u, not %u (%zu octets taken, %zu heard)\n", s->rcpts[r].to.ptr,
                             s->rcpts[r].outcome, (unsigned)wanted, t->out.len, t->heard);
            return 0;
        }
    }
    return 1;
}

static void show(const talk *t, peer_text *why)
{
    peer_text_format(why, "-- [%s, seed %u] %s\n-- events\n", t->mode.name, t->mode.seed, t->fault);
    peer_text_add(why, t->log.ptr, t->log.len);
    peer_text_format(why, "-- octets\n");
    size_t from = t->out.len > 2000 ? t->out.len - 2000 : 0;
    peer_text_add(why, t->out.ptr + from, t->out.len - from);
    peer_text_format(why, "\n");
}

static int sound(const talk *t, peer_text *why)
{
    if (t->fault[0] == '\0') return 1;
    show(t, why);
    return 0;
}

int talk_judge(const talk *t, peer_text *why)
{
    const dialogue *d = t->script;
    const char *log = t->log.ptr;
    int good = sound(t, why);
    if (!good) return 0;
    for (size_t i = 0; i < d->step_count && good; i++) {
        const dialogue_step *step = &d->steps[i];
        if (step->kind == DIALOGUE_EVENT || step->kind == DIALOGUE_NEXT_EVENT) good = judge_event(step, &log, why);
        if (step->kind == DIALOGUE_NO_EVENT) good = judge_no_event(t, step, why);
    }
    if (good && has_marks(d)) good = judge_outcomes(t, why);
    if (!good) show(t, why);
    return good;
}

static int same(const peer_text *a, const peer_text *b)
{
    return a->len == b->len && memcmp(a->ptr, b->ptr, a->len) == 0;
}

/* 1 if the script's transport stops: what was never offered to it need not be in the trace. */
static int stalls(const dialogue *d)
{
    for (size_t i = 0; i < d->step_count; i++) {
        const char *text = d->steps[i].text;
        if (d->steps[i].kind == DIALOGUE_END && (text[0] == 's' || text[0] == 't')) return 1;
    }
    return 0;
}

int talk_alike(const talk *a, const talk *b, peer_text *why)
{
    if (!sound(b, why)) return 0;
    if (same(&a->log, &b->log) && same(&a->out, &b->out) && same(&a->trace_in, &b->trace_in) &&
        (stalls(a->script) || same(&a->trace_out, &b->trace_out))) {
        return 1;
    }
    peer_text_format(why, "-- the reference\n");
    show(a, why);
    peer_text_format(why, "-- differs\n");
    show(b, why);
    if (same(&a->log, &b->log) && same(&a->out, &b->out)) {
        peer_text_format(why, "-- traces in\n");
        peer_text_add(why, a->trace_in.ptr, a->trace_in.len);
        peer_text_format(why, "--\n");
        peer_text_add(why, b->trace_in.ptr, b->trace_in.len);
        peer_text_format(why, "-- traces out\n");
        peer_text_add(why, a->trace_out.ptr, a->trace_out.len);
        peer_text_format(why, "--\n");
        peer_text_add(why, b->trace_out.ptr, b->trace_out.len);
    }
    return 0;
}

static int compare(const dialogue *d, const talk *reference, const talk_mode *mode, peer_text *why)
{
    talk *t = talk_run(d, mode);
    int good = talk_alike(reference, t, why);
    talk_free(t);
    return good;
}

int dialogue_holds(const dialogue *d, unsigned seeds, peer_text *why)
{
    peer_text_add(why, "", 0);
    if (d->error[0] != '\0') {
        peer_text_format(why, "%s\n", d->error);
        return 0;
    }
    talk *reference = talk_run(d, &talk_modes[0]);
    int good = talk_judge(reference, why);
    for (size_t i = 1; i < talk_mode_count && good; i++) good = compare(d, reference, &talk_modes[i], why);
    for (unsigned seed = 1; seed <= seeds && good; seed++) {
        talk_mode mode = talk_mode_random(seed);
        good = compare(d, reference, &mode, why);
    }
    talk_free(reference);
    return good;
}

/* Each loan fails in its turn, until none is left to fail [C236]. */
int dialogue_starves(const dialogue *d, peer_text *why)
{
    int good = 1, reached = 1;
    peer_text_add(why, "", 0);
    for (unsigned n = 1; n < 1000 && good && reached; n++) {
        talk_mode mode = { .name = "no memory", .inside = (int)(n & 1), .lender = 1, .fail_lend = n };
        talk *t = talk_run(d, &mode);
        reached = t->lends >= n;
        good = sound(t, why);
        if (good && reached && t->result != EHLO_ERR_MEMORY && t->closed_reason != EHLO_CLOSE_LOST) {
            peer_text_format(why, "the session goes on without memory\n");
            good = 0;
        }
        talk_free(t);
    }
    return good;
}

static int drop(const dialogue *d, const talk_mode *mode, peer_text *why)
{
    talk *t = talk_run(d, mode);
    int good = sound(t, why) && (!has_marks(d) || judge_outcomes(t, why));
    if (!good) {
        peer_text_format(why, "dropped (%d) at octet %zu out, %zu in\n", mode->stop, mode->stop_out, mode->stop_in);
        if (t->fault[0] == '\0') show(t, why);
    }
    talk_free(t);
    return good;
}

int dialogue_drops(const dialogue *d, peer_text *why)
{
    int good = 1;
    peer_text_add(why, "", 0);
    if (d->error[0] != '\0') {
        peer_text_format(why, "%s\n", d->error);
        return 0;
    }
    for (int kind = STOP_GONE; kind < STOP_KINDS && good; kind++) {
        talk_mode mode = { .name = "dropped", .inside = kind & 1, .lender = kind & 1, .stop = kind };
        mode.stop_in = SIZE_MAX;
        for (size_t at = 0; at <= d->said.len && good; at++) {
            mode.stop_out = at;
            mode.give = (int)(at % 3);
            mode.pieces = at % 5;
            mode.write_max = at % 4 == 3 ? 7 : 0;
            good = drop(d, &mode, why);
        }
        mode.stop_out = SIZE_MAX;
        for (size_t at = 0; at <= d->heard.len && good; at++) {
            mode.stop_in = at;
            mode.cut = at & 1 ? PEER_BYTES : PEER_WHOLE;
            good = drop(d, &mode, why);
        }
    }
    return good;
}

/* -- manners ---------------------------------------------------------------------------------------- */

const talk_mode talk_modes[] = {
    { .name = "whole, inside", .inside = 1 },
    { .name = "whole" },
    { .name = "bytes", .cut = PEER_BYTES },
    { .name = "bytes, inside, lender", .cut = PEER_BYTES, .inside = 1, .lender = 1 },
    { .name = "whole, ticks", .inside = 1, .ticks = 1 },
    { .name = "writer takes one octet", .write_max = 1, .give = GIVE_PULL },
    { .name = "writer takes three, blocks, lender",
      .write_max = 3,
      .write_blocks = 1,
      .inside = 1,
      .lender = 1,
      .give = GIVE_PUSH,
      .pieces = 5 },
    { .name = "writer takes seven, pushed by ones", .write_max = 7, .give = GIVE_PUSH, .pieces = 1 },
    { .name = "blocks", .write_blocks = 1, .inside = 1, .give = GIVE_PULL, .pieces = 2 },
    { .name = "pulled by ones", .give = GIVE_PULL, .pieces = 1, .inside = 1 },
    { .name = "pulled by threes, later", .give = GIVE_PULL, .pieces = 3, .later = 1, .inside = 1 },
    { .name = "pulled whole, later, blocks", .give = GIVE_PULL, .later = 1, .write_blocks = 1 },
    { .name = "pushed whole", .give = GIVE_PUSH },
    { .name = "pushed by ones, lender", .give = GIVE_PUSH, .pieces = 1, .inside = 1, .lender = 1 },
    { .name = "pestered", .pester = 1, .cut = PEER_BYTES, .inside = 1 },
    { .name = "re-entered", .reenter = 1, .inside = 1, .give = GIVE_PULL },
    { .name = "random, re-entered", .cut = PEER_RANDOM, .seed = 5, .reenter = 1, .write_max = 40 },
};
const size_t talk_mode_count = COUNT(talk_modes);

talk_mode talk_mode_random(unsigned seed)
{
    talk dice = { .random = seed * 2246822519u + 3266489917u };
    talk_mode mode = { .name = "random", .cut = PEER_RANDOM, .seed = seed };
    if (dice.random == 0) dice.random = 1;
    for (int i = 0; i < 8; i++) (void)draw(&dice, 2);
    mode.write_max = draw(&dice, 3) == 0 ? 0 : 1 + draw(&dice, 20);
    mode.write_blocks = (int)draw(&dice, 2);
    mode.inside = (int)draw(&dice, 2);
    mode.ticks = (int)draw(&dice, 2);
    mode.reenter = draw(&dice, 4) == 0;
    mode.pester = draw(&dice, 4) == 0;
    mode.lender = (int)draw(&dice, 2);
    mode.give = (int)draw(&dice, 3);
    mode.pieces = draw(&dice, 3) == 0 ? 0 : 1 + draw(&dice, 12);
    mode.later = (int)draw(&dice, 2);
    return mode;
}
