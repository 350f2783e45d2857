/* pair.h - a client session and a server session joined in memory: letters go in at one end, and what the server's
 * application has taken is compared with what the client says became of them.
 *
 * A plan says what is offered, what is sent and in which manner, what the application refuses, and where the
 * connection breaks; dice draw the rest. Time is simulated: it passes only where nothing else can happen, which may be
 * after a silent break alone. Whatever the plan, a recipient is DELIVERED if and only if the application has taken
 * its message once and unchanged; for UNCERTAIN either may be so. The first breach is kept in `fault`. */
#ifndef EHLO_TESTS_PAIR_H
#define EHLO_TESTS_PAIR_H

#include <ehlo/opening.h>
#include <ehlo/server.h>
#include <ehlo/transaction.h>

/* -- chance ----------------------------------------------------------------------------------------- */

/* Draws from octets, zeros behind their end, or where there are none from a generator that `state` seeds. */
typedef struct pair_dice {
    const uint8_t *bytes;
    size_t len;
    uint32_t state;
} pair_dice;

pair_dice pair_dice_seeded(unsigned seed);
uint32_t pair_draw(pair_dice *dice, uint32_t below);

/* -- a plan: zero is the plainest ------------------------------------------------------------------- */

enum { PAIR_LETTERS_MAX = 4, PAIR_RCPTS_MAX = 6 };

typedef enum pair_source { PAIR_CONTENT, PAIR_PULL, PAIR_PUSH } pair_source;
/* When the next letter starts. */
typedef enum pair_chain { PAIR_CHAIN_DONE, PAIR_CHAIN_WANTED, PAIR_CHAIN_ON_NEXT, PAIR_CHAIN_ON_DONE } pair_chain;
/* How a connection breaks: both sides read what is under way and then its end; all of that is lost; writing fails;
 * nothing is heard any more. */
typedef enum pair_break {
    PAIR_BREAK_NEVER,
    PAIR_BREAK_EOF,
    PAIR_BREAK_RESET,
    PAIR_BREAK_WRITE,
    PAIR_BREAK_SILENT
} pair_break;
enum { PAIR_CLIENT, PAIR_SERVER };
/* Instead of a code: the application's callback fails. */
enum { PAIR_FAIL = 1 };

/* One message. Codes are what the application says at that place; 0: yes. */
typedef struct pair_letter {
    ehlo_str content;
    uint8_t source;    /* pair_source */
    uint8_t body;      /* ehlo_body */
    uint8_t dsn;       /* 1: with all that DSN has */
    uint8_t null_path; /* 1: from nobody */
    uint8_t sized;     /* 1: the size is told, though the content is not at hand */
    unsigned flags;    /* EHLO_SEND_* */
    size_t nrcpts;
    uint16_t mail_code, data_code, body_code, message_code;
    uint64_t body_after; /* octets, for body_code */
    uint16_t rcpt_code[PAIR_RCPTS_MAX];
    uint16_t result_code[PAIR_RCPTS_MAX]; /* in LMTP */
    uint32_t cancel_at;                   /* the step at which it is cancelled; 0: never */
    uint64_t give_up_at;                  /* the offset at which its body fails; 0: never */
} pair_letter;

typedef struct pair_plan {
    int lmtp;
    uint32_t caps; /* EHLO_CAP_* */
    int tls;       /* STARTTLS, where it is offered */
    uint32_t auth; /* the EHLO_SASL_* that is offered and used; 0: none */
    int imposter;  /* with a secret that is wrong */
    unsigned client_flags;
    uint8_t bare_cr, bare_lf; /* of the client */
    uint32_t window;
    uint32_t max_recipients, max_messages; /* of the server */
    uint64_t max_size;
    uint16_t greeting_code, hello_code;
    int no_result;      /* LMTP: no on_result */
    int lender;         /* both sides' blocks are lent */
    unsigned fail_lend; /* the n-th loan to the client fails; 0: none */

    pair_letter letters[PAIR_LETTERS_MAX];
    size_t count;
    int chain;      /* pair_chain */
    unsigned noops; /* said in between */

    int lazy;             /* what happens next is drawn */
    size_t room[2];       /* of the pipe to the client, to the server; 0: 64 KiB */
    uint32_t read_max[2]; /* octets that the client, the server reads at once; 0: all */
    uint32_t piece_max;   /* octets of a pulled or pushed piece; 0: all */
    uint32_t body_max;    /* octets that on_body takes; 0: all */
    int later;            /* 1: what may answer later does; 2: drawn */
    uint32_t jumps;       /* one step in so many is followed by a long silence; 0: none */
    int broken;           /* pair_break, */
    int broken_side;      /* when this side */
    uint64_t broken_at;   /* has said so many octets */
    int verbose;          /* what is said goes to standard error */
} pair_plan;

/* Draws a whole plan; arena holds the contents and must live as long. */
enum { PAIR_ARENA = 64 * 1024 };
void pair_plan_draw(pair_plan *plan, pair_dice *dice, char *arena);

/* -- a run ------------------------------------------------------------------------------------------ */

/* What came of a letter. */
typedef struct pair_fate {
    ehlo_recipient rcpts[PAIR_RCPTS_MAX];
    unsigned recorded[PAIR_RCPTS_MAX]; /* times that the application took it */
    unsigned told[PAIR_RCPTS_MAX];     /* times of on_rcpt */
    int started, done;
    int outcome; /* of on_done */
    int chunked; /* it came by BDAT */
} pair_fate;

typedef struct pair pair;

/* Runs a plan to its end. The plan must outlive the result. */
pair *pair_run(const pair_plan *plan, pair_dice *dice);
void pair_free(pair *p);

const char *pair_fault(const pair *p); /* empty: none */
const pair_fate *pair_fate_of(const pair *p, size_t letter);
uint64_t pair_said(const pair *p, int who); /* octets written by the client, the server */
unsigned pair_turns(const pair *p);         /* times that the client, having written, heard from the server */

#endif
