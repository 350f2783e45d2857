/* trace.h - the trace fields that we add to a message (RFC 5321 4.4). */
#ifndef TRACE_H
#define TRACE_H

#include <ehlo/server.h>

enum {
    TRACE_RECEIVED_MAX = 2048, /* octets that ehlo_received_write needs at most */
    TRACE_LEAD_MAX = 4096,     /* and trace_lead_write */
    TRACE_TLS_MAX = 128
};

/* What a Received field says of the session that a message comes by, and when: all but hello, id and recipient.
 * received->tls points to tls. */
void trace_session(const ehlo_server *s, ehlo_received *received, char tls[TRACE_TLS_MAX]);

/* Writes Return-Path and Received, as they lead a delivered message. A Return-Path that the message already has stays,
 * below ours. EHLO_OK, or as ehlo_received_write. */
int trace_lead_write(ehlo_str reverse_path, const ehlo_received *received, char out[TRACE_LEAD_MAX], size_t *len);

#endif
