/* client_session.h - what a client session consists of, and the steps its files share.
 *
 * A command is queued in the block, and an entry of the ring awaits its replies. A body goes between what the block
 * holds before it and behind it: from the caller's memory, in the same write. */
#ifndef EHLO_CORE_CLIENT_SESSION_H
#define EHLO_CORE_CLIENT_SESSION_H

#include "opening.h"
#include "out.h"

#include <ehlo/client.h>
#include <ehlo/transaction.h>

typedef enum ehlo_client_phase {
    EHLO_CLIENT_FRESH = 0,
    EHLO_CLIENT_TLS,        /* 220 to STARTTLS: the handshake */
    EHLO_CLIENT_GREETING,   /* waits for it */
    EHLO_CLIENT_REFUSED,    /* the greeting was not 2yz: QUIT is left */
    EHLO_CLIENT_READY,      /* commands */
    EHLO_CLIENT_GO_AHEAD,   /* 354: a message follows */
    EHLO_CLIENT_CHALLENGED, /* 334: a response follows */
    EHLO_CLIENT_QUITTING,   /* QUIT is queued */
    EHLO_CLIENT_OVER
} ehlo_client_phase;

/* Beside the verbs there are two things that a server replies to. */
enum { EHLO_AWAIT_GREETING = EHLO_VERB_COUNT, EHLO_AWAIT_MESSAGE };

/* Commands of one kind in a row, and the replies that are still to come. */
typedef struct ehlo_awaited {
    ehlo_on_reply done;
    void *user;
    uint32_t end;     /* of the last command, counted in octets that the block took in this session (modulo 2^32) */
    uint16_t replies; /* still to come */
    uint8_t what;     /* ehlo_verb, or EHLO_AWAIT_* */
    uint8_t open;     /* 1: a body belongs to it, and not all of that has left */
} ehlo_awaited;

enum { EHLO_RING = 16 }; /* entries: each transaction in flight needs three, and RCPTs in a row share one */

typedef enum ehlo_body_mode {
    EHLO_SEND_NONE = 0,
    EHLO_SEND_TEXT,  /* after DATA: dots are stuffed, a terminator ends it */
    EHLO_SEND_LINES, /* a chunk whose bare CRs and LFs are seen to */
    EHLO_SEND_RAW    /* a chunk as it is */
} ehlo_body_mode;

/* A body on its way. The piece is the caller's memory: it stays for one call if the body is pushed, and until the
 * next one is asked for if it is pulled. */
typedef struct ehlo_sending {
    ehlo_str piece;          /* the octets at hand that have not left */
    ehlo_str fixed;          /* octets of our own that go before them */
    size_t raw;              /* octets at the front of the piece that are judged already, and go as they are */
    uint64_t span;           /* chunks: octets of the body that belong to it and have not left */
    uint64_t size;           /* chunks: octets that the server was promised and has not got */
    uint64_t taken;          /* octets of the message that have left; what was added on the way not counted */
    ehlo_encoder encoder;    /* behind the judged ones */
    ehlo_transaction *owner; /* whose it is; NULL: pushed by ehlo_client_push */
    uint32_t gap;            /* octets of the block that go before the body */
    uint8_t mode;            /* ehlo_body_mode */
    uint8_t last;            /* 1: the body ends with this piece */
    uint8_t ending;          /* 1: `fixed` is what ends it */
    uint8_t cr;              /* 1: a CR was taken and waits for the octet that decides about it */
    uint8_t whole;           /* 1: all that is left of the body is at hand: commands may be queued behind it */
    uint8_t entry;           /* index of its entry in the ring */
    uint8_t fault;           /* EHLO_BODY_*: the octet behind the judged ones cannot be sent */
} ehlo_sending;

