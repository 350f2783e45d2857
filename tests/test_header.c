/* The header of a message: what it has, where it ends, what a submission server adds (RFC 5322 2.2, RFC 6409 8). */
#include "guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/syntax.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

enum { DATE = EHLO_FIELD_DATE, ID = EHLO_FIELD_MESSAGE_ID, FROM = EHLO_FIELD_FROM, SENDER = EHLO_FIELD_SENDER };

#define MESSAGE(header, rest) header rest, sizeof(header rest) - 1, sizeof(header) - 1

static const struct message {
    const char *text;
    size_t len;
    size_t header; /* octets before the empty line */
    unsigned fields;
    uint32_t received;
    int ended, malformed;
} messages[] = {
    { MESSAGE("Date: x\r\nMessage-ID: <a@b>\r\nFrom: a\r\nSender: b\r\n", "\r\nbody"), DATE | ID | FROM | SENDER, 0, 1,
      0 },
    { MESSAGE("date:x\r\nMESSAGE-id:y\r\n", "\r\n"), DATE | ID, 0, 1, 0 },
    { MESSAGE("Date : x\r\nFrom \t\t :\r\n", "\r\n"), DATE | FROM, 0, 1, 0 },
    { MESSAGE("Date:\r\n", "\r\n"), DATE, 0, 1, 0 },
    { MESSAGE("Dat: x\r\nDatex: x\r\nX-Date: x\r\nDat e: x\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE("Resent-Date: x\r\nResent-Message-ID: <a@b>\r\n", "\r\n"), 0, 0, 1, 0 },
    { MESSAGE("Subject: x\r\n Date: y\r\n\tMessage-ID: z\r\n", "\r\n"), 0, 0, 1, 0 },
    { MESSAGE("Subject:\r\n \r\n\t\r\nDate: x\r\n", "\r\n"), DATE, 0, 1, 0 },
    { MESSAGE("Received: a\r\nRECEIVED:b\r\nreceived :c\r\nX-Received: d\r\n Received: e\r\n", "\r\nReceived: f\r\n"),
      0, 3, 1, 0 },
    /* a value holds whatever it likes: colons, controls, octets above 127, a bare CR */
    { MESSAGE("X: a: b: c\r\nY: \x01\x7F\xC3\xA9\0\rDate: x\r\nDate: z\r\n", "\r\n"), DATE, 0, 1, 0 },
    /* no header, no body, nothing */
    { MESSAGE("", ""), 0, 0, 0, 0 },
    { MESSAGE("", "\r\nDate: x\r\n"), 0, 0, 1, 0 },
    { MESSAGE("", "\nDate: x\n"), 0, 0, 1, 0 },
    { MESSAGE("", "\r"), 0, 0, 1, 0 },
    { MESSAGE("Date: x\r\n", ""), DATE, 0, 0, 0 },
    { MESSAGE("Date: x\r\nFrom", ""), DATE, 0, 0, 0 },
    { MESSAGE("Date", ""), 0, 0, 0, 0 },
    { MESSAGE("Date:", ""), DATE, 0, 0, 0 },
    /* lines that end in LF alone, and both mixed */
    { MESSAGE("Date: x\nReceived: y\n", "\nFrom: z\n"), DATE, 1, 1, 0 },
    { MESSAGE("Date: x\r\nFrom: y\n", "\r\nSender: z\r\n"), DATE | FROM, 0, 1, 0 },
    /* lines that are neither a field nor the continuation of one; the header goes on behind them */
    { MESSAGE(" Date: x\r\nFrom: y\r\n", "\r\n"), FROM, 0, 1, 1 },
    { MESSAGE("\tx\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE("From a@b.example Thu\r\nDate: x\r\n", "\r\n"), DATE, 0, 1, 1 },
    { MESSAGE("Date: x\r\nno field\r\nSender: y\r\n", "\r\n"), DATE | SENDER, 0, 1, 1 },
    { MESSAGE("Date\r\nFrom: y\r\n", "\r\n"), FROM, 0, 1, 1 },
    { MESSAGE("Date\nFrom: y\n", "\n"), FROM, 0, 1, 1 },
    { MESSAGE("Date \r\nFrom: y\r\n", "\r\n"), FROM, 0, 1, 1 },
    { MESSAGE("Date \nFrom: y\n", "\n"), FROM, 0, 1, 1 },
    { MESSAGE(": x\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE("Da\x01te: x\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE("Da\xC3\xA9: x\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE("Da\0te: x\r\n", "\r\n"), 0, 0, 1, 1 },
    { MESSAGE(".\r\nDate: x\r\n", "\r\n"), DATE, 0, 1, 1 },
    /* names as long as are kept, and longer: none of them is taken for its beginning */
    { MESSAGE("Message-ID-12345: x\r\nMessage-ID-123456: x\r\nMessage-IDMessage-IDMessage-IDMessage-ID: x\r\n", "\r\n"),
      0, 0, 1, 0 },
};

static void assert_found(const struct message *message, const ehlo_header *header, size_t octets)
{
    assert_int_equal(header->fields, message->fields);
    assert_int_equal(header->received, message->received);
    assert_int_equal(header->ended, message->ended);
    assert_int_equal(header->malformed, message->malformed);
    assert_int_equal(octets, message->header);
}

/* Scans len octets at text, each piece flush against a page that can't be read. */
static size_t scan(ehlo_header *header, const char *text, size_t len)
{
    char *copy = guard_copy(text, len);
    size_t octets = ehlo_header_scan(header, copy, len);
    guard_free(copy, len);
    return octets;
}

/* [C137] [C111] */
static void a_header_is_found_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        ehlo_header header = { 0 };
        size_t octets = scan(&header, messages[i].text, messages[i].len);
        assert_found(&messages[i], &header, octets);
    }
}

static void a_cut_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        const struct message *m = &messages[i];
        for (size_t cut = 0; cut <= m->len; cut++) {
            ehlo_header header = { 0 };
            size_t octets = scan(&header, m->text, cut);
            assert_true(octets == cut || header.ended);
            octets += scan(&header, m->text + cut, m->len - cut);
            assert_found(m, &header, octets);
        }
    }
}

static void octet_by_octet_is_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(messages); i++) {
        ehlo_header header = { 0 };
        size_t octets = 0;
        for (size_t at = 0; at < messages[i].len; at++) octets += scan(&header, messages[i].text + at, 1);
        assert_found(&messages[i], &header, octets);
    }
}

static void behind_its_end_nothing_is_header(void **state)
{
    (void)state;
    ehlo_header header = { 0 };
    assert_int_equal(ehlo_header_scan(&header, TEXT("From: x\r\n\r\n")), 9);
    assert_int_equal(ehlo_header_scan(&header, TEXT("Date: y\r\n")), 0);
    assert_int_equal(ehlo_header_scan(&header, NULL, 0), 0);
    assert_int_equal(header.fields, FROM);
}

/* [C111] A loop of any length is counted. */
static void a_hundred_thousand_hops_are_counted(void **state)
{
    (void)state;
    ehlo_header header = { 0 };
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(ehlo_header_scan(&header, TEXT("Received: x\r\n\tby y\r\n")), 20);
    }
    assert_int_equal(header.received, 100000);
    assert_int_equal(header.ended, 0);
}

