/* A server that means harm, or knows no better, against our client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/dialogue_test.h"

enum { SEEDS = 12 };

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define MESSAGE "from a@x.example\nto b@x.example\ncontent Hello\\r\\n\nA: send\n"

/* -- where a reply may come, and what becomes of the message if it is none -------------------------- */

static const struct {
    const char *name;
    const char *before;
    const char *outcome;
} places[] = {
    { "MAIL", "greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\n", "not-sent" },
    { "RCPT", "greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\n", "not-sent" },
    { "DATA",
      "greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\nS: 250 ok\nC: DATA\n",
      "not-sent" },
    { "final",
      "greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\nS: 250 ok\nC: DATA\n"
      "S: 354 go\nC: Hello\nC: .\n",
      "uncertain" },
};

/* What is no reply ends the session wherever it comes, and is never a success. */
static void must_be_no_reply(const char *octets, const char *reason)
{
    holds_with("%s\nW: CLOSE\nE: reply greeting none\nE! close %s (*\n", octets, reason);
    holds_with("S: 220 mx\nA: hello\nC: EHLO c.example\n%s\nW: CLOSE\nE: reply hello none\nE! close %s (*\n", octets,
               reason);
    for (size_t i = 0; i < COUNT(places); i++) {
        holds_with("%s%s\nW: CLOSE\nE: rcpt 0 none = %s\nE! done %s\nE: close %s (*\nN: * = delivered\n",
                   places[i].before, octets, places[i].outcome, places[i].outcome, reason);
    }
}

static void what_is_no_reply_ends_the_session(void **state) /* [K03] [K19] [C15] [C17] */
{
    static const char *const none[] = {
        "25",
        "2",
        "",
        "250OK",
        "22X OK",
        "666 x",
        "100 x",
        "199 x",
        "0250 x",
        "\\x20250 x",
        "250\\t",
        "250_",
        "250\\0",
        "2500",
        "250.x",
        "600 x",
        "999 x",
        "000 x",
        "-250 x",
        "+250 x",
        "050 x",
        "150-x",
        "250- x\\r\\n25",
        "OK",
        "\\x32\\xB5\\xB0 x",
        "250-a\\r\\n251 b",
        "250-a\\r\\n\\r\\n250 b",
        "250-a\\r\\n  b\\r\\n250 c",
        "250-a\\r\\n250_b",
        "HTTP/1.1 400 Bad Request\\r\\nServer: x\\r\\n\\r\\n",
        "SSH-2.0-OpenSSH_9.2",
        "* OK IMAP4rev1",
        "+OK POP3",
        "\\x15\\x03\\x01\\x00\\x02\\x02\\x46",
        "554-no\\r\\n250 yes",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(none); i++) {
        char line[200];
        snprintf(line, sizeof line, "S: %s", none[i]);
        must_be_no_reply(line, "protocol");
    }
}

static void a_lone_lf_ends_no_line(void **state) /* [K04] */
{
    (void)state;
    must_be_no_reply("S: 250 ok\\n\\", "protocol");
    must_be_no_reply("S: 250-a\\n250 ok", "protocol");
    must_be_no_reply("S: 250 ok\\n250 ok", "protocol");
    must_be_no_reply("S: \\n\\", "protocol");
}

