/* xtext, base64 and UTF-8: what was encoded decodes to itself, what decodes has one spelling only. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <ehlo/syntax.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef int decoder(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault);
typedef int encoder(ehlo_str octets, char *out, size_t cap, size_t *len);

/* Of the exact size, so that a sanitizer sees an octet too many. */
static char *room(size_t len)
{
    char *octets = malloc(len > 0 ? len : 1);
    CHECK(octets != NULL);
    return octets;
}

static int same(ehlo_str text, const char *octets, size_t len)
{
    return text.len == len && (len == 0 || memcmp(text.ptr, octets, len) == 0);
}

/* decode(encode(octets)) is octets. */
static void check_encode(encoder *encode, decoder *decode, ehlo_str octets, size_t bound)
{
    size_t len, back;
    int result = encode(octets, NULL, 0, &len);
    if (result == EHLO_ERR_ARG) return;
    CHECK(result == (octets.len == 0 ? EHLO_OK : EHLO_ERR_SPACE) && len <= bound);
    char *text = room(len), *decoded = room(octets.len);
    CHECK(encode(octets, text, len, &len) == EHLO_OK);
    CHECK(decode(ehlo_str_make(text, len), decoded, octets.len, &back, NULL) == EHLO_OK);
    CHECK(same(octets, decoded, back));
    free(text);
    free(decoded);
}

/* What decodes, decodes to the length foretold; `canonical`: encoding gives the very text again. */
static void check_decode(encoder *encode, decoder *decode, ehlo_str text, int canonical)
{
    size_t len, written, back;
    ehlo_fault fault;
    int result = decode(text, NULL, 0, &len, &fault);
    CHECK(result == EHLO_OK || (result == EHLO_ERR_SYNTAX && len == 0));
    CHECK((result == EHLO_OK) == (fault.rule == EHLO_RULE_NONE) && fault.offset <= text.len);
    if (result < 0) return;
    CHECK(len <= text.len);
    char *octets = room(len), *again = room(3 * len + 4);
    CHECK(decode(text, octets, len, &written, NULL) == EHLO_OK && written == len);
    CHECK(len == 0 || decode(text, octets, len - 1, &written, NULL) == EHLO_ERR_SPACE);
    CHECK(encode(ehlo_str_make(octets, len), again, 3 * len + 4, &back) == EHLO_OK);
    if (canonical) CHECK(same(text, again, back));
    free(octets);
    free(again);
}

/* One character by RFC 3629, by its number: the length, 0 if it is malformed. */
static size_t decode_character(const unsigned char *octets, size_t len)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t count = 0;
    if (octets[0] < 0x80) count = 1;
    if (octets[0] >> 5 == 0x06) count = 2;
    if (octets[0] >> 4 == 0x0E) count = 3;
    if (octets[0] >> 3 == 0x1E) count = 4;
    if (count <= 1) return count;
    if (count > len) return 0;
    uint32_t number = octets[0] & (0x7Fu >> count);
    for (size_t i = 1; i < count; i++) {
        if (octets[i] >> 6 != 2) return 0;
        number = number << 6 | (octets[i] & 0x3Fu);
    }
    if (number < least[count] || number > 0x10FFFF || (number >= 0xD800 && number <= 0xDFFF)) return 0;
    return count;
}

static void check_utf8(const uint8_t *data, size_t size)
{
    size_t at = 0, bad = size;
    for (size_t len; at < size && (len = decode_character(data + at, size - at)) > 0;) at += len;
    int valid = ehlo_utf8_valid(ehlo_str_make((const char *)data, size), &bad);
    CHECK(valid == (at == size) && bad == at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ehlo_str text = ehlo_str_make((const char *)data, size);
    check_encode(ehlo_xtext_encode, ehlo_xtext_decode, text, 3 * size);
    check_encode(ehlo_base64_encode, ehlo_base64_decode, text, 4 * ((size + 2) / 3));
    check_decode(ehlo_xtext_encode, ehlo_xtext_decode, text, 0);
    check_decode(ehlo_base64_encode, ehlo_base64_decode, text, 1);
    check_utf8(data, size);
    return 0;
}
