/* ehlo/sasl.h - SASL mechanisms as step functions, for both sides of an exchange (RFC 4422).
 *
 * An exchange lives in the caller's memory, knows of no session and does no I/O: it takes what the other side said,
 * as the base64 text that SMTP carries, and tells what to say, as plain octets. Cryptography comes from a table of
 * functions that the caller fills in; there is none in here. opening.h drives the client's side by itself; a server
 * drives its own from on_auth:
 *
 *     if (mechanism.len > 0)                                    the first step
 *         ehlo_sasl_server_start(&x, mem, size, ehlo_sasl_find(mechanism), &config);
 *     step = ehlo_sasl_server_step(x, response, &challenge);
 *     if (step == EHLO_SASL_NEED_VERDICT)                       PLAIN and its like: is this the password,
 *         step = ehlo_sasl_server_verdict(x, right && allowed, &challenge);     and may he act as authzid?
 *     if (step == EHLO_SASL_NEED_KEYS)                          SCRAM: what is stored for this user
 *         step = ehlo_sasl_server_keys(x, keys, &challenge);
 *     ehlo_sasl_reply(step, challenge, r);
 *
 * Any of the questions may be answered later: the exchange waits. Names and passwords are UTF-8 and are compared octet
 * by octet: what else they may look like (RFC 4013, RFC 8265) is the caller's to prepare.
 *
 * Order: cryptography, client, stored keys, server. */
#ifndef EHLO_SASL_H
#define EHLO_SASL_H

#include <ehlo/syntax.h>
#include <ehlo/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- cryptography ----------------------------------------------------------------------------------- */

typedef enum ehlo_hash {
    EHLO_HASH_MD5 = 1, /* 16 octets; for CRAM-MD5 alone */
    EHLO_HASH_SHA_1,   /* 20 octets */
    EHLO_HASH_SHA_256  /* 32 octets */
} ehlo_hash;

enum { EHLO_HASH_MAX = 32 };

/* The caller's functions. Each writes a whole result to out and returns EHLO_OK, or is negative: the exchange then
 * fails, for now. A hash that is not to be had is EHLO_ERR_UNSUPPORTED. Any may be NULL whose mechanisms are not used:
 * SCRAM takes all of them (its server no pbkdf2), CRAM-MD5 hmac, and random on the server. */
typedef struct ehlo_crypto {
    int (*digest)(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out);
    /* Of the parts, one behind the other (RFC 2104). */
    int (*hmac)(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out);
    /* As many octets as the hash has (RFC 8018 5.2); Hi() of RFC 5802. */
    int (*pbkdf2)(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations, uint8_t *out);
    int (*random)(void *ctx, uint8_t *out, size_t len); /* fit for keys */
    void *ctx;
} ehlo_crypto;

/* -- client ----------------------------------------------------------------------------------------- */

/* Who logs in, and how far that may go. Zero it; every zero means the default that is written beside it. */
typedef struct ehlo_credentials {
    ehlo_str user;     /* the authentication identity; for ANONYMOUS what is told as trace */
    ehlo_str password; /* for PLAIN, LOGIN, CRAM-MD5, SCRAM */
    ehlo_str token;    /* an OAuth 2.0 bearer token, for OAUTHBEARER and XOAUTH2 */
    ehlo_str authzid;  /* whom to act as; empty: as `user`. Not for LOGIN, XOAUTH2, CRAM-MD5, ANONYMOUS; with
                                OAUTHBEARER it is the one name that is told */
    ehlo_str host;     /* told by OAUTHBEARER, where it is set */
    uint16_t port;     /* likewise */
    uint8_t clear;     /* 1: mechanisms that show the secret to whoever listens (PLAIN LOGIN OAUTHBEARER XOAUTH2) may be
                                used outside TLS too, and inside it with a server that was not verified */
    uint32_t mechanisms;       /* EHLO_SASL_*: no others are used. 0: all but CRAM-MD5 and ANONYMOUS */
    uint32_t iterations_min;   /* SCRAM: a server that asks for fewer is not answered; 4096 (RFC 7677 4) */
    uint32_t iterations_max;   /* SCRAM: nor one that asks for more, as they cost us time; 100000 */
    const ehlo_crypto *crypto; /* NULL: neither SCRAM nor CRAM-MD5 */
} ehlo_credentials;

/* The strongest mechanism that the server offers (EHLO_SASL_*, or'ed) and the credentials have the means for; 0 if
 * there is none. SCRAM with channel binding comes first, SCRAM without it next, then EXTERNAL where no secret is given,
 * then what carries a token, CRAM-MD5, PLAIN, LOGIN, ANONYMOUS. tls: 1 inside TLS; facts: what is known of it, or
 * NULL: without the octets of a channel binding no -PLUS is chosen. Of two channel bindings tls-exporter is used; where
 * a server knows the other one alone, leave the -PLUS forms out of `mechanisms`. */
