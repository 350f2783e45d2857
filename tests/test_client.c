/* The client, command by command. The dialogues are text files (tests/dialogues/client_*.txt), each run in every manner
 * [C234] and broken off at every octet [C240]; here is what a text can't say, or would say too often. */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/dialogue_test.h"

enum { SEEDS = 24, SWEEP_OCTETS = 900 };

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define OPENING "S: 220 mx.example\nA: hello\nC: EHLO c.example\nS: 250 mx.example\n"
#define PIPELINING "set flags AUTH_CLEAR\ngreet PIPELINING|CHUNKING|STARTTLS|AUTH PLAIN\n"

/* -- dialogues -------------------------------------------------------------------------------------- */

static void a_dialogue_holds_in_every_manner(void **state) /* [C234] [C235] */
{
    dialogue_must_survive(dialogue_read(*state), *state, SEEDS, SWEEP_OCTETS);
}

/* -- hello ------------------------------------------------------------------------------------------ */

static void ehlo_falls_back_to_helo_where_it_is_not_known(void **state) /* [C25] [C34] */
{
    static const int codes[] = { 500, 502, 504, 550 };
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        holds_with("S: 220 mx.example\nA: hello\nC: EHLO c.example\nS: %d-what\nS: %d PIPELINING\n"
                   "C: HELO c.example\nS: 250-mx.example\nS: 250-PIPELINING\nS: 250 SIZE 5\n"
                   "N: cap *\nE: reply hello 250 - mx.example|PIPELINING|SIZE 5\nE! greeted HELO\n"
                   "K: !PIPELINING !SIZE\nA: RSET\nA: RSET\nC: RSET\nS: 250 1\nC: RSET\nS: 250 2\n",
                   codes[i], codes[i]);
    }
}

static void helo_refused_too_is_the_reply_that_counts(void **state) /* [C25] */
{
    (void)state;
    holds("S: 220 mx\nA: hello\nC: EHLO c.example\nS: 502 no\nC: HELO c.example\nS: 550 5.7.1 never\n"
          "E! reply greeting 220 - mx\nE! reply hello 550 5.7.1 never\nA: QUIT\nC: QUIT\nS: 221 bye\nE: close quit\n");
}

static void other_refusals_of_ehlo_do_not_fall_back(void **state) /* [C25] */
{
    static const int codes[] = { 501, 503, 530, 451, 454, 554, 599 };
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        holds_with("S: 220 mx\nA: hello\nC: EHLO c.example\nS: %d no\nE: reply hello %d - no\nN: greeted *\n"
                   "A: QUIT\nC: QUIT\nS: 221 bye\n",
                   codes[i], codes[i]);
    }
    holds("S: 220 mx\nA: hello\nC: EHLO c.example\nS: 421 no\nE: reply hello 421 - no\nE! close refused*\n");
    holds("S: 220 mx\nA: hello\nC: EHLO c.example\nS: 502 no\nC: HELO c.example\nS: 421 no\n"
          "E: reply hello 421 - no\nE! close refused*\n");
}

static void a_second_hello_renews_what_is_offered(void **state) /* [C34] */
{
    (void)state;
    holds("greet SIZE 5|PIPELINING\nA: hello\nC: EHLO c.example\nS: 250-mx\nS: 250 DSN\nK: DSN !SIZE !PIPELINING\n");
    holds("greet SIZE 5|PIPELINING\nA: hello\nC: EHLO c.example\nS: 501 no\nK: SIZE PIPELINING\n");
}

static void greetings_that_refuse_leave_only_quit(void **state) /* [C24] [C124] */
{
    static const int codes[] = { 521, 554, 500, 450, 499 };
    (void)state;
    for (size_t i = 0; i < COUNT(codes); i++) {
        holds_with("S: %d-no\nS: %d mail here\nE: reply greeting %d - no|mail here\nW: !NEXT READ\nA: hello => STATE\n"
                   "A: RSET => STATE\nA: QUIT\nC: QUIT\nS: 221 bye\nE: close quit\n",
                   codes[i], codes[i], codes[i]);
    }
}

static void our_name_is_a_domain_or_a_literal(void **state) /* [C26] */
{
    static const char *const names[] = { "c.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost" };
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        holds_with("set name %s\nS: 220 mx\nA: hello\nC: EHLO %s\nS: 502 no\nC: HELO %s\nS: 250 hi\n", names[i],
                   names[i], names[i]);
    }
}

/* -- 421 and the ends of sessions ------------------------------------------------------------------- */

