#include "trace.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty outside TLS. */
static ehlo_str tls_text(const ehlo_tls_facts *facts, char text[TRACE_TLS_MAX])
{
    if (facts == NULL) return ehlo_str_make(NULL, 0);
    snprintf(text, TRACE_TLS_MAX, "%.*s %.*s", (int)facts->version.len, facts->version.ptr, (int)facts->cipher.len,
             facts->cipher.ptr);
    return ehlo_str_from(text);
}

void trace_session(const ehlo_server *s, ehlo_received *received, char tls[TRACE_TLS_MAX])
{
    memset(received, 0, sizeof *received);
    received->remote = ehlo_server_peer(s)->remote;
    received->by = ehlo_service_hostname(ehlo_server_service(s));
    received->with = ehlo_server_with(s);
    received->tls = tls_text(ehlo_server_tls_facts(s), tls);
    received->time = (int64_t)time(NULL);
}

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
