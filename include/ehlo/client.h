/* ehlo/client.h - one SMTP or LMTP client session, without I/O.
 *
 * A ring of commands: call one, and its reply calls you back, in order. Commands are pipelined where the server
 * offers it, and never past one that has to be the last of its group (RFC 2920 3.1). Sending whole messages is
 * the business of transaction.h, which stands on this; here is the protocol.
 *
 *     ehlo_client_init(&c, mem, size, &config, &callbacks, user);
 *     ehlo_client_start(c, now, on_greeting, user);
 *     ... on_greeting: ehlo_client_hello(c, on_hello, user); on_hello: ehlo_client_command(c, ...);
 *     for (;;) {
 *         unsigned wants = ehlo_client_wants(c);
 *         if (wants & EHLO_WANT_CLOSE) break;
 *         if (wants & EHLO_WANT_READ)  read, then ehlo_client_feed(c, now, bytes, len, &used); keep what is left
 *         if (wants & EHLO_WANT_WRITE) when writable, ehlo_client_flush(c, now);
 *         if (wants & EHLO_WANT_TLS)   handshake, then ehlo_client_tls_started(c, now, held, &facts);
 *         at ehlo_client_deadline(c):  ehlo_client_tick(c, now);
 *     }
 *     ehlo_client_close(c);                                    on_close; the memory is yours again
 *
 * Order: settings, callbacks, session, commands, bodies, facts. */
#ifndef EHLO_CLIENT_H
#define EHLO_CLIENT_H

#include <ehlo/body.h>
#include <ehlo/syntax.h>
#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ehlo_client ehlo_client;

/* -- settings --------------------------------------------------------------------------------------- */

enum {
    EHLO_CLIENT_LMTP = 1 << 0,          /* RFC 2033: LHLO, a final reply per recipient */
    EHLO_CLIENT_NO_PIPELINING = 1 << 1, /* one command at a time, whatever is offered */
    EHLO_CLIENT_NO_CHUNKING = 1 << 2,   /* transactions use DATA, whatever is offered */
    EHLO_CLIENT_TRACE_SECRETS = 1 << 3, /* on_trace sees secrets too: for debugging alone */
    EHLO_CLIENT_AUTH_CLEAR = 1 << 4     /* mechanisms that show the secret (ehlo_sasl_reveals) may be used outside TLS,
                                           where anybody may listen, and with a server that was not verified */
};

/* Zero it; every zero means the default that is written beside it. It is copied, its text too. Times are those of
 * RFC 5321 4.5.3.2. */
typedef struct ehlo_client_config {
    ehlo_str name;            /* what we call ourselves: a domain or an address literal. Required */
    unsigned flags;           /* EHLO_CLIENT_* */
    uint8_t bare_cr;          /* ehlo_bare_policy of bodies; reject. Pass, for both or none: chunks go as they
                                 are, and DATA rejects */
    uint8_t bare_lf;          /* likewise; normalise: LF becomes CRLF */
    uint32_t text_line_max;   /* longest line of a body without CRLF; 0: any length; not for BINARYMIME */
    uint32_t reply_max;       /* octets of a whole reply; 16384; at least 512; a longer one ends the session */
    uint32_t reply_lines_max; /* lines of one; 512 */
    uint32_t window;          /* commands that may wait for replies; 100; at most 65535; of other kinds than RCPT 16 */
    uint32_t out_max;         /* the output block, where commands wait for the transport; 2048, at least that */
    uint32_t greeting_ms;     /* for the greeting; 300000 */
    uint32_t command_ms;      /* for the reply to whatever is not named below; 300000 */
    uint32_t data_ms;         /* for the 354; 120000 */
    uint32_t write_ms;        /* for the server to take octets; 180000 */
    uint32_t final_ms;        /* for the reply to a message, from its last octet on; 600000 */
    uint32_t tls_ms;          /* for a handshake; 60000 */
    uint32_t quit_ms;         /* for the reply to QUIT; 10000 */
    ehlo_lender lender;       /* lend NULL: the session has its output block in its own memory */
} ehlo_client_config;

