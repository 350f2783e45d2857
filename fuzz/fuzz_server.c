/* A server session under any octets, any cut, any transport and any application.
 *
 * The first eight octets of an input choose the manner; the rest is what the client says. The same octets go
 * through twice: once whole, answered at once; once in the manner chosen. Unless that manner breaks something
 * off, both must give the same events and the same output. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ehlo/server.h>

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum {
    USE_LMTP = 1,
    USE_LENDER = 2,
    USE_ALL_EXTENSIONS = 4,
    USE_LENIENT_BODY = 8,
    USE_SMALL_LIMITS = 16,
    USE_EARLY_INPUT = 32,
    USE_STRICT_8BIT = 64,
    USE_NO_RESULT = 128
};
enum { END_CLOSE, END_EOF, END_LOST, END_SHUTDOWN, END_COUNT };
/* Above the end. */
enum {
    ROLE_SUBMISSION = 4,
    ROLE_MECHANISMS = 8, /* all of them, and not in clear */
    ROLE_IN_TLS = 16,    /* from the first octet on */
    ROLE_FACTS = 32,     /* TLS has a certificate and a channel binding */
    ROLE_REQUIRES_TLS = 64
};

static const char all_mechanisms[] = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 EXTERNAL CRAM-MD5 "
                                     "PLAIN LOGIN ANONYMOUS OAUTHBEARER XOAUTH2 X-OWN";

/* What the head of the input chooses. */
typedef struct manner {
    uint8_t use;    /* USE_* */
    size_t chunk;   /* octets offered at once; 0: all */
    size_t write;   /* octets taken by a write; 0: all */
    uint8_t defer;  /* bit n: the n-th decision (mod 8) is answered later; bits 2 and 5 also: inside */
    size_t body;    /* octets taken by on_body; 0: all */
    uint8_t refuse; /* bit n: the n-th decision (mod 8) is a refusal */
    unsigned fail;  /* the n-th write or loan fails; 0: none */
    int end;        /* END_* */
    unsigned role;  /* ROLE_* */
} manner;

enum { HEAD = 8 };

typedef struct run {
    const manner *how;
    ehlo_server *session;
    uint64_t events; /* hash */
    uint64_t output; /* hash */
    unsigned decisions, writes, loans, bodies, blocks;
    ehlo_token pending;
    ehlo_reply reply;
    int mail, rcpt, auth; /* the decision pending is one on MAIL, RCPT, AUTH */
    int in_tls, authenticated, offers_auth_in_clear;
    int open, closes, stalled, broken;
    uint64_t body_octets;
    uint32_t recipients;
    char line[512];
    size_t column;
} run;

static void hash(uint64_t *h, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++) *h = (*h ^ at[i]) * 1099511628211u;
}

static void event(run *r, const char *name)
{
    hash(&r->events, name, strlen(name) + 1);
}

static void event_text(run *r, ehlo_str s)
{
    hash(&r->events, &s.len, sizeof s.len);
    hash(&r->events, s.ptr, s.len);
}

/* -- the application -------------------------------------------------------------------------------- */

static int accepted(const ehlo_reply *reply)
{
    return reply->code == 0 || reply->code / 100 == 2;
}

static void settle(run *r, const ehlo_reply *reply)
{
    if (r->mail && accepted(reply)) r->open = 1;
    if (r->rcpt && accepted(reply)) r->recipients++;
    if (r->mail) r->recipients = 0;
    if (r->auth && reply->code == 235) r->authenticated = 1;
    r->mail = r->rcpt = r->auth = 0;
}

static int decide(run *r, ehlo_token token, ehlo_reply *reply, unsigned refusal)
{
    unsigned n = r->decisions++ % 8;
    int later = (r->how->defer >> n) & 1;
    ehlo_reply answer = { 0, { 0, 0, 0 }, { NULL, 0 } };
    MUST(token != 0 && r->pending == 0);
    if ((r->how->refuse >> n) & 1) answer.code = (uint16_t)refusal;
    if (!later) {
        settle(r, &answer);
        *reply = answer;
        return EHLO_OK;
    }
    if (n == 2 || n == 5) { /* from inside */
        settle(r, &answer);
        MUST(ehlo_server_answer(r->session, 1, token, &answer) == EHLO_OK);
        MUST(ehlo_server_answer(r->session, 1, token, &answer) == EHLO_ERR_STALE);
        return EHLO_LATER;
    }
    r->pending = token;
    r->reply = answer;
    return EHLO_LATER;
}

