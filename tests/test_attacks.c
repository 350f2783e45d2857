/* Hostile input that is too large, or too regular, for a transcript. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/peer.h"

static peer_setup setup;

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
    if (p->fault[0] != '\0') fail_msg("%s: %s\n%s", p->mode.name, p->fault, p->log.ptr);
    peer_free(p);
}

static int fresh(void **state)
{
    (void)state;
    peer_setup_default(&setup);
    setup.without = PEER_NO_TRACE;
    return 0;
}

static void repeat(peer_text *text, const char *what, size_t times)
{
    size_t len = strlen(what);
    for (size_t i = 0; i < times; i++) peer_text_add(text, what, len);
}

/* Replies whose code starts so. */
static size_t count_replies(const peer *p, const char *code)
{
    peer_text codes = { 0 };
    size_t n = 0;
    peer_codes(p, &codes);
    for (size_t at = 0; at < codes.len; at += 4) n += strncmp(codes.ptr + at, code, strlen(code)) == 0;
    peer_text_free(&codes);
    return n;
}

static size_t count_events(const peer *p, const char *pattern)
{
    size_t n = 0;
    for (const char *line = p->log.ptr; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (peer_matches(pattern, line, strcspn(line, "\n"))) n++;
    }
    return n;
}

static const char *last_line(const peer *p)
{
    const char *at = p->out.ptr + p->out.len;
    if (p->out.len == 0) return "";
    at--;
    while (at > p->out.ptr && at[-1] != '\n') at--;
    return at;
}

static void open_data(peer *p)
{
    peer_say(p, "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
    assert_int_equal(strncmp(last_line(p), "354 ", 4), 0);
}

static const peer_mode whole = { .name = "whole" };

/* -- lines ------------------------------------------------------------------------------------------ */

static void a_line_of_16_mib_gets_one_reply_and_the_end(void **state) /* [L02] [C20] */
{
    static char block[65536];
    peer *p = begin(&whole);
    (void)state;
    memset(block, 'x', sizeof block);
    peer_say(p, "EHLO c.example\r\n");
    for (int i = 0; i < 256; i++) peer_send(p, block, sizeof block);
    peer_say(p, "\r\nMAIL FROM:<e@x.example>\r\n");
    assert_int_equal(count_replies(p, "421"), 1);
    assert_int_equal(count_replies(p, "500"), 0);
    assert_int_equal(count_events(p, "mail*"), 0);
    assert_true(peer_wants(p) & EHLO_WANT_CLOSE);
    finish(p);
}

static void a_line_of_the_drain_limit_is_answered_and_the_next_is_served(void **state) /* [C20] [L01] */
{
    peer_mode modes[] = { { .name = "whole" }, { .name = "random", .cut = PEER_RANDOM, .seed = 3 } };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        peer_text line = { 0 };
        peer *p = begin(&modes[i]);
        repeat(&line, "x", 1048000);
        peer_say(p, "EHLO c.example\r\n");
        peer_send(p, line.ptr, line.len);
        peer_say(p, "\r\nNOOP\r\n");
        assert_int_equal(count_replies(p, "500"), 1);
        assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
        peer_text_free(&line);
        finish(p);
    }
}

/* One line of `len` octets, with its CRLF or cut off; its reply or "" . */
static void long_noop(size_t len, int ended, const peer_mode *mode, char code[4])
{
    peer_text line = { 0 };
    peer *p = begin(mode);
    peer_say(p, "EHLO c.example\r\n");
    size_t before = p->out.len;
    peer_text_add(&line, "NOOP ", 5);
    repeat(&line, "x", len - 7);
    if (ended) peer_text_add(&line, "\r\n", 2);
    peer_send(p, line.ptr, line.len);
    if (!ended) {
        const peer_step eof = { PEER_EOF, NULL, 0, 0 };
        peer_act_on(p, &eof);
    }
    snprintf(code, 4, "%.3s", p->out.ptr + before);
    if (ended) {
        peer_say(p, "NOOP\r\n");
        assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
    } else {
        assert_true(peer_wants(p) & EHLO_WANT_CLOSE);
    }
    peer_text_free(&line);
    finish(p);
}

