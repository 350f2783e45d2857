/* The contract of server.h, where a transcript can't say it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/peer.h"
#include "session.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define OPENING "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"

static peer_setup setup;
static const peer_mode whole = { .name = "whole" };
static const peer_mode by_hand = { .name = "by hand", .answers = PEER_BY_HAND };
static const ehlo_reply no_reply;

static int fresh(void **state)
{
    (void)state;
    peer_setup_default(&setup);
    return 0;
}

static peer *begin(const peer_mode *mode)
{
    peer *p = peer_new(&setup, mode);
    assert_non_null(p);
    peer_start(p);
    return p;
}

static void finish(peer *p)
{
    peer_end(p);
    if (p->fault[0] != '\0') fail_msg("%s: %s\n%s%s", p->mode.name, p->fault, p->log.ptr, p->out.ptr);
    peer_free(p);
}

static int has_event(const peer *p, const char *pattern)
{
    for (const char *line = p->log.ptr; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (peer_matches(pattern, line, strcspn(line, "\n"))) return 1;
    }
    return 0;
}

static const char *last_line(const peer *p)
{
    const char *at = p->out.ptr + p->out.len;
    if (p->out.len == 0) return "";
    at--;
    while (at > p->out.ptr && at[-1] != '\n') at--;
    return at;
}

#define assert_last(p, start) assert_int_equal(strncmp(last_line(p), (start), strlen(start)), 0)

static void all_extensions(void)
{
    setup.config.extensions = 0x1FFFFF;
    setup.config.auth_mechanisms = ehlo_str_from("PLAIN");
    setup.config.flags = EHLO_SERVICE_AUTH_CLEAR;
}

/* Answers, with the default, whatever is pending until `pattern` is the last event. */
static void answer_until(peer *p, const char *pattern)
{
    while (p->token != 0 && !has_event(p, pattern)) {
        assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
        peer_settle(p);
    }
    assert_true(has_event(p, pattern));
}

/* -- making ----------------------------------------------------------------------------------------- */

static int write_nothing(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)s, (void)parts, (void)n, (void)user;
    *taken = 0;
    return 0;
}

static const ehlo_server_callbacks just_write = { .write = write_nothing };

/* The service for a configuration, or NULL. */
static int try_service(const ehlo_service_config *config, const ehlo_server_callbacks *cb)
{
    ehlo_service *service = NULL;
    size_t size = ehlo_service_size(config);
    void *mem = malloc(65536);
    int result = ehlo_service_init(&service, mem, 65536, config, cb);
    if ((result == EHLO_OK) != (size != 0) && cb->write != NULL) result = -1000;
    free(mem);
    return result;
}

static void texts_that_may_not_be_sent_are_refused_at_once(void **state) /* [C12] [C27] [C176], group N */
{
    static const ehlo_str payloads[] = {
        { "\r\nRCPT TO:<x@y>", 15 },
        { "\rDATA", 5 },
        { "\0", 1 },
        { "x\0y", 3 },
        { "x\r\n.\r\nMAIL", 10 },
        { "\x85", 1 },
        { "\xE2\x80\xA8", 3 },
        { "\xFF\xFE", 2 },
        { "x\x7F", 2 },
        { "x\x01y", 3 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(payloads); i++) {
        ehlo_service_config config = setup.config;
        config.extensions = 0x1FFFFF;
        config.auth_mechanisms = ehlo_str_from("PLAIN");
        assert_int_equal(try_service(&config, &just_write), EHLO_OK);
        ehlo_str *const texts[] = { &config.hostname,  &config.greeting,    &config.keywords,   &config.auth_mechanisms,
                                    &config.deliverby, &config.mt_priority, &config.hold_until, &config.xclient };
        for (size_t t = 0; t < COUNT(texts); t++) {
            ehlo_str was = *texts[t];
            *texts[t] = payloads[i];
            if (try_service(&config, &just_write) != EHLO_ERR_ARG) fail_msg("payload %zu in text %zu", i, t);
            *texts[t] = was;
        }
    }
}

static void hostnames_are_domains_or_literals(void **state) /* [C21] */
{
    static const struct {
        const char *name;
        int result;
    } names[] = {
        { "mx.example", EHLO_OK },
        { "localhost", EHLO_OK },
        { "[192.0.2.1]", EHLO_OK },
        { "[IPv6:::1]", EHLO_OK },
        { "", EHLO_ERR_ARG },
        { "mx example", EHLO_ERR_ARG },
        { "mx..example", EHLO_ERR_ARG },
        { "mx.example\nQUIT", EHLO_ERR_ARG },
        { "-mx", EHLO_ERR_ARG },
        { "[192.0.2]", EHLO_ERR_ARG },
        { "mx.example SIZE=0", EHLO_ERR_ARG },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        ehlo_service_config config = setup.config;
        config.hostname = ehlo_str_from(names[i].name);
        if (try_service(&config, &just_write) != names[i].result) fail_msg("%s", names[i].name);
    }
}

static void keywords_follow_their_grammar(void **state) /* [C27] */
{
    static const struct {
        const char *lines;
        int result;
    } keywords[] = {
        { "XFOO", EHLO_OK },        { "XFOO 1\nX-BAR a=b", EHLO_OK }, { "1X", EHLO_OK },
        { "-X", EHLO_ERR_ARG },     { "X_Y", EHLO_ERR_ARG },          { " X", EHLO_ERR_ARG },
        { "X\n\nY", EHLO_ERR_ARG }, { "X=1", EHLO_ERR_ARG },          { "X.Y a", EHLO_ERR_ARG },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(keywords); i++) {
        ehlo_service_config config = setup.config;
        config.keywords = ehlo_str_from(keywords[i].lines);
        if (try_service(&config, &just_write) != keywords[i].result) fail_msg("%s", keywords[i].lines);
    }
}

static void settings_that_contradict_each_other_are_refused(void **state) /* [C135] [C156] [C171] */
{
    (void)state;
    ehlo_service_config config = setup.config;
    ehlo_server_callbacks none = { 0 };
    assert_int_equal(try_service(&config, &none), EHLO_ERR_ARG);
    config.extensions = EHLO_CAP_BINARYMIME;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config.extensions = EHLO_CAP_SMTPUTF8;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config.extensions = EHLO_CAP_AUTH;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config = setup.config;
    config.flags = EHLO_SERVICE_REQUIRE_TLS;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config.extensions = EHLO_CAP_STARTTLS;
    assert_int_equal(try_service(&config, &just_write), EHLO_OK);
    config = setup.config;
    config.flags = EHLO_SERVICE_SUBMISSION | EHLO_SERVICE_AUTH_CLEAR;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config.extensions = EHLO_CAP_AUTH;
    config.auth_mechanisms = ehlo_str_from("PLAIN");
    assert_int_equal(try_service(&config, &just_write), EHLO_OK);
    config = setup.config;
    config.line_max = 511;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config = setup.config;
    config.bare_cr = EHLO_BARE_PASS + 1;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
    config = setup.config;
    config.bare_lf = 200;
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
}

static void a_line_may_be_longer_than_the_drain_default(void **state)
{
    (void)state;
    ehlo_service_config config = setup.config;
    config.line_max = 2u << 20;
    assert_int_equal(try_service(&config, &just_write), EHLO_OK);
    config.line_drain_max = (2u << 20) - 1; /* asked for, it must make sense */
    assert_int_equal(try_service(&config, &just_write), EHLO_ERR_ARG);
}

static void structs_of_other_versions_are_understood(void **state)
{
    struct {
        ehlo_service_config config;
        char tail[16];
    } larger;
    ehlo_service *service;
    char *mem = malloc(65536);
    (void)state;
    memset(&larger, 0, sizeof larger);
    larger.config = setup.config;
    assert_int_equal(ehlo_service_init_sized(&service, mem, 65536, &larger.config,
                                             offsetof(ehlo_service_config, lender), &just_write,
                                             offsetof(ehlo_server_callbacks, on_trace)),
                     EHLO_OK);
    assert_int_equal(
        ehlo_service_init_sized(&service, mem, 65536, &larger.config, sizeof larger, &just_write, sizeof just_write),
        EHLO_OK);
    larger.tail[3] = 1; /* a setting that this version doesn't know */
    assert_int_equal(
        ehlo_service_init_sized(&service, mem, 65536, &larger.config, sizeof larger, &just_write, sizeof just_write),
        EHLO_ERR_ARG);
    free(mem);
}

static void memory_is_asked_for_exactly(void **state)
{
    ehlo_service *service;
    ehlo_server *s;
    size_t size = ehlo_service_size(&setup.config);
    char *mem = malloc(size);
    (void)state;
    assert_int_equal(ehlo_service_init(&service, mem, size - 1, &setup.config, &just_write), EHLO_ERR_SPACE);
    assert_int_equal(ehlo_service_init(&service, mem, size, &setup.config, &just_write), EHLO_OK);
    size_t session_size = ehlo_server_size(service);
    char *session_mem = malloc(session_size);
    assert_int_equal(ehlo_server_init(&s, session_mem, session_size - 1, service, NULL, NULL), EHLO_ERR_SPACE);
    assert_int_equal(ehlo_server_init(&s, NULL, session_size, service, NULL, NULL), EHLO_ERR_ARG);
    assert_int_equal(ehlo_server_init(&s, session_mem, session_size, service, NULL, NULL), EHLO_OK);
    assert_null(ehlo_server_peer(s));
    assert_null(ehlo_server_tls_facts(s));
    assert_int_equal(ehlo_server_close(s), EHLO_OK); /* never started */
    free(session_mem);
    free(mem);
}

static void *lend_nothing(size_t len, void *ctx)
{
    (void)len, (void)ctx;
    return NULL;
}

static void give_nothing(void *mem, size_t len, void *ctx)
{
    (void)mem, (void)len, (void)ctx;
}

static size_t session_size(const ehlo_service_config *config)
{
    ehlo_service *service;
    char *mem = malloc(65536);
    assert_int_equal(ehlo_service_init(&service, mem, 65536, config, &just_write), EHLO_OK);
    size_t size = ehlo_server_size(service);
    free(mem);
    return size;
}

static void a_session_is_small(void **state) /* [C237] */
{
    ehlo_service_config config = setup.config;
    const ehlo_lender lender = { lend_nothing, give_nothing, NULL };
    (void)state;
    config.extensions = 0x1FFFFF & ~(uint32_t)EHLO_CAP_AUTH;
    assert_in_range(session_size(&config), 1, 2048);
    config.lender = lender;
    assert_in_range(session_size(&config), 1, 512);
    config = setup.config;
    assert_in_range(session_size(&config), 1, 2048);
    config.lender = lender;
    assert_in_range(session_size(&config), 1, 512);
}

/* Its long lines are the caller's to hold, while there are any. */
static void authentication_makes_no_session_larger(void **state) /* [C190] [C237] */
{
    ehlo_service_config config = setup.config;
    (void)state;
    config.extensions = EHLO_CAP_STARTTLS;
    size_t without = session_size(&config);
    config.extensions = EHLO_CAP_STARTTLS | EHLO_CAP_AUTH;
    config.auth_mechanisms = ehlo_str_from("PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS");
    assert_int_equal(session_size(&config), without);
}

static void an_idle_session_holds_no_block(void **state)
{
    const peer_mode lending = { .name = "lender", .lender = 1 };
    peer *p = begin(&lending);
    (void)state;
    assert_int_equal(p->blocks_lent, 0);
    peer_say(p, OPENING);
    assert_true(p->lends > 0);
    assert_int_equal(p->blocks_lent, 0);
    peer_say(p, "DATA\r\ntext\r\n.\r\n");
    assert_int_equal(p->blocks_lent, 0);
    finish(p);
}

/* -- tokens and answers ----------------------------------------------------------------------------- */

static void only_the_pending_token_is_taken(void **state)
{
    (void)state;
    peer *p = begin(&by_hand);
    peer_say(p, OPENING);
    answer_until(p, "mail*");
    ehlo_token token = p->token;
    assert_int_equal(ehlo_server_answer(p->session, p->now, token + 1, &no_reply), EHLO_ERR_STALE);
    assert_int_equal(ehlo_server_answer(p->session, p->now, token - 1, &no_reply), EHLO_ERR_STALE);
    assert_int_equal(ehlo_server_answer(p->session, p->now, 0, &no_reply), EHLO_ERR_STALE);
    assert_true(peer_wants(p) & EHLO_WANT_ANSWER);
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    assert_int_equal(ehlo_server_answer(p->session, p->now, token, &no_reply), EHLO_ERR_STALE);
    peer_settle(p);
    assert_true(has_event(p, "rcpt*")); /* the next decision has another name */
    assert_int_equal(ehlo_server_answer(p->session, p->now, token, &no_reply), EHLO_ERR_STALE);
    finish(p);
}

/* The codes that each callback's reply may have. */
static void each_question_allows_its_codes_and_no_others(void **state) /* [C61] [C168] */
{
    static const struct {
        const char *event, *say;
        unsigned allowed[8];
        int all_errors;
    } questions[] = {
        { "connect", "", { 220, 421, 521, 554 }, 0 },
        { "hello*", "EHLO c.example\r\n", { 250 }, 1 },
        { "mail*", OPENING, { 250, 251, 252 }, 1 },
        { "rcpt*", OPENING, { 250, 251, 252 }, 1 },
        { "data", OPENING "DATA\r\n", { 354 }, 1 },
        { "message*", OPENING "DATA\r\n.\r\n", { 250 }, 1 },
        { "auth*", "EHLO c.example\r\nAUTH PLAIN AAAA\r\n", { 235, 334 }, 1 },
        { "starttls", "EHLO c.example\r\nSTARTTLS\r\n", { 220 }, 1 },
        { "command VRFY*", "VRFY x\r\n", { 250, 251, 252, 253 }, 1 },
        { "command HELP*", "HELP\r\n", { 211, 214 }, 1 },
    };
    static const unsigned codes[] = { 100, 199, 200, 211, 214, 220, 221, 235, 250, 251, 252, 253, 300, 334, 354,
                                      399, 421, 450, 499, 500, 521, 535, 550, 554, 559, 560, 599, 600, 999, 65535 };
    (void)state;
    for (size_t q = 0; q < COUNT(questions); q++) {
        for (size_t c = 0; c < COUNT(codes); c++) {
            ehlo_reply reply = { (uint16_t)codes[c], { 0, 0, 0 }, { "text", 4 } };
            int allowed = codes[c] == 421 ||
                          (questions[q].all_errors && codes[c] >= 400 && codes[c] <= 559 && codes[c] / 10 % 10 <= 5);
            for (size_t i = 0; i < 8; i++) allowed |= questions[q].allowed[i] == codes[c];
            if (strncmp(questions[q].event, "command", 7) == 0 && codes[c] >= 200 && codes[c] < 260) continue;
            all_extensions();
            peer *p = begin(&by_hand);
            if (questions[q].say[0] != '\0') peer_say(p, questions[q].say);
            answer_until(p, questions[q].event);
            int result = peer_answer(p, &reply);
            if ((result == EHLO_OK) != allowed) fail_msg("%s: %u gave %d", questions[q].event, codes[c], result);
            if (!allowed) {
                assert_int_equal(result, EHLO_ERR_ARG);
                assert_true(peer_wants(p) & EHLO_WANT_ANSWER);
                assert_int_equal(peer_answer(p, &no_reply), EHLO_OK); /* the token stayed open */
            }
            finish(p);
        }
    }
}

static ehlo_str big_text(void)
{
    static char text[70000];
    memset(text, 'x', sizeof text);
    return ehlo_str_make(text, sizeof text);
}

/* Reply texts that would forge, break or flood the output. */
static const ehlo_str bad_texts[] = {
    { "x\r\n250 forged", 13 },
    { "x\r250 forged", 12 },
    { "x\0y", 3 },
    { "\x85", 1 },
    { "\xE2\x80\xA8", 3 },
    { "\xFF", 1 },
    { "x\x7F", 2 },
    { "x\x1B[31m", 6 },
    { NULL, 0 },
};

static ehlo_str bad_text(size_t i)
{
    return bad_texts[i].ptr != NULL ? bad_texts[i] : big_text();
}

static void unsendable_texts_are_refused_and_the_token_stays(void **state) /* [C12] [C11], group N: reply text */
{
    static const unsigned codes[] = { 250, 450, 550 };
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++) {
        for (size_t c = 0; c < COUNT(codes); c++) {
            ehlo_reply reply = { (uint16_t)codes[c], { 0, 0, 0 }, bad_text(i) };
            peer *p = begin(&by_hand);
            peer_say(p, OPENING);
            answer_until(p, "rcpt*");
            size_t before = p->out.len;
            assert_int_equal(peer_answer(p, &reply), EHLO_ERR_ARG);
            assert_int_equal(p->out.len, before);
            assert_true(peer_wants(p) & EHLO_WANT_ANSWER);
            assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
            peer_settle(p);
            assert_last(p, "250 2.1.5");
            finish(p);
        }
    }
}

