/* The reply writer (RFC 5321 4.2, RFC 2034, RFC 6531 3.7.4.2). */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/syntax.h>

#include "guard.h"

enum { ROOM = 4096 };

static ehlo_reply make_reply(unsigned code, unsigned class, unsigned subject, unsigned detail, const char *text,
                             size_t len)
{
    ehlo_reply reply = { (uint16_t)code, { (uint16_t) class, (uint16_t)subject, (uint16_t)detail }, { NULL, 0 } };
    reply.text = ehlo_str_make(guard_copy(text, len), len);
    return reply;
}

static void free_reply(ehlo_reply *reply)
{
    guard_free((char *)(uintptr_t)reply->text.ptr, reply->text.len);
}

/* Text of any octets, from a literal. */
#define TEXT(literal) (literal), sizeof(literal) - 1

/* -- what is written -------------------------------------------------------------------------------- */

typedef struct written_case {
    unsigned code, class, subject, detail;
    const char *text;
    unsigned flags;
    const char *wire;
} written_case;

static const written_case written[] = {
    { 250, 0, 0, 0, "Ok", 0, "250 Ok\r\n" },
    { 250, 2, 0, 0, "Ok", 0, "250 Ok\r\n" },
    { 250, 2, 1, 0, "Ok", EHLO_REPLY_ENHANCED, "250 2.1.0 Ok\r\n" },
    { 250, 0, 0, 0, "Ok", EHLO_REPLY_ENHANCED, "250 Ok\r\n" },
    { 550, 5, 7, 705, "Later", EHLO_REPLY_ENHANCED, "550 5.7.705 Later\r\n" },
    { 550, 5, 999, 999, "x", EHLO_REPLY_ENHANCED, "550 5.999.999 x\r\n" },
    { 421, 4, 3, 2, "", EHLO_REPLY_ENHANCED, "421 4.3.2 \r\n" },
    { 250, 0, 0, 0, "", 0, "250 \r\n" },
    { 354, 0, 0, 0, "Go", EHLO_REPLY_ENHANCED, "354 Go\r\n" },
    { 334, 3, 0, 0, "Go", EHLO_REPLY_ENHANCED, "334 Go\r\n" },
    { 250, 2, 0, 0, "a\nb", 0, "250-a\r\n250 b\r\n" },
    { 550, 5, 1, 1, "a\nb\nc", EHLO_REPLY_ENHANCED, "550-5.1.1 a\r\n550-5.1.1 b\r\n550 5.1.1 c\r\n" },
    { 250, 0, 0, 0, "a\n", 0, "250-a\r\n250 \r\n" },
    { 250, 0, 0, 0, "\n\n", 0, "250-\r\n250-\r\n250 \r\n" },
    { 214, 0, 0, 0, "a\tb ~", 0, "214 a\tb ~\r\n" },
    { 250, 0, 0, 0, "Gr\xc3\xbc\xc3\x9f", EHLO_REPLY_UTF8, "250 Gr\xc3\xbc\xc3\x9f\r\n" },
    { 200, 0, 0, 0, "x", 0, "200 x\r\n" },
    { 559, 0, 0, 0, "x", 0, "559 x\r\n" },
};

/* [C10] [C167] */
static void each_line_has_the_code_and_the_enhanced_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
        const written_case *c = &written[i];
        ehlo_reply reply = make_reply(c->code, c->class, c->subject, c->detail, c->text, strlen(c->text));
        char out[ROOM];
        size_t len;
        ehlo_fault fault;
        assert_int_equal(ehlo_reply_write(&reply, c->flags, out, sizeof(out), &len, &fault), EHLO_OK);
        assert_int_equal(fault.rule, EHLO_RULE_NONE);
        assert_int_equal(len, strlen(c->wire));
        assert_memory_equal(out, c->wire, len);
        free_reply(&reply);
    }
}

/* -- what is refused -------------------------------------------------------------------------------- */

