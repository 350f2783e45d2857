#include "trace.h"

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