static void what_is_a_reply_is_taken(void **state) /* [K03] [C13] */
{
    static const struct {
        const char *octets;
        const char *shown;
    } replies[] = {
        { "250", "250 - " },
        { "250 ", "250 - " },
        { "250-\\r\\n250", "250 - |" },
        { "250-\\r\\n250 ", "250 - |" },
        { "250  two", "250 -  two" },
        { "250 -x", "250 - -x" },
        { "250--x\\r\\n250 y", "250 - -x|y" },
        { "259 x", "259 - x" },
        { "299", "299 - " },
        { "250-251 x\\r\\n250 250 y", "250 - 251 x|250 y" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(replies); i++) {
        holds_with("greet -\nA: NOOP\nC: NOOP\nS: %s\nE: reply NOOP %s\nW: !CLOSE\nA: RSET\nC: RSET\nS: 250 ok\n",
                   replies[i].octets, replies[i].shown);
    }
}

static void octets_without_an_end_are_no_reply_yet(void **state) /* [K03] [C105] */
{
    static const char *const starts[] = { "2",      "25",        "250",         "250 ",          "250-",
                                          "250 ok", "250 ok\\r", "250-x\\r\\n", "250-x\\r\\n250" };
    (void)state;
    for (size_t i = 0; i < COUNT(starts); i++) {
        holds_with(
            "greet -\nA: NOOP\nC: NOOP\nS: %s\\\nW: READ !CLOSE\nP: 300000\nE: reply NOOP none\nE! close timeout (*\n",
            starts[i]);
        holds_with("greet -\nA: NOOP\nC: NOOP\nS: %s\\\nZ: eof\nE: reply NOOP none\nE! close eof*\n", starts[i]);
    }
}

/* -- replies without end ---------------------------------------------------------------------------- */

static void replies_are_bounded_in_lines_and_octets(void **state) /* [K01] */
{
    (void)state;
    must_be_no_reply("S: \\[512:250-x\\r\\n]250 x", "limit");
    must_be_no_reply("S: 250 \\[16400:x]", "limit");
    holds("greet -\nA: NOOP\nC: NOOP\nS: \\[511:250-x\\r\\n]250 x\nE: reply NOOP 250 *\nW: !CLOSE\n");
    holds("greet -\nA: NOOP\nC: NOOP\nS: 250 \\[16378:x]\nE: reply NOOP 250 *\nW: !CLOSE\n");
    holds("greet -\nA: NOOP\nC: NOOP\nS: 250 \\[16379:x]\nE: reply NOOP none\nE! close limit*\n");
    holds(
        "set reply_max 600\nset reply_lines_max 3\ngreet -\nA: NOOP\nC: NOOP\nS: 250-a\nS: 250-b\nS: 250-c\nS: 250 d\n"
        "E: reply NOOP none\nE! close limit*\n");
    holds("set reply_max 600\nset reply_lines_max 3\ngreet -\nA: NOOP\nC: NOOP\nS: 250-a\nS: 250-b\nS: 250 c\n"
          "E: reply NOOP 250 - a|b|c\n");
    holds("set reply_max 600\ngreet -\nA: NOOP\nC: NOOP\nS: 250-\\[300:a]\nS: 250-\\[300:a]\nS: 250 c\n"
          "E: reply NOOP none\nE! close limit*\n");
    holds(
        "greet VERB\nA: VERB\nC: VERB\nS: 250 ok\nA: NOOP\nC: NOOP\nS: \\[600:050 x\\r\\n]250 ok\nE: reply NOOP none\n"
        "E! close limit*\n"); /* [C15] bounded too */
}

typedef struct sink {
    peer_text out;
    int replies;
    int code;
} sink;

static int sink_write(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    sink *s = user;
    (void)c;
    *taken = 0;
    for (size_t i = 0; i < n; i++) {
        peer_text_add(&s->out, parts[i].ptr, parts[i].len);
        *taken += parts[i].len;
    }
    return 0;
}

static void sink_reply(ehlo_client *c, const ehlo_reply *r, void *user)
{
    sink *s = user;
    (void)c;
    s->replies++;
    s->code = r == NULL ? -1 : r->code;
}

static ehlo_client *sink_open(sink *s, void **mem)
{
    static const ehlo_client_callbacks callbacks = { .write = sink_write };
    static const ehlo_client_config config = { .name = { "c.example", 9 } };
    ehlo_client *c;
    memset(s, 0, sizeof *s);
    *mem = malloc(ehlo_client_size(&config));
    assert_int_equal(ehlo_client_init(&c, *mem, ehlo_client_size(&config), &config, &callbacks, s), EHLO_OK);
    assert_int_equal(ehlo_client_start(c, 0, sink_reply, s), EHLO_OK);
    return c;
}

static void sink_end(sink *s, ehlo_client *c, void *mem)
{
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    assert_int_equal(s->replies, 1);
    assert_int_equal(s->code, -1);
    assert_int_equal(s->out.len, 0);
    peer_text_free(&s->out);
    free(mem);
}

/* Feeds `block` again and again, keeping what is left as a caller would: how much was taken until it is over. */
static size_t flood(ehlo_client *c, const char *block, size_t block_len, size_t total)
{
    size_t room = ehlo_client_input_min(c) + block_len, held = 0, given = 0, used;
    char *input = malloc(room);
    assert_non_null(input);
    while (given < total && !(ehlo_client_wants(c) & EHLO_WANT_CLOSE)) {
        assert_in_range(held, 0, room - block_len);
        memcpy(input + held, block, block_len);
        assert_int_equal(ehlo_client_feed(c, 0, input, held + block_len, &used), EHLO_OK);
        held = held + block_len - used;
        memmove(input, input + used, held);
        given += block_len;
    }
    /* over: all is taken and dropped */
    assert_int_equal(ehlo_client_feed(c, 0, block, block_len, &used), EHLO_OK);
    assert_int_equal(used, block_len);
    free(input);
    return given;
}

static void endless_replies_end_soon(void **state) /* [K01] [K02] [K11] */
{
    static char xs[65536];
    static const struct {
        const char *block;
        size_t len;
        size_t within; /* octets */
    } floods[] = { { xs, sizeof xs, 65536 }, { xs, 1, 16384 }, { "220-x\r\n", 7, 4096 }, { "220-x\r\n220-", 11, 6144 },
                   { "\r\n", 2, 2 },         { "\n", 1, 1 },   { "\0", 1, 16384 },       { "220-", 4, 16384 } };
    (void)state;
    memset(xs, 'x', sizeof xs);
    for (size_t i = 0; i < COUNT(floods); i++) {
        sink s;
        void *mem;
        ehlo_client *c = sink_open(&s, &mem);
        size_t taken = flood(c, floods[i].block, floods[i].len, 10 << 20);
        assert_in_range(taken, 1, floods[i].within);
        int reason = ehlo_client_reason(c);
        assert_true(reason == EHLO_CLOSE_LIMIT || reason == EHLO_CLOSE_PROTOCOL);
        assert_true(ehlo_client_problem(c).len > 0);
        sink_end(&s, c, mem);
    }
}

/* -- texts ------------------------------------------------------------------------------------------ */

static void control_octets_come_as_they_are_and_are_cleaned_for_a_log(void **state) /* [K04] [K20] */
{
    static const char text[] = "550 a\0b\rc\x1B[2Jd\x7F\x85\xC2\x85\xE2\x80\xA8\xC3\xA9\xFF\te";
    char clean[64];
    size_t len;
    (void)state;
    assert_int_equal(ehlo_text_clean(ehlo_str_make(text, sizeof text - 1), clean, sizeof clean, &len), EHLO_OK);
    for (size_t i = 0; i < len; i++) {
        assert_true((unsigned char)clean[i] >= 0x20 && clean[i] != 0x7F);
    }
    assert_int_equal(ehlo_utf8_valid(ehlo_str_make(clean, len), NULL), 1);
    holds("greet -\nA: NOOP\nC: NOOP\nS: 550 a\\0b\\rc\\x1B[2J\\x7F\nE: reply NOOP 550 - a\\x00b\\x0Dc\\x1B[2J\\x7F\n"
          "A: NOOP\nC: NOOP\nS: 250 ok\n");
    holds("greet -\nA: NOOP\nC: NOOP\nS: 550-caf\\xC3\\xA9\\xE2\\x82\\xAC\nS: 550 \\xF0\\x9F\\x98\\x80\\xC3\n"
          "E: reply NOOP 550 - caf\\xC3\\xA9\\xE2\\x82\\xAC|\\xF0\\x9F\\x98\\x80\\xC3\n"); /* split at every octet */
    holds("greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nS: 550 \\0\\rRCPT\\x1B\nE: done rejected\nW: !CLOSE\n");
}

static void enhanced_codes_are_their_own_or_none(void **state) /* [K05] [C169] [C170] */
{
    static const struct {
        const char *octets;
        const char *shown;
    } replies[] = {
        { "250 2", "250 - *" },
        { "250 2.", "250 - *" },
        { "250 2.0", "250 - *" },
        { "250 2.0.", "250 - *" },
        { "250 9.9.9 x", "250 - *" },
        { "250 2.1000.1 x", "250 - *" },
        { "250 5.1.1 x", "250 - *" },
        { "550 2.1.1 x", "550 - *" },
        { "250 2.0.0", "250 2.0.0 *" },
        { "550 5.7.705 x", "550 5.7.705 x" },
        { "250 2.0.0x", "250 - *" },
        { "250 2.0.0-x", "250 - *" },
        { "250 02.0.0 x", "250 - *" },
        { "250  2.0.0 x", "250 - *" },
        { "250 2.1.5.6 x", "250 - *" },
        { "250 2address", "250 - *" },
        { "250 6.8.9 x", "250 - *" },
        { "550 5.999.999 x", "550 5.999.999 x" },
        { "450 4.2.1\\tx", "450 - *" },
        { "550-no\\r\\n550 5.1.1 in the second line", "550 - *" },
        { "550-5.1.1 first\\r\\n550 5.2.2 second", "550 5.1.1 *" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(replies); i++) {
        /* a stale one stands before it */
        holds_with("greet -\nA: RSET\nC: RSET\nS: 250 2.7.7 stale\nA: NOOP\nC: NOOP\nS: %s\nE: reply RSET 250 2.7.7 *\n"
                   "E: reply NOOP %s\n",
                   replies[i].octets, replies[i].shown);
    }
}

/* -- EHLO ------------------------------------------------------------------------------------------- */

static void strange_keywords_do_no_harm(void **state) /* [K07] [C33] [C228] */
{
    static const struct {
        const char *lines;
        const char *offers;
    } hellos[] = {
        { "S: 250-SIZE 1\nS: 250-SIZE 2\nS: 250-PIPELINING\nS: 250 PIPELINING\n", "SIZE PIPELINING" },
        { "S: 250 SIZE 99999999999999999999999\n", "SIZE" },
        { "S: 250 SIZE -1\n", "SIZE" },
        { "S: 250 SIZE x\n", "SIZE" },
        { "S: 250 LIMITS RCPTMAX=0 MAILMAX=x RCPTDOMAINMAX=99999999999999999999 \n", "LIMITS" },
        { "S: 250 AUTH=PLAIN\n", "AUTH" },
        { "S: 250 AUTH \\[1000:X ]PLAIN\n", "AUTH" },
        { "S: 250-\\[10240:K]\nS: 250 SIZE\n", "SIZE" },
        { "S: 250-\nS: 250- x\nS: 250--\nS: 250-\\xFF\\0\nS: 250-=PLAIN\nS: 250 DSN\n", "DSN" },
        { "S: 250-pipelining\\t\nS: 250-Size\nS: 250 8bitmime \n", "SIZE 8BITMIME" },
        { "S: 250-XPIPELINING\nS: 250-PIPELININGX\nS: 250 PIPELINING-X\n", "!PIPELINING" },
        { "S: 250 BINARYMIME\n", "!BINARYMIME" },
        { "S: 250 SMTPUTF8\n", "!SMTPUTF8" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(hellos); i++) {
        holds_with(
            "S: 220 mx\nA: hello\nC: EHLO c.example\nS: 250-mx\n%sK: %s\nE: greeted EHLO\nW: NEXT\nA: RSET\nC: RSET\n"
            "S: 250 ok\n",
            hellos[i].lines, hellos[i].offers);
    }
    /* limits that are none bind nobody */
    holds(
        "greet SIZE -1|LIMITS RCPTMAX=0 MAILMAX=0 RCPTDOMAINMAX=0\nfrom a@x.example\nto b@x.example\nto c@y.example\n"
        "size 5\ncontent x\nA: send\nC: MAIL FROM:<a@x.example> SIZE=5\nS: 250 1\nC: RCPT TO:<b@x.example>\nS: 250 2\n"
        "C: RCPT TO:<c@y.example>\nS: 250 3\nC: DATA\nS: 354 4\nC: x\nC: .\nS: 250 5\nE: done delivered\n");
    holds("S: 220 mx\nA: hello\nC: EHLO c.example\nS: \\[600:250-X\\r\\n]250 SIZE\nK: !SIZE\nE: reply hello none\nE! "
          "close limit*\n");
}

/* -- replies out of place --------------------------------------------------------------------------- */

static void replies_that_nobody_asked_for_end_it(void **state) /* [K06] [K08] */
{
    (void)state;
    holds("outside\nS: 220 mx\nS: 220 mx\nE: close protocol*\nW: CLOSE\n");
    holds("outside\ngreet PIPELINING|AUTH PLAIN\nA: MAIL FROM:<a@x>\nC: MAIL FROM:<a@x>\nS: 250 ok\nS: 250 ok\nS: 354 "
          "go\n"
          "E: reply MAIL 250 - ok\nE! close protocol*\nA: RCPT TO:<b@x> => STATE\n");
    holds("greet -\n" MESSAGE "C: MAIL FROM:<a@x.example>\nZ: stall\nS: 250 1\\r\\n250 2\\r\\n354 3\\r\\n250 4\n"
          "E: done not-sent\nW: CLOSE\nN: * = delivered\n");
}

/* All the replies of a good delivery, at once, before a word was said. */
static void a_delivery_that_was_answered_in_advance_is_none(void **state) /* [K06] */
{
    static const char *const offered[] = { "250 mx", "250-mx\\r\\n250 PIPELINING",
                                           "250-mx\\r\\n250-PIPELINING\\r\\n250 CHUNKING" };
    (void)state;
    for (size_t i = 0; i < COUNT(offered); i++) {
        for (int inside = 0; inside < 2; inside++) {
            talk_mode mode = { .name = "in advance", .inside = inside };
            dialogue *d = dialogue_parse(dialogue_format(
                "S: 220 mx\\r\\n%s\\r\\n250 1\\r\\n250 2\\r\\n354 3\\r\\n250 4\\r\\n250 5\nA: hello\n" MESSAGE,
                offered[i]));
            talk *t = talk_run(d, &mode);
            assert_string_equal(t->fault, "");
            assert_null(strstr(t->log.ptr, "delivered"));
            assert_int_equal(t->out.len, 0);
            talk_free(t);
            dialogue_free(d);
        }
    }
}

static void three_hundreds_fit_only_data_and_auth(void **state) /* [K13] [C14] [K11] */
{
    static const char *const steps[][2] = { { "hello", "EHLO c.example" },
                                            { "MAIL FROM:<a@x>", "MAIL FROM:<a@x>" },
                                            { "RCPT TO:<a@x>", "RCPT TO:<a@x>" },
                                            { "RSET", "RSET" },
                                            { "NOOP", "NOOP" },
                                            { "VRFY a", "VRFY a" },
                                            { "STARTTLS", "STARTTLS" } };
    static const int codes[] = { 334, 354, 300, 399 };
    (void)state;
    for (size_t i = 0; i < COUNT(steps); i++) {
        for (size_t n = 0; n < COUNT(codes); n++) {
            holds_with(
                "greet STARTTLS|AUTH PLAIN\nA: %s\nC: %s\nS: %d x\nE: reply * none\nE! close protocol*\nW: CLOSE\n",
                steps[i][0], steps[i][1], codes[n]);
        }
    }
    holds("S: 354 go\nE: reply greeting none\nE! close protocol*\n");
    holds("greet CHUNKING\nA: chunk last 1 x\nC: BDAT 1 LAST\nC: x\\\nS: 354 go\nE: reply chunk none\nE! close "
          "protocol*\n");
}

static void answers_to_data_are_what_their_first_digit_says(void **state) /* [K13] [C14] [C81] */
{
    static const int go[] = { 354, 300, 352, 399 };
    static const int no[] = { 503, 554, 451, 599, 499 }, none[] = { 250, 220, 299 };
    (void)state;
    for (size_t i = 0; i < COUNT(go); i++) {
        holds_with("%sS: %d go\nC: Hello\nC: .\nS: 250 ok\nE: done delivered\n", places[2].before, go[i]);
    }
    for (size_t i = 0; i < COUNT(no); i++) {
        holds_with("%sS: %d no\nE: done %s\nW: NEXT\n", places[2].before, no[i], no[i] < 500 ? "deferred" : "rejected");
    }
    /* a success promises nothing, and what the server waits for cannot be known */
    for (size_t i = 0; i < COUNT(none); i++) {
        holds_with("%sS: %d ok\nN: * = delivered\nN: done delivered\nE: done *\nE: close protocol*\nW: CLOSE\n",
                   places[2].before, none[i]);
    }
}

static void the_end_is_answered_by_a_verdict_or_not_at_all(void **state) /* [K13] [C17] [C82] */
{
    (void)state;
    holds_with("%sS: 354 again\nE: rcpt 0 none = uncertain\nE! done uncertain\nE: close protocol*\n", places[3].before);
    holds_with("%sS: 150 later\nE: done uncertain\nE: close protocol*\n", places[3].before);
}

/* Twice 354 in the same octets: the second can be no answer to a message that has not left. */
static void a_second_354_is_no_verdict(void **state) /* [K13] */
{
    static const talk_mode mode = { .name = "whole", .inside = 1 };
    (void)state;
    dialogue *d = dialogue_parse(dialogue_format("%sS: 354 go\nS: 354 go\nS: 250 ok\n", places[2].before));
    talk *t = talk_run(d, &mode);
    assert_string_equal(t->fault, "");
    assert_non_null(strstr(t->log.ptr, "done not-sent\n"));
    assert_non_null(strstr(t->log.ptr, "close protocol"));
    assert_int_equal(t->out.len, t->script->said.len);
    talk_free(t);
    dialogue_free(d);
}

static void a_success_before_the_end_is_none(void **state) /* [K13] [K18] */
{
    (void)state;
    holds_with("give any\n%sZ: stall\nS: 354 go\nS: 250 2.0.0 queued\nE: done not-sent\nE: close protocol*\n",
               places[2].before);
    holds("greet CHUNKING\n" MESSAGE
          "C: MAIL FROM:<a@x.example>\nS: 250 1\nC: RCPT TO:<b@x.example>\nZ: stall\nS: 250 2\n"
          "S: 250 2.0.0 queued\nE: done not-sent\nE: close protocol*\n");
    holds("greet CHUNKING|PIPELINING\nZ: stall\n" MESSAGE
          "S: 250 1\nS: 250 2\nS: 250 3\nE: done not-sent\nE: close protocol*\n");
}

/* -- recipients ------------------------------------------------------------------------------------- */

static void a_354_for_nobody_is_answered_with_a_lone_dot(void **state) /* [K14] [C145] [C242] */
{
    static const char *const verdicts[] = { "250 2.0.0 queued", "554 no valid recipients", "451 x" };
    static const char envelope[] =
        "give any\ngreet PIPELINING\n" MESSAGE "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: DATA\n";
    (void)state;
    for (size_t i = 0; i < COUNT(verdicts); i++) {
        holds_with("%sS: 250 1\nS: 550 5.1.1 2\nS: 354 3\nC: .\nS: %s\nE: done rejected\n"
                   "E! outcome b@x.example rejected rcpt 550 5.1.1\nN: * = delivered\nW: NEXT !CLOSE\n",
                   envelope, verdicts[i]);
    }
    holds_with("%sS: 250 1\nS: 550 5.1.1 2\nS: 354 3\nC: .\nZ: eof\nE: done rejected\nN: * = uncertain\n", envelope);
}

static void lmtp_results_are_counted(void **state) /* [K16] [C219] */
{
    static const char envelope[] = "set flags LMTP\ngreet PIPELINING\nfrom a@x.example\nto b@x.example\nto "
                                   "c@x.example\nto d@x.example\ncontent x\nA: send\n"
                                   "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: RCPT TO:<c@x.example>\nC: "
                                   "RCPT TO:<d@x.example>\nC: DATA\n"
                                   "S: 250 1\nS: 250 2\nS: 250 3\nS: 250 4\nS: 354 5\nC: x\nC: .\n";
    (void)state;
    holds_with(
        "%sS: 250 b\nS: 250-c\nS: 250 c\nP: 600000\nE: rcpt 0 250 - b = delivered\nE! rcpt 1 250 - c|c = delivered\n"
        "E: rcpt 2 none = uncertain\nE! done uncertain\n",
        envelope);
    holds_with("%sS: 250 b\nS: 550 c\nS: 250 d\nS: 250 e\nE: rcpt 2 250 - d = delivered\nE: done rejected\nE: close "
               "protocol*\n"
               "N: outcome * uncertain *\n",
               envelope);
    holds_with("%sS: 250-b\nS: 251 c\nE: rcpt 0 none = uncertain\nE: done uncertain\nE: close protocol*\n", envelope);
    /* SMTP has one reply: a second one is nobody's */
    holds_with("%sS: 250 ok\nS: 250 ok\nE: done delivered\nE: close protocol*\n", places[3].before);
}

static void replies_to_chunks_are_counted(void **state) /* [K18] [C157] */
{
    static const char envelope[] =
        "give pull 4\ngreet PIPELINING|CHUNKING|BINARYMIME|8BITMIME\nfrom a@x.example\nto b@x.example\nbody "
        "BINARYMIME\n"
        "content abcdefgh\nA: send\nC: MAIL FROM:<a@x.example> BODY=BINARYMIME\nC: RCPT TO:<b@x.example>\n"
        "C: BDAT 4\nC: abcd\\\nC: BDAT 4 LAST\nC: efgh\\\nS: 250 1\nS: 250 2\n";
    (void)state;
    holds_with("%sS: 250 3\nS: 250 4\nE: done delivered\n", envelope);
    holds_with("%sS: 250 3\nS: 250 4\nS: 250 5\nE: done delivered\nE: close protocol*\n", envelope);
    holds_with("%sS: 452 4.3.1 3\nS: 503 5.5.1 4\nE: done deferred\nE! outcome b@x.example deferred data 452 4.3.1\n",
               envelope);
    holds_with("%sS: 554 5.6.0 3\nS: 250 4\nE: done rejected\nN: * = delivered\n", envelope);
    holds_with("%sS: 250 3\nP: 600000\nE: rcpt 0 none = uncertain\nE! done uncertain\n", envelope);
}

/* -- STARTTLS and AUTH ------------------------------------------------------------------------------ */

static void nothing_said_in_clear_survives_starttls(void **state) /* [K08] [C210] [C211] */
{
    static const char *const injected[] = {
        "S: 220 ok\\r\\n250-SMTPUTF8 INJECTED \\\nT: 0\n",
        "S: 220 ok\\r\\n235 2.7.0 ok\\r\\n250 ok\nT: 0\n",
        "S: 220 ok\\r\\n2\\\nT: 0\n",
        "S: 220 ok\\r\\n\\r\\\nT: 0\n",
        "S: 220 ok\nT: 1\n",
        "S: 220-ok\\r\\n220 ok\\r\\n\\0\\\nT: 0\n",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(injected); i++) {
        holds_with(
            "greet STARTTLS|AUTH PLAIN\nA: STARTTLS\nC: STARTTLS\n%sE: reply STARTTLS 220 *\nE! close protocol*\n"
            "A: hello => STATE\nA: auth PLAIN x => STATE\n",
            injected[i]);
    }
    holds("outside\ngreet STARTTLS|AUTH PLAIN\nA: STARTTLS\nC: STARTTLS\nS: 454 no\\r\\n235 ok\\r\\n250 ok\n"
          "E: reply STARTTLS 454 - no\nE! close protocol*\nA: auth PLAIN x => STATE\n");
}

static void challenges_are_told_one_by_one_and_can_be_cancelled(void **state) /* [K11] [C195] */
{
    static const char *const challenges[] = {
        "334", "334 ", "334 !!!", "334 =", "334 \\[15000:A]", "334-a\\r\\n334 b"
    };
    (void)state;
    for (size_t i = 0; i < COUNT(challenges); i++) {
        holds_with("set flags AUTH_CLEAR\ngreet AUTH LOGIN\nA: auth LOGIN\nC: AUTH LOGIN\nS: %s\nE: reply auth 334 "
                   "*\nA: cancel\nC: *\n"
                   "S: 501 5.7.0 cancelled\nE: reply cancel 501 5.7.0 *\nA: RSET\nC: RSET\nS: 250 ok\n",
                   challenges[i]);
    }
    holds("set flags AUTH_CLEAR\ngreet AUTH LOGIN\nA: auth LOGIN\nC: AUTH LOGIN\nS: 334 \\[17000:A]\nE: reply auth "
          "none\nE! close limit*\n");
    peer_text script = { 0 };
    peer_text_format(&script, "set flags AUTH_CLEAR\ngreet AUTH LOGIN\nA: auth LOGIN\nC: AUTH LOGIN\n");
    for (int i = 0; i < 300; i++) peer_text_format(&script, "S: 334 eA==\nA: answer x\nC: eA==\n");
    peer_text_format(&script, "S: 334 eA==\nA: cancel\nC: *\nS: 501 x\n");
    holds(script.ptr);
    peer_text_free(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_reply_ends_the_session),
        cmocka_unit_test(a_lone_lf_ends_no_line),
        cmocka_unit_test(what_is_a_reply_is_taken),
        cmocka_unit_test(octets_without_an_end_are_no_reply_yet),
        cmocka_unit_test(replies_are_bounded_in_lines_and_octets),
        cmocka_unit_test(endless_replies_end_soon),
        cmocka_unit_test(control_octets_come_as_they_are_and_are_cleaned_for_a_log),
        cmocka_unit_test(enhanced_codes_are_their_own_or_none),
        cmocka_unit_test(strange_keywords_do_no_harm),
        cmocka_unit_test(replies_that_nobody_asked_for_end_it),
        cmocka_unit_test(a_delivery_that_was_answered_in_advance_is_none),
        cmocka_unit_test(three_hundreds_fit_only_data_and_auth),
        cmocka_unit_test(answers_to_data_are_what_their_first_digit_says),
        cmocka_unit_test(the_end_is_answered_by_a_verdict_or_not_at_all),
        cmocka_unit_test(a_second_354_is_no_verdict),
        cmocka_unit_test(a_success_before_the_end_is_none),
        cmocka_unit_test(a_354_for_nobody_is_answered_with_a_lone_dot),
        cmocka_unit_test(lmtp_results_are_counted),
        cmocka_unit_test(replies_to_chunks_are_counted),
        cmocka_unit_test(nothing_said_in_clear_survives_starttls),
        cmocka_unit_test(challenges_are_told_one_by_one_and_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
