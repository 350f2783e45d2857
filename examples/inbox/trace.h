/* trace.h - the trace fields of a message: those we add, and those it already has. */
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

/* Counts the Received fields of a message whose octets come in pieces. Zero it first. */
struct trace_count {
    unsigned received;
    unsigned char at;   /* where in the line: private */
    unsigned char body; /* 1: the header section has ended */
};

void trace_count(struct trace_count *t, const char *bytes, size_t len);

#endif