/* -- callbacks -------------------------------------------------------------------------------------- */

/* The reply to a command has come. r lives for the call: its code, its enhanced code (of the first line; 0.0.0 if
 * that has none of the code's class), and in r->text all of it as it came, for ehlo_reply_next to take apart and
 * ehlo_text_clean to make fit for a log. r NULL: the session ended without one; ehlo_client_reason says why.
 * Commands may be called from here, transactions started, and facts read; all else is EHLO_ERR_REENTRY. */
typedef void (*ehlo_on_reply)(ehlo_client *c, const ehlo_reply *r, void *user);

/* Any may be NULL but write. From the last three only facts may be read. */
typedef struct ehlo_client_callbacks {
    /* Takes octets for the server: *taken of those in parts[0..n). Fewer than all: the transport is full, and
     * ehlo_client_flush follows when it is not. Negative: the transport is gone. Required. */
    int (*write)(ehlo_client *c, const ehlo_str *parts, size_t n, size_t *taken, void *user);
    /* Each line of an EHLO reply behind the first. What we know of it is kept: ehlo_client_offers. */
    void (*on_capability)(ehlo_client *c, ehlo_str keyword, ehlo_str args, void *user);
    /* From inside ehlo_client_close, once, last: every completion has run. reason: ehlo_close. */
    void (*on_close)(ehlo_client *c, int reason, void *user);
    /* What was said, line by line, without CRLF: commands when the transport is first offered them, replies as they are
     * read. secret: bytes.ptr is NULL and only the length is told, unless EHLO_CLIENT_TRACE_SECRETS. Bodies are not
     * traced. */
    void (*on_trace)(ehlo_client *c, int direction, ehlo_str bytes, int secret, void *user);
} ehlo_client_callbacks;

/* -- session ---------------------------------------------------------------------------------------- */

/* Octets of one session: its state and, without a lender, its output block; 0 if cfg is not valid. */
#define ehlo_client_size(cfg) ehlo_client_size_sized((cfg), sizeof(ehlo_client_config))
EHLO_API size_t ehlo_client_size_sized(const ehlo_client_config *cfg, size_t cfg_size);

/* Builds a session in mem (aligned for anything). cfg and callbacks are copied. *c is mem. EHLO_ERR_ARG: a setting is
 * out of range, name is missing or no domain, or write is NULL. EHLO_ERR_SPACE: len is too small. */
#define ehlo_client_init(c, mem, len, cfg, callbacks, user)                                                            \
    ehlo_client_init_sized((c), (mem), (len), (cfg), sizeof(ehlo_client_config), (callbacks),                          \
                           sizeof(ehlo_client_callbacks), (user))
EHLO_API int ehlo_client_init_sized(ehlo_client **c, void *mem, size_t len, const ehlo_client_config *cfg,
                                    size_t cfg_size, const ehlo_client_callbacks *callbacks, size_t callbacks_size,
                                    void *user);

/* An input buffer of this many octets never stalls the session. */
EHLO_API size_t ehlo_client_input_min(const ehlo_client *c);

/* All calls that take `now`: milliseconds of any clock that does not go back. All return EHLO_OK or an error;
 * EHLO_ERR_REENTRY from inside a callback; EHLO_ERR_MEMORY or EHLO_ERR_TRANSPORT when only close is left. What the
 * server does wrong is never an error here: it ends the session, and ehlo_client_problem names it. */

/* The connection stands: waits for the greeting, which is `done`'s. Nothing is sent before (RFC 5321 4.3.1). Once,
 * first; EHLO_ERR_STATE otherwise. After a greeting that is not 2yz only QUIT may follow. */
EHLO_API int ehlo_client_start(ehlo_client *c, uint64_t now, ehlo_on_reply done, void *user);

/* Takes octets of the server, whole replies: *used of them. Offer the rest again, in front of what comes next. On
 * return one of three holds: *used is len; or wants lacks READ; or the rest is an incomplete reply, shorter than
 * ehlo_client_input_min. Once the session is over it takes and drops everything. What the replies led to is written
 * at the end, in one call of `write`. */