EHLO_API uint32_t ehlo_sasl_choose(uint32_t offered, const ehlo_credentials *credentials, int tls,
                                   const ehlo_tls_facts *facts);

/* 1 if a mechanism (EHLO_SASL_*) shows the secret to whoever can read the line. */
EHLO_API int ehlo_sasl_reveals(uint32_t mechanism);

/* "SCRAM-SHA-256" for a bit; static storage; empty if it is none, or several. */
EHLO_API ehlo_str ehlo_sasl_name(uint32_t mechanism);

typedef struct ehlo_sasl_client ehlo_sasl_client;

/* Octets of one exchange with these credentials, by whichever mechanism. */
EHLO_API size_t ehlo_sasl_client_size(const ehlo_credentials *credentials);

/* Begins an exchange in mem (aligned for anything). credentials and facts are borrowed until end. offered: what the
 * server offers, which SCRAM has it confirm (RFC 5802 6). *initial: the initial response; ptr NULL if the mechanism
 * has none and the server speaks first; it lives until the next call. EHLO_ERR_ARG: the credentials lack what the
 * mechanism needs, have an authzid that it has no place for, or hold what may not be said: octets that are not UTF-8,
 * controls (in a password, NUL alone), anything but visible ASCII in token and host, more than EHLO_AUTH_LINE_MAX
 * octets. EHLO_ERR_UNSUPPORTED: unknown mechanism, or no cryptography or channel binding for it; EHLO_ERR_SPACE: mem
 * is too small; EHLO_ERR_SYSTEM: the cryptography failed. */
EHLO_API int ehlo_sasl_client_start(ehlo_sasl_client **x, void *mem, size_t len, uint32_t mechanism, uint32_t offered,
                                    const ehlo_credentials *credentials, const ehlo_tls_facts *facts,
                                    ehlo_str *initial);

/* challenge: the text behind a 334, base64. *response: what to answer; it lives until the next call. Negative: the
 * exchange is to be cancelled, and problem says why: EHLO_ERR_SYNTAX, the server said what it may not, more than 1536
 * octets, or asked too much; EHLO_ERR_SYSTEM, the cryptography failed. EHLO_ERR_STATE: it has failed before. */
EHLO_API int ehlo_sasl_client_step(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response);

/* The server says that we are authenticated: EHLO_OK if it may. EHLO_ERR_SYNTAX: it had to prove itself first (SCRAM),
 * or it is too early: do not talk to it. */
EHLO_API int ehlo_sasl_client_finish(ehlo_sasl_client *x);

/* Why a step failed, in words, static storage; empty if none did. */
EHLO_API ehlo_str ehlo_sasl_client_problem(const ehlo_sasl_client *x);

/* Overwrites all that the exchange kept. NULL is fine. The memory is the caller's. */
EHLO_API void ehlo_sasl_client_end(ehlo_sasl_client *x);

/* -- stored keys of SCRAM --------------------------------------------------------------------------- */

enum {
    EHLO_SCRAM_SALT_MAX = 64,
    EHLO_SCRAM_ITERATIONS = 4096 /* the least (RFC 7677 4) */
};

/* What a SCRAM server keeps of a user, for one hash. A password cannot be had from it, but by guessing. */
typedef struct ehlo_scram_keys {
    uint32_t iterations;
    uint8_t salt_len;
    uint8_t salt[EHLO_SCRAM_SALT_MAX];
    uint8_t stored_key[EHLO_HASH_MAX];
    uint8_t server_key[EHLO_HASH_MAX];
} ehlo_scram_keys;

/* Derives them from a password (RFC 5802 3). salt: 1 to EHLO_SCRAM_SALT_MAX random octets, new for each user and
 * password; iterations: 4096 at least (RFC 7677 4). hash: SHA_1 or SHA_256. EHLO_ERR_ARG; EHLO_ERR_UNSUPPORTED;
 * EHLO_ERR_SYSTEM. */
EHLO_API int ehlo_scram_derive(const ehlo_crypto *crypto, ehlo_hash hash, ehlo_str password, ehlo_str salt,
                               uint32_t iterations, ehlo_scram_keys *keys);

/* -- server ----------------------------------------------------------------------------------------- */

typedef struct ehlo_sasl_server ehlo_sasl_server;

/* What a server knows when an exchange begins. Borrowed until end. */
typedef struct ehlo_sasl_server_config {
    const ehlo_crypto *crypto;   /* NULL: neither SCRAM nor CRAM-MD5 */
    const ehlo_tls_facts *facts; /* of this session; NULL outside TLS: neither EXTERNAL nor -PLUS */
    uint32_t offered;            /* EHLO_SASL_* that were offered: a client that could bind the channel and believes
                                    that we cannot was lied to (RFC 5802 6) */
    ehlo_str hostname;           /* for the challenge of CRAM-MD5 */
    ehlo_str decoy;              /* secret octets that stay the same: a SCRAM user who does not exist is given a salt
                                    made of them, and cannot be told from one who does, if those have salts of 16
                                    octets and decoy_iterations. Empty: refused at once */
    uint32_t decoy_iterations;   /* 4096 */
} ehlo_sasl_server_config;

