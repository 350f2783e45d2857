#include "session.h"

#include <string.h>

/* -- replies ---------------------------------------------------------------------------------------- */

static int names_us(unsigned code)
{
    return code == 220 || code == 221 || code == 421;
}

/* RFC 5321 4.2.3: 220, 221 and 421 begin with our domain. */
static ehlo_str name_ourselves(const ehlo_server *s, const ehlo_reply *reply, char *text, size_t cap)
{
    ehlo_str host = s->service->config.hostname;
    if (host.len + 1 + reply->text.len > cap) return reply->text;
    memcpy(text, host.ptr, host.len);
    text[host.len] = ' ';
    if (reply->text.len > 0) memcpy(text + host.len + 1, reply->text.ptr, reply->text.len);
    return ehlo_str_make(text, host.len + 1 + reply->text.len);
}

/* RFC 2034 4: on all but the greeting, hello replies and 3yz; never after HELO, where nothing is offered. */
static int enhanced(const ehlo_server *s)
{
    if (s->phase == EHLO_PHASE_GREETING || s->question == EHLO_ASKED_HELLO) return 0;
    return s->state.hello != EHLO_VERB_HELO && (s->service->offer.extensions & EHLO_CAP_ENHANCEDSTATUSCODES);
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
    if (ehlo_service_hello(s->service, ehlo_rules_offered(&s->state, &s->service->offer), s->verb != EHLO_VERB_HELO,
                           reply->text, out, len) != 0) {
        return EHLO_ERR_ARG;
    }
    return EHLO_OK;
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

static int render(const ehlo_server *s, const ehlo_reply *reply, char *out, size_t *len)
{
    char text[512];
    ehlo_reply named = *reply;
    ehlo_fault fault;
    if (s->question == EHLO_ASKED_HELLO && reply->code == 250) return render_hello(s, reply, out, len);
    if (s->question == EHLO_ASKED_AUTH && reply->code == 334) return render_challenge(s, reply->text, out, len);
    if (names_us(reply->code)) named.text = name_ourselves(s, reply, text, sizeof text);
    if (ehlo_reply_write(&named, reply_flags(s), out, s->service->reply_max, len, &fault) != EHLO_OK) {
        return EHLO_ERR_ARG;
    }
    return EHLO_OK;
}

/* Room for the largest reply. NULL only for a 421 over a full block, which there is no way left to say, or where
 * the lender has nothing, which ends the session. */
static char *room(ehlo_server *s)
{
    int failed = 0;
    char *at = ehlo_out_room(&s->out, &s->service->config.lender, s->service->reply_max, &failed);
    if (failed) s->fatal = (uint8_t)-EHLO_ERR_MEMORY;
    return at;
}

int ehlo_session_say_reply(ehlo_server *s, const ehlo_reply *reply)
{
    size_t len = 0;
    char *at = room(s);
    int err = at == NULL ? EHLO_OK : render(s, reply, at, &len);
    if (err == EHLO_OK) ehlo_out_added(&s->out, len);
    s->since = s->now;
    return err;
}

void ehlo_session_say(ehlo_server *s, ehlo_standard which)
{
    ehlo_reply reply;
    char *at;
    if (which >= EHLO_SAY_NAMING_US) {
        reply = ehlo_standard_reply(which);
        (void)ehlo_session_say_reply(s, &reply);
        return;
    }
    at = room(s);
    if (at != NULL) ehlo_out_added(&s->out, ehlo_standard_write(which, enhanced(s), at));
    s->since = s->now;
}

/* -- counters --------------------------------------------------------------------------------------- */

/* Codes that tell a peer it speaks badly; others tell it that it asks too much. */
static int is_bad(unsigned code)
{
    return (code >= 500 && code <= 504) || code == 555;
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

void ehlo_session_progress(ehlo_server *s)
{
    s->bad = 0;
    s->idle = 0;
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

/* -- transport -------------------------------------------------------------------------------------- */

void ehlo_session_trace(ehlo_server *s, int direction, ehlo_str bytes, int secret)
{
    uint8_t was = s->running;
    if (s->service->callbacks.on_trace == NULL) return;
    if (secret && !(s->service->config.flags & EHLO_SERVICE_TRACE_SECRETS)) bytes.ptr = NULL;
    s->running = EHLO_RUNNING_CALLBACK;
    s->service->callbacks.on_trace(s, direction, bytes, secret, s->user);
    s->running = was;
}

static void write_failed(ehlo_server *s)
{
    s->fatal = (uint8_t)-EHLO_ERR_TRANSPORT;
    ehlo_session_drop(s, EHLO_CLOSE_LOST, EHLO_RESET_LOST);
}

void ehlo_session_flush(ehlo_server *s)
{
    ehlo_str waiting;
    size_t taken = 0;
    int err;
    if (s->blocked || s->phase == EHLO_PHASE_CLOSED || ehlo_out_empty(&s->out)) return;
    waiting = ehlo_out_waiting(&s->out);
    s->running = EHLO_RUNNING_CALLBACK;
    err = s->service->callbacks.write(s, &waiting, 1, &taken, s->user);
    s->running = EHLO_RUNNING_NOTHING;
    if (err < 0) {
        write_failed(s);
        return;
    }
    if (taken > waiting.len) taken = waiting.len;
    if (taken > 0) ehlo_session_trace(s, EHLO_TRACE_OUT, ehlo_str_make(waiting.ptr, taken), 0);
    ehlo_out_taken(&s->out, taken);
    s->urgent = 0;
    if (taken == waiting.len) return;
    s->blocked = 1;
    s->blocked_since = s->now;
}

void ehlo_session_stop_if_told(ehlo_server *s)
{
    if (s->question != EHLO_ASKED_NOTHING || s->results > 0) return;
    if (s->phase != EHLO_PHASE_COMMAND && s->phase != EHLO_PHASE_AUTH) return;
    if (ehlo_state_open(&s->state) || s->line_skipping) return;
    ehlo_session_end_saying(s, EHLO_SAY_SHUTDOWN, EHLO_CLOSE_SHUTDOWN, EHLO_RESET_CLOSED);
}
