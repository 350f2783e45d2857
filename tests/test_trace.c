/* Trace fields, dates and address text (RFC 5321 4.4, RFC 3848, RFC 6531 4.3, RFC 5322 3.3, RFC 5952). */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/syntax.h>

#include "guard.h"

enum { ROOM = 2048 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) (literal), sizeof(literal) - 1

static void assert_text(const char *got, size_t len, const char *expected)
{
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(got, expected, len);
}

/* -- with ------------------------------------------------------------------------------------------- */

/* [C108] */
static void the_keyword_tells_protocol_tls_and_authentication(void **state)
{
    (void)state;
    static const char *const suffixes[] = { "", "S", "A", "SA" };
    for (unsigned i = 0; i < 4; i++) {
        unsigned with = (i & 1 ? EHLO_WITH_TLS : 0U) | (i & 2 ? EHLO_WITH_AUTH : 0U);
        static const struct {
            unsigned with;
            const char *stem;
        } stems[] = {
            { EHLO_WITH_ESMTP, "ESMTP" },
            { EHLO_WITH_ESMTP | EHLO_WITH_UTF8, "UTF8SMTP" },
            { EHLO_WITH_LMTP, "LMTP" },
            { EHLO_WITH_ESMTP | EHLO_WITH_LMTP, "LMTP" },
            { EHLO_WITH_LMTP | EHLO_WITH_UTF8, "UTF8LMTP" },
        };
        for (size_t s = 0; s < COUNT(stems); s++) {
            char expected[16];
            ehlo_str keyword = ehlo_with_keyword(with | stems[s].with);
            strcpy(expected, stems[s].stem);
            strcat(expected, suffixes[i]);
            assert_text(keyword.ptr, keyword.len, expected);
        }
        ehlo_str plain = ehlo_with_keyword(with);
        assert_text(plain.ptr, plain.len, "SMTP");
    }
}

/* -- dates ------------------------------------------------------------------------------------------ */

static void dates_are_written_in_their_zone(void **state)
{
    (void)state;
    static const struct {
        int64_t time;
        int32_t zone;
        const char *text;
    } cases[] = {
        { 0, 0, "Thu, 01 Jan 1970 00:00:00 +0000" },
        { -1, 0, "Wed, 31 Dec 1969 23:59:59 +0000" },
        { 1795327200, 0, "Sun, 22 Nov 2026 06:00:00 +0000" },
        { 1795327200, 330, "Sun, 22 Nov 2026 11:30:00 +0530" },
        { 1795327200, -210, "Sun, 22 Nov 2026 02:30:00 -0330" },
        { 951782400, 0, "Tue, 29 Feb 2000 00:00:00 +0000" },
        { 951868800, 0, "Wed, 01 Mar 2000 00:00:00 +0000" },
        { 4107542400, 0, "Mon, 01 Mar 2100 00:00:00 +0000" },
        { 4107542399, 0, "Sun, 28 Feb 2100 23:59:59 +0000" },
        { -2208988800, 0, "Mon, 01 Jan 1900 00:00:00 +0000" },
        { -2208988800 - 60, 1, "Mon, 01 Jan 1900 00:00:00 +0001" },
        { 253402300799, 0, "Fri, 31 Dec 9999 23:59:59 +0000" },
        { 253402300799 + 86340, -1439, "Fri, 31 Dec 9999 23:59:59 -2359" },
        { 16725225600, 1439, "Fri, 01 Jan 2500 23:59:00 +2359" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        size_t len;
        assert_int_equal(ehlo_date_write(cases[i].time, cases[i].zone, out, sizeof(out), &len), EHLO_OK);
        assert_text(out, len, cases[i].text);
    }
}

static void dates_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct {
        int64_t time;
        int32_t zone;
    } cases[] = {
        { -2208988801, 0 }, { -2208988800, -1 }, { 253402300800, 0 },  { 253402300799, 1 },
        { INT64_MIN, 0 },   { INT64_MAX, 1439 }, { INT64_MIN, -1439 }, { 0, 1440 },
        { 0, -1440 },       { 0, INT32_MIN },    { 0, INT32_MAX },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[32];
        size_t len = 1;
        assert_int_equal(ehlo_date_write(cases[i].time, cases[i].zone, out, sizeof(out), &len), EHLO_ERR_ARG);
        assert_int_equal(len, 0);
    }
}