/* [R12] */
static void a_field_of_any_length_is_one_field(void **state)
{
    (void)state;
    static char block[65536];
    ehlo_header header = { 0 };
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 16; i++) assert_int_equal(ehlo_header_scan(&header, block, sizeof block), sizeof block);
    assert_int_equal(ehlo_header_scan(&header, TEXT(": \r\nDate: y\r\n")), 13);
    assert_int_equal(header.fields, DATE);
    assert_int_equal(header.malformed, 0);
}

/* -- completing ------------------------------------------------------------------------------------- */

#define WRITTEN_DATE "Date: Sun, 22 Nov 2026 06:00:00 +0000\r\n"
#define WRITTEN_ID "Message-ID: <1.a@mx.example>\r\n"

static const ehlo_header_additions additions = { 1795327200, 0, { TEXT("1.a") }, { TEXT("mx.example") } };

/* [C137] What is there already is left alone. */
static void what_a_header_lacks_is_written(void **state)
{
    (void)state;
    static const struct {
        unsigned fields;
        const char *written;
    } cases[] = {
        { 0, WRITTEN_DATE WRITTEN_ID },
        { FROM | SENDER, WRITTEN_DATE WRITTEN_ID },
        { DATE, WRITTEN_ID },
        { ID | FROM, WRITTEN_DATE },
        { DATE | ID, "" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t needed = strlen(cases[i].written), len;
        const ehlo_header header = { .fields = cases[i].fields };
        for (size_t room = 0; room <= needed; room++) {
            char *out = guard_copy(cases[i].written, room);
            int result = ehlo_header_complete(&header, &additions, out, room, &len);
            assert_int_equal(result, room < needed ? EHLO_ERR_SPACE : EHLO_OK);
            assert_int_equal(len, needed);
            if (room == needed) assert_memory_equal(out, cases[i].written, needed);
            guard_free(out, room);
        }
    }
}

/* [C137] Written, read and written again, nothing is lacking any more. */
static void a_completed_header_is_complete(void **state)
{
    (void)state;
    ehlo_header header = { 0 };
    char out[256];
    size_t len;
    assert_int_equal(ehlo_header_scan(&header, TEXT("From: x\r\n")), 9);
    assert_int_equal(ehlo_header_complete(&header, &additions, out, sizeof out, &len), EHLO_OK);
    assert_int_equal(ehlo_header_scan(&header, out, len), len);
    assert_int_equal(header.fields, DATE | ID | FROM);
    assert_int_equal(header.malformed, 0);
    assert_int_equal(ehlo_header_complete(&header, &additions, out, sizeof out, &len), EHLO_OK);
    assert_int_equal(len, 0);
}

static void only_what_may_stand_there_is_written(void **state)
{
    (void)state;
    static const char *const ids[] = { "a",         "1.2.3",    "!#$%&'*+-/=?^_`{|}~",
                                       "",          ".a",       "a.",
                                       "a..b",      "a b",      "a@b",
                                       "a\r\nX: y", "<a",       "a>",
                                       "\"a\"",     "\xC3\xA9", "a\x7F",
                                       "(a)b",      NULL };
    static const char *const domains[] = { "mx.example", "mx_1.example", "[192.0.2.1]", "[IPv6:2001:db8::1]",
                                           "",           "mx example",   "mx.example>", "-.example",
                                           "a\r\nX: y",  "[x",           NULL };
    char long_id[256], out[1024];
    const ehlo_header header = { .fields = DATE };
    ehlo_header_additions with = additions;
    size_t len;
    for (size_t i = 0; ids[i] != NULL; i++) {
        with.id = ehlo_str_from(ids[i]);
        assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), i < 3 ? EHLO_OK : EHLO_ERR_ARG);
        if (i >= 3) assert_int_equal(len, 0);
    }
    memset(long_id, 'a', sizeof long_id);
    with.id = ehlo_str_make(long_id, 255);
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_OK);
    with.id = ehlo_str_make(long_id, 256);
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    with = additions;
    for (size_t i = 0; domains[i] != NULL; i++) {
        with.domain = ehlo_str_from(domains[i]);
        assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), i < 4 ? EHLO_OK : EHLO_ERR_ARG);
    }
}

