#include "incoming.h"

#include "log.h"
#include "reply.h"
#include "trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK_SIZE = 1024, ID_MAX = 128, DESTINATION_MAX = 255 };

/* Text that lives as long as the message. */
struct block {
    struct block *next;
    size_t used;
    size_t size;
    char bytes[];
};

struct incoming {
    ehlo_pending pending; /* first: the store answers with its address */
    struct queue *queue;
    ehlo_conn_id conn;
    ehlo_token token;
    ehlo_envelope envelope;
    ehlo_str *destinations;
    size_t room; /* of both arrays of recipients */
    ehlo_str hello;
    ehlo_queued queued;
    struct block *blocks;
    void *message;       /* the store's; NULL before and behind it */
    ehlo_str their_name; /* what the store calls it, */
    char name[ID_MAX];   /* and a copy, for afterwards; "-" before */
    char received[TRACE_RECEIVED_MAX];
    size_t received_len;
    size_t received_at; /* octets of it that the store has taken */
    ehlo_header header;
    uint64_t size;
    int failure;     /* result of a call that failed late */
    uint8_t waiting; /* a call of the store is not answered yet */
    uint8_t dropped; /* the session has given it up */
    uint8_t whole;   /* and is to be committed */
};

/* -- memory ----------------------------------------------------------------------------------------- */

/* Room for len octets; NULL if there is no memory. */
static char *reserve(struct incoming *in, size_t len)
{
    struct block *block = in->blocks;
    if (block == NULL || block->size - block->used < len) {
        size_t size = len > BLOCK_SIZE ? len : BLOCK_SIZE;
        block = malloc(sizeof *block + size);
        if (block == NULL) return NULL;
        block->next = in->blocks;
        block->size = size;
        block->used = 0;
        in->blocks = block;
    }
    char *bytes = block->bytes + block->used;
    block->used += len;
    return bytes;
}

static int keep(struct incoming *in, ehlo_str text, ehlo_str *kept)
{
    char *bytes = reserve(in, text.len);
    if (bytes == NULL) return EHLO_ERR_MEMORY;
    if (text.len > 0) memcpy(bytes, text.ptr, text.len);
    *kept = ehlo_str_make(bytes, text.len);
    return EHLO_OK;
}

static int keep_xtext(struct incoming *in, ehlo_str xtext, ehlo_str *kept)
{
    char *bytes = reserve(in, xtext.len);
    if (bytes == NULL) return EHLO_ERR_MEMORY;
    kept->ptr = bytes;
    return ehlo_xtext_decode(xtext, bytes, xtext.len, &kept->len, NULL);
}

/* Local part in minimal quoting, without the source route (RFC 5321 4.1.2, appendix C). Without a domain it is given
 * one. */
static int keep_mailbox(struct incoming *in, const ehlo_path *path, ehlo_str domain, ehlo_str *kept)
{
    size_t cap = path->local_part.len + 2;
    size_t len = 0;
    if (path->domain.len > 0) domain = path->domain;
    char *bytes = reserve(in, cap + 1 + domain.len);
    if (bytes == NULL) return EHLO_ERR_MEMORY;
    int result = ehlo_local_part_write(path, bytes, cap, &len);
    if (result != EHLO_OK) return result;
    bytes[len] = '@';
    memcpy(bytes + len + 1, domain.ptr, domain.len);
    *kept = ehlo_str_make(bytes, len + 1 + domain.len);
    return EHLO_OK;
}

static void incoming_free(struct incoming *in)
{
    while (in->blocks != NULL) {
        struct block *block = in->blocks;
        in->blocks = block->next;
        free(block);
    }
    free(in->envelope.rcpts);
    free(in->destinations);
    free(in);
}

/* -- envelope --------------------------------------------------------------------------------------- */

/* A report has to find its way back. */
static int check_way_back(const struct incoming *in)
{
    char destination[DESTINATION_MAX];
    size_t len;
    if (in->envelope.from.len == 0) return EHLO_OK;
    return ehlo_destination_write(in->queue->policy, in->envelope.from, destination, sizeof destination, &len);
}