/* The day after each day is the next date of a calendar that knows only leap years. */
static void each_day_of_four_centuries_follows_the_one_before(void **state)
{
    (void)state;
    static const char *const days[] = { "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun" };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int day = 1, month = 0, year = 1900;
    for (int64_t n = 0; n < 146097 + 366; n++) {
        char out[32], expected[32];
        size_t len;
        assert_int_equal(ehlo_date_write(-2208988800 + n * 86400, 0, out, sizeof(out), &len), EHLO_OK);
        memset(expected, 0, sizeof(expected));
        strcpy(expected, days[n % 7]);
        strcat(expected, ", ");
        expected[5] = (char)('0' + day / 10);
        expected[6] = (char)('0' + day % 10);
        expected[7] = ' ';
        strcat(expected, months[month]);
        for (int place = 0, divisor = 1000; place < 4; place++, divisor /= 10) {
            expected[12 + place] = (char)('0' + year / divisor % 10);
        }
        expected[11] = ' ';
        strcat(expected, " 00:00:00 +0000");
        assert_text(out, len, expected);
        int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        if (++day > lengths[month] + (month == 1 && leap)) {
            day = 1;
            if (++month == 12) month = 0, year++;
        }
    }
}

/* -- addresses -------------------------------------------------------------------------------------- */

typedef struct address_case {
    uint8_t family;
    uint8_t octets[16];
    const char *text;
    const char *literal;
} address_case;

static const address_case addresses[] = {
    { EHLO_FAMILY_IPV4, { 192, 0, 2, 1 }, "192.0.2.1", "[192.0.2.1]" },
    { EHLO_FAMILY_IPV4, { 0 }, "0.0.0.0", "[0.0.0.0]" },
    { EHLO_FAMILY_IPV4, { 255, 255, 255, 255 }, "255.255.255.255", "[255.255.255.255]" },
    { EHLO_FAMILY_IPV6, { 0 }, "::", "[IPv6:::]" },
    { EHLO_FAMILY_IPV6, { [15] = 1 }, "::1", "[IPv6:::1]" },
    { EHLO_FAMILY_IPV6, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }, "2001:db8::1", "[IPv6:2001:db8::1]" },
    { EHLO_FAMILY_IPV6, { 0xfe, 0x80 }, "fe80::", "[IPv6:fe80::]" },
    /* RFC 5952 4.2.2: one zero group is written out; 4.2.3: the longest run, of equal ones the first. */
    { EHLO_FAMILY_IPV6,
      { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1 },
      "2001:db8:0:1:1:1:1:1",
      "[IPv6:2001:db8:0:1:1:1:1:1]" },
    { EHLO_FAMILY_IPV6,
      { 0x20, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1 },
      "2001:0:0:1::1",
      "[IPv6:2001:0:0:1::1]" },
    { EHLO_FAMILY_IPV6,
      { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1 },
      "2001:db8::1:0:0:1",
      "[IPv6:2001:db8::1:0:0:1]" },
    { EHLO_FAMILY_IPV6,
      { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
      "[IPv6:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]" },
    { EHLO_FAMILY_IPV6, { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 }, "::ffff:192.0.2.1", "[IPv6:::ffff:192.0.2.1]" },
};

static void addresses_are_written_in_their_shortest_form_and_read_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(addresses); i++) {
        ehlo_address address = { .family = addresses[i].family, .port = 25 };
        char out[48];
        size_t len;
        ehlo_domain_kind kind;
        uint8_t octets[16] = { 0 };
        memcpy(address.octets, addresses[i].octets, 16);
        assert_int_equal(ehlo_address_write(&address, 0, out, sizeof(out), &len), EHLO_OK);
        assert_text(out, len, addresses[i].text);
        assert_int_equal(ehlo_address_write(&address, 1, out, sizeof(out), &len), EHLO_OK);
        assert_text(out, len, addresses[i].literal);
        assert_int_equal(ehlo_domain_parse(ehlo_str_make(out, len), 0, &kind, octets, NULL), EHLO_OK);
        assert_int_equal(kind, address.family == EHLO_FAMILY_IPV4 ? EHLO_DOMAIN_IPV4 : EHLO_DOMAIN_IPV6);
        assert_memory_equal(octets, address.octets, address.family == EHLO_FAMILY_IPV4 ? 4 : 16);
    }
}