typedef struct refused_case {
    unsigned code, class, subject, detail;
    const char *text;
    size_t len;
    unsigned flags;
    ehlo_rule rule;
    size_t offset;
} refused_case;

static const refused_case refused[] = {
    /* [C10] [C168] codes */
    { 0, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 199, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 260, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 299, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 560, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 600, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 2500, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 65535, 0, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 250, 5, 0, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 250, 0, 1, 0, TEXT("x"), 0, EHLO_RULE_REPLY, 0 },
    { 550, 4, 1, 1, TEXT("x"), EHLO_REPLY_ENHANCED, EHLO_RULE_REPLY, 0 },
    { 550, 5, 1000, 1, TEXT("x"), EHLO_REPLY_ENHANCED, EHLO_RULE_REPLY, 0 },
    { 550, 5, 1, 1000, TEXT("x"), EHLO_REPLY_ENHANCED, EHLO_RULE_REPLY, 0 },
    /* [C12] [N] control characters */
    { 250, 0, 0, 0, TEXT("a\rb"), 0, EHLO_RULE_CONTROL, 1 },
    { 250, 0, 0, 0, TEXT("ok\r\nRCPT TO:<x@y>"), 0, EHLO_RULE_CONTROL, 2 },
    { 250, 0, 0, 0, TEXT("\rDATA"), 0, EHLO_RULE_CONTROL, 0 },
    { 250, 0, 0, 0, TEXT("x\r\n.\r\nMAIL"), 0, EHLO_RULE_CONTROL, 1 },
    { 250, 0, 0, 0, TEXT("\"\r\n\"@x"), 0, EHLO_RULE_CONTROL, 1 },
    { 250, 0, 0, 0, TEXT("\0"), 0, EHLO_RULE_CONTROL, 0 },
    { 250, 0, 0, 0, TEXT("12345678\0"), 0, EHLO_RULE_CONTROL, 8 },
    { 250, 0, 0, 0, TEXT("1234\x1b[2J"), 0, EHLO_RULE_CONTROL, 4 },
    { 250, 0, 0, 0, TEXT("1234567890\x7f"), 0, EHLO_RULE_CONTROL, 10 },
    { 250, 0, 0, 0, TEXT("ok\r"), EHLO_REPLY_UTF8, EHLO_RULE_CONTROL, 2 },
    /* [C176] octets above 126 */
    { 250, 0, 0, 0, TEXT("Gr\xc3\xbc\xc3\x9f"), 0, EHLO_RULE_NON_ASCII, 2 },
    { 250, 0, 0, 0, TEXT("x\x85"), 0, EHLO_RULE_NON_ASCII, 1 },
    { 250, 0, 0, 0, TEXT("x\xe2\x80\xa8"), 0, EHLO_RULE_NON_ASCII, 1 },
    { 250, 0, 0, 0, TEXT("x\x85"), EHLO_REPLY_UTF8, EHLO_RULE_UTF8, 1 },
    { 250, 0, 0, 0, TEXT("\xc3\xbc \xc0\xaf"), EHLO_REPLY_UTF8, EHLO_RULE_UTF8, 3 },
    { 250, 0, 0, 0, TEXT("cut \xe2\x82"), EHLO_REPLY_UTF8, EHLO_RULE_UTF8, 4 },
};

static void what_may_not_be_sent_is_refused_with_rule_and_offset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const refused_case *c = &refused[i];
        ehlo_reply reply = make_reply(c->code, c->class, c->subject, c->detail, c->text, c->len);
        char out[ROOM];
        size_t len = 1;
        ehlo_fault checked, found;
        memset(out, 'u', sizeof(out));
        assert_int_equal(ehlo_reply_check(&reply, c->flags, &checked), EHLO_ERR_SYNTAX);
        assert_int_equal(ehlo_reply_write(&reply, c->flags, out, sizeof(out), &len, &found), EHLO_ERR_SYNTAX);
        assert_int_equal(found.rule, c->rule);
        assert_int_equal(found.offset, c->offset);
        assert_int_equal(checked.rule, c->rule);
        assert_int_equal(checked.offset, c->offset);
        assert_int_equal(len, 0);
        for (size_t at = 0; at < sizeof(out); at++) assert_int_equal(out[at], 'u');
        free_reply(&reply);
    }
}

