/* ehlo/transaction.h - one message over a client session, and one outcome for each of its recipients.
 *
 * A transaction says MAIL, RCPT and DATA or BDAT with as few round trips as the server's extensions allow, takes the
 * body from memory, from a function that is asked for it, or as it is pushed, and tells recipient by recipient what
 * became of it. It does no I/O of its own: it moves as the session below it is fed and flushed.
 *
 *     ehlo_recipient to = { .to = ehlo_str_from("b@example.org") };
 *     ehlo_envelope envelope = { .from = ehlo_str_from("a@example.com"), .rcpts = &to, .nrcpts = 1, .content = text };
 *     when ehlo_client_wants(c) & EHLO_WANT_NEXT:
 *         ehlo_transaction_start(&t, mem, size, c, &envelope, &callbacks, user);
 *         ehlo_client_flush(c, now);
 *     on_done: to.outcome is the truth, t is yours again
 *
 * When it may be said that a message was not sent, and when it cannot be known, follows from one octet: the last one of
 * its end. Before the transport took that, nothing was sent; after it, until the reply, the message may have arrived.
 *
 * Order: outcomes, envelope, callbacks, transaction. */
#ifndef EHLO_TRANSACTION_H
#define EHLO_TRANSACTION_H

#include <ehlo/client.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ehlo_transaction ehlo_transaction;

/* -- outcomes --------------------------------------------------------------------------------------- */

/* What became of a recipient, from best to worst: of several, the largest is the worst. */
typedef enum ehlo_outcome {
    EHLO_OUTCOME_NONE = 0,  /* not known yet */
    EHLO_OUTCOME_DELIVERED, /* 2yz after the message: the server has taken the responsibility */
    EHLO_OUTCOME_NOT_SENT,  /* the connection failed before the end of the message had left: try again, anywhere */
    EHLO_OUTCOME_DEFERRED,  /* 4yz: try again later */
    EHLO_OUTCOME_REJECTED,  /* 5yz: tell the sender */
    EHLO_OUTCOME_UNCERTAIN  /* the connection failed between the end of the message and its reply: it may have
                               arrived; another try may make two of it */
} ehlo_outcome;

/* How far it had come. */
typedef enum ehlo_stage {
    EHLO_STAGE_NONE = 0,
    EHLO_STAGE_RESOLVE,
    EHLO_STAGE_CONNECT,
    EHLO_STAGE_GREETING,
    EHLO_STAGE_HELLO,
    EHLO_STAGE_STARTTLS,
    EHLO_STAGE_AUTH,
    EHLO_STAGE_MAIL,
    EHLO_STAGE_RCPT,
    EHLO_STAGE_DATA, /* DATA, or the message while it leaves */
    EHLO_STAGE_FINAL /* the message has left: the reply to it */
} ehlo_stage;

/* "delivered" "not-sent" "deferred" "rejected" "uncertain"; "resolve" "connect"... "final"; static storage. */
EHLO_API ehlo_str ehlo_outcome_name(ehlo_outcome outcome);
EHLO_API ehlo_str ehlo_stage_name(ehlo_stage stage);

/* What a reply means for a message that it ends: DELIVERED, DEFERRED or REJECTED by its first digit; NOT_SENT for
 * code 0. */
EHLO_API ehlo_outcome ehlo_outcome_of(uint16_t code);

/* -- envelope --------------------------------------------------------------------------------------- */

enum {
    EHLO_SEND_UTF8 = 1 << 0,       /* the message needs SMTPUTF8 (RFC 6531): in an address or in its header */
    EHLO_SEND_REQUIRETLS = 1 << 1, /* RFC 8689 */
    EHLO_SEND_ALL_OR_NONE = 1 << 2 /* if a recipient is refused, nothing is sent to the others: they are NOT_SENT */
};

