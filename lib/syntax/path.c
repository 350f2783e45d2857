/* Paths and mailboxes (RFC 5321 4.1.2; RFC 6531 3.3). */
#include "path.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* In octets; RFC 5321 4.5.3.1.1, and as long as mailbox and brackets can get. */
enum { LOCAL_PART_MAX = 64, PATH_MAX_DEFAULT = 322 };

static const ehlo_str postmaster = EHLO_LITERAL("postmaster");

/* -- local part ------------------------------------------------------------------------------------- */

/* The view between two places. */
static inline ehlo_str between(const char *from, const char *to)
{
    return ehlo_str_make(from, (size_t)(to - from));
}

/* The rest of an atom at an octet that is not atext. */
EHLO_COLD static const char *scan_odd_atom(ehlo_cursor *cursor, const char *atom, const char *at)
{
    cursor->at = at;
    ehlo_cursor_skip(cursor, EHLO_CHAR_ATEXT);
    return cursor->at > atom ? cursor->at : ehlo_scan_refuse(cursor, atom, EHLO_RULE_LOCAL_PART);
}

/*     Dot-string = Atom *("."  Atom)
 *     Atom       = 1*atext */
static EHLO_ALWAYS_INLINE const char *scan_dot_string(ehlo_cursor *cursor, const char *at, const char *end)
{
    for (;;) {
        const char *atom = at;
        at = ehlo_scan_chars(at, end, EHLO_CHAR_ATEXT);
        if (at == atom || ehlo_scan_peek(at, end) > 0x7F) {
            at = end == EHLO_FENCED ? NULL : scan_odd_atom(cursor, atom, at);
            if (at == NULL) return NULL;
        }
        if (ehlo_scan_peek(at, end) != '.') return at;
        at++;
    }
}

static const char *scan_quoted_string(ehlo_cursor *cursor, const char *at)
{
    cursor->at = at;
    return ehlo_cursor_quoted_string(cursor) == EHLO_OK ? cursor->at : NULL;
}

/*     Local-part = Dot-string / Quoted-string */
static EHLO_ALWAYS_INLINE const char *scan_local_part(ehlo_cursor *cursor, const char *at, const char *end,
                                                      ehlo_path *path)
{
    const char *start = at;
    int is_quoted = end != EHLO_FENCED && ehlo_scan_peek(at, end) == '"';
    path->quoted = (uint8_t)is_quoted;
    at = is_quoted ? scan_quoted_string(cursor, at) : scan_dot_string(cursor, at, end);
    if (at == NULL) return NULL;
    path->local_part = between(start, at);
    if (at - start <= LOCAL_PART_MAX) return at;
    if (end == EHLO_FENCED) return NULL;
    if (cursor->leniencies & EHLO_SYNTAX_LONG_LOCAL) return at;
    return ehlo_scan_refuse_at(cursor, start + LOCAL_PART_MAX, EHLO_RULE_TOO_LONG_LOCAL);
}

/* -- mailbox ---------------------------------------------------------------------------------------- */

/* What stands around a mailbox. */
typedef enum frame { ALONE, BARE, BRACKETED } frame;

/* 1 where a path may end, with this octet or the end next: at '>', or without brackets at SP or the end. */
static int is_path_end(int next, frame around)
{
    return around == BRACKETED ? next == '>' : next < 0 || next == ' ';
}

/* RFC 5321 4.1.1.3: RCPT takes "<Postmaster>" without a domain, in any case. Any other is refused. */
EHLO_COLD static const char *scan_no_domain(ehlo_cursor *cursor, const char *at, frame around, ehlo_path *path)
{
    int next = ehlo_scan_peek(at, cursor->end);
    path->domain = ehlo_str_make(NULL, 0);
    path->domain_kind = EHLO_DOMAIN_NONE;
    int may_be_postmaster = around != ALONE && is_path_end(next, around);
    if (may_be_postmaster && ehlo_chars_equal_nocase(path->local_part, postmaster)) return at;
    return ehlo_scan_refuse(cursor, at, next < 0 || next == '>' ? EHLO_RULE_AT : EHLO_RULE_LOCAL_PART);
}

/*     Mailbox = Local-part "@" ( Domain / address-literal )
 * or, inside a path, "Postmaster". */
