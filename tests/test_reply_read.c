/* The reply reader (RFC 5321 4.2, RFC 3463). */
#include "table.h"

/* -- one line --------------------------------------------------------------------------------------- */

typedef struct line_case {
    ehlo_str line;
    unsigned code; /* 0 with fault: refused */
    int last;
    ehlo_str text;
    int refused;
    size_t offset;
} line_case;

#define LAST(line, code, text)                                                                                         \
    {                                                                                                                  \
        TEXT(line), code, 1, TEXT(text), 0, 0                                                                          \
    }
#define MORE(line, code, text)                                                                                         \
    {                                                                                                                  \
        TEXT(line), code, 0, TEXT(text), 0, 0                                                                          \
    }
#define BAD(line, offset)                                                                                              \
    {                                                                                                                  \
        TEXT(line), 0, 0, TEXT(""), 1, offset                                                                          \
    }

static const line_case lines[] = {
    LAST("250", 250, ""),
    LAST("250 ", 250, ""),
    MORE("250-", 250, ""),
    LAST("250 Ok", 250, "Ok"),
    MORE("250-a b", 250, "a b"),
    LAST("250  two", 250, " two"),
    MORE("250--", 250, "-"),
    LAST("200 x", 200, "x"),
    LAST("299 x", 299, "x"),
    LAST("352 x", 352, "x"),
    LAST("499 x", 499, "x"),
    LAST("599 x", 599, "x"),
    LAST("000 x", 0, "x"),
    LAST("050 x", 50, "x"),
    MORE("099-x", 99, "x"),
    LAST("250 a\0b", 250, "a\0b"),
    LAST("250 a\rb\x1b[2J", 250, "a\rb\x1b[2J"),
    LAST("250 Gr\xc3\xbc\xff", 250, "Gr\xc3\xbc\xff"),
    BAD("", 0),
    BAD("2", 1),
    BAD("25", 2),
    BAD("25 ok", 2),
    BAD("250OK", 3),
    BAD("22X OK", 2),
    BAD("666 x", 0),
    BAD("600 x", 0),
    BAD("999", 0),
    BAD("100 x", 0),
    BAD("199-x", 0),
    BAD("0250 x", 3),
    BAD("2500", 3),
    BAD(" 250 x", 0),
    BAD("250\t", 3),
    BAD("250\tx", 3),
    BAD("250_", 3),
    BAD("250\0", 3),
    BAD("250\r", 3),
    BAD("-250", 0),
    BAD("+50 x", 0),
    BAD("HTTP/1.1 400 Bad Request", 0),
    BAD("SSH-2.0-OpenSSH_9.2", 0),
    BAD("\x15\x03\x03", 0),
    BAD("\xb2\xb5\xb0 x", 0),
};

/* [K03] [K19] [C13] [C14] [C15] [C17] */
static void a_line_is_a_code_a_separator_and_text_or_it_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lines); i++) {
        const line_case *c = &lines[i];
        ehlo_str line = guarded(c->line);
        ehlo_reply_line out;
        ehlo_fault fault;
        memset(&out, 0xAA, sizeof(out));
        int result = ehlo_reply_line_parse(line, &out, &fault);
        if (c->refused) {
            assert_refused(result, fault, EHLO_RULE_REPLY, c->offset, c->line.ptr);
            assert_zero(&out, sizeof(out), c->line.ptr);
        } else {
            assert_accepted(result, fault, c->line.ptr);
            assert_int_equal(out.code, c->code);
            assert_int_equal(out.last, c->last);
            assert_text(c->text, out.text, "text", c->line.ptr);
            assert_within(line, out.text, c->line.ptr);
        }
        unguard(line);
    }
}

static void every_three_digits_are_judged_by_the_first(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 1000; code++) {
        char line[3] = { (char)('0' + code / 100), (char)('0' + code / 10 % 10), (char)('0' + code % 10) };
        ehlo_str text = guarded(ehlo_str_make(line, 3));
        ehlo_reply_line out;
        int known = code < 100 || (code >= 200 && code <= 599);
        assert_int_equal(ehlo_reply_line_parse(text, &out, NULL), known ? EHLO_OK : EHLO_ERR_SYNTAX);
        assert_int_equal(out.code, known ? code : 0);
        unguard(text);
    }
}

/* -- whole replies ---------------------------------------------------------------------------------- */

typedef struct reply_case {
    ehlo_str raw;
    int ends; /* what the last call returned: 0, or EHLO_ERR_SYNTAX */
    size_t count;
    ehlo_str texts[4];
} reply_case;

