/* lib/net/relay.h - what a relay consists of, and what its parts tell it.
 *
 *     relay.c          claims batches, and comes to an end with its loop
 *     attempt.c        one batch under way: does what its delivery asks for
 *     record.c         the store's side of it: the lease, and what is recorded at the end
 *     report.c         the messages about deliveries that it leaves behind
 *     destination.c    how many batches may be under way to one place
 *     relay_session.c  the sessions with its hosts */
#ifndef EHLO_NET_RELAY_H
#define EHLO_NET_RELAY_H

#include "conn.h"

typedef struct ehlo_attempt ehlo_attempt;
typedef struct ehlo_destination ehlo_destination;
typedef struct ehlo_relay_session ehlo_relay_session;
typedef struct ehlo_claiming ehlo_claiming;

struct ehlo_relay {
    ehlo_loop *loop;
    ehlo_conn *guard; /* keeps the loop from its end until all is recorded; NULL once it is */
    ehlo_relay_config cfg;
    ehlo_relay_policy policy;  /* cfg.policy */
    ehlo_client_config client; /* cfg.client */
    uint8_t gone;              /* 1: it is being freed: nobody is told anything */
    uint8_t out_of_grace;      /* 1: what cannot be recorded at once is left to its lease */

    ehlo_attempt *attempts;
    size_t busy;    /* how many those are */
    size_t resting; /* of them: those that wait for a store that fails */
    ehlo_destination *destinations;
    ehlo_relay_session *sessions;

    ehlo_claiming *claiming; /* what the store has still to answer; NULL: nothing */
    ehlo_timer seek;         /* for the next claim */
    uint64_t not_before;     /* when that may be, behind one that failed: ms of the loop */
    uint32_t patience_ms;    /* see ehlo_patience */
    uint8_t seek_again;      /* 1: something has changed since the claim under way */
    char name[];             /* client.name */
};

/* The time as the store has it: Unix ms. */
int64_t ehlo_relay_now(const ehlo_relay *relay);
/* Tells on_problem what went wrong, of which message (empty: of none), and why (EHLO_OK: there is no more to be said). */
void ehlo_relay_problem(const ehlo_relay *relay, const char *what, ehlo_str message, int error);
/* An attempt has begun, or ended. */
void ehlo_relay_begun(ehlo_relay *relay, ehlo_attempt *attempt);
void ehlo_relay_ended(ehlo_relay *relay, ehlo_attempt *attempt);
/* One waits now for a store that fails, and makes room; or does not wait any more. */
void ehlo_relay_rests(ehlo_relay *relay, ehlo_attempt *attempt);
void ehlo_relay_rested(ehlo_relay *relay, ehlo_attempt *attempt);

/* Milliseconds to wait behind another failure: more from time to time. *ms begins with 0. */
uint32_t ehlo_patience(uint32_t *ms);

#endif
