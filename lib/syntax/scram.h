/* SCRAM (RFC 5802, RFC 7677) and the GS2 header that it shares with OAUTHBEARER (RFC 5801 4): what both sides do. */
#ifndef EHLO_SYNTAX_SCRAM_H
#define EHLO_SYNTAX_SCRAM_H

#include "sasl_text.h"

/* -- GS2 header ------------------------------------------------------------------------------------- */

/* Octets of a channel binding; the largest hash has as many. */
enum { EHLO_GS2_BINDING_MAX = 64 };

typedef struct ehlo_gs2 {
    ehlo_str text;    /* all of it */
    char flag;        /* 'n': the client has no channel binding; 'y': it has, and thinks that the server has not; 'p' */
    ehlo_str type;    /* the binding's name, of 'p' */
    ehlo_str authzid; /* as written: a saslname, or empty */
} ehlo_gs2;

/* Reads it and steps over it. EHLO_ERR_SYNTAX. */
int ehlo_gs2_read(ehlo_str *rest, ehlo_gs2 *header);

/* type: empty unless flag is 'p'. */
void ehlo_gs2_put(ehlo_writer *writer, char flag, ehlo_str type, ehlo_str authzid);

/* A name as a saslname. */
void ehlo_saslname_put(ehlo_writer *writer, ehlo_str name);

/* The name that a saslname stands for, written to writer. EHLO_ERR_SYNTAX: it is none, or holds controls.
 * EHLO_ERR_SPACE: no room. */
int ehlo_saslname_read(ehlo_writer *writer, ehlo_str text, ehlo_str *name);

/* The type of channel binding to use; empty if the facts (may be NULL) hold none. */
ehlo_str ehlo_gs2_best_binding(const ehlo_tls_facts *facts);

/* The octets of a type of channel binding; empty if the facts do not hold them. */
ehlo_str ehlo_gs2_binding(const ehlo_tls_facts *facts, ehlo_str type);

/* -- SCRAM ------------------------------------------------------------------------------------------ */

/* A nonce is base64 of so many random octets. */
enum { EHLO_SCRAM_RANDOM = 18, EHLO_SCRAM_NONCE = 24 };

/* What an exchange has come to so far. Views are in the exchange's memory; binding is the TLS engine's. */
typedef struct ehlo_scram {
    const ehlo_crypto *crypto;
    ehlo_hash hash;
    ehlo_str header;       /* the GS2 header */
    ehlo_str binding;      /* octets of the channel binding; empty without */
    ehlo_str first_bare;   /* client-first-message-bare */
    ehlo_str server_first; /* server-first-message */
    ehlo_str nonce;        /* the client's, then the whole */
} ehlo_scram;

/* The forms that bind the channel. */
#define EHLO_SASL_SCRAM_PLUS ((uint32_t)(EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256_PLUS))

ehlo_hash ehlo_scram_hash(uint32_t mechanism);

/* Octets of a hash. */
size_t ehlo_hash_size(ehlo_hash hash);

/* 1 if it may be a message of SCRAM: not too long, UTF-8 without controls. */
int ehlo_scram_is_message(ehlo_str message);

/* Reads the next attribute and steps over it and its comma: its letter; 0 if there is none, or it is malformed. */
char ehlo_scram_attribute(ehlo_str *rest, ehlo_str *value);

/* Reads attributes that are extensions, up to the end. EHLO_ERR_SYNTAX also if one is mandatory. */
int ehlo_scram_skip_extensions(ehlo_str rest);

/* Writes random text of EHLO_SCRAM_NONCE octets. Negative: the cryptography failed. */
int ehlo_scram_nonce(const ehlo_crypto *crypto, char nonce[EHLO_SCRAM_NONCE]);

/* Writes the attribute c= of this exchange. Its view; empty if there was no room. */
ehlo_str ehlo_scram_put_binding(ehlo_writer *writer, const ehlo_scram *scram);

/* The keys of a password, each as large as the hash. EHLO_ERR_UNSUPPORTED; EHLO_ERR_SYSTEM. */
int ehlo_scram_keys_of(const ehlo_crypto *crypto, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                       uint8_t *client_key, ehlo_scram_keys *keys);

int ehlo_scram_hash_key(const ehlo_scram *scram, const uint8_t *client_key, uint8_t *stored_key);

/* HMAC(key, AuthMessage); final_bare: client-final-message-without-proof. */
int ehlo_scram_sign(const ehlo_scram *scram, const uint8_t *key, ehlo_str final_bare, uint8_t *signature);

/* a XOR= b; ClientKey and ClientProof become each other by ClientSignature. */
void ehlo_scram_xor(const ehlo_scram *scram, uint8_t *a, const uint8_t *b);

#endif