static void line_lengths_have_one_boundary(void **state) /* [L04] [C53] */
{
    static const size_t around[] = { 510,  511,  512,  513,   1023,  1024,  1025,  2047,  2048, 2049,
                                     4095, 4096, 4097, 12287, 12288, 12289, 65535, 65536, 65537 };
    static const uint32_t limits[] = { 512, 1024, 2048, 4096 };
    const peer_mode modes[] = { { .name = "whole" }, { .name = "random", .cut = PEER_RANDOM, .seed = 9 } };
    (void)state;
    for (size_t l = 0; l < 4; l++) {
        setup.config.line_max = limits[l];
        for (size_t i = 0; i < sizeof around / sizeof around[0]; i++) {
            for (size_t m = 0; m < 2; m++) {
                char code[4];
                long_noop(around[i], 1, &modes[m], code);
                assert_string_equal(code, around[i] <= limits[l] ? "250" : "500");
                long_noop(around[i], 0, &modes[m], code);
                assert_string_equal(code, "");
            }
        }
    }
}

static void hello_arguments_of_any_length_are_one_error(void **state) /* [C13] */
{
    (void)state;
    for (size_t len = 11000; len <= 16000; len += 1250) {
        peer_text line = { 0 };
        peer *p = begin(&whole);
        peer_text_add(&line, "EHLO ", 5);
        repeat(&line, "A", len);
        peer_text_add(&line, "\r\nNOOP\r\n", 8);
        peer_send(p, line.ptr, line.len);
        assert_int_equal(count_replies(p, "50"), 1);
        assert_int_equal(count_events(p, "hello*"), 0);
        assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
        peer_text_free(&line);
        finish(p);
    }
}

static void four_thousand_parameters_are_one_error(void **state) /* [P17] */
{
    peer_text line = { 0 };
    (void)state;
    setup.config.line_max = 65536;
    repeat(&line, "EHLO c.example\r\nMAIL FROM:<a@x.example>", 1);
    repeat(&line, " AB=12345", 4096);
    repeat(&line, "\r\nNOOP\r\n", 1);
    peer *p = begin(&whole);
    peer_send(p, line.ptr, line.len);
    assert_int_equal(count_replies(p, "5"), 1);
    assert_int_equal(count_events(p, "mail*"), 0);
    assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
    peer_text_free(&line);
    finish(p);
}

/* -- numbers of commands ---------------------------------------------------------------------------- */

static size_t lines_of(const peer *p)
{
    size_t n = 0;
    for (const char *at = p->out.ptr; (at = strchr(at, '\n')) != NULL; at++) n++;
    return n;
}

static void floods_of_useless_lines_are_cut_off(void **state) /* [C12] [R04] [C95] */
{
    const peer_mode slow = { .name = "slow writer", .write_max = 7, .write_blocks = 1 };
    static const struct {
        const char *line;
        size_t replies;
    } floods[] = { { "\r\n", 20 },         { "JUNK\r\n", 20 },   { "NOOP\r\n", 1000 }, { "RSET\r\n", 1000 },
                   { "VRFY x\r\n", 1000 }, { "HELP\r\n", 1000 }, { "BDAT 1\r\nx", 20 } };
    (void)state;
    setup.without = PEER_NO_ANYTHING;
    for (size_t i = 0; i < sizeof floods / sizeof floods[0]; i++) {
        peer_text lines = { 0 };
        peer *p = begin(i % 2 ? &slow : &whole);
        repeat(&lines, floods[i].line, 100000);
        peer_send(p, lines.ptr, lines.len);
        peer_settle(p);
        assert_int_equal(lines_of(p), 1 + floods[i].replies + 1); /* the greeting, the replies, the 421 */
        assert_int_equal(strncmp(last_line(p), "421 ", 4), 0);
        assert_true(peer_wants(p) & EHLO_WANT_CLOSE);
        peer_text_free(&lines);
        finish(p);
    }
}

static void nine_hundred_noops_meet_a_blocked_writer(void **state)
{
    const peer_mode modes[] = { { .name = "one octet, blocking", .write_max = 1, .write_blocks = 1 },
                                { .name = "three octets, lender", .write_max = 3, .lender = 1 },
                                { .name = "lazy", .write_max = 11, .write_blocks = 1, .lazy = 1, .cut = PEER_RANDOM } };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        peer_text lines = { 0 };
        peer *p = begin(&modes[i]);
        repeat(&lines, "NOOP\r\n", 900);
        peer_send(p, lines.ptr, lines.len);
        peer_settle(p);
        assert_int_equal(count_replies(p, "250"), 900);
        assert_int_equal(p->hold.len, 0);
        peer_text_free(&lines);
        finish(p);
    }
}

