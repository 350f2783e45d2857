/* opening.c - from the greeting to the first transaction: one function for each reply that is waited for.
 *
 *     greeting -> hello -> STARTTLS -> (handshake) -> hello -> AUTH -> ... -> open
 *
 * What may be said next follows from the policy and from what the session is now, never from what a server said before
 * the handshake: the session has forgotten that. */
#include "opening.h"

#include "client_session.h"

#include <string.h>

struct ehlo_opening {
    ehlo_client *client;
    ehlo_opening_config config;
    ehlo_on_opened done;
    void *user;
    ehlo_sasl_client *exchange; /* NULL: none runs */
    ehlo_str initial;           /* the initial response, while it waits for an empty challenge */
    ehlo_str problem;           /* why it is cancelled; static */
    uint32_t mechanism;
    ehlo_stage stage; /* that is under way */
};

/* The command line limit (RFC 5321 4.5.3.1.4), which an initial response may not pass (RFC 4954 4). */
enum { COMMAND_LINE_MAX = 512 };

/* -- the end ---------------------------------------------------------------------------------------- */

/* The memory is the caller's again before he is told. */
static void conclude(ehlo_opening *o, const ehlo_opened *opened)
{
    ehlo_client *c = o->client;
    ehlo_on_opened done = o->done;
    void *user = o->user;
    ehlo_sasl_client_end(o->exchange);
    ehlo_secret_wipe(o, sizeof *o);
    c->opening = NULL;
    done(c, opened, user);
}

static void succeed(ehlo_opening *o)
{
    ehlo_opened opened = { .stage = EHLO_STAGE_NONE, .mechanism = o->mechanism };
    conclude(o, &opened);
}

/* A session that is not open is for QUIT alone: whoever goes by what it wants must not send what was to be kept. */
static void fail(ehlo_opening *o, const ehlo_reply *r, ehlo_str problem)
{
    if (!ehlo_client_over(o->client)) o->client->phase = EHLO_CLIENT_REFUSED;
    ehlo_opened opened = { .stage = o->stage, .outcome = EHLO_OUTCOME_NOT_SENT, .mechanism = o->mechanism };
    if (r != NULL && r->code >= 400) opened.outcome = ehlo_outcome_of(r->code);
    opened.reply = r;
    opened.problem = problem;
    conclude(o, &opened);
}

static void fail_saying(ehlo_opening *o, const ehlo_reply *r, const char *problem)
{
    fail(o, r, ehlo_str_from(problem));
}

/* The server said no, or nothing at all. */
static void refused(ehlo_opening *o, const ehlo_reply *r)
{
    static const char *const said[] = {
        [EHLO_STAGE_GREETING] = "the server refused us in its greeting",
        [EHLO_STAGE_HELLO] = "the server refused our hello",
        [EHLO_STAGE_STARTTLS] = "the server refused STARTTLS",
        [EHLO_STAGE_AUTH] = "the server refused the authentication",
    };
    ehlo_str problem = r != NULL ? ehlo_str_from(said[o->stage]) : ehlo_client_problem(o->client);
    fail(o, r, problem.len > 0 ? problem : ehlo_str_from("the session was closed"));
}

/* A command that cannot be called is a failure of the step it is for. */
static void expect(ehlo_opening *o, int error)
{
    if (error != EHLO_OK && !ehlo_client_over(o->client)) fail(o, NULL, ehlo_error_text(error));
}

void ehlo_opening_abandon(ehlo_opening *o)
{
    refused(o, NULL);
}

