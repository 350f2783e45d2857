/* The way out: every command line passes here, and no argument brings a line end of its own. */
#include "writer.h"

#include "chars.h"
#include "printable.h"

int ehlo_token_check(ehlo_str token, ehlo_fault *fault)
{
    size_t octets;
    if (ehlo_chars_are_plain(token)) return EHLO_OK;
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