static void any_command_may_be_answered_421(void **state) /* [C89] [K15] */
{
    static const char *const steps[][2] = {
        { "hello", "EHLO c.example" },
        { "MAIL FROM:<a@x.example>", "MAIL FROM:<a@x.example>" },
        { "RCPT TO:<a@x.example>", "RCPT TO:<a@x.example>" },
        { "DATA", "DATA" },
        { "RSET", "RSET" },
        { "NOOP", "NOOP" },
        { "HELP", "HELP" },
        { "VRFY a", "VRFY a" },
        { "EXPN a", "EXPN a" },
        { "VERB", "VERB" },
        { "ETRN x.example", "ETRN x.example" },
        { "STARTTLS", "STARTTLS" },
        { "auth PLAIN x", "AUTH PLAIN eA==" },
        { "chunk last 1 x", "BDAT 1 LAST\r\nx\\" },
        { "XFOO", "XFOO" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(steps); i++) {
        char said[64] = { 0 };
        snprintf(said, sizeof said, "%s", steps[i][1]);
        if (strchr(said, '\r') != NULL) snprintf(said, sizeof said, "BDAT 1 LAST\\r\\nx\\");
        holds_with(PIPELINING "A: %s\nC: %s\nS: 421-4.3.2 Bye\nS: 421 4.3.2 now\nE: reply * 421 4.3.2 Bye|now\n"
                              "E! close refused*\nW: CLOSE\nA: NOOP => STATE\n",
                   steps[i][0], said);
    }
    holds(PIPELINING "A: QUIT\nC: QUIT\nS: 421 bye\nE: reply QUIT 421 - bye\nE! close quit*\n");
    holds(PIPELINING "A: DATA\nC: DATA\nS: 354 go\nA: message 1 x\nC: x\nC: .\nS: 421 4.3.0 bye\n"
                     "E: reply message 421 4.3.0 bye\nE! close refused*\n");
    holds(PIPELINING "A: auth PLAIN\nC: AUTH PLAIN\nS: 334 \nA: answer x\nC: eA==\nS: 421 bye\n"
                     "E: reply answer 421 - bye\nE! close refused*\n");
}

static void an_error_on_quit_changes_nothing(void **state) /* [C87] */
{
    (void)state;
    holds(PIPELINING "A: QUIT\nC: QUIT\nS: 500 what\nE: reply QUIT 500 - what\nW: CLOSE\n");
    holds(PIPELINING "A: QUIT\nC: QUIT\nZ: eof\nE: reply QUIT none\n");
    holds(PIPELINING "A: QUIT\nC: QUIT\nP: 9999\nW: READ !CLOSE\nP: 1\nW: CLOSE\nE: reply QUIT none\n");
}

static void whoever_waits_is_told_of_every_end(void **state) /* [C240] */
{
    static const char *const ends[][2] = { { "Z: eof", "eof" }, { "Z: lost", "lost" }, { "P: 900000", "timeout" } };
    (void)state;
    for (size_t i = 0; i < COUNT(ends); i++) {
        holds_with("%s\nE: reply greeting none\nE! close %s*\nW: CLOSE\n", ends[i][0], ends[i][1]);
        holds_with(PIPELINING "A: RSET\nA: RSET\nA: MAIL FROM:<a@x>\nA: NOOP\nC: RSET\nC: RSET\nC: MAIL FROM:<a@x>\n"
                              "C: NOOP\nS: 250 one\n%s\nE: reply RSET 250 - one\nE! reply RSET none\n"
                              "E! reply MAIL none\nE! reply NOOP none\nE! close %s*\n",
                   ends[i][0], ends[i][1]);
    }
    holds("set flags LMTP\ngreet PIPELINING\nA: DATA\nC: DATA\nS: 354 go\nA: message 3 x\nC: x\nC: .\nS: 250 one\n"
          "Z: eof\nE: reply message 250 - one\nE! reply message none\nE! reply message none\nE! close eof*\n");
    holds(PIPELINING "Z: eof\nE: close eof*\nN: reply * none\nA: NOOP => STATE\n");
    holds(PIPELINING "A: RSET\nZ: stall\nA: RSET\nZ: lost\nC: RSET\nE: reply RSET none\nE! reply RSET none\n");
}

static void a_session_that_never_started_can_be_closed(void **state) /* [C240] */
{
    talk_mode mode = { .name = "closed at once", .stop = STOP_CLOSE, .stop_in = 0, .stop_out = SIZE_MAX };
    dialogue *d = dialogue_parse("S: 220 mx\n");
    (void)state;
    talk *t = talk_run(d, &mode);
    assert_string_equal(t->fault, "");
    assert_string_equal(t->log.ptr, "reply greeting none\nclose closed\n");
    talk_free(t);
    dialogue_free(d);
}

/* -- time ------------------------------------------------------------------------------------------- */

static void every_phase_has_its_time(void **state) /* [C96] [C97] [C98] [C99] [C100] [C101] [C105] */
{
    static const struct {
        const char *what;
        const char *before;
        uint64_t ms;
    } phases[] = {
        { "greeting", "", 300000 },
        { "EHLO", "S: 220 mx\nA: hello\nC: EHLO c.example\n", 300000 },
        { "HELO", "S: 220 mx\nA: hello\nC: EHLO c.example\nS: 502 no\nC: HELO c.example\n", 300000 },
        { "MAIL", PIPELINING "A: MAIL FROM:<a@x>\nC: MAIL FROM:<a@x>\n", 300000 },
        { "RCPT", PIPELINING "A: RCPT TO:<a@x>\nC: RCPT TO:<a@x>\n", 300000 },
        { "DATA", PIPELINING "A: DATA\nC: DATA\n", 120000 },
        { "block", PIPELINING "A: DATA\nC: DATA\nS: 354 go\nZ: stall\nA: message 1 x\n", 180000 },
        { "command", PIPELINING "Z: stall\nA: NOOP\n", 180000 },
        { "chunk", PIPELINING "A: chunk more 1 x\nC: BDAT 1\nC: x\\\n", 300000 },
        { "last chunk", PIPELINING "A: chunk last 1 x\nC: BDAT 1 LAST\nC: x\\\n", 600000 },
        { "final", PIPELINING "A: DATA\nC: DATA\nS: 354 go\nA: message 1 x\nC: x\nC: .\n", 600000 },
        { "NOOP", PIPELINING "A: NOOP\nC: NOOP\n", 300000 },
        { "AUTH", PIPELINING "A: auth PLAIN x\nC: AUTH PLAIN eA==\n", 300000 },
        { "TLS", PIPELINING "A: STARTTLS\nC: STARTTLS\nS: 220 go\n", 60000 },
        { "QUIT", PIPELINING "A: QUIT\nC: QUIT\n", 10000 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(phases); i++) {
        print_message("  %s\n", phases[i].what);
        holds_with("%sD: %llu\nP: %llu\nW: !CLOSE\nD: 1\nP: 1\nW: CLOSE\nD: none\nE: close timeout (*)\n",
                   phases[i].before, (unsigned long long)phases[i].ms, (unsigned long long)phases[i].ms - 1);
    }
}

static void times_are_settings(void **state) /* [C105] */
{
    static const struct {
        const char *name;
        const char *before;
    } phases[] = {
        { "greeting_ms", "" },
        { "command_ms", PIPELINING "A: MAIL FROM:<a@x>\nC: MAIL FROM:<a@x>\n" },
        { "data_ms", PIPELINING "A: DATA\nC: DATA\n" },
        { "write_ms", PIPELINING "A: DATA\nC: DATA\nS: 354 go\nZ: stall\nA: message 1 x\n" },
        { "final_ms", PIPELINING "A: DATA\nC: DATA\nS: 354 go\nA: message 1 x\nC: x\nC: .\n" },
        { "tls_ms", PIPELINING "A: STARTTLS\nC: STARTTLS\nS: 220 go\n" },
        { "quit_ms", PIPELINING "A: QUIT\nC: QUIT\n" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(phases); i++) {
        holds_with("set %s 77\n%sD: 77\nP: 76\nW: !CLOSE\nP: 1\nW: CLOSE\n", phases[i].name, phases[i].before);
    }
}

static void each_reply_and_each_octet_starts_the_time_anew(void **state) /* [C97] [C98] [C100] */
{
    (void)state;
    holds(PIPELINING "A: MAIL FROM:<a@x>\nA: RCPT TO:<b@x>\nA: RCPT TO:<c@x>\nC: MAIL FROM:<a@x>\nC: RCPT TO:<b@x>\n"
                     "C: RCPT TO:<c@x>\nP: 200000\nD: 100000\nS: 250 ok\nD: 300000\nP: 299999\nS: 250 ok\nD: 300000\n"
                     "S: 250 ok\nD: none\nP: 86400000\nW: READ !CLOSE\n");
    holds(PIPELINING "A: DATA\nC: DATA\nP: 100000\nS: 354 go\nA: message 1 x\nC: x\nC: .\nD: 600000\nP: 599999\n"
                     "W: !CLOSE\nS: 250 ok\nD: none\n");
}

/* The time to take octets counts from when they were offered. */
static void a_write_after_a_long_silence_has_its_time(void **state) /* [C100] [C105] */
{
    (void)state;
    holds(PIPELINING "P: 86400000\nZ: stall\nA: NOOP\nD: 180000\nP: 179999\nW: WRITE !CLOSE\nD: 1\nP: 1\nW: CLOSE\n"
                     "E: close timeout*\n");
    holds(PIPELINING "P: 86400000\nA: DATA\nC: DATA\nS: 354 go\nP: 86400000\nZ: stall\nA: message 1 x\nD: 180000\n"
                     "P: 179999\nW: WRITE !CLOSE\nP: 1\nW: CLOSE\n");
}

static void a_trickle_of_octets_is_no_reply(void **state) /* [C96] */
{
    (void)state;
    holds("S: 220-a\nP: 200000\nS: 220-b\nP: 99999\nW: !CLOSE\nS: 220-c\nP: 1\nW: CLOSE\nE: close timeout*\n");
}

/* -- replies that come too early -------------------------------------------------------------------- */

static void a_reply_before_its_command_is_never_an_answer(void **state) /* [K06] */
{
    (void)state;
    holds(
        "outside\nS: 220 mx\nS: 220 mx\nW: CLOSE\nA: hello => STATE\nE: reply greeting 220 - mx\nE! close protocol*\n");
    holds("outside\nS: 220 mx\nS: 250 early\nA: hello => STATE\nE: reply greeting 220 - mx\nE! close protocol*\n");
    holds(PIPELINING "S: 250 early\nW: CLOSE\nE: close protocol*\n");
    holds(PIPELINING "Z: stall\nA: RSET\nS: 250 early\nW: CLOSE\nE: reply RSET none\nE! close protocol*\n");
    holds(PIPELINING
          "A: RSET\nC: RSET\nZ: stall\nA: MAIL FROM:<a@x>\nS: 250 one\nS: 250 early\nE: reply RSET 250 - one\n"
          "E! reply MAIL none\nE! close protocol*\n");
}

/* The completion of the greeting says EHLO while its reply is in the same octets already. */
static void a_reply_in_the_same_octets_as_the_one_before_its_command(void **state) /* [K06] */
{
    static const talk_mode mode = { .name = "inside", .inside = 1 };
    dialogue *d = dialogue_parse("S: 220 mx\\r\\n250 early\nA: hello\n");
    (void)state;
    talk *t = talk_run(d, &mode);
    assert_string_equal(t->fault, "");
    assert_non_null(strstr(t->log.ptr, "reply greeting 220 - mx\nreply hello none\nclose protocol"));
    assert_int_equal(t->out.len, 0);
    talk_free(t);
    dialogue_free(d);
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

static void octets_held_behind_the_220_end_the_session(void **state) /* [C210] [K08] */
{
    static const char *const behind[] = { "T: 1\n", "T: 100000\n", "S: 250-SMTPUTF8 INJECTED \\\nT: 0\n",
                                          "S: 235 2.7.0 ok\nS: 250 ok\nT: 0\n", "S: x\\\nT: 3\n" };
    (void)state;
    for (size_t i = 0; i < COUNT(behind); i++) {
        holds_with("greet STARTTLS|AUTH PLAIN\nA: STARTTLS\nC: STARTTLS\nS: 220 go\n%sW: CLOSE !TLS\n"
                   "A: hello => STATE\nA: auth PLAIN x => STATE\nE: close protocol*\nN: reply * 235 *\n",
                   behind[i]);
    }
}

static void a_starttls_reply_other_than_220_begins_nothing(void **state) /* [K08] [K09] */
{
    static const char *const replies[] = { "454 4.7.0 no", "502 no", "530 no", "554 no" };
    (void)state;
    for (size_t i = 0; i < COUNT(replies); i++) {
        holds_with("greet STARTTLS\nA: STARTTLS\nC: STARTTLS\nS: %s\nW: !TLS READ\n", replies[i]);
    }
    holds("outside\ngreet STARTTLS|AUTH PLAIN\nA: STARTTLS\nC: STARTTLS\nS: 454 no\nS: 235 2.7.0 ok\nS: 250 ok\nW: "
          "CLOSE\n"
          "A: auth PLAIN x => STATE\nE: reply STARTTLS 454 - no\nE! close protocol*\n");
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

/* At once, behind a challenge, and behind a cancellation: the session goes on, and AUTH may be said again. */
static void every_verdict_on_auth_is_told(void **state) /* [C191] [C195], RFC 4954 6 */
{
    static const char *const verdicts[] = {
        "432 4.7.12 transition", "454 4.7.0 not now",  "500 5.5.6 too long",  "501 5.5.2 malformed",
        "503 5.5.1 sequence",    "504 5.5.4 unknown",  "530 5.7.0 first",     "534 5.7.9 too weak",
        "535 5.7.8 wrong",       "538 5.7.11 encrypt", "501 5.7.0 cancelled", "235 2.7.0 welcome",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        const char *said = verdicts[i];
        holds_with(PIPELINING
                   "A: auth PLAIN \\0a\\0b\nC: AUTH PLAIN AGEAYg==\nS: %s\nE: reply auth %s\nW: NEXT !CLOSE\n"
                   "A: auth PLAIN\nC: AUTH PLAIN\nS: 334 \nA: answer \\0a\\0b\nC: AGEAYg==\nS: %s\n"
                   "E: reply answer %s\nA: auth PLAIN\nC: AUTH PLAIN\nS: 334 \nA: cancel\nC: *\nS: %s\n"
                   "E: reply cancel %s\nA: RSET\nC: RSET\nS: 250 ok\n",
                   said, said, said, said, said, said);
    }
}

/* -- secrets ---------------------------------------------------------------------------------------- */

static int holds_octets(const void *where, size_t len, const char *what)
{
    const char *at = where;
    for (size_t n = strlen(what); len >= n; at++, len--) {
        if (memcmp(at, what, n) == 0) return 1;
    }
    return 0;
}

static void secrets_stay_out_of_the_trace(void **state) /* [C238] */
{
    static const char script[] = "set flags AUTH_CLEAR%s\ngreet AUTH PLAIN LOGIN\nA: auth PLAIN \\0user\\0s3cret\nC: "
                                 "AUTH PLAIN AHVzZXIAczNjcmV0\n"
                                 "S: 535 no\nA: auth LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nA: answer s3cret\n"
                                 "C: czNjcmV0\nS: 235 yes\nA: NOOP\nC: NOOP\nS: 250 ok\n";
    char whole[1024];
    (void)state;
    for (int shown = 0; shown < 2; shown++) {
        snprintf(whole, sizeof whole, script, shown ? "|TRACE_SECRETS" : "");
        dialogue *d = dialogue_parse(whole);
        talk *t = talk_run(d, &talk_modes[0]);
        assert_string_equal(t->fault, "");
        assert_int_equal(strstr(t->trace_out.ptr, "czNjcmV0") != NULL, shown);
        assert_int_equal(strstr(t->trace_out.ptr, "AHVzZXIAczNjcmV0") != NULL, shown);
        assert_non_null(strstr(t->trace_out.ptr, "EHLO c.example\n"));
        assert_non_null(strstr(t->trace_out.ptr, "NOOP\n"));
        talk_free(t);
        dialogue_free(d);
    }
}

/* -- a client by hand ------------------------------------------------------------------------------- */

typedef struct hand {
    ehlo_client *c;
    void *mem;
    size_t size;
    peer_text out;
    size_t limit; /* octets that the transport takes now; SIZE_MAX: all */
    unsigned writes;
    unsigned replies;
    int code; /* of the last reply; -1: none came */
    char secret[64];
} hand;

static int hand_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    hand *h = user;
    (void)c;
    *taken = 0;
    h->writes++;
    for (size_t i = 0; i < n; i++) {
        size_t len = parts[i].len < h->limit ? parts[i].len : h->limit;
        peer_text_add(&h->out, parts[i].ptr, len);
        if (h->limit != SIZE_MAX) h->limit -= len;
        *taken += len;
    }
    return 0;
}

static void hand_reply(ehlo_client *c, const ehlo_reply *r, void *user)
{
    hand *h = user;
    (void)c;
    h->replies++;
    h->code = r == NULL ? -1 : r->code;
}

static ehlo_client_config plain_config(void)
{
    ehlo_client_config config = { .name = { "c.example", 9 }, .flags = EHLO_CLIENT_AUTH_CLEAR };
    return config;
}

static void hand_make(hand *h, const ehlo_client_config *config)
{
    static const ehlo_client_callbacks callbacks = { .write = hand_write };
    memset(h, 0, sizeof *h);
    h->limit = SIZE_MAX;
    h->size = ehlo_client_size(config);
    assert_true(h->size > 0);
    h->mem = calloc(1, h->size); /* it is searched to its last octet */
    assert_non_null(h->mem);
    assert_int_equal(ehlo_client_init(&h->c, h->mem, h->size, config, &callbacks, h), EHLO_OK);
    assert_ptr_equal(h->c, h->mem);
}

static void hand_feed(hand *h, const char *text)
{
    size_t used, len = strlen(text);
    assert_int_equal(ehlo_client_feed(h->c, 0, text, len, &used), EHLO_OK);
    assert_int_equal(used, len);
}

static void hand_open(hand *h, const ehlo_client_config *config, const char *hello_reply)
{
    hand_make(h, config);
    assert_int_equal(ehlo_client_start(h->c, 0, hand_reply, h), EHLO_OK);
    hand_feed(h, "220 mx\r\n");
    assert_int_equal(ehlo_client_hello(h->c, hand_reply, h), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
    hand_feed(h, hello_reply);
    assert_int_equal(h->code, 250);
}

static void hand_end(hand *h)
{
    assert_int_equal(ehlo_client_close(h->c), EHLO_OK);
    peer_text_free(&h->out);
    free(h->mem);
}

static ehlo_str none(void)
{
    return ehlo_str_make(NULL, 0);
}

static void secrets_are_wiped_once_they_have_left(void **state) /* [C238] */
{
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 AUTH PLAIN\r\n");
    assert_int_equal(ehlo_client_auth(h.c, ehlo_str_from("PLAIN"), ehlo_str_from("s3cret"), hand_reply, &h, NULL),
                     EHLO_OK);
    assert_true(holds_octets(h.mem, h.size, "czNjcmV0"));
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_non_null(strstr(h.out.ptr, "AUTH PLAIN czNjcmV0\r\n"));
    assert_false(holds_octets(h.mem, h.size, "czNjcmV0"));
    hand_feed(&h, "334 \r\n");
    assert_int_equal(ehlo_client_auth_answer(h.c, ehlo_str_from("s3cret"), hand_reply, &h), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_false(holds_octets(h.mem, h.size, "czNjcmV0"));
    hand_end(&h);
}

static void secrets_that_never_left_are_wiped_at_close(void **state) /* [C238] */
{
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 AUTH PLAIN\r\n");
    h.limit = 4;
    assert_int_equal(ehlo_client_auth(h.c, ehlo_str_from("PLAIN"), ehlo_str_from("s3cret"), hand_reply, &h, NULL),
                     EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_true(holds_octets(h.mem, h.size, "czNjcmV0"));
    assert_int_equal(ehlo_client_lost(h.c), EHLO_OK);
    assert_int_equal(ehlo_client_close(h.c), EHLO_OK);
    assert_false(holds_octets(h.mem, h.size, "czNjcmV0"));
    peer_text_free(&h.out);
    free(h.mem);
}

static void a_session_is_as_small_as_promised(void **state) /* [C237] */
{
    ehlo_client_config config = plain_config();
    (void)state;
    assert_in_range(ehlo_client_size(&config), 1, 2944);
    config.lender.lend = (void *(*)(size_t, void *))(uintptr_t)1;
    config.lender.give = (void (*)(void *, size_t, void *))(uintptr_t)1;
    assert_in_range(ehlo_client_size(&config), 1, 896);
}

static void settings_out_of_range_are_refused(void **state)
{
    static const ehlo_client_callbacks write_only = { .write = hand_write }, no_write = { .write = NULL };
    static const char *const names[] = { "", "c..example", "-c.example", "c example", "c.example\r\n", "[192.0.2]" };
    ehlo_client_config config = plain_config();
    ehlo_client *c;
    size_t size = ehlo_client_size(&config);
    void *mem = malloc(8192);
    (void)state;
    assert_int_equal(ehlo_client_init(&c, mem, size, &config, &no_write, NULL), EHLO_ERR_ARG);
    assert_int_equal(ehlo_client_init(&c, mem, size - 1, &config, &write_only, NULL), EHLO_ERR_SPACE);
    assert_int_equal(ehlo_client_init(&c, mem, size, &config, &write_only, NULL), EHLO_OK);
    for (size_t i = 0; i < COUNT(names); i++) {
        ehlo_client_config bad = config;
        bad.name = ehlo_str_from(names[i]);
        assert_int_equal(ehlo_client_size(&bad), 0);
        assert_int_equal(ehlo_client_init(&c, mem, 8192, &bad, &write_only, NULL), EHLO_ERR_ARG);
    }
    ehlo_client_config bad[9];
    for (size_t i = 0; i < COUNT(bad); i++) bad[i] = config;
    bad[0].flags = 1U << 20;
    bad[1].bare_cr = 9;
    bad[2].bare_lf = 9;
    bad[3].out_max = 100;
    bad[4].name = ehlo_str_make("c.example\0", 10);
    bad[5].lender.lend = (void *(*)(size_t, void *))(uintptr_t)1;
    bad[6].bare_cr = EHLO_BARE_PASS;
    bad[7].bare_lf = EHLO_BARE_PASS;
    bad[8].bare_cr = EHLO_BARE_PASS;
    bad[8].bare_lf = EHLO_BARE_NORMALISE;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(ehlo_client_size(&bad[i]), 0);
        assert_int_equal(ehlo_client_init(&c, mem, 8192, &bad[i], &write_only, NULL), EHLO_ERR_ARG);
    }
    config.bare_cr = config.bare_lf = EHLO_BARE_PASS;
    assert_int_equal(ehlo_client_init(&c, mem, 8192, &config, &write_only, NULL), EHLO_OK);
    free(mem);
}

static void settings_are_copied(void **state)
{
    char name[] = "c.example";
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    config.name = ehlo_str_make(name, 9);
    hand_make(&h, &config);
    memset(name, 'x', 9);
    memset(&config, 0xFF, sizeof config);
    assert_int_equal(ehlo_client_start(h.c, 0, NULL, NULL), EHLO_OK);
    hand_feed(&h, "220 mx\r\n");
    assert_int_equal(ehlo_client_hello(h.c, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_string_equal(h.out.ptr, "EHLO c.example\r\n");
    hand_feed(&h, "250 mx\r\n");
    hand_end(&h);
}

/* Commands until EHLO_ERR_FULL; then they leave octet by octet, and there is room again. [C146] */
static void a_full_block_is_said_and_empties(void **state) /* [C146] */
{
    static const char line[] = "RCPT TO:<somebody@somewhere.example>\r\n";
    ehlo_client_config config = plain_config();
    unsigned queued = 0, more = 0;
    int result;
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    size_t before = h.out.len;
    h.limit = 0;
    ehlo_rcpt_command rcpt = { .mailbox = { "somebody@somewhere.example", 26 } };
    while ((result = ehlo_client_rcpt(h.c, &rcpt, hand_reply, &h, NULL)) == EHLO_OK) queued++;
    assert_int_equal(result, EHLO_ERR_FULL);
    assert_in_range(queued, (2048 - 2 * (sizeof line - 1)) / (sizeof line - 1), 2048 / (sizeof line - 1));
    assert_true(ehlo_client_wants(h.c) & EHLO_WANT_WRITE);
    for (size_t i = 0; i < sizeof line - 1; i++) {
        h.limit = 1;
        assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
        assert_int_equal(h.out.len, before + i + 1);
    }
    while (ehlo_client_rcpt(h.c, &rcpt, hand_reply, &h, NULL) == EHLO_OK) more++;
    assert_in_range(more, 1, 2);
    h.limit = SIZE_MAX;
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(h.out.len, before + (queued + more) * (sizeof line - 1));
    for (unsigned i = 0; i < queued + more; i++) {
        assert_memory_equal(h.out.ptr + before + i * (sizeof line - 1), line, sizeof line - 1);
        hand_feed(&h, "250 ok\r\n");
    }
    assert_int_equal(h.replies, 2 + queued + more);
    hand_end(&h);
}

static void a_line_too_long_is_refused_with_nothing_queued(void **state) /* [C196] */
{
    static char words[13000];
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    memset(words, 'x', sizeof words);
    hand_open(&h, &config, "250-mx\r\n250 AUTH PLAIN\r\n");
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_NOOP, ehlo_str_make(words, 506), NULL, NULL, NULL),
                     EHLO_ERR_SPACE);
    assert_int_equal(ehlo_client_auth(h.c, ehlo_str_from("PLAIN"), ehlo_str_make(words, 12000), NULL, NULL, NULL),
                     EHLO_ERR_SPACE);
    assert_int_equal(ehlo_client_auth(h.c, ehlo_str_from("PLAIN"), ehlo_str_make(words, 2000), NULL, NULL, NULL),
                     EHLO_ERR_SPACE);
    size_t before = h.out.len;
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(h.out.len, before);
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_NOOP, ehlo_str_make(words, 505), hand_reply, &h, NULL),
                     EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(h.out.len, before + 512);
    hand_feed(&h, "250 ok\r\n");
    hand_end(&h);
    config.out_max = 16384;
    hand_open(&h, &config, "250-mx\r\n250 AUTH PLAIN\r\n");
    assert_int_equal(ehlo_client_auth(h.c, ehlo_str_from("PLAIN"), ehlo_str_make(words, 9000), NULL, NULL, NULL),
                     EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(h.out.len, strlen("EHLO c.example\r\n") + strlen("AUTH PLAIN ") + 12000 + 2);
    hand_end(&h);
}

/* -- bodies under back-pressure --------------------------------------------------------------------- */

/* Pushes text in pieces of `piece` octets through a transport that takes `room` octets a time. */
static void push_all(hand *h, const char *text, size_t len, size_t piece, size_t room)
{
    size_t at = 0, more = 0, used;
    for (unsigned turns = 0; turns < 100000; turns++) {
        h->limit = room;
        if (ehlo_client_wants(h->c) & EHLO_WANT_WRITE) {
            assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
            continue;
        }
        size_t n = piece + more < len - at ? piece + more : len - at;
        assert_int_equal(ehlo_client_push(h->c, 0, text + at, n, n == len - at, &used), EHLO_OK);
        assert_in_range(used, 0, n);
        int done = used == n && n == len - at;
        at += used;
        more = used == 0 ? more + 1 : 0;
        if (done) break;
    }
    assert_int_equal(at, len);
    h->limit = SIZE_MAX;
    while (ehlo_client_wants(h->c) & EHLO_WANT_WRITE) assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
}

static void go_ahead(hand *h)
{
    assert_int_equal(ehlo_client_command(h->c, EHLO_VERB_DATA, none(), hand_reply, h, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h->c, 0), EHLO_OK);
    hand_feed(h, "354 go\r\n");
    assert_int_equal(h->code, 354);
}

static void a_pushed_body_is_the_same_however_it_is_cut_and_taken(void **state) /* [C69] [C70] */
{
    static const char text[] = ".\r\n..\r\nab\ncd\r\n.x\n\n.\n\r\n.end";
    static const char wire[] = "..\r\n...\r\nab\r\ncd\r\n..x\r\n\r\n..\r\n\r\n..end\r\n.\r\n";
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        for (size_t room = 1; room <= sizeof wire; room++) {
            go_ahead(&h);
            size_t before = h.out.len;
            assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
            push_all(&h, text, sizeof text - 1, piece, room);
            assert_int_equal(h.out.len - before, sizeof wire - 1);
            assert_memory_equal(h.out.ptr + before, wire, sizeof wire - 1);
            hand_feed(&h, "250 ok\r\n");
            assert_int_equal(h.code, 250);
        }
    }
    hand_end(&h);
}

static void a_chunk_is_the_same_however_it_is_cut_and_taken(void **state) /* [C157] */
{
    static const char text[] = ".\r\n.\r\nab\ncd\r\0\xFF.x\n";
    char wire[64];
    ehlo_client_config config = plain_config();
    hand h;
    size_t used;
    (void)state;
    size_t len = sizeof text - 1, head = (size_t)sprintf(wire, "BDAT %zu LAST\r\n", sizeof text - 1);
    memcpy(wire + head, text, len);
    hand_open(&h, &config, "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n");
    for (size_t piece = 1; piece <= len; piece++) {
        for (size_t room = 1; room <= head + len; room++) {
            size_t before = h.out.len;
            assert_int_equal(ehlo_client_chunk(h.c, len, 1, 1, hand_reply, &h), EHLO_OK);
            push_all(&h, text, len, piece, room);
            assert_int_equal(h.out.len - before, head + len);
            assert_memory_equal(h.out.ptr + before, wire, head + len);
            assert_int_equal(ehlo_client_push(h.c, 0, "x", 1, 0, &used), EHLO_ERR_STATE);
            hand_feed(&h, "250 ok\r\n");
        }
    }
    assert_int_equal(ehlo_client_chunk(h.c, 3, 1, 1, hand_reply, &h), EHLO_OK);
    assert_int_equal(ehlo_client_push(h.c, 0, "wxyz", 4, 0, &used), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_push(h.c, 0, "wxy", 3, 0, &used), EHLO_OK);
    assert_int_equal(used, 3);
    hand_end(&h);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 16;
}

/* [C2] [C69] [C70] Whatever the octets: what a receiver decodes is canon(x), and no bare CR or LF was on the wire. */
static void any_octets_arrive_as_the_body_codec_says(void **state) /* [C2] [C69] [C70] */
{
    static const char alphabet[] = "..\r\r\n\n\n\na\0\x80\xFF";
    ehlo_client_config config = plain_config();
    uint32_t seed = 7;
    ehlo_codec strict;
    hand h;
    (void)state;
    config.bare_cr = EHLO_BARE_NORMALISE;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    assert_int_equal(ehlo_codec_init(&strict, EHLO_BARE_REJECT, EHLO_BARE_REJECT, 0), EHLO_OK);
    for (int run = 0; run < 3000; run++) {
        char text[40], canon[120];
        size_t len = next_random(&seed) % sizeof text, canon_len = 0;
        for (size_t i = 0; i < len; i++) text[i] = alphabet[next_random(&seed) % (sizeof alphabet - 1)];
        for (size_t i = 0; i < len; i++) {
            int crlf = text[i] == '\r' && i + 1 < len && text[i + 1] == '\n';
            if (text[i] == '\n' || crlf) {
                memcpy(canon + canon_len, "\r\n", 2);
                canon_len += 2;
                i += (size_t)crlf;
            } else {
                canon[canon_len++] = text[i] == '\r' ? ' ' : text[i];
            }
        }
        if (canon_len > 0 && (canon_len < 2 || memcmp(canon + canon_len - 2, "\r\n", 2) != 0)) {
            memcpy(canon + canon_len, "\r\n", 2);
            canon_len += 2;
        }
        go_ahead(&h);
        size_t before = h.out.len;
        assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
        push_all(&h, text, len, 1 + next_random(&seed) % 9, 1 + next_random(&seed) % 9);
        peer_text got = { 0 };
        ehlo_decoder decoder;
        ehlo_str slice;
        size_t at = before, used;
        int step;
        ehlo_decoder_init(&decoder);
        while ((step = ehlo_decode(&decoder, &strict, h.out.ptr + at, h.out.len - at, &used, &slice)) ==
               EHLO_BODY_SLICE) {
            peer_text_add(&got, slice.ptr, slice.len);
            at += used;
        }
        assert_int_equal(step, EHLO_BODY_END);
        assert_int_equal(at + used, h.out.len);
        assert_int_equal(got.len, canon_len);
        if (canon_len > 0) assert_memory_equal(got.ptr, canon, canon_len);
        peer_text_free(&got);
        hand_feed(&h, "250 ok\r\n");
    }
    hand_end(&h);
}

static void the_end_of_a_message_leaves_with_its_last_octets(void **state)
{
    ehlo_client_config config = plain_config();
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    go_ahead(&h);
    unsigned before = h.writes;
    assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
    assert_int_equal(ehlo_client_push(h.c, 0, "text\r\n.more\r\n", 13, 1, &used), EHLO_OK);
    assert_int_equal(used, 13);
    assert_int_equal(h.writes - before, 1);
    assert_true(strstr(h.out.ptr, "text\r\n..more\r\n.\r\n") != NULL);
    hand_end(&h);
}

/* The first write takes half of a doubled dot: no octet counts as taken, and the bare CR stands where it stood. */
static void a_bare_cr_is_named_where_it_stands_after_a_short_write(void **state) /* [C2] */
{
    static const char text[] = ".a\n.b\n.c\rX";
    ehlo_client_config config = plain_config();
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    for (size_t room = 0; room < 8; room++) {
        if (room > 0) hand_end(&h);
        if (room > 0) hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
        go_ahead(&h);
        h.out.len = 0;
        assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
        h.limit = room;
        assert_int_equal(ehlo_client_push(h.c, 0, text, sizeof text - 1, 1, &used), EHLO_OK);
        size_t at = used;
        h.limit = SIZE_MAX;
        assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
        assert_int_equal(ehlo_client_push(h.c, 0, text + at, sizeof text - 1 - at, 1, &used), EHLO_ERR_SYNTAX);
        assert_int_equal(at + used, 8);
        assert_string_equal(h.out.ptr, "..a\r\n..b\r\n..c");
    }
    hand_end(&h);
}

static void nothing_may_follow_the_last_octets(void **state)
{
    ehlo_client_config config = plain_config();
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    go_ahead(&h);
    h.out.len = 0;
    assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
    h.limit = 3;
    assert_int_equal(ehlo_client_push(h.c, 0, "abc", 3, 1, &used), EHLO_OK);
    assert_int_equal(used, 3);
    assert_true(ehlo_client_wants(h.c) & EHLO_WANT_WRITE);
    assert_int_equal(ehlo_client_push(h.c, 0, "def", 3, 1, &used), EHLO_ERR_STATE);
    h.limit = SIZE_MAX;
    assert_int_equal(ehlo_client_push(h.c, 0, "def", 3, 1, &used), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_string_equal(h.out.ptr, "abc\r\n.\r\n");
    hand_feed(&h, "250 ok\r\n");
    assert_int_equal(h.code, 250);
    hand_end(&h);
}

static void a_line_longer_than_the_limit_cannot_be_sent(void **state)
{
    ehlo_client_config config = plain_config();
    char text[1001];
    size_t used;
    hand h;
    (void)state;
    memset(text, 'x', sizeof text);
    config.text_line_max = 998;
    hand_open(&h, &config, "250 mx\r\n");
    go_ahead(&h);
    assert_int_equal(ehlo_client_message(h.c, 1, hand_reply, &h), EHLO_OK);
    assert_int_equal(ehlo_client_push(h.c, 0, text, 998, 0, &used), EHLO_OK);
    assert_int_equal(used, 998);
    assert_int_equal(ehlo_client_push(h.c, 0, "x", 1, 1, &used), EHLO_ERR_SYNTAX);
    assert_int_equal(used, 0);
    hand_end(&h);
}

/* -- misuse ----------------------------------------------------------------------------------------- */

static void calls_before_start_are_refused(void **state) /* [C240] */
{
    ehlo_client_config config = plain_config();
    hand h;
    size_t used;
    (void)state;
    hand_make(&h, &config);
    assert_int_equal(ehlo_client_hello(h.c, hand_reply, &h), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_QUIT, none(), hand_reply, &h, NULL), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_push(h.c, 0, "x", 1, 1, &used), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    assert_int_equal(ehlo_client_tick(h.c, 1000000000), EHLO_OK);
    assert_int_equal(ehlo_client_deadline(h.c), UINT64_MAX);
    assert_int_equal(h.writes, 0);
    assert_int_equal(h.replies, 0);
    hand_end(&h);
}

static void tls_may_be_there_before_start_once(void **state) /* RFC 8314 3.3 */
{
    static const ehlo_tls_facts facts = { .version = { "TLSv1.3", 7 } };
    ehlo_client_config config = plain_config();
    size_t used;
    hand h;
    (void)state;
    hand_make(&h, &config);
    assert_int_equal(ehlo_client_tls_started(h.c, 0, 0, &facts), EHLO_OK);
    assert_int_equal(ehlo_client_tls_started(h.c, 0, 0, &facts), EHLO_ERR_STATE);
    assert_ptr_equal(ehlo_client_tls_facts(h.c), &facts);
    assert_int_equal(ehlo_client_hello(h.c, hand_reply, &h), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_start(h.c, 0, hand_reply, &h), EHLO_OK);
    assert_int_equal(ehlo_client_tls_started(h.c, 0, 0, &facts), EHLO_ERR_STATE);
    hand_feed(&h, "220 mx\r\n");
    assert_int_equal(h.code, 220);
    hand_end(&h);
    hand_make(&h, &config);
    assert_int_equal(ehlo_client_tls_started(h.c, 0, 1, &facts), EHLO_OK);
    assert_int_equal(ehlo_client_wants(h.c), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_client_start(h.c, 0, hand_reply, &h), EHLO_ERR_STATE);
    assert_int_equal(ehlo_client_feed(h.c, 0, "220 x\r\n", 7, &used), EHLO_OK);
    assert_int_equal(h.replies, 0);
    hand_end(&h);
}

/* Against the contract: what was left of a reply is not offered again. It is no answer, and nothing behind it is read. */
static void fewer_octets_than_before_are_waited_for(void **state)
{
    static const char rest[] = "\r\n";
    ehlo_client_config config = plain_config();
    size_t used;
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_NOOP, none(), hand_reply, &h, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    unsigned before = h.replies;
    assert_int_equal(ehlo_client_feed(h.c, 0, "250-abcd", 8, &used), EHLO_OK);
    assert_int_equal(used, 0);
    for (size_t len = 0; len <= 2; len++) {
        char *bytes = guard_copy(rest, len);
        assert_int_equal(ehlo_client_feed(h.c, 0, bytes, len, &used), EHLO_OK);
        assert_int_equal(used, 0);
        guard_free(bytes, len);
    }
    assert_int_equal(h.replies, before);
    hand_feed(&h, "250-abcd\r\n250 ok\r\n");
    assert_int_equal(h.replies, before + 1);
    hand_end(&h);
}

static void completions_and_callbacks_may_be_null(void **state)
{
    ehlo_client_config config = plain_config();
    hand h;
    (void)state;
    hand_open(&h, &config, "250-mx\r\n250 PIPELINING\r\n");
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_RSET, none(), NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_QUIT, none(), NULL, NULL, NULL), EHLO_OK);
    assert_int_equal(ehlo_client_flush(h.c, 0), EHLO_OK);
    hand_feed(&h, "250 ok\r\n221 bye\r\n");
    assert_int_equal(ehlo_client_wants(h.c), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_client_reason(h.c), EHLO_CLOSE_QUIT);
    hand_end(&h);
}

static void faults_name_the_octet(void **state)
{
    ehlo_client_config config = plain_config();
    ehlo_fault fault = { 0 };
    hand h;
    (void)state;
    hand_open(&h, &config, "250 mx\r\n");
    assert_int_equal(ehlo_client_command(h.c, EHLO_VERB_NOOP, ehlo_str_from("ab\rcd"), NULL, NULL, &fault),
                     EHLO_ERR_ARG);
    assert_int_equal(fault.rule, EHLO_RULE_CONTROL);
    assert_int_equal(fault.offset, 2);
    hand_end(&h);
}

/* -- all of it -------------------------------------------------------------------------------------- */

static const struct CMUnitTest by_hand[] = {
    cmocka_unit_test(ehlo_falls_back_to_helo_where_it_is_not_known),
    cmocka_unit_test(helo_refused_too_is_the_reply_that_counts),
    cmocka_unit_test(other_refusals_of_ehlo_do_not_fall_back),
    cmocka_unit_test(a_second_hello_renews_what_is_offered),
    cmocka_unit_test(greetings_that_refuse_leave_only_quit),
    cmocka_unit_test(our_name_is_a_domain_or_a_literal),
    cmocka_unit_test(any_command_may_be_answered_421),
    cmocka_unit_test(an_error_on_quit_changes_nothing),
    cmocka_unit_test(whoever_waits_is_told_of_every_end),
    cmocka_unit_test(a_session_that_never_started_can_be_closed),
    cmocka_unit_test(every_phase_has_its_time),
    cmocka_unit_test(times_are_settings),
    cmocka_unit_test(each_reply_and_each_octet_starts_the_time_anew),
    cmocka_unit_test(a_write_after_a_long_silence_has_its_time),
    cmocka_unit_test(a_trickle_of_octets_is_no_reply),
    cmocka_unit_test(a_reply_before_its_command_is_never_an_answer),
    cmocka_unit_test(a_reply_in_the_same_octets_as_the_one_before_its_command),
    cmocka_unit_test(octets_held_behind_the_220_end_the_session),
    cmocka_unit_test(a_starttls_reply_other_than_220_begins_nothing),
    cmocka_unit_test(every_verdict_on_auth_is_told),
    cmocka_unit_test(secrets_stay_out_of_the_trace),
    cmocka_unit_test(secrets_are_wiped_once_they_have_left),
    cmocka_unit_test(secrets_that_never_left_are_wiped_at_close),
    cmocka_unit_test(a_session_is_as_small_as_promised),
    cmocka_unit_test(settings_out_of_range_are_refused),
    cmocka_unit_test(settings_are_copied),
    cmocka_unit_test(a_full_block_is_said_and_empties),
    cmocka_unit_test(a_line_too_long_is_refused_with_nothing_queued),
    cmocka_unit_test(a_pushed_body_is_the_same_however_it_is_cut_and_taken),
    cmocka_unit_test(a_chunk_is_the_same_however_it_is_cut_and_taken),
    cmocka_unit_test(any_octets_arrive_as_the_body_codec_says),
    cmocka_unit_test(the_end_of_a_message_leaves_with_its_last_octets),
    cmocka_unit_test(a_bare_cr_is_named_where_it_stands_after_a_short_write),
    cmocka_unit_test(nothing_may_follow_the_last_octets),
    cmocka_unit_test(a_line_longer_than_the_limit_cannot_be_sent),
    cmocka_unit_test(calls_before_start_are_refused),
    cmocka_unit_test(tls_may_be_there_before_start_once),
    cmocka_unit_test(fewer_octets_than_before_are_waited_for),
    cmocka_unit_test(completions_and_callbacks_may_be_null),
    cmocka_unit_test(faults_name_the_octet),
};

int main(int argc, char **argv)
{
    return dialogue_main(argc, argv, "client", a_dialogue_holds_in_every_manner, by_hand, COUNT(by_hand));
}