/* 1 if it goes on: the reply is there, of class 2 or 3, and the session lives. */
static int goes_on(const ehlo_opening *o, const ehlo_reply *r)
{
    return r != NULL && r->code < 400 && !ehlo_client_over(o->client);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

static void on_auth(ehlo_client *c, const ehlo_reply *r, void *user);

/* RFC 4954 4: "*" is answered with 501, which tells us nothing. A server that goes on challenging would never hear
 * QUIT. */
static void on_cancelled(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_opening *o = user;
    if (r != NULL && r->code == 334) ehlo_client_end(c, EHLO_CLOSE_PROTOCOL, "a challenge came behind a cancellation");
    fail(o, NULL, o->problem);
}

static void cancel(ehlo_opening *o, ehlo_str problem)
{
    o->problem = problem.len > 0 ? problem : ehlo_str_from("the server's challenge is none");
    expect(o, ehlo_client_auth_answer(o->client, ehlo_str_make(NULL, 0), on_cancelled, o));
}

/* The text behind a 334; more lines than one are no challenge. */
static int read_challenge(const ehlo_reply *r, ehlo_str *challenge)
{
    ehlo_str rest = r->text;
    return ehlo_reply_next(&rest, challenge) > 0 && rest.len == 0;
}

/* RFC 4954 4: an initial response that was not said with AUTH answers an empty challenge. */
static int respond(ehlo_opening *o, ehlo_str challenge, ehlo_str *response)
{
    if (o->initial.ptr == NULL) return ehlo_sasl_client_step(o->exchange, challenge, response);
    *response = o->initial;
    o->initial = ehlo_str_make(NULL, 0);
    return challenge.len == 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
}

static void take_challenge(ehlo_opening *o, const ehlo_reply *r)
{
    ehlo_str challenge, response;
    if (!read_challenge(r, &challenge) || respond(o, challenge, &response) != EHLO_OK) {
        cancel(o, ehlo_sasl_client_problem(o->exchange));
        return;
    }
    int error = ehlo_client_auth_answer(o->client, response, on_auth, o);
    if (error == EHLO_ERR_SPACE)
        cancel(o, ehlo_str_from("the response is too long for a line"));
    else
        expect(o, error);
}

/* RFC 5802 3: a server that has not proved itself may be anybody. */
static void take_success(ehlo_opening *o)
{
    if (o->initial.ptr != NULL)
        fail_saying(o, NULL, "the server claims success before it was told anything");
    else if (ehlo_sasl_client_finish(o->exchange) == EHLO_OK)
        succeed(o);
    else
        fail(o, NULL, ehlo_sasl_client_problem(o->exchange));
}

static void on_auth(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_opening *o = user;
    (void)c;
    if (!goes_on(o, r))
        refused(o, r);
    else if (r->code == 334)
        take_challenge(o, r);
    else if (r->code == 235)
        take_success(o);
    else
        fail_saying(o, r, "the server answered AUTH with a reply that is none");
}

/* "AUTH" SP mechanism SP base64 CRLF, or "=" where there is nothing to encode (RFC 4954 4). */
static int fits_command_line(uint32_t mechanism, ehlo_str initial)
{
    size_t room = COMMAND_LINE_MAX - sizeof "AUTH  \r\n" - ehlo_sasl_name(mechanism).len;
    return initial.len <= room / 4 * 3;
}

static void say_auth(ehlo_opening *o, ehlo_str initial)
{
    ehlo_str at_once = initial;
    if (initial.ptr != NULL && !fits_command_line(o->mechanism, initial)) {
        o->initial = initial;
        at_once = ehlo_str_make(NULL, 0);
    }
    expect(o, ehlo_client_auth(o->client, ehlo_sasl_name(o->mechanism), at_once, on_auth, o, NULL));
}

/* Why no mechanism can be chosen: would there be one, if nobody but a verified server could listen? */
static const char *why_none(const ehlo_opening *o, uint32_t offered)
{
    if (ehlo_sasl_choose(offered, o->config.credentials, 1, NULL) == 0)
        return "the server offers no mechanism that these credentials can use";
    return o->client->tls ? "the server is not verified, and offers no mechanism that keeps the secret"
                          : "the server offers no mechanism that may be used without TLS";
}

/* RFC 4954 4, RFC 8314: nothing that shows the secret is chosen in clear, or for who knows whom, unless the caller
 * insisted. */
static void authenticate(ehlo_opening *o)
{
    const ehlo_client *c = o->client;
    const ehlo_credentials *who = o->config.credentials;
    uint32_t offered = c->offers.caps & EHLO_CAP_AUTH ? c->offers.mechanisms : 0;
    ehlo_str initial;
    if (who == NULL) {
        succeed(o);
        return;
    }
    o->stage = EHLO_STAGE_AUTH;
    o->mechanism = ehlo_sasl_choose(offered, who, c->tls, c->facts);
    if (o->mechanism == 0) {
        fail_saying(o, NULL, why_none(o, offered));
        return;
    }
    int error = ehlo_sasl_client_start(&o->exchange, (char *)o + ehlo_aligned(sizeof *o), ehlo_sasl_client_size(who),
                                       o->mechanism, offered, who, c->facts, &initial);
    if (error == EHLO_OK)
        say_auth(o, initial);
    else
        fail(o, NULL, ehlo_error_text(error));
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

/* After a 220 the handshake follows: ehlo_opening_secured, or the session's end. */
static void on_starttls(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_opening *o = user;
    if (r != NULL && r->code == 220) return;
    if (r != NULL && o->config.tls == EHLO_TLS_OPPORTUNISTIC && !ehlo_client_over(c))
        authenticate(o);
    else
        refused(o, r);
}

static void start_tls(ehlo_opening *o)
{
    o->stage = EHLO_STAGE_STARTTLS;
    if (!(o->client->offers.caps & EHLO_CAP_STARTTLS)) {
        fail_saying(o, NULL, "the server does not offer STARTTLS");
        return;
    }
    expect(o, ehlo_client_command(o->client, EHLO_VERB_STARTTLS, ehlo_str_make(NULL, 0), on_starttls, o, NULL));
}

/* -- hello ------------------------------------------------------------------------------------------ */

static int wants_tls(const ehlo_opening *o)
{
    const ehlo_client *c = o->client;
    if (c->tls || o->config.tls == EHLO_TLS_NONE) return 0;
    return o->config.tls == EHLO_TLS_REQUIRED || (c->offers.caps & EHLO_CAP_STARTTLS);
}

static void on_hello(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_opening *o = user;
    (void)c;
    if (!goes_on(o, r))
        refused(o, r);
    else if (wants_tls(o))
        start_tls(o);
    else
        authenticate(o);
}

static void say_hello(ehlo_opening *o)
{
    o->stage = EHLO_STAGE_HELLO;
    expect(o, ehlo_client_hello(o->client, on_hello, o));
}

void ehlo_opening_secured(ehlo_opening *o)
{
    say_hello(o);
}

static void on_greeting(ehlo_client *c, const ehlo_reply *r, void *user)
{
    ehlo_opening *o = user;
    (void)c;
    if (goes_on(o, r))
        say_hello(o);
    else
        refused(o, r);
}

/* -- start ------------------------------------------------------------------------------------------ */

/* config, which may be of an older layout, with its default: 0 if it is not valid. */
static int normalise(const ehlo_opening_config *given, size_t size, ehlo_opening_config *config)
{
    if (given == NULL || size > sizeof *config) return 0;
    memset(config, 0, sizeof *config);
    memcpy(config, given, size);
    if (config->tls == EHLO_TLS_DEFAULT) {
        config->tls = config->credentials != NULL ? EHLO_TLS_REQUIRED : EHLO_TLS_OPPORTUNISTIC;
    }
    return config->tls <= EHLO_TLS_WRAPPED;
}

static size_t size_of(const ehlo_opening_config *config)
{
    const ehlo_credentials *who = config->credentials;
    return ehlo_aligned(sizeof(ehlo_opening)) + (who != NULL ? ehlo_sasl_client_size(who) : 0);
}

size_t ehlo_opening_size_sized(const ehlo_opening_config *given, size_t config_size)
{
    ehlo_opening_config config;
    return normalise(given, config_size, &config) ? size_of(&config) : 0;
}

int ehlo_opening_start_sized(void *mem, size_t len, ehlo_client *c, uint64_t now, const ehlo_opening_config *given,
                             size_t config_size, ehlo_on_opened done, void *user)
{
    ehlo_opening *o = mem;
    ehlo_opening_config config;
    if (mem == NULL || c == NULL || done == NULL || !normalise(given, config_size, &config)) return EHLO_ERR_ARG;
    if (len < size_of(&config)) return EHLO_ERR_SPACE;
    if (c->phase != EHLO_CLIENT_FRESH || (config.tls == EHLO_TLS_WRAPPED && !c->tls)) return EHLO_ERR_STATE;
    memset(o, 0, sizeof *o);
    o->client = c;
    o->config = config;
    o->done = done;
    o->user = user;
    o->stage = EHLO_STAGE_GREETING;
    c->opening = o;
    if (config.credentials != NULL && config.credentials->clear) c->config.flags |= EHLO_CLIENT_AUTH_CLEAR;
    int error = ehlo_client_start(c, now, on_greeting, o);
    if (error == EHLO_ERR_REENTRY) c->opening = NULL;
    return error;
}
