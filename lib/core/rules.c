#include "rules.h"

#include <ehlo/server.h>

/* RFC 8314 3.3: not in clear, but where that is wanted, and TLS is not insisted on: who is told of AUTH there may say a
 * password for nothing. */
static int may_authenticate(const ehlo_state *state, const ehlo_offer *offer)
{
    return state->tls ||
           (offer->flags & (EHLO_SERVICE_AUTH_CLEAR | EHLO_SERVICE_REQUIRE_TLS)) == EHLO_SERVICE_AUTH_CLEAR;
}

uint32_t ehlo_rules_offered(const ehlo_state *state, const ehlo_offer *offer)
{
    uint32_t caps = offer->extensions;
    if (state->tls)
        caps &= ~(uint32_t)EHLO_CAP_STARTTLS; /* RFC 3207 4.2 */
    else
        caps &= ~(uint32_t)EHLO_CAP_REQUIRETLS;                 /* RFC 8689 4.1: inside TLS only */
    if (state->authenticated) caps &= ~(uint32_t)EHLO_CAP_AUTH; /* RFC 4954 3 */
    if (!may_authenticate(state, offer)) caps &= ~(uint32_t)EHLO_CAP_AUTH;
    return caps;
}

/* A HELO session has no extensions (RFC 5321 4.1.1.1). AUTH= on MAIL outlives the offer of AUTH (RFC 4954 5). */
uint32_t ehlo_rules_parameters(const ehlo_state *state, const ehlo_offer *offer)
{
    if (state->hello != EHLO_VERB_EHLO && state->hello != EHLO_VERB_LHLO) return 0;
    return ehlo_rules_offered(state, offer) | (offer->extensions & EHLO_CAP_AUTH);
}

/* What a verb asks for, and is spared. */
enum {
    NEEDS_HELLO = 1, /* RFC 5321 4.1.4 */
    NEEDS_AUTH = 2,  /* RFC 6409 4.3: it acts for the user */
    /* RFC 3207 4: a server that insists on TLS answers 530 to all but NOOP, EHLO, STARTTLS and QUIT. */
    BEFORE_TLS = 4,
    OUTSIDE = 8 /* not within a transaction */
};

static const struct trait {
    uint32_t extension; /* the one it belongs to; 0 for RFC 5321's own */
    unsigned bits;
} traits[EHLO_VERB_COUNT] = {
    [EHLO_VERB_UNKNOWN] = { 0, BEFORE_TLS },
    [EHLO_VERB_EHLO] = { 0, BEFORE_TLS },
    [EHLO_VERB_LHLO] = { 0, BEFORE_TLS },
    [EHLO_VERB_NOOP] = { 0, BEFORE_TLS },
    [EHLO_VERB_QUIT] = { 0, BEFORE_TLS },
    [EHLO_VERB_MAIL] = { 0, NEEDS_HELLO | NEEDS_AUTH },
    [EHLO_VERB_RCPT] = { 0, NEEDS_HELLO },
    [EHLO_VERB_DATA] = { 0, NEEDS_HELLO },
    [EHLO_VERB_BDAT] = { EHLO_CAP_CHUNKING, NEEDS_HELLO },
    [EHLO_VERB_STARTTLS] = { EHLO_CAP_STARTTLS, NEEDS_HELLO | BEFORE_TLS | OUTSIDE },
    [EHLO_VERB_AUTH] = { EHLO_CAP_AUTH, NEEDS_HELLO | OUTSIDE }, /* RFC 4954 4 */
    [EHLO_VERB_ETRN] = { EHLO_CAP_ETRN, NEEDS_HELLO | NEEDS_AUTH | OUTSIDE },
    [EHLO_VERB_XCLIENT] = { EHLO_CAP_XCLIENT, NEEDS_HELLO | OUTSIDE },
    [EHLO_VERB_VRFY] = { 0, NEEDS_AUTH },
    [EHLO_VERB_EXPN] = { EHLO_CAP_EXPN, NEEDS_AUTH },
    [EHLO_VERB_VERB] = { EHLO_CAP_VERB, 0 },
};

/* RFC 2033 4.1: LHLO in place of EHLO and HELO, which LMTP does not know. */
static ehlo_standard judge_hello(const ehlo_offer *offer, ehlo_verb verb)
{
    int lmtp = (offer->flags & EHLO_SERVICE_LMTP) != 0;
    return (verb == EHLO_VERB_LHLO) == lmtp ? EHLO_SAY_NOTHING : EHLO_SAY_UNKNOWN;
}

static ehlo_standard judge_extension(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb)
{
    if (verb >= EHLO_VERB_TURN) return EHLO_SAY_NOT_OFFERED;
    if (traits[verb].extension & ~offer->extensions) return EHLO_SAY_NOT_OFFERED;
    if (verb == EHLO_VERB_STARTTLS && state->tls) return EHLO_SAY_TLS_ALREADY;
    return EHLO_SAY_NOTHING;
}

