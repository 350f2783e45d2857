#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "session.h"

#include "etrn.h"
#include "log.h"
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct relay *relay_of(const ehlo_server *s)
{
    return ehlo_conn_ctx(s);
}

/* -- who may send where ----------------------------------------------------------------------------- */

static int is_allowed(const ehlo_server *s)
{
    const struct relay *relay = relay_of(s);
    for (size_t i = 0; i < relay->allowed_count; i++) {
        if (network_has(&relay->allowed[i], &ehlo_server_peer(s)->remote)) return 1;
    }
    return 0;
}

/* RFC 5321 4.5.1: postmaster without a domain always is. */
static int is_ours(const struct relay *relay, const ehlo_path *path)
{
    if (path->domain_kind == EHLO_DOMAIN_NONE) return 1;
    for (size_t i = 0; i < relay->domain_count; i++) {
        if (ehlo_domain_equal(relay->domains[i], path->domain)) return 1;
    }
    return 0;
}

/* -- callbacks -------------------------------------------------------------------------------------- */

static int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user)
{
    struct session *session = user;
    char *name = strndup(hello->name.ptr, hello->name.len);
    (void)s;
    (void)token;
    if (name == NULL) {
        *r = reply_failure(ENOMEM);
        return EHLO_OK;
    }
    free(session->hello);
    session->hello = name;
    return EHLO_OK;
}

/* Why a path was not taken: a result of incoming.h; detail: of the enhanced code where its domain is the cause. */
static ehlo_reply refusal(int result, uint16_t detail)
{
    switch (result) {
    case EHLO_ERR_ARG:
        return reply_make(553, 1, detail,
                          "There is no way to this domain: it has to be ASCII, xn--..., or an IP address");
    case EHLO_ERR_MEMORY:
        return reply_failure(ENOMEM);
    default:
        return reply_make(501, 5, 4, "This cannot be passed on");
    }
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user)
{
    struct session *session = user;
    (void)token;
    int result = incoming_new(&session->incoming, &relay_of(s)->queue, s, ehlo_str_from(session->hello), mail);
    if (result != EHLO_OK) *r = refusal(result, 8);
    return EHLO_OK;
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user)
{
    struct session *session = user;
    (void)token;
    if (!is_ours(relay_of(s), &rcpt->path) && !is_allowed(s)) {
        *r = reply_make(550, 7, 1, "We do not relay for you");
        return EHLO_OK;
    }
    int result = incoming_address(session->incoming, rcpt);
    if (result != EHLO_OK) *r = refusal(result, 2);
    return EHLO_OK;
}

static int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user)
{
    const struct session *session = user;
    (void)s;
    (void)r;
    incoming_open(session->incoming, token);
    return EHLO_LATER;
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    const struct session *session = user;
    (void)s;
    return incoming_append(session->incoming, bytes, len, taken, r);
}

static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user)
{
    struct session *session = user;
    struct incoming *in = session->incoming;
    (void)s;
    (void)message;
    (void)r;
    session->incoming = NULL;
    incoming_commit(in, token);
    return EHLO_LATER;
}

static int on_command(ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r, void *user)
{
    (void)user;
    if (command->verb != EHLO_VERB_ETRN) return EHLO_OK;
    if (is_allowed(s)) return etrn_start(&relay_of(s)->queue, s, token, command, r);
    *r = reply_make(459, 7, 1, "You may not ask for this");
    return EHLO_OK;
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    struct session *session = user;
    (void)s;
    (void)reason;
    incoming_drop(session->incoming);
    session->incoming = NULL;
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    struct session *session = user;
    (void)s;
    (void)reason;
    (void)pending;
    free(session->hello);
    session->hello = NULL;
}

ehlo_server_callbacks session_callbacks(int trace)
{
    ehlo_server_callbacks callbacks;
    memset(&callbacks, 0, sizeof callbacks);
    callbacks.on_hello = on_hello;
    callbacks.on_mail = on_mail;
    callbacks.on_rcpt = on_rcpt;
    callbacks.on_data = on_data;
    callbacks.on_body = on_body;
    callbacks.on_message = on_message;
    callbacks.on_command = on_command;
    callbacks.on_reset = on_reset;
    callbacks.on_close = on_close;
    callbacks.on_trace = trace ? log_session : NULL;
    return callbacks;
}
