/* AUTH with real exchanges behind on_auth: the session and ehlo_sasl_server as server.h and sasl.h tell to join them,
 * against ehlo_sasl_client and against lines that no client would send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/sasl.h>
#include <ehlo/server.h>

#include "harness/toy_crypto.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { OUT = 1 << 16, EXCHANGE = 1 << 15, LINE = 4096 };

/* -- the server ------------------------------------------------------------------------------------- */

/* How octets come and answers go. */
typedef struct manner {
    int bytes; /* octet by octet */
    int later; /* answers come through ehlo_server_answer */
} manner;

static const manner manners[] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 } };

typedef struct desk {
    manner how;
    ehlo_service *service;
    ehlo_server *session;
    void *service_mem;
    char *session_mem;
    size_t session_size;
    ehlo_tls_facts facts;
    unsigned drawn;
    ehlo_crypto crypto;
    ehlo_sasl_server_config config;
    ehlo_sasl_server *exchange;
    char exchange_mem[EXCHANGE];
    int begun, ended;
    ehlo_token token; /* pending, or 0 */
    ehlo_reply reply; /* for it */
    char user[64];    /* who has logged in */
    int asked;        /* for a password or the like */
    char out[OUT];
    size_t out_len;
} desk;

static int is(ehlo_str text, const char *expected)
{
    return ehlo_secret_equal(text, ehlo_str_from(expected));
}

static void end_exchange(desk *d)
{
    static const char nothing[EXCHANGE];
    if (d->exchange == NULL) return;
    ehlo_sasl_server_end(d->exchange);
    d->exchange = NULL;
    d->ended++;
    assert_memory_equal(d->exchange_mem, nothing, sizeof nothing);
}

/* The one user there is: "user", with the password "pencil", the token "ticket" and the certificate "CN=user". */
static int is_right(const ehlo_sasl_server *x)
{
    ehlo_str user = ehlo_sasl_server_user(x), secret = ehlo_sasl_server_secret(x);
    switch (ehlo_sasl_server_mechanism(x)) {
    case EHLO_SASL_EXTERNAL:
        return is(user, "CN=user") && ehlo_sasl_server_authzid(x).len == 0;
    case EHLO_SASL_ANONYMOUS:
        return 1;
    case EHLO_SASL_OAUTHBEARER:
    case EHLO_SASL_XOAUTH2:
        return is(user, "user") && is(secret, "ticket");
    default:
        return is(user, "user") && is(secret, "pencil") && ehlo_sasl_server_authzid(x).len == 0;
    }
}

static ehlo_sasl_step take_step(desk *d, ehlo_str response, ehlo_str *challenge)
{
    ehlo_sasl_step step = ehlo_sasl_server_step(d->exchange, response, challenge);
    const char *stored = is(ehlo_sasl_server_user(d->exchange), "user") ? "pencil" : NULL;
    d->asked += step >= EHLO_SASL_NEED_KEYS && step <= EHLO_SASL_NEED_VERDICT;
    return toy_answer(d->exchange, step, &d->crypto, stored, is_right(d->exchange), challenge);
}

/* 0 if there is no such mechanism. */
static int begin_exchange(desk *d, ehlo_str mechanism)
{
    assert_null(d->exchange);
    d->config.facts = ehlo_server_tls_facts(d->session);
    d->config.offered = ehlo_server_mechanisms(d->session);
    int result = ehlo_sasl_server_start(&d->exchange, d->exchange_mem, sizeof d->exchange_mem,
                                        ehlo_sasl_find(mechanism), &d->config);
    d->begun += result == EHLO_OK;
    return result == EHLO_OK;
}

static int on_auth(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r, void *user)
{
    desk *d = user;
    ehlo_str challenge;
    (void)s;
    if (mechanism.ptr == NULL && response.ptr == NULL) {
        end_exchange(d);
        return EHLO_OK;
    }
    if (mechanism.len > 0 && !begin_exchange(d, mechanism)) return EHLO_OK;
    ehlo_sasl_step step = take_step(d, response, &challenge);
    ehlo_sasl_reply(step, challenge, r);
    if (step == EHLO_SASL_ACCEPTED) {
        ehlo_str who = ehlo_sasl_server_user(d->exchange);
        snprintf(d->user, sizeof d->user, "%.*s", (int)who.len, who.ptr);
    }
    if (r->code != 334) end_exchange(d);
    if (!d->how.later) return EHLO_OK;
    d->token = token;
    d->reply = *r;
    return EHLO_LATER;
}

