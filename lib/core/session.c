#include "session.h"

#include <string.h>

/* -- replies ---------------------------------------------------------------------------------------- */

/* RFC 5321 4.2.3: a greeting, 221 and 421 begin with our domain. */
static int names_us(const ehlo_server *s, unsigned code)
{
    return code == 221 || code == 421 || ehlo_session_is_greeting(s, code);
}

/* Our domain in front of the text, in `room` of cap octets. EHLO_ERR_ARG: that is too long for a line. */
static int name_ourselves(const ehlo_server *s, ehlo_str *text, char *room, size_t cap)
{
    ehlo_str host = s->service->config.hostname;
    if (host.len + 1 + text->len > cap) return EHLO_ERR_ARG;
    memcpy(room, host.ptr, host.len);
    room[host.len] = ' ';
    if (text->len > 0) memcpy(room + host.len + 1, text->ptr, text->len);
    *text = ehlo_str_make(room, host.len + 1 + text->len);
    return EHLO_OK;
}

/* RFC 2034 4: on all but the greeting, hello replies and 3yz; never after HELO, where nothing is offered. */
static int enhanced(const ehlo_server *s)
{
    return !s->bare && s->state.hello != EHLO_VERB_HELO &&
           (s->service->offer.extensions & EHLO_CAP_ENHANCEDSTATUSCODES);
}

static unsigned reply_flags(const ehlo_server *s)
{
    unsigned flags = s->utf8 || s->state.utf8 ? EHLO_REPLY_UTF8 : 0;
    return enhanced(s) ? flags | EHLO_REPLY_ENHANCED : flags;
}

static int render_hello(const ehlo_server *s, const ehlo_reply *reply, char *out, size_t *len)
{
    ehlo_fault fault;
    if (ehlo_reply_check(reply, 0, &fault) != EHLO_OK) return EHLO_ERR_ARG;
    if (reply->text.len > 0 && memchr(reply->text.ptr, '\n', reply->text.len) != NULL) return EHLO_ERR_ARG;
    return ehlo_service_hello(s->service, ehlo_rules_offered(&s->state, &s->service->offer), s->tls_facts,
                              s->verb != EHLO_VERB_HELO, reply->text, out, len);
}

/* RFC 4954 4: "334" SP base64. */
static int render_challenge(const ehlo_server *s, ehlo_str challenge, char *out, size_t *len)
{
    if (ehlo_base64_encode(challenge, out + 4, s->service->reply_max - 6, len) != EHLO_OK) return EHLO_ERR_ARG;
    memcpy(out, "334 ", 4);
    memcpy(out + 4 + *len, "\r\n", 2);
    *len += 6;
    return EHLO_OK;
}

static int render(const ehlo_server *s, const ehlo_reply *reply, char *out, size_t cap, size_t *len)
{
    char text[512];
    ehlo_reply named = *reply;
    unsigned flags = reply_flags(s);
    if (s->question == EHLO_ASKED_HELLO && reply->code == 250) return render_hello(s, reply, out, len);
    if (s->question == EHLO_ASKED_AUTH && reply->code == 334) return render_challenge(s, reply->text, out, len);
    if (names_us(s, reply->code) && name_ourselves(s, &named.text, text, sizeof text) != EHLO_OK) return EHLO_ERR_ARG;
    if (ehlo_session_is_greeting(s, reply->code)) flags &= ~(unsigned)EHLO_REPLY_ENHANCED;
    return ehlo_reply_write(&named, flags, out, cap, len, NULL) == EHLO_OK ? EHLO_OK : EHLO_ERR_ARG;
}

/* Octets kept for a reply: for the largest, but for the last one, a 421, not more than one line. */
static size_t reply_room(const ehlo_server *s)
{
    return s->phase == EHLO_PHASE_CLOSING ? 512 : s->service->reply_max;
}

/* Room for a reply. NULL only for a 421 over a full block, which there is no way left to say, or where the lender
 * has nothing, which ends the session. */
static char *room(ehlo_server *s)
{
    int failed = 0;
    char *at = ehlo_out_room(&s->out, &s->service->config.lender, reply_room(s), &failed);
    if (failed) s->fatal = (uint8_t)-EHLO_ERR_MEMORY;
    return at;
}

int ehlo_session_say_reply(ehlo_server *s, const ehlo_reply *reply)
{
    size_t len = 0;
    char *at = room(s);
    int err = at == NULL ? EHLO_OK : render(s, reply, at, reply_room(s), &len);
    if (err != EHLO_OK) return err;
    ehlo_out_added(&s->out, len);
    s->since = s->now;
    return EHLO_OK;
}

int ehlo_session_hold_reply(ehlo_server *s, const ehlo_reply *reply)
{
    uint32_t before = ehlo_out_length(&s->out);
    int err = ehlo_session_say_reply(s, reply);
    uint32_t added = ehlo_out_length(&s->out) - before;
    if (err == EHLO_OK && added > 0) ehlo_out_hold(&s->out, added);
    return err;
}

EHLO_COLD static void say_naming_us(ehlo_server *s, ehlo_standard which)
{
    ehlo_reply reply = ehlo_standard_reply(which);
    (void)ehlo_session_say_reply(s, &reply);
}

void ehlo_session_say(ehlo_server *s, ehlo_standard which)
{
    char *at;
    s->since = s->now;
    if (which >= EHLO_SAY_NAMING_US) {
        say_naming_us(s, which);
        return;
    }
    if (enhanced(s) && ehlo_out_stand(&s->out, ehlo_standard_lines[which].line, ehlo_standard_lines[which].len)) return;
    at = room(s);
    if (at == NULL) return;
    ehlo_out_added(&s->out, enhanced(s) ? ehlo_standard_write(which, at) : ehlo_standard_write_bare(which, at));
}

