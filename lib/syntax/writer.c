/* The way out: every command line passes here, and no argument brings a line end of its own. */
#include "writer.h"

#include "chars.h"
#include "printable.h"

/* Not 0 if any of the eight octets is no printable ASCII. The top bit of each place tells: of octets above 127 it is
 * set, of those below 0x20 once 0x20 is taken off, of 0x7F once 1 is added; the lowest such octet always shows, for
 * borrows and carries come from such octets alone. */
static uint64_t scan_octets(const char *octets)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, octets, sizeof(word));
    return (word | (word - 0x20 * ones) | (word + ones)) & 0x80 * ones;
}

/* 1 if all of it is printable ASCII, as nearly all tokens are. The last step may overlap the one before. */
static int is_plain(ehlo_str token)
{
    const size_t step = sizeof(uint64_t);
    if (token.len < step) return 0;
    uint64_t bad = scan_octets(token.ptr + token.len - step);
    for (size_t at = 0; at + step < token.len; at += step) bad |= scan_octets(token.ptr + at);
    return bad == 0;
}

int ehlo_token_check(ehlo_str token, ehlo_fault *fault)
{
    size_t octets;
    if (is_plain(token)) return EHLO_OK;
    for (size_t at = 0; at < token.len; at += octets) {
        const char *next = token.ptr + at;
        octets = *next >= 0x20 && *next < 0x7F ? 1 : ehlo_printable_sequence(next, token.ptr + token.len);
        if (octets > 0) continue;
        int is_utf8 = ehlo_utf8_sequence(next, token.ptr + token.len) > 0;
        *fault = (ehlo_fault){ at, is_utf8 ? EHLO_RULE_CONTROL : EHLO_RULE_UTF8 };
        return EHLO_ERR_ARG;
    }
    return EHLO_OK;
}

/* RFC 5321 4.5.3.1.4: "The maximum total length of a command line including the command word and the <CRLF> is
 * 512 octets. SMTP extensions may be used to increase this limit." */
static size_t line_max(ehlo_verb verb)
{
    if (verb == EHLO_VERB_AUTH) return EHLO_AUTH_LINE_MAX;
    return verb == EHLO_VERB_MAIL || verb == EHLO_VERB_RCPT ? EHLO_LINE_MAX : 512;
}

int ehlo_command_line_write(ehlo_verb verb, ehlo_str argument, char *out, size_t cap, size_t *len, ehlo_fault *fault)
{
    ehlo_str name = ehlo_verb_name(verb);
    size_t space = name.len > 0 && argument.len > 0;
    *len = 0;
    if (ehlo_token_check(argument, fault) < 0) return EHLO_ERR_ARG;
    *len = name.len + space + argument.len + 2;
    if (*len > cap || *len > line_max(verb)) return EHLO_ERR_SPACE;
    ehlo_writer writer = { out, cap, 0 };
    ehlo_writer_put_str(&writer, name);
    ehlo_writer_put(&writer, " ", space);
    ehlo_writer_put_str(&writer, argument);
    ehlo_writer_put(&writer, "\r\n", 2);
    return EHLO_OK;
}