/* What an application says in its callback, to which dialogue, and the line that the peer gets. */
typedef struct amended {
    const char *event, *subject;
    unsigned code;
    const char *say, *got;
} amended;

#define HELLO "EHLO c.example\r\n"
#define LMTP_OPENING "LHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
#define NO_SERVICE "421 4.3.2 mx.example Service not available, closing connection\r\n"

static void must_be_amended(const amended *a, ehlo_str text)
{
    peer_rule rule = { .event = a->event, .subject = a->subject };
    all_extensions();
    if (strncmp(a->say, "LHLO", 4) == 0) setup.config.flags |= EHLO_SERVICE_LMTP;
    rule.reply.code = (uint16_t)a->code;
    rule.reply.text = text;
    setup.rules = &rule;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    peer_say(p, a->say);
    if (strcmp(last_line(p), a->got) != 0) fail_msg("%s %u: %s", a->event, a->code, last_line(p));
    assert_null(strstr(p->out.ptr, "forged"));
    int over = strncmp(a->got, "421", 3) == 0;
    assert_int_equal((peer_wants(p) & EHLO_WANT_CLOSE) != 0, over);
    peer_end(p);
    assert_string_equal(p->fault, "");
    assert_int_equal(has_event(p, "close REFUSED"), over);
    peer_free(p);
    setup.rule_count = 0;
}

