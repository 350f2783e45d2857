/* state.h - what an SMTP conversation is in, and the only functions that change it. Knows no role and no I/O. */
#ifndef EHLO_CORE_STATE_H
#define EHLO_CORE_STATE_H

#include <ehlo/syntax.h>

typedef enum ehlo_transaction_state {
    EHLO_TRANSACTION_NONE = 0,
    EHLO_TRANSACTION_OPEN,   /* MAIL was accepted */
    EHLO_TRANSACTION_CHUNKS, /* and a BDAT since: only BDAT may follow (RFC 3030 2) */
    EHLO_TRANSACTION_DEAD    /* a chunk was refused: the application has forgotten it, the peer has not yet */
} ehlo_transaction_state;

typedef struct ehlo_state {
    uint8_t hello;         /* the ehlo_verb that was accepted: EHLO, HELO, LHLO, or 0 */
    uint8_t tls;           /* inside TLS */
    uint8_t authenticated; /* AUTH succeeded */
    uint8_t transaction;   /* ehlo_transaction_state */
    uint8_t body;          /* ehlo_body of MAIL */
    uint8_t utf8;          /* MAIL had SMTPUTF8 */
    uint8_t refused;       /* a RCPT of this transaction was refused */
    uint32_t recipients;   /* accepted in this transaction */
    uint32_t messages;     /* transactions opened in this session */
} ehlo_state;

/* The one place where a transaction is cleared. */
static inline void ehlo_state_end(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_NONE;
    state->body = EHLO_BODY_DEFAULT;
    state->utf8 = 0;
    state->refused = 0;
    state->recipients = 0;
}

/* RFC 5321 4.1.4: a hello clears all buffers, as RSET does. */
static inline void ehlo_state_hello(ehlo_state *state, ehlo_verb verb)
{
    ehlo_state_end(state);
    state->hello = (uint8_t)verb;
}

/* As after a new greeting: XCLIENT. */
static inline void ehlo_state_restart(ehlo_state *state)
{
    ehlo_state_end(state);
    state->hello = 0;
    state->authenticated = 0;
}

/* RFC 3207 4.2: nothing learnt before the handshake counts. */
static inline void ehlo_state_tls(ehlo_state *state)
{
    ehlo_state_restart(state);
    state->tls = 1;
}

static inline void ehlo_state_authenticated(ehlo_state *state)
{
    state->authenticated = 1;
}

/* Judged by the peer's reply: see ehlo_state_mail_accepted. */
static inline void ehlo_state_mail(ehlo_state *state, const ehlo_mail *mail)
{
    state->body = mail->body;
    state->utf8 = (mail->present & EHLO_PARAM_SMTPUTF8) != 0;
}

static inline void ehlo_state_mail_accepted(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_OPEN;
    state->messages++;
}

static inline void ehlo_state_rcpt(ehlo_state *state, int accepted)
{
    if (accepted)
        state->recipients++;
    else
        state->refused = 1;
}

static inline void ehlo_state_chunk(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_CHUNKS;
}

static inline void ehlo_state_kill(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_DEAD;
}

/* 1 while the application holds a transaction that will see on_message or on_reset. */
static inline int ehlo_state_open(const ehlo_state *state)
{
    return state->transaction == EHLO_TRANSACTION_OPEN || state->transaction == EHLO_TRANSACTION_CHUNKS;
}

#endif
