#include "trace.h"

#include <ctype.h>
#include <string.h>

int trace_lead_write(ehlo_str reverse_path, const ehlo_received *received, char out[TRACE_LEAD_MAX], size_t *len)
{
    static const char opening[] = "Return-Path: <";
    static const char closing[] = ">\r\n";
    size_t at = sizeof opening - 1;
    size_t field_len = 0;
    if (reverse_path.len > TRACE_LEAD_MAX / 4) return EHLO_ERR_SPACE;
    memcpy(out, opening, at);
    if (reverse_path.len > 0) memcpy(out + at, reverse_path.ptr, reverse_path.len);
    at += reverse_path.len;
    memcpy(out + at, closing, sizeof closing - 1);
    at += sizeof closing - 1;
    int result = ehlo_received_write(received, out + at, TRACE_LEAD_MAX - at, &field_len);
    *len = at + field_len;
    return result;
}

/* Below LINE_CR: so many octets of the name have been met since the line began. */
enum { LINE_CR = 254, LINE_OTHER = 255 };

static void count_octet(struct trace_count *t, char c)
{
    static const char name[] = "received:";
    if (c == '\n') {
        t->body = t->at == 0 || t->at == LINE_CR; /* an empty line ends the header section */
        t->at = 0;
    } else if (t->at == 0 && c == '\r') {
        t->at = LINE_CR;
    } else if (t->at >= LINE_CR || tolower((unsigned char)c) != name[t->at]) {
        t->at = LINE_OTHER;
    } else if (++t->at == sizeof name - 1) {
        t->received++;
        t->at = LINE_OTHER;
    }
}

void trace_count(struct trace_count *t, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && !t->body; i++) count_octet(t, bytes[i]);
}
