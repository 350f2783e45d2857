/* Replies of a server (RFC 5321 4.2, RFC 3463). */
#include "reply_read.h"

#include <string.h>

#include "cursor.h"
#include "plain.h"
#include "printable.h"

/* -- lines ------------------------------------------------------------------------------------------ */

int ehlo_reply_line_parse(ehlo_str line, ehlo_reply_line *out, ehlo_fault *fault)
{
    ehlo_fault found = { 0, EHLO_RULE_NONE };
    size_t wrong;
    int result = EHLO_OK;
    if (!ehlo_scan_reply_line(line, EHLO_NO_FENCE, out, &wrong)) {
        memset(out, 0, sizeof(*out));
        found = (ehlo_fault){ wrong, EHLO_RULE_REPLY };
        result = EHLO_ERR_SYNTAX;
    }
    if (fault != NULL) *fault = found;
    return result;
}

/* -- enhanced codes --------------------------------------------------------------------------------- */

int ehlo_enhanced_parse(ehlo_str text, unsigned reply_class, uint16_t enhanced[3], size_t *used)
{
    size_t len;
    int result = ehlo_scan_enhanced(text, EHLO_NO_FENCE, reply_class, enhanced, &len);
    if (used != NULL) *used = len;
    return result;
}

/* -- whole replies ---------------------------------------------------------------------------------- */

/* Takes the octets before the next CRLF, or before the end, off *rest, and the CRLF. */
static ehlo_str take_line(ehlo_str *rest)
{
    const char *end = rest->ptr + rest->len;
    const char *at = rest->ptr;
    while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL) {
        if (++at < end && *at == '\n') break;
    }
    ehlo_str line = ehlo_str_make(rest->ptr, at != NULL ? (size_t)(at - 1 - rest->ptr) : rest->len);
    *rest = at != NULL ? ehlo_str_make(at + 1, (size_t)(end - at - 1)) : ehlo_str_make(end, 0);
    return line;
}

/* The text of the line without its enhanced code. */
static ehlo_str said(const ehlo_reply_line *line)
{
    uint16_t enhanced[3];
    size_t lead;
    ehlo_scan_enhanced(line->text, EHLO_NO_FENCE, line->code / 100U, enhanced, &lead);
    return ehlo_str_make(line->text.ptr + lead, line->text.len - lead);
}

/* 1 if both begin with the same code, as far as both go. */
static int same_code(ehlo_str line, ehlo_str following)
{
    size_t len = following.len < EHLO_CODE_LEN ? following.len : EHLO_CODE_LEN;
    return len == 0 || memcmp(line.ptr, following.ptr, len) == 0;
}

int ehlo_reply_next(ehlo_str *rest, ehlo_str *text)
{
    ehlo_reply_line line;
    size_t wrong;
    *text = ehlo_str_make(NULL, 0);
    if (rest->len == 0) return 0;
    ehlo_str following = *rest;
    ehlo_str raw = take_line(&following);
    if (!ehlo_scan_reply_line(raw, EHLO_NO_FENCE, &line, &wrong)) return EHLO_ERR_SYNTAX;
    if (line.last != (following.len == 0) || !same_code(raw, following)) return EHLO_ERR_SYNTAX;
    *text = said(&line);
    *rest = following;
    return 1;
}

/* -- what may be shown of it ------------------------------------------------------------------------ */

size_t ehlo_printable_sequence(const char *at, const char *end)
{
    size_t len = ehlo_utf8_sequence(at, end);
    if (len == 1 && ehlo_char_is_control(*at)) return 0;
    if (len == 2 && *at == '\xC2' && (unsigned char)at[1] < 0xA0) return 0;
    if (len == 3 && (memcmp(at, "\xE2\x80\xA8", 3) == 0 || memcmp(at, "\xE2\x80\xA9", 3) == 0)) return 0;
    return len;
}

int ehlo_text_clean(ehlo_str text, char *out, size_t cap, size_t *len)
{
    const char *at = text.ptr;
    const char *end = text.len > 0 ? at + text.len : at;
    if (text.len > 0 && text.len <= cap && ehlo_chars_are_plain(text)) {
        memcpy(out, text.ptr, text.len);
        *len = text.len;
        return EHLO_OK;
    }
    for (*len = 0; at < end && *len < cap;) {
        size_t octets = ehlo_printable_sequence(at, end);
        if (octets > cap - *len) break;
        if (octets > 0) {
            memcpy(out + *len, at, octets);
            *len += octets;
            at += octets;
        } else {
            size_t bad = ehlo_utf8_sequence(at, end);
            out[(*len)++] = *at == '\t' ? ' ' : '?';
            at += bad > 0 ? bad : 1;
        }
    }
    return at < end;
}
