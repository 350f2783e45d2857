/* client_body.c - what leaves: the block, a body in its midst, and how much of both the transport took.
 *
 * A body is encoded as it is offered to the transport, and only what was taken counts. Where the transport takes all,
 * or stops inside the last slice, the encoder stands where it should; only else the way is walked again. */
#include "client_session.h"

#include <ehlo/sasl.h>

#include <string.h>

enum { PARTS = 128 };

static void count_taken(ehlo_client *c, size_t len)
{
    c->body.taken += len;
    if (c->pushing != NULL && c->pushing == c->body.owner) c->pushed += len;
}

/* What is left of it behind the first `at` octets: no arithmetic is done on a NULL. */
static ehlo_str behind(ehlo_str octets, size_t at)
{
    return at < octets.len ? ehlo_str_make(octets.ptr + at, octets.len - at) : ehlo_str_make(NULL, 0);
}

/* -- the octets at hand ----------------------------------------------------------------------------- */

/* An octet that had to wait for the one behind it: a CR, which is the start of a line end, or a bare one. */
static void decide_cr(ehlo_client *c)
{
    ehlo_sending *body = &c->body;
    int line_end = body->piece.len > 0 && body->piece.ptr[0] == '\n';
    size_t used;
    if (body->piece.len == 0 && !body->last) return;
    body->cr = 0;
    int step = ehlo_encode_counted(&body->encoder, &c->codec, "\r\n", line_end ? 2 : 1, 1, &used, &body->fixed);
    if (step != EHLO_BODY_SLICE) {
        body->fault = (uint8_t)step;
    } else if (line_end) {
        body->piece = behind(body->piece, 1);
        count_taken(c, 1);
    }
}

int ehlo_client_hold_cr(ehlo_client *c)
{
    ehlo_sending *body = &c->body;
    if (body->last || body->cr || body->fault != 0 || body->raw > 0 || body->fixed.len > 0) return 0;
    if (body->piece.len != 1 || body->piece.ptr[0] != '\r') return 0;
    body->cr = 1;
    count_taken(c, 1);
    body->piece = ehlo_str_make(NULL, 0);
    return 1;
}

void ehlo_client_offer(ehlo_client *c, ehlo_str piece, int last)
{
    c->body.piece = piece;
    c->body.last = last != 0;
    if (c->body.cr) decide_cr(c);
}

/* 1 if the slice is of the piece. A constant may have the same address (equal literals are one), but it then stands
 * before the piece and uses none of it. */
static int is_view(ehlo_str slice, ehlo_str piece, size_t used)
{
    return used > 0 && slice.ptr == piece.ptr;
}

/* -- chunks ----------------------------------------------------------------------------------------- */

void ehlo_client_open_chunk(ehlo_client *c, ehlo_body_mode mode, uint64_t span, uint64_t size)
{
    c->body.mode = (uint8_t)mode;
    c->body.span = span;
    c->body.size = size;
    c->body.gap = ehlo_out_length(&c->out);
}

static int encode(const ehlo_client *c, ehlo_encoder *encoder, ehlo_str rest, int last, size_t *used, ehlo_str *slice)
{
    if (c->body.mode == EHLO_SEND_TEXT) return ehlo_encode(encoder, &c->codec, rest.ptr, rest.len, last, used, slice);
    return ehlo_encode_counted(encoder, &c->codec, rest.ptr, rest.len, last, used, slice);
}

int ehlo_client_measure(const ehlo_client *c, ehlo_str piece, ehlo_chunk *chunk)
{
    int step = EHLO_BODY_SLICE;
    size_t used;
    ehlo_str slice;
    chunk->behind = c->body.encoder;
    chunk->size = c->body.fixed.len;
    chunk->span = 0;
    chunk->raw = 1;
    while (step == EHLO_BODY_SLICE) {
        ehlo_str rest = behind(piece, chunk->span);
        step = ehlo_encode_counted(&chunk->behind, &c->codec, rest.ptr, rest.len, chunk->last, &used, &slice);
        if (step != EHLO_BODY_SLICE) break;
        if (!is_view(slice, rest, used)) chunk->raw = 0;
        chunk->span += used;
        chunk->size += slice.len;
    }
    return step;
}

