/* ehlo/server.h - one SMTP or LMTP server session, without I/O.
 *
 * A service holds what sessions share; a session is one block of the caller's memory. Feed it what the peer
 * sends, it calls back with what was asked, and writes replies through the write callback. It opens nothing,
 * reads no clock, allocates nothing.
 *
 *     ehlo_server_init(&s, mem, size, service, &peer, user);
 *     ehlo_server_start(s, now);                               the greeting
 *     for (;;) {
 *         unsigned wants = ehlo_server_wants(s);
 *         if (wants & EHLO_WANT_CLOSE) break;
 *         if (wants & EHLO_WANT_READ)  read, then ehlo_server_feed(s, now, bytes, len, &used); keep what is left
 *         if (wants & EHLO_WANT_WRITE) when writable, ehlo_server_flush(s, now);
 *         if (wants & EHLO_WANT_TLS)   handshake, then ehlo_server_tls_started(s, now, held, &facts);
 *         at ehlo_server_deadline(s):  ehlo_server_tick(s, now);
 *     }
 *     ehlo_server_close(s);                                    on_close; the memory is yours again
 *
 * Order: settings, callbacks, service, session, facts. */
#ifndef EHLO_SERVER_H
#define EHLO_SERVER_H

#include <ehlo/body.h>
#include <ehlo/syntax.h>
#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ehlo_service ehlo_service;
typedef struct ehlo_server ehlo_server;

/* -- settings --------------------------------------------------------------------------------------- */

/* Switches of a service, or'ed in `flags`. */
enum {
    EHLO_SERVICE_LMTP = 1 << 0,          /* RFC 2033: LHLO, a result per recipient */
    EHLO_SERVICE_NO_EXTENSIONS = 1 << 1, /* offer only what `extensions` names, even if that is nothing */
    EHLO_SERVICE_STRICT_COLON = 1 << 2,  /* refuse "MAIL FROM: <a@b>" with 501 */
    EHLO_SERVICE_EARLY_INPUT = 1 << 3,   /* refuse peers that talk before the greeting (while on_connect is
                                            pending, and READ wanted for it) or behind DATA before the 354: 554 or 421,
                                            and close */
    EHLO_SERVICE_REQUIRE_TLS = 1 << 4,   /* MAIL, AUTH... before STARTTLS are 530 5.7.0 (not for public MX) */
    EHLO_SERVICE_REQUIRE_AUTH = 1 << 5,  /* MAIL before AUTH is 530 5.7.0 */
    EHLO_SERVICE_AUTH_CLEAR = 1 << 6,    /* offer and accept AUTH outside TLS too, PLAIN and LOGIN among it where
                                            auth_mechanisms has them (RFC 8314 advises against) */
    EHLO_SERVICE_REFUSE_8BIT = 1 << 7,   /* octets above 127 in a message without BODY=8BITMIME: 554 5.6.1 */
    EHLO_SERVICE_TRACE_SECRETS = 1 << 8, /* on_trace sees secrets too: for debugging alone */
    EHLO_SERVICE_SUBMISSION = 1 << 9     /* the submission role (RFC 6409): REQUIRE_AUTH, and domains in MAIL and RCPT
                                            that are not fully qualified are 554 5.1.8 and 5.1.2 (4.2); see
                                            ehlo_header_scan for what a submitted message may lack */
};

/* What a service offers and how far it goes. Zero it; every zero means the default that is written beside
 * it. Nothing is kept of it: text is copied. RFC numbers are minimum capacities (RFC 5321 4.5.3). */
