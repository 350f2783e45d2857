#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "auth.h"

#include "log.h"
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct exchange {
    ehlo_sasl_server_config config;
    ehlo_sasl_server *sasl;
    ehlo_token checking; /* the step whose password a worker checks; 0: none */
    max_align_t memory[];
};

void auth_forget(struct exchange **exchange)
{
    if (*exchange == NULL) return;
    ehlo_sasl_server_end((*exchange)->sasl);
    free(*exchange);
    *exchange = NULL;
}

static const struct users *users_of(const ehlo_server *s)
{
    const struct inbox *inbox = ehlo_conn_ctx(s);
    return &inbox->users;
}

/* EHLO_OK or an error. */
static int start(ehlo_server *s, struct exchange **exchange, ehlo_str mechanism)
{
    const struct users *users = users_of(s);
    size_t size = ehlo_sasl_server_size(0);
    auth_forget(exchange);
    struct exchange *x = calloc(1, sizeof *x + size);
    if (x == NULL) return EHLO_ERR_MEMORY;
    *exchange = x;
    x->config.crypto = users->crypto;
    x->config.facts = ehlo_server_tls_facts(s);
    x->config.offered = ehlo_server_mechanisms(s);
    x->config.hostname = ehlo_service_hostname(ehlo_server_service(s));
    if (users->crypto != NULL) x->config.decoy = ehlo_str_make((const char *)users->decoy, sizeof users->decoy);
    return ehlo_sasl_server_start(&x->sasl, x->memory, size, ehlo_sasl_find(mechanism), &x->config);
}

/* -- how it ends ------------------------------------------------------------------------------------ */

static void log_end(const ehlo_server *s, const ehlo_sasl_server *x, ehlo_sasl_step step)
{
    ehlo_str name = ehlo_sasl_name(ehlo_sasl_server_mechanism(x));
    ehlo_str user = ehlo_sasl_server_user(x);
    const char *result = step == EHLO_SASL_ACCEPTED    ? "authenticated"
                         : step == EHLO_SASL_REFUSED   ? "not authenticated"
                         : step == EHLO_SASL_MALFORMED ? "not authenticated, malformed"
                                                       : "not authenticated, for an error of ours";
    log_line("#%" PRIu64 ": <%.*s> %s by %.*s", ehlo_conn_number(s), (int)user.len, user.len > 0 ? user.ptr : "",
             result, (int)name.len, name.ptr);
}

/* The reply to a step; behind all but a challenge the exchange is over. */
static void settle(ehlo_server *s, struct exchange **exchange, ehlo_sasl_step step, ehlo_str challenge, ehlo_reply *r)
{
    ehlo_sasl_reply(step, challenge, r);
    if (step == EHLO_SASL_CHALLENGE) return;
    log_end(s, (*exchange)->sasl, step);
    auth_forget(exchange);
}

/* -- passwords: checked by the workers -------------------------------------------------------------- */

struct check {
    struct job job; /* first: a worker gets this address */
    const struct users *users;
    ehlo_loop *loop;
    ehlo_conn_id conn;
    ehlo_token token;
    int right; /* or negative */
    size_t name_len, secret_len;
    char text[]; /* both */
};

static void check_free(struct check *check)
{
    ehlo_secret_wipe(check->text, check->name_len + check->secret_len);
    free(check);
}

/* Nobody may act as somebody else. */
static int may_act(const ehlo_sasl_server *x, ehlo_str name)
{
    ehlo_str authzid = ehlo_sasl_server_authzid(x);
    return authzid.len == 0 || (authzid.len == name.len && memcmp(authzid.ptr, name.ptr, name.len) == 0);
}

static ehlo_sasl_step judge(ehlo_sasl_server *x, int right, ehlo_str *challenge)
{
    if (right < 0) return EHLO_SASL_FAILED;
    return ehlo_sasl_server_verdict(x, right && may_act(x, ehlo_sasl_server_user(x)), challenge);
}

/* On the loop's thread again. The session may be gone, or have given this exchange up. */
static void check_done(ehlo_loop *loop, void *arg)
{
    struct check *check = arg;
    ehlo_server *s = ehlo_loop_server(loop, check->conn);
    struct session *session = s != NULL ? ehlo_server_user(s) : NULL;
    if (session != NULL && session->exchange != NULL && session->exchange->checking == check->token) {
        ehlo_str challenge = { NULL, 0 };
        ehlo_reply reply = { 0 };
        session->exchange->checking = 0;
        ehlo_sasl_step step = judge(session->exchange->sasl, check->right, &challenge);
        settle(s, &session->exchange, step, challenge, &reply);
        ehlo_loop_answer(loop, check->conn, check->token, &reply);
    }
    check_free(check);
}