/* [C12] One wrong octet, at each place of a text long enough for every path through the scan. */
static void each_octet_is_judged_at_each_place(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            ehlo_fault fault;
            memset(text, 'a', sizeof(text));
            text[at] = (char)octet;
            ehlo_reply reply = make_reply(250, 0, 0, 0, text, sizeof(text));
            int allowed = octet == '\t' || octet == '\n' || (octet >= 0x20 && octet <= 0x7E);
            assert_int_equal(ehlo_reply_check(&reply, 0, &fault), allowed ? EHLO_OK : EHLO_ERR_SYNTAX);
            assert_int_equal(fault.offset, allowed ? 0 : at);
            free_reply(&reply);
        }
    }
}

/* [C10] [C168] Every code and every class. */
static void every_code_and_class_is_judged(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 1200; code++) {
        for (unsigned class = 0; class < 10; class ++) {
            ehlo_reply reply = { (uint16_t)code, { (uint16_t) class, 1, 1 }, { NULL, 0 } };
            int allowed = code >= 200 && code <= 599 && code / 10 % 10 <= 5 && class == code / 100;
            assert_int_equal(ehlo_reply_check(&reply, 0, NULL), allowed ? EHLO_OK : EHLO_ERR_SYNTAX);
        }
    }
}

/* -- long replies ----------------------------------------------------------------------------------- */

/* Checks the shape of a whole reply and returns its lines' texts, joined by `joint`. */
static size_t unfold(const char *wire, size_t len, const char *lead, const char *joint, char *text)
{
    size_t out = 0;
    for (size_t at = 0; at < len;) {
        const char *end = memmem(wire + at, len - at, "\r\n", 2);
        assert_non_null(end);
        size_t line = (size_t)(end - (wire + at));
        size_t lead_len = strlen(lead);
        int last = at + line + 2 == len;
        assert_in_range(line + 2, lead_len + 2, 512);
        assert_memory_equal(wire + at, lead, 3);
        assert_int_equal(wire[at + 3], last ? ' ' : '-');
        assert_memory_equal(wire + at + 4, lead + 4, lead_len - 4);
        memcpy(text + out, wire + at + lead_len, line - lead_len);
        out += line - lead_len;
        if (!last) {
            memcpy(text + out, joint, strlen(joint));
            out += strlen(joint);
        }
        at += line + 2;
    }
    return out;
}

/* [C11] [C167] Every length around one, two and three lines, with and without spaces. */
static void a_long_line_is_split_and_nothing_is_lost(void **state)
{
    (void)state;
    static const char *const patterns[] = { "a", "word ", "0123456789012345678901234567890123456789 " };
    for (size_t p = 0; p < 3; p++) {
        for (size_t len = 480; len < 1600; len++) {
            char text[1600], out[ROOM], unfolded[ROOM];
            size_t pattern_len = strlen(patterns[p]), out_len;
            for (size_t i = 0; i < len; i++) text[i] = patterns[p][i % pattern_len];
            ehlo_reply reply = make_reply(550, 5, 7, 1, text, len);
            assert_int_equal(ehlo_reply_write(&reply, EHLO_REPLY_ENHANCED, out, sizeof(out), &out_len, NULL), EHLO_OK);
            size_t got = unfold(out, out_len, "550 5.7.1 ", p == 0 ? "" : " ", unfolded);
            assert_int_equal(got, len);
            assert_memory_equal(unfolded, text, len);
            free_reply(&reply);
        }
    }
}