static int on_connect(ehlo_server *s, ehlo_token token, ehlo_reply *reply, void *user)
{
    (void)s;
    event(user, "connect");
    return decide(user, token, reply, 554);
}

static int on_hello(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *reply, void *user)
{
    const run *r = user;
    if (!r->in_tls && !r->offers_auth_in_clear) MUST(ehlo_server_mechanisms(s) == 0);
    event(user, "hello");
    event_text(user, hello->name);
    return decide(user, token, reply, 550);
}

/* RFC 6409 4.2 */
static int is_qualified(const ehlo_path *path)
{
    return path->domain.len == 0 || path->domain.ptr[0] == '[' ||
           memchr(path->domain.ptr, '.', path->domain.len) != NULL;
}

static int on_mail(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s;
    MUST(!r->open);
    if (r->how->role & ROLE_SUBMISSION) MUST(r->authenticated && is_qualified(&mail->path));
    if (r->how->role & ROLE_REQUIRES_TLS) MUST(r->in_tls);
    event(r, "mail");
    event_text(r, mail->path.mailbox);
    event_text(r, mail->params);
    r->mail = 1;
    return decide(r, token, reply, 451);
}

static int on_rcpt(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s;
    MUST(r->open);
    if (r->how->role & ROLE_SUBMISSION) MUST(is_qualified(&rcpt->path));
    event(r, "rcpt");
    event_text(r, rcpt->path.mailbox);
    event_text(r, rcpt->params);
    r->rcpt = 1;
    return decide(r, token, reply, 550);
}

static int on_data(ehlo_server *s, ehlo_token token, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s;
    MUST(r->open && r->recipients > 0);
    event(r, "data");
    r->body_octets = 0;
    return decide(r, token, reply, 452);
}

static int on_body(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s, (void)reply;
    MUST(r->open && !r->stalled && len > 0 && *taken == len);
    if (r->how->body != 0) {
        *taken = r->bodies++ % 2 == 0 ? 0 : r->how->body < len ? r->how->body : len;
        r->stalled = *taken < len;
    }
    hash(&r->events, bytes, *taken);
    r->body_octets += *taken;
    return EHLO_OK;
}

static int on_message(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s;
    MUST(r->open && message->size == r->body_octets && message->recipients == r->recipients);
    r->open = 0;
    event(r, "message");
    return decide(r, token, reply, 554);
}

static int on_result(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *reply, void *user)
{
    run *r = user;
    (void)s;
    MUST(rcpt < r->recipients);
    event(r, "result");
    return decide(r, token, reply, 452);
}

/* What is not offered, or cannot work in this session, nobody is asked about. */
static void check_mechanism(const run *r, const ehlo_server *s, ehlo_str name)
{
    uint32_t bit = ehlo_sasl_find(name);
    uint32_t plus = EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256_PLUS;
    int has_facts = r->in_tls && r->how->role & ROLE_FACTS;
    MUST(!r->authenticated && !r->open);
    MUST((ehlo_server_mechanisms(s) & bit) == bit);
    MUST(!(ehlo_server_mechanisms(s) & (plus | EHLO_SASL_EXTERNAL)) || has_facts);
    if (r->how->role & (ROLE_MECHANISMS | ROLE_REQUIRES_TLS)) MUST(r->in_tls);
}

static int on_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *reply,
                   void *user)
{
    run *r = user;
    if (mechanism.ptr == NULL && response.ptr == NULL) return EHLO_OK;
    if (mechanism.len > 0) check_mechanism(r, s, mechanism);
    event(r, "auth");
    event_text(r, response);
    r->auth = 1;
    return decide(r, token, reply, response.len == 0 ? 334 : 235);
}