/* -- counters --------------------------------------------------------------------------------------- */

/* Codes that tell a peer it speaks badly; others tell it that it asks too much. */
static int is_bad(unsigned code)
{
    return (code >= 500 && code <= 504) || code == 521 || code == 555;
}

int ehlo_session_count_bad(ehlo_server *s, ehlo_standard which)
{
    return is_bad(ehlo_standard_code(which)) && ++s->bad > s->service->config.max_bad;
}

void ehlo_session_bad(ehlo_server *s, ehlo_standard which)
{
    if (ehlo_session_count_bad(s, which)) {
        ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY_BAD, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    } else {
        ehlo_session_say(s, which);
    }
}

int ehlo_session_idle(ehlo_server *s)
{
    if (++s->idle <= s->service->config.max_idle_commands) return 0;
    ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY_IDLE, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    return 1;
}

/* -- endings ---------------------------------------------------------------------------------------- */

void ehlo_session_forget(ehlo_server *s, ehlo_reset reason)
{
    if (!ehlo_state_open(&s->state)) return;
    ehlo_state_kill(&s->state);
    if (s->service->callbacks.on_reset == NULL) return;
    s->running = EHLO_RUNNING_CALLBACK;
    s->service->callbacks.on_reset(s, (int)reason, s->user);
    s->running = EHLO_RUNNING_NOTHING;
}

void ehlo_session_reset(ehlo_server *s, ehlo_reset reason)
{
    ehlo_session_forget(s, reason);
    ehlo_state_end(&s->state);
}

void ehlo_session_end(ehlo_server *s, ehlo_close close, ehlo_reset reset)
{
    if (s->phase >= EHLO_PHASE_CLOSING) return;
    if (s->question != EHLO_ASKED_NOTHING) s->spent = s->token;
    if (s->phase == EHLO_PHASE_AUTH || s->question == EHLO_ASKED_AUTH) ehlo_session_auth_cancel(s);
    s->question = EHLO_ASKED_NOTHING;
    ehlo_session_forget(s, reset);
    s->results = 0;
    s->paying = EHLO_PAYING_NOTHING;
    s->draining = 0;
    s->stalled = 0;
    ehlo_out_drop_held(&s->out);
    s->reason = (uint8_t)close;
    s->phase = EHLO_PHASE_CLOSING;
    s->since = s->now;
}

void ehlo_session_end_saying(ehlo_server *s, ehlo_standard which, ehlo_close close, ehlo_reset reset)
{
    ehlo_session_end(s, close, reset);
    ehlo_session_say(s, which);
}

void ehlo_session_drop(ehlo_server *s, ehlo_close close, ehlo_reset reset)
{
    ehlo_session_end(s, close, reset);
    ehlo_out_clear(&s->out, &s->service->config.lender);
    s->phase = EHLO_PHASE_CLOSED;
}

int ehlo_session_reads(const ehlo_server *s)
{
    if ((s->fatal | s->eof) != 0) return 0;
    if (!ehlo_session_converses(s)) {
        return s->phase == EHLO_PHASE_GREETING && (s->service->config.flags & EHLO_SERVICE_EARLY_INPUT) != 0;
    }
    return (s->question | s->stalled) == 0 && s->results == 0 && ehlo_out_fits(&s->out, s->service->reply_max);
}

/* -- transport -------------------------------------------------------------------------------------- */

void ehlo_session_trace(ehlo_server *s, int direction, ehlo_str bytes, int secret)
{
    uint8_t was = s->running;
    if (secret && !(s->service->config.flags & EHLO_SERVICE_TRACE_SECRETS)) bytes.ptr = NULL;
    s->running = EHLO_RUNNING_CALLBACK;
    s->service->callbacks.on_trace(s, direction, bytes, secret, s->user);
    s->running = was;
}

EHLO_COLD static void write_failed(ehlo_server *s)
{
    s->fatal = (uint8_t)-EHLO_ERR_TRANSPORT;
    ehlo_session_drop(s, EHLO_CLOSE_LOST, EHLO_RESET_LOST);
}

/* The challenges of SCRAM or CRAM-MD5 are half of what it takes to try passwords against. */
static void trace_written(ehlo_server *s, ehlo_str written)
{
    ehlo_session_trace(s, EHLO_TRACE_OUT, written, s->challenging);
    if (written.len == ehlo_out_length(&s->out)) s->challenging = 0;
}

void ehlo_session_write(ehlo_server *s)
{
    ehlo_str waiting = ehlo_out_waiting(&s->out);
    size_t taken = 0;
    int err;
    s->running = EHLO_RUNNING_CALLBACK;
    err = s->service->callbacks.write(s, &waiting, 1, &taken, s->user);
    s->running = EHLO_RUNNING_NOTHING;
    if (err < 0) {
        write_failed(s);
        return;
    }
    if (taken > waiting.len) taken = waiting.len;
    if (ehlo_session_traces(s) && taken > 0) trace_written(s, ehlo_str_make(waiting.ptr, taken));
    ehlo_out_taken(&s->out, taken);
    s->urgent = 0;
    if (taken > 0 || !s->blocked) s->blocked_since = s->now;
    s->blocked = taken < waiting.len;
}

void ehlo_session_stop_if_told(ehlo_server *s)
{
    if (s->question != EHLO_ASKED_NOTHING || s->results > 0) return;
    if (s->phase != EHLO_PHASE_COMMAND && s->phase != EHLO_PHASE_AUTH) return;
    if (ehlo_state_open(&s->state) || s->line_skipping) return;
    ehlo_session_end_saying(s, EHLO_SAY_SHUTDOWN, EHLO_CLOSE_SHUTDOWN, EHLO_RESET_CLOSED);
}
