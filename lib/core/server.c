/* The public calls of a server session: each enters, moves the session, and leaves it settled. */
#include "intake.h"

#include <string.h>

/* -- making ----------------------------------------------------------------------------------------- */

static size_t own_size(void)
{
    return (sizeof(ehlo_server) + 15) & ~(size_t)15;
}

size_t ehlo_server_size(const ehlo_service *service)
{
    return own_size() + (service->config.lender.lend == NULL ? service->out_max : 0);
}

int ehlo_server_init(ehlo_server **server, void *mem, size_t len, const ehlo_service *service, const ehlo_peer *peer,
                     void *user)
{
    ehlo_server *s = (ehlo_server *)mem;
    if (server == NULL || mem == NULL || service == NULL) return EHLO_ERR_ARG;
    if (len < ehlo_server_size(service)) return EHLO_ERR_SPACE;
    memset(s, 0, sizeof *s);
    s->service = service;
    s->peer = peer;
    s->user = user;
    s->state.tls = peer != NULL && peer->tls;
    s->out.size = (uint32_t)service->out_max;
    if (service->config.lender.lend == NULL) s->out.block = (char *)mem + own_size();
    *server = s;
    return EHLO_OK;
}

/* -- entering and leaving --------------------------------------------------------------------------- */

static int enter(ehlo_server *s, uint64_t now)
{
    if (s->running) return EHLO_ERR_REENTRY;
    if (s->fatal != 0) return -(int)s->fatal;
    s->now = now;
    return EHLO_OK;
}

/* RFC 5321 3.8 and 4.1.1.10: what was consumed is answered; what is unfinished has no reply. */
static void end_at_eof(ehlo_server *s)
{
    if (s->question != EHLO_ASKED_NOTHING || s->results > 0) return;
    ehlo_session_end(s, EHLO_CLOSE_EOF, EHLO_RESET_EOF);
}

/* Pays results, and notices endings. */
static void settle(ehlo_server *s)
{
    if (s->paying != EHLO_PAYING_NOTHING) ehlo_session_pay_results(s);
    if (s->shutdown && s->fatal == 0) ehlo_session_stop_if_told(s);
    if (s->eof && s->fatal == 0) end_at_eof(s);
}

/* The one way out: everything settled, replies written, the block given back. */
static int leave(ehlo_server *s)
{
    if (s->unsettled != 0) settle(s);
    ehlo_session_flush(s);
    ehlo_out_settle(&s->out, &s->service->config.lender);
    if (s->fatal == (uint8_t)-EHLO_ERR_MEMORY) ehlo_session_drop(s, EHLO_CLOSE_LOST, EHLO_RESET_LOST);
    return -(int)s->fatal;
}

/* -- moving ----------------------------------------------------------------------------------------- */

int ehlo_server_start(ehlo_server *s, uint64_t now)
{
    ehlo_reply reply = { 0, { 0, 0, 0 }, { NULL, 0 } };
    int err = enter(s, now), verdict = EHLO_OK;
    ehlo_token token;
    if (err != EHLO_OK) return err;
    if (s->phase != EHLO_PHASE_NEW) return EHLO_ERR_STATE;
    s->phase = EHLO_PHASE_GREETING;
    s->bare = 1;
    token = ehlo_session_ask(s, EHLO_ASKED_CONNECT, EHLO_VERB_UNKNOWN);
    if (s->service->callbacks.on_connect != NULL) {
        verdict = s->service->callbacks.on_connect(s, token, &reply, s->user);
    }
    ehlo_session_verdict(s, verdict, &reply);
    return leave(s);
}

int ehlo_server_feed(ehlo_server *s, uint64_t now, const char *bytes, size_t len, size_t *used)
{
    int err = enter(s, now);
    *used = 0;
    if (err != EHLO_OK) return err;
    *used = ehlo_session_intake(s, bytes, len);
    return leave(s);
}

/* We read again: the time that we did not is not the peer's. */
static void go_on(ehlo_server *s)
{
    s->body_since += s->now - s->since;
    s->since = s->now;
}

int ehlo_server_flush(ehlo_server *s, uint64_t now)
{
    int err = enter(s, now), stood_still;
    if (err != EHLO_OK) return err;
    stood_still = s->question == EHLO_ASKED_NOTHING && !s->stalled && !ehlo_session_reads(s);
    if (s->phase != EHLO_PHASE_CLOSED && !ehlo_out_empty(&s->out)) ehlo_session_write(s);
    if (stood_still && ehlo_session_reads(s)) go_on(s);
    return leave(s);
}

int ehlo_server_resume(ehlo_server *s, uint64_t now)
{
    int err = enter(s, now);
    if (err != EHLO_OK) return err;
    if (s->stalled) {
        s->stalled = 0;
        go_on(s);
    }
    return leave(s);
}