static int write_out(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    desk *d = user;
    (void)s;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(parts[i].len <= sizeof d->out - d->out_len - 1);
        memcpy(d->out + d->out_len, parts[i].ptr, parts[i].len);
        d->out_len += parts[i].len;
        *taken += parts[i].len;
    }
    d->out[d->out_len] = '\0';
    return EHLO_OK;
}

static void *must(void *mem)
{
    assert_non_null(mem);
    return mem;
}

static void make_session(desk *d)
{
    static const ehlo_server_callbacks callbacks = { .write = write_out, .on_auth = on_auth };
    ehlo_service_config config = {
        .hostname = ehlo_str_from("mx.example"),
        .extensions = EHLO_CAP_AUTH | EHLO_CAP_ENHANCEDSTATUSCODES,
        .flags = EHLO_SERVICE_AUTH_CLEAR | EHLO_SERVICE_SUBMISSION,
        .auth_mechanisms = ehlo_str_from("SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 EXTERNAL "
                                         "OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN ANONYMOUS"),
        .max_bad = 1000,
        .max_auth_failures = 1000,
    };
    size_t size = ehlo_service_size(&config);
    d->service_mem = must(malloc(size));
    assert_int_equal(ehlo_service_init(&d->service, d->service_mem, size, &config, &callbacks), EHLO_OK);
    d->session_size = ehlo_server_size(d->service);
    d->session_mem = must(malloc(d->session_size));
    memset(d->session_mem, 0, d->session_size);
    assert_int_equal(ehlo_server_init(&d->session, d->session_mem, d->session_size, d->service, NULL, d), EHLO_OK);
}

/* A session inside TLS, with the facts that every mechanism needs, if any are to be known. */
static desk *open_desk(manner how, int with_facts)
{
    desk *d = must(calloc(1, sizeof *d));
    d->how = how;
    d->crypto = toy_crypto(&d->drawn);
    d->config.crypto = &d->crypto;
    d->config.hostname = ehlo_str_from("mx.example");
    d->config.decoy = ehlo_str_from("decoy");
    d->facts.version = ehlo_str_from("TLSv1.3");
    if (with_facts) {
        d->facts.exporter = ehlo_str_from("0123456789abcdef0123456789abcdef");
        d->facts.peer_subject = ehlo_str_from("CN=user");
        d->facts.peer_verified = 1;
    }
    make_session(d);
    assert_int_equal(ehlo_server_tls_started(d->session, 1, 0, &d->facts), EHLO_OK);
    assert_int_equal(ehlo_server_start(d->session, 1), EHLO_OK);
    return d;
}

/* Whatever became of it, no exchange is left open. */
static void close_desk(desk *d)
{
    assert_int_equal(ehlo_server_close(d->session), EHLO_OK);
    assert_null(d->exchange);
    assert_int_equal(d->begun, d->ended);
    free(d->session_mem);
    free(d->service_mem);
    free(d);
}

static void answer(desk *d)
{
    while (d->token != 0) {
        ehlo_token token = d->token;
        d->token = 0;
        assert_int_equal(ehlo_server_answer(d->session, 1, token, &d->reply), EHLO_OK);
    }
}

/* Whole lines: nothing of them is left. */
static void say(desk *d, const char *text, size_t len)
{
    for (size_t from = 0, end = 0, used; from < len;) {
        end = d->how.bytes && end < len ? end + 1 : len;
        assert_int_equal(ehlo_server_feed(d->session, 1, text + from, end - from, &used), EHLO_OK);
        from += used;
        answer(d);
    }
}

static void say_text(desk *d, const char *text)
{
    say(d, text, strlen(text));
}

