/* lib/net/tls.c - the TLS of a connection: what is between its descriptor and the engine that the application lent. */
#include "tls.h"

#include <stdlib.h>
#include <string.h>

/* The most plaintext of a record (RFC 8446 5.1). No write is longer: so one that has to be repeated never asks for
 * more octets than fit where they are gathered. */
enum { RECORD_MAX = 1 << 14 };

/* -- life ------------------------------------------------------------------------------------------- */

int ehlo_tls_open(ehlo_conn *conn, const ehlo_tls_engine *engine, unsigned flags, ehlo_str server_name)
{
    if (engine == NULL) return EHLO_ERR_UNSUPPORTED;
    ehlo_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) return EHLO_ERR_MEMORY;
    tls->engine = engine;
    tls->read_needs = EHLO_POLL_READ;
    tls->write_needs = EHLO_POLL_WRITE;
    tls->state = engine->open(engine->ctx, conn->source.fd, flags, server_name);
    if (tls->state == NULL) {
        free(tls);
        return EHLO_ERR_MEMORY;
    }
    conn->tls = tls;
    return EHLO_OK;
}

void ehlo_tls_close(ehlo_conn *conn)
{
    conn->tls->engine->close(conn->tls->state);
    free(conn->tls);
    conn->tls = NULL;
}

void ehlo_tls_shutdown(ehlo_conn *conn)
{
    ehlo_tls *tls = conn->tls;
    if (tls != NULL && tls->established && !tls->failed) tls->engine->shutdown(tls->state);
}

/* result is that of a call of the engine. */
static int heed(ehlo_tls *tls, int result)
{
    if (result < 0) tls->failed = 1;
    return result;
}

int ehlo_tls_handshake(ehlo_tls *tls)
{
    int result = heed(tls, tls->engine->handshake(tls->state));
    if (result != EHLO_ENGINE_DONE) return result;
    tls->established = 1;
    tls->engine->facts(tls->state, &tls->facts);
    return EHLO_ENGINE_DONE;
}

/* What a call of the engine that did nothing waits for; otherwise what it waits for by its nature. */
static uint8_t needs(int result, uint8_t nature)
{
    if (result == EHLO_ENGINE_READ) return EHLO_POLL_READ;
    if (result == EHLO_ENGINE_WRITE) return EHLO_POLL_WRITE;
    return nature;
}

/* -- input ------------------------------------------------------------------------------------------ */

static ptrdiff_t receive(ehlo_tls *tls, char *bytes, size_t len)
{
    size_t got = 0;
    int result = heed(tls, tls->engine->read(tls->state, bytes, len, &got));
    tls->read_needs = needs(result, EHLO_POLL_READ);
    if (result < 0) return EHLO_RECEIVE_LOST;
    if (result == EHLO_ENGINE_CLOSED) return EHLO_RECEIVE_EOF;
    return got > 0 ? (ptrdiff_t)got : EHLO_RECEIVE_NOTHING;
}

ptrdiff_t ehlo_tls_receive(ehlo_conn *conn, size_t len, ehlo_str *bytes)
{
    char *input = conn->loop->input;
    size_t held = ehlo_stash_copy(conn->stash, input);
    size_t room = conn->loop->input_size - held;
    ptrdiff_t received = receive(conn->tls, input + held, len < room ? len : room);
    *bytes = ehlo_str_make(input, held + (received > 0 ? (size_t)received : 0));
    return received;
}

size_t ehlo_tls_pending(const ehlo_tls *tls)
{
    return tls->engine->pending(tls->state);
}

ehlo_str ehlo_tls_problem(const ehlo_tls *tls)
{
    return tls->failed ? tls->engine->problem(tls->state) : ehlo_str_make(NULL, 0);
}

/* -- output ----------------------------------------------------------------------------------------- */

/* Where we are in the parts that a session offers. */
typedef struct parts_cursor {
    const ehlo_str *part;
    const ehlo_str *end;
    size_t offset; /* in *part */
} parts_cursor;

static ehlo_str here(const parts_cursor *at)
{
    if (at->part == at->end) return ehlo_str_make(NULL, 0);
    return ehlo_str_make(at->part->ptr + at->offset, at->part->len - at->offset);
}

/* Goes on by len octets, and past parts that are at their end. */
static void advance(parts_cursor *at, size_t len)
{
    at->offset += len;
    while (at->part < at->end && at->offset >= at->part->len) at->offset -= at->part++->len;
}

/* Copies what fits into a record; the number of octets. */
static size_t gather(parts_cursor at, char *to)
{
    size_t len = 0;
    while (at.part < at.end && len < RECORD_MAX) {
        ehlo_str from = here(&at);
        if (from.len > RECORD_MAX - len) from.len = RECORD_MAX - len;
        memcpy(to + len, from.ptr, from.len);
        len += from.len;
        advance(&at, from.len);
    }
    return len;
}

/* The octets of the next record, from their place if they lie together. ptr NULL: no memory. */
static ehlo_str next_record(ehlo_loop *loop, const parts_cursor *at)
{
    ehlo_str record = here(at);
    if (record.len >= RECORD_MAX || at->part + 1 == at->end) {
        if (record.len > RECORD_MAX) record.len = RECORD_MAX;
        return record;
    }
    if (loop->record == NULL) loop->record = malloc(RECORD_MAX);
    if (loop->record == NULL) return ehlo_str_make(NULL, 0);
    return ehlo_str_make(loop->record, gather(*at, loop->record));
}

/* Repeats what has to be repeated only once all of it is offered again. */
static int send_record(ehlo_tls *tls, ehlo_str record, size_t *taken)
{
    if (record.len < tls->blocked) return EHLO_OK;
    int result = heed(tls, tls->engine->write(tls->state, record.ptr, record.len, taken));
    tls->write_needs = needs(result, EHLO_POLL_WRITE);
    tls->blocked = result == EHLO_ENGINE_DONE ? 0 : record.len;
    return result < 0 ? EHLO_ERR_TRANSPORT : EHLO_OK;
}

/* Passwords too are gathered. */
static void forget(const ehlo_loop *loop, ehlo_str record)
{
    if (record.ptr == loop->record) ehlo_secret_wipe(loop->record, record.len);
}

int ehlo_tls_send(ehlo_conn *conn, const ehlo_str *parts, size_t n, size_t *taken)
{
    parts_cursor at = { parts, parts + n, 0 };
    size_t sent;
    int result;
    *taken = 0;
    advance(&at, 0);
    do {
        if (at.part == at.end) return EHLO_OK;
        ehlo_str record = next_record(conn->loop, &at);
        if (record.ptr == NULL) return EHLO_ERR_MEMORY;
        sent = 0;
        result = send_record(conn->tls, record, &sent);
        forget(conn->loop, record);
        *taken += sent;
        advance(&at, sent);
    } while (result == EHLO_OK && sent > 0);
    return result;
}
