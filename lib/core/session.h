/* session.h - the inside of a server session, and what its parts may ask of each other.
 *
 *   server.c    the public calls: enter, move, leave
 *   intake      intake.c: octets to lines and message octets
 *   command.c   one function per command: parse, judge, ask
 *   auth.c      the AUTH exchange
 *   message.c   DATA and BDAT: octets to on_body, the end to on_message, refusals drained
 *   answer.c    questions to the application, and what its answers change
 *   session.c   replies, endings, counters: what all of them share
 *
 * Octets flow down this list; answers lead back up, from the last of a question to the next step. */
#ifndef EHLO_CORE_SESSION_H
#define EHLO_CORE_SESSION_H

#include "out.h"
#include "inline.h"
#include "service.h"

/* What the octets that come next are. */
typedef enum ehlo_phase {
    EHLO_PHASE_NEW = 0,  /* before start */
    EHLO_PHASE_GREETING, /* on_connect is asked */
    EHLO_PHASE_COMMAND,
    EHLO_PHASE_AUTH, /* a line of an AUTH exchange */
    EHLO_PHASE_DATA,
    EHLO_PHASE_CHUNK,
    EHLO_PHASE_TLS,     /* 220 to STARTTLS was queued: nothing is read here */
    EHLO_PHASE_CLOSING, /* the last reply is leaving; input is dropped */
    EHLO_PHASE_CLOSED   /* nothing is read or written any more */
} ehlo_phase;

/* Which callback is running: one that may be answered from inside, or another. */
enum { EHLO_RUNNING_NOTHING = 0, EHLO_RUNNING_CALLBACK = 1, EHLO_RUNNING_QUESTION = 2 };

/* What becomes of the transaction when the last final reply is queued. */
typedef enum ehlo_paying {
    EHLO_PAYING_NOTHING = 0,
    EHLO_PAYING_CHUNK,  /* a refused chunk: the transaction stays, dead */
    EHLO_PAYING_MESSAGE /* the transaction is over */
} ehlo_paying;

struct ehlo_server {
    const ehlo_service *service;
    const ehlo_peer *peer;
    const ehlo_tls_facts *tls_facts;
    void *user;
    ehlo_out out;
    ehlo_state state;
    ehlo_decoder decoder;

    uint64_t now;           /* of the call under way */
    uint64_t since;         /* when the present wait began */
    uint64_t blocked_since; /* when the transport last took octets, while it is full */
    uint64_t body_since;    /* when the message or chunk began, moved on by the time we did not read */
    uint64_t body_octets;   /* of it since, as they came */
    uint64_t message_size;  /* octets given to on_body */
    uint64_t left;          /* CHUNK: octets of the chunk to come. DATA: octets at the front of the input that are
                               decoded already, because on_body took a part of a slice */
    uint64_t commands;
    uint64_t line_skipped; /* octets of an over-long line */
    uint32_t searched;     /* octets of an incomplete line that hold no CRLF */
    uint32_t results;      /* final replies owed, before anything else may be read */
    uint32_t result;       /* LMTP: the recipient whose result is next */
    uint32_t bad;          /* bad commands in a row */
    uint32_t idle;         /* commands without progress in a row */
    uint32_t auth_failures;
    ehlo_token token; /* the last one given */
    ehlo_token spent; /* the one that was pending when the session ended */

    /* What stands between the input and the next command; one look tells that there is nothing. */
    union {
        uint64_t unsettled;
        struct {
            uint8_t question; /* ehlo_question */
            uint8_t running;  /* EHLO_RUNNING_* */
            uint8_t stalled;  /* on_body took less than it was given */
            uint8_t paying;   /* ehlo_paying: what follows the last of `results`; set while there are any */
            uint8_t urgent;   /* a reply that RFC 2920 forbids to hold back is queued */
            uint8_t eof;
            uint8_t shutdown;
            uint8_t fatal; /* 0, or minus an EHLO_ERR_* below EHLO_ERR_FATAL */
        };
    };
    uint16_t answer_code;  /* of the answer that was just accepted */
    uint8_t phase;         /* ehlo_phase */
    uint8_t verb;          /* the command asked about, or refused at once */
    uint8_t answered;      /* the running callback has called answer */
    uint8_t blocked;       /* the transport took less than it was given */
    uint8_t draining;      /* the message or chunk is refused; the reply is held */
    uint8_t chunk_last;    /* BDAT LAST */
    uint8_t line_skipping; /* inside an over-long line */
    uint8_t line_cr;       /* its last octet was a CR */
    uint8_t utf8;          /* the command asked for UTF-8 in its reply */
    uint8_t refused;       /* the greeting was a refusal: 54 for 554, 21 for 521 */
    uint8_t reason;        /* ehlo_close */
    uint8_t bare;          /* the reply to come has no enhanced code: a greeting, or one to a hello */
    uint8_t secret;      /* what was fed last holds what may be a password, or a part of it; or what comes next does */
    uint8_t challenging; /* a challenge is among what waits for the transport; kept for the trace alone */
};

static inline int ehlo_session_is_lmtp(const ehlo_server *s)
{
    return (s->service->config.flags & EHLO_SERVICE_LMTP) != 0;
}

/* -- session.c -- */

/* 1 if a reply with this code, to the question that is open, is a greeting: on_connect's, or XCLIENT's. */
static inline int ehlo_session_is_greeting(const ehlo_server *s, unsigned code)
{
    return code == 220 &&
           (s->question == EHLO_ASKED_CONNECT || (s->question == EHLO_ASKED_COMMAND && s->verb == EHLO_VERB_XCLIENT));
}