static const char *last_line(const desk *d)
{
    const char *at = d->out + d->out_len;
    if (d->out_len == 0) return d->out;
    for (at--; at > d->out && at[-1] != '\n';) at--;
    return at;
}

static int last_code(const desk *d)
{
    return atoi(last_line(d));
}

#define assert_last(d, start) assert_int_equal(strncmp(last_line(d), (start), strlen(start)), 0)

/* -- the client ------------------------------------------------------------------------------------- */

/* A login, as it is to go. */
typedef struct attempt {
    uint32_t mechanism;
    const char *password; /* or token; NULL: the right one */
    int delayed;          /* no initial response, though there is one */
    int at;               /* the message of the client's, from 1 on, in whose place `instead` is said; 0: none */
    const char *instead;  /* its line */
    int messages;         /* of the client's, behind AUTH; filled in */
} attempt;

/* prefix, octets as base64, CRLF. */
static void say_base64(desk *d, const char *prefix, ehlo_str octets)
{
    char line[LINE];
    size_t from = strlen(prefix), len;
    memcpy(line, prefix, from);
    assert_int_equal(ehlo_base64_encode(octets, line + from, sizeof line - from - 2, &len), EHLO_OK);
    if (octets.len == 0 && from > 0) line[from + len++] = '='; /* RFC 4954 4 */
    memcpy(line + from + len, "\r\n", 2);
    say(d, line, from + len + 2);
}

static void say_auth(desk *d, ehlo_str name, ehlo_str initial, int without)
{
    char prefix[64];
    if (initial.ptr == NULL || without) {
        snprintf(prefix, sizeof prefix, "AUTH %.*s\r\n", (int)name.len, name.ptr);
        say_text(d, prefix);
    } else {
        snprintf(prefix, sizeof prefix, "AUTH %.*s ", (int)name.len, name.ptr);
        say_base64(d, prefix, initial);
    }
}

static ehlo_str challenge_of(const desk *d)
{
    const char *line = last_line(d) + 4;
    return ehlo_str_make(line, strcspn(line, "\r"));
}

/* Its last reply. A client that the server convinced is one that the server had to convince. */
static int log_in(desk *d, attempt *a)
{
    static char mem[EXCHANGE];
    unsigned drawn = 1000;
    ehlo_crypto crypto = toy_crypto(&drawn);
    ehlo_credentials credentials = { .user = ehlo_str_from("user"),
                                     .password = ehlo_str_from(a->password != NULL ? a->password : "pencil"),
                                     .token = ehlo_str_from(a->password != NULL ? a->password : "ticket"),
                                     .mechanisms = a->mechanism,
                                     .crypto = &crypto };
    ehlo_str initial, response;
    ehlo_sasl_client *x;
    if (a->mechanism == EHLO_SASL_EXTERNAL) credentials.user = ehlo_str_make(NULL, 0);
    assert_int_equal(ehlo_sasl_client_start(&x, mem, sizeof mem, a->mechanism, ehlo_server_mechanisms(d->session),
                                            &credentials, &d->facts, &initial),
                     EHLO_OK);
    a->messages = 0;
    say_auth(d, ehlo_sasl_name(a->mechanism), initial, a->delayed);
    for (int delayed = a->delayed && initial.ptr != NULL; last_code(d) == 334; delayed = 0) {
        if (++a->messages == a->at) {
            say_text(d, a->instead);
            continue;
        }
        response = initial;
        int result = delayed ? EHLO_OK : ehlo_sasl_client_step(x, challenge_of(d), &response);
        if (result == EHLO_OK)
            say_base64(d, "", response);
        else
            say_text(d, "*\r\n");
    }
    if (last_code(d) == 235) assert_int_equal(ehlo_sasl_client_finish(x), EHLO_OK);
    ehlo_sasl_client_end(x);
    return last_code(d);
}

static void assert_nobody(desk *d)
{
    assert_int_equal(ehlo_server_with(d->session) & (unsigned)EHLO_WITH_AUTH, 0);
    assert_string_equal(d->user, "");
    say_text(d, "MAIL FROM:<a@x.example>\r\n");
    assert_last(d, "530 5.7.0 ");
}

