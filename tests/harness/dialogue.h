/* dialogue.h - a client session under test, against a server that follows a script.
 *
 * A dialogue is text, one line each; the letter says what it is:
 *
 *     # comment
 *     set NAME VALUE          a setting of ehlo_client_config (flags: names joined by '|'; bare_cr, bare_lf: reject,
 *                             normalise, pass)
 *     give memory|pull|push|any [N]     how bodies come, in pieces of N octets; any: as the manner has it
 *     outside                 never call commands from inside completions
 *     lend always|never       output blocks are lent in every manner, or in none
 *     wrapped                 inside TLS from the first octet on
 *     unverified              TLS does not say who the server is
 *     open POLICY             the session begins with an opening: default, none, opportunistic, required, wrapped
 *     login MEMBER OCTETS     its ehlo_credentials (mechanisms: names joined by '|'); also what must not be shown
 *     greet SIZE 1000|DSN     a session's opening: what EHLO (or LHLO) offers; `-` for nothing
 *     S: 250-mx.example       the server's line; CRLF is added unless the line ends in a backslash.
 *                             Escapes: \r \n \t \0 \\ \xHH \[N:text] (text N times)
 *     C: MAIL FROM:<a@b>      the client's, likewise. A line of the server leaves when the client has said all that
 *                             stands before it, and the client may not say more before it has that line
 *     A: hello                an action of the application, as soon as the library takes it (see EHLO_ERR_FULL):
 *                                 hello
 *                                 MAIL FROM:<a@b>            any command with its argument
 *                                 mail a@b [KEY=VALUE...]    typed
 *                                 rcpt a@b [KEY=VALUE...]
 *                                 auth PLAIN [octets]
 *                                 answer [octets]            cancel
 *                                 message REPLIES [octets]
 *                                 chunk more|last REPLIES [octets]
 *                                 send                       the envelope written before it
 *                                 give-up                    cancels the transaction
 *     A: NOOP => STATE        the library must refuse it with this error
 *     from a@x.example        an envelope; so: to ADDRESS [notify=N] [orcpt=TYPE;TEXT] [PARAMS], flags, body, ret,
 *                             size, envid, auth, params, content
 *     E: reply NOOP 250 *     an event; other events may stand between (E! forbids that)
 *     N: rcpt 1 *             no event matches this
 *     W: READ !NEXT           ehlo_client_wants now
 *     K: SIZE !AUTH           what the server offers now
 *     D: 300000               the deadline is so many milliseconds from now, or `none`
 *     G: 1                    so many writes have taken octets since the server's last line (only where the manner
 *                             does not cut them)
 *     R: 2                    the client has waited for the server so often since the last R
 *     P: 300000               so many milliseconds pass
 *     T: 0                    the TLS handshake; the number is what the caller holds
 *     Z: take 60              the transport takes so many octets from here on, and then nothing (stall: none at all;
 *                             flow: it does again); or eof, lost, gone
 *     M: left b@x             from here on it may have arrived: UNCERTAIN
 *     M: delivered b@x        from here on this is what became of b@x; without any it is not-sent
 *
 * A manner (talk_mode) says how octets are cut, how the transport takes them, from where commands are called, and
 * what else happens. None of it may change what the session does. */
#ifndef EHLO_TESTS_DIALOGUE_H
#define EHLO_TESTS_DIALOGUE_H

#include <ehlo/opening.h>
#include <ehlo/transaction.h>

#include "peer.h"

enum { DIALOGUE_MESSAGES = 32, DIALOGUE_RCPTS = 512, TALK_SLOTS = 512, TALK_WRITES = 4096 };

/* How a body comes. */
enum { GIVE_MEMORY, GIVE_PULL, GIVE_PUSH, GIVE_ANY };

/* Whether output blocks are lent. */
enum { LEND_ANY, LEND_ALWAYS, LEND_NEVER };

/* -- scripts ---------------------------------------------------------------------------------------- */