/* On a worker's. Where there is no memory to say so, the session gives up in time. */
static void check_run(struct job *job)
{
    struct check *check = (struct check *)(void *)job;
    ehlo_str name = ehlo_str_make(check->text, check->name_len);
    ehlo_str secret = ehlo_str_make(check->text + check->name_len, check->secret_len);
    check->right = users_check(check->users, name, secret);
    if (ehlo_loop_post(check->loop, check_done, check) != EHLO_OK) check_free(check);
}

/* A token is the user's password here: who issues tokens would be asked. EHLO_LATER or an error. */
static int check_later(ehlo_server *s, struct exchange *x, ehlo_token token)
{
    const struct inbox *inbox = ehlo_conn_ctx(s);
    ehlo_str name = ehlo_sasl_server_user(x->sasl);
    ehlo_str secret = ehlo_sasl_server_secret(x->sasl);
    struct check *check = calloc(1, sizeof *check + name.len + secret.len);
    if (check == NULL) return EHLO_ERR_MEMORY;
    check->job.run = check_run;
    check->users = &inbox->users;
    check->loop = ehlo_conn_loop(s);
    check->conn = ehlo_conn_number(s);
    check->token = token;
    check->name_len = name.len;
    check->secret_len = secret.len;
    if (name.len > 0) memcpy(check->text, name.ptr, name.len);
    if (secret.len > 0) memcpy(check->text + name.len, secret.ptr, secret.len);
    x->checking = token;
    if (workers_submit(inbox->checkers, &check->job) == 0) return EHLO_LATER;
    check_free(check);
    return EHLO_ERR_FULL;
}

/* -- what the mechanisms ask ------------------------------------------------------------------------ */

static const struct user *claimed(const struct users *users, const ehlo_sasl_server *x)
{
    ehlo_str name = ehlo_sasl_server_user(x);
    return may_act(x, name) ? users_find(users, name) : NULL;
}

static ehlo_sasl_step give_keys(const struct users *users, ehlo_sasl_server *x, ehlo_str *challenge)
{
    const uint32_t sha_1 = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS;
    const struct user *user = claimed(users, x);
    const ehlo_scram_keys *keys = NULL;
    if (user != NULL) keys = (ehlo_sasl_server_mechanism(x) & sha_1) != 0 ? &user->sha_1 : &user->sha_256;
    return ehlo_sasl_server_keys(x, keys, challenge);
}

static ehlo_sasl_step give_password(const struct users *users, ehlo_sasl_server *x, ehlo_str *challenge)
{
    const struct user *user = claimed(users, x);
    return ehlo_sasl_server_password(x, ehlo_str_from(user != NULL ? user->password : NULL), challenge);
}

/* Whether a certificate stands for somebody; ANONYMOUS is welcome where it is offered. */
static ehlo_sasl_step give_verdict(const struct users *users, ehlo_sasl_server *x, ehlo_str *challenge)
{
    int right = 1;
    if (ehlo_sasl_server_mechanism(x) == EHLO_SASL_EXTERNAL) {
        const struct user *user = users_find_subject(users, ehlo_sasl_server_user(x));
        right = user != NULL && may_act(x, user->name);
    }
    return ehlo_sasl_server_verdict(x, right, challenge);
}

static ehlo_sasl_step answer(const struct users *users, ehlo_sasl_server *x, ehlo_sasl_step step, ehlo_str *challenge)
{
    switch (step) {
    case EHLO_SASL_NEED_KEYS:
        return give_keys(users, x, challenge);
    case EHLO_SASL_NEED_PASSWORD:
        return give_password(users, x, challenge);
    case EHLO_SASL_NEED_VERDICT:
        return give_verdict(users, x, challenge);
    default:
        return step;
    }
}

/* -- steps ------------------------------------------------------------------------------------------ */

static int asks_for_a_check(const ehlo_sasl_server *x, ehlo_sasl_step step)
{
    const uint32_t with_secret = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER;
    return step == EHLO_SASL_NEED_VERDICT && (ehlo_sasl_server_mechanism(x) & with_secret) != 0;
}

int auth_step(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r)
{
    struct session *session = ehlo_server_user(s);
    ehlo_str challenge = { NULL, 0 };
    int error = mechanism.len > 0 ? start(s, &session->exchange, mechanism) : EHLO_OK;
    if (error != EHLO_OK) {
        auth_forget(&session->exchange);
        if (error != EHLO_ERR_UNSUPPORTED) ehlo_sasl_reply(EHLO_SASL_FAILED, challenge, r); /* else the default: 504 */
        return EHLO_OK;
    }
    ehlo_sasl_server *x = session->exchange->sasl;
    ehlo_sasl_step step = ehlo_sasl_server_step(x, response, &challenge);
    if (asks_for_a_check(x, step)) {
        if (check_later(s, session->exchange, token) == EHLO_LATER) return EHLO_LATER;
        step = EHLO_SASL_FAILED;
    }
    step = answer(users_of(s), x, step, &challenge);
    settle(s, &session->exchange, step, challenge, r);
    return EHLO_OK;
}