static int on_starttls(ehlo_server *s, ehlo_token token, ehlo_reply *reply, void *user)
{
    (void)s;
    event(user, "starttls");
    return decide(user, token, reply, 454);
}

static int on_command(ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *reply, void *user)
{
    (void)s;
    event(user, "command");
    event_text(user, command->argument);
    return decide(user, token, reply, 550);
}

static void on_reset(ehlo_server *s, int reason, void *user)
{
    run *r = user;
    (void)s;
    MUST(r->open);
    r->open = 0;
    r->stalled = 0;
    event(r, "reset");
    hash(&r->events, &reason, sizeof reason);
}

static void on_close(ehlo_server *s, int reason, ehlo_token pending, void *user)
{
    run *r = user;
    (void)s, (void)pending;
    r->closes++;
    event(r, "close");
    hash(&r->events, &reason, sizeof reason);
}

/* -- the transport ---------------------------------------------------------------------------------- */

/* [2-5][0-5][0-9]([ -]text)CRLF, 512 octets at most (RFC 5321 4.2). */
static void check_output(run *r, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        MUST(r->column < sizeof r->line);
        r->line[r->column++] = bytes[i];
        if (bytes[i] != '\n') continue;
        const char *l = r->line;
        MUST(r->column >= 6 && l[r->column - 2] == '\r');
        MUST(l[0] >= '2' && l[0] <= '5' && l[1] >= '0' && l[1] <= '5' && l[2] >= '0' && l[2] <= '9');
        MUST(l[3] == ' ' || l[3] == '-');
        if (r->column > 8 && memcmp(l + 4, "AUTH", 4) == 0) MUST(r->in_tls || r->offers_auth_in_clear);
        for (size_t c = 0; c + 2 < r->column; c++) MUST((unsigned char)l[c] >= 0x20 && l[c] != 0x7F);
        r->column = 0;
    }
}

static int on_write(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    run *r = user;
    size_t room = r->how->write != 0 ? r->how->write : SIZE_MAX;
    (void)s;
    *taken = 0;
    if (++r->writes == r->how->fail && !(r->how->use & USE_LENDER)) {
        r->broken = 1;
        return -1;
    }
    if (r->how->write != 0 && r->writes % 2 == 0) return 0;
    for (size_t i = 0; i < n && room > 0; i++) {
        size_t len = parts[i].len < room ? parts[i].len : room;
        check_output(r, parts[i].ptr, len);
        hash(&r->output, parts[i].ptr, len);
        *taken += len;
        room -= len;
    }
    return 0;
}

static run *lending; /* the lender's context is part of the service; one run at a time */

static void *lend(size_t len, void *ctx)
{
    (void)ctx;
    if (++lending->loans == lending->how->fail) {
        lending->broken = 1;
        return NULL;
    }
    lending->blocks++;
    return malloc(len);
}

static void give(void *mem, size_t len, void *ctx)
{
    (void)len, (void)ctx;
    lending->blocks--;
    free(mem);
}

/* -- one run ---------------------------------------------------------------------------------------- */

static void set_limits(ehlo_service_config *c)
{
    c->max_size = 200;
    c->drain_max = 300;
    c->line_max = 512;
    c->line_drain_max = 1000;
    c->max_recipients = 3;
    c->max_bad = 5;
    c->max_idle_commands = 9;
    c->text_line_max = 60;
    c->max_messages = 3;
}

static void set_role(ehlo_service_config *c, unsigned role)
{
    if (role & ROLE_SUBMISSION) c->flags |= EHLO_SERVICE_SUBMISSION;
    if (role & ROLE_REQUIRES_TLS) {
        c->flags |= EHLO_SERVICE_REQUIRE_TLS;
        c->extensions |= EHLO_CAP_STARTTLS;
    }
    if (role & (ROLE_SUBMISSION | ROLE_MECHANISMS)) {
        c->extensions |= EHLO_CAP_AUTH | EHLO_CAP_STARTTLS;
        c->auth_mechanisms = ehlo_str_from(all_mechanisms);
        c->flags |= EHLO_SERVICE_AUTH_CLEAR;
    }
    if (role & ROLE_MECHANISMS) c->flags &= ~(unsigned)EHLO_SERVICE_AUTH_CLEAR;
}

