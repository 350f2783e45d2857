/* The PROXY preface, versions 1 and 2. */
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ehlo/syntax.h>

#include "guard.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4_BLOCK                                                                                                     \
    "\xc0\x00\x02\x01"                                                                                                 \
    "\xc6\x33\x64\x02"                                                                                                 \
    "\x30\x39"                                                                                                         \
    "\x00\x19"
#define TCP6_BLOCK                                                                                                     \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"                                                                         \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"                                                                         \
    "\xff\xff"                                                                                                         \
    "\x00\x19"

static const ehlo_address remote4 = { EHLO_FAMILY_IPV4, 12345, { 192, 0, 2, 1 } };
static const ehlo_address local4 = { EHLO_FAMILY_IPV4, 25, { 198, 51, 100, 2 } };
static const ehlo_address remote6 = { EHLO_FAMILY_IPV6, 65535, { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
static const ehlo_address local6 = { EHLO_FAMILY_IPV6, 25, { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 } };

static void assert_address(const ehlo_address *got, const ehlo_address *expected)
{
    assert_int_equal(got->family, expected->family);
    assert_int_equal(got->port, expected->port);
    assert_memory_equal(got->octets, expected->octets, sizeof(got->octets));
}

/* A peer as the transport told it, every octet of its addresses set. */
static ehlo_peer transport_peer(void)
{
    ehlo_peer peer = { .tls = 1 };
    peer.remote = (ehlo_address){ .family = EHLO_FAMILY_IPV6, .port = 7 };
    peer.local = (ehlo_address){ .family = EHLO_FAMILY_IPV6, .port = 8 };
    memset(peer.remote.octets, 0xAA, 16);
    memset(peer.local.octets, 0xBB, 16);
    return peer;
}

static void assert_untouched(const ehlo_peer *peer)
{
    ehlo_peer before = transport_peer();
    assert_address(&peer->remote, &before.remote);
    assert_address(&peer->local, &before.local);
    assert_int_equal(peer->tls, 1);
    assert_int_equal(peer->proxied, 0);
}

static int parse(const char *bytes, size_t len, ehlo_peer *peer, size_t *used)
{
    char *copy = guard_copy(bytes, len);
    int result = ehlo_proxy_parse(copy, len, peer, used);
    guard_free(copy, len);
    return result;
}

/* -- what is accepted ------------------------------------------------------------------------------- */

enum { TELLS_NOTHING, TELLS_IPV4, TELLS_IPV6 };

typedef struct accepted_case {
    ehlo_str preface;
    int tells;
} accepted_case;

static const accepted_case accepted[] = {
    { TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n"), TELLS_IPV4 },
    { TEXT("PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 65535 25\r\n"), TELLS_IPV6 },
    { TEXT("PROXY UNKNOWN\r\n"), TELLS_NOTHING },
    { TEXT("PROXY UNKNOWN \r\n"), TELLS_NOTHING },
    { TEXT("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"), TELLS_NOTHING },
    { TEXT(SIGNATURE "\x21\x11\x00\x0c" TCP4_BLOCK), TELLS_IPV4 },
    { TEXT(SIGNATURE "\x21\x21\x00\x24" TCP6_BLOCK), TELLS_IPV6 },
    { TEXT(SIGNATURE "\x21\x11\x00\x10" TCP4_BLOCK "\x04\x00\x01\x00"), TELLS_IPV4 },
    { TEXT(SIGNATURE "\x20\x00\x00\x00"), TELLS_NOTHING },
    { TEXT(SIGNATURE "\x20\x11\x00\x0c" TCP4_BLOCK), TELLS_NOTHING },
    { TEXT(SIGNATURE "\x20\xff\x00\x01"
                     "x"),
      TELLS_NOTHING },
    { TEXT(SIGNATURE "\x21\x00\x00\x00"), TELLS_NOTHING },
    { TEXT(SIGNATURE "\x21\x00\x00\x03"
                     "abc"),
      TELLS_NOTHING },
    { TEXT(SIGNATURE "\x21\x31\x00\x02"
                     "ab"),
      TELLS_NOTHING },
};

static void assert_told(const ehlo_peer *peer, int tells)
{
    if (tells == TELLS_NOTHING) {
        assert_untouched(peer);
        return;
    }
    assert_address(&peer->remote, tells == TELLS_IPV4 ? &remote4 : &remote6);
    assert_address(&peer->local, tells == TELLS_IPV4 ? &local4 : &local6);
    assert_int_equal(peer->proxied, 1);
    assert_int_equal(peer->tls, 1);
}

static void a_whole_preface_tells_the_addresses_and_its_length(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        ehlo_str preface = accepted[i].preface;
        ehlo_peer peer = transport_peer();
        size_t used;
        assert_int_equal(parse(preface.ptr, preface.len, &peer, &used), EHLO_OK);
        assert_int_equal(used, preface.len);
        assert_told(&peer, accepted[i].tells);
    }
}

static void what_follows_a_preface_is_not_its_business(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        ehlo_str preface = accepted[i].preface;
        ehlo_peer peer = transport_peer();
        char bytes[256];
        size_t used;
        memcpy(bytes, preface.ptr, preface.len);
        memcpy(bytes + preface.len, "EHLO a\r\n", 8);
        assert_int_equal(parse(bytes, preface.len + 8, &peer, &used), EHLO_OK);
        assert_int_equal(used, preface.len);
        assert_told(&peer, accepted[i].tells);
    }
}

static void every_beginning_of_a_preface_is_incomplete_and_tells_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(accepted); i++) {
        for (size_t len = 0; len < accepted[i].preface.len; len++) {
            ehlo_peer peer = transport_peer();
            size_t used = 1;
            assert_int_equal(parse(accepted[i].preface.ptr, len, &peer, &used), EHLO_ERR_INCOMPLETE);
            assert_int_equal(used, 0);
            assert_untouched(&peer);
        }
    }
}