void ehlo_session_say(ehlo_server *s, ehlo_standard which);
/* Queues a reply of the application, or of the library with a text of its own. */
int ehlo_session_say_reply(ehlo_server *s, const ehlo_reply *reply);
/* The same, but the reply is held until it is due; see out.h. */
int ehlo_session_hold_reply(ehlo_server *s, const ehlo_reply *reply);
/* Counts a reply that refuses a command; 1 if there were too many bad commands in a row. */
int ehlo_session_count_bad(ehlo_server *s, ehlo_standard which);
/* Refuses a command: counts it and says why; too many end the session with 421. */
void ehlo_session_bad(ehlo_server *s, ehlo_standard which);
/* A command that moves no mail; 1 if there were too many, and the session has ended. */
int ehlo_session_idle(ehlo_server *s);
/* Mail moved: the counters start anew. */
static inline void ehlo_session_progress(ehlo_server *s)
{
    s->bad = 0;
    s->idle = 0;
}

/* on_reset, if the application holds a transaction. The transaction itself is left to the caller. */
void ehlo_session_forget(ehlo_server *s, ehlo_reset reason);
/* Forgets the transaction on both sides. */
void ehlo_session_reset(ehlo_server *s, ehlo_reset reason);
/* Nothing more is read; what is queued still leaves. */
void ehlo_session_end(ehlo_server *s, ehlo_close close, ehlo_reset reset);
/* The same with a last reply. */
void ehlo_session_end_saying(ehlo_server *s, ehlo_standard which, ehlo_close close, ehlo_reset reset);
/* Nothing more is read or written. */
void ehlo_session_drop(ehlo_server *s, ehlo_close close, ehlo_reset reset);
/* Calls on_trace, which is not NULL. */
void ehlo_session_trace(ehlo_server *s, int direction, ehlo_str bytes, int secret);
/* Writes what is queued, which is something, to a transport that is not known to be full. */
void ehlo_session_write(ehlo_server *s);

static inline int ehlo_session_traces(const ehlo_server *s)
{
    return s->service->callbacks.on_trace != NULL;
}

/* Writes what is queued, unless the transport is known to be full. */
static inline void ehlo_session_flush(ehlo_server *s)
{
    if (!s->blocked && s->phase != EHLO_PHASE_CLOSED && !ehlo_out_empty(&s->out)) ehlo_session_write(s);
}

/* With s->shutdown: says 421 if no transaction is open. */
void ehlo_session_stop_if_told(ehlo_server *s);
/* 1 in the phases that read commands or messages. */
static inline int ehlo_session_converses(const ehlo_server *s)
{
    return s->phase >= EHLO_PHASE_COMMAND && s->phase <= EHLO_PHASE_CHUNK;
}

/* 1 if nothing stands between the peer's next octets and us: so it is nearly always, and told by one look. */
static inline int ehlo_session_flows(const ehlo_server *s)
{
    return s->unsettled == 0 && ehlo_session_converses(s) && ehlo_out_fits(&s->out, s->service->reply_max);
}

/* 1 if octets of the peer may be taken now. */
int ehlo_session_reads(const ehlo_server *s);

/* -- answer.c -- */

/* Opens a question: the callback is called between these two. */
static inline ehlo_token ehlo_session_ask(ehlo_server *s, ehlo_question question, ehlo_verb verb)
{
    s->question = (uint8_t)question;
    s->verb = (uint8_t)verb;
    if (++s->token == 0) s->token = 1;
    s->answered = 0;
    s->running = EHLO_RUNNING_QUESTION;
    s->since = s->now;
    return s->token;
}

void ehlo_session_verdict(ehlo_server *s, int verdict, const ehlo_reply *reply);
/* Accepts an answer: queues or holds its reply. EHLO_ERR_ARG, with nothing changed, if it may not be sent. */
int ehlo_session_accept(ehlo_server *s, const ehlo_reply *reply);
/* Acts on the answer accepted. */
void ehlo_session_conclude(ehlo_server *s);

/* -- command.c, auth.c -- */

/* One line without CRLF; `behind` octets follow it already. */
void ehlo_session_command(ehlo_server *s, ehlo_str line, size_t behind);
void ehlo_session_auth(ehlo_server *s, ehlo_str argument);
void ehlo_session_auth_line(ehlo_server *s, ehlo_str line);
/* The exchange under way is over, without success: the application forgets it. */
void ehlo_session_auth_cancel(ehlo_server *s);
/* The same over a line of the peer's, which is refused. */
void ehlo_session_auth_give_up(ehlo_server *s, ehlo_standard why);

/* -- message.c -- */

void ehlo_session_data(ehlo_server *s, size_t behind);
void ehlo_session_data_begin(ehlo_server *s);
void ehlo_session_chunk(ehlo_server *s, ehlo_str argument, ehlo_standard no);
void ehlo_session_chunk_begin(ehlo_server *s);
/* A BDAT command that can't be read: its octets can't be told from commands, so the session ends. */
void ehlo_session_chunk_unreadable(ehlo_server *s);
/* The application's reply, accepted and held, refuses the chunk. */
void ehlo_session_chunk_refused(ehlo_server *s);
/* The transaction is answered with `results` final replies: the held one, or one asked for each. */
void ehlo_session_pay(ehlo_server *s, uint32_t results, ehlo_paying paying);
/* Takes octets of a message; returns how many. */
size_t ehlo_session_take_data(ehlo_server *s, const char *bytes, size_t len);
size_t ehlo_session_take_chunk(ehlo_server *s, const char *bytes, size_t len);
/* Pays the final replies owed, as far as they fit. */
void ehlo_session_pay_results(ehlo_server *s);

#endif