/* Whether a next hop has to offer 8BITMIME is told by the octets: nearly everybody says BODY=8BITMIME, whatever he has, and
 * some say BODY=7BIT (RFC 6152 3). */
static int keep_mail(struct incoming *in, const ehlo_mail *mail)
{
    in->envelope.body = mail->body == EHLO_BODY_BINARYMIME ? EHLO_BODY_BINARYMIME : EHLO_BODY_DEFAULT;
    in->envelope.ret = mail->ret;
    if (mail->present & EHLO_PARAM_SMTPUTF8) in->envelope.flags |= EHLO_SEND_UTF8;
    int result = keep_xtext(in, mail->envid, &in->envelope.envid);
    if (result != EHLO_OK || mail->path.mailbox.len == 0) return result;
    result = keep_mailbox(in, &mail->path, in->queue->postmaster_domain, &in->envelope.from);
    return result == EHLO_OK ? check_way_back(in) : result;
}

int incoming_new(struct incoming **new, struct queue *queue, ehlo_server *s, ehlo_str hello, const ehlo_mail *mail)
{
    struct incoming *in = calloc(1, sizeof *in);
    if (in == NULL) return EHLO_ERR_MEMORY;
    in->queue = queue;
    in->conn = ehlo_conn_number(s);
    in->pending.loop = ehlo_conn_loop(s);
    in->name[0] = '-';
    int result = keep(in, hello, &in->hello);
    if (result == EHLO_OK) result = keep_mail(in, mail);
    if (result != EHLO_OK) {
        incoming_free(in);
        in = NULL;
    }
    *new = in;
    return result;
}

static int make_room(struct incoming *in)
{
    size_t room = in->room > 0 ? 2 * in->room : 4;
    if (in->envelope.nrcpts < in->room) return EHLO_OK;
    ehlo_recipient *rcpts = realloc(in->envelope.rcpts, room * sizeof *rcpts);
    if (rcpts == NULL) return EHLO_ERR_MEMORY;
    in->envelope.rcpts = rcpts;
    ehlo_str *destinations = realloc(in->destinations, room * sizeof *destinations);
    if (destinations == NULL) return EHLO_ERR_MEMORY;
    in->destinations = destinations;
    in->room = room;
    return EHLO_OK;
}

static int keep_orcpt(struct incoming *in, const ehlo_rcpt *from, ehlo_recipient *to)
{
    char *bytes = reserve(in, from->orcpt.len);
    if (bytes == NULL || keep(in, from->orcpt_type, &to->orcpt_type) != EHLO_OK) return EHLO_ERR_MEMORY;
    to->orcpt.ptr = bytes;
    return ehlo_orcpt_decode(from->orcpt_type, from->orcpt, bytes, from->orcpt.len, &to->orcpt.len, NULL);
}

static int keep_destination(struct incoming *in, ehlo_str mailbox, ehlo_str *destination)
{
    char *bytes = reserve(in, DESTINATION_MAX);
    if (bytes == NULL) return EHLO_ERR_MEMORY;
    destination->ptr = bytes;
    int result = ehlo_destination_write(in->queue->policy, mailbox, bytes, DESTINATION_MAX, &destination->len);
    if (result == EHLO_OK) in->blocks->used -= DESTINATION_MAX - destination->len;
    return result;
}

/* What cannot be said to the next hop is refused now rather than reported later. */
static int check(const struct incoming *in, ehlo_recipient *rcpt)
{
    ehlo_envelope envelope = in->envelope;
    envelope.rcpts = rcpt;
    envelope.nrcpts = 1;
    return ehlo_envelope_check(&envelope, NULL) == EHLO_OK ? EHLO_OK : EHLO_ERR_SPACE;
}