int ehlo_server_answer(ehlo_server *s, uint64_t now, ehlo_token token, const ehlo_reply *reply)
{
    int err;
    if (token == 0 || s->question == EHLO_ASKED_NOTHING || token != s->token || s->answered) return EHLO_ERR_STALE;
    if (s->running == EHLO_RUNNING_QUESTION) { /* the callback that was given this token: concluded when it returns */
        err = ehlo_session_accept(s, reply);
        if (err == EHLO_OK) s->answered = 1;
        return err;
    }
    err = enter(s, now);
    if (err != EHLO_OK) return err;
    err = ehlo_session_accept(s, reply);
    if (err != EHLO_OK) {
        (void)leave(s); /* gives back what was borrowed to try it */
        return err;
    }
    ehlo_session_conclude(s);
    return leave(s);
}

/* Where a handshake may have been done: before all, or behind our 220. */
static int expects_tls(const ehlo_server *s)
{
    return s->phase == EHLO_PHASE_NEW || (s->phase == EHLO_PHASE_TLS && ehlo_out_empty(&s->out));
}

/* RFC 3207 4.2, CVE-2011-0411: what was said in clear behind STARTTLS was not said by whom TLS will name. */
int ehlo_server_tls_started(ehlo_server *s, uint64_t now, size_t held, const ehlo_tls_facts *facts)
{
    int err = enter(s, now);
    if (err != EHLO_OK) return err;
    if (!expects_tls(s)) return EHLO_ERR_STATE;
    if (held > 0) {
        ehlo_session_drop(s, EHLO_CLOSE_PROTOCOL, EHLO_RESET_LIMIT);
        return leave(s);
    }
    ehlo_state_tls(&s->state);
    s->tls_facts = facts;
    if (s->phase == EHLO_PHASE_TLS) s->phase = EHLO_PHASE_COMMAND;
    s->since = now;
    return leave(s);
}

int ehlo_server_eof(ehlo_server *s, uint64_t now)
{
    int err = enter(s, now);
    if (err != EHLO_OK) return err;
    s->eof = 1;
    return leave(s);
}

int ehlo_server_lost(ehlo_server *s)
{
    if (s->running) return EHLO_ERR_REENTRY;
    if (s->phase != EHLO_PHASE_CLOSED) ehlo_session_drop(s, EHLO_CLOSE_LOST, EHLO_RESET_LOST);
    return EHLO_OK;
}

int ehlo_server_shutdown(ehlo_server *s, uint64_t now)
{
    int err = enter(s, now);
    if (err != EHLO_OK) return err;
    s->shutdown = 1;
    if (s->phase == EHLO_PHASE_TLS) ehlo_session_drop(s, EHLO_CLOSE_SHUTDOWN, EHLO_RESET_CLOSED);
    return leave(s);
}

int ehlo_server_close(ehlo_server *s)
{
    if (s->running) return EHLO_ERR_REENTRY;
    ehlo_session_drop(s, EHLO_CLOSE_CLOSED, EHLO_RESET_CLOSED);
    if (s->service->callbacks.on_close != NULL) {
        s->running = EHLO_RUNNING_CALLBACK;
        s->service->callbacks.on_close(s, s->reason, s->spent, s->user);
    }
    return EHLO_OK;
}

/* -- time ------------------------------------------------------------------------------------------- */

static int reads(const ehlo_server *s)
{
    return ehlo_session_flows(s) || ehlo_session_reads(s);
}

static int takes_body(const ehlo_server *s)
{
    return s->phase == EHLO_PHASE_DATA || s->phase == EHLO_PHASE_CHUNK;
}

/* Milliseconds that the present wait may last; 0 if it is none of ours. */
static uint64_t patience(const ehlo_server *s)
{
    const ehlo_service_config *c = &s->service->config;
    if (s->phase == EHLO_PHASE_CLOSING) return c->close_ms;
    if (s->question != EHLO_ASKED_NOTHING || s->stalled) return c->answer_ms;
    if (s->phase == EHLO_PHASE_TLS) return c->tls_ms;
    if (!reads(s)) return 0;
    return takes_body(s) ? c->data_ms : c->command_ms;
}

static uint64_t later(uint64_t from, uint64_t ms)
{
    return from > UINT64_MAX - ms ? UINT64_MAX : from + ms;
}

/* When a peer that sends its message at the least rate would have sent one octet more than it has. */
static uint64_t body_deadline(const ehlo_server *s)
{
    const ehlo_service_config *c = &s->service->config;
    if (c->data_rate_grace_ms == UINT32_MAX) return UINT64_MAX;
    return later(s->body_since, c->data_rate_grace_ms + s->body_octets / c->data_rate * 1000 +
                                    s->body_octets % c->data_rate * 1000 / c->data_rate);
}

static uint64_t rate_deadline(const ehlo_server *s)
{
    return takes_body(s) && reads(s) ? body_deadline(s) : UINT64_MAX;
}

static uint64_t write_deadline(const ehlo_server *s)
{
    if (!s->blocked || s->phase == EHLO_PHASE_CLOSING) return UINT64_MAX;
    return later(s->blocked_since, s->service->config.write_ms);
}