static void an_unsendable_text_becomes_the_default_and_leaves_the_code(void **state) /* [C12] */
{
    static const amended replies[] = {
        { "connect", NULL, 0, "", "220 mx.example ESMTP\r\n" },
        { "connect", NULL, 220, "", "220 mx.example ESMTP\r\n" },
        { "connect", NULL, 421, "", "421 mx.example Service not available, closing connection\r\n" },
        { "connect", NULL, 521, "", "521 Host does not accept mail\r\n" },
        { "connect", NULL, 554, "", "554 No mail service here\r\n" },
        { "hello", NULL, 0, "HELO c.example\r\n", "250 mx.example\r\n" },
        { "hello", NULL, 250, "HELO c.example\r\n", "250 mx.example\r\n" },
        { "hello", NULL, 550, HELLO, "550 Refused\r\n" },
        { "mail", NULL, 0, HELLO "MAIL FROM:<a@x.example>\r\n", "250 2.1.0 Sender OK\r\n" },
        { "mail", NULL, 250, HELLO "MAIL FROM:<a@x.example>\r\n", "250 2.1.0 Sender OK\r\n" },
        { "mail", NULL, 450, HELLO "MAIL FROM:<a@x.example>\r\n", "450 4.2.0 Mailbox unavailable\r\n" },
        { "rcpt", NULL, 0, OPENING, "250 2.1.5 Recipient OK\r\n" },
        { "rcpt", NULL, 251, OPENING, "251 2.1.5 User not local, will forward\r\n" },
        { "rcpt", NULL, 452, OPENING, "452 4.5.3 Too many recipients\r\n" },
        { "rcpt", NULL, 550, OPENING, "550 5.1.1 Mailbox unavailable\r\n" },
        { "rcpt", NULL, 421, OPENING, NO_SERVICE },
        { "data", NULL, 354, OPENING "DATA\r\n", "354 End data with <CR><LF>.<CR><LF>\r\n" },
        { "data", NULL, 451, OPENING "DATA\r\n", "451 4.3.0 Local error\r\n" },
        { "data", NULL, 451, OPENING "BDAT 2\r\nab", "451 4.3.0 Local error\r\n" },
        { "data", NULL, 421, OPENING "BDAT 2\r\nab", NO_SERVICE },
        { "body", NULL, 452, OPENING "DATA\r\nab\r\n.\r\n", "452 4.3.1 Insufficient storage\r\n" },
        { "body", NULL, 554, OPENING "BDAT 2\r\nab", "554 5.6.0 Message refused\r\n" },
        { "body", NULL, 421, OPENING "BDAT 2\r\nab", NO_SERVICE },
        { "message", NULL, 0, OPENING "DATA\r\n.\r\n", "250 2.0.0 OK\r\n" },
        { "message", NULL, 250, OPENING "BDAT 0 LAST\r\n", "250 2.0.0 OK\r\n" },
        { "message", NULL, 452, OPENING "DATA\r\n.\r\n", "452 4.3.1 Insufficient storage\r\n" },
        { "message", NULL, 554, LMTP_OPENING "DATA\r\n.\r\n", "554 5.6.0 Message refused\r\n" },
        { "result", NULL, 0, LMTP_OPENING "DATA\r\n.\r\n", "250 2.0.0 OK\r\n" },
        { "result", NULL, 452, LMTP_OPENING "DATA\r\n.\r\n", "452 4.3.1 Insufficient storage\r\n" },
        { "auth", NULL, 235, HELLO "AUTH PLAIN AAAA\r\n", "235 2.7.0 Authenticated\r\n" },
        { "auth", NULL, 535, HELLO "AUTH PLAIN AAAA\r\n", "535 5.7.8 Authentication credentials invalid\r\n" },
        { "auth", NULL, 421, HELLO "AUTH PLAIN AAAA\r\n", NO_SERVICE },
        { "starttls", NULL, 0, HELLO "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n" },
        { "starttls", NULL, 220, HELLO "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n" },
        { "command", NULL, 250, HELLO "NOOP\r\n", "250 2.0.0 OK\r\n" },
        { "command", NULL, 550, HELLO "NOOP\r\n", "550 5.7.1 Refused\r\n" },
        { "command", NULL, 250, HELLO "ETRN x.example\r\n", "250 2.0.0 OK\r\n" },
        { "command", NULL, 220, HELLO "XCLIENT NAME=a\r\n", "220 mx.example ESMTP\r\n" },
        { "command", NULL, 250, HELLO "XFOO\r\n", "250 2.0.0 OK\r\n" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++) {
        for (size_t r = 0; r < COUNT(replies); r++) must_be_amended(&replies[r], bad_text(i));
    }
}

static void a_code_that_is_not_allowed_becomes_the_usual_one_of_its_class(void **state) /* [C61] [C168] */
{
    static const amended replies[] = {
        { "connect", NULL, 250, "", "220 mx.example ESMTP\r\n" },
        { "connect", NULL, 354, "", "220 mx.example ESMTP\r\n" },
        { "connect", NULL, 450, "", "421 mx.example Service not available, closing connection\r\n" },
        { "connect", NULL, 550, "", "554 No mail service here\r\n" },
        { "connect", NULL, 65535, "", "554 No mail service here\r\n" },
        { "hello", NULL, 220, "HELO c.example\r\n", "250 mx.example\r\n" },
        { "hello", NULL, 460, HELLO, "451 Local error\r\n" },
        { "mail", NULL, 354, HELLO "MAIL FROM:<a@x.example>\r\n", "250 2.1.0 Sender OK\r\n" },
        { "mail", NULL, 460, HELLO "MAIL FROM:<a@x.example>\r\n", "451 4.3.0 Local error\r\n" },
        { "rcpt", NULL, 253, OPENING, "250 2.1.5 Recipient OK\r\n" },
        { "rcpt", NULL, 560, OPENING, "554 5.0.0 Transaction failed\r\n" },
        { "data", NULL, 250, OPENING "DATA\r\n", "354 End data with <CR><LF>.<CR><LF>\r\n" },
        { "data", NULL, 499, OPENING "DATA\r\n", "451 4.3.0 Local error\r\n" },
        { "body", NULL, 0, OPENING "DATA\r\nab\r\n.\r\n", "554 5.6.0 Message refused\r\n" },
        { "body", NULL, 250, OPENING "DATA\r\nab\r\n.\r\n", "554 5.6.0 Message refused\r\n" },
        { "body", NULL, 460, OPENING "DATA\r\nab\r\n.\r\n", "451 4.3.0 text\r\n" },
        { "body", NULL, 600, OPENING "BDAT 2\r\nab", "554 5.6.0 text\r\n" },
        { "message", NULL, 251, OPENING "DATA\r\n.\r\n", "250 2.0.0 OK\r\n" },
        { "message", NULL, 460, OPENING "DATA\r\n.\r\n", "451 4.3.0 Local error\r\n" },
        { "auth", NULL, 250, HELLO "AUTH PLAIN AAAA\r\n", "454 4.7.0 Temporary authentication or TLS failure\r\n" },
        { "auth", NULL, 299, HELLO "AUTH PLAIN AAAA\r\n", "454 4.7.0 Temporary authentication or TLS failure\r\n" },
        { "auth", NULL, 354, HELLO "AUTH PLAIN AAAA\r\n", "454 4.7.0 Temporary authentication or TLS failure\r\n" },
        { "starttls", NULL, 250, HELLO "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n" },
        { "command", NULL, 354, HELLO "NOOP\r\n", "250 2.0.0 OK\r\n" },
        { "command", NULL, 460, HELLO "NOOP\r\n", "451 4.3.0 Local error\r\n" },
        { "command", NULL, 250, HELLO "XCLIENT NAME=a\r\n", "220 mx.example ESMTP\r\n" },
    };
    (void)state;
    for (size_t r = 0; r < COUNT(replies); r++) must_be_amended(&replies[r], ehlo_str_make("text", 4));
}

static void a_challenge_that_is_too_long_ends_the_exchange(void **state) /* [C185] */
{
    const peer_rule challenge = { .event = "auth", .reply = { 334, { 0, 0, 0 }, big_text() } };
    (void)state;
    all_extensions();
    setup.rules = &challenge;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    peer_say(p, HELLO "AUTH PLAIN\r\n");
    assert_last(p, "454 4.7.0 Temporary authentication or TLS failure\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_ESMTP);
    peer_say(p, "NOOP\r\n");
    assert_last(p, "250 2.0.0 OK\r\n");
    finish(p);
}

/* However long the application's text is, what greets or says goodbye begins with our name. */
static void our_name_leads_whatever_the_text(void **state) /* [C12] [C21] */
{
    static const struct {
        const char *event;
        uint16_t code;
        const char *opening, *say, *lead;
    } replies[] = {
        { "connect", 220, "", "", "mx.example" },
        { "connect", 421, "", "", "mx.example" },
        { "rcpt", 421, HELLO "MAIL FROM:<a@x.example>\r\n", "RCPT TO:<b@x.example>\r\n", "4.3.2 mx.example" },
        { "command", 220, HELLO, "XCLIENT NAME=a\r\n", "mx.example" },
    };
    char text[800];
    (void)state;
    memset(text, 'g', sizeof text);
    for (size_t i = 0; i < COUNT(replies); i++) {
        for (size_t len = 470; len <= sizeof text; len++) {
            peer_rule rule = { .event = replies[i].event, .reply = { replies[i].code, { 0, 0, 0 }, { text, len } } };
            all_extensions();
            setup.rules = &rule;
            setup.rule_count = 1;
            peer *p = begin(&whole);
            peer_say(p, replies[i].opening);
            size_t before = replies[i].opening[0] != '\0' ? p->out.len : 0;
            peer_say(p, replies[i].say);
            const char *reply = p->out.ptr + before;
            if (strtoul(reply, NULL, 10) != replies[i].code ||
                strncmp(reply + 4, replies[i].lead, strlen(replies[i].lead)) != 0) {
                fail_msg("%s, %zu octets: %.40s", replies[i].event, len, reply);
            }
            finish(p);
            setup.rule_count = 0;
        }
    }
}

/* What answer refuses is as if it had never been said. */
static void a_refused_answer_changes_nothing(void **state)
{
    static const ehlo_reply refused[] = {
        { 550, { 0, 0, 0 }, { "\xE9", 1 } },
        { 550, { 4, 1, 1 }, { "no", 2 } },
        { 354, { 0, 0, 0 }, { "no", 2 } },
        { 0, { 0, 0, 0 }, { "a\0b", 3 } },
    };
    const peer_mode lending = { .name = "by hand, lender", .answers = PEER_BY_HAND, .lender = 1 };
    (void)state;
    peer *p = begin(&lending);
    peer_say(p, OPENING);
    answer_until(p, "rcpt*");
    uint64_t deadline = ehlo_server_deadline(p->session);
    for (size_t i = 0; i <= COUNT(refused); i++) {
        const ehlo_reply too_long = { 550, { 0, 0, 0 }, big_text() };
        const ehlo_reply *reply = i < COUNT(refused) ? &refused[i] : &too_long;
        p->now += 60000;
        assert_int_equal(peer_answer(p, reply), EHLO_ERR_ARG);
        assert_int_equal(p->blocks_lent, 0);
        assert_int_equal(peer_wants(p), EHLO_WANT_ANSWER);
        assert_int_equal(ehlo_server_deadline(p->session), deadline);
    }
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    finish(p);
}

static void unsendable_enhanced_codes_are_refused(void **state) /* [C168] */
{
    static const uint16_t bad[][3] = { { 4, 1, 1 }, { 5, 1000, 1 }, { 5, 1, 1000 },
                                       { 2, 0, 0 }, { 6, 0, 0 },    { 5, 65535, 65535 } };
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        ehlo_reply reply = { 550, { bad[i][0], bad[i][1], bad[i][2] }, { "no", 2 } };
        peer *p = begin(&by_hand);
        peer_say(p, OPENING);
        answer_until(p, "rcpt*");
        assert_int_equal(peer_answer(p, &reply), EHLO_ERR_ARG);
        reply.enhanced[0] = 5;
        reply.enhanced[1] = 7;
        reply.enhanced[2] = 705; /* Exchange Online's */
        assert_int_equal(peer_answer(p, &reply), EHLO_OK);
        peer_settle(p);
        assert_last(p, "550 5.7.705 no\r\n");
        finish(p);
    }
}

static void long_texts_are_split_at_512_octets(void **state) /* [C11] [C10] */
{
    char text[1400];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 7 == 6 ? ' ' : 'w';
    setup.config.out_max = 8192;
    peer_rule rule = { .event = "rcpt", .reply = { 550, { 5, 1, 1 }, { text, sizeof text } } };
    setup.rules = &rule;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    peer_say(p, OPENING "NOOP\r\n");
    assert_non_null(strstr(p->out.ptr, "550-5.1.1 w"));
    assert_non_null(strstr(p->out.ptr, "550 5.1.1 w"));
    finish(p); /* checks every line's length */
}

static void an_answer_inside_is_one_answer_whatever_the_verdict_says(void **state)
{
    (void)state;
    peer_mode inside = { .name = "inside", .answers = PEER_INSIDE };
    peer *p = begin(&inside);
    peer_say(p, OPENING "NOOP\r\n");
    peer_text codes = { 0 };
    peer_codes(p, &codes);
    assert_string_equal(codes.ptr, "220 250 250 250 250 ");
    peer_text_free(&codes);
    finish(p);
}

static void every_call_from_every_callback_is_refused(void **state) /* [C235] */
{
    static const char *const events[] = { "connect",  "hello*",   "mail*",    "rcpt*",       "data",
                                          "body*",    "message*", "result 1", "auth PLAIN*", "starttls",
                                          "command*", "reset*",   "close*" };
    static const peer_rule auth = { .event = "auth", .reply = { 535, { 5, 7, 8 }, { "no", 2 } } };
    peer_text seen = { 0 };
    (void)state;
    setup.rules = &auth;
    setup.rule_count = 1;
    for (int lmtp = 0; lmtp < 2; lmtp++) {
        for (int answers = PEER_VERDICT; answers <= PEER_LATER; answers++) {
            peer_mode mode = { .name = "re-entered", .reenter = 1, .answers = answers, .write_max = 9 };
            all_extensions();
            if (lmtp) setup.config.flags |= EHLO_SERVICE_LMTP;
            peer *p = begin(&mode);
            peer_say(p, lmtp ? "LHLO c.example\r\n" : "EHLO c.example\r\n");
            peer_say(p,
                     "AUTH PLAIN AAAA\r\nNOOP\r\nVRFY x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
                     "RCPT TO:<c@x.example>\r\nDATA\r\ntext\r\n.\r\nMAIL FROM:<a@x.example>\r\nRSET\r\nSTARTTLS\r\n");
            peer_end(p);
            if (p->fault[0] != '\0') fail_msg("%s", p->fault);
            peer_text_add(&seen, p->log.ptr, p->log.len);
            assert_true(p->trace_in.len > 0);
            peer_free(p);
        }
    }
    peer all = { .log = seen };
    for (size_t i = 0; i < COUNT(events); i++) assert_true(has_event(&all, events[i]));
    peer_text_free(&seen);
}

/* -- the end, from everywhere ----------------------------------------------------------------------- */

static const char long_dialogue[] =
    "EHLO c.example\r\nAUTH PLAIN\r\n*\r\nMAIL FROM:<a@x.example>\r\nRCPT "
    "TO:<b@x.example>\r\nDATA\r\nab\r\n..c\r\n.\r\n"
    "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 3\r\nabcBDAT 4 LAST\r\ndefg"
    "MAIL FROM:<a@x.example>\r\nRSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\na\nb\r\n.\r\n"
    "MAIL FROM:<a@x.example>\r\nBDAT 3\r\nabcNOOP\r\nVRFY x\r\nSTARTTLS\r\n";

static const peer_rule auth_challenge = { .event = "auth", .reply = { 334, { 0, 0, 0 }, { NULL, 0 } } };

/* mode 0: close; 1: lost, close; 2: eof, close; 3: shutdown, close. */
static void end_by(peer *p, int how)
{
    static const peer_step steps[] = {
        { PEER_WAIT, NULL, 0, 0 }, { PEER_LOST, NULL, 0, 0 }, { PEER_EOF, NULL, 0, 0 }, { PEER_SHUTDOWN, NULL, 0, 0 }
    };
    if (how > 0) peer_act_on(p, &steps[how]);
    finish(p);
}

static void any_state_may_be_closed(void **state) /* [C240] */
{
    (void)state;
    all_extensions();
    setup.rules = &auth_challenge;
    setup.rule_count = 1;
    for (int how = 0; how < 4; how++) {
        for (size_t n = 0; n <= sizeof long_dialogue - 1; n++) {
            peer_mode mode = { .name = "closed", .lender = (int)(n & 1), .write_max = n % 3 == 0 ? 7 : 0 };
            peer *p = begin(&mode);
            peer_send(p, long_dialogue, n);
            end_by(p, how);
        }
    }
}

static void any_pending_decision_may_be_closed(void **state) /* [C240] */
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        for (int answered = 0;; answered++) {
            all_extensions();
            peer *p = begin(&by_hand);
            peer_send(p, long_dialogue, sizeof long_dialogue - 1);
            for (int i = 0; i < answered && p->token != 0; i++) {
                assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
                peer_settle(p);
            }
            int over = p->token == 0;
            end_by(p, how);
            if (over) break;
            assert_true(answered < 100);
        }
    }
}

static void close_tells_the_pending_token(void **state)
{
    (void)state;
    peer *p = begin(&by_hand);
    peer_say(p, OPENING);
    answer_until(p, "mail*");
    assert_int_equal(ehlo_server_lost(p->session), EHLO_OK);
    ehlo_token token = p->token;
    assert_int_equal(ehlo_server_answer(p->session, p->now, token, &no_reply), EHLO_ERR_STALE);
    p->closing = 1;
    peer_end(p);
    assert_string_equal(p->fault, "");
    assert_true(has_event(p, "close LOST pending"));
    assert_false(has_event(p, "reset*")); /* MAIL was never accepted */
    peer_free(p);
}

