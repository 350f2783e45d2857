/* The minimal quoting of a local part (RFC 5321 4.1.2). */
#include <ehlo/syntax.h>

#include <string.h>

#include "chars.h"

/* What stands between the quotes, or all of an unquoted local part. */
static ehlo_str strip_quotes(const ehlo_path *path)
{
    ehlo_str text = path->local_part;
    return path->quoted && text.len >= 2 ? ehlo_str_make(text.ptr + 1, text.len - 2) : text;
}

/* The next octet that is said, past the backslash of a quoted pair. */
static char next_said(ehlo_str content, size_t *at)
{
    if (content.ptr[*at] == '\\' && *at + 1 < content.len) ++*at;
    return content.ptr[(*at)++];
}

static int needs_backslash(char octet)
{
    return octet == '"' || octet == '\\';
}

/* 1 if a dot-string can say the same; *len: the length of what is said, with the backslashes it needs. */
static int measure(ehlo_str content, size_t *len)
{
    int is_dot_string = 1;
    char before = '.';
    *len = 0;
    for (size_t at = 0; at < content.len;) {
        char octet = next_said(content, &at);
        *len += needs_backslash(octet) ? 2 : 1;
        if (octet == '.') {
            is_dot_string &= before != '.';
        } else {
            is_dot_string &= ehlo_char_is(octet, EHLO_CHAR_ATEXT) || ehlo_char_is_high(octet);
        }
        before = octet;
    }
    return is_dot_string && before != '.';
}

static void write_quoted(ehlo_str content, char *out)
{
    *out++ = '"';
    for (size_t at = 0; at < content.len;) {
        char octet = next_said(content, &at);
        if (needs_backslash(octet)) *out++ = '\\';
        *out++ = octet;
    }
    *out = '"';
}

static void write_plain(ehlo_str content, char *out)
{
    for (size_t at = 0; at < content.len;) *out++ = next_said(content, &at);
}

/* RFC 5321 4.1.2: "all quoted forms MUST be treated as equivalent, and the sending system SHOULD transmit the
 * form that uses the minimum quoting possible." */
int ehlo_local_part_write(const ehlo_path *path, char *out, size_t cap, size_t *len)
{
    ehlo_str content = strip_quotes(path);
    *len = 0;
    if (path->local_part.len == 0) return EHLO_OK;
    int is_dot_string = measure(content, len);
    if (!is_dot_string) *len += 2;
    if (*len > cap) return EHLO_ERR_SPACE;
    if (is_dot_string) {
        write_plain(content, out);
    } else {
        write_quoted(content, out);
    }
    return EHLO_OK;
}
