/* Domains and address literals (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3). */
#include <string.h>

#include "address.h"
#include "path.h"

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

const char *ehlo_scan_refuse(ehlo_cursor *cursor, const char *at, ehlo_rule rule)
{
    cursor->at = at;
    ehlo_cursor_refuse(cursor, rule);
    return NULL;
}

const char *ehlo_scan_refuse_at(ehlo_cursor *cursor, const char *at, ehlo_rule rule)
{
    ehlo_cursor_refuse_at(cursor, at, rule);
    return NULL;
}

/* The limit counts characters: a U-label may have more octets than the A-label it stands for (RFC 5890 4.2), but
 * never more characters. */
const char *ehlo_scan_odd_label(ehlo_cursor *cursor, const char *domain, const char *label, const char *at)
{
    cursor->at = at;
    ehlo_cursor_skip(cursor, label_classes(cursor->leniencies));
    at = cursor->at;
    if (at == label) {
        int may_end = label > domain && cursor->leniencies & EHLO_SYNTAX_TRAILING_DOT;
        return may_end ? at : ehlo_scan_refuse(cursor, at, EHLO_RULE_DOMAIN);
    }
    if (*label == '-') return ehlo_scan_refuse_at(cursor, label, EHLO_RULE_DOMAIN);
    if (at[-1] == '-') return ehlo_scan_refuse_at(cursor, at - 1, EHLO_RULE_DOMAIN);
    ehlo_str text = ehlo_cursor_since(cursor, label);
    if (text.len > EHLO_LABEL_MAX && count_characters(text) > EHLO_LABEL_MAX) {
        return ehlo_scan_refuse_at(cursor, label + EHLO_LABEL_MAX, EHLO_RULE_TOO_LONG_DOMAIN);
    }
    return at;
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
const char *ehlo_scan_literal(ehlo_cursor *cursor, const char *at, uint8_t *kind, uint8_t *octets)
{
    const char *content = at + 1;
    const char *close = ehlo_scan_chars(content, cursor->end, EHLO_CHAR_DCONTENT);
    if (ehlo_scan_peek(close, cursor->end) != ']') return ehlo_scan_refuse(cursor, close, EHLO_RULE_LITERAL);
    *kind = (uint8_t)literal_kind(ehlo_str_make(content, (size_t)(close - content)), octets);
    return *kind != EHLO_DOMAIN_NONE ? close + 1 : ehlo_scan_refuse_at(cursor, at, EHLO_RULE_LITERAL);
}

int ehlo_cursor_domain(ehlo_cursor *cursor, uint8_t *kind, uint8_t *octets)
{
    const char *at = ehlo_scan_domain(cursor, cursor->at, cursor->end, kind, octets);
    if (at == NULL) return EHLO_ERR_SYNTAX;
    cursor->at = at;
    return EHLO_OK;
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