static void nothing_is_read_after_eof(void **state)
{
    size_t used;
    (void)state;
    peer *p = begin(&by_hand);
    peer_say(p, "EHLO c.example\r\n");
    answer_until(p, "hello*");
    assert_int_equal(ehlo_server_eof(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_ANSWER); /* remembered: the pending command is still answered */
    assert_int_equal(ehlo_server_feed(p->session, p->now, "QUIT\r\n", 6, &used), EHLO_OK);
    assert_int_equal(used, 0);
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_non_null(strstr(p->out.ptr, "250-PIPELINING"));
    peer_end(p);
    assert_true(has_event(p, "close EOF"));
    peer_free(p);
}

static void a_fatal_error_leaves_only_close(void **state)
{
    size_t used;
    (void)state;
    peer_mode failing = { .name = "fails", .fail_write = 2 };
    peer *p = begin(&failing);
    peer_say(p, OPENING);
    assert_int_equal(p->result, EHLO_ERR_TRANSPORT);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_server_feed(p->session, 2000, "NOOP\r\n", 6, &used), EHLO_ERR_TRANSPORT);
    assert_int_equal(ehlo_server_flush(p->session, 2000), EHLO_ERR_TRANSPORT);
    assert_int_equal(ehlo_server_tick(p->session, 2000), EHLO_ERR_TRANSPORT);
    assert_int_equal(ehlo_server_deadline(p->session) == UINT64_MAX, 1);
    finish(p);
}

static void a_lender_without_memory_is_fatal(void **state) /* [C236] */
{
    (void)state;
    for (unsigned n = 1; n <= 3; n++) {
        peer_mode poor = { .name = "poor", .lender = 1, .fail_lend = n };
        peer *p = begin(&poor);
        peer_say(p, "EHLO c.example\r\n");
        peer_say(p, "EHLO c.example\r\n"); /* a reply that stands elsewhere would need no block */
        assert_int_equal(p->result, EHLO_ERR_MEMORY);
        assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
        finish(p);
    }
}

/* -- time ------------------------------------------------------------------------------------------- */

/* Nothing happens a millisecond early; on time the session ends with `end`, having said `said` (or nothing). */
static void expires(peer *p, uint64_t ms, const char *said, const char *end)
{
    unsigned wants = peer_wants(p);
    size_t before = p->out.len;
    assert_int_equal(ehlo_server_deadline(p->session), p->now + ms);
    assert_int_equal(ehlo_server_tick(p->session, p->now + ms - 1), EHLO_OK);
    assert_int_equal(peer_wants(p), wants);
    assert_int_equal(p->out.len, before);
    p->now += ms;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    p->token = 0;
    p->body_blocked = 0;
    peer_settle(p);
    assert_int_equal(peer_wants(p) & ~(unsigned)EHLO_WANT_SECRET, EHLO_WANT_CLOSE);
    if (said != NULL)
        assert_last(p, said);
    else
        assert_int_equal(p->out.len, before);
    peer_end(p);
    if (p->fault[0] != '\0') fail_msg("%s", p->fault);
    if (!has_event(p, end)) fail_msg("no %s in\n%s", end, p->log.ptr);
    peer_free(p);
}

static void a_command_has_its_time(void **state) /* [C102] [C103] [C105] */
{
    static const uint32_t settings[][2] = { { 0, 300000 }, { 1000, 1000 } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        setup.config.command_ms = settings[i][0];
        expires(begin(&whole), settings[i][1], "421 4.4.2", "close TIMEOUT");
        peer *p = begin(&whole);
        p->now += 500;
        peer_say(p, OPENING "NO"); /* counts from the reply before */
        uint64_t start = p->now;
        p->now += 300;
        peer_say(p, "OP");
        assert_int_equal(ehlo_server_deadline(p->session), start + settings[i][1]);
        p->now = start;
        expires(p, settings[i][1], "421 4.4.2", "reset TIMEOUT");
    }
}

static void an_exchange_line_has_its_time(void **state) /* [C103] [U13] */
{
    (void)state;
    all_extensions();
    setup.rules = &auth_challenge;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    peer_say(p, "EHLO c.example\r\nAUTH PLAIN\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    expires(p, 300000, "421 4.4.2", "auth cancelled");
}

static void message_octets_have_their_time(void **state) /* [C105] [C75] */
{
    static const char *const starts[] = { OPENING "DATA\r\n", OPENING "BDAT 100\r\n" };
    (void)state;
    setup.config.data_ms = 7000;
    setup.config.data_rate_grace_ms = UINT32_MAX;
    for (size_t i = 0; i < 2; i++) {
        peer *p = begin(&whole);
        peer_say(p, starts[i]);
        p->now += 6000;
        peer_say(p, "x");
        expires(p, 7000, "421 4.4.2", "reset TIMEOUT");
    }
}

static void a_message_has_a_least_rate(void **state) /* [C104] [R10] */
{
    (void)state;
    setup.config.data_rate = 100;
    setup.config.data_rate_grace_ms = 10000;
    peer *p = begin(&whole);
    peer_say(p, OPENING "DATA\r\n");
    uint64_t start = p->now;
    p->now += 9000;
    peer_say(p, "0123456789"); /* ten octets are worth 100 ms */
    assert_in_range(ehlo_server_deadline(p->session), start + 10000, start + 10200);
    p->now = start + 10300;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    peer_settle(p);
    assert_last(p, "421");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_true(has_event(p, "reset TIMEOUT"));
    finish(p);
}

static void the_rate_counts_only_while_we_read(void **state) /* [C104] */
{
    (void)state;
    setup.config.data_rate = 100;
    setup.config.data_rate_grace_ms = 10000;
    peer_mode stalling = { .name = "stalls", .body_max = 1000, .answers = PEER_BY_HAND };
    peer *p = begin(&stalling);
    peer_say(p, OPENING "DATA\r\n");
    answer_until(p, "data");
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    size_t used;
    assert_int_equal(ehlo_server_feed(p->session, p->now, "0123456789", 10, &used), EHLO_OK);
    assert_true(p->body_blocked); /* the first on_body takes nothing */
    p->now += 500000;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    assert_true(ehlo_server_deadline(p->session) > p->now);
    p->body_blocked = 0;
    assert_int_equal(ehlo_server_resume(p->session, p->now), EHLO_OK);
    assert_true(peer_wants(p) & EHLO_WANT_READ);
    assert_true(ehlo_server_deadline(p->session) >= p->now + 10000 - 1);
    finish(p);
}

/* DATA is open, and on_body takes nothing. */
static peer *begin_stalling(void)
{
    static const peer_mode stalling = { .name = "stalls", .body_max = 1, .answers = PEER_BY_HAND };
    peer *p = begin(&stalling);
    peer_say(p, OPENING "DATA\r\n");
    answer_until(p, "data");
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    return p;
}

/* The peer sends an octet, which on_body takes after `ms`. */
static void stall(peer *p, uint64_t ms)
{
    size_t used;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ehlo_server_feed(p->session, p->now, "x", 1, &used), EHLO_OK);
        assert_int_equal(used, i);
        assert_int_equal(p->body_blocked, i == 0);
        if (i == 1) return;
        p->now += ms;
        p->body_blocked = 0;
        assert_int_equal(ehlo_server_resume(p->session, p->now), EHLO_OK);
    }
}

static void a_stall_has_an_answers_time_of_its_own(void **state)
{
    size_t used;
    (void)state;
    setup.config.answer_ms = 10000;
    setup.config.data_rate_grace_ms = UINT32_MAX;
    peer *p = begin_stalling();
    p->now += 100000; /* the peer's */
    assert_int_equal(ehlo_server_feed(p->session, p->now, "text\r\n", 6, &used), EHLO_OK);
    assert_int_equal(used, 0);
    assert_int_equal(peer_wants(p), 0);
    expires(p, 10000, "421 4.3.0", "reset TIMEOUT");
}

static void a_stall_excuses_no_time_before_it(void **state) /* [C104] [R10] */
{
    (void)state;
    setup.config.data_rate = 1000; /* an octet is worth a millisecond */
    setup.config.data_rate_grace_ms = 60000;
    peer *p = begin_stalling();
    uint64_t start = p->now;
    p->now += 50000;
    stall(p, 0);
    assert_int_equal(ehlo_server_deadline(p->session), start + 60000 + 1);
    stall(p, 7000);
    assert_int_equal(ehlo_server_deadline(p->session), start + 60000 + 7000 + 2);
    p->now += 9000;
    stall(p, 0);
    assert_int_equal(ehlo_server_deadline(p->session), start + 60000 + 7000 + 3);
    finish(p);
}

static void a_late_go_ahead_for_a_chunk_starts_its_time(void **state) /* [C105] */
{
    static const uint32_t graces[][2] = { { 0, 60000 }, { UINT32_MAX, 300000 } };
    (void)state;
    for (size_t i = 0; i < COUNT(graces); i++) {
        setup.config.data_rate_grace_ms = graces[i][0];
        peer *p = begin(&by_hand);
        peer_say(p, OPENING "BDAT 5 LAST\r\n");
        answer_until(p, "data");
        p->now += 400000;
        assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
        expires(p, graces[i][1], "421 4.4.2", "reset TIMEOUT");
    }
}

static void answers_have_their_time(void **state)
{
    static const uint32_t settings[][2] = { { 0, 600000 }, { 2000, 2000 } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        setup.config.answer_ms = settings[i][0];
        setup.config.command_ms = 1000; /* the peer's time rests meanwhile */
        expires(begin(&by_hand), settings[i][1], "421", "close TIMEOUT*");
        peer *p = begin(&by_hand);
        peer_say(p, OPENING);
        answer_until(p, "rcpt*");
        ehlo_token token = p->token;
        uint64_t deadline = ehlo_server_deadline(p->session);
        assert_int_equal(deadline, p->now + settings[i][1]);
        assert_int_equal(ehlo_server_tick(p->session, deadline), EHLO_OK);
        assert_int_equal(ehlo_server_answer(p->session, deadline, token, &no_reply), EHLO_ERR_STALE);
        p->token = 0;
        assert_last(p, "421");
        assert_true(has_event(p, "reset TIMEOUT"));
        finish(p);
    }
}

static void an_unread_reply_has_its_time(void **state) /* [R06] [R10] */
{
    (void)state;
    setup.config.write_ms = 5000;
    peer_mode deaf = { .name = "deaf", .answers = PEER_VERDICT, .lazy = 1 };
    peer *p = begin(&deaf);
    size_t used;
    p->mode.write_blocks = 1;
    p->write_calls = 1;
    assert_int_equal(ehlo_server_feed(p->session, p->now, "NOOP\r\n", 6, &used), EHLO_OK);
    assert_true(peer_wants(p) & EHLO_WANT_WRITE);
    assert_int_equal(ehlo_server_deadline(p->session), p->now + 5000);
    assert_int_equal(ehlo_server_tick(p->session, p->now + 4999), EHLO_OK);
    assert_true(peer_wants(p) & EHLO_WANT_WRITE);
    size_t before = p->out.len;
    p->now += 5000;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_int_equal(p->out.len, before);
    p->closing = 1;
    finish(p);
}

/* A session whose output is blocked: the peer sends NOOPs and reads nothing. */
static peer *begin_deaf(void)
{
    static const peer_mode deaf = { .name = "deaf", .lazy = 1 };
    peer *p = begin(&deaf);
    p->mode.write_blocks = 1;
    p->write_calls = 1;
    for (int i = 0; i < 300 && (peer_wants(p) & EHLO_WANT_READ); i++) {
        size_t used;
        assert_int_equal(ehlo_server_feed(p->session, p->now, "NOOP\r\n", 6, &used), EHLO_OK);
    }
    assert_int_equal(peer_wants(p), EHLO_WANT_WRITE);
    return p;
}