/* -- parts of a write ------------------------------------------------------------------------------- */

/* The slices of one write, and where the encoder stands behind them. */
typedef struct gathering {
    ehlo_str parts[PARTS];
    size_t n;
    size_t total;         /* octets of all of them */
    size_t before;        /* octets of the block that go before the body */
    size_t body;          /* octets of the body */
    size_t at;            /* octets of the piece that they use up */
    size_t beyond;        /* judged octets that are not at hand: the caller offered fewer than before */
    size_t last_view;     /* length of the last slice, if it is one of the piece, else 0 */
    ehlo_encoder encoder; /* behind the piece's octets */
    int complete;         /* 1: the body's last octet is among them */
} gathering;

static void add(gathering *g, ehlo_str part)
{
    ehlo_str *newest = g->n > 0 ? &g->parts[g->n - 1] : NULL;
    if (part.len == 0) return;
    g->total += part.len;
    if (newest != NULL && newest->ptr + newest->len == part.ptr)
        newest->len += part.len;
    else
        g->parts[g->n++] = part;
}

static ehlo_str piece_in_reach(const ehlo_sending *body)
{
    ehlo_str piece = body->piece;
    if (body->mode != EHLO_SEND_TEXT && piece.len > body->span) piece.len = (size_t)body->span;
    return piece;
}

/* 1 if every octet of what is in reach of the encoder is decided: at the end of the body, and at the end of a chunk,
 * which was measured so. */
static int ends_with(const ehlo_sending *body, ehlo_str piece)
{
    return body->mode == EHLO_SEND_TEXT ? body->last : piece.len == body->span;
}

/* The octets behind those that are judged, as they are to be. */
static void add_encoded(ehlo_client *c, gathering *g, ehlo_str piece)
{
    int last = ends_with(&c->body, piece);
    size_t used;
    ehlo_str slice;
    int step = EHLO_BODY_SLICE;
    while (g->n < PARTS - 2 && g->at < piece.len) {
        ehlo_str rest = behind(piece, g->at);
        step = encode(c, &g->encoder, rest, last, &used, &slice);
        if (step != EHLO_BODY_SLICE) break;
        int view = is_view(slice, rest, used);
        g->last_view = view ? slice.len : 0;
        g->at += used;
        add(g, slice);
    }
    if (step > EHLO_BODY_SLICE) c->body.fault = (uint8_t)step;
}

static void gather_body(ehlo_client *c, gathering *g)
{
    ehlo_sending *body = &c->body;
    ehlo_str piece = piece_in_reach(body);
    size_t raw = body->mode == EHLO_SEND_RAW || body->raw > piece.len ? piece.len : body->raw;
    g->encoder = body->encoder;
    add(g, body->fixed);
    add(g, ehlo_str_make(piece.ptr, raw));
    g->at = g->last_view = raw;
    g->beyond = body->raw > raw ? body->raw - raw : 0;
    if (!body->ending && body->mode != EHLO_SEND_RAW && g->beyond == 0 && body->fault == 0) add_encoded(c, g, piece);
    if (body->mode == EHLO_SEND_TEXT)
        g->complete =
            body->ending || (body->last && !body->cr && body->fault == 0 && g->beyond == 0 && g->at == piece.len);
    else
        g->complete = g->at == body->span;
    if (g->complete && body->mode == EHLO_SEND_TEXT && !body->ending) {
        g->last_view = 0;
        add(g, ehlo_encoder_end(&g->encoder));
    }
}

static void gather(ehlo_client *c, gathering *g)
{
    ehlo_str waiting = ehlo_client_waiting(c);
    int body = c->body.mode != EHLO_SEND_NONE;
    g->n = g->total = g->body = g->at = g->beyond = g->last_view = 0;
    g->complete = !body;
    g->before = body ? c->body.gap : waiting.len;
    add(g, ehlo_str_make(waiting.ptr, g->before));
    if (!body) return;
    gather_body(c, g);
    g->body = g->total - g->before;
    if (g->complete) add(g, behind(waiting, g->before));
}

