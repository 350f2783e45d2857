/* peer.h - drives one server session over a scripted dialogue, in one of many manners, and records it.
 *
 * A manner (peer_mode) says how the client's octets are cut, how the transport takes replies, how and when the
 * application answers, and what else happens in between. None of it may change what the session does: two runs
 * of one script must leave the same event log and the same output, whatever their modes. The peer checks the
 * contract of server.h after every call; the first breach is kept in `fault` and stops the run. */
#ifndef EHLO_TESTS_PEER_H
#define EHLO_TESTS_PEER_H

#include <ehlo/server.h>

/* -- growing text ----------------------------------------------------------------------------------- */

typedef struct peer_text {
    char *ptr; /* always followed by a NUL once something was added */
    size_t len;
    size_t cap;
} peer_text;

void peer_text_add(peer_text *text, const char *bytes, size_t len);
void peer_text_format(peer_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void peer_text_free(peer_text *text);

/* -- the application -------------------------------------------------------------------------------- */

/* What the application says to an event. `subject` is a pattern ('*' stands for anything) for what the event's
 * log line holds behind its name; the first rule that matches counts. Without one, recipients and senders whose
 * local part starts with "reject" get 550 5.1.1, with "defer" 451 4.3.0, with "later" a late 250; all else gets
 * the default reply. */
typedef struct peer_rule {
    const char *event;   /* "mail", "rcpt", "body"... as in the log */
    const char *subject; /* NULL: any */
    ehlo_reply reply;
    uint64_t after; /* body: refuse (or fail) when this many octets were taken */
    int fail;       /* the callback returns a negative verdict */
    int later;      /* answered later in every mode */
} peer_rule;

/* Callbacks left NULL, or'ed. */
enum {
    PEER_NO_CONNECT = 1 << 0,
    PEER_NO_HELLO = 1 << 1,
    PEER_NO_MAIL = 1 << 2,
    PEER_NO_RCPT = 1 << 3,
    PEER_NO_DATA = 1 << 4,
    PEER_NO_BODY = 1 << 5,
    PEER_NO_MESSAGE = 1 << 6,
    PEER_NO_RESULT = 1 << 7,
    PEER_NO_AUTH = 1 << 8,
    PEER_NO_STARTTLS = 1 << 9,
    PEER_NO_COMMAND = 1 << 10,
    PEER_NO_RESET = 1 << 11,
    PEER_NO_CLOSE = 1 << 12,
    PEER_NO_TRACE = 1 << 13,
    PEER_NO_ANYTHING = (1 << 14) - 1
};

/* What all runs of one script share. */
typedef struct peer_setup {
    ehlo_service_config config;
    unsigned without; /* PEER_NO_* */
    const peer_rule *rules;
    size_t rule_count;
    ehlo_peer peer;
    ehlo_tls_facts facts; /* of every handshake; TLSv1.3 without certificate and channel binding */
    int wrapped;          /* the handshake comes before the greeting */
} peer_setup;

/* Hostname mx.example, every default. */
void peer_setup_default(peer_setup *setup);

/* -- manners ---------------------------------------------------------------------------------------- */

enum { PEER_WHOLE, PEER_BYTES, PEER_RANDOM };                             /* cut */
enum { PEER_VERDICT, PEER_INSIDE, PEER_LATER, PEER_MIXED, PEER_BY_HAND }; /* answers */
enum { PEER_STOP_NEVER, PEER_STOP_EOF, PEER_STOP_LOST };                  /* stop */

typedef struct peer_mode {
    const char *name;
    int cut;
    int answers;         /* returned, given inside the callback, given afterwards, drawn, or by the test */
    unsigned seed;       /* of whatever is drawn */
    size_t write_max;    /* octets that one write takes; 0: all */
    int write_blocks;    /* every other write takes nothing */
    size_t body_max;     /* octets that one on_body takes; 0: all. Every other one takes nothing */
    int pipelined;       /* the client does not wait where it need not */
    int lazy;            /* drawn: answers, resumption and flushes come late, in any order */
    int ticks;           /* a tick after every call */
    int pester;          /* calls that have no business there, after every call */
    int reenter;         /* every call from inside every callback */
    int lender;          /* output blocks are lent */
    unsigned fail_write; /* the n-th write says that the transport is gone; 0: none */
    unsigned fail_lend;  /* the n-th lend fails; 0: none */
    int stop;            /* what happens after stop_at octets */
    size_t stop_at;
    int stop_early; /* at once, not when the session has settled */
} peer_mode;

/* Manners that must all give the same; [0] is the plainest: whole, stop-and-wait, answered at once. */
extern const peer_mode peer_modes[];
extern const size_t peer_mode_count;

/* Draws a manner. */
peer_mode peer_mode_random(unsigned seed);

/* -- scripts ---------------------------------------------------------------------------------------- */

typedef enum peer_act {
    PEER_SEND,    /* bytes, len */
    PEER_WAIT,    /* for all replies */
    PEER_TLS,     /* number: octets held */
    PEER_ADVANCE, /* number: milliseconds; then a tick */
    PEER_EOF,
    PEER_LOST,
    PEER_SHUTDOWN
} peer_act;

typedef struct peer_step {
    peer_act act;
    const char *bytes;
    size_t len;
    uint64_t number;
} peer_step;

/* -- a run ------------------------------------------------------------------------------------------ */

typedef struct peer peer;
struct peer {
    const peer_setup *setup;
    peer_mode mode;
    uint64_t now;
    ehlo_server *session;
    char fault[512]; /* the first breach of the contract, or empty */

    peer_text log;       /* one line per event, adjacent body slices joined */
    peer_text out;       /* what the session wrote */
    peer_text trace_in;  /* on_trace, one line each */
    peer_text trace_out; /* on_trace, octets */
    peer_text hold;      /* octets not yet consumed */
    size_t fed;          /* octets consumed */
    unsigned writes;     /* calls of the write callback that took something */
    size_t last_write;   /* octets of the last one */
    unsigned lends;

    ehlo_token token; /* pending, or 0 */
    ehlo_reply reply; /* for it */
    int result;       /* of the last call that failed; EHLO_OK if none did */
    int closing;      /* the transport is gone, or a fatal error happened */
    int stopped;      /* the mode's stop has happened */

    /* private from here on */
    ehlo_service *service;
    void *service_mem;
    void *session_mem;
    size_t session_size;
    ehlo_token last_token;
    int in_callback;
    int writable;
    unsigned write_calls;
    unsigned body_calls;
    int body_blocked;
    uint64_t body_len;
    uint64_t body_hash;
    char body_head[256];
    int body_open; /* a body line of the log is being joined */
    uint64_t message_len;
    int open; /* a MAIL was accepted and has not ended */
    uint32_t recipients;
    int mail_pending;
    int rcpt_pending;
    int closes;
    unsigned blocks_lent;
    int tls_begun;
    size_t sent;
    uint32_t random;
    char *arena;
    size_t arena_len;
};

/* Makes service and session; start says the greeting. NULL if the service refuses the settings. */
peer *peer_new(const peer_setup *setup, const peer_mode *mode);
int peer_start(peer *p);

/* Gives the session octets in the manner of the mode, as far as it takes them. */
void peer_send(peer *p, const char *bytes, size_t len);
void peer_say(peer *p, const char *text); /* NUL-terminated */

/* Answers, resumes, flushes and feeds until nothing is left to do. */
void peer_settle(peer *p);

void peer_act_on(peer *p, const peer_step *step);
int peer_answer(peer *p, const ehlo_reply *reply); /* by hand */
unsigned peer_wants(const peer *p);

/* Closes the session and checks what must hold at the end. */
void peer_end(peer *p);
void peer_free(peer *p);

/* All of it: new, start, every step, end. */
peer *peer_run(const peer_setup *setup, const peer_step *steps, size_t count, const peer_mode *mode);

/* 1 if octets [0, len) are whole, well-formed reply lines of at most 512 octets; otherwise 0 and why. */
int peer_replies_valid(const char *bytes, size_t len, const char **why);

/* The codes of all replies, a space behind each: "220 250 221 ". */
void peer_codes(const peer *p, peer_text *codes);

/* 1 if text matches pattern, in which '*' stands for any octets. */
int peer_matches(const char *pattern, const char *text, size_t len);

#endif