typedef struct ehlo_service_config {
    ehlo_str hostname;        /* names us in greeting, hello and QUIT replies; a domain or literal. Required */
    ehlo_str greeting;        /* behind it in the 220 line; "ESMTP" or "LMTP" */
    unsigned flags;           /* EHLO_SERVICE_* */
    uint32_t extensions;      /* EHLO_CAP_*; 0: SIZE 8BITMIME PIPELINING CHUNKING BINARYMIME
                            ENHANCEDSTATUSCODES SMTPUTF8 HELP, which ask nothing of the application but to keep
                            octets as they are. The others are promises of the application's: it gets their
                            parameters and must honour them */
    ehlo_str auth_mechanisms; /* "PLAIN LOGIN"; required with EHLO_CAP_AUTH. Inside a session only what can work there
                                 is offered and accepted: -PLUS with the octets of a channel binding, EXTERNAL with a
                                 client certificate that was verified (both: ehlo_tls_facts) */
    ehlo_str keywords;        /* the application's own EHLO lines, '\n' between: "XFOO 1\nXBAR" */
    ehlo_str deliverby;       /* argument of DELIVERBY: the minimum seconds, or empty */
    ehlo_str mt_priority;     /* argument of MT-PRIORITY: the profile, or empty */
    uint32_t hold_max;        /* FUTURERELEASE: seconds at most; 604800 (a week) */
    ehlo_str hold_until;      /* FUTURERELEASE: latest date-time, RFC 3339 UTC; "9999-12-31T23:59:59Z" */
    ehlo_str xclient;         /* argument of XCLIENT: the attributes; "NAME ADDR PORT PROTO HELO LOGIN" */

    unsigned leniencies;    /* EHLO_SYNTAX_* beyond the strict grammar (COLON_SPACE is on, see STRICT_COLON) */
    uint8_t bare_cr;        /* ehlo_bare_policy in DATA; reject */
    uint8_t bare_lf;        /* likewise */
    uint32_t text_line_max; /* longest line of DATA without CRLF; 0: any length, as it is */

    uint64_t max_size;  /* octets of a message; 52428800 (50 MiB); EHLO_UNLIMITED: none, and SIZE 0 is offered */
    uint64_t drain_max; /* octets of a message or chunk that are read although it is refused, to answer it in its
                                place; beyond it the session answers and closes; max(2 * max_size, 16 MiB) */
    uint32_t line_max;  /* octets of a command line with CRLF; 2048; at least 512. MAIL and RCPT may be longer, where
                                what is offered needs it (RFC 5321 4.5.3.1.4) */
    uint32_t line_drain_max;    /* octets of an over-long line still read; 1 MiB, or line_max; then 421 */
    uint32_t auth_line_max;     /* octets of an AUTH line with CRLF, when AUTH is offered; 12288 */
    uint32_t path_max;          /* octets of a path; 322 */
    uint32_t max_recipients;    /* per transaction; 1000; beyond: 452 4.5.3 */
    uint32_t max_messages;      /* per session, offered as LIMITS MAILMAX; 0: any number; beyond: 421 */
    uint32_t max_rcpt_domains;  /* offered as LIMITS RCPTDOMAINMAX, enforced by the application; 0: not offered */
    uint32_t max_bad;           /* bad commands (500-504 and 555 of the library's own, AUTH failures) in a row without
                                an accepted MAIL, RCPT or message; 20; beyond: 421 */
    uint32_t max_idle_commands; /* NOOP RSET VRFY EXPN HELP EHLO AUTH and tiny chunks between two accepted MAIL, RCPT,
                                   messages or longer chunks; 1000; beyond: 421 */
    uint32_t tiny_chunk;        /* a BDAT chunk of fewer octets is tiny; 16 */
    uint64_t max_commands;      /* per session; 0: any number; beyond: 421 */
    uint32_t max_auth_failures; /* per session; 10; beyond: 421 */

    uint32_t out_max; /* the output block; 1536 octets, raised to twice the largest reply (see reply_max) */

    uint32_t command_ms;         /* for a whole command, from the reply before; 300000 (RFC 5321 4.5.3.2.7) */
    uint32_t data_ms;            /* between octets of a message; 300000 */
    uint32_t answer_ms;          /* for the application's answers; 600000; then 421 */
    uint32_t write_ms;           /* for a peer that does not read; 300000; then closed */
    uint32_t tls_ms;             /* for a handshake; 60000 */
    uint32_t close_ms;           /* for the last reply to leave; 10000 */
    uint32_t data_rate;          /* least octets per second of a message, while we are ready to read; 500 */
    uint32_t data_rate_grace_ms; /* before the rate counts; 60000; UINT32_MAX: no minimum rate */

    ehlo_lender lender; /* lend NULL: each session has its output block in its own memory */
} ehlo_service_config;

/* -- callbacks -------------------------------------------------------------------------------------- */

/* What a whole message is, as on_message gets it. */
typedef struct ehlo_message {
    uint64_t size;       /* octets given to on_body */
    uint32_t recipients; /* accepted */
    uint8_t body;        /* ehlo_body, as MAIL declared it */
    uint8_t smtputf8;    /* 1: MAIL had SMTPUTF8 */
    uint8_t chunked;     /* 1: it came by BDAT */
} ehlo_message;

