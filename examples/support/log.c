#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 2048 };

static const char *program_name = "program";

void log_begin(const char *name)
{
    program_name = name;
}

void log_octets(const char *prefix, ehlo_str octets)
{
    static const char hex[] = "0123456789abcdef";
    char line[4 * TEXT_MAX + 1];
    size_t at = 0;
    for (size_t i = 0; i < octets.len && i < TEXT_MAX; i++) {
        unsigned char octet = (unsigned char)octets.ptr[i];
        if (octet >= 0x20 && octet < 0x7f) {
            line[at++] = octets.ptr[i];
            continue;
        }
        line[at++] = '\\';
        line[at++] = 'x';
        line[at++] = hex[octet >> 4];
        line[at++] = hex[octet & 15];
    }
    line[at] = '\0';
    const char *end = octets.len > TEXT_MAX ? "..." : "";
    fprintf(stderr, "%s: %s%s%s\n", program_name, prefix, line, end); /* one call: lines stay whole */
}

void log_line(const char *format, ...)
{
    char text[TEXT_MAX];
    va_list list;
    va_start(list, format);
    int len = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (len < 0) return;
    log_octets("", ehlo_str_make(text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1));
}

void log_dialogue(uint64_t number, const char *speaker, ehlo_str bytes, int secret)
{
    char prefix[64];
    snprintf(prefix, sizeof prefix, "#%" PRIu64 " %s: ", number, speaker);
    if (secret && bytes.ptr == NULL) log_octets(prefix, ehlo_str_from("(secret)"));
    for (size_t at = 0; bytes.ptr != NULL && at < bytes.len;) {
        const char *line = bytes.ptr + at;
        const char *end = memchr(line, '\n', bytes.len - at);
        size_t len = end != NULL ? (size_t)(end - line) + 1 : bytes.len - at;
        size_t shown = len;
        while (shown > 0 && (line[shown - 1] == '\n' || line[shown - 1] == '\r')) shown--;
        log_octets(prefix, ehlo_str_make(line, shown));
        at += len;
    }
}

void log_session(ehlo_server *s, int direction, ehlo_str bytes, int secret, void *user)
{
    (void)user;
    log_dialogue(ehlo_conn_number(s), direction == EHLO_TRACE_IN ? "C" : "S", bytes, secret);
}