/* Every pattern of zero and other groups is read back as it was. */
static void every_pattern_of_zero_groups_is_read_back(void **state)
{
    (void)state;
    for (unsigned pattern = 0; pattern < 256; pattern++) {
        ehlo_address address = { .family = EHLO_FAMILY_IPV6 };
        char out[48];
        size_t len;
        uint8_t octets[16];
        for (size_t group = 0; group < 8; group++) address.octets[2 * group + 1] = pattern >> group & 1 ? 0xa0 : 0;
        assert_int_equal(ehlo_address_write(&address, 1, out, sizeof(out), &len), EHLO_OK);
        assert_int_equal(ehlo_domain_parse(ehlo_str_make(out, len), 0, NULL, octets, NULL), EHLO_OK);
        assert_memory_equal(octets, address.octets, 16);
    }
}

static void an_address_of_no_family_is_refused(void **state)
{
    (void)state;
    for (unsigned family = 0; family < 256; family++) {
        ehlo_address address = { .family = (uint8_t)family };
        char out[48];
        size_t len;
        int known = family == EHLO_FAMILY_IPV4 || family == EHLO_FAMILY_IPV6;
        assert_int_equal(ehlo_address_write(&address, 0, out, sizeof(out), &len), known ? EHLO_OK : EHLO_ERR_ARG);
    }
}

/* -- the Received field ----------------------------------------------------------------------------- */

static ehlo_received whole(void)
{
    ehlo_received received = { .with = EHLO_WITH_ESMTP | EHLO_WITH_TLS, .time = 1795327200 };
    received.hello = ehlo_str_from("client.example");
    received.remote = (ehlo_address){ .family = EHLO_FAMILY_IPV4, .octets = { 192, 0, 2, 1 } };
    received.by = ehlo_str_from("mx.example");
    received.tls = ehlo_str_from("TLSv1.3 TLS_AES_256_GCM_SHA384");
    received.id = ehlo_str_from("4bX.2f");
    received.recipient = ehlo_str_from("\"a b\"@example.org");
    return received;
}

static void assert_received(const ehlo_received *received, const char *expected)
{
    char out[ROOM];
    size_t len;
    assert_int_equal(ehlo_received_write(received, out, sizeof(out), &len), EHLO_OK);
    assert_text(out, len, expected);
}

/* [C107] */
static void a_received_field_tells_from_by_with_id_for_and_date(void **state)
{
    (void)state;
    ehlo_received received = whole();
    assert_received(&received, "Received: from client.example ([192.0.2.1])\r\n"
                               "\tby mx.example with ESMTPS\r\n"
                               "\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
                               "\tid 4bX.2f\r\n"
                               "\tfor <\"a b\"@example.org>;\r\n"
                               "\tSun, 22 Nov 2026 06:00:00 +0000\r\n");
}

/* [C107] */
static void what_is_not_known_is_left_out(void **state)
{
    (void)state;
    ehlo_received received = { .time = 0 };
    assert_received(&received, "Received: with SMTP;\r\n\tThu, 01 Jan 1970 00:00:00 +0000\r\n");
    received = whole();
    received.recipient = received.tls = received.id = ehlo_str_make(NULL, 0);
    assert_received(&received, "Received: from client.example ([192.0.2.1])\r\n"
                               "\tby mx.example with ESMTPS;\r\n"
                               "\tSun, 22 Nov 2026 06:00:00 +0000\r\n");
    received.remote.family = EHLO_FAMILY_NONE;
    assert_received(&received, "Received: from client.example\r\n"
                               "\tby mx.example with ESMTPS;\r\n"
                               "\tSun, 22 Nov 2026 06:00:00 +0000\r\n");
    received.remote.family = EHLO_FAMILY_IPV4;
    received.hello.len = 0;
    assert_received(&received, "Received: from [192.0.2.1] ([192.0.2.1])\r\n"
                               "\tby mx.example with ESMTPS;\r\n"
                               "\tSun, 22 Nov 2026 06:00:00 +0000\r\n");
}

