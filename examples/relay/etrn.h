/* etrn.h - ETRN (RFC 1985): a client asks for what is queued for it. */
#ifndef ETRN_H
#define ETRN_H

#include "incoming.h"

/* As on_command: the verdict, and perhaps *r. */
int etrn_start(struct queue *queue, ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r);

/* Likewise without anybody who waits for an answer: a line in the log is all. */
void etrn_flush(struct queue *queue, ehlo_loop *loop, char option, ehlo_str node);

#endif
