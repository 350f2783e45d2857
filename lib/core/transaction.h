/* transaction.h - what a transaction consists of, and the steps its files share. */
#ifndef EHLO_CORE_TRANSACTION_H
#define EHLO_CORE_TRANSACTION_H

#include "client_session.h"

typedef enum ehlo_transaction_phase {
    EHLO_PHASE_UNSPOKEN = 0, /* refused before a word was said */
    EHLO_PHASE_ENVELOPE,     /* MAIL and RCPT are being queued */
    EHLO_PHASE_DECIDE,       /* they are; DATA or BDAT follows */
    EHLO_PHASE_GO,           /* DATA is queued */
    EHLO_PHASE_BODY,         /* 354 came, or chunks are being queued */
    EHLO_PHASE_SENT          /* nothing more is to be queued */
} ehlo_transaction_phase;

/* ehlo_recipient.step */
enum { EHLO_STEP_WAITING = 0, EHLO_STEP_ASKED, EHLO_STEP_ACCEPTED };

/* Recipients are asked in batches: the next begins where the server, or its limits, ended the one before. */
struct ehlo_transaction {
    ehlo_client *client;
    ehlo_transaction *next; /* in the line of those that wait */
    ehlo_envelope envelope;
    ehlo_transaction_callbacks callbacks;
    void *user;
    size_t stride;       /* octets from one recipient to the next */
    size_t first;        /* the first recipient that may have no outcome */
    size_t asked;        /* behind the last one whose RCPT was queued */
    size_t heard;        /* behind the last one whose RCPT was answered */
    size_t told;         /* LMTP: behind the last one whose result came */
    ehlo_str domain;     /* of the last one that was asked */
    ehlo_str pushed;     /* what ehlo_transaction_push was given, while it runs */
    uint64_t sent;       /* octets of the body, once all of it has left */
    uint32_t pending;    /* replies to come */
    uint32_t batch;      /* recipients asked in this batch */
    uint32_t unanswered; /* of which so many replies are to come */
    uint32_t accepted;   /* and so many were accepted */
    uint32_t domains;    /* changes of domain among them */
    uint8_t phase;       /* ehlo_transaction_phase */
    uint8_t refusal;     /* why nothing is said, see transaction.c */
    uint8_t mail_queued;
    uint8_t mail_accepted;
    uint8_t mail_refused;
    uint8_t any_refused; /* a RCPT was refused */
    uint8_t crowded;     /* the server takes no more recipients in this batch */
    uint8_t abandoned;   /* this batch: nothing more is to be sent of it */
    uint8_t chunked;
    uint8_t final_queued; /* the end of the message is */
    uint8_t committed;    /* the end of the message has left */
    uint8_t later;        /* `body` said EHLO_LATER */
    uint8_t resumed;      /* and was resumed since, from inside */
    uint8_t pushed_last;  /* the message ends with `pushed` */
    uint8_t unasked;      /* what settles recipients now is a refusal of our own */
    uint8_t worst;        /* ehlo_outcome so far */
};

/* Callers built against another version may have larger recipients: stride is the size of theirs. */
static inline ehlo_recipient *ehlo_envelope_recipient(const ehlo_envelope *envelope, size_t stride, size_t index)
{
    return (ehlo_recipient *)(void *)((char *)envelope->rcpts + index * stride);
}

static inline ehlo_recipient *ehlo_transaction_recipient(const ehlo_transaction *t, size_t index)
{
    return ehlo_envelope_recipient(&t->envelope, t->stride, index);
}

static inline int ehlo_transaction_is_lmtp(const ehlo_transaction *t)
{
    return (t->client->config.flags & EHLO_CLIENT_LMTP) != 0;
}

/* -- commands of an envelope: envelope.c ------------------------------------------------------------ */

/* MAIL and RCPT as they are said where `caps` are offered. Members of parameters that are not present stay as they
 * were: nobody reads them. */
void ehlo_envelope_mail(const ehlo_envelope *envelope, uint32_t caps, ehlo_mail_command *mail);
void ehlo_envelope_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt, uint32_t caps,
                        ehlo_rcpt_command *command);
/* What the writers say to MAIL, or to one RCPT, where everything is offered. */
int ehlo_envelope_check_mail(const ehlo_envelope *envelope, ehlo_envelope_fault *fault);
int ehlo_envelope_check_rcpt(const ehlo_envelope *envelope, const ehlo_recipient *rcpt, size_t index,
                             ehlo_envelope_fault *fault);
/* The body's length, 0 if it is not known. */
uint64_t ehlo_envelope_size(const ehlo_envelope *envelope);

/* The outcome of one recipient, as others have decided it. */
static inline void ehlo_recipient_settle(ehlo_recipient *rcpt, ehlo_outcome outcome, ehlo_stage stage,
                                         const ehlo_reply *r)
{
    rcpt->outcome = (uint8_t)outcome;
    rcpt->stage = (uint8_t)stage;
    rcpt->unasked = 0;
    rcpt->code = r != NULL ? r->code : 0;
    for (int i = 0; i < 3; i++) rcpt->enhanced[i] = r != NULL ? r->enhanced[i] : 0;
}

/* -- results: transaction_reply.c ------------------------------------------------------------------- */

void ehlo_transaction_on_mail(ehlo_client *c, const ehlo_reply *r, void *user);
void ehlo_transaction_on_rcpt(ehlo_client *c, const ehlo_reply *r, void *user);
void ehlo_transaction_on_data(ehlo_client *c, const ehlo_reply *r, void *user);
void ehlo_transaction_on_chunk(ehlo_client *c, const ehlo_reply *r, void *user);
void ehlo_transaction_on_final(ehlo_client *c, const ehlo_reply *r, void *user);

/* Gives an outcome to every recipient of the step, or later ones, that has none. r may be NULL. */
void ehlo_transaction_settle(ehlo_transaction *t, unsigned least_step, ehlo_outcome outcome, ehlo_stage stage,
                             const ehlo_reply *r);
/* Every recipient that has none gets the outcome that the loss of the connection has. */
void ehlo_transaction_lose(ehlo_transaction *t);

/* -- progress: transaction.c ------------------------------------------------------------------------ */

/* The one whose turn it is goes on. Behind DATA there is nothing to queue: a reply tells when there is. */
static inline void ehlo_transaction_go_on(const ehlo_client *c)
{
    ehlo_transaction *t = c->sending;
    if (t != NULL && t->phase != EHLO_PHASE_GO) ehlo_transaction_advance(t);
}

/* A 354 has come: the message begins. */
void ehlo_transaction_open_message(ehlo_transaction *t);
/* Nothing more of it is to be queued: the next one may be. */
void ehlo_transaction_make_way(ehlo_transaction *t);
/* If no reply is to come any more, the batch is over: another one follows, or t is its owner's again. */
void ehlo_transaction_end_batch(ehlo_transaction *t);

#endif