static void configure(ehlo_service_config *c, uint8_t use)
{
    memset(c, 0, sizeof *c);
    c->hostname = ehlo_str_from("mx.example");
    if (use & USE_LMTP) c->flags |= EHLO_SERVICE_LMTP;
    if (use & USE_EARLY_INPUT) c->flags |= EHLO_SERVICE_EARLY_INPUT;
    if (use & USE_STRICT_8BIT) c->flags |= EHLO_SERVICE_REFUSE_8BIT;
    if (use & USE_LENIENT_BODY) {
        c->bare_cr = EHLO_BARE_NORMALISE;
        c->bare_lf = EHLO_BARE_PASS;
    }
    if (use & USE_SMALL_LIMITS) set_limits(c);
    if (use & USE_ALL_EXTENSIONS) {
        c->extensions = 0x1FFFFF;
        c->auth_mechanisms = ehlo_str_from("PLAIN LOGIN");
        c->flags |= EHLO_SERVICE_AUTH_CLEAR;
    }
    if (use & USE_LENDER) {
        c->lender.lend = lend;
        c->lender.give = give;
    }
}

static void begin(run *r, const manner *how, void **service_mem, void **session_mem)
{
    ehlo_server_callbacks cb = { on_write,    on_connect, on_hello,   on_mail,   on_rcpt,
                                 on_data,     on_body,    on_message, on_result, on_auth,
                                 on_starttls, on_command, on_reset,   on_close,  NULL };
    ehlo_service_config config;
    ehlo_service *service;
    memset(r, 0, sizeof *r);
    r->how = how;
    lending = r;
    configure(&config, how->use);
    set_role(&config, how->role);
    r->offers_auth_in_clear =
        (config.flags & (EHLO_SERVICE_AUTH_CLEAR | EHLO_SERVICE_REQUIRE_TLS)) == EHLO_SERVICE_AUTH_CLEAR;
    if (how->use & USE_NO_RESULT) cb.on_result = NULL;
    size_t size = ehlo_service_size(&config);
    *service_mem = malloc(size);
    MUST(ehlo_service_init(&service, *service_mem, size, &config, &cb) == EHLO_OK);
    *session_mem = malloc(ehlo_server_size(service));
    MUST(ehlo_server_init(&r->session, *session_mem, ehlo_server_size(service), service, NULL, r) == EHLO_OK);
}

/* It wants nothing but to be closed, whatever it was fed last. */
static int is_over(const run *r)
{
    return (ehlo_server_wants(r->session) & ~(unsigned)EHLO_WANT_SECRET) == EHLO_WANT_CLOSE;
}

static void must_be_fine(run *r, int result)
{
    if (result == EHLO_OK) return;
    MUST(r->broken && result < EHLO_ERR_FATAL);
    MUST(is_over(r));
}

static void secure(run *r)
{
    static const ehlo_tls_facts facts = { .version = { "TLSv1.3", 7 },
                                          .peer_subject = { "CN=client.example", 17 },
                                          .peer_verified = 1,
                                          .exporter = { "0123456789abcdef0123456789ABCDEF", 32 } };
    r->in_tls = 1;
    r->authenticated = 0;
    must_be_fine(r, ehlo_server_tls_started(r->session, 1, 0, r->how->role & ROLE_FACTS ? &facts : NULL));
}

/* Everything that is not reading: 1 if something was done. */
static int move(run *r)
{
    unsigned wants = ehlo_server_wants(r->session);
    if (wants & EHLO_WANT_CLOSE) return 0;
    MUST(((wants & EHLO_WANT_ANSWER) != 0) == (r->pending != 0));
    if (r->pending != 0) {
        ehlo_token token = r->pending;
        ehlo_reply reply = r->reply;
        r->pending = 0;
        settle(r, &reply);
        must_be_fine(r, ehlo_server_answer(r->session, 1, token, &reply));
    } else if (r->stalled) {
        MUST(!(wants & EHLO_WANT_READ));
        r->stalled = 0;
        must_be_fine(r, ehlo_server_resume(r->session, 1));
    } else if (wants & EHLO_WANT_WRITE) {
        must_be_fine(r, ehlo_server_flush(r->session, 1));
    } else if (wants & EHLO_WANT_TLS) {
        secure(r);
    } else {
        return 0;
    }
    return 1;
}