struct ehlo_client {
    ehlo_client_config config;
    ehlo_client_callbacks callbacks;
    void *user;
    const ehlo_tls_facts *facts;
    ehlo_transaction *sending;        /* the one that has something to queue */
    ehlo_transaction *waiting;        /* those that want to go on when it has not, first come first served */
    const ehlo_transaction *pushing;  /* whose ehlo_transaction_push runs */
    size_t pushed;                    /* octets that it took */
    const ehlo_transaction *doubtful; /* its last chunk was queued while replies were awaited: see queue_rset */
    ehlo_opening *opening;            /* NULL: none drives the session */
    ehlo_out out;
    ehlo_sending body;
    ehlo_codec codec;
    ehlo_offers offers;
    ehlo_awaited ring[EHLO_RING];
    const char *problem;  /* static, NUL-terminated; NULL if there is none */
    uint64_t now;         /* of the running call */
    uint64_t since;       /* when the last reply came, or the last octet left */
    uint32_t left;        /* octets of the block that have left in this session (modulo 2^32) */
    uint32_t traced;      /* and those that were traced */
    uint32_t secret;      /* where in them a secret ends, while there is one */
    uint32_t searched;    /* octets of an incomplete reply that were looked at */
    uint32_t line_start;  /* where in it the last line begins */
    uint32_t lines;       /* whole lines of it; or lines skipped since the last reply */
    uint32_t mails;       /* transactions in this session */
    int error;            /* fatal; EHLO_OK if there is none */
    uint16_t outstanding; /* replies that are awaited */
    uint16_t code;        /* of the incomplete reply */
    uint8_t head, count;  /* of the ring */
    uint8_t phase;        /* ehlo_client_phase */
    uint8_t reason;       /* ehlo_close, once it is over */
    uint8_t greeted;      /* ehlo_verb that was accepted */
    uint8_t tls;          /* inside TLS */
    uint8_t verbose;      /* VERB was accepted: 0yz lines may come (RFC 821's trace lines) */
    uint8_t dirty;        /* the server may hold a transaction that is no more: RSET goes before the next MAIL */
    uint8_t blocked;      /* the transport is full */
    uint8_t stalled;      /* and was so when octets were last offered */
    uint8_t eager;        /* something was called since octets were last offered */
    uint8_t running;      /* inside a function that takes time */
    uint8_t own;          /* the next command is one of the transaction that is `sending` */
    uint8_t quiet;        /* inside a callback that may only read facts */
    uint8_t has_secret;   /* `secret` counts */
};

/* Where the next thing in a block of memory may begin. */
static inline size_t ehlo_aligned(size_t size)
{
    size_t unit = _Alignof(max_align_t);
    return (size + unit - 1) / unit * unit;
}

/* -- session: client.c ------------------------------------------------------------------------------ */

/* The session is over; completions follow when the running call ends. problem: static, or NULL. */
void ehlo_client_end(ehlo_client *c, ehlo_close reason, const char *problem);

static inline int ehlo_client_over(const ehlo_client *c)
{
    return c->phase == EHLO_CLIENT_OVER;
}

/* Phases in which the server is listened to stand together. */
static inline int ehlo_client_reads(const ehlo_client *c)
{
    return c->phase >= EHLO_CLIENT_GREETING && c->phase <= EHLO_CLIENT_QUITTING;
}

/* Around every function that takes time: EHLO_ERR_REENTRY from inside a callback; at the end what was queued is
 * written, and completions are told of an end. */
int ehlo_client_enter(ehlo_client *c, uint64_t now);
int ehlo_client_leave(ehlo_client *c);

/* The session is as behind its greeting: after STARTTLS and XCLIENT. */
static inline void ehlo_client_forget_hello(ehlo_client *c)
{
    c->greeted = EHLO_VERB_UNKNOWN;
    c->offers = (ehlo_offers){ 0 };
    c->dirty = 0;
}

void ehlo_client_trace(ehlo_client *c, int direction, ehlo_str bytes, int secret);

/* -- ring: client_command.c ------------------------------------------------------------------------- */

static inline ehlo_awaited *ehlo_client_entry(ehlo_client *c, unsigned index)
{
    return &c->ring[(c->head + index) % EHLO_RING];
}

static inline const ehlo_awaited *ehlo_client_newest(const ehlo_client *c)
{
    return c->count > 0 ? &c->ring[(c->head + c->count - 1U) % EHLO_RING] : NULL;
}

/* RFC 2920 3.1: what may be followed by another command before its reply has come. */
static inline int ehlo_client_chainable(unsigned what)
{
    return what == EHLO_VERB_MAIL || what == EHLO_VERB_RCPT || what == EHLO_VERB_RSET || what == EHLO_VERB_BDAT ||
           what == EHLO_AWAIT_MESSAGE;
}

static inline int ehlo_client_pipelines(const ehlo_client *c)
{
    return (c->offers.caps & EHLO_CAP_PIPELINING) != 0;
}

/* What waits in the block; no arithmetic is done on a block that is not there. */
static inline ehlo_str ehlo_client_waiting(const ehlo_client *c)
{
    return ehlo_out_empty(&c->out) ? ehlo_str_make(NULL, 0) : ehlo_out_waiting(&c->out);
}

/* RFC 2920 3.1: without PIPELINING one command at a time, and with it none behind one that has to be the last of its
 * group. 1 if a command may be queued now, as far as those before it go. */
static inline int ehlo_client_ready(const ehlo_client *c)
{
    if (c->count == 0) return 1;
    return ehlo_client_pipelines(c) && c->outstanding < c->config.window &&
           ehlo_client_chainable(ehlo_client_newest(c)->what);
}