/* -- what was taken --------------------------------------------------------------------------------- */

static void use_piece(ehlo_client *c, size_t len)
{
    ehlo_sending *body = &c->body;
    body->piece = behind(body->piece, len);
    count_taken(c, len);
    if (body->mode != EHLO_SEND_TEXT) body->span -= len;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Octets that need no encoding. What is left of `taken`. */
static size_t take_judged(ehlo_client *c, size_t taken)
{
    ehlo_sending *body = &c->body;
    size_t fixed = least(taken, body->fixed.len);
    body->fixed = behind(body->fixed, fixed);
    taken -= fixed;
    size_t raw = body->mode == EHLO_SEND_RAW ? taken : least(taken, body->raw);
    use_piece(c, raw);
    if (body->mode != EHLO_SEND_RAW) body->raw -= raw;
    return taken - raw;
}

/* The same way again, as far as it was gone. */
static void retrace(ehlo_client *c, size_t taken)
{
    ehlo_sending *body = &c->body;
    taken = take_judged(c, taken);
    while (taken > 0 && !body->ending) {
        ehlo_str piece = piece_in_reach(body);
        size_t used, went;
        ehlo_str slice;
        int last = ends_with(body, piece);
        if (encode(c, &body->encoder, piece, last, &used, &slice) != EHLO_BODY_SLICE) {
            body->fixed = ehlo_encoder_end(&body->encoder);
            body->ending = 1;
            take_judged(c, taken);
            return;
        }
        went = least(taken, slice.len);
        taken -= went;
        if (is_view(slice, piece, used)) {
            body->raw = slice.len - went;
            use_piece(c, went);
        } else {
            body->fixed = behind(slice, went);
            use_piece(c, used);
        }
    }
}

static void close_body(ehlo_client *c)
{
    c->ring[c->body.entry].open = 0;
    c->body.mode = EHLO_SEND_NONE;
    c->body.whole = 0;
    c->body.ending = 0;
    ehlo_client_settle_ring(c);
    if (c->body.owner != NULL) ehlo_transaction_body_left(c->body.owner);
}

static int promise_kept(const ehlo_client *c)
{
    return c->body.mode == EHLO_SEND_TEXT || c->body.size == 0;
}

static void take_body(ehlo_client *c, const gathering *g, size_t taken)
{
    ehlo_sending *body = &c->body;
    if (taken == g->body || (g->last_view > 0 && taken >= g->body - g->last_view)) {
        size_t left = g->body - taken;
        use_piece(c, g->at - left);
        body->fixed.len = 0;
        body->raw = left + g->beyond;
        body->encoder = g->encoder;
    } else {
        body->fault = 0; /* what is wrong further on is found again */
        retrace(c, taken);
    }
    if (body->mode != EHLO_SEND_TEXT) body->size -= taken;
    if (!g->complete || taken < g->body || body->gap > 0) return;
    if (promise_kept(c))
        close_body(c);
    else
        ehlo_client_end(c, EHLO_CLOSE_LOST, "the body was another one when it was sent");
}

/* -- tracing and wiping ----------------------------------------------------------------------------- */

/* Lines of the block are traced when they are offered for the first time. */
static void trace_block(ehlo_client *c)
{
    ehlo_str waiting = ehlo_client_waiting(c);
    size_t at = c->traced - c->left;
    const char *lf;
    while (at < waiting.len && (lf = memchr(waiting.ptr + at, '\n', waiting.len - at)) != NULL) {
        size_t end = (size_t)(lf - waiting.ptr) + 1;
        int secret = c->has_secret && c->left + (uint32_t)end == c->secret;
        ehlo_client_trace(c, EHLO_TRACE_OUT, ehlo_str_make(waiting.ptr + at, end - at - 2), secret);
        at = end;
    }
    c->traced = c->left + (uint32_t)waiting.len;
}

/* A block that was lent for a long line goes back. */
void ehlo_client_wipe(ehlo_client *c)
{
    if (!c->has_secret || c->out.block == NULL) return;
    ehlo_secret_wipe(c->out.block, c->out.size);
    if (c->out.size > c->config.out_max) ehlo_client_narrow(c);
}

static void take_block(ehlo_client *c, size_t taken)
{
    if (taken == 0) return;
    ehlo_out_taken(&c->out, taken);
    c->left += (uint32_t)taken;
    if (ehlo_out_empty(&c->out)) ehlo_client_wipe(c);
}

/* -- the write -------------------------------------------------------------------------------------- */

static int offer(ehlo_client *c, const gathering *g, size_t *taken)
{
    *taken = 0;
    c->quiet = 1;
    int error = c->callbacks.write(c, g->parts, g->n, taken, c->user);
    c->quiet = 0;
    if (error >= 0 && *taken <= g->total) return EHLO_OK;
    c->error = EHLO_ERR_TRANSPORT;
    ehlo_client_end(c, EHLO_CLOSE_LOST, "the connection was lost");
    return EHLO_ERR_TRANSPORT;
}

int ehlo_client_write(ehlo_client *c)
{
    gathering g;
    size_t taken;
    int body = c->body.mode != EHLO_SEND_NONE;
    int held = c->body.mode == EHLO_SEND_TEXT && ehlo_client_hold_cr(c);
    gather(c, &g);
    if (c->body.fault != 0 && c->body.owner != NULL) {
        ehlo_transaction_body_refused(c->body.owner);
        return 0;
    }
    if (g.total == 0) {
        if (body && g.complete) close_body(c);
        return held || (body && g.complete);
    }
    if (c->callbacks.on_trace != NULL) trace_block(c);
    if (offer(c, &g, &taken) != EHLO_OK) return 0;
    size_t before = least(taken, g.before);
    size_t inside = least(taken - before, g.body);
    c->blocked = taken < g.total;
    if (taken > 0 || !c->stalled) c->since = c->now;
    c->stalled = c->blocked;
    take_block(c, taken - inside);
    if (body) c->body.gap -= (uint32_t)before;
    if (body) take_body(c, &g, inside); /* last: it may call the application */
    return taken > 0;
}

/* -- pushed bodies ---------------------------------------------------------------------------------- */

/* The octet that is next to leave may not. */
static int bad_octet(const ehlo_client *c)
{
    const ehlo_sending *body = &c->body;
    return body->mode != EHLO_SEND_NONE && body->fault != 0 && body->fixed.len == 0 && body->raw == 0 && !c->blocked;
}

/* The end is remembered once nothing is to be offered again: what is left of the message is ours. */
void ehlo_client_withdraw(ehlo_client *c)
{
    if (c->body.piece.len > 0) c->body.last = 0;
    if (c->body.mode == EHLO_SEND_TEXT && c->body.last) c->body.whole = 1;
    c->body.piece = ehlo_str_make(NULL, 0);
}

int ehlo_client_push(ehlo_client *c, uint64_t now, const char *bytes, size_t len, int last, size_t *used)
{
    *used = 0;
    int error = ehlo_client_enter(c, now);
    if (error != EHLO_OK) return error;
    int chunk = c->body.mode != EHLO_SEND_TEXT;
    if (c->body.mode == EHLO_SEND_NONE || c->body.whole || c->body.owner != NULL || (chunk && len > c->body.span)) {
        c->running = 0;
        return EHLO_ERR_STATE;
    }
    uint64_t before = c->body.taken;
    ehlo_client_offer(c, ehlo_str_make(bytes, len), last);
    error = ehlo_client_leave(c);
    *used = (size_t)(c->body.taken - before);
    if (error == EHLO_OK && bad_octet(c)) error = EHLO_ERR_SYNTAX;
    ehlo_client_withdraw(c);
    return error;
}