static void octets_taken_renew_the_time_to_read(void **state)
{
    (void)state;
    setup.config.write_ms = 5000;
    peer *p = begin_deaf();
    assert_int_equal(ehlo_server_deadline(p->session), p->now + 5000);
    p->mode.write_blocks = 0;
    p->mode.write_max = 1;
    p->now += 4000;
    assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
    assert_int_equal(ehlo_server_deadline(p->session), p->now + 5000);
    finish(p);
}

static void a_flush_that_takes_nothing_renews_no_time(void **state) /* [R06] [R10] */
{
    (void)state;
    setup.config.write_ms = 5000;
    peer *p = begin_deaf();
    uint64_t deadline = ehlo_server_deadline(p->session);
    for (int i = 0; i < 4; i++) {
        p->now += 1000;
        p->write_calls |= 1; /* the next one blocks */
        assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
        assert_int_equal(ehlo_server_deadline(p->session), deadline);
    }
    p->now += 1000;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    p->closing = 1;
    finish(p);
}

static void the_last_lmtp_result_starts_the_next_commands_time(void **state) /* [C102] [C215] */
{
    static const peer_mode slow = { .name = "slow", .lazy = 1 };
    static const char message[] = "text\r\n.\r\n";
    size_t used;
    (void)state;
    setup.config.flags = EHLO_SERVICE_LMTP;
    setup.without = PEER_NO_RESULT;
    peer *p = begin(&slow);
    peer_say(p, "LHLO c.example\r\nMAIL FROM:<a@x.example>\r\n");
    for (int i = 0; i < 200; i++) peer_say(p, "RCPT TO:<b@x.example>\r\n");
    peer_say(p, "DATA\r\n");
    peer_settle(p);
    p->mode.write_max = 100;
    assert_int_equal(ehlo_server_feed(p->session, p->now, message, sizeof message - 1, &used), EHLO_OK);
    assert_int_equal(used, sizeof message - 1);
    for (int i = 0; i < 200 && !(peer_wants(p) & EHLO_WANT_READ); i++) {
        p->now += 10000;
        assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
    }
    assert_true(p->now > 300000);
    p->mode.write_max = 0;
    assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    expires(p, 300000, "421 4.4.2", "close TIMEOUT");
}

static void time_in_which_we_did_not_read_is_not_the_peers(void **state) /* [C102] */
{
    (void)state;
    setup.config.write_ms = 200000;
    peer *p = begin_deaf();
    p->mode.write_blocks = 0;
    p->now += 150000;
    assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    assert_int_equal(ehlo_server_deadline(p->session), p->now + 300000);
    finish(p);
}

static void the_last_reply_has_its_time(void **state)
{
    (void)state;
    setup.config.close_ms = 300;
    peer_mode deaf = { .name = "deaf", .lazy = 1 };
    peer *p = begin(&deaf);
    size_t used;
    p->mode.write_blocks = 1;
    p->write_calls = 1;
    assert_int_equal(ehlo_server_feed(p->session, p->now, "QUIT\r\nNOOP\r\n", 12, &used), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_WRITE);
    assert_int_equal(ehlo_server_deadline(p->session), p->now + 300);
    assert_int_equal(ehlo_server_feed(p->session, p->now, "NOOP\r\n", 6, &used), EHLO_OK);
    assert_int_equal(used, 6); /* taken and dropped, so that no reset eats the reply */
    p->now += 300;
    assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    p->closing = 1;
    finish(p);
}

static void a_handshake_has_its_time(void **state) /* [R14] */
{
    (void)state;
    all_extensions();
    peer *p = begin(&whole);
    peer_say(p, "EHLO c.example\r\nSTARTTLS\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_TLS);
    expires(p, 60000, NULL, "close TIMEOUT");
}

static void a_tick_without_a_deadline_does_nothing(void **state)
{
    size_t used;
    (void)state;
    peer *p = peer_new(&setup, &whole);
    assert_non_null(p);
    assert_true(ehlo_server_deadline(p->session) == UINT64_MAX); /* not started */
    assert_int_equal(ehlo_server_tick(p->session, UINT64_MAX), EHLO_OK);
    peer_start(p);
    assert_last(p, "220 ");
    assert_int_equal(ehlo_server_feed(p->session, UINT64_MAX - 10, "NOOP\r\n", 6, &used), EHLO_OK);
    assert_true(ehlo_server_deadline(p->session) == UINT64_MAX); /* the clock ends before */
    assert_int_equal(ehlo_server_tick(p->session, UINT64_MAX), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    peer_say(p, "QUIT\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_true(ehlo_server_deadline(p->session) == UINT64_MAX);
    assert_int_equal(ehlo_server_tick(p->session, UINT64_MAX), EHLO_OK);
    peer_end(p);
    assert_string_equal(p->fault, "");
    assert_true(has_event(p, "close QUIT"));
    peer_free(p);
}

/* -- writes ----------------------------------------------------------------------------------------- */

static void replies_gather_and_leave_as_rfc_2920_says(void **state) /* [C142] [C243] */
{
    static const struct {
        const char *say;
        unsigned writes;
    } groups[] = {
        { "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\n", 1 },
        { "RSET\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n", 1 },
        { "MAIL FROM:<a@x.example>\r\nNOOP\r\nRCPT TO:<b@x.example>\r\n", 2 },
        { "NOOP\r\nNOOP\r\nNOOP\r\n", 3 },
        { "RSET\r\nVRFY x\r\nRSET\r\n", 2 },
        { "RSET\r\nNOSUCH\r\nRSET\r\n", 2 },
        { "EHLO c.example\r\nEHLO c.example\r\n", 2 },
        { "RSET\r\nRSET\r\nQUIT\r\n", 1 },
        { "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\ntext\r\n.\r\n"
          "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n",
          2 },
        { "MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 1\r\nxBDAT 1 LAST\r\ny", 1 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(groups); i++) {
        for (int lender = 0; lender < 2; lender++) {
            peer_mode mode = { .name = "whole", .lender = lender };
            peer *p = begin(&mode);
            peer_say(p, "EHLO c.example\r\n");
            unsigned before = p->writes;
            peer_say(p, groups[i].say);
            if (p->writes - before != groups[i].writes) {
                fail_msg("group %zu left in %u writes", i, p->writes - before);
            }
            finish(p);
        }
    }
}

static void two_hundred_lmtp_recipients_pass_a_small_block(void **state) /* [C215] */
{
    const peer_mode modes[] = { { .name = "three octets", .write_max = 3 },
                                { .name = "three octets, later", .write_max = 3, .answers = PEER_LATER, .lender = 1 },
                                { .name = "lazy",
                                  .write_max = 3,
                                  .write_blocks = 1,
                                  .lazy = 1,
                                  .answers = PEER_MIXED,
                                  .cut = PEER_RANDOM,
                                  .seed = 11 } };
    (void)state;
    setup.config.out_max = 1024;
    setup.config.flags = EHLO_SERVICE_LMTP;
    for (int results = 0; results < 2; results++) {
        setup.without = results ? 0 : PEER_NO_RESULT;
        for (size_t m = 0; m < COUNT(modes); m++) {
            peer_text text = { 0 }, codes = { 0 };
            peer_text_format(&text, "LHLO c.example\r\nMAIL FROM:<a@x.example>\r\n");
            for (int i = 0; i < 200; i++) peer_text_format(&text, "RCPT TO:<b%d@x.example>\r\n", i);
            peer_text_format(&text, "DATA\r\ntext\r\n.\r\nNOOP\r\nMAIL FROM:<a@x.example>\r\nQUIT\r\n");
            peer *p = begin(&modes[m]);
            peer_send(p, text.ptr, text.len);
            peer_settle(p);
            peer_codes(p, &codes);
            assert_int_equal(codes.len, 4 * (1 + 1 + 1 + 200 + 1 + 200 + 1 + 1 + 1));
            assert_int_equal(has_event(p, "result 199"), results);
            assert_true(has_event(p, "close*") == 0);
            peer_text_free(&text);
            peer_text_free(&codes);
            finish(p);
        }
    }
}

/* The octets of HELP that fill the block of a session whose output is blocked, and then what is refused: as long as
 * the command was taken, its refusal is said. */
static void a_refusal_over_the_drain_limit_is_said_over_a_filled_block(void **state) /* [C151] [R06] */
{
    static const peer_mode deaf = { .name = "deaf", .lazy = 1 };
    char text[700];
    int said = 0;
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 7 == 6 ? ' ' : 'w';
    peer_rule rule = { .event = "data", .reply = { 550, { 5, 7, 1 }, { text, sizeof text } } };
    setup.config.drain_max = 10;
    setup.rules = &rule;
    setup.rule_count = 1;
    for (int filled = 0; filled < 64; filled++) {
        size_t used;
        peer *p = begin(&deaf);
        peer_say(p, OPENING);
        peer_settle(p);
        p->mode.write_blocks = 1;
        p->write_calls |= 1;
        for (int i = 0; i < filled; i++) {
            assert_int_equal(ehlo_server_feed(p->session, p->now, "HELP\r\n", 6, &used), EHLO_OK);
        }
        assert_int_equal(ehlo_server_feed(p->session, p->now, "BDAT 9999\r\n", 11, &used), EHLO_OK);
        p->mode.write_blocks = 0;
        peer_settle(p);
        if (used > 0) {
            said++;
            assert_last(p, "550 5.7.1 w");
            assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
            assert_true(has_event(p, "reset REFUSED"));
        }
        finish(p);
    }
    assert_in_range(said, 2, 63);
}

static void as_many_lmtp_recipients_as_fit_are_told_of_a_refusal_over_the_drain_limit(void **state) /* [C215] [R11] */
{
    (void)state;
    setup.config.flags = EHLO_SERVICE_LMTP;
    setup.config.max_size = 5;
    setup.config.drain_max = 10;
    for (int large = 0; large < 2; large++) {
        peer_text codes = { 0 };
        size_t told = 0;
        setup.config.out_max = large ? 16384 : 0;
        peer *p = begin(&whole);
        peer_say(p, "LHLO c.example\r\nMAIL FROM:<a@x.example>\r\n");
        for (int i = 0; i < 200; i++) peer_say(p, "RCPT TO:<b@x.example>\r\n");
        peer_say(p, "DATA\r\n0123456789\r\n");
        assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
        peer_codes(p, &codes);
        for (size_t at = 0; at < codes.len; at += 4) told += strncmp(codes.ptr + at, "552 ", 4) == 0;
        if (large)
            assert_int_equal(told, 200);
        else
            assert_in_range(told, 25, 199);
        assert_last(p, "552 5.3.4");
        peer_text_free(&codes);
        finish(p);
    }
}

/* A message of 142 octets whose fault lies anywhere: whatever it is, and however the octets come, drain_max alone
 * decides if the reply comes in its place. */
static void what_is_drained_is_counted_from_the_first_octet(void **state) /* [C79] [C151] [C234] [R11] */
{
    static const struct {
        const char *name, *reply;
        int octet;
        uint64_t max_size;
        uint32_t text_line_max, flags, rule;
    } faults[] = {
        { "application", "554 5.7.1 No", 'a', 0, 0, 0, 1 },
        { "bare LF", "550 5.6.0", '\n', 0, 0, 0, 0 },
        { "bare CR", "550 5.6.0", '\r', 0, 0, 0, 0 },
        { "too big", "552 5.3.4", 'a', 1, 0, 0, 0 },
        { "long line", "554 5.6.0", 'a', 0, 1, 0, 0 },
        { "8-bit", "554 5.6.1", 0xE9, 0, 0, EHLO_SERVICE_REFUSE_8BIT, 0 },
    };
    static const peer_mode modes[] = { { .name = "whole" },
                                       { .name = "bytes", .cut = PEER_BYTES },
                                       { .name = "random", .cut = PEER_RANDOM, .seed = 7 } };
    static const uint64_t places[] = { 1, 50, 100, 139 };
    static const uint64_t limits[] = { 20, 100, 140, 141, 142, 143, 200 };
    enum { SIZE = 142 };
    (void)state;
    for (size_t i = 0; i < COUNT(faults) * COUNT(modes) * COUNT(places) * COUNT(limits) * 2; i++) {
        size_t f = i / 2 % COUNT(faults), m = i / 2 / COUNT(faults) % COUNT(modes);
        uint64_t place = places[i / 2 / COUNT(faults) / COUNT(modes) % COUNT(places)];
        uint64_t limit = limits[i / 2 / COUNT(faults) / COUNT(modes) / COUNT(places)];
        int chunked = i % 2 == 0;
        if (chunked && (faults[f].octet < ' ' || faults[f].text_line_max != 0)) continue;
        char text[SIZE + 1];
        const peer_rule rule = { .event = "body", .reply = { 554, { 5, 7, 1 }, { "No", 2 } }, .after = place };
        setup.config.drain_max = limit;
        setup.config.max_size = faults[f].max_size * place;
        setup.config.text_line_max = faults[f].text_line_max * (uint32_t)place;
        setup.config.flags = faults[f].flags;
        setup.rules = &rule;
        setup.rule_count = faults[f].rule;
        memset(text, 'a', SIZE);
        memcpy(text + SIZE - 2, "\r\n", 3);
        text[place] = (char)faults[f].octet;
        peer *p = begin(&modes[m]);
        peer_say(p, chunked ? OPENING "BDAT 142 LAST\r\n" : OPENING "DATA\r\n");
        peer_say(p, text);
        if (!chunked) peer_say(p, ".\r\n");
        int in_place = peer_wants(p) == EHLO_WANT_READ;
        if (strncmp(last_line(p), faults[f].reply, strlen(faults[f].reply)) != 0 || in_place != (limit >= SIZE)) {
            fail_msg("%s at %d, drain_max %d, %s%s: %s", faults[f].name, (int)place, (int)limit, modes[m].name,
                     chunked ? ", BDAT" : "", last_line(p));
        }
        assert_true(has_event(p, "reset REFUSED"));
        finish(p);
    }
}

/* -- facts ------------------------------------------------------------------------------------------ */

static void facts_follow_the_session(void **state) /* [C108] */
{
    static const peer_rule yes = { .event = "auth", .reply = { 235, { 2, 7, 0 }, { "ok", 2 } } };
    const peer_step tls = { PEER_TLS, NULL, 0, 0 };
    (void)state;
    all_extensions();
    setup.rules = &yes;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    assert_int_equal(ehlo_server_with(p->session), 0);
    peer_say(p, "HELO c.example\r\n");
    assert_int_equal(ehlo_server_with(p->session), 0);
    peer_say(p, "EHLO c.example\r\n");
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_ESMTP);
    peer_say(p, "AUTH PLAIN AAAA\r\n");
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_ESMTP | EHLO_WITH_AUTH);
    peer_say(p, "MAIL FROM:<a@x.example> SMTPUTF8\r\n");
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_ESMTP | EHLO_WITH_AUTH | EHLO_WITH_UTF8);
    peer_say(p, "RSET\r\nSTARTTLS\r\n");
    assert_null(ehlo_server_tls_facts(p->session));
    peer_act_on(p, &tls);
    assert_non_null(ehlo_server_tls_facts(p->session));
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_TLS);
    peer_say(p, "EHLO c.example\r\n");
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_ESMTP | EHLO_WITH_TLS);
    finish(p);
}

