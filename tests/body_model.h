/* body_model.h - the body codec once more, an octet at a time and as plainly as can be: what the real one is
 * held against, by the tests and by the fuzz target. */
#ifndef EHLO_TESTS_BODY_MODEL_H
#define EHLO_TESTS_BODY_MODEL_H

#include <ehlo/body.h>

#include <stdlib.h>
#include <string.h>

/* What became of a text: what was handed out, the violation met (0: none) and how much had been consumed by
 * then, whether the end was met, and how much was consumed at last. */
typedef struct body_outcome {
    char *message;
    size_t size;
    int violation;
    size_t violation_at;
    int ended;
    size_t consumed;
} body_outcome;

static inline body_outcome outcome_new(size_t room)
{
    body_outcome outcome = { 0 };
    outcome.message = malloc(room > 0 ? room : 1);
    if (outcome.message == NULL) abort();
    return outcome;
}

static inline void outcome_append(body_outcome *outcome, const char *octets, size_t len)
{
    if (len > 0) memcpy(outcome->message + outcome->size, octets, len);
    outcome->size += len;
}

static inline int outcome_equal(const body_outcome *a, const body_outcome *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->message, b->message, a->size) == 0) &&
           a->violation == b->violation && a->violation_at == b->violation_at && a->ended == b->ended &&
           a->consumed == b->consumed;
}

enum model_state { MODEL_START, MODEL_INSIDE, MODEL_CR, MODEL_DOT, MODEL_DOT_CR };

typedef struct body_model {
    body_outcome outcome;
    enum model_state state;
    const ehlo_codec *codec;
    size_t column;
} body_model;

static inline void model_violate(body_model *model, int violation, size_t at)
{
    if (model->outcome.violation != 0) return;
    model->outcome.violation = violation;
    model->outcome.violation_at = at;
}

static inline void model_line_end(body_model *model)
{
    if (model->outcome.violation == 0) outcome_append(&model->outcome, "\r\n", 2);
    model->column = 0;
    model->state = MODEL_START;
}

static inline void model_data(body_model *model, char octet, size_t at)
{
    model->state = MODEL_INSIDE;
    if (model->codec->line_max != 0 && model->column == model->codec->line_max) {
        model_violate(model, EHLO_BODY_LONG, at);
    }
    model->column++;
    if (model->outcome.violation == 0) outcome_append(&model->outcome, &octet, 1);
}

static inline void model_bare(body_model *model, char octet, size_t at)
{
    unsigned policy = octet == '\r' ? model->codec->bare_cr : model->codec->bare_lf;
    if (policy == EHLO_BARE_DEFAULT || policy == EHLO_BARE_REJECT) {
        model_violate(model, octet == '\r' ? EHLO_BODY_BARE_CR : EHLO_BODY_BARE_LF, at);
    }
    model_data(model, policy == EHLO_BARE_NORMALISE ? ' ' : octet, at);
}

static inline void model_octet(body_model *model, char octet, size_t at)
{
    if (model->state == MODEL_DOT) {
        model->state = octet == '\r' ? MODEL_DOT_CR : MODEL_INSIDE;
        if (octet == '\r') return;
    }
    if (model->state == MODEL_DOT_CR || model->state == MODEL_CR) {
        if (octet == '\n' && model->state == MODEL_DOT_CR)
            model->outcome.ended = 1;
        else if (octet == '\n')
            model_line_end(model);
        if (octet == '\n') return;
        model_bare(model, '\r', at - 1);
    }
    if (octet == '.' && model->state == MODEL_START)
        model->state = MODEL_DOT;
    else if (octet == '\r')
        model->state = MODEL_CR;
    else if (octet == '\n')
        model_bare(model, '\n', at);
    else
        model_data(model, octet, at);
}

/* Decodes by the model. The caller frees outcome.message. */
static inline body_outcome model_decode(const ehlo_codec *codec, const char *text, size_t len)
{
    static const size_t held[] = { [MODEL_CR] = 1, [MODEL_DOT] = 1, [MODEL_DOT_CR] = 2 };
    body_model model = { outcome_new(len), MODEL_START, codec, 0 };
    size_t at = 0;
    for (; at < len && !model.outcome.ended; at++) model_octet(&model, text[at], at);
    model.outcome.consumed = model.outcome.ended ? at : at - held[model.state];
    return model.outcome;
}

/* canon(x) of body.h for chunks, or the violation for which it is refused; the line limit is not looked at. */
static inline body_outcome model_counted_canon(const ehlo_codec *codec, const char *x, size_t len)
{
    body_outcome outcome = outcome_new(2 * len + 2);
    for (size_t i = 0; i < len; i++) {
        int bare_cr = x[i] == '\r' && (i + 1 == len || x[i + 1] != '\n');
        int bare_lf = x[i] == '\n' && (i == 0 || x[i - 1] != '\r');
        if (bare_cr && codec->bare_cr != EHLO_BARE_NORMALISE) outcome.violation = EHLO_BODY_BARE_CR;
        if (bare_lf && codec->bare_lf == EHLO_BARE_REJECT) outcome.violation = EHLO_BODY_BARE_LF;
        if (outcome.violation != 0) {
            outcome.violation_at = i;
            return outcome;
        }
        if (bare_cr)
            outcome_append(&outcome, " ", 1);
        else if (bare_lf)
            outcome_append(&outcome, "\r\n", 2);
        else
            outcome_append(&outcome, x + i, 1);
    }
    return outcome;
}

/* canon(x) likewise for DATA. */
static inline body_outcome model_canon(const ehlo_codec *codec, const char *x, size_t len)
{
    body_outcome outcome = model_counted_canon(codec, x, len);
    if (outcome.size == 0 || outcome.violation != 0) return outcome;
    if (outcome.size < 2 || memcmp(outcome.message + outcome.size - 2, "\r\n", 2) != 0) {
        outcome_append(&outcome, "\r\n", 2);
    }
    return outcome;
}

#endif