static void assert_somebody(desk *d)
{
    assert_true(ehlo_server_with(d->session) & EHLO_WITH_AUTH);
    assert_string_not_equal(d->user, "");
    say_text(d, "AUTH PLAIN\r\n");
    assert_last(d, "503 ");
    say_text(d, "MAIL FROM:<a@x.example>\r\n");
    assert_last(d, "250 ");
}

static desk *open_greeted(manner how)
{
    desk *d = open_desk(how, 1);
    say_text(d, "EHLO c.example\r\n");
    return d;
}

/* -- tests ------------------------------------------------------------------------------------------ */

/* [C185] [C187] [C191] [C205] Initial response or none, whole or octet by octet, answered at once or later. */
static void every_mechanism_logs_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < TOY_MECHANISMS; i++) {
        for (size_t m = 0; m < COUNT(manners); m++) {
            for (int delayed = 0; delayed < 2; delayed++) {
                attempt a = { .mechanism = toy_mechanisms[i], .delayed = delayed };
                desk *d = open_greeted(manners[m]);
                assert_int_equal(log_in(d, &a), 235);
                assert_last(d, "235 2.7.0 ");
                assert_somebody(d);
                close_desk(d);
            }
        }
    }
}

/* [C192] [U14] CVE-2011-1720: each attempt starts from nothing, whatever failed before it. */
static void a_failed_login_leaves_nothing_to_the_next(void **state)
{
    (void)state;
    for (size_t m = 0; m < COUNT(manners); m++) {
        desk *d = open_greeted(manners[m]);
        attempt cram = { .mechanism = EHLO_SASL_CRAM_MD5, .password = "wrong" };
        attempt plain = { .mechanism = EHLO_SASL_PLAIN, .password = "wrong" };
        attempt scram = { .mechanism = EHLO_SASL_SCRAM_SHA_256 };
        assert_int_equal(log_in(d, &cram), 535);
        assert_nobody(d);
        assert_int_equal(log_in(d, &plain), 535);
        assert_nobody(d);
        assert_int_equal(log_in(d, &scram), 235);
        assert_somebody(d);
        assert_int_equal(d->begun, 3);
        close_desk(d);
    }
}

static void wrong_secrets_are_535(void **state) /* [C191] */
{
    (void)state;
    for (size_t i = 0; i < TOY_WITH_SECRET; i++) {
        attempt wrong = { .mechanism = toy_mechanisms[i], .password = "wrong" },
                right = { .mechanism = toy_mechanisms[i] };
        desk *d = open_greeted(manners[0]);
        assert_int_equal(log_in(d, &wrong), 535);
        assert_last(d, "535 5.7.8 ");
        assert_nobody(d);
        assert_int_equal(log_in(d, &right), 235);
        close_desk(d);
    }
}

/* What a client may say in place of each of its messages ends the exchange, and the next one is not the worse for it. */
static void must_end(uint32_t mechanism, int delayed, const char *instead, const char *said)
{
    attempt whole = { .mechanism = mechanism, .delayed = delayed };
    desk *d = open_greeted(manners[0]);
    assert_int_equal(log_in(d, &whole), 235);
    close_desk(d);
    for (int at = 1; at <= whole.messages; at++) {
        for (size_t m = 0; m < COUNT(manners); m++) {
            attempt broken = { .mechanism = mechanism, .delayed = delayed, .at = at, .instead = instead };
            d = open_greeted(manners[m]);
            (void)log_in(d, &broken);
            assert_last(d, said);
            assert_null(d->exchange);
            assert_nobody(d);
            assert_int_equal(log_in(d, &whole), 235);
            assert_somebody(d);
            close_desk(d);
        }
    }
}

static void exchanges_are_cancelled_at_each_step(void **state) /* [C188] [U13] */
{
    (void)state;
    for (size_t i = 0; i < TOY_MECHANISMS; i++) {
        for (int delayed = 0; delayed < 2; delayed++) must_end(toy_mechanisms[i], delayed, "*\r\n", "501 5.7.0 ");
    }
}

