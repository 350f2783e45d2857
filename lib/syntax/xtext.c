/* xtext (RFC 3461 4). */
#include <ehlo/syntax.h>

#include <string.h>

#include "chars.h"

static int is_upper_hex(char octet)
{
    return ehlo_char_is_digit(octet) || (octet >= 'A' && octet <= 'F');
}

/* No xtext may smuggle a line end or a NUL into what is made of it later. */
static int is_forbidden(int octet)
{
    return octet == '\r' || octet == '\n' || octet == '\0';
}

/* Takes one octet off text at *at: its value, -1 if it is malformed.
 *     xtext   = *( xchar / hexchar )
 *     xchar   = any ASCII CHAR between "!" (33) and "~" (126) inclusive, except for "+" and "=".
 *     hexchar = "+" immediately followed by two upper case hexadecimal digits */
static int next_octet(ehlo_str text, size_t *at)
{
    char octet = text.ptr[*at];
    if (octet != '+') {
        if (!ehlo_char_is(octet, EHLO_CHAR_VALUE)) return -1;
        ++*at;
        return octet;
    }
    if (text.len - *at < 3 || !is_upper_hex(text.ptr[*at + 1]) || !is_upper_hex(text.ptr[*at + 2])) return -1;
    int value = ehlo_char_hex(text.ptr[*at + 1]) << 4 | ehlo_char_hex(text.ptr[*at + 2]);
    if (is_forbidden(value)) return -1;
    *at += 3;
    return value;
}

/* EHLO_ERR_SYNTAX: *at is where. Otherwise *len is how much it decodes to. */
static int check(ehlo_str text, size_t *at, size_t *len)
{
    *len = 0;
    for (*at = 0; *at < text.len; ++*len) {
        if (next_octet(text, at) < 0) return EHLO_ERR_SYNTAX;
    }
    return EHLO_OK;
}

int ehlo_xtext_decode(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    size_t at;
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    int result = check(text, &at, len);
    if (result < 0) {
        found = (ehlo_fault){ at, EHLO_RULE_XTEXT };
        *len = 0;
    }
    if (fault != NULL) *fault = found;
    if (result < 0 || out == NULL) return result;
    if (*len > cap) return EHLO_ERR_SPACE;
    for (at = 0; at < text.len;) *out++ = (char)next_octet(text, &at);
    return EHLO_OK;
}

static int is_xchar(char octet)
{
    return octet != '+' && ehlo_char_is(octet, EHLO_CHAR_VALUE);
}

int ehlo_xtext_encode(ehlo_str octets, char *out, size_t cap, size_t *len)
{
    static const char digits[] = "0123456789ABCDEF";
    *len = 0;
    for (size_t i = 0; i < octets.len; i++) {
        if (is_forbidden(octets.ptr[i])) {
            *len = 0;
            return EHLO_ERR_ARG;
        }
        *len += is_xchar(octets.ptr[i]) ? 1 : 3;
    }
    if (*len > cap) return EHLO_ERR_SPACE;
    for (size_t i = 0; i < octets.len; i++) {
        unsigned octet = (unsigned char)octets.ptr[i];
        if (is_xchar(octets.ptr[i])) {
            *out++ = octets.ptr[i];
        } else {
            *out++ = '+';
            *out++ = digits[octet >> 4];
            *out++ = digits[octet & 15];
        }
    }
    return EHLO_OK;
}