/* [C109] Each octet, in hello and in the TLS comment: what the field gives a meaning to never gets out. */
static void the_peers_words_are_cleaned(void **state)
{
    (void)state;
    for (unsigned octet = 0; octet < 256; octet++) {
        char text[3] = { 'a', (char)octet, 'b' };
        char out[ROOM];
        size_t len;
        ehlo_received received = { .with = EHLO_WITH_ESMTP };
        char *copy = guard_copy(text, sizeof(text));
        received.hello = received.tls = ehlo_str_make(copy, sizeof(text));
        assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_OK);
        int printable = octet > 0x20 && octet < 0x7f;
        int in_token = printable && strchr("()<>@,;\\\"", (int)octet) == NULL;
        int in_comment = (printable || octet == ' ') && strchr("()\\", (int)octet) == NULL;
        const char *hello = strstr(out, "from a") + 6;
        const char *comment = strstr(out, "(a") + 2;
        assert_int_equal((unsigned char)hello[0], in_token ? octet : '?');
        assert_int_equal(hello[1], 'b');
        assert_int_equal((unsigned char)comment[0], in_comment ? octet : '?');
        assert_int_equal(comment[1], 'b');
        guard_free(copy, sizeof(text));
    }
}

/* [C109] */
static void a_long_hello_is_cut(void **state)
{
    (void)state;
    static char name[70 * 1024];
    char out[ROOM];
    size_t len;
    ehlo_received received = { .with = EHLO_WITH_ESMTP };
    memset(name, 'x', sizeof(name));
    received.hello = ehlo_str_make(name, sizeof(name));
    assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_OK);
    assert_int_equal(strspn(strchr(out, 'x'), "x"), 255);
}

/* [N] Hostile octets in what the application gives: refused, and nothing is written. */
static void our_own_words_are_refused_when_they_could_inject(void **state)
{
    (void)state;
    static const struct {
        const char *ptr;
        size_t len;
    } payloads[] = {
        { TEXT("\r\nRCPT TO:<x@y>") }, { TEXT("\nQUIT") },  { TEXT("\rDATA") },   { TEXT("\0") },
        { TEXT("x\r\n.\r\nMAIL") },    { TEXT(" SIZE=0") }, { TEXT("> SIZE=1") }, { TEXT("> NOTIFY=NEVER\r\n") },
        { TEXT("\"\r\n\"@x") },        { TEXT("\x7f") },    { TEXT("\x85") },     { TEXT("\xe2\x80\xa8") },
        { TEXT("\xc0\xaf") },          { TEXT("a;b") },     { TEXT("a b") },      { TEXT("a(b)") },
    };
    for (size_t i = 0; i < COUNT(payloads); i++) {
        char *copy = guard_copy(payloads[i].ptr, payloads[i].len);
        ehlo_str payload = ehlo_str_make(copy, payloads[i].len);
        for (int sink = 0; sink < 3; sink++) {
            ehlo_received received = whole();
            char out[ROOM] = { 0 };
            size_t len = 1;
            if (sink == 0) received.by = payload;
            if (sink == 1) received.id = payload;
            if (sink == 2) received.recipient = payload;
            assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_ERR_ARG);
            assert_int_equal(len, 0);
            assert_int_equal(out[0], 0);
        }
        guard_free(copy, payloads[i].len);
    }
}

