/* The AUTH exchange (RFC 4954 4): lines of base64 between the peer and on_auth. Nothing of it is kept here. */
#include "session.h"

static void ask(ehlo_server *s, ehlo_str mechanism, ehlo_str response)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    ehlo_token token = ehlo_session_ask(s, EHLO_ASKED_AUTH, EHLO_VERB_AUTH);
    int verdict = EHLO_OK;
    if (s->service->callbacks.on_auth != NULL) {
        verdict = s->service->callbacks.on_auth(s, token, mechanism, response, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
}

void ehlo_session_auth(ehlo_server *s, ehlo_str argument)
{
    const ehlo_service_config *c = &s->service->config;
    ehlo_str mechanism, response;
    ehlo_fault fault;
    if (s->auth_failures >= c->max_auth_failures || s->bad >= c->max_bad) {
        ehlo_session_end_saying(s, EHLO_SAY_TOO_MANY_BAD, EHLO_CLOSE_LIMIT, EHLO_RESET_LIMIT);
    } else if (ehlo_auth_parse(argument, &mechanism, &response, &fault) != EHLO_OK) {
        ehlo_session_bad(s, fault.rule == EHLO_RULE_BASE64 ? EHLO_SAY_BASE64 : EHLO_SAY_ARGUMENT);
    } else if (!ehlo_service_has_mechanism(s->service, s->tls_facts, mechanism)) {
        ehlo_session_bad(s, EHLO_SAY_MECHANISM);
    } else if (!ehlo_session_idle(s)) { /* an attempt that is put off is no failure, but costs us as much */
        ask(s, mechanism, response);
    }
}

void ehlo_session_auth_cancel(ehlo_server *s)
{
    const ehlo_str nothing = { NULL, 0 };
    ehlo_reply ignored = { 0, { 0, 0, 0 }, { NULL, 0 } };
    if (s->service->callbacks.on_auth == NULL) return;
    s->running = EHLO_RUNNING_CALLBACK;
    (void)s->service->callbacks.on_auth(s, 0, nothing, nothing, &ignored, s->user);
    s->running = EHLO_RUNNING_NOTHING;
}

void ehlo_session_auth_give_up(ehlo_server *s, ehlo_standard why)
{
    ehlo_session_auth_cancel(s);
    s->phase = EHLO_PHASE_COMMAND;
    s->auth_failures++;
    ehlo_session_bad(s, why);
}

void ehlo_session_auth_line(ehlo_server *s, ehlo_str line)
{
    size_t decoded;
    s->urgent = 1;
    s->secret = 1;
    if (ehlo_session_traces(s)) ehlo_session_trace(s, EHLO_TRACE_IN, line, 1);
    if (line.len == 1 && line.ptr[0] == '*') {
        ehlo_session_auth_give_up(s, EHLO_SAY_CANCELLED);
    } else if (ehlo_base64_decode(line, NULL, 0, &decoded, NULL) != EHLO_OK) {
        ehlo_session_auth_give_up(s, EHLO_SAY_BASE64);
    } else {
        ask(s, ehlo_str_make(NULL, 0), line);
    }
}