/* One recipient. The caller's array: zero it, fill in the first half; the library writes the second. */
typedef struct ehlo_recipient {
    ehlo_str to;         /* mailbox without brackets, or "postmaster" */
    ehlo_str orcpt_type; /* ORCPT, where DSN is offered: "rfc822", */
    ehlo_str orcpt;      /* and the address as plain text; empty: none */
    ehlo_str params;     /* further parameters, as they are to stand: "XFOO=1 XBAR" */
    uint8_t notify;      /* EHLO_NOTIFY_*, where DSN is offered; 0: not said */

    uint8_t outcome;      /* ehlo_outcome */
    uint8_t stage;        /* ehlo_stage */
    uint8_t step;         /* private */
    uint8_t unasked;      /* 1: the reply is of our own: what the message needs the server does not offer */
    uint16_t code;        /* of the reply that decided; 0: none did */
    uint16_t enhanced[3]; /* its enhanced code, or 0.0.0 */
} ehlo_recipient;

/* A message's envelope. It is copied; what it points to stays as it is until on_done. */
typedef struct ehlo_envelope {
    ehlo_str from;         /* reverse-path without brackets; empty: the null path, "<>" */
    ehlo_recipient *rcpts; /* at least one */
    size_t nrcpts;
    unsigned flags;                /* EHLO_SEND_* */
    uint8_t body;                  /* ehlo_body. Default: 8BITMIME where it is offered; 8-bit octets are refused
                                      where it is not. 7BIT: refused anyway. 8BITMIME: not sent where it is not
                                      offered. BINARYMIME: any octets, by BDAT alone (RFC 3030) */
    uint8_t ret;                   /* ehlo_ret, where DSN is offered */
    uint64_t size;                 /* octets of the message, for SIZE; 0: not known (with content: its length) */
    ehlo_str envid;                /* ENVID, where DSN is offered; plain text; empty: none */
    ehlo_str auth;                 /* AUTH= of MAIL, where AUTH is offered; plain mailbox, "<>", or empty: none */
    ehlo_str params;               /* further parameters of MAIL, as they are to stand: "XFOO=1 XBAR" */
    const ehlo_mail_command *more; /* or NULL: its BY, MT-PRIORITY, HOLDFOR and HOLDUNTIL are said too, as `present`
                                      has them; a server that does not offer them gets no message */
    ehlo_str content;              /* the message, where it is in memory: neither `body` nor pushing is needed then */
} ehlo_envelope;

/* Which argument was refused. */
typedef struct ehlo_envelope_fault {
    const char *member; /* "from" "envid" "auth" "params" "more" "rcpts", "to" "orcpt" "rcpt params"; static */
    size_t recipient;   /* its index, where it is one's */
    ehlo_fault fault;
} ehlo_envelope_fault;

/* 0 if all of it can be put into commands, as if the server offered everything. EHLO_ERR_ARG: it holds CR, LF or NUL,
 * or breaks the grammar; EHLO_ERR_SPACE: a line would be too long. *fault (may be NULL) says where. Transactions check
 * by themselves: this is for those who want to know before they connect. */
#define ehlo_envelope_check(envelope, fault)                                                                           \
    ehlo_envelope_check_sized((envelope), sizeof(ehlo_envelope), sizeof(ehlo_recipient), (fault))
EHLO_API int ehlo_envelope_check_sized(const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                                       ehlo_envelope_fault *fault);

/* Gives every recipient that has no outcome yet this one: for a message that never came to a transaction, such as
 * where no server could be reached. r may be NULL. Returns the worst outcome of all recipients. */
#define ehlo_envelope_settle(envelope, outcome, stage, r)                                                              \
    ehlo_envelope_settle_sized((envelope), sizeof(ehlo_envelope), sizeof(ehlo_recipient), (outcome), (stage), (r))
EHLO_API ehlo_outcome ehlo_envelope_settle_sized(const ehlo_envelope *envelope, size_t envelope_size,
                                                 size_t recipient_size, ehlo_outcome outcome, ehlo_stage stage,
                                                 const ehlo_reply *r);

/* -- callbacks -------------------------------------------------------------------------------------- */

/* Any may be NULL. From inside them facts may be read, commands called and transactions started (see client.h); all
 * else is EHLO_ERR_REENTRY, but ehlo_transaction_resume for what answers at once. */