typedef enum dialogue_kind {
    DIALOGUE_SERVER,
    DIALOGUE_CLIENT,
    DIALOGUE_ACTION,
    DIALOGUE_EVENT,
    DIALOGUE_NEXT_EVENT,
    DIALOGUE_NO_EVENT,
    DIALOGUE_WANTS,
    DIALOGUE_OFFERS,
    DIALOGUE_DEADLINE,
    DIALOGUE_WRITES,
    DIALOGUE_ROUNDS,
    DIALOGUE_PASS,
    DIALOGUE_TLS,
    DIALOGUE_END,
    DIALOGUE_MARK
} dialogue_kind;

typedef struct dialogue_step {
    dialogue_kind kind;
    int line;         /* of the script */
    char *text;       /* as written, a NUL behind it; octets of server, client and action unescaped */
    size_t len;       /* of it */
    int expected;     /* action: the result it must have */
    size_t message;   /* action send: its index */
    size_t said;      /* octets of the client before this step */
    size_t heard;     /* octets of the server before it */
    uint64_t number;  /* of a step that has one */
    char subject[96]; /* action: its name for the log. mark: the address */
} dialogue_step;

typedef struct dialogue_message {
    ehlo_envelope envelope; /* its rcpts are the run's */
    ehlo_recipient *rcpts;
    size_t nrcpts;
    peer_text content;
} dialogue_message;

typedef struct dialogue {
    ehlo_client_config config;
    int give;
    size_t pieces;
    int outside;
    int lend;
    int wrapped;
    int unverified;
    int opens; /* `opening` counts */
    ehlo_opening_config opening;
    ehlo_credentials credentials;
    dialogue_step *steps;
    size_t step_count;
    size_t step_room;
    dialogue_message *messages; /* DIALOGUE_MESSAGES of them */
    size_t message_count;       /* sent; one more may be under construction */
    peer_text said;             /* all that the client must say */
    peer_text heard;            /* all that the server says */
    char *texts[512];           /* what settings and envelopes point to */
    size_t text_count;
    char error[256]; /* why it could not be understood */
} dialogue;

dialogue *dialogue_parse(const char *text);
dialogue *dialogue_read(const char *path);
void dialogue_free(dialogue *d);

/* The scripts of the source tree that are named GROUP_*: paths to free, in order. */
size_t dialogue_find(const char *group, char **paths, size_t max);

/* "STATE" for EHLO_ERR_STATE. */
const char *dialogue_error_name(int result);

/* -- manners ---------------------------------------------------------------------------------------- */

/* How the connection ends where a mode says so. */
enum { STOP_NEVER, STOP_GONE, STOP_EOF, STOP_LOST, STOP_TIMEOUT, STOP_CLOSE, STOP_KINDS };

typedef struct talk_mode {
    const char *name;
    int cut;            /* PEER_WHOLE, PEER_BYTES, PEER_RANDOM */
    unsigned seed;      /* of whatever is drawn */
    size_t write_max;   /* octets that one write takes; 0: all */
    int write_blocks;   /* every other write takes nothing */
    int inside;         /* actions happen inside completions where they can */
    int ticks;          /* a tick after every call */
    int reenter;        /* every call from inside every callback */
    int pester;         /* calls that have no business there, after every call */
    int lender;         /* output blocks are lent */
    int give;           /* for GIVE_ANY */
    size_t pieces;      /* for GIVE_ANY: octets of a piece; 0: all */
    int later;          /* every other pull is answered EHLO_LATER */
    unsigned fail_lend; /* the n-th lend fails; 0: none */
    int stop;           /* STOP_*: when the transport has taken stop_out octets and is offered more, or */
    size_t stop_out;    /* when stop_in octets of the server were heard; SIZE_MAX: not for that reason */
    size_t stop_in;
} talk_mode;

/* Manners that must all give the same; [0] is the plainest. */
extern const talk_mode talk_modes[];
extern const size_t talk_mode_count;

talk_mode talk_mode_random(unsigned seed);

/* -- a run ------------------------------------------------------------------------------------------ */

struct talk;

/* A command that waits for its reply. */
typedef struct talk_slot {
    struct talk *t;
    char name[96];
    unsigned replies;
    unsigned got;
    int dead; /* the library refused it: its completion may never come */
} talk_slot;