int incoming_address(struct incoming *in, const ehlo_rcpt *rcpt)
{
    int result = make_room(in);
    if (result != EHLO_OK) return result;
    size_t at = in->envelope.nrcpts;
    ehlo_recipient *to = &in->envelope.rcpts[at];
    memset(to, 0, sizeof *to);
    to->notify = rcpt->notify;
    result = keep_mailbox(in, &rcpt->path, in->queue->postmaster_domain, &to->to);
    if (result == EHLO_OK) result = keep_destination(in, to->to, &in->destinations[at]);
    if (result == EHLO_OK && rcpt->orcpt.len > 0) result = keep_orcpt(in, rcpt, to);
    if (result == EHLO_OK) result = check(in, to);
    if (result == EHLO_OK) in->envelope.nrcpts++;
    return result;
}

/* -- answers ---------------------------------------------------------------------------------------- */

static void log_result(const struct incoming *in, const char *what)
{
    log_line("%s: from <%.*s>, %zu recipient%s, %" PRIu64 " octets: %s", in->name, (int)in->envelope.from.len,
             in->envelope.from.ptr, in->envelope.nrcpts, in->envelope.nrcpts == 1 ? "" : "s", in->size, what);
}

/* NUL-ended. */
static const char *failure_text(int result)
{
    return result == EHLO_ERR_FULL     ? "not queued: the disk is full"
           : result == EHLO_ERR_MEMORY ? "not queued: no memory"
                                       : "not queued: the store failed";
}

/* The session waits for this, or is gone, which is no matter. */
static void answer(const struct incoming *in, const ehlo_reply *reply)
{
    ehlo_loop_answer(in->pending.loop, in->conn, in->token, reply);
}

/* A store says FULL where there is no more room on the disk. */
static ehlo_reply failure_reply(int result)
{
    return reply_failure(result == EHLO_ERR_FULL ? ENOSPC : result == EHLO_ERR_MEMORY ? ENOMEM : EIO);
}

static void answer_failure(const struct incoming *in, int result)
{
    ehlo_reply reply = failure_reply(result);
    log_result(in, failure_text(result));
    answer(in, &reply);
}

/* -- store ------------------------------------------------------------------------------------------ */

static void release_message(struct incoming *in)
{
    const ehlo_store *store = in->queue->store;
    if (in->message != NULL && store != NULL) store->discard(in->queue->store_ctx, in->message);
    in->message = NULL;
}

static void discard(struct incoming *in)
{
    release_message(in);
    incoming_free(in);
}

/* What the store has answered late; 1 if the message was given up meanwhile. A store that was closed takes no more. */
static int settle(struct incoming *in, int result)
{
    in->waiting = 0;
    in->failure = in->queue->store != NULL ? result : EHLO_ERR_SYSTEM;
    if (!in->dropped) return 0;
    discard(in);
    return 1;
}

static struct incoming *incoming_of(ehlo_pending *pending)
{
    return (struct incoming *)(void *)pending;
}

/* RFC 5321 4.4. `for` names the recipient where that tells it to nobody else. */
static int write_received(struct incoming *in, const ehlo_server *s)
{
    char tls[TRACE_TLS_MAX];
    ehlo_received received;
    trace_session(s, &received, tls);
    received.hello = in->hello;
    received.id = ehlo_str_from(in->name);
    if (in->envelope.nrcpts == 1) received.recipient = in->envelope.rcpts[0].to;
    return ehlo_received_write(&received, in->received, sizeof in->received, &in->received_len);
}

/* After a refusal the peer may try DATA again. */
static void opened(struct incoming *in, int result)
{
    static const ehlo_reply ready;
    const ehlo_server *s = ehlo_loop_server(in->pending.loop, in->conn);
    if (result == EHLO_OK) {
        snprintf(in->name, sizeof in->name, "%.*s", (int)in->their_name.len, in->their_name.ptr);
        if (s != NULL) result = write_received(in, s);
    }
    if (result == EHLO_OK) {
        answer(in, &ready);
    } else {
        release_message(in);
        answer_failure(in, result);
    }
}

static void on_created(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    struct incoming *in = incoming_of(pending);
    (void)loop;
    if (result != EHLO_OK) in->message = NULL;
    if (!settle(in, result)) opened(in, in->failure);
}