static EHLO_ALWAYS_INLINE const char *scan_mailbox(ehlo_cursor *cursor, const char *at, const char *end, frame around,
                                                   ehlo_path *path)
{
    const char *start = at;
    memset(path->octets, 0, sizeof(path->octets));
    at = scan_local_part(cursor, at, end, path);
    if (at == NULL) return NULL;
    if (ehlo_scan_peek(at, end) == '@') {
        const char *domain = at + 1;
        at = ehlo_scan_domain(cursor, domain, end, &path->domain_kind, path->octets);
        if (at == NULL) return NULL;
        path->domain = between(domain, at);
    } else {
        at = end == EHLO_FENCED ? NULL : scan_no_domain(cursor, at, around, path);
        if (at == NULL) return NULL;
    }
    path->mailbox = between(start, at);
    return at;
}

/* scan_mailbox, of any form. */
static const char *scan_any_mailbox(ehlo_cursor *cursor, const char *at, frame around, ehlo_path *path)
{
    return scan_mailbox(cursor, at, cursor->end, around, path);
}

#if defined(__SSE2__)
enum { STEP = sizeof(__m128i) };

/* Where 16 octets hold what: a bit for each, the first in the lowest. */
typedef struct shape {
    uint32_t let_dig;
    uint32_t dots;
    uint32_t ats;
} shape;

static EHLO_ALWAYS_INLINE uint32_t bits_where(__m128i octets, __m128i equal)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(octets, equal));
}

static EHLO_ALWAYS_INLINE shape shape_of(const char *at)
{
    const __m128i case_bits = _mm_set1_epi8('a' ^ 'A');
    __m128i octets = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i above_a = _mm_sub_epi8(_mm_or_si128(octets, case_bits), _mm_set1_epi8('a'));
    __m128i above_0 = _mm_sub_epi8(octets, _mm_set1_epi8('0'));
    __m128i no_letter = _mm_subs_epu8(above_a, _mm_set1_epi8('z' - 'a'));
    __m128i no_digit = _mm_subs_epu8(above_0, _mm_set1_epi8('9' - '0'));
    return (shape){ bits_where(_mm_min_epu8(no_letter, no_digit), _mm_setzero_si128()),
                    bits_where(octets, _mm_set1_epi8('.')), bits_where(octets, _mm_set1_epi8('@')) };
}

/* Of letters and digits, with single dots or one '@' between them: so simple a mailbox needs no scan, and has no part
 * that is too long. The second look overlaps the first. */
static int is_simple_mailbox(ehlo_str mailbox)
{
    if (mailbox.len < STEP || mailbox.len > 2 * STEP) return 0;
    unsigned rest = (unsigned)mailbox.len - STEP;
    shape front = shape_of(mailbox.ptr), back = shape_of(mailbox.ptr + rest);
    uint32_t ats = front.ats | back.ats << rest;
    uint32_t separators = ats | front.dots | back.dots << rest;
    uint32_t all = UINT32_MAX >> (STEP - rest);
    if ((front.let_dig | back.let_dig << rest | separators) != all) return 0;
    if (ats == 0 || (ats & (ats - 1)) != 0) return 0;
    return (separators & (separators << 1 | 1)) == 0 && separators <= all >> 1;
}
#else
static int is_simple_mailbox(ehlo_str mailbox)
{
    (void)mailbox;
    return 0;
}
#endif

int ehlo_mailbox_is_plain(ehlo_str mailbox)
{
    ehlo_path path;
    if (is_simple_mailbox(mailbox)) return 1;
    return scan_mailbox(NULL, mailbox.ptr, EHLO_FENCED, ALONE, &path) == mailbox.ptr + mailbox.len;
}

/* -- path ------------------------------------------------------------------------------------------- */

/* RFC 5321 4.1.2; appendix C: to be accepted and ignored.
 *     A-d-l     = At-domain *( "," At-domain )
 *     At-domain = "@" Domain
 * with the ":" behind it. */
EHLO_COLD static const char *scan_route(ehlo_cursor *cursor, const char *at, ehlo_path *path)
{
    const char *start = at;
    const char *end = cursor->end;
    for (;; at++) {
        if (ehlo_scan_peek(at, end) != '@') return ehlo_scan_refuse(cursor, at, EHLO_RULE_ROUTE);
        at = ehlo_scan_domain_name(cursor, at + 1, end);
        if (at == NULL) return NULL;
        if (ehlo_scan_peek(at, end) != ',') break;
    }
    path->route = between(start, at);
    return ehlo_scan_peek(at, end) == ':' ? at + 1 : ehlo_scan_refuse(cursor, at, EHLO_RULE_ROUTE);
}

/*     Path         = "<" [ A-d-l ":" ] Mailbox ">"
 *     Reverse-path = Path / "<>" */
