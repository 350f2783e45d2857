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

void ehlo_state_hello(ehlo_state *state, ehlo_verb verb);
void ehlo_state_tls(ehlo_state *state);
void ehlo_state_authenticated(ehlo_state *state);
void ehlo_state_restart(ehlo_state *state); /* as after a new greeting: XCLIENT */

void ehlo_state_mail(ehlo_state *state, const ehlo_mail *mail); /* judged by the peer's reply: see _mail_accepted */
void ehlo_state_mail_accepted(ehlo_state *state);
void ehlo_state_rcpt(ehlo_state *state, int accepted);
void ehlo_state_chunk(ehlo_state *state);
void ehlo_state_kill(ehlo_state *state);
void ehlo_state_end(ehlo_state *state); /* the one place where a transaction is cleared */

/* 1 while the application holds a transaction that will see on_message or on_reset. */
int ehlo_state_open(const ehlo_state *state);

#endif
