/* Replies of a server (RFC 5321 4.2, RFC 3463). */
#include <string.h>

#include "cursor.h"
#include "printable.h"

enum { CODE_LEN = 3 };

/* -- lines ------------------------------------------------------------------------------------------ */

static int refuse(ehlo_reply_line *out, ehlo_fault *fault, size_t offset)
{
    memset(out, 0, sizeof(*out));
    if (fault != NULL) *fault = (ehlo_fault){ offset, EHLO_RULE_REPLY };
    return EHLO_ERR_SYNTAX;
}

/*     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *     Reply-code = %x32-35 %x30-35 %x30-39
 * RFC 5321 4.2.1 and 4.3.2 let clients go by the first digit, so that the second may be any; 0yz is what
 * servers in verbose mode say between replies. */
int ehlo_reply_line_parse(ehlo_str line, ehlo_reply_line *out, ehlo_fault *fault)
{
    unsigned code = 0;
    for (size_t at = 0; at < CODE_LEN; at++) {
        if (at == line.len || !ehlo_char_is_digit(line.ptr[at])) return refuse(out, fault, at);
        code = code * 10 + (unsigned)(line.ptr[at] - '0');
    }
    if ((code > 99 && code < 200) || code > 599) return refuse(out, fault, 0);
    size_t lead = line.len > CODE_LEN ? CODE_LEN + 1 : CODE_LEN;
    char separator = lead > CODE_LEN ? line.ptr[CODE_LEN] : ' ';
    if (separator != ' ' && separator != '-') return refuse(out, fault, CODE_LEN);
    out->code = (uint16_t)code;
    out->last = separator == ' ';
    out->text = ehlo_str_make(line.ptr + lead, line.len - lead);
    if (fault != NULL) *fault = (ehlo_fault){ 0, EHLO_RULE_NONE };
    return EHLO_OK;
}

/* -- enhanced codes --------------------------------------------------------------------------------- */

/*     subject / detail = 1*3DIGIT
 * What is longer is left for what must follow, and refused there. */
static int take_part(ehlo_cursor *cursor, uint16_t *part)
{
    const char *start = cursor->at;
    unsigned number = 0;
    while (ehlo_cursor_more(cursor) && cursor->at - start < 3 && ehlo_char_is_digit(*cursor->at)) {
        number = number * 10 + (unsigned)(*cursor->at++ - '0');
    }
    *part = (uint16_t)number;
    return cursor->at > start;
}

/* RFC 3463 2:
 *     status-code = class "." subject "." detail
 *     class       = "2" / "4" / "5" */
static int take_enhanced(ehlo_cursor *cursor, unsigned reply_class, uint16_t enhanced[3])
{
    if (reply_class != 2 && reply_class != 4 && reply_class != 5) return 0;
    enhanced[0] = (uint16_t)reply_class;
    return ehlo_cursor_take(cursor, (char)('0' + reply_class)) && ehlo_cursor_take(cursor, '.') &&
           take_part(cursor, &enhanced[1]) && ehlo_cursor_take(cursor, '.') && take_part(cursor, &enhanced[2]) &&
           (!ehlo_cursor_more(cursor) || ehlo_cursor_take(cursor, ' '));
}

int ehlo_enhanced_parse(ehlo_str text, unsigned reply_class, uint16_t enhanced[3], size_t *used)
{
    ehlo_cursor cursor = ehlo_cursor_make(text, 0);
    int found = take_enhanced(&cursor, reply_class, enhanced);
    if (!found) {
        cursor.at = cursor.start;
        memset(enhanced, 0, 3 * sizeof(enhanced[0]));
    }
    if (used != NULL) *used = ehlo_cursor_since(&cursor, cursor.start).len;
    return found ? EHLO_OK : EHLO_ERR_SYNTAX;
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
    ehlo_enhanced_parse(line->text, line->code / 100U, enhanced, &lead);
    return ehlo_str_make(line->text.ptr + lead, line->text.len - lead);
}

/* 1 if both begin with the same code, as far as both go. */
static int same_code(ehlo_str line, ehlo_str following)
{
    size_t len = following.len < CODE_LEN ? following.len : CODE_LEN;
    return memcmp(line.ptr, following.ptr, len) == 0;
}

int ehlo_reply_next(ehlo_str *rest, ehlo_str *text)
{
    ehlo_reply_line line;
    *text = ehlo_str_make(NULL, 0);
    if (rest->len == 0) return 0;
    ehlo_str following = *rest;
    ehlo_str raw = take_line(&following);
    if (ehlo_reply_line_parse(raw, &line, NULL) < 0) return EHLO_ERR_SYNTAX;
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
