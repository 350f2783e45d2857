/* Questions to the application: one is open at a time, and its token names it. What an answer changes is
 * below, one function per question. */
#include "session.h"

/* -- asking ----------------------------------------------------------------------------------------- */

/* MAIL, RCPT, DATA or a message granted by silence: what nearly every answer is. */
static int is_plain_grant(const ehlo_server *s, const ehlo_reply *reply)
{
    if (reply->code != 0 || reply->text.len != 0) return 0;
    if (s->question == EHLO_ASKED_MESSAGE) return !ehlo_session_is_lmtp(s);
    return s->question >= EHLO_ASKED_MAIL && s->question <= EHLO_ASKED_DATA;
}

static void grant(ehlo_server *s)
{
    const struct ehlo_success *success = &ehlo_successes[s->question];
    s->answer_code = success->from;
    ehlo_session_say(s, (ehlo_standard)success->standard);
    ehlo_session_conclude(s);
}

/* An answer that may not be sent is said with the default text. */
EHLO_COLD static void accept_or_amend(ehlo_server *s, const ehlo_reply *reply)
{
    ehlo_reply instead = { 0, { 0, 0, 0 }, { NULL, 0 } };
    if (ehlo_session_accept(s, reply) == EHLO_OK) return;
    instead.code = ehlo_answer_instead((ehlo_question)s->question, (ehlo_verb)s->verb, reply->code);
    if (s->question == EHLO_ASKED_AUTH && instead.code == 454) ehlo_session_auth_cancel(s);
    (void)ehlo_session_accept(s, &instead);
}

void ehlo_session_verdict(ehlo_server *s, int verdict, const ehlo_reply *reply)
{
    s->running = EHLO_RUNNING_NOTHING;
    if (s->answered) {
        ehlo_session_conclude(s);
    } else if (verdict < 0) {
        s->question = EHLO_ASKED_NOTHING; /* decided, if badly: its token is not pending any more */
        ehlo_session_end_saying(s, EHLO_SAY_FAILED, EHLO_CLOSE_REFUSED, EHLO_RESET_CLOSED);
    } else if (verdict != EHLO_LATER && is_plain_grant(s, reply)) {
        grant(s);
    } else if (verdict != EHLO_LATER) {
        accept_or_amend(s, reply);
        ehlo_session_conclude(s);
    }
}

/* -- accepting -------------------------------------------------------------------------------------- */

/* The reply in full: what the application left open is filled in. */
static ehlo_reply fill_in(const ehlo_server *s, const ehlo_reply *reply)
{
    ehlo_question question = (ehlo_question)s->question;
    ehlo_reply full = *reply;
    if (full.code == 0) full.code = ehlo_answer_code(question, (ehlo_verb)s->verb);
    if (ehlo_session_is_greeting(s, full.code)) {
        if (full.text.len == 0) full.text = s->service->config.greeting;
    } else if (full.code != 334 && !(question == EHLO_ASKED_HELLO && full.code == 250)) {
        ehlo_answer_complete(&full, question);
    }
    return full;
}

/* An LMTP message's reply goes to each recipient; a refused chunk's waits until the chunk is drained. */
static int is_held(const ehlo_server *s, unsigned code)
{
    if (code == 421) return 0;
    return (s->question == EHLO_ASKED_MESSAGE && ehlo_session_is_lmtp(s)) ||
           (s->question == EHLO_ASKED_CHUNK && code >= 400);
}

/* Answers that lead to something else than a reply: a chunk that may come, LMTP results to ask for. */
static int is_silent(const ehlo_server *s, unsigned code)
{
    if (s->question == EHLO_ASKED_CHUNK) return code == 354;
    return s->question == EHLO_ASKED_MESSAGE && code < 400 && s->service->callbacks.on_result != NULL &&
           ehlo_session_is_lmtp(s);
}

/* RFC 5321 4.2.4: a verb that nobody answers for is a bad command; too many of these are answered 421. */
static ehlo_standard judge_default(ehlo_server *s, ehlo_standard which)
{
    if (s->question != EHLO_ASKED_COMMAND || !ehlo_session_count_bad(s, which)) return which;
    s->answer_code = 421;
    return EHLO_SAY_TOO_MANY_BAD;
}

/* The standard reply for an answer that says nothing, EHLO_SAY_NOTHING for one that does. */
static ehlo_standard default_of(const ehlo_server *s, const ehlo_reply *reply)
{
    if (reply->code != 0 || reply->text.len != 0) return EHLO_SAY_NOTHING;
    return ehlo_answer_default((ehlo_question)s->question, (ehlo_verb)s->verb);
}

static int queue(ehlo_server *s, const ehlo_reply *reply)
{
    ehlo_standard which = default_of(s, reply);
    ehlo_reply full;
    if (which != EHLO_SAY_NOTHING) {
        ehlo_session_say(s, judge_default(s, which));
        return EHLO_OK;
    }
    full = fill_in(s, reply);
    return ehlo_session_say_reply(s, &full);
}