/* [N] 70 KiB. */
static void overlong_words_of_our_own_are_refused(void **state)
{
    (void)state;
    static char text[70 * 1024];
    char out[ROOM];
    size_t len;
    memset(text, 'x', sizeof(text));
    memcpy(text + sizeof(text) - 2, "@b", 2);
    for (int sink = 0; sink < 3; sink++) {
        ehlo_received received = whole();
        ehlo_str payload = ehlo_str_make(text, sizeof(text));
        if (sink == 0) received.by = payload;
        if (sink == 1) received.id = payload;
        if (sink == 2) received.recipient = payload;
        assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_ERR_ARG);
    }
}

static void recipients_that_a_session_accepts_are_written(void **state)
{
    (void)state;
    static const char *const accepted[] = { "a@b",           "Postmaster",          "postmaster@[192.0.2.1]",
                                            "a@under_score", "a@dot.example.",      "a@[IPv6:2001:db8::1]",
                                            "\"\\\"\"@b",    "gr\xc3\xbc\xc3\x9f@b" };
    for (size_t i = 0; i < COUNT(accepted); i++) {
        ehlo_received received = whole();
        char out[ROOM], expected[64] = "\tfor <";
        size_t len;
        received.recipient = ehlo_str_from(accepted[i]);
        received.with = EHLO_WITH_ESMTP | EHLO_WITH_UTF8;
        assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_OK);
        strcat(expected, accepted[i]);
        strcat(expected, ">;\r\n");
        assert_non_null(memmem(out, len, expected, strlen(expected)));
    }
}

static void the_longest_field_fits_in_2048_octets(void **state)
{
    (void)state;
    static char x[512];
    char domain[255], out[ROOM];
    size_t len;
    memset(x, 'x', sizeof(x));
    memset(domain, 'd', sizeof(domain));
    for (size_t at = 63; at < sizeof(domain); at += 64) domain[at] = '.';
    memcpy(x + 512 - 256, "@", 1);
    memcpy(x + 512 - 255, domain, 255);
    ehlo_received received = { .with = EHLO_WITH_LMTP | EHLO_WITH_TLS | EHLO_WITH_AUTH | EHLO_WITH_UTF8 };
    received.hello = received.tls = received.id = ehlo_str_make(x, 255);
    received.by = ehlo_str_make(domain, 255);
    received.recipient = ehlo_str_make(x, 512);
    received.zone_minutes = -1439;
    received.remote.family = EHLO_FAMILY_IPV6;
    memset(received.remote.octets, 0xff, 16);
    assert_int_equal(ehlo_received_write(&received, out, sizeof(out), &len), EHLO_OK);
    for (size_t cap = 0; cap < len; cap += 7) {
        size_t need;
        char *little = guard_copy(out, cap);
        assert_int_equal(ehlo_received_write(&received, little, cap, &need), EHLO_ERR_SPACE);
        assert_int_equal(need, len);
        guard_free(little, cap);
    }
    /* RFC 5322 2.1.1: no line of it above 998 octets. */
    for (size_t at = 0; at < len;) {
        const char *end = memmem(out + at, len - at, "\r\n", 2);
        assert_non_null(end);
        assert_in_range(end - (out + at), 1, 998);
        at = (size_t)(end + 2 - out);
        assert_true(at == len || out[at] == '\t');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keyword_tells_protocol_tls_and_authentication),
        cmocka_unit_test(dates_are_written_in_their_zone),
        cmocka_unit_test(dates_out_of_range_are_refused),
        cmocka_unit_test(each_day_of_four_centuries_follows_the_one_before),
        cmocka_unit_test(addresses_are_written_in_their_shortest_form_and_read_back),
        cmocka_unit_test(every_pattern_of_zero_groups_is_read_back),
        cmocka_unit_test(an_address_of_no_family_is_refused),
        cmocka_unit_test(a_received_field_tells_from_by_with_id_for_and_date),
        cmocka_unit_test(what_is_not_known_is_left_out),
        cmocka_unit_test(the_peers_words_are_cleaned),
        cmocka_unit_test(a_long_hello_is_cut),
        cmocka_unit_test(our_own_words_are_refused_when_they_could_inject),
        cmocka_unit_test(overlong_words_of_our_own_are_refused),
        cmocka_unit_test(recipients_that_a_session_accepts_are_written),
        cmocka_unit_test(the_longest_field_fits_in_2048_octets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