static void twenty_thousand_recipients_are_452_behind_the_limit(void **state) /* [R05] [C62] [C63] */
{
    peer_text lines = { 0 };
    (void)state;
    repeat(&lines, "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\n", 1);
    repeat(&lines, "RCPT TO:<b@x.example>\r\n", 20000);
    repeat(&lines, "DATA\r\n.\r\nQUIT\r\n", 1);
    peer *p = begin(&whole);
    peer_send(p, lines.ptr, lines.len);
    assert_int_equal(count_replies(p, "452"), 19000);
    assert_int_equal(count_events(p, "message 0 to 1000"), 1);
    peer_text_free(&lines);
    finish(p);
}

/* 64 MiB of NOOP and nobody reads: the session stops taking, and its deadline ends it. */
static void a_peer_that_never_reads_costs_one_block(void **state) /* [R06] [R10] */
{
    static char block[65536];
    size_t used = 0, total = 0;
    peer_mode deaf = { .name = "deaf", .write_max = 100, .answers = PEER_BY_HAND };
    (void)state;
    for (size_t i = 0; i + 6 <= sizeof block; i += 6) memcpy(block + i, "NOOP\r\n", 6);
    setup.without = PEER_NO_ANYTHING;
    setup.config.max_idle_commands = UINT32_MAX;
    peer *p = begin(&deaf);
    p->mode.write_max = SIZE_MAX;
    p->mode.write_blocks = 1;
    p->write_calls = 1; /* the next write is refused, and no flush follows */
    for (int i = 0; i < 1024; i++) {
        assert_int_equal(ehlo_server_feed(p->session, p->now, block, 65532, &used), EHLO_OK);
        total += used;
        if (used == 0) break;
    }
    assert_int_equal(peer_wants(p), EHLO_WANT_WRITE);
    assert_true(total < 65536);
    uint64_t deadline = ehlo_server_deadline(p->session);
    assert_int_equal(deadline, p->now + 300000);
    assert_int_equal(ehlo_server_tick(p->session, deadline - 1), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_WRITE);
    assert_int_equal(ehlo_server_tick(p->session, deadline), EHLO_OK);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    finish(p);
}

/* -- messages --------------------------------------------------------------------------------------- */

static void the_terminator_is_found_across_any_buffer_end(void **state) /* [E30] [E28] */
{
    (void)state;
    for (size_t k = 0; k <= 6; k++) {
        for (unsigned seed = 0; seed < 3; seed++) {
            peer_mode mode = { .name = "cut", .cut = seed == 0 ? PEER_WHOLE : PEER_RANDOM, .seed = seed };
            peer_text text = { 0 };
            char expected[64];
            peer *p = begin(&mode);
            open_data(p);
            repeat(&text, "x", 65536 - k);
            repeat(&text, "\r\n.\r\nNOOP\r\n", 1);
            peer_send(p, text.ptr, text.len);
            snprintf(expected, sizeof expected, "message %zu to 1", 65536 - k + 2);
            assert_int_equal(count_events(p, expected), 1);
            assert_int_equal(count_events(p, "command NOOP"), 1);
            peer_text_free(&text);
            finish(p);
        }
    }
}

static void a_line_of_70000_octets_hides_no_terminator(void **state) /* [E31] [C77] */
{
    static const uint32_t limits[] = { 0, 998 };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        peer_text text = { 0 };
        setup.config.text_line_max = limits[i];
        peer *p = begin(&whole);
        open_data(p);
        repeat(&text, "y", 70000);
        repeat(&text, "\r\n.\r\nNOOP\r\n", 1);
        peer_send(p, text.ptr, text.len);
        assert_int_equal(count_events(p, "message 70002 to 1"), limits[i] == 0);
        assert_int_equal(count_events(p, "command NOOP"), 1);
        assert_int_equal(count_events(p, "reset REFUSED"), limits[i] != 0);
        peer_text_free(&text);
        finish(p);
    }
}

static void a_from_line_is_content(void **state) /* [E33] */
{
    peer_text text = { 0 };
    peer *p = begin(&whole);
    (void)state;
    open_data(p);
    repeat(&text, "From a@b Thu\r\n", 1);
    repeat(&text, "From ", 1 << 18);
    repeat(&text, "\r\n.\r\n", 1);
    peer_send(p, text.ptr, text.len);
    assert_int_equal(count_events(p, "message 1310736 to 1"), 1);
    peer_text_free(&text);
    finish(p);
}