static void secrets_are_told_by_length_alone(void **state) /* [C238] */
{
    static const peer_rule challenge[] = {
        { .event = "auth", .subject = "-*", .reply = { 535, { 5, 7, 8 }, { "no", 2 } } },
        { .event = "auth", .reply = { 334, { 0, 0, 0 }, { "c", 1 } } }
    };
    (void)state;
    for (int shown = 0; shown < 2; shown++) {
        all_extensions();
        if (shown) setup.config.flags |= EHLO_SERVICE_TRACE_SECRETS;
        setup.rules = challenge;
        setup.rule_count = 2;
        peer *p = begin(&whole);
        peer_say(p, "EHLO c.example\r\nauth plain U0VDUkVU\r\nU0VDUkVU\r\nNOOP\r\n");
        assert_int_equal(strstr(p->trace_in.ptr, "U0VDUkVU") != NULL, shown);
        assert_non_null(strstr(p->trace_in.ptr, "EHLO c.example"));
        assert_non_null(strstr(p->trace_in.ptr, "NOOP"));
        finish(p);
    }
}

/* Where AUTH is offered, what is no command may be a password that came at the wrong time. */
static void what_may_hold_a_password_is_secret(void **state) /* [C238] */
{
    static const struct {
        const char *line;
        int shown, shown_without_auth;
    } lines[] = { { "AUTH PLAIN U0VDUkVU", 0, 0 },
                  { " AUTH PLAIN U0VDUkVU", 0, 0 },
                  { "AUTH PLAIN U0VD\nUkVU", 0, 0 },
                  { "auth\tplain U0VDUkVU", 0, 0 },
                  { "U0VDUkVU", 0, 1 },
                  { "dXNlcg==", 0, 0 },
                  { "AUTHPLAIN U0VDUkVU", 0, 1 },
                  { "VRFY U0VDUkVU", 1, 1 },
                  { "NOOP U0VDUkVU", 1, 1 },
                  { "EHLO c.example U0VDUkVU", 1, 1 } };
    (void)state;
    for (int auth = 0; auth < 2; auth++) {
        for (size_t i = 0; i < COUNT(lines); i++) {
            int shown = auth ? lines[i].shown : lines[i].shown_without_auth;
            peer_text line = { 0 };
            if (auth) all_extensions();
            peer *p = begin(&whole);
            peer_say(p, HELLO);
            size_t before = p->trace_in.len;
            peer_text_format(&line, "%s\r\n", lines[i].line);
            peer_send(p, line.ptr, line.len);
            const char *trace = p->trace_in.ptr + before;
            if ((strncmp(trace, "(secret", 7) != 0) != shown)
                fail_msg("%s, AUTH offered %d: %s", line.ptr, auth, trace);
            peer_text_free(&line);
            finish(p);
        }
    }
}

/* What was fed is to be wiped too: the initial response stands in the command itself. */
static void secrets_are_announced_from_the_line_of_auth_on(void **state) /* [C238] */
{
    static const struct {
        const char *lines;
        unsigned wants;
    } cases[] = {
        { "NOOP\r\n", 0 },
        { "AUTH PLAIN AAAA\r\n", EHLO_WANT_SECRET }, /* 535 */
        { "AUTH PLAIN\r\n", EHLO_WANT_SECRET },      /* 334 */
        { "AUTH PLAIN\r\nAAAA\r\n", EHLO_WANT_SECRET },
        { "AUTH PLAIN Z29vZA==\r\n", EHLO_WANT_SECRET }, /* 235 */
        { "AUTH PLAIN !!!!\r\n", EHLO_WANT_SECRET },
        { "AUTH OTHER AAAA\r\n", EHLO_WANT_SECRET },
        { "MAIL FROM:<a@x.example>\r\nAUTH PLAIN AAAA\r\n", EHLO_WANT_SECRET }, /* 503 */
        { "AUTH PLAIN AAAA\r\nAAAA\r\n", EHLO_WANT_SECRET },                    /* with commands behind it */
        { "AUTH PLAIN AAAA\r\nNOOP\r\n", EHLO_WANT_SECRET },
        { "AUTH PLAIN\r\nAAAA\r\nNOOP\r\n", EHLO_WANT_SECRET },
        { "AUTH PLAIN Z29vZA==\r\nMAIL FROM:<a@x.example>\r\n", EHLO_WANT_SECRET },
        { "AUTH PLAIN Z29vZA==\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n", EHLO_WANT_SECRET },
        { "NOOP\r\nAUTH ", EHLO_WANT_SECRET }, /* and a part of it */
        { "NOOP\r\nAUTH PLAIN AA", EHLO_WANT_SECRET },
        { "NOOP\r\nauth plain AA", EHLO_WANT_SECRET },
        { "NOOP\r\nAUTH", 0 },
        { "NOOP\r\nMAIL FROM:<AUTH PLAIN AAAA", 0 },
        { "AAAA\r\n", EHLO_WANT_SECRET }, /* at the wrong time */
        { " AUTH PLAIN AAAA\r\n", EHLO_WANT_SECRET },
        { "VRFY AAAA\r\n", 0 },
    };
    static const peer_rule rules[] = { { .event = "auth", .subject = "PLAIN -", .reply = { .code = 334 } },
                                       { .event = "auth", .subject = "*Z29vZA==", .reply = { .code = 235 } },
                                       { .event = "auth", .reply = { .code = 535 } } };
    (void)state;
    all_extensions();
    setup.rules = rules;
    setup.rule_count = 3;
    for (size_t i = 0; i < COUNT(cases); i++) {
        peer *p = begin(&whole);
        peer_say(p, HELLO);
        peer_say(p, cases[i].lines);
        assert_int_equal(peer_wants(p), EHLO_WANT_READ | cases[i].wants);
        finish(p);
    }
    peer *p = begin(&by_hand);
    peer_say(p, HELLO "AUTH PLAIN AAAA\r\n");
    answer_until(p, "auth*");
    assert_int_equal(peer_wants(p), EHLO_WANT_ANSWER | EHLO_WANT_SECRET);
    finish(p);
}

static void the_next_octets_that_are_none_end_the_secrecy(void **state) /* [C238] */
{
    (void)state;
    all_extensions();
    peer *p = begin(&whole);
    peer_say(p, HELLO);
    peer_say(p, "AUTH PLAIN AAAA\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    peer_say(p, "N");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    peer_say(p, "OOP\r\nAUTH P");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    peer_say(p, "LAIN AAAA\r\nMAIL FROM:<a@x.example>\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    peer_say(p, "RCPT TO:<b@x.example>\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    finish(p);
}

/* Whoever ends the session has been fed the password all the same. */
static void a_session_that_ends_over_a_secret_tells_so(void **state) /* [C238] */
{
    static const char *const lines[] = { "AUTH PLAIN AAAA\r\n", "AUTH PLAIN AAAA\r\nNOOP\r\n", "AUTH PLAIN\r\nAAAA\r\n",
                                         "AUTH PLAIN AAAA\r\nQUIT\r\n" };
    static const peer_rule endings[] = { { .event = "auth", .reply = { .code = 421 } },
                                         { .event = "auth", .fail = 1 } };
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        for (size_t k = 0; k < COUNT(endings); k++) {
            all_extensions();
            setup.rules = &endings[k];
            setup.rule_count = 1;
            peer *p = begin(&whole);
            peer_say(p, HELLO);
            peer_say(p, lines[i]);
            assert_last(p, "421 ");
            assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE | EHLO_WANT_SECRET);
            peer_end(p);
            peer_free(p);
        }
    }
    all_extensions();
    setup.rule_count = 0;
    setup.config.max_commands = 1;
    peer *p = begin(&whole);
    peer_say(p, HELLO);
    peer_say(p, "AUTH PLAIN AAAA\r\n");
    assert_last(p, "421 ");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE | EHLO_WANT_SECRET);
    finish(p);
}

/* As the client's trace does: with a name and its challenges passwords can be tried against SCRAM and CRAM-MD5. */
static void challenges_are_told_by_length_alone(void **state) /* [C238] */
{
    static const peer_rule rules[] = { { .event = "auth", .subject = "-*AAAA", .reply = { .code = 235 } },
                                       { .event = "auth", .reply = { 334, { 0, 0, 0 }, { "challenge", 9 } } } };
    static const peer_mode slow = { .name = "slow", .write_max = 3 };
    static const peer_mode *const modes[] = { &whole, &slow };
    (void)state;
    for (int shown = 0; shown < 2; shown++) {
        for (size_t m = 0; m < COUNT(modes); m++) {
            all_extensions();
            if (shown) setup.config.flags |= EHLO_SERVICE_TRACE_SECRETS;
            setup.rules = rules;
            setup.rule_count = 2;
            peer *p = begin(modes[m]);
            peer_say(p, HELLO);
            peer_say(p, "AUTH PLAIN\r\nBBBB\r\nAAAA\r\n");
            peer_say(p, "NOOP\r\n");
            size_t len = p->out.len;
            assert_int_equal(p->trace_out.len, len);
            const char *first = strstr(p->out.ptr, "334 ");
            assert_non_null(first);
            size_t at = (size_t)(first - p->out.ptr), challenge = strlen("334 Y2hhbGxlbmdl\r\n");
            assert_memory_equal(p->trace_out.ptr, p->out.ptr, at);
            for (size_t i = at; i < at + 2 * challenge; i++) {
                assert_int_equal(p->trace_out.ptr[i], shown ? p->out.ptr[i] : '\0');
            }
            const char *noop = strstr(p->out.ptr + at, "250 2.0.0 OK");
            assert_non_null(noop);
            assert_string_equal(p->trace_out.ptr + (noop - p->out.ptr), noop);
            if (m == 0) assert_non_null(strstr(p->trace_out.ptr + at + 2 * challenge, "235 "));
            finish(p);
        }
    }
}