/* -- what is refused -------------------------------------------------------------------------------- */

static const ehlo_str refused[] = {
    /* no preface */
    TEXT("E"),
    TEXT("EHLO a\r\n"),
    TEXT("\x16\x03\x01\x02\x00"),
    TEXT("PROXX"),
    TEXT("proxy "),
    TEXT("PROXY\tTCP4"),
    TEXT("\r\n\r\nQ"),
    TEXT("\r\n\r\n\0\r\nQUIT\r"),
    /* version 1 */
    TEXT("PROXY \r\n"),
    TEXT("PROXY TCP4\r\n"),
    TEXT("PROXY TCP5 192.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY tcp4 192.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY UNKNOWNX\r\n"),
    TEXT("PROXY UNKNOWN\n"),
    TEXT("PROXY  TCP4 192.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4  192.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2  1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 25 \r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 25 9\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 25\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n5\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 1 100000\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 01 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.1 198.51.100.2 +1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.01 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 00.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.256 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n"),
    TEXT("PROXY TCP6 192.0.2.1 198.51.100.2 1 25\r\n"),
    TEXT("PROXY TCP6 2001:db8::1::2 2001:db8::2 1 25\r\n"),
    TEXT("PROXY TCP6 2001:db8:12345::1 2001:db8::2 1 25\r\n"),
    /* version 2 */
    TEXT(SIGNATURE "\x11\x11\x00\x0c" TCP4_BLOCK),
    TEXT(SIGNATURE "\x31\x11\x00\x0c" TCP4_BLOCK),
    TEXT(SIGNATURE "\x22\x11\x00\x0c" TCP4_BLOCK),
    TEXT(SIGNATURE "\x21\x12\x00\x0c" TCP4_BLOCK),
    TEXT(SIGNATURE "\x21\x22\x00\x24" TCP6_BLOCK),
    TEXT(SIGNATURE "\x21\x41\x00\x0c" TCP4_BLOCK),
    TEXT(SIGNATURE "\x21\x11\x00\x0b" TCP4_BLOCK),
    TEXT(SIGNATURE "\x21\x21\x00\x23" TCP6_BLOCK),
    TEXT(SIGNATURE "\x21\x11\x00\x00"),
    TEXT(SIGNATURE "\x21\x11\xff\xff"),
};

static void a_broken_preface_is_refused_and_tells_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        ehlo_peer peer = transport_peer();
        size_t used = 1;
        assert_int_equal(parse(refused[i].ptr, refused[i].len, &peer, &used), EHLO_ERR_SYNTAX);
        assert_int_equal(used, 0);
        assert_untouched(&peer);
    }
}

/* Version 1 has at most 107 octets: the longest is read, a longer one is refused without its end. */
static void version_1_is_read_up_to_107_octets(void **state)
{
    (void)state;
    char bytes[256];
    size_t used;
    ehlo_peer peer = transport_peer();
    memset(bytes, 'x', sizeof(bytes));
    memcpy(bytes, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(bytes, 106, &peer, &used), EHLO_ERR_INCOMPLETE);
    assert_int_equal(parse(bytes, 107, &peer, &used), EHLO_ERR_SYNTAX);
    memcpy(bytes + 105, "\r\n", 2);
    assert_int_equal(parse(bytes, sizeof(bytes), &peer, &used), EHLO_OK);
    assert_int_equal(used, 107);
    bytes[105] = 'x';
    memcpy(bytes + 106, "\r\n", 2);
    assert_int_equal(parse(bytes, sizeof(bytes), &peer, &used), EHLO_ERR_SYNTAX);
}

static void version_2_is_read_up_to_its_maximum(void **state)
{
    (void)state;
    char bytes[EHLO_PROXY_MAX + 1] = SIGNATURE "\x21\x11";
    size_t block = EHLO_PROXY_MAX - 16, used;
    ehlo_peer peer = transport_peer();
    bytes[14] = (char)(block >> 8);
    bytes[15] = (char)(block & 0xFF);
    assert_int_equal(parse(bytes, EHLO_PROXY_MAX - 1, &peer, &used), EHLO_ERR_INCOMPLETE);
    assert_int_equal(parse(bytes, EHLO_PROXY_MAX, &peer, &used), EHLO_OK);
    assert_int_equal(used, EHLO_PROXY_MAX);
    bytes[15]++;
    assert_int_equal(parse(bytes, 16, &peer, &used), EHLO_ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_preface_tells_the_addresses_and_its_length),
        cmocka_unit_test(what_follows_a_preface_is_not_its_business),
        cmocka_unit_test(every_beginning_of_a_preface_is_incomplete_and_tells_nothing),
        cmocka_unit_test(a_broken_preface_is_refused_and_tells_nothing),
        cmocka_unit_test(version_1_is_read_up_to_107_octets),
        cmocka_unit_test(version_2_is_read_up_to_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
