/* Command lines (RFC 5321 4.1.1). */
#include <string.h>

#include <ehlo/syntax.h>

#include "chars.h"
#include "plain.h"

/* -- verbs ------------------------------------------------------------------------------------------ */

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

/* RFC 5321 2.4: "Verbs and argument values [...] are not case sensitive". Without bit 5 a letter is in upper case,
 * and nothing but a letter becomes one. */
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

/* What the line starts with, as far as a verb may reach. */
EHLO_COLD static ehlo_str leading_name(ehlo_str line)
{
    size_t len = 0;
    while (len < line.len && ehlo_char_is(line.ptr[len], EHLO_CHAR_LDH)) len++;
    return ehlo_str_make(line.ptr, len);
}

/* RFC 5321 4.1.1: "receivers SHOULD tolerate trailing white space before the terminating <CRLF>". */
static size_t trimmed_length(ehlo_str line)
{
    size_t len = line.len;
    while (len > 0 && (line.ptr[len - 1] == ' ' || line.ptr[len - 1] == '\t')) len--;
    return len;
}

/* What lies between two offsets of the line; empty where the second is not behind the first. */
static ehlo_str behind(ehlo_str line, size_t from, size_t to)
{
    return ehlo_str_make(line.ptr + from, to > from ? to - from : 0);
}

EHLO_COLD static int refuse(size_t offset, ehlo_rule rule, ehlo_command_line *out, ehlo_fault *fault)
{
    memset(out, 0, sizeof(*out));
    if (fault != NULL) *fault = (ehlo_fault){ offset, rule };
    return EHLO_ERR_SYNTAX;
}

/* The line taken apart behind a name of that length. */
static EHLO_ALWAYS_INLINE int take_apart(ehlo_str line, ehlo_verb verb, size_t name, ehlo_command_line *out,
                                         ehlo_fault *fault)
{
    size_t end = trimmed_length(line);
    int has_space = name < line.len && line.ptr[name] == ' ';
    if (name == 0 || (name < end && !has_space)) return refuse(name, EHLO_RULE_COMMAND, out, fault);
    out->verb = verb;
    out->name = ehlo_str_make(line.ptr, name);
    out->argument = has_space ? behind(line, name + 1, end) : ehlo_str_make(NULL, 0);
    if (fault != NULL) *fault = (ehlo_fault){ 0, EHLO_RULE_NONE };
    return EHLO_OK;
}

/* A line whose name is not known at a glance. */
EHLO_COLD static int parse_odd(ehlo_str line, ehlo_verb verb, ehlo_command_line *out, ehlo_fault *fault)
{
    ehlo_str name = leading_name(line);
    if (!ehlo_chars_equal_nocase(names[verb], name)) verb = EHLO_VERB_UNKNOWN;
    return take_apart(line, verb, name.len, out, fault);
}

/* The offset of the first control octet other than HT; line.len if there is none, as in UTF-8. */
EHLO_COLD static size_t find_control(ehlo_str line)
{
    size_t at = 0;
    while (at < line.len && (!ehlo_char_is_control(line.ptr[at]) || line.ptr[at] == '\t')) at++;
    return at;
}

int ehlo_command_parse(ehlo_str line, ehlo_command_line *out, ehlo_fault *fault)
{
    if (!ehlo_chars_are_plain(line)) {
        size_t control = find_control(line);
        if (control < line.len) return refuse(control, EHLO_RULE_CONTROL, out, fault);
    }
    ehlo_verb verb = line.len >= 4 ? verb_of(first_four(line.ptr)) : EHLO_VERB_UNKNOWN;
    int is_four = names[verb].len == 4 && (line.len == 4 || line.ptr[4] == ' ');
    return is_four ? take_apart(line, verb, 4, out, fault) : parse_odd(line, verb, out, fault);
}