/* Why a transaction ended without on_message. */
typedef enum ehlo_reset {
    EHLO_RESET_RSET = 1, /* the peer said RSET */
    EHLO_RESET_HELLO,    /* the peer said EHLO, HELO or LHLO */
    EHLO_RESET_REFUSED,  /* the message was refused: by on_body, or over a limit, or malformed */
    EHLO_RESET_QUIT,     /* the peer said QUIT */
    EHLO_RESET_EOF,      /* the peer sent its last octet */
    EHLO_RESET_LOST,     /* the transport is gone */
    EHLO_RESET_TIMEOUT,  /* a deadline passed */
    EHLO_RESET_LIMIT,    /* the session ended over a limit or a protocol violation */
    EHLO_RESET_CLOSED    /* the application closed the session, or answered 421 */
} ehlo_reset;

/* Commands that on_command gets. Views die with the call. */
typedef struct ehlo_command {
    ehlo_verb verb;    /* VRFY EXPN HELP VERB ETRN XCLIENT NOOP, or UNKNOWN */
    ehlo_str name;     /* as written */
    ehlo_str argument; /* VRFY, EXPN: without the SMTPUTF8 keyword. ETRN: the node. ptr NULL if there is none */
    char option;       /* ETRN: '@', '#' or 0 */
    uint8_t utf8;      /* VRFY, EXPN: SMTPUTF8 was asked */
} ehlo_command;

/* Called by the session, once per command and never again for the same one. Any may be NULL but write.
 *
 * A callback that has a token returns a verdict:
 *   EHLO_OK      answered with *r; left as it came (all zero) it is the default reply, a success.
 *   EHLO_LATER   the answer comes through ehlo_server_answer with this token.
 *   negative     the session says 421 and closes.
 * Which codes *r may have: on_connect 220 421 521 554; on_hello 250; on_mail, on_rcpt 250 251 252; on_data 354;
 * on_message, on_result 250; on_auth 235 334; on_starttls 220; on_command any 2yz (XCLIENT 220 alone); and each
 * of them any 4yz or 5yz. 421 closes, whatever the verb. Our host name leads the text of a greeting and of 421. A
 * reply that is not sendable (CR, NUL, an octet above 126 without SMTPUTF8) or too long is said with the default text
 * instead; a code that is not allowed becomes the usual one of its class, and in AUTH 454: nobody is authenticated
 * by mistake.
 * Text in *r must live until the callback has returned.
 *
 * From inside a callback only the readers (wants, deadline, facts) and ehlo_server_answer with the token just
 * given may be called; all else is EHLO_ERR_REENTRY. */
typedef struct ehlo_server_callbacks {
    /* Takes octets for the peer: *taken of those in parts[0..n). Fewer than all: the transport is full, and
     * ehlo_server_flush follows when it is not. Negative: the transport is gone. Required. */
    int (*write)(ehlo_server *s, const ehlo_str *parts, size_t n, size_t *taken, void *user);
    /* A peer has connected. Default: 220. */
    int (*on_connect)(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user);
    /* EHLO, HELO or LHLO. A 250 text (one line, at most 128 octets) goes behind our name in the first
     * line. An open transaction is reset when it is accepted. */
    int (*on_hello)(ehlo_server *s, ehlo_token token, const ehlo_hello *hello, ehlo_reply *r, void *user);
    int (*on_mail)(ehlo_server *s, ehlo_token token, const ehlo_mail *mail, ehlo_reply *r, void *user);
    int (*on_rcpt)(ehlo_server *s, ehlo_token token, const ehlo_rcpt *rcpt, ehlo_reply *r, void *user);
    /* Asked at DATA and at the first BDAT, with at least one accepted recipient. */
    int (*on_data)(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user);
    /* Octets of the message, dots unstuffed. *taken comes as len; fewer stops the peer until ehlo_server_resume.
     * EHLO_REFUSE: with *r (default 554 5.6.0) as the reply once the rest was drained; on_reset follows at once.
     * Negative: 421 and close. */
    int (*on_body)(ehlo_server *s, const char *bytes, size_t len, size_t *taken, ehlo_reply *r, void *user);
    /* The commit: the message is whole. 2yz promises its delivery. In SMTP the reply is the peer's; in LMTP a
     * 2yz leads to on_result for each recipient, anything else is the reply for all of them. */
    int (*on_message)(ehlo_server *s, ehlo_token token, const ehlo_message *message, ehlo_reply *r, void *user);
    /* LMTP, after a 2yz from on_message: the result for recipient rcpt (0 is the first accepted), in order.
     * NULL: all get the reply of on_message. */
    int (*on_result)(ehlo_server *s, ehlo_token token, size_t rcpt, ehlo_reply *r, void *user);
    /* A step of AUTH. mechanism: set in the first step, empty in later ones. response: base64, checked; ptr
     * NULL if there was no initial response; length 0 is the empty response. 334 with bytes in r->text: a
     * challenge, sent as base64 (any octets, at most 3/4 of reply_max). 235: authenticated. Default: 504.
     * Cancelled by the peer, or given up: mechanism and response both have NULL: forget the exchange; the
     * verdict and *r are not looked at. Who it was is the application's to remember, and to forget: after STARTTLS and
     * XCLIENT nobody is authenticated, and ehlo_server_with lacks EHLO_WITH_AUTH. */
    int (*on_auth)(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r, void *user);
    /* STARTTLS. Default: 220; 454 says that it cannot be for now. */
    int (*on_starttls)(ehlo_server *s, ehlo_token token, ehlo_reply *r, void *user);
    /* VRFY (default 252), EXPN (252), HELP (214), VERB (250), ETRN (458), XCLIENT (550), NOOP (250), unknown (500). */
    int (*on_command)(ehlo_server *s, ehlo_token token, const ehlo_command *command, ehlo_reply *r, void *user);
    /* The open transaction is gone, without on_message. reason: ehlo_reset. */
    void (*on_reset)(ehlo_server *s, int reason, void *user);
    /* From inside ehlo_server_close, once, last. reason: ehlo_close. pending: the token that will never be
     * answered, or 0. */
    void (*on_close)(ehlo_server *s, int reason, ehlo_token pending, void *user);
    /* What was said: command lines without CRLF, replies as the transport took them. secret (what may hold a password,
     * and the challenges of AUTH): bytes.ptr is NULL and only the length is told, unless EHLO_SERVICE_TRACE_SECRETS.
     * Bodies are not traced. */
    void (*on_trace)(ehlo_server *s, int direction, ehlo_str bytes, int secret, void *user);
} ehlo_server_callbacks;