EHLO_API int ehlo_client_feed(ehlo_client *c, uint64_t now, const char *bytes, size_t len, size_t *used);

/* The transport takes octets again, or commands were called from outside a callback. */
EHLO_API int ehlo_client_flush(ehlo_client *c, uint64_t now);

/* The handshake that EHLO_WANT_TLS asked for is done. held: clear-text octets that were read behind the 220 and not
 * consumed, which anybody may have put there; any but 0 ends the session, and the handshake's result must not be
 * used (CVE-2021-22947). facts is borrowed until close; may be NULL. What the server offered is forgotten: hello
 * follows (RFC 3207 4.2). EHLO_ERR_STATE if TLS was not wanted. A handshake that failed is ehlo_client_lost.
 * Before start it says that the transport is inside TLS from the first octet on (RFC 8314 3.3). */
EHLO_API int ehlo_client_tls_started(ehlo_client *c, uint64_t now, size_t held, const ehlo_tls_facts *facts);

/* Acts on deadlines that have passed by now; does nothing if early. */
EHLO_API int ehlo_client_tick(ehlo_client *c, uint64_t now);

/* The server has sent its last octet. */
EHLO_API int ehlo_client_eof(ehlo_client *c, uint64_t now);

/* The transport is gone, or must be: nothing more is written. */
EHLO_API int ehlo_client_lost(ehlo_client *c);

/* Ends a session in whatever state: the completions that wait get NULL, then on_close, and the memory is the caller's
 * again. Refused only from inside a callback. QUIT, if it is to be said, comes before. */
EHLO_API int ehlo_client_close(ehlo_client *c);

/* -- commands --------------------------------------------------------------------------------------- */

/* Each queues one command, which leaves with the next feed, flush, tick or push, or at the end of the callback that
 * it was called from; done(c, reply, user) follows once per reply. done may be NULL. On an error nothing was queued:
 *     EHLO_ERR_FULL         not now, but soon: the window or the block is full, or what was called before must be
 *                           answered first. Try again when a reply has come, or octets have left.
 *     EHLO_ERR_STATE        not in this state: before the greeting, inside a body, behind QUIT, at its end
 *     EHLO_ERR_UNSUPPORTED  the server does not offer it (STARTTLS, AUTH and its mechanisms, BDAT)
 *     EHLO_ERR_ARG          the argument breaks the grammar, or holds CR, LF or NUL: *fault (may be NULL) says where
 *     EHLO_ERR_SPACE        the line would be too long, for the protocol or for the block
 * An envelope said by hand and transactions do not mix: let the one end before the other begins. */

/* EHLO, and HELO where that is refused with 500, 502, 504 or 550; LHLO with EHLO_CLIENT_LMTP. done gets the reply that
 * counts. Accepted, it renews what the server offers. */
EHLO_API int ehlo_client_hello(ehlo_client *c, ehlo_on_reply done, void *user);

/* Any other, its argument as ehlo_command_write takes it: MAIL RCPT DATA RSET NOOP QUIT HELP VRFY EXPN VERB ETRN
 * STARTTLS XCLIENT, or EHLO_VERB_UNKNOWN with a line of the caller's own. BDAT, AUTH and hellos have calls of their
 * own (EHLO_ERR_ARG here). After a 220 to STARTTLS wants says TLS. After a 220 to XCLIENT the session is as after its
 * greeting. After a 354 only ehlo_client_message may follow. */
EHLO_API int ehlo_client_command(ehlo_client *c, ehlo_verb verb, ehlo_str argument, ehlo_on_reply done, void *user,
                                 ehlo_fault *fault);
EHLO_API int ehlo_client_mail(ehlo_client *c, const ehlo_mail_command *mail, ehlo_on_reply done, void *user,
                              ehlo_fault *fault);
EHLO_API int ehlo_client_rcpt(ehlo_client *c, const ehlo_rcpt_command *rcpt, ehlo_on_reply done, void *user,
                              ehlo_fault *fault);