static int hold(ehlo_server *s, const ehlo_reply *reply)
{
    ehlo_standard which = default_of(s, reply);
    ehlo_reply full = which != EHLO_SAY_NOTHING ? ehlo_standard_reply(which) : fill_in(s, reply);
    return ehlo_session_hold_reply(s, &full);
}

int ehlo_session_accept(ehlo_server *s, const ehlo_reply *reply)
{
    ehlo_question question = (ehlo_question)s->question;
    uint16_t code = reply->code;
    if (code == 0)
        code = ehlo_answer_code(question, (ehlo_verb)s->verb);
    else if (!ehlo_answer_allowed(question, (ehlo_verb)s->verb, code))
        return EHLO_ERR_ARG;
    s->answer_code = code;
    if (is_silent(s, code)) return EHLO_OK;
    return is_held(s, code) ? hold(s, reply) : queue(s, reply);
}

/* -- concluding ------------------------------------------------------------------------------------- */

static int succeeded(const ehlo_server *s)
{
    return s->answer_code < 400;
}

static void conclude_connect(ehlo_server *s)
{
    s->phase = EHLO_PHASE_COMMAND;
    if (!succeeded(s)) s->refused = (uint8_t)(s->answer_code - 500);
}

/* RFC 5321 4.1.4: an accepted hello is a RSET too. */
static void conclude_hello(ehlo_server *s)
{
    s->urgent = 1;
    if (!succeeded(s)) return;
    ehlo_session_reset(s, EHLO_RESET_HELLO);
    ehlo_state_hello(&s->state, (ehlo_verb)s->verb);
}

static void conclude_mail(ehlo_server *s)
{
    if (!succeeded(s)) {
        ehlo_state_end(&s->state);
        return;
    }
    ehlo_session_progress(s);
    ehlo_state_mail_accepted(&s->state);
}

static void conclude_rcpt(ehlo_server *s)
{
    if (succeeded(s)) ehlo_session_progress(s);
    ehlo_state_rcpt(&s->state, succeeded(s));
}

static void conclude_data(ehlo_server *s)
{
    s->urgent = 1;
    if (succeeded(s)) ehlo_session_data_begin(s);
}

static void conclude_chunk(ehlo_server *s)
{
    if (succeeded(s))
        ehlo_session_chunk_begin(s);
    else
        ehlo_session_chunk_refused(s);
}

static void conclude_message(ehlo_server *s)
{
    if (succeeded(s)) ehlo_session_progress(s);
    if (ehlo_session_is_lmtp(s)) {
        ehlo_session_pay(s, s->state.recipients, EHLO_PAYING_MESSAGE);
    } else {
        ehlo_state_end(&s->state);
    }
}

static void conclude_result(ehlo_server *s)
{
    s->result++;
    s->results--;
}

static void conclude_auth(ehlo_server *s)
{
    s->urgent = 1;
    if (s->answer_code == 334) {
        s->phase = EHLO_PHASE_AUTH;
        s->challenging = 1;
        return;
    }
    s->phase = EHLO_PHASE_COMMAND;
    if (succeeded(s)) {
        ehlo_state_authenticated(&s->state);
        ehlo_session_progress(s);
        return;
    }
    if (s->answer_code < 500) return;
    s->bad++;
    s->auth_failures++;
}

static void conclude_starttls(ehlo_server *s)
{
    s->urgent = 1;
    if (succeeded(s)) s->phase = EHLO_PHASE_TLS;
}

/* XCLIENT's 220 is a new greeting. */
static void conclude_command(ehlo_server *s)
{
    s->urgent = 1;
    s->utf8 = 0;
    if (s->verb == EHLO_VERB_XCLIENT && succeeded(s)) ehlo_state_restart(&s->state);
}

static void (*const conclusions[])(ehlo_server *s) = {
    [EHLO_ASKED_CONNECT] = conclude_connect, [EHLO_ASKED_HELLO] = conclude_hello,
    [EHLO_ASKED_MAIL] = conclude_mail,       [EHLO_ASKED_RCPT] = conclude_rcpt,
    [EHLO_ASKED_DATA] = conclude_data,       [EHLO_ASKED_CHUNK] = conclude_chunk,
    [EHLO_ASKED_MESSAGE] = conclude_message, [EHLO_ASKED_RESULT] = conclude_result,
    [EHLO_ASKED_AUTH] = conclude_auth,       [EHLO_ASKED_STARTTLS] = conclude_starttls,
    [EHLO_ASKED_COMMAND] = conclude_command,
};

void ehlo_session_conclude(ehlo_server *s)
{
    uint8_t question = s->question;
    s->question = EHLO_ASKED_NOTHING;
    s->since = s->now;
    if (s->answer_code == 421 && s->phase == EHLO_PHASE_AUTH) s->phase = EHLO_PHASE_COMMAND; /* its own end */
    if (s->answer_code != 421) {
        conclusions[question](s);
        s->bare = 0;
    } else if (s->bad > s->service->config.max_bad) {
        ehlo_session_end(s, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    } else {
        ehlo_session_end(s, EHLO_CLOSE_REFUSED, EHLO_RESET_CLOSED);
    }
}
