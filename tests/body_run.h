/* body_run.h - runs the body codec over a text in pieces, each flush against an unreadable page, and checks
 * after every step what body.h promises of it. */
#ifndef EHLO_TESTS_BODY_RUN_H
#define EHLO_TESTS_BODY_RUN_H

#include "guard.h"

#include "body_model.h"

#include <stdio.h>

/* How a text is offered: `first` octets, then `step` (not 0) more at a time. */
typedef struct body_cuts {
    size_t first;
    size_t step;
} body_cuts;

#define BODY_CHECK(promise)                                                                                            \
    do {                                                                                                               \
        if (!(promise)) {                                                                                              \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #promise);                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static inline char *against_guard(const char *text, size_t len)
{
    enum { ROOM = 1 << 21 };
    static char *window;
    if (window == NULL) {
        char *zeros = calloc(1, ROOM);
        BODY_CHECK(zeros != NULL);
        window = guard_copy(zeros, ROOM);
        free(zeros);
    }
    BODY_CHECK(len <= ROOM);
    if (len > 0) memcpy(window + ROOM - len, text, len);
    return window + ROOM - len;
}

static inline size_t next_cut(size_t visible, size_t more, size_t len)
{
    return len - visible > more ? visible + more : len;
}

static inline void check_step(int step, const char *bytes, size_t len, size_t used, ehlo_str slice)
{
    int is_view = slice.len > 0 && slice.ptr >= bytes && slice.ptr < bytes + len;
    BODY_CHECK(used <= len);
    BODY_CHECK((step == EHLO_BODY_SLICE) == (slice.len > 0));
    if (is_view)
        BODY_CHECK(slice.ptr + slice.len == bytes + used);
    else
        BODY_CHECK(slice.len <= 2);
}

static inline void note_violation(body_outcome *outcome, int violation, size_t at)
{
    BODY_CHECK(outcome->violation == 0);
    outcome->violation = violation;
    outcome->violation_at = at;
}

/* The steps that a piece allows, up to MORE or END; *at moves by what was consumed. */
static inline int decode_piece(ehlo_decoder *decoder, const ehlo_codec *codec, const char *bytes, size_t len,
                               size_t *at, body_outcome *outcome)
{
    for (;;) {
        ehlo_str slice;
        size_t used;
        int step = ehlo_decode(decoder, codec, bytes, len, &used, &slice);
        check_step(step, bytes, len, used, slice);
        BODY_CHECK(outcome->violation == 0 || step == EHLO_BODY_MORE || step == EHLO_BODY_END);
        outcome_append(outcome, slice.ptr, slice.len);
        bytes += used;
        len -= used;
        *at += used;
        if (step == EHLO_BODY_MORE) BODY_CHECK(len <= 2);
        if (step == EHLO_BODY_MORE || step == EHLO_BODY_END) return step;
        if (step != EHLO_BODY_SLICE) note_violation(outcome, step, *at);
    }
}

/* Decodes by the library. The caller frees outcome.message. */
static inline body_outcome run_decode(const ehlo_codec *codec, const char *text, size_t len, body_cuts cuts)
{
    body_outcome outcome = outcome_new(len);
    size_t visible = next_cut(0, cuts.first, len);
    ehlo_decoder decoder;
    ehlo_decoder_init(&decoder);
    for (;;) {
        size_t offered = visible - outcome.consumed;
        const char *piece = against_guard(text + outcome.consumed, offered);
        int step = decode_piece(&decoder, codec, piece, offered, &outcome.consumed, &outcome);
        outcome.ended = step == EHLO_BODY_END;
        if (outcome.ended || visible == len) return outcome;
        visible = next_cut(visible, cuts.step, len);
    }
}

/* ehlo_encode or ehlo_encode_counted. */
typedef int body_encode(ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes, size_t len, int last,
                        size_t *used, ehlo_str *slice);

/* The steps of an encoder likewise, up to MORE or a violation. */
static inline int encode_piece(body_encode *encode, ehlo_encoder *encoder, const ehlo_codec *codec, const char *bytes,
                               size_t len, int last, body_outcome *outcome)
{
    for (;;) {
        ehlo_str slice;
        size_t used;
        int step = encode(encoder, codec, bytes, len, last, &used, &slice);
        check_step(step, bytes, len, used, slice);
        outcome_append(outcome, slice.ptr, slice.len);
        bytes += used;
        len -= used;
        outcome->consumed += used;
        if (step == EHLO_BODY_MORE) BODY_CHECK(len <= (last ? 0 : 1));
        if (step == EHLO_BODY_MORE) return step;
        if (step != EHLO_BODY_SLICE) {
            note_violation(outcome, step, outcome->consumed);
            return step;
        }
    }
}

/* Encodes by the library. The caller frees outcome.message. */
static inline body_outcome run_encode_by(body_encode *encode, const ehlo_codec *codec, const char *text, size_t len,
                                         body_cuts cuts)
{
    body_outcome outcome = outcome_new(2 * len + 5);
    size_t visible = next_cut(0, cuts.first, len);
    ehlo_encoder encoder;
    ehlo_str end;
    ehlo_encoder_init(&encoder);
    for (;;) {
        size_t offered = visible - outcome.consumed;
        const char *piece = against_guard(text + outcome.consumed, offered);
        int step = encode_piece(encode, &encoder, codec, piece, offered, visible == len, &outcome);
        if (step != EHLO_BODY_MORE) return outcome;
        if (visible == len) break;
        visible = next_cut(visible, cuts.step, len);
    }
    end = ehlo_encoder_end(&encoder);
    if (encode == ehlo_encode) outcome_append(&outcome, end.ptr, end.len);
    outcome.ended = 1;
    return outcome;
}

/* For DATA, terminator and all. */
static inline body_outcome run_encode(const ehlo_codec *codec, const char *text, size_t len, body_cuts cuts)
{
    return run_encode_by(ehlo_encode, codec, text, len, cuts);
}

/* Decoding in these pieces gives what the model gives. */
static inline void check_decode(const ehlo_codec *codec, const char *text, size_t len, body_cuts cuts,
                                const body_outcome *expected)
{
    body_outcome got = run_decode(codec, text, len, cuts);
    BODY_CHECK(outcome_equal(&got, expected));
    free(got.message);
}

/* What is on the wire is canon(x) to a strict receiver, to its last octet; or x is refused where canon is. */
static inline void check_encode(const ehlo_codec *codec, const char *x, size_t len, body_cuts cuts)
{
    body_outcome canon = model_canon(codec, x, len);
    body_outcome wire = run_encode(codec, x, len, cuts);
    BODY_CHECK(wire.violation == canon.violation && wire.violation_at == canon.violation_at);
    if (wire.violation == 0) {
        ehlo_codec strict;
        body_outcome arrived;
        BODY_CHECK(ehlo_codec_init(&strict, EHLO_BARE_REJECT, EHLO_BARE_REJECT, 0) == EHLO_OK);
        arrived = model_decode(&strict, wire.message, wire.size);
        BODY_CHECK(arrived.ended && arrived.violation == 0 && arrived.consumed == wire.size);
        BODY_CHECK(arrived.size == canon.size && memcmp(arrived.message, canon.message, canon.size) == 0);
        free(arrived.message);
    }
    free(wire.message);
    free(canon.message);
}

/* What chunks carry is canon(x), or x is refused where canon is. */
static inline void check_encode_counted(const ehlo_codec *codec, const char *x, size_t len, body_cuts cuts)
{
    body_outcome canon = model_counted_canon(codec, x, len);
    body_outcome wire = run_encode_by(ehlo_encode_counted, codec, x, len, cuts);
    BODY_CHECK(wire.violation == canon.violation && wire.violation_at == canon.violation_at);
    if (wire.violation == 0) {
        BODY_CHECK(wire.size == canon.size && memcmp(wire.message, canon.message, canon.size) == 0);
        BODY_CHECK(wire.consumed == len);
    }
    free(wire.message);
    free(canon.message);
}

#endif