/* -- service ---------------------------------------------------------------------------------------- */

/* Octets that ehlo_service_init needs for this configuration; 0 if it is not valid. */
#define ehlo_service_size(cfg) ehlo_service_size_sized((cfg), sizeof(ehlo_service_config))
EHLO_API size_t ehlo_service_size_sized(const ehlo_service_config *cfg, size_t cfg_size);

/* Checks cfg, renders the EHLO reply and builds a service in mem (aligned for anything). It is read-only from then on,
 * may be used by any number of threads, must outlive its sessions, and needs no end. Callbacks and cfg are copied.
 * *service is mem. EHLO_ERR_ARG: a setting is out of range, a text holds what may not be sent, hostname is missing,
 * extensions contradict each other (BINARYMIME without CHUNKING, SMTPUTF8 without 8BITMIME, AUTH without mechanisms,
 * REQUIRE_TLS without STARTTLS, SUBMISSION without AUTH), or write is NULL. EHLO_ERR_SPACE: len is too small. */
#define ehlo_service_init(service, mem, len, cfg, callbacks)                                                           \
    ehlo_service_init_sized((service), (mem), (len), (cfg), sizeof(ehlo_service_config), (callbacks),                  \
                            sizeof(ehlo_server_callbacks))
EHLO_API int ehlo_service_init_sized(ehlo_service **service, void *mem, size_t len, const ehlo_service_config *cfg,
                                     size_t cfg_size, const ehlo_server_callbacks *callbacks, size_t callbacks_size);

/* An input buffer of this many octets never stalls a session. */
EHLO_API size_t ehlo_service_input_min(const ehlo_service *service);

/* Our host name, as configured; it lives as long as the service. */
EHLO_API ehlo_str ehlo_service_hostname(const ehlo_service *service);

/* The longest reply that an application may give, in octets on the wire. */
EHLO_API size_t ehlo_service_reply_max(const ehlo_service *service);

/* -- session ---------------------------------------------------------------------------------------- */

/* Octets of one session: its state, and its output block where the service has no lender. */
EHLO_API size_t ehlo_server_size(const ehlo_service *service);

/* Builds a session in mem (aligned for anything, ehlo_server_size octets). peer is borrowed until close; NULL
 * for an unknown one. user goes to every callback. *s is mem. EHLO_ERR_SPACE, EHLO_ERR_ARG (NULL). */
EHLO_API int ehlo_server_init(ehlo_server **s, void *mem, size_t len, const ehlo_service *service,
                              const ehlo_peer *peer, void *user);

