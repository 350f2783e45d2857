#include "log.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MAX = 2048 };

void log_octets(const char *prefix, const char *octets, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    char line[4 * TEXT_MAX + 1];
    size_t at = 0;
    for (size_t i = 0; i < len && i < TEXT_MAX; i++) {
        unsigned char octet = (unsigned char)octets[i];
        if (octet >= 0x20 && octet < 0x7f) {
            line[at++] = octets[i];
            continue;
        }
        line[at++] = '\\';
        line[at++] = 'x';
        line[at++] = hex[octet >> 4];
        line[at++] = hex[octet & 15];
    }
    line[at] = '\0';
    fprintf(stderr, "inbox: %s%s%s\n", prefix, line, len > TEXT_MAX ? "..." : ""); /* one call: lines stay whole */
}

void log_line(const char *format, ...)
{
    char text[TEXT_MAX];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (len < 0) return;
    log_octets("", text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}