static void an_over_long_line_of_auth_is_secret_too(void **state) /* [C238] [U07] */
{
    static char line[20000];
    (void)state;
    all_extensions();
    peer *p = begin(&whole);
    peer_say(p, HELLO "AUTH PLAIN ");
    memset(line, 'A', sizeof line);
    peer_send(p, line, sizeof line);
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    peer_say(p, "\r\n");
    assert_last(p, "500 5.5.6 ");
    assert_int_equal(peer_wants(p), EHLO_WANT_READ | EHLO_WANT_SECRET);
    assert_null(strstr(p->trace_in.ptr, "AAAA"));
    finish(p);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* An application that takes its time is how guessing is slowed down: nothing is read before its answer, and no timer of
 * the peer's runs. */
static void a_late_answer_delays_whoever_guesses(void **state) /* [U18] */
{
    const ehlo_reply wrong = { .code = 535 };
    size_t used = 0;
    (void)state;
    all_extensions();
    setup.config.command_ms = 1000;
    setup.config.max_auth_failures = 3;
    peer *p = begin(&by_hand);
    peer_say(p, HELLO "AUTH PLAIN AAAA\r\n");
    answer_until(p, "auth*");
    for (int i = 0; i < 3; i++) {
        size_t said = p->out.len;
        assert_int_equal(ehlo_server_deadline(p->session), p->now + 600000);
        assert_int_equal(ehlo_server_feed(p->session, p->now, "NOOP\r\n", 6, &used), EHLO_OK);
        assert_int_equal(used, 0);
        p->now += 5000;
        assert_int_equal(ehlo_server_tick(p->session, p->now), EHLO_OK);
        assert_int_equal(p->out.len, said);
        assert_int_equal(peer_answer(p, &wrong), EHLO_OK);
        assert_last(p, "535 5.7.8 ");
        assert_int_equal(ehlo_server_deadline(p->session), p->now + 1000);
        peer_say(p, "AUTH PLAIN AAAA\r\n");
    }
    assert_last(p, "421 4.7.0 ");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE | EHLO_WANT_SECRET);
    finish(p);
}

/* What EHLO offers, as bits; names that are not ours have none. */
static void mechanisms_are_those_that_hello_offers(void **state) /* [C185] [C205] */
{
    enum { PLAIN = EHLO_SASL_PLAIN, SCRAM = EHLO_SASL_SCRAM_SHA_256, PLUS = EHLO_SASL_SCRAM_SHA_256_PLUS };
    static const peer_rule yes = { .event = "auth", .reply = { .code = 235 } };
    const peer_step tls = { PEER_TLS, NULL, 0, 0 };
    (void)state;
    for (int clear = 0; clear < 2; clear++) {
        all_extensions();
        setup.config.flags = clear ? EHLO_SERVICE_AUTH_CLEAR : 0;
        setup.config.auth_mechanisms = ehlo_str_from("X-OWN plain EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256");
        setup.facts.exporter = ehlo_str_from("x");
        setup.facts.peer_subject = ehlo_str_from("CN=c");
        setup.facts.peer_verified = 1;
        setup.rules = &yes;
        setup.rule_count = 1;
        peer *p = begin(&whole);
        assert_int_equal(ehlo_server_mechanisms(p->session), clear ? PLAIN | SCRAM : 0);
        peer_say(p, HELLO);
        assert_int_equal(ehlo_server_mechanisms(p->session), clear ? PLAIN | SCRAM : 0);
        peer_say(p, "STARTTLS\r\n");
        peer_act_on(p, &tls);
        assert_int_equal(ehlo_server_mechanisms(p->session), PLAIN | SCRAM | PLUS | EHLO_SASL_EXTERNAL);
        peer_say(p, HELLO "AUTH PLAIN AAAA\r\n");
        assert_last(p, "235 ");
        assert_int_equal(ehlo_server_mechanisms(p->session), 0);
        finish(p);
    }
    setup.config.extensions = EHLO_CAP_STARTTLS;
    peer *p = begin(&whole);
    assert_int_equal(ehlo_server_mechanisms(p->session), 0);
    finish(p);
}

/* What ehlo_sasl_server_start would refuse for what is known of TLS is not offered: a client that could bind the channel,
 * and is not told that we can, says 'y' and is right. */
static void what_cannot_work_is_not_offered(void **state) /* [C205] */
{
    static char long_binding[65];
    const struct {
        ehlo_tls_facts facts;
        uint32_t mechanisms;
    } cases[] = {
        { { .exporter = ehlo_str_make(long_binding, 64) }, EHLO_SASL_SCRAM_SHA_256_PLUS },
        { { .exporter = ehlo_str_make(long_binding, 65) }, 0 },
        { { .exporter = ehlo_str_make(long_binding, 65), .end_point = ehlo_str_from("x") },
          EHLO_SASL_SCRAM_SHA_256_PLUS },
        { { .peer_subject = ehlo_str_from("CN=c"), .peer_verified = 1 }, EHLO_SASL_EXTERNAL },
        { { .peer_subject = ehlo_str_from("CN=c") }, 0 },
        { { .peer_verified = 1 }, 0 },
        { { .peer_subject = ehlo_str_from("CN=\xE4"), .peer_verified = 1 }, 0 },
        { { .peer_subject = ehlo_str_from("CN=a\nb"), .peer_verified = 1 }, 0 },
    };
    static const char *const lines[] = { "AUTH EXTERNAL =\r\n", "AUTH SCRAM-SHA-256-PLUS AAAA\r\n",
                                         "AUTH X-OWN-PLUS AAAA\r\n" };
    static const uint32_t named[] = { EHLO_SASL_EXTERNAL, EHLO_SASL_SCRAM_SHA_256_PLUS, EHLO_SASL_SCRAM_SHA_256_PLUS };
    const peer_rule rule = { .event = "auth", .reply = { .code = 535 } };
    const peer_step tls = { PEER_TLS, NULL, 0, 0 };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        all_extensions();
        setup.config.auth_mechanisms = ehlo_str_from("EXTERNAL SCRAM-SHA-256-PLUS X-OWN-PLUS PLAIN");
        setup.facts = cases[i].facts;
        setup.rules = &rule;
        setup.rule_count = 1;
        peer *p = begin(&whole);
        peer_say(p, HELLO "STARTTLS\r\n");
        peer_act_on(p, &tls);
        assert_int_equal(ehlo_server_mechanisms(p->session), cases[i].mechanisms | EHLO_SASL_PLAIN);
        peer_say(p, HELLO);
        for (size_t k = 0; k < COUNT(lines); k++) {
            peer_say(p, lines[k]);
            assert_last(p, cases[i].mechanisms & named[k] ? "535 " : "504 5.5.4 ");
        }
        finish(p);
    }
}

/* [C140] [T06] RFC 4954 4: who is told of AUTH where it is refused may say a password for nothing. */
static void who_insists_on_tls_offers_no_login_in_clear(void **state)
{
    const peer_step tls = { PEER_TLS, NULL, 0, 0 };
    (void)state;
    all_extensions();
    setup.config.flags = EHLO_SERVICE_AUTH_CLEAR | EHLO_SERVICE_REQUIRE_TLS;
    peer *p = begin(&whole);
    peer_say(p, HELLO);
    assert_null(strstr(p->out.ptr, "AUTH"));
    assert_int_equal(ehlo_server_mechanisms(p->session), 0);
    peer_say(p, "AUTH PLAIN AAAA\r\n");
    assert_last(p, "530 5.7.0 ");
    peer_say(p, "STARTTLS\r\n");
    peer_act_on(p, &tls);
    peer_say(p, HELLO);
    assert_non_null(strstr(p->out.ptr, "AUTH PLAIN"));
    assert_int_equal(ehlo_server_mechanisms(p->session), EHLO_SASL_PLAIN);
    finish(p);
}

static void logins_put_off_are_no_way_to_stay(void **state) /* [U18] */
{
    const peer_rule rule = { .event = "auth", .reply = { .code = 454 } };
    (void)state;
    all_extensions();
    setup.config.max_idle_commands = 5;
    setup.rules = &rule;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    peer_say(p, HELLO);
    for (int i = 0; i < 4; i++) {
        peer_say(p, "AUTH PLAIN AAAA\r\n");
        assert_last(p, "454 ");
    }
    peer_say(p, "AUTH PLAIN AAAA\r\n");
    assert_last(p, "421 ");
    assert_true(peer_wants(p) & EHLO_WANT_CLOSE);
    finish(p);
}

/* -- implicit TLS ----------------------------------------------------------------------------------- */

static void tls_may_be_told_before_the_greeting(void **state) /* [C138] */
{
    static const ehlo_tls_facts facts = { .version = { "TLSv1.3", 7 } };
    (void)state;
    all_extensions();
    peer *p = peer_new(&setup, &whole);
    assert_non_null(p);
    assert_int_equal(peer_wants(p), 0);
    assert_int_equal(ehlo_server_tls_started(p->session, p->now, 0, &facts), EHLO_OK);
    assert_int_equal(p->out.len, 0);
    assert_ptr_equal(ehlo_server_tls_facts(p->session), &facts);
    assert_int_equal(peer_start(p), EHLO_OK);
    assert_last(p, "220 ");
    assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_TLS);
    assert_int_equal(ehlo_server_tls_started(p->session, p->now, 0, NULL), EHLO_ERR_STATE);
    assert_ptr_equal(ehlo_server_tls_facts(p->session), &facts);
    finish(p);
}

/* Octets that came in clear before an implicit handshake are nobody's either. */
static void clear_text_before_an_implicit_handshake_ends_the_session(void **state) /* [C138] [C209] */
{
    (void)state;
    all_extensions();
    peer *p = peer_new(&setup, &whole);
    assert_non_null(p);
    assert_int_equal(ehlo_server_tls_started(p->session, p->now, 1, NULL), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_server_start(p->session, p->now), EHLO_ERR_STATE);
    assert_int_equal(p->out.len, 0);
    finish(p);
}

/* -- early input ------------------------------------------------------------------------------------ */

static void who_talks_before_the_greeting_is_refused_on_demand(void **state) /* [C147] */
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        setup.config.flags = on ? EHLO_SERVICE_EARLY_INPUT : 0;
        peer *p = begin(&by_hand);
        peer_say(p, "EHLO c.example\r\n");
        if (on) {
            p->token = 0;
            peer_settle(p);
            assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
            assert_string_equal(p->out.ptr, "554 Talking before the greeting\r\n"); /* in place of a greeting [C167] */
        } else {
            assert_int_equal(p->out.len, 0);
            assert_int_equal(p->hold.len, 16);
        }
        assert_false(has_event(p, "hello*"));
        finish(p);
    }
}

static void who_talks_before_the_354_is_refused_on_demand(void **state) /* [C147] */
{
    (void)state;
    for (int on = 0; on < 2; on++) {
        setup.config.flags = on ? EHLO_SERVICE_EARLY_INPUT : 0;
        peer *p = begin(&whole);
        peer_say(p, OPENING);
        peer_say(p, "DATA\r\ntext\r\n.\r\n");
        assert_int_equal(has_event(p, "message*"), !on);
        assert_int_equal(has_event(p, "reset*"), on);
        if (on) {
            assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
            assert_true(strncmp(last_line(p), "554 ", 4) == 0 || strncmp(last_line(p), "421 ", 4) == 0);
        }
        finish(p);
    }
}