/* All calls below that take `now`: milliseconds of any clock that does not go back. All return EHLO_OK or
 * an error; EHLO_ERR_REENTRY from inside a callback; EHLO_ERR_MEMORY or EHLO_ERR_TRANSPORT when only close is
 * left. What the peer does wrong is never an error here. */

/* on_connect, then the greeting. Once, first; EHLO_ERR_STATE otherwise. */
EHLO_API int ehlo_server_start(ehlo_server *s, uint64_t now);

/* Takes octets of the peer: *used of them. Offer the rest again, in front of what comes next. On return one of
 * three holds: *used is len; or wants lacks READ (offer again when it is back); or the rest is an incomplete
 * line or an undecided end, shorter than ehlo_service_input_min. Where READ is not wanted it takes nothing, but
 * once the session is over it takes and drops everything. */
EHLO_API int ehlo_server_feed(ehlo_server *s, uint64_t now, const char *bytes, size_t len, size_t *used);

/* The transport takes octets again. */
EHLO_API int ehlo_server_flush(ehlo_server *s, uint64_t now);

/* on_body has room again. */
EHLO_API int ehlo_server_resume(ehlo_server *s, uint64_t now);

/* The answer to the callback that token was given to, now or after it returned EHLO_LATER; as in the
 * callback, code 0 is the default. EHLO_ERR_STALE: not the pending token; EHLO_ERR_ARG: this reply is not
 * allowed there, not sendable, or too long: the token stays open. */
EHLO_API int ehlo_server_answer(ehlo_server *s, uint64_t now, ehlo_token token, const ehlo_reply *r);

/* The handshake that EHLO_WANT_TLS asked for is done. held: clear-text octets read but not consumed, which
 * may hold a forged command; any but 0 closes the session, and the handshake's result must not be used
 * (RFC 3207 4.2, CVE-2011-0411). facts is borrowed until close; may be NULL. EHLO_ERR_STATE if TLS was not
 * wanted. A handshake that failed is ehlo_server_lost. Before start it says that the transport is inside TLS from the
 * first octet on (RFC 8314 3.3), as ehlo_peer's tls does without the facts. */
EHLO_API int ehlo_server_tls_started(ehlo_server *s, uint64_t now, size_t held, const ehlo_tls_facts *facts);

/* Acts on deadlines that have passed by now; does nothing if early. */
EHLO_API int ehlo_server_tick(ehlo_server *s, uint64_t now);

/* No octet follows those consumed. What was consumed is still answered; then the session ends. */
EHLO_API int ehlo_server_eof(ehlo_server *s, uint64_t now);

/* The transport is gone, or must be: nothing more is written. */
EHLO_API int ehlo_server_lost(ehlo_server *s);

/* Says 421 and closes: at once where no transaction is open, else when the open one has ended. During a handshake,
 * where nothing can be said, it just closes. */
EHLO_API int ehlo_server_shutdown(ehlo_server *s, uint64_t now);

/* Ends a session in whatever state: on_reset if a transaction is open, on_close, and the memory is the
 * caller's again. Only from inside a callback it is refused. */
EHLO_API int ehlo_server_close(ehlo_server *s);

/* -- facts: never change anything, may be called from callbacks ------------------------------------- */

/* EHLO_WANT_*, or'ed. */
EHLO_API unsigned ehlo_server_wants(const ehlo_server *s);

/* When tick has something to do; UINT64_MAX for never. It may move later without notice. */
EHLO_API uint64_t ehlo_server_deadline(const ehlo_server *s);

/* wants and deadline in one call: what an event loop asks after each call. */
EHLO_API unsigned ehlo_server_status(const ehlo_server *s, uint64_t *deadline);

EHLO_API const ehlo_peer *ehlo_server_peer(const ehlo_server *s);           /* as given to init */
EHLO_API const ehlo_tls_facts *ehlo_server_tls_facts(const ehlo_server *s); /* NULL outside TLS, or if not given */
EHLO_API void *ehlo_server_user(const ehlo_server *s);
EHLO_API const ehlo_service *ehlo_server_service(const ehlo_server *s);
/* The EHLO_SASL_* that an EHLO offers now; 0 outside TLS where AUTH is for inside it alone. For
 * ehlo_sasl_server_config. */
EHLO_API uint32_t ehlo_server_mechanisms(const ehlo_server *s);
/* EHLO_WITH_*, or'ed, for ehlo_received: ESMTP after EHLO, LMTP, TLS, AUTH, UTF8 of the transaction. */
EHLO_API unsigned ehlo_server_with(const ehlo_server *s);

#ifdef __cplusplus
}
#endif
#endif
