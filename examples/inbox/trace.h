/* trace.h - the trace fields that we add to a message, and how many it may have. */
#ifndef TRACE_H
#define TRACE_H

#include <ehlo/syntax.h>

enum {
    TRACE_LEAD_MAX = 4096,     /* octets that trace_lead_write needs at most */
    TRACE_RECEIVED_LIMIT = 100 /* RFC 5321 6.3: more are taken for a loop */
};

/* Writes Return-Path and Received, as they lead a delivered message (RFC 5321 4.4). A Return-Path that the
 * message already has stays, below ours. EHLO_OK, or as ehlo_received_write. */
int trace_lead_write(ehlo_str reverse_path, const ehlo_received *received, char out[TRACE_LEAD_MAX], size_t *len);

#endif
