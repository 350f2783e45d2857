/* lib/net/attempt.h - one batch under way. */
#ifndef EHLO_NET_ATTEMPT_H
#define EHLO_NET_ATTEMPT_H

#include "destination.h"

typedef struct ehlo_reports ehlo_reports;

/* Calls of the store: for one batch there is one at a time. */
typedef enum ehlo_call {
    EHLO_CALL_NONE = 0,
    EHLO_CALL_RENEW,
    EHLO_CALL_BODY,
    EHLO_CALL_REPORT,
    EHLO_CALL_RECORD
} ehlo_call;

typedef enum ehlo_phase {
    EHLO_PHASE_DELIVER = 0, /* what the delivery asks for is under way */
    EHLO_PHASE_REPORT,      /* reports are written */
    EHLO_PHASE_RECORD,      /* all is recorded */
    EHLO_PHASE_RELEASE      /* nothing is to be recorded */
} ehlo_phase;

struct ehlo_attempt {
    ehlo_kept kept; /* first, see ehlo_loop_keep */
    ehlo_attempt *next;
    ehlo_attempt **link; /* what points to it */
    ehlo_relay *relay;
    ehlo_batch *batch;
    ehlo_destination *destination;
    uint8_t phase;   /* ehlo_phase */
    uint8_t lost;    /* 1: somebody else has the batch now */
    uint8_t broken;  /* 1: the message cannot be read */
    uint8_t reached; /* 1: a host of the destination could be */
    uint8_t begun;   /* 1: a transaction was begun */
    uint8_t reused;  /* 1: a session that was open already was tried */
    uint8_t late;    /* 1: it took too long */
    uint8_t resting; /* 1: it waits for a store that fails */
    ehlo_timer limit;

    ehlo_delivery *delivery;
    ehlo_lookup *lookup;           /* under way; NULL: none */
    ehlo_relay_session *session;   /* sought or in use; NULL: none */
    ehlo_transaction *transaction; /* under way; NULL: none */

    uint8_t call; /* ehlo_call: which one the store has still to answer */
    ehlo_pending pending;
    uint8_t body_wanted; /* 1: the transaction waits for a piece */
    uint8_t body_here;   /* 1: it is here, and is what is to be had at body_offset */
    uint64_t body_offset;
    ehlo_str piece;
    int piece_last;

    ehlo_timer renewal;
    uint8_t renewal_due; /* 1: as soon as the store may be called */
    int64_t lease_until; /* Unix ms */
    int64_t lease_asked; /* by the renewal under way */

    ehlo_progress progress;
    int64_t concluded; /* Unix ms */
    ehlo_reports *reports;
    ehlo_timer retry;     /* behind a failure of the store */
    uint32_t patience_ms; /* see ehlo_patience */

    max_align_t memory[]; /* of the transaction, then of the delivery */
};

/* EHLO_ERR_MEMORY: the batch was released. */
int ehlo_attempt_start(ehlo_relay *relay, ehlo_batch *batch);
/* The loop is to stop: what has not begun is given up. */
void ehlo_attempt_stop(ehlo_attempt *attempt);

/* The session that it sought is open, or could not be opened. */
void ehlo_attempt_ready(ehlo_attempt *attempt);
void ehlo_attempt_unreached(ehlo_attempt *attempt, const ehlo_failure *failure);

/* -- its delivery, as record.c needs it ------------------------------------------------------------- */

/* Does what the delivery asks for next. */
void ehlo_attempt_go_on(ehlo_attempt *attempt);
/* `late` or `lost` is set: gives up what is under way, unless the message has left. */
void ehlo_attempt_break_off(ehlo_attempt *attempt);

#endif