typedef struct ehlo_transaction_callbacks {
    /* The body from `offset` on: *piece is a view that is valid until the next call or the end of the transaction;
     * *last with the final piece, which may be empty. offset never skips, but may be the same again (the first piece
     * decides between DATA and BDAT), and goes back to 0 where the message is sent once more, to the recipients that
     * were too many at once. EHLO_LATER, or an empty piece that is not the last: not yet; ehlo_transaction_resume says
     * when. Negative: give up, as ehlo_transaction_cancel. NULL, and no content: the body is pushed. */
    int (*body)(ehlo_transaction *t, uint64_t offset, ehlo_str *piece, int *last, void *user);
    /* A reply to RCPT, or the reply that gives this recipient its outcome; the second may be a text of our own, where
     * the server was not asked. NULL: no reply, and none will come: see rcpts[index].outcome. */
    void (*on_rcpt)(ehlo_transaction *t, size_t index, const ehlo_reply *r, void *user);
    /* Nothing more is to be queued of the message: the next transaction may be started, from here too, and its envelope
     * then leaves with the end of this message; several may be in flight so. It may come again, where a message is sent
     * a second time to those that were too many at once. Not called where none may be started yet, as without
     * PIPELINING: on_done is then the occasion, if wants says NEXT. */
    void (*on_next)(ehlo_transaction *t, void *user);
    /* Every recipient has its outcome; `outcome` is the worst. Once, last; t's memory is the caller's again. */
    void (*on_done)(ehlo_transaction *t, int outcome, void *user);
} ehlo_transaction_callbacks;

/* -- transaction ------------------------------------------------------------------------------------ */

/* Octets of one transaction. */
EHLO_API size_t ehlo_transaction_size(void);

/* Builds a transaction in mem (aligned for anything) and queues its first commands. envelope and callbacks are copied.
 * *t is mem. As for commands, on an error nothing was queued: EHLO_ERR_STATE unless wants says NEXT; EHLO_ERR_ARG, with
 * *fault (may be NULL), as ehlo_envelope_check, or if there is no recipient; EHLO_ERR_SPACE.
 * What the server does not offer and the message needs (SMTPUTF8, REQUIRETLS, BINARYMIME, its size) ends it at once:
 * the outcome is REJECTED, and nothing was sent. */
#define ehlo_transaction_start(t, mem, len, c, envelope, callbacks, user, fault)                                       \
    ehlo_transaction_start_sized((t), (mem), (len), (c), (envelope), sizeof(ehlo_envelope), sizeof(ehlo_recipient),    \
                                 (callbacks), sizeof(ehlo_transaction_callbacks), (user), (fault))
EHLO_API int ehlo_transaction_start_sized(ehlo_transaction **t, void *mem, size_t len, ehlo_client *c,
                                          const ehlo_envelope *envelope, size_t envelope_size, size_t recipient_size,
                                          const ehlo_transaction_callbacks *callbacks, size_t callbacks_size,
                                          void *user, ehlo_envelope_fault *fault);

/* Octets of a pushed body: *used of them were taken. The rest is to be offered again, unchanged, in front of what
 * follows: when WRITE is not wanted any more, or when another reply has come. last: nothing follows; it is remembered
 * once *used is len. EHLO_ERR_STATE: nothing more is wanted, as every recipient was refused, or it has ended. */
EHLO_API int ehlo_transaction_push(ehlo_transaction *t, uint64_t now, const char *bytes, size_t len, int last,
                                   size_t *used);

/* `body` has octets again. */
EHLO_API int ehlo_transaction_resume(ehlo_transaction *t, uint64_t now);

/* Gives up: recipients without an outcome are NOT_SENT. Once DATA or a chunk has begun this ends the session, as a
 * message cannot be taken back otherwise. EHLO_ERR_STATE once the last octet has left: its outcome will come. */
EHLO_API int ehlo_transaction_cancel(ehlo_transaction *t, uint64_t now);

EHLO_API ehlo_client *ehlo_transaction_client(const ehlo_transaction *t);
/* Octets of the body that the transport has taken, without those added on the way: for a progress display. */
EHLO_API uint64_t ehlo_transaction_sent(const ehlo_transaction *t);

#ifdef __cplusplus
}
#endif
#endif