/* AUTH with the initial response as plain octets (response.ptr NULL: none). Whether a mechanism that is none of
 * EHLO_SASL_* is offered is the caller's to know (on_capability). done gets a 334, with its challenge as base64 behind
 * the code, or the verdict. After a 334 only ehlo_client_auth_answer may follow. A line that the block cannot hold is
 * given one of EHLO_AUTH_LINE_MAX octets by the lender, until it has left; without a lender it is EHLO_ERR_SPACE: set
 * out_max. EHLO_ERR_STATE also outside TLS, or where its facts say that the server was not verified, if the mechanism
 * would show the secret and EHLO_CLIENT_AUTH_CLEAR is not set (RFC 4954 4). opening.h does all of this. */
EHLO_API int ehlo_client_auth(ehlo_client *c, ehlo_str mechanism, ehlo_str response, ehlo_on_reply done, void *user,
                              ehlo_fault *fault);
/* Answers a 334 with plain octets; response.ptr NULL cancels with "*". */
EHLO_API int ehlo_client_auth_answer(ehlo_client *c, ehlo_str response, ehlo_on_reply done, void *user);

/* -- bodies ----------------------------------------------------------------------------------------- */

/* After a 354: a message follows, octet by octet through ehlo_client_push, which does the dot-stuffing and ends it.
 * replies: how many there will be, in LMTP the number of accepted recipients, else 1; `done` is called for each. */
EHLO_API int ehlo_client_message(ehlo_client *c, unsigned replies, ehlo_on_reply done, void *user);

/* BDAT: a chunk of exactly size octets follows through ehlo_client_push, as they are. replies: 1, but for the last
 * chunk in LMTP. (RFC 3030 2) */
EHLO_API int ehlo_client_chunk(ehlo_client *c, uint64_t size, int last, unsigned replies, ehlo_on_reply done,
                               void *user);

/* Octets of the message or chunk that was announced, written as they stand, without a copy: *used of them were taken;
 * the rest is to be offered again, unchanged, when WRITE is not wanted any more. last: the message ends with them (a
 * chunk ends by itself). What waits in the block goes before and behind them in the same write.
 * EHLO_ERR_STATE: no body is open, or more octets than the chunk has. EHLO_ERR_SYNTAX: under a reject policy, the octet
 * at bytes[*used] may not be sent: the body cannot be ended, so close. */
EHLO_API int ehlo_client_push(ehlo_client *c, uint64_t now, const char *bytes, size_t len, int last, size_t *used);

/* -- facts: never change anything, may be read from callbacks --------------------------------------- */

/* EHLO_WANT_*, or'ed. NEXT: a transaction may be started. */
EHLO_API unsigned ehlo_client_wants(const ehlo_client *c);

/* When tick has something to do; UINT64_MAX for never. It may move later without notice. */
EHLO_API uint64_t ehlo_client_deadline(const ehlo_client *c);

/* wants and deadline in one call: what an event loop asks after each call. */
EHLO_API unsigned ehlo_client_status(const ehlo_client *c, uint64_t *deadline);

/* What the server offered in its last hello reply, as far as the flags let it count; all zero before. */
EHLO_API const ehlo_offers *ehlo_client_offers(const ehlo_client *c);

/* The hello that was accepted: EHLO, HELO, LHLO, or EHLO_VERB_UNKNOWN. */
EHLO_API ehlo_verb ehlo_client_greeted(const ehlo_client *c);

/* Why it ended (ehlo_close); 0 while it has not. */
EHLO_API int ehlo_client_reason(const ehlo_client *c);

/* What the server did wrong, or what ran out, as an English phrase; static storage; empty if nothing did. */
EHLO_API ehlo_str ehlo_client_problem(const ehlo_client *c);

EHLO_API const ehlo_tls_facts *ehlo_client_tls_facts(const ehlo_client *c); /* NULL outside TLS, or if not given */
EHLO_API void *ehlo_client_user(const ehlo_client *c);

#ifdef __cplusplus
}
#endif
#endif