void incoming_open(struct incoming *in, ehlo_token token)
{
    ehlo_queued queued = { .envelope = &in->envelope, .destinations = in->destinations, .hello = in->hello };
    in->queued = queued;
    in->queued.arrived = (int64_t)time(NULL) * 1000;
    in->token = token;
    in->failure = EHLO_OK;
    in->pending.fn = on_created;
    int result =
        in->queue->store->create(in->queue->store_ctx, &in->queued, &in->message, &in->their_name, &in->pending);
    in->waiting = result == EHLO_LATER;
    if (!in->waiting) on_created(in->pending.loop, &in->pending, result);
}

static void commit(struct incoming *in);

/* The session comes by resume, or has handed the message over and waits for its reply. */
static void on_appended(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    struct incoming *in = incoming_of(pending);
    if (settle(in, result)) return;
    if (in->whole) {
        commit(in);
    } else {
        ehlo_loop_resume(loop, in->conn);
    }
}

/* One call of append, unless the store is busy with the one before. */
static int append(struct incoming *in, const char *bytes, size_t len, size_t *taken)
{
    *taken = 0;
    if (in->waiting) return EHLO_OK;
    in->pending.fn = on_appended;
    int result = in->queue->store->append(in->queue->store_ctx, in->message, bytes, len, taken, &in->pending);
    in->waiting = result == EHLO_LATER;
    return in->waiting ? EHLO_OK : result;
}

static int append_received(struct incoming *in)
{
    size_t taken;
    if (in->failure != EHLO_OK || in->received_at == in->received_len) return in->failure;
    int result = append(in, in->received + in->received_at, in->received_len - in->received_at, &taken);
    in->received_at += taken;
    return result;
}

int incoming_append(struct incoming *in, const char *bytes, size_t len, size_t *taken, ehlo_reply *r)
{
    int result = append_received(in);
    *taken = 0;
    if (result == EHLO_OK && in->received_at == in->received_len) result = append(in, bytes, len, taken);
    ehlo_header_scan(&in->header, bytes, *taken);
    in->size += *taken;
    if (result == EHLO_OK && in->header.received <= EHLO_HOPS_MAX) return EHLO_OK;
    *r = result == EHLO_OK ? reply_mail_loop() : failure_reply(result);
    *taken = len;
    log_result(in, result == EHLO_OK ? "refused: a mail loop" : failure_text(result));
    return EHLO_REFUSE;
}

/* The store has no memory of it any more, whatever came of it. */
static void committed(struct incoming *in, int result)
{
    char text[ID_MAX + 16];
    snprintf(text, sizeof text, "Queued as %s", in->name);
    ehlo_reply queued = reply_make(250, 0, 0, text);
    if (result == EHLO_OK) {
        log_result(in, "queued");
        if (in->queue->runner != NULL) ehlo_relay_kick(in->queue->runner);
        answer(in, &queued);
    } else {
        answer_failure(in, result);
    }
    incoming_free(in);
}

static void on_committed(ehlo_loop *loop, ehlo_pending *pending, int result)
{
    (void)loop;
    committed(incoming_of(pending), result);
}

/* Comes again when the store has answered, if it must wait. */
static void commit(struct incoming *in)
{
    int result = append_received(in);
    if (in->waiting) return;
    if (result != EHLO_OK) {
        answer_failure(in, result);
        discard(in);
        return;
    }
    void *message = in->message;
    in->message = NULL;
    in->pending.fn = on_committed;
    result = in->queue->store->commit(in->queue->store_ctx, message, &in->pending);
    if (result != EHLO_LATER) committed(in, result);
}

void incoming_commit(struct incoming *in, ehlo_token token)
{
    in->token = token;
    in->whole = 1;
    if (!in->waiting) commit(in);
}

void incoming_drop(struct incoming *in)
{
    if (in == NULL) return;
    in->dropped = 1;
    if (!in->waiting) discard(in);
}
