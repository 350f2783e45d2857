/* lib/net/relay_session.h - the sessions of a relay with the hosts of its destinations. */
#ifndef EHLO_NET_RELAY_SESSION_H
#define EHLO_NET_RELAY_SESSION_H

#include "attempt.h"

/* One, from the connect on. */
struct ehlo_relay_session {
    ehlo_relay_session *next;
    ehlo_relay *relay;
    ehlo_destination *destination; /* NULL: it serves no other batch */
    ehlo_attempt *attempt;         /* whom it serves now; NULL: nobody */
    ehlo_client *client;           /* NULL: it is not open yet */
    ehlo_conn_id id;
    ehlo_timer idle;
    uint32_t messages; /* transactions so far */
    uint8_t verified;  /* 1: for messages that insist on TLS (RFC 8689) */
    size_t host_len;
    char host[EHLO_REPLY_KEPT];
};

/* Opens one for the attempt, as its task says: ehlo_attempt_ready or ehlo_attempt_unreached follows. Otherwise as
 * ehlo_loop_connect. */
int ehlo_relay_session_open(ehlo_attempt *attempt, const ehlo_task *task);
/* One that is idle, for the attempt; NULL: there is none for it. */
ehlo_relay_session *ehlo_relay_session_find(ehlo_attempt *attempt);
/* The attempt's transaction is over, or was none: the session waits for another batch, or ends. */
void ehlo_relay_session_rest(ehlo_attempt *attempt);
/* The one that the attempt seeks is not needed any more. */
void ehlo_relay_session_give_up(ehlo_attempt *attempt);
/* All are lost. */
void ehlo_relay_sessions_end(ehlo_relay *relay);

#endif
