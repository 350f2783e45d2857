/* Command lines (RFC 5321 4.1.1). */
#include <string.h>

#include "cursor.h"

/* clang-format off */
static const ehlo_str names[EHLO_VERB_COUNT] = {
    [EHLO_VERB_UNKNOWN] = EHLO_LITERAL(""),
    [EHLO_VERB_EHLO] = EHLO_LITERAL("EHLO"),
    [EHLO_VERB_HELO] = EHLO_LITERAL("HELO"),
    [EHLO_VERB_LHLO] = EHLO_LITERAL("LHLO"),
    [EHLO_VERB_MAIL] = EHLO_LITERAL("MAIL"),
    [EHLO_VERB_RCPT] = EHLO_LITERAL("RCPT"),
    [EHLO_VERB_DATA] = EHLO_LITERAL("DATA"),
    [EHLO_VERB_BDAT] = EHLO_LITERAL("BDAT"),
    [EHLO_VERB_RSET] = EHLO_LITERAL("RSET"),
    [EHLO_VERB_NOOP] = EHLO_LITERAL("NOOP"),
    [EHLO_VERB_QUIT] = EHLO_LITERAL("QUIT"),
    [EHLO_VERB_HELP] = EHLO_LITERAL("HELP"),
    [EHLO_VERB_VRFY] = EHLO_LITERAL("VRFY"),
    [EHLO_VERB_EXPN] = EHLO_LITERAL("EXPN"),
    [EHLO_VERB_VERB] = EHLO_LITERAL("VERB"),
    [EHLO_VERB_ETRN] = EHLO_LITERAL("ETRN"),
    [EHLO_VERB_STARTTLS] = EHLO_LITERAL("STARTTLS"),
    [EHLO_VERB_AUTH] = EHLO_LITERAL("AUTH"),
    [EHLO_VERB_XCLIENT] = EHLO_LITERAL("XCLIENT"),
    [EHLO_VERB_TURN] = EHLO_LITERAL("TURN"),
    [EHLO_VERB_SEND] = EHLO_LITERAL("SEND"),
    [EHLO_VERB_SOML] = EHLO_LITERAL("SOML"),
    [EHLO_VERB_SAML] = EHLO_LITERAL("SAML"),
};
/* clang-format on */

ehlo_str ehlo_verb_name(ehlo_verb verb)
{
    return (unsigned)verb < EHLO_VERB_COUNT ? names[verb] : names[EHLO_VERB_UNKNOWN];
}

/* Four letters as a number, so that a verb is found by one comparison. */
#define FOUR(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* Without bit 5 a letter is in upper case, and nothing but a letter becomes one. */
static uint32_t first_four(const char *name)
{
    return FOUR((unsigned char)name[0], (unsigned char)name[1], (unsigned char)name[2], (unsigned char)name[3]) &
           0xDFDFDFDFU;
}

/* clang-format off */
/* The verb that begins so; the four letters are all of it but for STARTTLS and XCLIENT. */
static ehlo_verb verb_of(uint32_t four)
{
    switch (four) {
    case FOUR('E', 'H', 'L', 'O'): return EHLO_VERB_EHLO;
    case FOUR('H', 'E', 'L', 'O'): return EHLO_VERB_HELO;
    case FOUR('L', 'H', 'L', 'O'): return EHLO_VERB_LHLO;
    case FOUR('M', 'A', 'I', 'L'): return EHLO_VERB_MAIL;
    case FOUR('R', 'C', 'P', 'T'): return EHLO_VERB_RCPT;
    case FOUR('D', 'A', 'T', 'A'): return EHLO_VERB_DATA;
    case FOUR('B', 'D', 'A', 'T'): return EHLO_VERB_BDAT;
    case FOUR('R', 'S', 'E', 'T'): return EHLO_VERB_RSET;
    case FOUR('N', 'O', 'O', 'P'): return EHLO_VERB_NOOP;
    case FOUR('Q', 'U', 'I', 'T'): return EHLO_VERB_QUIT;
    case FOUR('H', 'E', 'L', 'P'): return EHLO_VERB_HELP;
    case FOUR('V', 'R', 'F', 'Y'): return EHLO_VERB_VRFY;
    case FOUR('E', 'X', 'P', 'N'): return EHLO_VERB_EXPN;
    case FOUR('V', 'E', 'R', 'B'): return EHLO_VERB_VERB;
    case FOUR('E', 'T', 'R', 'N'): return EHLO_VERB_ETRN;
    case FOUR('S', 'T', 'A', 'R'): return EHLO_VERB_STARTTLS;
    case FOUR('A', 'U', 'T', 'H'): return EHLO_VERB_AUTH;
    case FOUR('X', 'C', 'L', 'I'): return EHLO_VERB_XCLIENT;
    case FOUR('T', 'U', 'R', 'N'): return EHLO_VERB_TURN;
    case FOUR('S', 'E', 'N', 'D'): return EHLO_VERB_SEND;
    case FOUR('S', 'O', 'M', 'L'): return EHLO_VERB_SOML;
    case FOUR('S', 'A', 'M', 'L'): return EHLO_VERB_SAML;
    default: return EHLO_VERB_UNKNOWN;
    }
}
/* clang-format on */

/* RFC 5321 2.4: "Verbs and argument values [...] are not case sensitive". */
static ehlo_verb find_verb(ehlo_str name)
{
    ehlo_verb verb = name.len >= 4 ? verb_of(first_four(name.ptr)) : EHLO_VERB_UNKNOWN;
    if (name.len == 4 && names[verb].len == 4) return verb;
    return ehlo_chars_equal_nocase(names[verb], name) ? verb : EHLO_VERB_UNKNOWN;
}

/* RFC 5321 4.1.1: "receivers SHOULD tolerate trailing white space before the terminating <CRLF>". */
static const char *trim_end(const char *start, const char *end)
{
    while (end > start && (end[-1] == ' ' || end[-1] == '\t')) end--;
    return end;
}

int ehlo_command_parse(ehlo_str line, ehlo_command_line *out, ehlo_fault *fault)
{
    ehlo_cursor cursor = ehlo_cursor_make(line, 0);
    memset(out, 0, sizeof(*out));
    cursor.at = cursor.start + ehlo_chars_find_control(line);
    if (ehlo_cursor_more(&cursor)) {
        return ehlo_cursor_result(&cursor, ehlo_cursor_refuse(&cursor, EHLO_RULE_CONTROL), fault);
    }
    cursor.at = cursor.start;
    ehlo_cursor_skip(&cursor, EHLO_CHAR_LDH);
    ehlo_str name = ehlo_cursor_since(&cursor, cursor.start);
    const char *end = trim_end(cursor.at, cursor.end);
    if (name.len == 0 || (cursor.at < end && *cursor.at != ' ')) {
        return ehlo_cursor_result(&cursor, ehlo_cursor_refuse_at(&cursor, cursor.at, EHLO_RULE_COMMAND), fault);
    }
    out->verb = find_verb(name);
    out->name = name;
    if (ehlo_cursor_take(&cursor, ' ')) {
        out->argument = ehlo_str_make(cursor.at, end > cursor.at ? (size_t)(end - cursor.at) : 0);
    }
    return ehlo_cursor_result(&cursor, EHLO_OK, fault);
}
