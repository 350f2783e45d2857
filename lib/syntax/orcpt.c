/* The address of ORCPT as plain text (RFC 3461 4.2, RFC 6533 3). */
#include "orcpt.h"

#include "chars.h"

/* What HEXPOINT may stand for: what xtext sets apart and a quoted local part may hold, or a code point above
 * ASCII. The control characters of its ABNF are left out, and what ends a line: no mailbox has them. */
static int is_embeddable(uint32_t point)
{
    if (point < 0x80) return point == ' ' || point == '+' || point == '=' || point == '\\';
    if (point < 0xA0 || point == 0x2028 || point == 0x2029) return 0;
    return point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
}

/* RFC 6533 3: EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}", HEXPOINT in upper case without leading zeros.
 * Its length at the start of text; 0 if there is none. */
static size_t read_embedded(ehlo_str text, uint32_t *point)
{
    *point = 0;
    if (text.len < 6 || memcmp(text.ptr, "\\x{", 3) != 0 || text.ptr[3] == '0') return 0;
    size_t at = 3;
    for (; at < text.len && at < 9 && text.ptr[at] != '}'; at++) {
        int digit = ehlo_char_hex(text.ptr[at]);
        if (digit < 0 || (text.ptr[at] >= 'a' && text.ptr[at] <= 'f')) return 0;
        *point = *point << 4 | (uint32_t)digit;
    }
    return at < text.len && text.ptr[at] == '}' && is_embeddable(*point) ? at + 1 : 0;
}

static void put_utf8(ehlo_writer *to, uint32_t point)
{
    char octets[4];
    size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len; i-- > 1; point >>= 6) octets[i] = (char)(0x80 | (point & 0x3F));
    octets[0] = (char)(len == 1 ? point : (0xF00U >> len & 0xF0) | point);
    ehlo_writer_put(to, octets, len);
}

/* QCHAR = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e; what is above ASCII was judged before. */
static int is_qchar(char octet)
{
    return (unsigned char)octet > 0x20 && octet != '+' && octet != '=' && octet != '\\';
}

/* RFC 6533 3:
 *     utf-8-addr-xtext   = 1*(QCHAR / EmbeddedUnicodeChar)
 *     utf-8-addr-unitext = 1*(QUCHAR / EmbeddedUnicodeChar)  ; under SMTPUTF8
 * The octet where it is malformed, or its length. */
static size_t decode_utf8_address(ehlo_str text, ehlo_writer *to)
{
    for (size_t at = 0; at < text.len;) {
        uint32_t point;
        size_t len = read_embedded(ehlo_str_make(text.ptr + at, text.len - at), &point);
        if (len > 0) {
            put_utf8(to, point);
        } else if (is_qchar(text.ptr[at])) {
            len = 1;
            ehlo_writer_put(to, text.ptr + at, len);
        } else {
            return at;
        }
        at += len;
    }
    return text.len;
}

int ehlo_orcpt_decode(ehlo_str type, ehlo_str text, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    static const ehlo_str utf8_type = EHLO_LITERAL("utf-8");
    ehlo_writer to = { out, out != NULL ? cap : 0, 0 };
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    if (!ehlo_chars_equal_nocase(type, utf8_type)) return ehlo_xtext_decode(text, out, cap, len, fault);
    size_t at = ehlo_token_check(text, &found) == EHLO_OK ? decode_utf8_address(text, &to) : found.offset;
    if (at < text.len) found = (ehlo_fault){ at, EHLO_RULE_XTEXT };
    if (fault != NULL) *fault = found;
    *len = at < text.len ? 0 : to.len;
    if (at < text.len) return EHLO_ERR_SYNTAX;
    return out == NULL || to.len <= cap ? EHLO_OK : EHLO_ERR_SPACE;
}

/* The character at *at, which is UTF-8; *at goes behind it. */
static uint32_t take_point(ehlo_str text, size_t *at)
{
    size_t len = ehlo_utf8_sequence(text.ptr + *at, text.ptr + text.len);
    unsigned char lead = (unsigned char)text.ptr[*at];
    uint32_t point = len == 1 ? lead : lead & (0x7FU >> len);
    for (size_t i = 1; i < len; i++) point = point << 6 | ((unsigned char)text.ptr[*at + i] & 0x3F);
    *at += len;
    return point;
}

static void put_embedded(ehlo_writer *to, uint32_t point)
{
    static const char digits[] = "0123456789ABCDEF";
    int shift = 20;
    while (shift > 0 && point >> shift == 0) shift -= 4;
    ehlo_writer_put_text(to, "\\x{");
    for (; shift >= 0; shift -= 4) ehlo_writer_put(to, &digits[point >> shift & 15], 1);
    ehlo_writer_put_text(to, "}");
}

void ehlo_orcpt_put_utf8(ehlo_writer *to, ehlo_str address)
{
    for (size_t at = 0; at < address.len;) {
        const char *octet = address.ptr + at;
        uint32_t point = take_point(address, &at);
        if (point > 0x20 && point < 0x7F && point != '+' && point != '=' && point != '\\') {
            ehlo_writer_put(to, octet, 1);
        } else {
            put_embedded(to, point);
        }
    }
}
