/* ehlo/types.h - the values every other header speaks of: text, replies, errors, verbs, capabilities.
 *
 * Nothing here keeps state. All text in libehlo is a pointer and a length, never NUL-terminated, and is
 * borrowed: who owns it and how long it lives is said where it is used. */
#ifndef EHLO_TYPES_H
#define EHLO_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EHLO_VERSION_MAJOR 0
#define EHLO_VERSION_MINOR 1
#define EHLO_VERSION_PATCH 0

/* What the shared libraries export. */
#if defined(__GNUC__)
#define EHLO_API __attribute__((visibility("default")))
#else
#define EHLO_API
#endif

/* -- text ------------------------------------------------------------------------------------------- */

/* A view of octets that somebody else owns. ptr may be NULL where len is 0. */
typedef struct ehlo_str {
    const char *ptr;
    size_t len;
} ehlo_str;

/* A view of len octets at ptr. */
static inline ehlo_str ehlo_str_make(const char *ptr, size_t len)
{
    ehlo_str s;
    s.ptr = ptr;
    s.len = len;
    return s;
}

/* A view of a NUL-terminated string, without its NUL; the empty view for NULL. */
static inline ehlo_str ehlo_str_from(const char *zero_terminated)
{
    size_t len = 0;
    if (zero_terminated != NULL) {
        while (zero_terminated[len] != '\0') len++;
    }
    return ehlo_str_make(zero_terminated, len);
}

/* -- results ---------------------------------------------------------------------------------------- */

/* 0 and positive values are success. Negative values are errors that changed nothing unless the function
 * says otherwise. After one at or below EHLO_ERR_FATAL only `close` is left to call on the session. */
enum {
    EHLO_OK = 0,
    EHLO_LATER = 1,  /* verdict: the answer comes through `answer` */
    EHLO_REFUSE = 2, /* verdict of on_body: drain the rest, send the reply at the end */

    EHLO_ERR_ARG = -1,         /* an argument is out of its documented range, or holds CR, LF or NUL */
    EHLO_ERR_STATE = -2,       /* not now: the session is in no state for this call */
    EHLO_ERR_REENTRY = -3,     /* called from inside a callback of the same session */
    EHLO_ERR_STALE = -4,       /* this token is spent, or was never given */
    EHLO_ERR_SYNTAX = -5,      /* the text breaks a rule; an ehlo_fault says which and where */
    EHLO_ERR_INCOMPLETE = -6,  /* the text ends too early; more octets may make it whole */
    EHLO_ERR_SPACE = -7,       /* the caller's buffer is too small */
    EHLO_ERR_FULL = -8,        /* a bounded window or queue is full; nothing was queued */
    EHLO_ERR_UNSUPPORTED = -9, /* this build or platform cannot do it */
    EHLO_ERR_SYSTEM = -10,     /* the operating system refused, errno says why; or a function of the caller's failed */

    EHLO_ERR_FATAL = -100,    /* never returned; errors at or below it end the session */
    EHLO_ERR_MEMORY = -101,   /* the lender had no output block */
    EHLO_ERR_TRANSPORT = -102 /* the write callback said that the transport is gone */
};

/* A short English sentence for a result; static storage; never NULL, whatever the value. */
EHLO_API ehlo_str ehlo_error_text(int result);

/* -- replies (RFC 5321 4.2, RFC 3463) --------------------------------------------------------------- */

/* code 0: the default reply of the verb. enhanced 0.0.0: the default for verb and code. text empty: the
 * default text. '\n' in text begins another line. See server.h for what an application may put here. */
typedef struct ehlo_reply {
    uint16_t code;
    uint16_t enhanced[3];
    ehlo_str text;
} ehlo_reply;

/* Names one decision that a session waits for; 0 names none. */
typedef uint32_t ehlo_token;

/* -- verbs ------------------------------------------------------------------------------------------ */