static void a_hundred_thousand_headers_are_content(void **state) /* [R12] */
{
    peer_text text = { 0 };
    peer *p = begin(&whole);
    (void)state;
    open_data(p);
    repeat(&text, "X-Header: value\r\n", 100000);
    repeat(&text, ".\r\n", 1);
    peer_send(p, text.ptr, text.len);
    assert_int_equal(count_events(p, "message 1700000 to 1"), 1);
    peer_text_free(&text);
    finish(p);
}

/* -- chunks ----------------------------------------------------------------------------------------- */

static void twenty_thousand_tiny_chunks_leave_no_trace(void **state) /* [B17] [C159] */
{
    peer_text text = { 0 };
    (void)state;
    setup.config.max_idle_commands = 30000;
    repeat(&text, "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n", 1);
    repeat(&text, "BDAT 1\r\nx", 20000);
    repeat(&text, "BDAT 0 LAST\r\n", 1);
    peer *p = begin(&whole);
    peer_send(p, text.ptr, text.len);
    assert_int_equal(count_replies(p, "250"), 20004);
    assert_int_equal(count_events(p, "message 20000 to 1 chunked"), 1);
    peer_text_free(&text);
    finish(p);
}

static void tiny_chunks_without_end_are_cut_off(void **state) /* [B17] [C95] */
{
    peer_text text = { 0 };
    (void)state;
    repeat(&text, "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n", 1);
    repeat(&text, "BDAT 1\r\nx", 20000);
    peer *p = begin(&whole);
    peer_send(p, text.ptr, text.len);
    assert_int_equal(count_replies(p, "250"), 1003);
    assert_int_equal(count_replies(p, "421"), 1);
    assert_int_equal(count_events(p, "reset LIMIT"), 1);
    peer_text_free(&text);
    finish(p);
}

static void a_refused_megabyte_stays_a_chunk(void **state) /* [B20] */
{
    const peer_rule refuse = { .event = "body", .after = 1000 };
    peer_text text = { 0 };
    (void)state;
    setup.rules = &refuse;
    setup.rule_count = 1;
    repeat(&text, "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nBDAT 1048576\r\n", 1);
    repeat(&text, "QUIT\r\nX-:", 1048576 / 9);
    repeat(&text, "ABCD", 1);
    assert_int_equal(1048576 % 9, 4);
    repeat(&text, "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", 1);
    peer *p = begin(&whole);
    peer_send(p, text.ptr, text.len);
    assert_int_equal(count_replies(p, "554"), 1);
    assert_int_equal(count_replies(p, "503"), 2);
    assert_int_equal(count_events(p, "command NOOP"), 1);
    assert_int_equal(count_replies(p, "221"), 0);
    peer_text_free(&text);
    finish(p);
}

static void every_octet_value_comes_through_a_chunk(void **state) /* [B26] [C148] */
{
    char all[256 + 8];
    peer_text text = { 0 };
    (void)state;
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    repeat(&text, "EHLO c.example\r\nMAIL FROM:<a@x.example> BODY=BINARYMIME\r\nRCPT TO:<b@x.example>\r\n", 1);
    repeat(&text, "BDAT 256 LAST\r\n", 1);
    peer_text_add(&text, all, 256);
    for (size_t i = 0; i < peer_mode_count; i++) {
        peer *p = begin(&peer_modes[i]);
        peer_send(p, text.ptr, text.len);
        peer_settle(p);
        assert_int_equal(count_events(p, "message 256 to 1 BINARYMIME chunked"), 1);
        finish(p);
    }
    peer_text_free(&text);
}

/* -- counters beyond 32 bits ------------------------------------------------------------------------ */

static uint64_t swallowed;

static int swallow(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user)
{
    (void)s, (void)bytes, (void)taken, (void)r, (void)user;
    swallowed += len;
    return EHLO_OK;
}

static uint64_t delivered;

static int note_size(ehlo_server *s, ehlo_token t, const ehlo_message *message, ehlo_reply *r, void *user)
{
    (void)s, (void)t, (void)r, (void)user;
    delivered = message->size;
    return EHLO_OK;
}

static int write_all(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user)
{
    (void)s, (void)user;
    *taken = 0;
    for (size_t i = 0; i < n; i++) *taken += parts[i].len;
    return 0;
}

static void feed_all(ehlo_server *s, const char *bytes, size_t len)
{
    size_t used;
    assert_int_equal(ehlo_server_feed(s, 1, bytes, len, &used), EHLO_OK);
    assert_int_equal(used, len);
}