/* What is refused leaves the buffer as it was. */
static void a_refused_addition_writes_nothing(void **state)
{
    (void)state;
    static const char untouched[128] = { 0 };
    char out[128] = { 0 };
    const ehlo_header header = { 0 };
    ehlo_header_additions with = additions;
    size_t len;
    with.id = ehlo_str_from("a@b");
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    with = additions;
    with.domain = ehlo_str_from("");
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    with = additions;
    with.zone_minutes = -1440;
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    assert_memory_equal(out, untouched, sizeof out);
}

static void times_out_of_range_are_refused(void **state)
{
    (void)state;
    char out[256];
    const ehlo_header header = { .fields = ID }, dated = { .fields = DATE };
    ehlo_header_additions with = additions;
    size_t len;
    with.zone_minutes = 1440;
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    assert_int_equal(ehlo_header_complete(&dated, &with, out, sizeof out, &len), EHLO_OK);
    with = additions;
    with.time = INT64_MAX;
    assert_int_equal(ehlo_header_complete(&header, &with, out, sizeof out, &len), EHLO_ERR_ARG);
    assert_int_equal(len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_found_whole),
        cmocka_unit_test(a_cut_changes_nothing),
        cmocka_unit_test(octet_by_octet_is_the_same),
        cmocka_unit_test(behind_its_end_nothing_is_header),
        cmocka_unit_test(a_hundred_thousand_hops_are_counted),
        cmocka_unit_test(a_field_of_any_length_is_one_field),
        cmocka_unit_test(what_a_header_lacks_is_written),
        cmocka_unit_test(a_completed_header_is_complete),
        cmocka_unit_test(only_what_may_stand_there_is_written),
        cmocka_unit_test(a_refused_addition_writes_nothing),
        cmocka_unit_test(times_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