typedef enum ehlo_verb {
    EHLO_VERB_UNKNOWN = 0,
    EHLO_VERB_EHLO,
    EHLO_VERB_HELO,
    EHLO_VERB_LHLO, /* RFC 2033 */
    EHLO_VERB_MAIL,
    EHLO_VERB_RCPT,
    EHLO_VERB_DATA,
    EHLO_VERB_BDAT, /* RFC 3030 */
    EHLO_VERB_RSET,
    EHLO_VERB_NOOP,
    EHLO_VERB_QUIT,
    EHLO_VERB_HELP,
    EHLO_VERB_VRFY,
    EHLO_VERB_EXPN,
    EHLO_VERB_VERB,     /* verbose, a sendmail custom */
    EHLO_VERB_ETRN,     /* RFC 1985 */
    EHLO_VERB_STARTTLS, /* RFC 3207 */
    EHLO_VERB_AUTH,     /* RFC 4954 */
    EHLO_VERB_XCLIENT,  /* Postfix's proxy extension */
    EHLO_VERB_TURN,     /* RFC 821; answered 502 */
    EHLO_VERB_SEND,     /* RFC 821; answered 502 */
    EHLO_VERB_SOML,     /* RFC 821; answered 502 */
    EHLO_VERB_SAML,     /* RFC 821; answered 502 */
    EHLO_VERB_COUNT
} ehlo_verb;

/* -- capabilities: the EHLO keywords that libehlo knows --------------------------------------------- */

enum {
    EHLO_CAP_SIZE = 1 << 0,                /* RFC 1870 */
    EHLO_CAP_8BITMIME = 1 << 1,            /* RFC 6152 */
    EHLO_CAP_PIPELINING = 1 << 2,          /* RFC 2920 */
    EHLO_CAP_CHUNKING = 1 << 3,            /* RFC 3030 */
    EHLO_CAP_BINARYMIME = 1 << 4,          /* RFC 3030; needs CHUNKING */
    EHLO_CAP_STARTTLS = 1 << 5,            /* RFC 3207 */
    EHLO_CAP_AUTH = 1 << 6,                /* RFC 4954 */
    EHLO_CAP_DSN = 1 << 7,                 /* RFC 3461 */
    EHLO_CAP_ENHANCEDSTATUSCODES = 1 << 8, /* RFC 2034 */
    EHLO_CAP_SMTPUTF8 = 1 << 9,            /* RFC 6531; needs 8BITMIME */
    EHLO_CAP_REQUIRETLS = 1 << 10,         /* RFC 8689; offered inside TLS only */
    EHLO_CAP_DELIVERBY = 1 << 11,          /* RFC 2852 */
    EHLO_CAP_MT_PRIORITY = 1 << 12,        /* RFC 6710 */
    EHLO_CAP_FUTURERELEASE = 1 << 13,      /* RFC 4865 */
    EHLO_CAP_LIMITS = 1 << 14,             /* RFC 9422 */
    EHLO_CAP_RRVS = 1 << 15,               /* RFC 7293 */
    EHLO_CAP_ETRN = 1 << 16,               /* RFC 1985 */
    EHLO_CAP_EXPN = 1 << 17,               /* RFC 5321 3.5 */
    EHLO_CAP_HELP = 1 << 18,               /* RFC 5321 4.1.1.8 */
    EHLO_CAP_VERB = 1 << 19,               /* sendmail's verbose mode */
    EHLO_CAP_XCLIENT = 1 << 20             /* Postfix's proxy extension */
};

/* -- the other side of a connection ----------------------------------------------------------------- */

typedef enum ehlo_family {
    EHLO_FAMILY_NONE = 0, /* unknown, or a local socket */
    EHLO_FAMILY_IPV4,
    EHLO_FAMILY_IPV6
} ehlo_family;

/* One end: octets in network order, IPv4 in the first four; port in host order. */
typedef struct ehlo_address {
    uint8_t family; /* ehlo_family */
    uint16_t port;
    uint8_t octets[16];
} ehlo_address;

