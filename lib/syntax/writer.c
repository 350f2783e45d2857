/* The way out: every command line passes here, and no argument brings a line end of its own. */
#include "writer.h"

#include "printable.h"

int ehlo_token_check_octets(ehlo_str token, ehlo_fault *fault)
{
    size_t octets;
    for (size_t at = 0; at < token.len; at += octets) {
        const char *next = token.ptr + at;
        octets = ehlo_printable_sequence(next, token.ptr + token.len);
        if (octets > 0) continue;
        int is_utf8 = ehlo_utf8_sequence(next, token.ptr + token.len) > 0;
        *fault = (ehlo_fault){ at, is_utf8 ? EHLO_RULE_CONTROL : EHLO_RULE_UTF8 };
        return EHLO_ERR_ARG;
    }
    return EHLO_OK;
}