static void chunks_of_any_size_are_counted_right(void **state) /* [L05] [R11] */
{
    static const uint64_t sizes[] = { UINT64_C(2147483647), UINT64_C(2147483649), UINT64_C(4294967295),
                                      UINT64_C(4294967296), UINT64_C(4294967297) };
    static char block[1 << 20];
    ehlo_service_config config = setup.config;
    ehlo_server_callbacks cb = { .write = write_all, .on_body = swallow, .on_message = note_size };
    ehlo_service *service;
    ehlo_server *s;
    (void)state;
    config.max_size = EHLO_UNLIMITED;
    config.drain_max = EHLO_UNLIMITED;
    void *service_mem = malloc(ehlo_service_size(&config));
    assert_int_equal(ehlo_service_init(&service, service_mem, ehlo_service_size(&config), &config, &cb), EHLO_OK);
    void *mem = malloc(ehlo_server_size(service));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char line[64];
        assert_int_equal(ehlo_server_init(&s, mem, ehlo_server_size(service), service, NULL, NULL), EHLO_OK);
        assert_int_equal(ehlo_server_start(s, 0), EHLO_OK);
        swallowed = delivered = 0;
        static const char intro[] = "EHLO c.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n";
        feed_all(s, intro, sizeof intro - 1);
        snprintf(line, sizeof line, "BDAT %llu LAST\r\n", (unsigned long long)sizes[i]);
        feed_all(s, line, strlen(line));
        for (uint64_t left = sizes[i]; left > 0;) {
            size_t len = left < sizeof block ? (size_t)left : sizeof block;
            feed_all(s, block, len);
            left -= len;
        }
        assert_true(swallowed == sizes[i]);
        assert_true(delivered == sizes[i]);
        feed_all(s, "QUIT\r\n", 6);
        assert_int_equal(ehlo_server_wants(s), EHLO_WANT_CLOSE);
        assert_int_equal(ehlo_server_close(s), EHLO_OK);
    }
    free(mem);
    free(service_mem);
}

/* -- AUTH ------------------------------------------------------------------------------------------- */

static void auth_setup(void)
{
    setup.config.extensions = EHLO_CAP_AUTH | EHLO_CAP_PIPELINING | EHLO_CAP_ENHANCEDSTATUSCODES;
    setup.config.flags = EHLO_SERVICE_AUTH_CLEAR;
    setup.config.auth_mechanisms = ehlo_str_from("PLAIN");
    setup.config.max_bad = 100000;
    setup.config.max_auth_failures = 100000;
    setup.config.max_idle_commands = 100000;
}

/* What is to be said of base64: groups of four of the alphabet, '=' at the end alone, and no bits that say nothing. */
static int is_base64(const char *text, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t pads = 0, digits = len;
    while (digits > 0 && text[digits - 1] == '=') digits--;
    pads = len - digits;
    if (len % 4 != 0 || pads > 2) return 0;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] == '\0' || strchr(alphabet, text[i]) == NULL) return 0;
    }
    if (pads == 0) return 1;
    size_t last = (size_t)(strchr(alphabet, text[digits - 1]) - alphabet);
    return (last & (pads == 1 ? 3u : 15u)) == 0;
}

static const char *const tails[] = { "",    "=",   "==",  "===", "====", "A=",   "A==",  "Q==",
                                     "B==", "AA=", "AE=", "AB=", "=A",   "=AA",  "A=A",  "-",
                                     "_",   " ",   "\t",  ".",   "*",    "\x01", "\xC3", "~" };

static void base64_of_every_length_and_tail_is_judged_right(void **state) /* [U11] [C189] */
{
    static const peer_rule wrong[] = { { .event = "auth", .subject = "PLAIN -", .reply = { .code = 334 } },
                                       { .event = "auth", .reply = { 535, { 5, 7, 8 }, { "no", 2 } } } };
    (void)state;
    auth_setup();
    setup.rules = wrong;
    setup.rule_count = 2;
    for (size_t t = 0; t < sizeof tails / sizeof tails[0]; t++) {
        peer *p = begin(&whole);
        peer_say(p, "EHLO c.example\r\n");
        for (size_t len = strlen(tails[t]); len <= 1024; len++) {
            peer_text response = { 0 }, line = { 0 };
            repeat(&response, "A", len - strlen(tails[t]));
            repeat(&response, tails[t], 1);
            int good = is_base64(response.ptr, response.len);
            repeat(&line, "AUTH PLAIN ", 1);
            peer_text_add(&line, response.ptr, response.len);
            repeat(&line, "\r\n", 1);
            if (len > 0 && strcmp(response.ptr, "=") != 0 && tails[t][0] != ' ' && tails[t][0] != '\t') {
                peer_send(p, line.ptr, line.len);
                assert_int_equal(strncmp(last_line(p), good ? "535" : "50", good ? 3 : 2), 0);
            }
            peer_say(p, "AUTH PLAIN\r\n");
            assert_int_equal(strncmp(last_line(p), "334", 3), 0);
            peer_send(p, line.ptr + 11, line.len - 11);
            int cancels = strcmp(response.ptr, "*") == 0;
            assert_int_equal(strncmp(last_line(p), good ? "535 5.7.8" : cancels ? "501 5.7.0" : "501 5.5.2", 9), 0);
            peer_text_free(&response);
            peer_text_free(&line);
        }
        finish(p);
    }
}

