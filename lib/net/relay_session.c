/* lib/net/relay_session.c - the sessions of a relay with the hosts of its destinations. */
#include "relay_session.h"

#include <stdlib.h>
#include <string.h>

/* -- life ------------------------------------------------------------------------------------------- */

static ehlo_relay_session *session_new(ehlo_attempt *a, const ehlo_task *task)
{
    ehlo_relay_session *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->relay = a->relay;
    s->destination = a->destination;
    s->destination->sessions++;
    s->attempt = a;
    s->verified = task->verified_tls;
    s->host_len = task->name.len < sizeof s->host ? task->name.len : sizeof s->host;
    memcpy(s->host, task->name.ptr, s->host_len);
    s->next = s->relay->sessions;
    s->relay->sessions = s;
    return s;
}

/* It serves no batch any more. */
static void retire(ehlo_relay_session *s)
{
    ehlo_timer_stop(s->relay->loop, &s->idle);
    s->attempt = NULL;
    if (s->destination != NULL) s->destination->sessions--;
    s->destination = NULL;
}

static void session_free(ehlo_relay_session *s)
{
    ehlo_relay_session **at = &s->relay->sessions;
    retire(s);
    while (*at != s) at = &(*at)->next;
    *at = s->next;
    free(s);
}

static void say_quit(ehlo_relay_session *s)
{
    retire(s);
    ehlo_client_command(s->client, EHLO_VERB_QUIT, ehlo_str_make(NULL, 0), NULL, NULL, NULL);
    ehlo_client_kick(s->client);
}

/* -- opening ---------------------------------------------------------------------------------------- */

static void on_ready(ehlo_client *c, void *user)
{
    ehlo_relay_session *s = user;
    s->client = c;
    if (s->attempt != NULL)
        ehlo_attempt_ready(s->attempt);
    else
        say_quit(s);
}

static void on_failed(ehlo_loop *loop, const ehlo_failure *failure, void *user)
{
    ehlo_relay_session *s = user;
    ehlo_attempt *a = s->attempt;
    (void)loop;
    session_free(s);
    if (a == NULL) return;
    a->session = NULL;
    ehlo_attempt_unreached(a, failure);
}

/* Whom it served was told by the transaction. */
static void on_closed(ehlo_client *c, int reason, void *user)
{
    (void)c;
    (void)reason;
    session_free(user);
}

static void on_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user)
{
    const ehlo_relay *relay = ((ehlo_relay_session *)user)->relay;
    relay->cfg.on_trace(c, direction, bytes, secret, relay->cfg.ctx);
}

static uint8_t tls_policy(const ehlo_relay_config *cfg, const ehlo_task *task)
{
    uint8_t policy = task->smart ? cfg->smart_tls : cfg->tls;
    return task->verified_tls && policy != EHLO_TLS_WRAPPED ? EHLO_TLS_REQUIRED : policy;
}

static int connect_to(ehlo_relay_session *s, const ehlo_task *task)
{
    const ehlo_relay *relay = s->relay;
    const ehlo_connect_callbacks callbacks = { .on_ready = on_ready,
                                               .on_failed = on_failed,
                                               .on_closed = on_closed,
                                               .on_trace = relay->cfg.on_trace != NULL ? on_trace : NULL };
    const ehlo_host host = {
        .name = task->name, .port = task->address.port, .addresses = &task->address, .naddresses = 1
    };
    const ehlo_connect_config cfg = { .hosts = &host,
                                      .nhosts = 1,
                                      .client = &relay->client,
                                      .tls = tls_policy(&relay->cfg, task),
                                      .tls_engine = relay->cfg.tls_engine,
                                      .credentials = task->smart ? relay->cfg.credentials : NULL };
    return ehlo_loop_connect(relay->loop, &cfg, &callbacks, s, &s->id);
}

int ehlo_relay_session_open(ehlo_attempt *a, const ehlo_task *task)
{
    ehlo_relay_session *s = session_new(a, task);
    int result = s != NULL ? connect_to(s, task) : EHLO_ERR_MEMORY;
    if (result == EHLO_OK)
        a->session = s;
    else if (s != NULL)
        session_free(s);
    return result;
}

void ehlo_relay_session_give_up(ehlo_attempt *a)
{
    ehlo_relay_session *s = a->session;
    if (s == NULL) return;
    a->session = NULL;
    retire(s);
    ehlo_loop_disconnect(a->relay->loop, s->id);
}

/* -- reuse ------------------------------------------------------------------------------------------ */

static int is_idle(const ehlo_relay_session *s)
{
    return s->client != NULL && s->destination != NULL && s->attempt == NULL;
}

static int serves(const ehlo_relay_session *s, const ehlo_attempt *a)
{
    int insists = (a->batch->envelope.flags & EHLO_SEND_REQUIRETLS) != 0;
    return is_idle(s) && s->destination == a->destination && (s->verified || !insists);
}

ehlo_relay_session *ehlo_relay_session_find(ehlo_attempt *a)
{
    ehlo_relay_session *s = a->relay->sessions;
    while (s != NULL && !serves(s, a)) s = s->next;
    if (s == NULL) return NULL;
    ehlo_timer_stop(s->relay->loop, &s->idle);
    s->attempt = a;
    return s;
}

static void idle_expired(ehlo_loop *loop, void *arg)
{
    (void)loop;
    say_quit(arg);
}

/* Idle sessions hold descriptors: there are no more of them than there may be batches under way. */
static void limit_idle(const ehlo_relay *relay)
{
    size_t count = 0;
    ehlo_relay_session *oldest = NULL;
    for (ehlo_relay_session *s = relay->sessions; s != NULL; s = s->next) {
        if (!is_idle(s)) continue;
        count++;
        if (oldest == NULL || s->idle.due < oldest->idle.due) oldest = s;
    }
    if (count > relay->cfg.concurrency) say_quit(oldest);
}

void ehlo_relay_session_rest(ehlo_attempt *a)
{
    ehlo_relay_session *s = a->session;
    const ehlo_relay *relay = s->relay;
    int more = (ehlo_client_wants(s->client) & EHLO_WANT_NEXT) && s->messages < relay->cfg.session_messages;
    a->session = NULL;
    s->attempt = NULL;
    if (!more || ehlo_loop_stopping(relay->loop) ||
        ehlo_timer_start(relay->loop, &s->idle, relay->cfg.idle_ms, idle_expired, s) != EHLO_OK)
        say_quit(s);
    else
        limit_idle(relay);
}

void ehlo_relay_sessions_end(ehlo_relay *relay)
{
    while (relay->sessions != NULL) {
        relay->sessions->attempt = NULL;
        ehlo_loop_disconnect(relay->loop, relay->sessions->id);
    }
}