/* What an exchange has come to. */
typedef enum ehlo_sasl_step {
    EHLO_SASL_FAILED = EHLO_ERR_SYSTEM,   /* the cryptography failed, or keys are none: 454 */
    EHLO_SASL_NOT_ASKED = EHLO_ERR_STATE, /* this was not asked, or it is over; nothing changed */
    EHLO_SASL_CHALLENGE = 1,              /* *challenge goes out with 334; what comes back goes to step */
    EHLO_SASL_NEED_KEYS,                  /* SCRAM: say with keys what is stored for `user` */
    EHLO_SASL_NEED_PASSWORD,              /* CRAM-MD5: say with password what `user` has */
    EHLO_SASL_NEED_VERDICT, /* PLAIN LOGIN XOAUTH2 OAUTHBEARER: say with verdict whether `secret` is right for `user`, and
                               he may act as `authzid` where that is not empty; EXTERNAL: whether the certificate
                               (`user` is its subject) stands for somebody who may be `authzid`; ANONYMOUS: whether that
                               is welcome (`user` is the trace) */
    EHLO_SASL_ACCEPTED, /* 235: it is `user`, who acts as `authzid` where that is not empty, as the answer allowed */
    EHLO_SASL_REFUSED,  /* 535 */
    EHLO_SASL_MALFORMED /* 501: the client broke the mechanism's grammar */
} ehlo_sasl_step;

/* Octets of one exchange whose responses have up to response_max octets of base64; 0: EHLO_AUTH_LINE_MAX. */
EHLO_API size_t ehlo_sasl_server_size(size_t response_max);

/* Begins an exchange in mem (aligned for anything). mechanism: EHLO_SASL_*. EHLO_ERR_UNSUPPORTED: unknown, or without
 * what it needs (cryptography; hostname; TLS facts; a verified certificate, whose subject is UTF-8 without controls):
 * 504. EHLO_ERR_SPACE. */
EHLO_API int ehlo_sasl_server_start(ehlo_sasl_server **x, void *mem, size_t len, uint32_t mechanism,
                                    const ehlo_sasl_server_config *config);

/* response: base64 as on_auth gets it; ptr NULL: there was no initial response; empty: it is the empty one.
 * *challenge: for CHALLENGE alone; it lives until the next call. EHLO_SASL_MALFORMED also if response does not fit. */
EHLO_API ehlo_sasl_step ehlo_sasl_server_step(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge);

/* The answers to the questions. keys, password.ptr NULL: there is no such user, or he may not be authzid; who asks is
 * not told which. What is passed need not stay. */
EHLO_API ehlo_sasl_step ehlo_sasl_server_keys(ehlo_sasl_server *x, const ehlo_scram_keys *keys, ehlo_str *challenge);
EHLO_API ehlo_sasl_step ehlo_sasl_server_password(ehlo_sasl_server *x, ehlo_str password, ehlo_str *challenge);
EHLO_API ehlo_sasl_step ehlo_sasl_server_verdict(ehlo_sasl_server *x, int right, ehlo_str *challenge);

/* Who it is or claims to be, until end; UTF-8 without controls. Known from the first question on; secret only while a
 * verdict is asked, and overwritten then. Of OAUTHBEARER `user` is empty where the token alone tells. */
EHLO_API uint32_t ehlo_sasl_server_mechanism(const ehlo_sasl_server *x);
EHLO_API ehlo_str ehlo_sasl_server_user(const ehlo_sasl_server *x);
EHLO_API ehlo_str ehlo_sasl_server_authzid(const ehlo_sasl_server *x);
EHLO_API ehlo_str ehlo_sasl_server_secret(const ehlo_sasl_server *x);

/* Overwrites all that the exchange kept. NULL is fine. The memory is the caller's. */
EHLO_API void ehlo_sasl_server_end(ehlo_sasl_server *x);

/* The reply that on_auth gives for a step: 334 with the challenge, 235, 535 5.7.8, 501 5.5.2, or 454 4.7.0 for a
 * negative one. r->text is challenge or static. (RFC 4954 4, 6) */
EHLO_API void ehlo_sasl_reply(int step, ehlo_str challenge, ehlo_reply *r);

/* 1 if both are the same, in a time that depends on their lengths alone: for tokens and passwords. */
EHLO_API int ehlo_secret_equal(ehlo_str a, ehlo_str b);

/* Overwrites octets, though nobody reads them again. NULL with 0 is fine. */
EHLO_API void ehlo_secret_wipe(void *mem, size_t len);

#ifdef __cplusplus
}
#endif
#endif