static void bad_base64_is_501_whatever_its_shape(void **state) /* [U11] [U02] [U03] [U04] [U09] */
{
    static const char *const bad[] = { "A===", "====",  "AA=A",   "=AAA",     "A=AA", "AAAAA===", "AA==AAAA", "AB-_",
                                       "AA A", "AAAA=", "AAAA==", "AAAA====", "AB==", "AAB=",     "AAA\t" };
    (void)state;
    auth_setup();
    peer *p = begin(&whole);
    peer_say(p, "EHLO c.example\r\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64];
        snprintf(line, sizeof line, "AUTH PLAIN %s\r\n", bad[i]);
        peer_say(p, line);
        if (i + 1 < sizeof bad / sizeof bad[0]) assert_int_equal(strncmp(last_line(p), "501 ", 4), 0);
    }
    peer_say(p, "NOOP\r\n");
    assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
    finish(p);
}

static void an_initial_response_of_100003_octets_is_one_error(void **state) /* [U07] */
{
    peer_text line = { 0 };
    (void)state;
    auth_setup();
    peer *p = begin(&whole);
    repeat(&line, "EHLO c.example\r\nAUTH PLAIN ", 1);
    repeat(&line, "A", 100003);
    repeat(&line, "\r\nNOOP\r\n", 1);
    peer_send(p, line.ptr, line.len);
    assert_int_equal(count_replies(p, "50"), 1);
    assert_int_equal(count_events(p, "auth*"), 0);
    assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
    peer_text_free(&line);
    finish(p);
}

/* The longest line with a response, its CRLF included, is auth_line_max; what is longer is one error, and never a
 * command. 12,280 - 8 octets are whole groups of four. */
static void auth_lines_have_one_boundary(void **state) /* [U12] [C190] */
{
    static const peer_rule wrong[] = { { .event = "auth", .subject = "CRAM-MD5 -", .reply = { .code = 334 } },
                                       { .event = "auth", .reply = { 535, { 5, 7, 8 }, { "no", 2 } } } };
    static const struct {
        const char *first;
        size_t len; /* of the line that ends in base64, with its CRLF */
        const char *said;
    } cases[] = {
        { "", 12283, "501 5.5.2" },  { "", 12284, "535 5.7.8" },   { "", 12287, "501 5.5.2" },
        { "", 12288, "535 5.7.8" },  { "", 12289, "500 5.5.6" },   { "", 12292, "500 5.5.6" },
        { "", 100002, "500 5.5.6" }, { "4", 12285, "501 5.5.2" },  { "4", 12286, "535 5.7.8" },
        { "4", 12287, "501 5.5.2" }, { "4", 12288, "501 5.5.2" },  { "4", 12289, "500 5.5.6" },
        { "4", 12290, "500 5.5.6" }, { "4", 100002, "500 5.5.6" },
    };
    const peer_mode modes[] = { { .name = "whole" },
                                { .name = "bytes", .cut = PEER_BYTES },
                                { .name = "random", .cut = PEER_RANDOM, .seed = 7, .answers = PEER_LATER } };
    (void)state;
    auth_setup();
    setup.config.auth_mechanisms = ehlo_str_from("CRAM-MD5");
    setup.rules = wrong;
    setup.rule_count = 2;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t m = 0; m < 3; m++) {
            static const char initial[] = "AUTH CRAM-MD5 ";
            int exchange = cases[i].first[0] != '\0';
            peer_text line = { 0 };
            peer *p = begin(&modes[m]);
            peer_say(p, exchange ? "EHLO c.example\r\nAUTH CRAM-MD5\r\n" : "EHLO c.example\r\n");
            repeat(&line, exchange ? "" : initial, 1);
            repeat(&line, "A", cases[i].len - 2 - line.len);
            repeat(&line, "\r\n", 1);
            peer_send(p, line.ptr, line.len);
            assert_int_equal(strncmp(last_line(p), cases[i].said, 9), 0);
            assert_int_equal(count_events(p, "auth cancelled"),
                             exchange && cases[i].said[0] == '5' && cases[i].said[2] != '5');
            peer_say(p, "NOOP\r\n");
            assert_int_equal(strncmp(last_line(p), "250 ", 4), 0);
            peer_text_free(&line);
            finish(p);
        }
    }
}