static void a_line_of_512_octets_is_not_split(void **state)
{
    (void)state;
    char text[507], out[ROOM];
    size_t len;
    memset(text, 'a', sizeof(text));
    ehlo_reply reply = make_reply(250, 0, 0, 0, text, 506);
    assert_int_equal(ehlo_reply_write(&reply, 0, out, sizeof(out), &len, NULL), EHLO_OK);
    assert_int_equal(len, 512);
    free_reply(&reply);
    reply = make_reply(250, 0, 0, 0, text, 507);
    assert_int_equal(ehlo_reply_write(&reply, 0, out, sizeof(out), &len, NULL), EHLO_OK);
    assert_int_equal(len, 512 + 7);
    assert_memory_equal(out + 512, "250 a\r\n", 7);
    free_reply(&reply);
}

/* [C11] [C176] */
static void a_split_never_falls_inside_a_utf8_sequence(void **state)
{
    (void)state;
    static const char *const characters[] = { "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x93\xac" };
    for (size_t c = 0; c < 3; c++) {
        for (size_t shift = 0; shift < 8; shift++) {
            char text[1400], out[ROOM], unfolded[ROOM];
            size_t size = strlen(characters[c]), len = shift, out_len, bad;
            memset(text, 'a', shift);
            for (; len + size <= sizeof(text); len += size) memcpy(text + len, characters[c], size);
            ehlo_reply reply = make_reply(250, 0, 0, 0, text, len);
            assert_int_equal(ehlo_reply_write(&reply, EHLO_REPLY_UTF8, out, sizeof(out), &out_len, NULL), EHLO_OK);
            size_t got = unfold(out, out_len, "250 ", "\n", unfolded);
            assert_true(ehlo_utf8_valid(ehlo_str_make(unfolded, got), &bad));
            assert_int_equal(got, len + 2);
            free_reply(&reply);
        }
    }
}

/* [N] 70 KiB of text: every line of it is sendable, none is overlong. */
static void a_huge_text_becomes_many_lines(void **state)
{
    (void)state;
    static char text[70 * 1024], out[80 * 1024], unfolded[80 * 1024];
    size_t len;
    memset(text, 'x', sizeof(text));
    ehlo_reply reply = make_reply(451, 4, 3, 0, text, sizeof(text));
    assert_int_equal(ehlo_reply_write(&reply, EHLO_REPLY_ENHANCED, out, sizeof(out), &len, NULL), EHLO_OK);
    assert_int_equal(unfold(out, len, "451 4.3.0 ", "", unfolded), sizeof(text));
    free_reply(&reply);
}

/* -- room ------------------------------------------------------------------------------------------- */

/* [N42] With every room up to the length: what it needs is told, and not an octet is written past the end. */
static void too_little_room_tells_what_is_needed(void **state)
{
    (void)state;
    static const char wire[] = "550-5.1.1 No such user\r\n550 5.1.1 here\r\n";
    const size_t need = sizeof(wire) - 1;
    for (size_t cap = 0; cap <= need; cap++) {
        ehlo_reply reply = { 550, { 5, 1, 1 }, ehlo_str_from("No such user\nhere") };
        char blank[sizeof(wire)] = { 0 };
        char *out = guard_copy(blank, cap);
        size_t len;
        int result = ehlo_reply_write(&reply, EHLO_REPLY_ENHANCED, out, cap, &len, NULL);
        assert_int_equal(result, cap == need ? EHLO_OK : EHLO_ERR_SPACE);
        assert_int_equal(len, need);
        if (cap == need) assert_memory_equal(out, wire, need);
        guard_free(out, cap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_has_the_code_and_the_enhanced_code),
        cmocka_unit_test(what_may_not_be_sent_is_refused_with_rule_and_offset),
        cmocka_unit_test(each_octet_is_judged_at_each_place),
        cmocka_unit_test(every_code_and_class_is_judged),
        cmocka_unit_test(a_long_line_is_split_and_nothing_is_lost),
        cmocka_unit_test(a_line_of_512_octets_is_not_split),
        cmocka_unit_test(a_split_never_falls_inside_a_utf8_sequence),
        cmocka_unit_test(a_huge_text_becomes_many_lines),
        cmocka_unit_test(too_little_room_tells_what_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