static uint64_t wait_deadline(const ehlo_server *s)
{
    uint64_t ms = patience(s);
    return ms == 0 ? UINT64_MAX : later(s->since, ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* 1 if the peer's next octets are all that we wait for: so it is after nearly every call. */
static int only_reads(const ehlo_server *s)
{
    return ehlo_out_empty(&s->out) && ehlo_session_flows(s);
}

static uint64_t read_deadline(const ehlo_server *s)
{
    const ehlo_service_config *c = &s->service->config;
    if (!takes_body(s)) return later(s->since, c->command_ms);
    return earlier(later(s->since, c->data_ms), body_deadline(s));
}

uint64_t ehlo_server_deadline(const ehlo_server *s)
{
    if (only_reads(s)) return read_deadline(s);
    if (s->phase == EHLO_PHASE_CLOSED || s->phase == EHLO_PHASE_NEW || s->fatal != 0) return UINT64_MAX;
    if (s->phase == EHLO_PHASE_CLOSING && ehlo_out_empty(&s->out)) return UINT64_MAX;
    return earlier(wait_deadline(s), earlier(write_deadline(s), rate_deadline(s)));
}

static ehlo_standard timeout_reply(const ehlo_server *s)
{
    if (s->question != EHLO_ASKED_NOTHING || s->stalled) return EHLO_SAY_NO_ANSWER;
    return rate_deadline(s) <= s->now ? EHLO_SAY_TOO_SLOW : EHLO_SAY_TIMEOUT;
}

int ehlo_server_tick(ehlo_server *s, uint64_t now)
{
    uint64_t deadline;
    int err = enter(s, now);
    if (err != EHLO_OK) return err;
    deadline = ehlo_server_deadline(s);
    if (deadline == UINT64_MAX || now < deadline) return EHLO_OK;
    if (s->phase == EHLO_PHASE_CLOSING || s->phase == EHLO_PHASE_TLS || write_deadline(s) <= now) {
        ehlo_session_drop(s, EHLO_CLOSE_TIMEOUT, EHLO_RESET_TIMEOUT);
    } else {
        ehlo_session_end_saying(s, timeout_reply(s), EHLO_CLOSE_TIMEOUT, EHLO_RESET_TIMEOUT);
    }
    return leave(s);
}

/* -- facts ------------------------------------------------------------------------------------------ */

unsigned ehlo_server_wants(const ehlo_server *s)
{
    unsigned wants = s->secret * (unsigned)EHLO_WANT_SECRET;
    int waiting = !ehlo_out_empty(&s->out);
    if (only_reads(s)) return wants | EHLO_WANT_READ;
    if (s->phase == EHLO_PHASE_CLOSED || s->fatal != 0) return wants | EHLO_WANT_CLOSE;
    if (s->phase == EHLO_PHASE_CLOSING) return wants | (waiting ? EHLO_WANT_WRITE : EHLO_WANT_CLOSE);
    if (waiting) wants |= EHLO_WANT_WRITE;
    if (s->question != EHLO_ASKED_NOTHING) wants |= EHLO_WANT_ANSWER;
    if (s->phase == EHLO_PHASE_TLS && !waiting) wants |= EHLO_WANT_TLS;
    if (ehlo_session_reads(s)) wants |= EHLO_WANT_READ;
    return wants;
}

EHLO_COLD static unsigned rare_status(const ehlo_server *s, uint64_t *deadline)
{
    *deadline = ehlo_server_deadline(s);
    return ehlo_server_wants(s);
}

unsigned ehlo_server_status(const ehlo_server *s, uint64_t *deadline)
{
    if (!only_reads(s)) return rare_status(s, deadline);
    *deadline = read_deadline(s);
    return s->secret * (unsigned)EHLO_WANT_SECRET | EHLO_WANT_READ;
}

const ehlo_peer *ehlo_server_peer(const ehlo_server *s)
{
    return s->peer;
}

const ehlo_tls_facts *ehlo_server_tls_facts(const ehlo_server *s)
{
    return s->tls_facts;
}

void *ehlo_server_user(const ehlo_server *s)
{
    return s->user;
}

const ehlo_service *ehlo_server_service(const ehlo_server *s)
{
    return s->service;
}

unsigned ehlo_server_with(const ehlo_server *s)
{
    unsigned with = s->state.hello == EHLO_VERB_EHLO ? EHLO_WITH_ESMTP : 0;
    if (s->state.hello == EHLO_VERB_LHLO) with |= EHLO_WITH_LMTP;
    if (s->state.tls) with |= EHLO_WITH_TLS;
    if (s->state.authenticated) with |= EHLO_WITH_AUTH;
    if (s->state.utf8) with |= EHLO_WITH_UTF8;
    return with;
}

uint32_t ehlo_server_mechanisms(const ehlo_server *s)
{
    ehlo_str rest = s->service->config.auth_mechanisms, name;
    uint32_t mechanisms = 0;
    if (!(ehlo_rules_offered(&s->state, &s->service->offer) & EHLO_CAP_AUTH)) return 0;
    while (ehlo_service_next_mechanism(&rest, s->tls_facts, &name)) mechanisms |= ehlo_sasl_find(name);
    return mechanisms;
}
