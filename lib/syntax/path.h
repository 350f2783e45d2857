/* Paths and domains, as parts of larger grammars. */
#ifndef EHLO_SYNTAX_PATH_H
#define EHLO_SYNTAX_PATH_H

#include "cursor.h"

/* In octets: RFC 5321 4.5.3.1.2, RFC 1035 2.3.4. */
enum { EHLO_DOMAIN_MAX = 255, EHLO_LABEL_MAX = 63 };

/* -- scanners --------------------------------------------------------------------------------------- */

/* A scanner reads one production at `at` and returns where it ends; NULL: refused, with the fault noted in the
 * cursor. So the place in the text stays in a register; the cursor itself steps in rare forms only.
 *
 * `end` is the cursor's, or the constant EHLO_FENCED for a first look at a text whose last octet is '>'. No plain
 * name has that one, so the checks for the end fall away; and whatever is not plain, or a fault, is left to a second
 * look: the scanner returns NULL and notes nothing. */
#define EHLO_FENCED ((const char *)NULL)

/* The octet at `at`; -1 at the end. */
static EHLO_ALWAYS_INLINE int ehlo_scan_peek(const char *at, const char *end)
{
    return at == end ? -1 : (unsigned char)*at;
}

/* 1 where the octets of the classes end. */
static EHLO_ALWAYS_INLINE int ehlo_scan_stops(const char *at, const char *end, unsigned classes)
{
    return at == end || !ehlo_char_is(*at, classes);
}

/* Where the octets of the classes end. In steps of four, so that the place is counted up but once for each. */
static EHLO_ALWAYS_INLINE const char *ehlo_scan_chars(const char *at, const char *end, unsigned classes)
{
    for (;; at += 4) {
        if (ehlo_scan_stops(at, end, classes)) return at;
        if (ehlo_scan_stops(at + 1, end, classes)) return at + 1;
        if (ehlo_scan_stops(at + 2, end, classes)) return at + 2;
        if (ehlo_scan_stops(at + 3, end, classes)) return at + 3;
    }
}

/* ehlo_cursor_refuse at `at`, and ehlo_cursor_refuse_at, for scanners: NULL. */
EHLO_COLD const char *ehlo_scan_refuse(ehlo_cursor *cursor, const char *at, ehlo_rule rule);
EHLO_COLD const char *ehlo_scan_refuse_at(ehlo_cursor *cursor, const char *at, ehlo_rule rule);

/* The rest of a label of the domain at `domain`, at an octet that is of no plain one, or where its length or its
 * edges are odd. Empty behind a dot that may end the domain. */
EHLO_COLD const char *ehlo_scan_odd_label(ehlo_cursor *cursor, const char *domain, const char *label, const char *at);

/*     Domain     = sub-domain *("." sub-domain)
 *     sub-domain = Let-dig [Ldh-str]  ; or a U-label, RFC 6531 3.3
 *     Ldh-str    = *( ALPHA / DIGIT / "-" ) Let-dig
 * The length is not checked. No octet below '_' that ends a plain label can be part of another. */
static EHLO_ALWAYS_INLINE const char *ehlo_scan_domain_name(ehlo_cursor *cursor, const char *at, const char *end)
{
    const char *domain = at;
    for (;;) {
        const char *label = at;
        at = ehlo_scan_chars(at, end, EHLO_CHAR_LDH);
        int is_plain = (size_t)(at - label) - 1 < EHLO_LABEL_MAX && *label != '-' && at[-1] != '-';
        if (!is_plain || ehlo_scan_peek(at, end) >= '_') {
            at = end == EHLO_FENCED ? NULL : ehlo_scan_odd_label(cursor, domain, label, at);
            if (at == NULL || at == label) return at;
        }
        if (ehlo_scan_peek(at, end) != '.') return at;
        at++;
    }
}

/*     address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
 * The bracket comes next. octets (16) must be zero before, and are undefined, as *kind is, after a refusal. */
EHLO_COLD const char *ehlo_scan_literal(ehlo_cursor *cursor, const char *at, uint8_t *kind, uint8_t *octets);

/*     ( Domain / address-literal )
 * octets and *kind as above. */
static EHLO_ALWAYS_INLINE const char *ehlo_scan_domain(ehlo_cursor *cursor, const char *at, const char *end,
                                                       uint8_t *kind, uint8_t *octets)
{
    const char *start = at;
    int is_literal = end != EHLO_FENCED && ehlo_scan_peek(at, end) == '[';
    *kind = EHLO_DOMAIN_NAME;
    at = is_literal ? ehlo_scan_literal(cursor, at, kind, octets) : ehlo_scan_domain_name(cursor, at, end);
    if (at == NULL || at - start <= EHLO_DOMAIN_MAX) return at;
    if (end == EHLO_FENCED) return NULL;
    return ehlo_scan_refuse_at(cursor, start + EHLO_DOMAIN_MAX, EHLO_RULE_TOO_LONG_DOMAIN);
}

/* A first look at a mailbox, with '>' behind it: 1 if it is one in plain ASCII, without quotes or a literal, as most
 * are; 0 leaves it to ehlo_mailbox_parse. */
int ehlo_mailbox_is_plain(ehlo_str mailbox);

/* -- steps of the cursor ---------------------------------------------------------------------------- */

/* Steps over a domain or an address literal; octets and *kind as above. */
int ehlo_cursor_domain(ehlo_cursor *cursor, uint8_t *kind, uint8_t *octets);

/* Reads a path at the cursor and steps over it; see ehlo_path_parse. *path is undefined after EHLO_ERR_SYNTAX. */
int ehlo_cursor_path(ehlo_cursor *cursor, size_t path_max, ehlo_path *path);

#endif
