/* UTF-8 (RFC 3629). */
#include <ehlo/syntax.h>

#include "chars.h"

/* RFC 3629 4:
 *     UTF8-2 = %xC2-DF UTF8-tail
 *     UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) / %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
 *     UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) / %xF4 %x80-8F 2( UTF8-tail )
 * The narrower second octets shut out overlong forms, surrogates and what lies above U+10FFFF. */
size_t ehlo_utf8_sequence(const char *at, const char *end)
{
    if (at == end) return 0;
    const unsigned char *octet = (const unsigned char *)at;
    unsigned lead = octet[0];
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    size_t len = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if ((size_t)(end - at) < len) return 0;
    unsigned lowest = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned highest = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (octet[1] < lowest || octet[1] > highest) return 0;
    for (size_t i = 2; i < len; i++) {
        if ((octet[i] & 0xC0) != 0x80) return 0;
    }
    return len;
}

int ehlo_utf8_valid(ehlo_str text, size_t *bad)
{
    size_t at = 0;
    while (at < text.len) {
        size_t len = ehlo_utf8_sequence(text.ptr + at, text.ptr + text.len);
        if (len == 0) break;
        at += len;
    }
    if (at == text.len) return 1;
    if (bad != NULL) *bad = at;
    return 0;
}