/* A server, as it is named. */
typedef struct ehlo_host {
    ehlo_str name; /* a name, or an address as text or literal */
    uint16_t port; /* 0: the usual one, see where it is used */
    /* Where they are known already: its addresses, their ports 0. They are tried in this order, and the name is not
     * looked up: it is what a certificate is for. Without them the name is. */
    const ehlo_address *addresses;
    size_t naddresses;
} ehlo_host;

/* Who talks to us, as the transport (or its PROXY preface) tells it. */
typedef struct ehlo_peer {
    ehlo_address remote;
    ehlo_address local;
    uint8_t tls;     /* 1: the transport is inside TLS already (implicit TLS, RFC 8314 3.3) */
    uint8_t proxied; /* 1: the addresses came from a PROXY preface */
} ehlo_peer;

/* What a TLS engine tells of an established connection. Views are the engine's. */
typedef struct ehlo_tls_facts {
    ehlo_str version;      /* "TLSv1.3" */
    ehlo_str cipher;       /* "TLS_AES_256_GCM_SHA384" */
    ehlo_str peer_subject; /* of the peer's certificate, empty if there is none */
    uint8_t peer_verified; /* 1: the peer's certificate was verified; a server's for the name that was sought */
    ehlo_str server_name;  /* what the client asked for (RFC 6066 3), empty if it did not */
    ehlo_str exporter;     /* channel binding tls-exporter (RFC 9266): 32 octets, or empty where it is not unique */
    ehlo_str end_point;    /* channel binding tls-server-end-point (RFC 5929 4): the hash of the server's certificate,
                              or empty */
} ehlo_tls_facts;

/* 1 if the peer of a TLS connection may be trusted with a secret: it was verified. Without facts that is left to
 * whoever did the handshake. */
static inline int ehlo_tls_trusted(const ehlo_tls_facts *facts)
{
    return facts == NULL || facts->peer_verified;
}

/* -- what sessions share ---------------------------------------------------------------------------- */

/* "No limit", where 0 means the default. */
#define EHLO_UNLIMITED UINT64_MAX

/* Lends output blocks, so that a session holds one only while replies wait in it. lend returns len octets
 * aligned for anything, or NULL: the session then fails with EHLO_ERR_MEMORY. give takes back what lend gave.
 * Called from inside the session's functions; sessions of several threads need a lender that they may share. */
typedef struct ehlo_lender {
    void *(*lend)(size_t len, void *ctx);
    void (*give)(void *mem, size_t len, void *ctx);
    void *ctx;
} ehlo_lender;

/* Why a session ended. */
typedef enum ehlo_close {
    EHLO_CLOSE_QUIT = 1,
    EHLO_CLOSE_EOF,
    EHLO_CLOSE_LOST,
    EHLO_CLOSE_TIMEOUT,
    EHLO_CLOSE_LIMIT,    /* too many bad commands, an endless line, a chunk too large to drain, an endless reply... */
    EHLO_CLOSE_PROTOCOL, /* input whose end can't be known; clear text behind STARTTLS; a reply that is none */
    EHLO_CLOSE_REFUSED,  /* a 421: of a server's application, or of the server that a client talks to */
    EHLO_CLOSE_SHUTDOWN, /* ehlo_server_shutdown */
    EHLO_CLOSE_CLOSED    /* `close` on a session that was still open */
} ehlo_close;

/* Which way traced octets went. */
enum { EHLO_TRACE_IN = 1, EHLO_TRACE_OUT = 2 };

/* What `wants` of a session returns, or'ed. */
enum {
    EHLO_WANT_READ = 1,    /* feed it what the peer sends */
    EHLO_WANT_WRITE = 2,   /* call flush when the transport takes octets again */
    EHLO_WANT_TLS = 4,     /* do the TLS handshake, then call tls_started */
    EHLO_WANT_ANSWER = 8,  /* an answer is pending */
    EHLO_WANT_SECRET = 16, /* what was fed last, or comes next, is secret: wipe it after feed */
    EHLO_WANT_CLOSE = 32,  /* it is over: close the transport, call close */
    EHLO_WANT_NEXT = 64    /* client: the next transaction may start */
};

#ifdef __cplusplus
}
#endif
#endif