static void fifty_failures_end_in_421(void **state) /* [U18] */
{
    peer_text lines = { 0 };
    static const peer_rule wrong = { .event = "auth", .reply = { 535, { 5, 7, 8 }, { "no", 2 } } };
    (void)state;
    auth_setup();
    setup.config.max_auth_failures = 0;
    setup.rules = &wrong;
    setup.rule_count = 1;
    peer *p = begin(&whole);
    repeat(&lines, "EHLO c.example\r\n", 1);
    repeat(&lines, "AUTH PLAIN AAAA\r\n", 50);
    peer_send(p, lines.ptr, lines.len);
    assert_int_equal(count_replies(p, "535"), 10);
    assert_int_equal(count_replies(p, "421"), 1);
    assert_true(peer_wants(p) & EHLO_WANT_CLOSE);
    peer_text_free(&lines);
    finish(p);
}

/* -- STARTTLS --------------------------------------------------------------------------------------- */

static const char starttls[] = "EHLO c.example\r\nSTARTTLS\r\n";

/* Clear text behind STARTTLS: not an octet of it is taken, before the 220 or after; nothing comes of it; and the
 * handshake's result is not used. The octets up to `cut` come in one segment, the rest in another. */
static void must_not_be_smuggled(const peer_mode *mode, const char *text, size_t len, size_t cut)
{
    const peer_step handshake = { PEER_TLS, NULL, 0, 0 };
    peer_text stream = { 0 };
    repeat(&stream, starttls, 1);
    peer_text_add(&stream, text, len);
    peer *p = begin(mode);
    peer_send(p, stream.ptr, cut);
    peer_send(p, stream.ptr + cut, stream.len - cut);
    peer_settle(p);
    assert_int_equal(peer_wants(p), EHLO_WANT_TLS);
    assert_int_equal(p->hold.len, len);
    assert_memory_equal(p->hold.ptr, text, len);
    size_t said = p->out.len;
    assert_int_equal(strncmp(last_line(p), "220 2.0.0 ", 10), 0);
    peer_act_on(p, &handshake);
    assert_int_equal(peer_wants(p), EHLO_WANT_CLOSE);
    assert_int_equal(ehlo_server_with(p->session) & (unsigned)EHLO_WITH_TLS, 0);
    size_t used = 0;
    assert_int_equal(ehlo_server_feed(p->session, p->now, "T\r\nEHLO c.example\r\n", 19, &used), EHLO_OK);
    assert_int_equal(p->out.len, said);
    assert_int_equal(count_events(p, "mail*") + count_events(p, "command*") + count_events(p, "auth*"), 0);
    peer_text_free(&stream);
    finish(p);
}

static void clear_text_behind_starttls_is_never_run(void **state) /* [T01] [T02] [C209] */
{
    static const struct {
        const char *ptr;
        size_t len;
    } texts[] = {
#define TEXT(literal) { literal, sizeof(literal) - 1 }
        TEXT("MAIL FROM:<injected@x.example>\r\n"),
        TEXT("EHLO evil.example\r\nAUTH PLAIN AAAA\r\nMAIL FROM:<injected@x.example>\r\n"),
        TEXT("RSE"),
        TEXT("\r"),
        TEXT("\r\n"),
        TEXT("\n"),
        TEXT("\0"),
        TEXT("STARTTLS\r\n"),
        TEXT("QUIT\r\n"),
        TEXT("\x16\x03\x01\x02\x00\x01\x00\x01"), /* a client that begins before the 220 */
#undef TEXT
    };
    (void)state;
    auth_setup();
    setup.config.extensions |= EHLO_CAP_STARTTLS;
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        size_t len = sizeof starttls - 1 + texts[t].len;
        for (size_t cut = 0; cut <= len; cut++) {
            for (size_t m = 0; m < peer_mode_count; m++) {
                must_not_be_smuggled(&peer_modes[m], texts[t].ptr, texts[t].len, cut);
            }
        }
    }
}