static const char *scan_bracketed(ehlo_cursor *cursor, const char *at, ehlo_path *path)
{
    int next = ehlo_scan_peek(++at, cursor->end);
    if (next == '>') return at + 1;
    if (next == '@') at = scan_route(cursor, at, path);
    if (at != NULL) at = scan_any_mailbox(cursor, at, BRACKETED, path);
    if (at == NULL) return NULL;
    next = ehlo_scan_peek(at, cursor->end);
    if (next == '>') return at + 1;
    return ehlo_scan_refuse(cursor, at, next < 0 ? EHLO_RULE_BRACKET : EHLO_RULE_DOMAIN);
}

/* The first look at a path, in brackets and at the end of the text, as most are. */
static EHLO_ALWAYS_INLINE const char *scan_plain(const char *at, const char *end, ehlo_path *path)
{
    if (at == end || *at != '<' || end[-1] != '>') return NULL;
    at = scan_mailbox(NULL, at + 1, EHLO_FENCED, BRACKETED, path);
    return at != NULL && *at == '>' ? at + 1 : NULL;
}

/* A mailbox without brackets, which many programs write. */
static const char *scan_bare(ehlo_cursor *cursor, const char *at, ehlo_path *path)
{
    int is_allowed = cursor->leniencies & EHLO_SYNTAX_BARE_PATH && at < cursor->end;
    if (!is_allowed) return ehlo_scan_refuse(cursor, at, EHLO_RULE_BRACKET);
    at = scan_any_mailbox(cursor, at, BARE, path);
    if (at == NULL) return NULL;
    int next = ehlo_scan_peek(at, cursor->end);
    if (is_path_end(next, BARE)) return at;
    return ehlo_scan_refuse(cursor, at, next == '>' ? EHLO_RULE_BRACKET : EHLO_RULE_DOMAIN);
}

/* The members that are of the path as a whole, and its length; *route is known. */
static EHLO_ALWAYS_INLINE int finish_path(ehlo_cursor *cursor, const char *at, size_t path_max, ehlo_path *path)
{
    const char *start = cursor->at;
    size_t route = path->route.len > 0 ? path->route.len + 1 : 0;
    size_t limit = path_max > 0 ? path_max : PATH_MAX_DEFAULT;
    path->text = between(start, at);
    cursor->at = at;
    if (path->text.len - route <= limit) return EHLO_OK;
    return ehlo_cursor_refuse_at(cursor, start + route + limit, EHLO_RULE_TOO_LONG_PATH);
}

/* The second look. */
EHLO_COLD static int scan_any_path(ehlo_cursor *cursor, size_t path_max, ehlo_path *path)
{
    const char *start = cursor->at;
    memset(path, 0, sizeof(*path));
    int is_bracketed = ehlo_scan_peek(start, cursor->end) == '<';
    const char *at = is_bracketed ? scan_bracketed(cursor, start, path) : scan_bare(cursor, start, path);
    if (at == NULL) return EHLO_ERR_SYNTAX;
    cursor->at = start;
    path->utf8 = (uint8_t)cursor->utf8;
    return finish_path(cursor, at, path_max, path);
}

int ehlo_cursor_path(ehlo_cursor *cursor, size_t path_max, ehlo_path *path)
{
    const char *at = scan_plain(cursor->at, cursor->end, path);
    if (at == NULL) return scan_any_path(cursor, path_max, path);
    path->route = ehlo_str_make(NULL, 0);
    path->utf8 = 0;
    return finish_path(cursor, at, path_max, path);
}

int ehlo_path_parse(ehlo_str text, unsigned leniencies, size_t path_max, ehlo_path *path, size_t *used,
                    ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, leniencies);
    memset(path, 0, sizeof(*path));
    int result = ehlo_cursor_path(&cursor, path_max, path);
    if (result < 0) memset(path, 0, sizeof(*path));
    if (used != NULL) *used = path->text.len;
    return ehlo_cursor_result(&cursor, result, fault);
}

int ehlo_mailbox_parse(ehlo_str text, unsigned leniencies, ehlo_path *path, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, leniencies);
    memset(path, 0, sizeof(*path));
    const char *at = scan_any_mailbox(&cursor, cursor.at, ALONE, path);
    if (at != NULL && at < cursor.end) at = ehlo_scan_refuse(&cursor, at, EHLO_RULE_DOMAIN);
    path->text = path->mailbox;
    path->utf8 = (uint8_t)cursor.utf8;
    if (at == NULL) memset(path, 0, sizeof(*path));
    return ehlo_cursor_result(&cursor, at != NULL ? EHLO_OK : EHLO_ERR_SYNTAX, fault);
}
