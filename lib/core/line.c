#include "line.h"

int ehlo_line_skip(const char *bytes, size_t len, uint8_t *cr, size_t *used)
{
    size_t from = 0;
    const char *lf;
    while (from < len && (lf = memchr(bytes + from, '\n', len - from)) != NULL) {
        size_t at = (size_t)(lf - bytes);
        if (at > 0 ? lf[-1] == '\r' : *cr) {
            *cr = 0;
            *used = at + 1;
            return 1;
        }
        from = at + 1;
    }
    if (len > 0) *cr = bytes[len - 1] == '\r';
    *used = len;
    return 0;
}