static void clear_text_of_64_kib_behind_starttls_is_never_run(void **state) /* [T03] [C209] */
{
    static const char *const patterns[] = { "NOOP\r\n", "x", "MAIL FROM:<injected@x.example>\r\n" };
    const size_t begins = sizeof starttls - 1;
    (void)state;
    auth_setup();
    setup.config.extensions |= EHLO_CAP_STARTTLS;
    for (size_t i = 0; i < 3; i++) {
        const peer_mode modes[] = { { .name = "whole" },
                                    { .name = "later, lender", .answers = PEER_LATER, .lender = 1 },
                                    { .name = "slow writer", .write_max = 1, .write_blocks = 1 } };
        peer_text text = { 0 };
        repeat(&text, patterns[i], 65536 / strlen(patterns[i]) + 1);
        for (size_t cut = 0; cut < begins + 40; cut++) {
            must_not_be_smuggled(&modes[cut % 3], text.ptr, 65536, cut);
        }
        must_not_be_smuggled(&modes[i], text.ptr, 65536, begins + 32768);
        must_not_be_smuggled(&modes[i], text.ptr, 65536, begins + 65536);
        peer_text_free(&text);
    }
}

/* Without them, at every cut of what comes before, the same handshake is one. */
static void a_clean_starttls_succeeds_at_every_cut(void **state) /* [C208] [T06] */
{
    const peer_step handshake = { PEER_TLS, NULL, 0, 0 };
    (void)state;
    auth_setup();
    setup.config.extensions |= EHLO_CAP_STARTTLS;
    for (size_t cut = 0; cut < sizeof starttls; cut++) {
        for (size_t m = 0; m < peer_mode_count; m++) {
            peer *p = begin(&peer_modes[m]);
            peer_send(p, starttls, cut);
            peer_send(p, starttls + cut, sizeof starttls - 1 - cut);
            peer_settle(p);
            peer_act_on(p, &handshake);
            peer_say(p, "MAIL FROM:<a@x.example>\r\n");
            assert_int_equal(strncmp(last_line(p), "503 ", 4), 0);
            assert_int_equal(ehlo_server_with(p->session), EHLO_WITH_TLS);
            finish(p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_of_16_mib_gets_one_reply_and_the_end, fresh),
        cmocka_unit_test_setup(a_line_of_the_drain_limit_is_answered_and_the_next_is_served, fresh),
        cmocka_unit_test_setup(line_lengths_have_one_boundary, fresh),
        cmocka_unit_test_setup(hello_arguments_of_any_length_are_one_error, fresh),
        cmocka_unit_test_setup(four_thousand_parameters_are_one_error, fresh),
        cmocka_unit_test_setup(floods_of_useless_lines_are_cut_off, fresh),
        cmocka_unit_test_setup(nine_hundred_noops_meet_a_blocked_writer, fresh),
        cmocka_unit_test_setup(twenty_thousand_recipients_are_452_behind_the_limit, fresh),
        cmocka_unit_test_setup(a_peer_that_never_reads_costs_one_block, fresh),
        cmocka_unit_test_setup(the_terminator_is_found_across_any_buffer_end, fresh),
        cmocka_unit_test_setup(a_line_of_70000_octets_hides_no_terminator, fresh),
        cmocka_unit_test_setup(a_from_line_is_content, fresh),
        cmocka_unit_test_setup(a_hundred_thousand_headers_are_content, fresh),
        cmocka_unit_test_setup(twenty_thousand_tiny_chunks_leave_no_trace, fresh),
        cmocka_unit_test_setup(tiny_chunks_without_end_are_cut_off, fresh),
        cmocka_unit_test_setup(a_refused_megabyte_stays_a_chunk, fresh),
        cmocka_unit_test_setup(every_octet_value_comes_through_a_chunk, fresh),
        cmocka_unit_test_setup(chunks_of_any_size_are_counted_right, fresh),
        cmocka_unit_test_setup(base64_of_every_length_and_tail_is_judged_right, fresh),
        cmocka_unit_test_setup(bad_base64_is_501_whatever_its_shape, fresh),
        cmocka_unit_test_setup(an_initial_response_of_100003_octets_is_one_error, fresh),
        cmocka_unit_test_setup(auth_lines_have_one_boundary, fresh),
        cmocka_unit_test_setup(fifty_failures_end_in_421, fresh),
        cmocka_unit_test_setup(clear_text_behind_starttls_is_never_run, fresh),
        cmocka_unit_test_setup(clear_text_of_64_kib_behind_starttls_is_never_run, fresh),
        cmocka_unit_test_setup(a_clean_starttls_succeeds_at_every_cut, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
