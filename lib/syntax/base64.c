/* base64 (RFC 4648 4), strict. */
#include <ehlo/syntax.h>

#include "chars.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits of a digit, -1 for any other octet. */
static int digit_value(char octet)
{
    if (octet >= 'A' && octet <= 'Z') return octet - 'A';
    if (octet >= 'a' && octet <= 'z') return octet - 'a' + 26;
    if (octet >= '0' && octet <= '9') return octet - '0' + 52;
    return octet == '+' ? 62 : octet == '/' ? 63 : -1;
}

/* How many '=' end the text: 0 to 2. */
static size_t count_padding(ehlo_str text)
{
    size_t count = 0;
    while (count < 2 && count < text.len && text.ptr[text.len - 1 - count] == '=') count++;
    return count;
}

/* RFC 4648 3.3: "Implementations MUST reject the encoded data if it contains characters outside the base
 * alphabet"; 3.5: pad bits "MUST be set to zero". The number of digits before the padding; -1 and *bad if wrong. */
static int check(ehlo_str text, size_t *digits, size_t *bad)
{
    size_t padding = count_padding(text);
    *digits = text.len - padding;
    for (*bad = 0; *bad < *digits; ++*bad) {
        if (digit_value(text.ptr[*bad]) < 0) return EHLO_ERR_SYNTAX;
    }
    *bad = text.len;
    if (text.len % 4 != 0) return EHLO_ERR_SYNTAX;
    if (padding == 0) return EHLO_OK;
    int unused = padding == 1 ? 0x3 : 0xF;
    *bad = *digits - 1;
    return (digit_value(text.ptr[*bad]) & unused) == 0 ? EHLO_OK : EHLO_ERR_SYNTAX;
}

/* Writing never overtakes reading, so that out may be text.ptr. */
static void decode(ehlo_str text, size_t digits, char *out)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < digits; i++) {
        bits = bits << 6 | (uint32_t)digit_value(text.ptr[i]);
        unsigned spare = (unsigned)(i % 4) * 2;
        if (spare > 0) *out++ = (char)(unsigned char)(bits >> (6 - spare) & 0xFF);
    }
}

int ehlo_base64_decode(ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    size_t digits;
    size_t bad;
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    int result = check(text, &digits, &bad);
    *len = result < 0 ? 0 : digits / 4 * 3 + digits % 4 * 6 / 8;
    if (result < 0) found = (ehlo_fault){ bad, EHLO_RULE_BASE64 };
    if (fault != NULL) *fault = found;
    if (result < 0 || out == NULL) return result;
    if (*len > cap) return EHLO_ERR_SPACE;
    decode(text, digits, out);
    return EHLO_OK;
}

/* Three octets become four digits; missing octets are zero bits, and their digits '='. */
static void encode_group(const unsigned char *octets, size_t count, char *out)
{
    uint32_t bits = (uint32_t)octets[0] << 16;
    if (count > 1) bits |= (uint32_t)octets[1] << 8;
    if (count > 2) bits |= octets[2];
    for (size_t i = 0; i < 4; i++) out[i] = i <= count ? alphabet[bits >> (18 - 6 * i) & 63] : '=';
}

int ehlo_base64_encode(ehlo_str octets, char *out, size_t cap, size_t *len)
{
    const unsigned char *from = (const unsigned char *)octets.ptr;
    size_t groups = octets.len / 3 + (octets.len % 3 != 0);
    *len = groups * 4;
    if (groups > SIZE_MAX / 4 || *len > cap) return EHLO_ERR_SPACE;
    for (size_t done = 0; done < octets.len; done += 3, out += 4) {
        encode_group(from + done, octets.len - done < 3 ? octets.len - done : 3, out);
    }
    return EHLO_OK;
}