static void what_is_no_base64_ends_each_step(void **state) /* [C189] [U13] */
{
    (void)state;
    for (size_t i = 0; i < TOY_MECHANISMS; i++) {
        must_end(toy_mechanisms[i], 1, "=\r\n", "501 5.5.2 ");
        must_end(toy_mechanisms[i], 1, "AAA\r\n", "501 5.5.2 ");
    }
}

/* Base64 of what no mechanism's grammar has anywhere: a lone NUL. */
static void what_breaks_the_grammar_ends_each_step(void **state) /* [C192] [U13] [U16] */
{
    (void)state;
    for (size_t i = 0; i < TOY_MECHANISMS; i++) must_end(toy_mechanisms[i], 1, "AA==\r\n", "501 5.5.2 ");
}

/* [U13] CVE-2019-11494, CVE-2017-15132: the peer ends, or is lost, at each octet of an exchange. */
static void an_exchange_is_forgotten_wherever_the_peer_ends(void **state)
{
    static const uint32_t cases[] = { EHLO_SASL_SCRAM_SHA_256, EHLO_SASL_LOGIN, EHLO_SASL_CRAM_MD5, EHLO_SASL_PLAIN };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char stream[LINE] = "EHLO c.example\r\n";
        attempt a = { .mechanism = cases[i], .delayed = 1 };
        desk *d = open_greeted(manners[0]);
        assert_int_equal(log_in(d, &a), 235);
        close_desk(d);
        strcat(stream, "AUTH ");
        strncat(stream, ehlo_sasl_name(cases[i]).ptr, ehlo_sasl_name(cases[i]).len);
        strcat(stream, "\r\nbixhPWEsbj11c2VyLHI9YWJj\r\n");
        for (size_t cut = 0; cut <= strlen(stream); cut++) {
            for (int lost = 0; lost < 4; lost++) {
                const manner how = { 0, lost & 2 };
                size_t used;
                d = open_desk(how, 1);
                assert_int_equal(ehlo_server_feed(d->session, 1, stream, cut, &used), EHLO_OK);
                if (lost & 1)
                    assert_int_equal(ehlo_server_lost(d->session), EHLO_OK);
                else
                    assert_int_equal(ehlo_server_eof(d->session, 1), EHLO_OK);
                if (lost & 1) assert_null(d->exchange);
                d->token = 0;
                close_desk(d);
            }
        }
    }
}

/* [U16] [U19] What PLAIN may hold (RFC 4616 2), and what the application is never asked about. */
static void plain_is_judged_before_anybody_is_asked(void **state)
{
#define OCTETS(literal)                                                                                                \
    {                                                                                                                  \
        literal, sizeof(literal) - 1                                                                                   \
    }
    static const struct {
        ehlo_str response;
        int asked;
    } cases[] = {
        { OCTETS("\0user\0pencil"), 1 },
        { OCTETS("\0user\0wrong"), 1 },
        { OCTETS("other\0user\0pencil"), 1 },
        { OCTETS("userpencil"), 0 },
        { OCTETS("user\0pencil"), 0 },
        { OCTETS("\0user\0pen\0cil"), 0 },
        { OCTETS("\0\0pencil"), 0 },
        { OCTETS("\0user\0"), 0 },
        { OCTETS("\0a\nb\0pencil"), 0 },
        { OCTETS("\0a\rb\0pencil"), 0 },
        { OCTETS("a\nb\0user\0x"), 0 },
        { OCTETS("\0us\x1b[2Jer\0x"), 0 },
        { OCTETS("\0us\x7F\0x"), 0 },
        { OCTETS("\0us\xC3\0x"), 0 },
        { OCTETS("\0us\xC0\x80\0x"), 0 },
        { OCTETS("\0us\xED\xA0\x80\0x"), 0 },
        { OCTETS(""), 0 },
        { OCTETS("test"), 0 },
        { OCTETS("\0\0"), 0 },
        { OCTETS("\0\0\0"), 0 },
    };
#undef OCTETS
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int delayed = 0; delayed < 2; delayed++) {
            desk *d = open_greeted(manners[i % COUNT(manners)]);
            if (delayed) say_text(d, "AUTH PLAIN\r\n");
            say_base64(d, delayed ? "" : "AUTH PLAIN ", cases[i].response);
            assert_int_equal(d->asked, cases[i].asked);
            assert_int_equal(last_code(d), !cases[i].asked ? 501 : i == 0 ? 235 : 535);
            close_desk(d);
        }
    }
}

