#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "etrn.h"

#include "log.h"
#include "reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One call of the store's hurry. */
struct errand {
    ehlo_pending pending; /* first: the store answers with its address */
    struct queue *queue;
    ehlo_conn_id conn; /* who waits for the answer; 0: nobody */
    ehlo_token token;
    size_t count;
    char option;
    size_t node_len;
    char node[];
};

/* RFC 1985 5.2, 5.3 */
static void finish(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    struct errand *errand = (struct errand *)(void *)pending;
    int len = (int)errand->node_len;
    char text[128 + 256];
    ehlo_reply reply = reply_make(253, 0, 0, "");
    if (result != EHLO_OK) {
        snprintf(text, sizeof text, "Unable to queue messages for node %.*s", len, errand->node);
        reply = reply_make(458, 3, 0, "");
    } else if (errand->count == 0) {
        snprintf(text, sizeof text, "No messages waiting for node %.*s", len, errand->node);
        reply = reply_make(251, 0, 0, "");
    } else {
        snprintf(text, sizeof text, "%zu pending messages for node %.*s started", errand->count, len, errand->node);
        if (errand->queue->runner != NULL) ehlo_relay_kick(errand->queue->runner);
    }
    reply.text = ehlo_str_from(text);
    log_line("%s: %s", errand->conn != 0 ? "ETRN" : "flush", text);
    if (errand->conn != 0) ehlo_loop_answer(loop, errand->conn, errand->token, &reply);
    free(errand);
}

static struct errand *errand_new(struct queue *queue, ehlo_loop *loop, char option, ehlo_str node)
{
    struct errand *errand = calloc(1, sizeof *errand + node.len);
    if (errand == NULL) return NULL;
    errand->pending.fn = finish;
    errand->pending.loop = loop;
    errand->queue = queue;
    errand->option = option;
    errand->node_len = node.len;
    memcpy(errand->node, node.ptr, node.len);
    return errand;
}

static void run(struct errand *errand)
{
    const struct queue *queue = errand->queue;
    ehlo_str node = ehlo_str_make(errand->node, errand->node_len);
    int result = queue->store->hurry(queue->store_ctx, errand->option, node, &errand->count, &errand->pending);
    if (result != EHLO_LATER) finish(errand->pending.loop, &errand->pending, result);
}

int etrn_start(struct queue *queue, ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r)
{
    if (command->option == '#') {
        *r = reply_make(458, 3, 3, "There are no named queues here");
        return EHLO_OK;
    }
    struct errand *errand = errand_new(queue, ehlo_conn_loop(s), command->option, command->argument);
    if (errand == NULL) {
        *r = reply_make(458, 3, 0, "Too busy, try again later");
        return EHLO_OK;
    }
    errand->conn = ehlo_conn_number(s);
    errand->token = token;
    run(errand);
    return EHLO_LATER;
}

void etrn_flush(struct queue *queue, ehlo_loop *loop, char option, ehlo_str node)
{
    struct errand *errand = errand_new(queue, loop, option, node);
    if (errand == NULL) {
        log_line("flush: no memory");
    } else {
        run(errand);
    }
}
