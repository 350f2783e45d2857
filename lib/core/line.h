/* line.h - command lines in a stream: only CRLF ends one (RFC 5321 2.3.8), and none is ever copied. */
#ifndef EHLO_CORE_LINE_H
#define EHLO_CORE_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Looks for the CRLF that ends the line at the start of bytes. 1: *line is its length without CRLF. 0: not
 * there; *searched remembers how far, so that the same octets, offered again, are not looked at again. */
static inline int ehlo_line_find(const char *bytes, size_t len, uint32_t *searched, size_t *line)
{
    size_t from = *searched;
    const char *lf;
    while (from < len && (lf = memchr(bytes + from, '\n', len - from)) != NULL) {
        if (lf > bytes && lf[-1] == '\r') {
            *searched = 0;
            *line = (size_t)(lf - bytes) - 1;
            return 1;
        }
        from = (size_t)(lf - bytes) + 1;
    }
    *searched = (uint32_t)len;
    return 0;
}

/* Skips the rest of a line that was too long. *cr: the octet before bytes was a CR. 1: its end was met, and
 * *used octets are behind it; 0: all of it is the line. */
int ehlo_line_skip(const char *bytes, size_t len, uint8_t *cr, size_t *used);

#endif
