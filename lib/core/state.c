#include "state.h"

void ehlo_state_end(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_NONE;
    state->body = EHLO_BODY_DEFAULT;
    state->utf8 = 0;
    state->refused = 0;
    state->recipients = 0;
}

/* RFC 5321 4.1.4: a hello clears all buffers, as RSET does. */
void ehlo_state_hello(ehlo_state *state, ehlo_verb verb)
{
    ehlo_state_end(state);
    state->hello = (uint8_t)verb;
}

/* RFC 3207 4.2: nothing learnt before the handshake counts. */
void ehlo_state_tls(ehlo_state *state)
{
    ehlo_state_restart(state);
    state->tls = 1;
}

void ehlo_state_authenticated(ehlo_state *state)
{
    state->authenticated = 1;
}

void ehlo_state_restart(ehlo_state *state)
{
    ehlo_state_end(state);
    state->hello = 0;
    state->authenticated = 0;
}

void ehlo_state_mail(ehlo_state *state, const ehlo_mail *mail)
{
    state->body = mail->body;
    state->utf8 = (mail->present & EHLO_PARAM_SMTPUTF8) != 0;
}

void ehlo_state_mail_accepted(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_OPEN;
    state->messages++;
}

void ehlo_state_rcpt(ehlo_state *state, int accepted)
{
    if (accepted)
        state->recipients++;
    else
        state->refused = 1;
}

void ehlo_state_chunk(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_CHUNKS;
}

void ehlo_state_kill(ehlo_state *state)
{
    state->transaction = EHLO_TRANSACTION_DEAD;
}

int ehlo_state_open(const ehlo_state *state)
{
    return state->transaction == EHLO_TRANSACTION_OPEN || state->transaction == EHLO_TRANSACTION_CHUNKS;
}