static void fields_of_any_length_are_asked_about_whole(void **state) /* [U16] */
{
    (void)state;
    for (size_t len = 1; len <= 3000; len += len < 300 ? 1 : 300) {
        char *response = must(calloc(1, 2 * len + 2));
        memset(response + 1, 'u', len);
        memset(response + len + 2, 'p', len);
        desk *d = open_greeted(manners[0]);
        char *line = must(malloc(4 * len + 64));
        size_t encoded;
        memcpy(line, "AUTH PLAIN ", 11);
        assert_int_equal(ehlo_base64_encode(ehlo_str_make(response, 2 * len + 2), line + 11, 4 * len + 32, &encoded),
                         EHLO_OK);
        memcpy(line + 11 + encoded, "\r\n", 2);
        say(d, line, 11 + encoded + 2);
        assert_last(d, "535 5.7.8 ");
        assert_int_equal(d->asked, 1);
        free(line);
        free(response);
        close_desk(d);
    }
}

static int holds(const char *mem, size_t len, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= len; i++) {
        if (memcmp(mem + i, text, n) == 0) return 1;
    }
    return 0;
}

/* [C238] The session copies nothing of a response; what the exchange copied is overwritten when it ends. */
static void no_secret_stays_in_memory(void **state)
{
    static const char *const lines[] = { "AUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "AUTH PLAIN AHVzZXIAd3JvbmcA\r\n",
                                         "AUTH PLAIN\r\nAHVzZXIAcGVuY2ls\r\n", "AUTH LOGIN dXNlcg==\r\ncGVuY2ls\r\n",
                                         "AUTH LOGIN dXNlcg==\r\ncGVuY2ls!\r\n" };
    static const char *const secrets[] = { "pencil", "cGVuY2ls", "AHVzZXIA", "wrong" };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        for (size_t m = 0; m < COUNT(manners); m++) {
            desk *d = open_greeted(manners[m]);
            say_text(d, lines[i]);
            assert_null(d->exchange);
            for (size_t k = 0; k < COUNT(secrets); k++) {
                assert_false(holds(d->session_mem, d->session_size, secrets[k]));
                assert_false(holds(d->exchange_mem, sizeof d->exchange_mem, secrets[k]));
            }
            close_desk(d);
        }
    }
}

/* [C205] RFC 5802 6: a client that could bind the channel and was told that we can't was lied to. */
static void a_client_told_of_no_binding_was_lied_to(void **state)
{
    (void)state;
    for (int with_facts = 0; with_facts < 2; with_facts++) {
        desk *d = open_desk(manners[0], with_facts);
        say_text(d, "EHLO c.example\r\n");
        say_base64(d, "AUTH SCRAM-SHA-256 ", ehlo_str_from("y,,n=user,r=abc"));
        assert_int_equal(last_code(d), with_facts ? 535 : 334);
        close_desk(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mechanism_logs_in),
        cmocka_unit_test(a_failed_login_leaves_nothing_to_the_next),
        cmocka_unit_test(wrong_secrets_are_535),
        cmocka_unit_test(exchanges_are_cancelled_at_each_step),
        cmocka_unit_test(what_is_no_base64_ends_each_step),
        cmocka_unit_test(what_breaks_the_grammar_ends_each_step),
        cmocka_unit_test(an_exchange_is_forgotten_wherever_the_peer_ends),
        cmocka_unit_test(plain_is_judged_before_anybody_is_asked),
        cmocka_unit_test(fields_of_any_length_are_asked_about_whole),
        cmocka_unit_test(no_secret_stays_in_memory),
        cmocka_unit_test(a_client_told_of_no_binding_was_lied_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