/* -- shutdown --------------------------------------------------------------------------------------- */

static void shutdown_waits_for_what_is_pending(void **state) /* [C88] */
{
    const peer_step shutdown = { PEER_SHUTDOWN, NULL, 0, 0 };
    (void)state;
    peer *p = begin(&by_hand);
    peer_say(p, OPENING "DATA\r\ntext\r\n.\r\n");
    answer_until(p, "message*");
    peer_act_on(p, &shutdown);
    peer_act_on(p, &shutdown);
    assert_true(peer_wants(p) & EHLO_WANT_ANSWER);
    assert_int_equal(peer_answer(p, &no_reply), EHLO_OK);
    peer_settle(p);
    assert_non_null(strstr(p->out.ptr, "250 2.0.0"));
    assert_last(p, "421");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    peer_end(p);
    assert_true(has_event(p, "close SHUTDOWN"));
    assert_false(has_event(p, "reset*"));
    peer_free(p);
}

static void shutdown_is_said_over_a_filled_block(void **state) /* [C88] [R06] */
{
    (void)state;
    peer *p = begin_deaf();
    assert_int_equal(ehlo_server_shutdown(p->session, p->now), EHLO_OK);
    p->mode.write_blocks = 0;
    assert_int_equal(ehlo_server_flush(p->session, p->now), EHLO_OK);
    assert_last(p, "421 4.3.2 mx.example Shutting down\r\n");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    peer_end(p);
    assert_string_equal(p->fault, "");
    assert_true(has_event(p, "close SHUTDOWN"));
    peer_free(p);
}

/* -- extensions ------------------------------------------------------------------------------------- */

/* Each extension alone: its keyword is offered, its parameter or verb is taken; without it neither is. */
static void what_is_offered_is_taken_and_nothing_else(void **state) /* [C35] [C47] [C244] */
{
    static const struct {
        uint32_t cap, with;
        const char *keyword, *command;
    } extensions[] = {
        { EHLO_CAP_SIZE, 0, "SIZE 52428800", "MAIL FROM:<a@x.example> SIZE=1" },
        { EHLO_CAP_8BITMIME, 0, "8BITMIME", "MAIL FROM:<a@x.example> BODY=8BITMIME" },
        { EHLO_CAP_BINARYMIME, EHLO_CAP_CHUNKING, "BINARYMIME", "MAIL FROM:<a@x.example> BODY=BINARYMIME" },
        { EHLO_CAP_DSN, 0, "DSN", "MAIL FROM:<a@x.example> RET=FULL" },
        { EHLO_CAP_DSN, 0, "DSN", "MAIL FROM:<a@x.example> ENVID=x" },
        { EHLO_CAP_SMTPUTF8, EHLO_CAP_8BITMIME, "SMTPUTF8", "MAIL FROM:<a@x.example> SMTPUTF8" },
        { EHLO_CAP_DELIVERBY, 0, "DELIVERBY", "MAIL FROM:<a@x.example> BY=1000;N" },
        { EHLO_CAP_MT_PRIORITY, 0, "MT-PRIORITY", "MAIL FROM:<a@x.example> MT-PRIORITY=1" },
        { EHLO_CAP_FUTURERELEASE, 0, "FUTURERELEASE 604800 9999-12-31T23:59:59Z", "MAIL FROM:<a@x.example> HOLDFOR=1" },
        { EHLO_CAP_AUTH, 0, "AUTH PLAIN", "MAIL FROM:<a@x.example> AUTH=<>" },
        { EHLO_CAP_EXPN, 0, "EXPN", "EXPN x" },
        { EHLO_CAP_VERB, 0, "VERB", "VERB" },
        { EHLO_CAP_STARTTLS, 0, "STARTTLS", "STARTTLS" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(extensions); i++) {
        for (int on = 0; on < 2; on++) {
            char line[128];
            setup.config.flags = EHLO_SERVICE_NO_EXTENSIONS | EHLO_SERVICE_AUTH_CLEAR;
            setup.config.auth_mechanisms = ehlo_str_from("PLAIN");
            setup.config.extensions = (on ? extensions[i].cap : 0) | extensions[i].with;
            peer *p = begin(&whole);
            peer_say(p, "EHLO c.example\r\n");
            snprintf(line, sizeof line, "%s\r\n", extensions[i].keyword);
            if ((strstr(p->out.ptr, line) != NULL) != on) fail_msg("%s, offered %d", extensions[i].keyword, on);
            snprintf(line, sizeof line, "%s\r\n", extensions[i].command);
            peer_say(p, line);
            if ((last_line(p)[0] == '2') != on) fail_msg("%s, offered %d: %s", line, on, last_line(p));
            if (!on)
                assert_true(strncmp(last_line(p), "555", 3) == 0 || strncmp(last_line(p), "502", 3) == 0 ||
                            strncmp(last_line(p), "501", 3) == 0);
            finish(p);
        }
    }
}

/* RFC 5321 4.5.3.1.4: an extension that adds parameters makes the lines that may have them longer, and no others. */
static void parameters_make_mail_and_rcpt_lines_longer(void **state) /* [C53] [L04] */
{
    static const struct {
        const char *start;
        size_t len;
        uint32_t extension;
        const char *got;
    } lines[] = {
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 520, EHLO_CAP_DSN, "250 2.1.5" },
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 1000, EHLO_CAP_DSN, "501 5.5.4" }, /* RFC 3461 4.2: 500 at most */
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 1040, EHLO_CAP_DSN, "501 5.5.4" },
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 1041, EHLO_CAP_DSN, "500 5.5.2" },
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 512, 0, "555 5.5.4" },
        { "RCPT TO:<b@x.example> ORCPT=rfc822;", 513, 0, "500 5.5.2" },
        { "NOOP ", 512, EHLO_CAP_DSN, "250 2.0.0" },
        { "NOOP ", 513, EHLO_CAP_DSN, "500 5.5.2" },
    };
    (void)state;
    setup.config.line_max = 512;
    for (size_t i = 0; i < COUNT(lines); i++) {
        char line[1100];
        memset(line, 'a', sizeof line);
        memcpy(line, lines[i].start, strlen(lines[i].start));
        memcpy(line + lines[i].len - 2, "\r\n", 2);
        setup.config.extensions = lines[i].extension | EHLO_CAP_ENHANCEDSTATUSCODES;
        for (int cut = PEER_WHOLE; cut <= PEER_RANDOM; cut++) {
            const peer_mode mode = { .name = "cut", .cut = cut, .seed = 3 };
            peer *p = begin(&mode);
            peer_say(p, HELLO "MAIL FROM:<a@x.example>\r\n");
            peer_send(p, line, lines[i].len);
            if (strncmp(last_line(p), lines[i].got, strlen(lines[i].got)) != 0) {
                fail_msg("%s... %zu octets: %s", lines[i].start, lines[i].len, last_line(p));
            }
            finish(p);
        }
    }
}

/* Four gigaoctets of one line, of which all but the last hundred are only said to have come. */
static void a_line_past_every_count_is_still_one_line(void **state) /* [L05] [C20] */
{
    char octets[3000];
    (void)state;
    memset(octets, 'x', sizeof octets);
    setup.config.line_drain_max = UINT32_MAX;
    peer *p = begin(&whole);
    peer_send(p, octets, sizeof octets);
    p->session->line_skipped = UINT32_MAX - 100;
    peer_send(p, octets, 99);
    assert_int_equal(peer_wants(p), EHLO_WANT_READ);
    peer_send(p, octets, 99);
    peer_say(p, "\r\nEHLO evil.example\r\n");
    assert_last(p, "421 4.5.2");
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_false(has_event(p, "hello*"));
    finish(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, fresh)
        TEST(texts_that_may_not_be_sent_are_refused_at_once),
        TEST(hostnames_are_domains_or_literals),
        TEST(keywords_follow_their_grammar),
        TEST(settings_that_contradict_each_other_are_refused),
        TEST(a_line_may_be_longer_than_the_drain_default),
        TEST(structs_of_other_versions_are_understood),
        TEST(memory_is_asked_for_exactly),
        TEST(a_session_is_small),
        TEST(authentication_makes_no_session_larger),
        TEST(an_idle_session_holds_no_block),
        TEST(only_the_pending_token_is_taken),
        TEST(each_question_allows_its_codes_and_no_others),
        TEST(unsendable_texts_are_refused_and_the_token_stays),
        TEST(an_unsendable_text_becomes_the_default_and_leaves_the_code),
        TEST(a_code_that_is_not_allowed_becomes_the_usual_one_of_its_class),
        TEST(a_challenge_that_is_too_long_ends_the_exchange),
        TEST(our_name_leads_whatever_the_text),
        TEST(a_refused_answer_changes_nothing),
        TEST(unsendable_enhanced_codes_are_refused),
        TEST(long_texts_are_split_at_512_octets),
        TEST(an_answer_inside_is_one_answer_whatever_the_verdict_says),
        TEST(every_call_from_every_callback_is_refused),
        TEST(any_state_may_be_closed),
        TEST(any_pending_decision_may_be_closed),
        TEST(close_tells_the_pending_token),
        TEST(nothing_is_read_after_eof),
        TEST(a_fatal_error_leaves_only_close),
        TEST(a_lender_without_memory_is_fatal),
        TEST(a_command_has_its_time),
        TEST(an_exchange_line_has_its_time),
        TEST(message_octets_have_their_time),
        TEST(a_message_has_a_least_rate),
        TEST(the_rate_counts_only_while_we_read),
        TEST(a_stall_has_an_answers_time_of_its_own),
        TEST(a_stall_excuses_no_time_before_it),
        TEST(a_late_go_ahead_for_a_chunk_starts_its_time),
        TEST(answers_have_their_time),
        TEST(an_unread_reply_has_its_time),
        TEST(octets_taken_renew_the_time_to_read),
        TEST(a_flush_that_takes_nothing_renews_no_time),
        TEST(the_last_lmtp_result_starts_the_next_commands_time),
        TEST(time_in_which_we_did_not_read_is_not_the_peers),
        TEST(the_last_reply_has_its_time),
        TEST(a_handshake_has_its_time),
        TEST(a_tick_without_a_deadline_does_nothing),
        TEST(replies_gather_and_leave_as_rfc_2920_says),
        TEST(two_hundred_lmtp_recipients_pass_a_small_block),
        TEST(a_refusal_over_the_drain_limit_is_said_over_a_filled_block),
        TEST(as_many_lmtp_recipients_as_fit_are_told_of_a_refusal_over_the_drain_limit),
        TEST(what_is_drained_is_counted_from_the_first_octet),
        TEST(facts_follow_the_session),
        TEST(secrets_are_told_by_length_alone),
        TEST(what_may_hold_a_password_is_secret),
        TEST(secrets_are_announced_from_the_line_of_auth_on),
        TEST(the_next_octets_that_are_none_end_the_secrecy),
        TEST(a_session_that_ends_over_a_secret_tells_so),
        TEST(challenges_are_told_by_length_alone),
        TEST(an_over_long_line_of_auth_is_secret_too),
        TEST(a_late_answer_delays_whoever_guesses),
        TEST(mechanisms_are_those_that_hello_offers),
        TEST(what_cannot_work_is_not_offered),
        TEST(who_insists_on_tls_offers_no_login_in_clear),
        TEST(logins_put_off_are_no_way_to_stay),
        TEST(tls_may_be_told_before_the_greeting),
        TEST(clear_text_before_an_implicit_handshake_ends_the_session),
        TEST(who_talks_before_the_greeting_is_refused_on_demand),
        TEST(who_talks_before_the_354_is_refused_on_demand),
        TEST(shutdown_waits_for_what_is_pending),
        TEST(shutdown_is_said_over_a_filled_block),
        TEST(what_is_offered_is_taken_and_nothing_else),
        TEST(parameters_make_mail_and_rcpt_lines_longer),
        TEST(a_line_past_every_count_is_still_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