static const reply_case replies[] = {
    { TEXT(""), 0, 0, { TEXT("") } },
    { TEXT("250\r\n"), 0, 1, { TEXT("") } },
    { TEXT("250 \r\n"), 0, 1, { TEXT("") } },
    { TEXT("250"), 0, 1, { TEXT("") } },
    { TEXT("250-\r\n250\r\n"), 0, 2, { TEXT(""), TEXT("") } },
    { TEXT("250-a\r\n250-b\r\n250 c\r\n"), 0, 3, { TEXT("a"), TEXT("b"), TEXT("c") } },
    { TEXT("250-a\r\n250 c"), 0, 2, { TEXT("a"), TEXT("c") } },
    { TEXT("550-5.1.1 No\r\n550 5.1.1 such\r\n"), 0, 2, { TEXT("No"), TEXT("such") } },
    { TEXT("550-No\r\n550 5.1.1 such\r\n"), 0, 2, { TEXT("No"), TEXT("such") } },
    { TEXT("250 2.0.0\r\n"), 0, 1, { TEXT("") } },
    { TEXT("250 5.1.1 no\r\n"), 0, 1, { TEXT("5.1.1 no") } },
    { TEXT("354 3.0.0 go\r\n"), 0, 1, { TEXT("3.0.0 go") } },
    { TEXT("250 a\n250 b\r\n"), 0, 1, { TEXT("a\n250 b") } },
    { TEXT("250 a\rb\r\n"), 0, 1, { TEXT("a\rb") } },
    { TEXT("250 a\r\r\n"), 0, 1, { TEXT("a\r") } },
    { TEXT("250 a\r"), 0, 1, { TEXT("a\r") } },
    { TEXT("250-a\r\n251 b\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("250-a\r\n250-b\r\n550 c\r\n"), EHLO_ERR_SYNTAX, 1, { TEXT("a") } },
    { TEXT("250-a\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("250-a"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("250 a\r\n250 b\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("250-a\r\n25"), EHLO_ERR_SYNTAX, 1, { TEXT("a") } },
    { TEXT("250-a\r\n\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("25\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("2\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
    { TEXT("\r\n"), EHLO_ERR_SYNTAX, 0, { TEXT("") } },
};

/* [K03] [K04] [C13] [C15] */
static void a_whole_reply_is_walked_line_by_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(replies); i++) {
        const reply_case *c = &replies[i];
        ehlo_str raw = guarded(c->raw);
        ehlo_str rest = raw;
        ehlo_str text;
        for (size_t n = 0; n < c->count; n++) {
            if (ehlo_reply_next(&rest, &text) != 1) fail_msg("%s: line %zu was refused", c->raw.ptr, n);
            assert_text(c->texts[n], text, "text", c->raw.ptr);
            assert_within(raw, text, c->raw.ptr);
        }
        ehlo_str before = rest;
        assert_int_equal(ehlo_reply_next(&rest, &text), c->ends);
        assert_ptr_equal(before.ptr, rest.ptr);
        assert_int_equal(before.len, rest.len);
        assert_int_equal(text.len, 0);
        unguard(raw);
    }
}

/* -- enhanced codes --------------------------------------------------------------------------------- */

typedef struct enhanced_case {
    ehlo_str text;
    unsigned reply_class;
    uint16_t enhanced[3]; /* 0.0.0: none */
    size_t used;
} enhanced_case;

static const enhanced_case enhanced_codes[] = {
    { TEXT("2.0.0 Ok"), 2, { 2, 0, 0 }, 6 },
    { TEXT("2.0.0"), 2, { 2, 0, 0 }, 5 },
    { TEXT("2.0.0 "), 2, { 2, 0, 0 }, 6 },
    { TEXT("4.7.0  x"), 4, { 4, 7, 0 }, 6 },
    { TEXT("5.7.705 x"), 5, { 5, 7, 705 }, 8 },
    { TEXT("5.999.999 x"), 5, { 5, 999, 999 }, 10 },
    { TEXT(""), 2, { 0 }, 0 },
    { TEXT("2"), 2, { 0 }, 0 },
    { TEXT("2."), 2, { 0 }, 0 },
    { TEXT("2.0"), 2, { 0 }, 0 },
    { TEXT("2.0."), 2, { 0 }, 0 },
    { TEXT("2..0"), 2, { 0 }, 0 },
    { TEXT("2.0.0x"), 2, { 0 }, 0 },
    { TEXT("2.0.0."), 2, { 0 }, 0 },
    { TEXT("2.0.0\tx"), 2, { 0 }, 0 },
    { TEXT("2.0.0.0 x"), 2, { 0 }, 0 },
    { TEXT("2.1000.1"), 2, { 0 }, 0 },
    { TEXT("2.1.1000"), 2, { 0 }, 0 },
    { TEXT("2.1.99999999999999999999 x"), 2, { 0 }, 0 },
    { TEXT("2address"), 2, { 0 }, 0 },
    { TEXT("9.9.9"), 2, { 0 }, 0 },
    { TEXT("9.9.9"), 9, { 0 }, 0 },
    { TEXT("6.8.9 x"), 2, { 0 }, 0 },
    { TEXT("3.0.0 x"), 3, { 0 }, 0 },
    { TEXT("5.1.1 x"), 2, { 0 }, 0 },
    { TEXT("2.0.0 x"), 4, { 0 }, 0 },
    { TEXT(" 2.0.0 x"), 2, { 0 }, 0 },
    { TEXT("20.0.0 x"), 2, { 0 }, 0 },
    { TEXT("2.-1.0 x"), 2, { 0 }, 0 },
    { TEXT("0.0.0 x"), 0, { 0 }, 0 },
};

/* [K05] [C169] [C170] */
static void an_enhanced_code_is_whole_and_of_its_replys_class_or_it_is_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(enhanced_codes); i++) {
        const enhanced_case *c = &enhanced_codes[i];
        ehlo_str text = guarded(c->text);
        uint16_t enhanced[3] = { 9, 9, 9 };
        size_t used = 99;
        int expected = c->enhanced[0] != 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
        if (ehlo_enhanced_parse(text, c->reply_class, enhanced, &used) != expected) fail_msg("%s", c->text.ptr);
        if (memcmp(enhanced, c->enhanced, sizeof(enhanced)) != 0) fail_msg("%s: another code", c->text.ptr);
        assert_int_equal(used, c->used);
        assert_int_equal(ehlo_enhanced_parse(text, c->reply_class, enhanced, NULL), expected);
        unguard(text);
    }
}

/* -- cleaned text ----------------------------------------------------------------------------------- */

typedef struct clean_case {
    ehlo_str text;
    size_t cap;
    ehlo_str cleaned;
    int cut;
} clean_case;

static const clean_case cleaned[] = {
    { TEXT(""), 10, TEXT(""), 0 },
    { TEXT("a b ~"), 10, TEXT("a b ~"), 0 },
    { TEXT("a\tb"), 10, TEXT("a b"), 0 },
    { TEXT("a\r\nb"), 10, TEXT("a??b"), 0 },
    { TEXT("a\0b"), 10, TEXT("a?b"), 0 },
    { TEXT("\x1b[2J\x07\x7f"), 10, TEXT("?[2J??"), 0 },
    { TEXT("Gr\xc3\xbc\xc3\x9f\x65"), 10, TEXT("Gr\xc3\xbc\xc3\x9f\x65"), 0 },
    { TEXT("\xe2\x82\xac\xf0\x9f\x93\xa7"), 10, TEXT("\xe2\x82\xac\xf0\x9f\x93\xa7"), 0 },
    { TEXT("a\xc2\x85\x62"), 10, TEXT("a?b"), 0 },
    { TEXT("a\xc2\x9b"
           "2J"),
      10, TEXT("a?2J"), 0 },
    { TEXT("a\xc2\xa0\x62"), 10, TEXT("a\xc2\xa0\x62"), 0 },
    { TEXT("a\xe2\x80\xa8\xe2\x80\xa9\x62"), 10, TEXT("a??b"), 0 },
    { TEXT("\xe2\x80\xa7"), 10, TEXT("\xe2\x80\xa7"), 0 },
    { TEXT("\xff\xfe"), 10, TEXT("??"), 0 },
    { TEXT("\xc3"), 10, TEXT("?"), 0 },
    { TEXT("\xe2\x82"), 10, TEXT("??"), 0 },
    { TEXT("\xc0\xaf\xed\xa0\x80"), 10, TEXT("?????"), 0 },
    { TEXT("abc"), 3, TEXT("abc"), 0 },
    { TEXT("abcd"), 3, TEXT("abc"), 1 },
    { TEXT("a\xc3\xbc"), 2, TEXT("a"), 1 },
    { TEXT("a\r\n"), 2, TEXT("a?"), 1 },
    { TEXT("a"), 0, TEXT(""), 1 },
    { TEXT(""), 0, TEXT(""), 0 },
};

/* [K04] [K20] [C133] */
static void text_for_logs_is_cleaned_and_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cleaned); i++) {
        const clean_case *c = &cleaned[i];
        ehlo_str text = guarded(c->text);
        char blank[16] = { 0 };
        char *out = guard_copy(blank, c->cap);
        size_t len = 99;
        assert_int_equal(ehlo_text_clean(text, out, c->cap, &len), c->cut);
        assert_text(c->cleaned, ehlo_str_make(out, len), "cleaned text", c->text.ptr);
        guard_free(out, c->cap);
        unguard(text);
    }
}

static void no_text_at_all_is_cleaned_too(void **state)
{
    (void)state;
    size_t len = 99;
    assert_int_equal(ehlo_text_clean(ehlo_str_make(NULL, 0), NULL, 0, &len), EHLO_OK);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_a_code_a_separator_and_text_or_it_is_refused),
        cmocka_unit_test(every_three_digits_are_judged_by_the_first),
        cmocka_unit_test(a_whole_reply_is_walked_line_by_line),
        cmocka_unit_test(an_enhanced_code_is_whole_and_of_its_replys_class_or_it_is_text),
        cmocka_unit_test(text_for_logs_is_cleaned_and_bounded),
        cmocka_unit_test(no_text_at_all_is_cleaned_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