/* Offers octets flush against the end of their own block, so that a sanitizer sees who reads on. */
static size_t offer(run *r, const uint8_t *bytes, size_t len, size_t input_min)
{
    char *copy = malloc(len);
    size_t used = 0;
    memcpy(copy, bytes, len);
    must_be_fine(r, ehlo_server_feed(r->session, 1, copy, len, &used));
    free(copy);
    MUST(used <= len);
    unsigned wants = ehlo_server_wants(r->session);
    MUST(used == len || !(wants & EHLO_WANT_READ) || len - used < input_min);
    if (!(wants & EHLO_WANT_CLOSE)) MUST(wants != 0 || r->stalled);
    return used;
}

static void talk(run *r, const uint8_t *bytes, size_t len, size_t input_min)
{
    size_t done = 0, offered = 0;
    for (;;) {
        while (move(r)) continue;
        if (ehlo_server_wants(r->session) & EHLO_WANT_CLOSE) return;
        MUST(ehlo_server_wants(r->session) & EHLO_WANT_READ);
        if (offered < len)
            offered += r->how->chunk == 0 || r->how->chunk > len - offered ? len - offered : r->how->chunk;
        size_t used = offered > done ? offer(r, bytes + done, offered - done, input_min) : 0;
        done += used;
        if (offered == len && (used == 0 || done == len) && !move(r)) return;
    }
}

static void end(run *r)
{
    if (r->how->end == END_EOF) must_be_fine(r, ehlo_server_eof(r->session, 1));
    if (r->how->end == END_LOST) MUST(ehlo_server_lost(r->session) == EHLO_OK);
    if (r->how->end == END_SHUTDOWN) must_be_fine(r, ehlo_server_shutdown(r->session, 1));
    while (move(r)) continue;
    if (r->how->end == END_EOF || r->how->end == END_LOST) {
        MUST(is_over(r));
    }
    MUST(ehlo_server_tick(r->session, 2) == EHLO_OK || r->broken);
    MUST(ehlo_server_close(r->session) == EHLO_OK);
    MUST(r->closes == 1 && !r->open && r->blocks == 0);
    if (!r->broken) MUST(r->column == 0);
}

static void do_run(run *r, const manner *how, const uint8_t *bytes, size_t len)
{
    void *service_mem, *session_mem;
    begin(r, how, &service_mem, &session_mem);
    size_t input_min = ehlo_service_input_min(ehlo_server_service(r->session));
    if (how->role & ROLE_IN_TLS) secure(r);
    must_be_fine(r, ehlo_server_start(r->session, 1));
    talk(r, bytes, len, input_min);
    end(r);
    free(session_mem);
    free(service_mem);
}

static manner read_head(const uint8_t *head)
{
    manner how = { 0 };
    how.use = head[0];
    how.chunk = head[1];
    how.write = head[2];
    how.defer = head[3];
    how.body = head[4];
    how.refuse = head[5];
    how.fail = head[6];
    how.end = head[7] % END_COUNT;
    how.role = head[7];
    return how;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static run plain, chosen;
    if (size < HEAD) return 0;
    manner how = read_head(data), simple = how;
    simple.chunk = simple.write = simple.body = 0;
    simple.defer = 0;
    simple.fail = 0;
    do_run(&chosen, &how, data + HEAD, size - HEAD);
    do_run(&plain, &simple, data + HEAD, size - HEAD);
    if (chosen.broken || (how.use & USE_EARLY_INPUT)) return 0;
    MUST(chosen.events == plain.events);
    MUST(chosen.output == plain.output);
    return 0;
}
