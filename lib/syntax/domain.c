/* Domains and address literals (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3). */
#include <string.h>

#include "address.h"
#include "path.h"

/* In octets: RFC 5321 4.5.3.1.2, RFC 1035 2.3.4. */
enum { DOMAIN_MAX = 255, LABEL_MAX = 63 };

/* The number of characters in well-formed UTF-8: every octet but the continuations. */
static size_t count_characters(ehlo_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) count += ((unsigned char)text.ptr[i] & 0xC0) != 0x80;
    return count;
}

static unsigned label_classes(unsigned leniencies)
{
    return leniencies & EHLO_SYNTAX_UNDERSCORE ? EHLO_CHAR_LDH | EHLO_CHAR_UNDERSCORE : EHLO_CHAR_LDH;
}

/*     sub-domain = Let-dig [Ldh-str]  ; or a U-label, RFC 6531 3.3
 *     Ldh-str    = *( ALPHA / DIGIT / "-" ) Let-dig
 * The limit counts characters: a U-label may have more octets than the A-label it stands for (RFC 5890 4.2),
 * but never more characters. */
static int scan_sub_domain(ehlo_cursor *cursor)
{
    const char *start = cursor->at;
    ehlo_cursor_skip(cursor, label_classes(cursor->leniencies));
    ehlo_str label = ehlo_cursor_since(cursor, start);
    if (label.len == 0) return ehlo_cursor_refuse(cursor, EHLO_RULE_DOMAIN);
    if (*start == '-') return ehlo_cursor_refuse_at(cursor, start, EHLO_RULE_DOMAIN);
    if (cursor->at[-1] == '-') return ehlo_cursor_refuse_at(cursor, cursor->at - 1, EHLO_RULE_DOMAIN);
    if (label.len > LABEL_MAX && count_characters(label) > LABEL_MAX) {
        return ehlo_cursor_refuse_at(cursor, start + LABEL_MAX, EHLO_RULE_TOO_LONG_DOMAIN);
    }
    return EHLO_OK;
}

/* 1 if the dot just taken may end the domain, and what follows it is no label. */
static int is_trailing_dot(const ehlo_cursor *cursor)
{
    if (!(cursor->leniencies & EHLO_SYNTAX_TRAILING_DOT)) return 0;
    ehlo_cursor ahead = *cursor;
    ehlo_cursor_skip(&ahead, label_classes(cursor->leniencies));
    return ahead.at == cursor->at;
}

/*     Domain = sub-domain *("." sub-domain) */
int ehlo_cursor_domain_name(ehlo_cursor *cursor)
{
    do {
        int result = scan_sub_domain(cursor);
        if (result < 0) return result;
    } while (ehlo_cursor_take(cursor, '.') && !is_trailing_dot(cursor));
    return EHLO_OK;
}

/*     General-address-literal = Standardized-tag ":" 1*dcontent
 *     Standardized-tag        = Ldh-str */
static int is_general_literal(ehlo_str content)
{
    size_t tag = 0;
    while (tag < content.len && ehlo_char_is(content.ptr[tag], EHLO_CHAR_LDH)) tag++;
    return tag > 0 && content.ptr[tag - 1] != '-' && tag + 1 < content.len && content.ptr[tag] == ':';
}

/*     IPv6-address-literal = "IPv6:" IPv6-addr
 * The tag of an IPv6 literal must not fall through to the general form. */
static ehlo_domain_kind literal_kind(ehlo_str content, uint8_t *octets)
{
    static const ehlo_str ipv6 = EHLO_LITERAL("IPv6:");
    if (ehlo_chars_start_nocase(content, ipv6)) {
        ehlo_str address = ehlo_str_make(content.ptr + ipv6.len, content.len - ipv6.len);
        return ehlo_ipv6_parse(address, octets) ? EHLO_DOMAIN_IPV6 : EHLO_DOMAIN_NONE;
    }
    if (ehlo_ipv4_parse(content, octets)) return EHLO_DOMAIN_IPV4;
    memset(octets, 0, 4);
    return is_general_literal(content) ? EHLO_DOMAIN_GENERAL : EHLO_DOMAIN_NONE;
}

/*     address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]" */
static int scan_literal(ehlo_cursor *cursor, uint8_t *kind, uint8_t *octets)
{
    const char *start = cursor->at++;
    while (ehlo_cursor_more(cursor) && ehlo_char_is(*cursor->at, EHLO_CHAR_DCONTENT)) cursor->at++;
    ehlo_str content = ehlo_cursor_since(cursor, start + 1);
    if (!ehlo_cursor_take(cursor, ']')) return ehlo_cursor_refuse(cursor, EHLO_RULE_LITERAL);
    *kind = (uint8_t)literal_kind(content, octets);
    return *kind != EHLO_DOMAIN_NONE ? EHLO_OK : ehlo_cursor_refuse_at(cursor, start, EHLO_RULE_LITERAL);
}

/*     ( Domain / address-literal ) */
int ehlo_cursor_domain(ehlo_cursor *cursor, uint8_t *kind, uint8_t *octets)
{
    const char *start = cursor->at;
    int result;
    if (ehlo_cursor_next_is(cursor, '[')) {
        result = scan_literal(cursor, kind, octets);
    } else {
        *kind = EHLO_DOMAIN_NAME;
        result = ehlo_cursor_domain_name(cursor);
    }
    if (result == EHLO_OK && cursor->at - start > DOMAIN_MAX) {
        return ehlo_cursor_refuse_at(cursor, start + DOMAIN_MAX, EHLO_RULE_TOO_LONG_DOMAIN);
    }
    return result;
}

int ehlo_domain_parse(ehlo_str text, unsigned leniencies, ehlo_domain_kind *kind, uint8_t *octets, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, leniencies);
    uint8_t found = EHLO_DOMAIN_NONE;
    uint8_t address[16] = { 0 };
    int result = ehlo_cursor_domain(&cursor, &found, address);
    if (result == EHLO_OK && ehlo_cursor_more(&cursor)) result = ehlo_cursor_refuse(&cursor, EHLO_RULE_DOMAIN);
    if (result < 0) {
        found = EHLO_DOMAIN_NONE;
        memset(address, 0, sizeof(address));
    }
    if (kind != NULL) *kind = (ehlo_domain_kind)found;
    if (octets != NULL) memcpy(octets, address, sizeof(address));
    return ehlo_cursor_result(&cursor, result, fault);
}

int ehlo_domain_equal(ehlo_str a, ehlo_str b)
{
    return ehlo_chars_equal_nocase(a, b);
}