/* What a call that failed may have queued is taken back. */
typedef struct ehlo_client_mark {
    uint32_t length;
    ehlo_awaited newest;
    uint16_t outstanding;
    uint8_t count;
    uint8_t dirty;
    const ehlo_transaction *doubtful;
} ehlo_client_mark;
static inline ehlo_client_mark ehlo_client_mark_make(const ehlo_client *c)
{
    ehlo_client_mark mark;
    mark.length = ehlo_out_length(&c->out);
    mark.outstanding = c->outstanding;
    mark.count = c->count;
    mark.dirty = c->dirty;
    mark.doubtful = c->doubtful;
    mark.newest = c->ring[((unsigned)c->head + c->count + EHLO_RING - 1U) % EHLO_RING];
    return mark;
}
void ehlo_client_rewind(ehlo_client *c, const ehlo_client_mark *mark);

/* Entries whose replies have come make room. A message for nobody (LMTP) has none. */
static inline void ehlo_client_settle_ring(ehlo_client *c)
{
    while (c->count > 0 && c->ring[c->head].replies == 0 && !c->ring[c->head].open) {
        c->head = (uint8_t)((c->head + 1) % EHLO_RING);
        c->count--;
    }
}

/* ehlo_client_command of DATA. */
int ehlo_client_data(ehlo_client *c, ehlo_on_reply done, void *user);

/* Announces a chunk that carries on with the body at hand. */
int ehlo_client_announce(ehlo_client *c, uint64_t size, int last, unsigned replies, ehlo_on_reply done, void *user);

/* Gives back a block that was lent for a line too long for the usual one. */
void ehlo_client_narrow(ehlo_client *c);

/* A hello in place of one that was refused: it needs no leave. */
int ehlo_client_say_hello(ehlo_client *c, ehlo_verb verb, ehlo_on_reply done, void *user);

/* -- replies: client_reply.c ------------------------------------------------------------------------ */

/* Takes the whole replies at the start of bytes, and tells each to whom it concerns: their length. */
size_t ehlo_client_take_replies(ehlo_client *c, const char *bytes, size_t len);
/* Nobody will be answered any more. */
void ehlo_client_abandon(ehlo_client *c);

/* -- bodies and writing: client_body.c -------------------------------------------------------------- */

/* A piece of the body comes, when the one before is used up. */
void ehlo_client_offer(ehlo_client *c, ehlo_str piece, int last);
/* A CR that ends the piece waits for what follows it, and the piece is used up. 1: so it is now. */
int ehlo_client_hold_cr(ehlo_client *c);
/* How a chunk would look. */
typedef struct ehlo_chunk {
    uint64_t size;       /* octets on the wire */
    size_t span;         /* octets of the piece */
    ehlo_encoder behind; /* where the encoder stands at its end */
    int last;            /* the body ends with it */
    int raw;             /* its octets go as they are */
} ehlo_chunk;
/* Judges the piece, and what goes before it, as a chunk: EHLO_BODY_* of what cannot be sent, else 0. */
int ehlo_client_measure(const ehlo_client *c, ehlo_str piece, ehlo_chunk *chunk);
/* The chunk that was announced begins: `span` octets of the body, which are `size` on the wire. */
void ehlo_client_open_chunk(ehlo_client *c, ehlo_body_mode mode, uint64_t span, uint64_t size);
/* A pushed piece is its caller's again. */
void ehlo_client_withdraw(ehlo_client *c);
/* Overwrites the block, if a secret is or was in it. */
void ehlo_client_wipe(ehlo_client *c);
/* Offers all that may leave to the transport, once: 1 if it took any of it. */
int ehlo_client_write(ehlo_client *c);
/* 1 if anything could leave now. */
static inline int ehlo_client_sendable(const ehlo_client *c)
{
    const ehlo_sending *body = &c->body;
    if (body->mode == EHLO_SEND_NONE) return !ehlo_out_empty(&c->out);
    return body->gap > 0 || body->fixed.len > 0 || body->piece.len > 0 ||
           (body->mode == EHLO_SEND_TEXT ? body->last : body->span == 0);
}

/* -- transaction: transaction.c --------------------------------------------------------------------- */

/* Queues what it can. */
void ehlo_transaction_advance(ehlo_transaction *t);
/* A body of its own has left. */
void ehlo_transaction_body_left(ehlo_transaction *t);
/* An octet of it may not be sent. */
void ehlo_transaction_body_refused(ehlo_transaction *t);
/* The session is over, and every completion has run. */
void ehlo_transaction_abandon(ehlo_transaction *t);
/* 1 if one may be started. */
int ehlo_client_next(const ehlo_client *c);

#endif