/* RFC 5321 4.1.4; an extension's verb needs the hello that offered it (RFC 5321 2.2.1). */
static ehlo_standard judge_order(const ehlo_state *state, ehlo_verb verb)
{
    if (!(traits[verb].bits & NEEDS_HELLO)) return EHLO_SAY_NOTHING;
    if (state->hello == 0) return EHLO_SAY_HELLO_FIRST;
    return state->hello == EHLO_VERB_HELO && traits[verb].extension != 0 ? EHLO_SAY_HELLO_FIRST : EHLO_SAY_NOTHING;
}

/* AUTH itself, where it is offered (RFC 4954 4). */
static ehlo_standard judge_auth(const ehlo_state *state, const ehlo_offer *offer)
{
    if (state->authenticated) return EHLO_SAY_ALREADY;
    return may_authenticate(state, offer) ? EHLO_SAY_NOTHING : EHLO_SAY_AUTH_NEEDS_TLS;
}

/* A service that asks for neither has no more to say of security, but of AUTH. */
enum { INSISTS = EHLO_SERVICE_REQUIRE_TLS | EHLO_SERVICE_REQUIRE_AUTH };

static ehlo_standard judge_security(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb)
{
    int wants_tls = (offer->flags & EHLO_SERVICE_REQUIRE_TLS) && !state->tls;
    int wants_auth = (offer->flags & EHLO_SERVICE_REQUIRE_AUTH) && !state->authenticated;
    if (wants_tls && !(traits[verb].bits & BEFORE_TLS)) return EHLO_SAY_TLS_FIRST;
    if (wants_auth && (traits[verb].bits & NEEDS_AUTH)) return EHLO_SAY_AUTH_FIRST;
    return verb == EHLO_VERB_AUTH ? judge_auth(state, offer) : EHLO_SAY_NOTHING;
}

static ehlo_standard judge_data(const ehlo_state *state, const ehlo_offer *offer)
{
    if (state->body == EHLO_BODY_BINARYMIME) return EHLO_SAY_BINARY; /* RFC 3030 3 */
    if (state->recipients > 0) return EHLO_SAY_NOTHING;
    /* RFC 5321 3.3: 503 or 554; RFC 2033 4.2: LMTP knows 503 alone. */
    return state->refused && !(offer->flags & EHLO_SERVICE_LMTP) ? EHLO_SAY_NO_RCPT : EHLO_SAY_RCPT_FIRST;
}

static ehlo_standard judge_bdat(const ehlo_state *state)
{
    if (state->transaction == EHLO_TRANSACTION_NONE) return EHLO_SAY_MAIL_FIRST;
    if (state->transaction == EHLO_TRANSACTION_DEAD) return EHLO_SAY_DEAD;
    return state->recipients > 0 ? EHLO_SAY_NOTHING : EHLO_SAY_RCPT_FIRST;
}

static ehlo_standard judge_inside(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb)
{
    if (state->transaction == EHLO_TRANSACTION_DEAD) return EHLO_SAY_DEAD;
    if (state->transaction == EHLO_TRANSACTION_CHUNKS) return EHLO_SAY_CHUNKING;
    if (verb == EHLO_VERB_RCPT) return EHLO_SAY_NOTHING;
    return verb == EHLO_VERB_DATA ? judge_data(state, offer) : EHLO_SAY_NESTED_MAIL;
}

static ehlo_standard judge_transaction(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb)
{
    int none = state->transaction == EHLO_TRANSACTION_NONE;
    switch (verb) {
    case EHLO_VERB_MAIL:
        return none ? EHLO_SAY_NOTHING : judge_inside(state, offer, verb);
    case EHLO_VERB_RCPT:
    case EHLO_VERB_DATA:
        return none ? EHLO_SAY_MAIL_FIRST : judge_inside(state, offer, verb);
    case EHLO_VERB_BDAT:
        return judge_bdat(state);
    default:
        return !none && (traits[verb].bits & OUTSIDE) ? EHLO_SAY_SEQUENCE : EHLO_SAY_NOTHING;
    }
}

ehlo_standard ehlo_rules_judge(const ehlo_state *state, const ehlo_offer *offer, ehlo_verb verb)
{
    ehlo_standard no;
    if (verb == EHLO_VERB_EHLO || verb == EHLO_VERB_HELO || verb == EHLO_VERB_LHLO) {
        no = judge_hello(offer, verb);
        if (no != EHLO_SAY_NOTHING) return no;
    }
    no = judge_extension(state, offer, verb);
    if (no == EHLO_SAY_NOTHING) no = judge_order(state, verb);
    if (no == EHLO_SAY_NOTHING && (offer->flags & INSISTS || verb == EHLO_VERB_AUTH)) {
        no = judge_security(state, offer, verb);
    }
    if (no == EHLO_SAY_NOTHING) no = judge_transaction(state, offer, verb);
    return no;
}