/* A transaction. */
typedef struct talk_send {
    struct talk *t;
    ehlo_transaction *transaction;
    void *mem;
    const dialogue_message *message;
    ehlo_envelope envelope;
    ehlo_recipient *rcpts;
    char *content;  /* of exactly its length */
    char *piece;    /* the last one given */
    size_t reached; /* octets pulled */
    int resting;    /* EHLO_LATER was said */
    unsigned calls;
    size_t told; /* recipients whose outcome on_rcpt brought */
    int done;
} talk_send;

/* Octets on their way through push. */
typedef struct talk_push {
    int open;
    const char *bytes;
    size_t len;
    size_t at;
    size_t more;     /* octets offered beyond a piece, as that did not do */
    talk_send *send; /* NULL: a body of the client's own */
} talk_push;

typedef struct talk talk;
struct talk {
    const dialogue *script;
    talk_mode mode;
    uint64_t now;
    ehlo_client *client;
    char fault[600]; /* the first breach of the contract, or of the script, or empty */

    peer_text log;      /* one line per event */
    peer_text out;      /* what the transport took */
    peer_text trace_in; /* on_trace, a line each */
    peer_text trace_out;
    peer_text hold;           /* of the server, not yet consumed */
    size_t heard;             /* of the server, released */
    unsigned rounds;          /* times that the client waited for the server */
    unsigned writes;          /* that took something */
    size_t ends[TALK_WRITES]; /* of the octets taken, after each write */
    unsigned lone_ends;       /* writes of nothing but the end of a message */
    unsigned lone_tails;      /* and of that with the line end before it, which may be the message's */
    int result;               /* of the last call that failed */
    int closed_reason;        /* what on_close said */

    talk_send sends[DIALOGUE_MESSAGES];
    size_t send_count;

    size_t clear; /* octets taken outside TLS */

    /* private from here on */
    void *mem;
    size_t mem_size;
    void *opening_mem; /* NULL once it is open */
    size_t opening_size;
    unsigned opened;
    talk_slot slots[TALK_SLOTS];
    size_t slot_count;
    unsigned awaiting;
    size_t *queue; /* steps of actions, those that wait last */
    size_t queue_first;
    size_t queue_count;
    size_t at;   /* the step */
    size_t part; /* octets of it that were released */
    size_t allowed;
    unsigned writes_before;
    unsigned rounds_before;
    int rounds_open;
    int in_callback;
    int stalled;     /* the script stopped the transport */
    size_t stall_at; /* behind this octet */
    int gone;
    int blocked;
    int closing; /* only close is left */
    int stopped;
    int closes;
    unsigned write_calls;
    int tls;
    unsigned lends;
    unsigned blocks_lent;
    talk_push push;                      /* of the client */
    talk_push pushes[DIALOGUE_MESSAGES]; /* of each transaction */
    uint32_t random;
    char *arena;
    size_t arena_len;
};

talk *talk_run(const dialogue *d, const talk_mode *mode);
void talk_free(talk *t);

/* 1 if the octets hold the secret, as it is or in base64, wherever in a group of that it begins. */
int talk_shows(const void *octets, size_t len, ehlo_str secret);

/* The outcome that the script's marks give for a recipient, when so many octets were taken and heard. */
ehlo_outcome dialogue_outcome(const dialogue *d, const char *address, size_t taken, size_t heard);

/* -- judgement: 1, or 0 and why --------------------------------------------------------------------- */

/* One run did as the script says, its outcomes as its marks. */
int talk_judge(const talk *t, peer_text *why);
/* Two runs are alike: octets, events, traces. */
int talk_alike(const talk *a, const talk *b, peer_text *why);
/* In every manner, and in `seeds` random ones. */
int dialogue_holds(const dialogue *d, unsigned seeds, peer_text *why);
/* With each loan of an output block refused in its turn. */
int dialogue_starves(const dialogue *d, peer_text *why);
/* Dropped at every octet, both ways, in every manner of dropping: completions come once, outcomes are as the marks say,
 * if there are any. */
int dialogue_drops(const dialogue *d, peer_text *why);

#endif
