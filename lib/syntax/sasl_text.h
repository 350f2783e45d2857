/* What both sides of a SASL exchange do with its text. */
#ifndef EHLO_SYNTAX_SASL_TEXT_H
#define EHLO_SYNTAX_SASL_TEXT_H

#include <ehlo/sasl.h>

#include "writer.h"

/* Octets of a challenge, and of any message of SCRAM: far more than any honest one has. */
enum { EHLO_SASL_MESSAGE_MAX = 1536 };

/* What the bearer mechanisms put between their parts (RFC 7628 3.1: kvsep). */
#define EHLO_SASL_KVSEP "\1"

/* Takes what stands before the first such octet off *rest, and the octet. EHLO_ERR_SYNTAX: there is none. */
static inline int ehlo_sasl_take_to(ehlo_str *rest, char octet, ehlo_str *part)
{
    const char *found = rest->len > 0 ? memchr(rest->ptr, octet, rest->len) : NULL;
    if (found == NULL) return EHLO_ERR_SYNTAX;
    *part = ehlo_str_make(rest->ptr, (size_t)(found - rest->ptr));
    *rest = ehlo_str_make(found + 1, rest->len - part->len - 1);
    return EHLO_OK;
}

/* What the writer has written from an offset on; all of it did fit. */
static inline ehlo_str ehlo_writer_since(const ehlo_writer *writer, size_t from)
{
    return ehlo_str_make(writer->out + from, writer->len - from);
}

/* Decodes base64 to behind what the writer holds. EHLO_ERR_SYNTAX; EHLO_ERR_SPACE: more than max octets, or no room. */
int ehlo_sasl_decode(ehlo_writer *writer, ehlo_str text, size_t max, ehlo_str *octets);

void ehlo_sasl_put_base64(ehlo_writer *writer, ehlo_str octets);

/* 1 if it may be a user's name: UTF-8 without controls; or empty. */
int ehlo_sasl_is_name(ehlo_str text);

/* 1 if it may be a password: UTF-8 without NUL; or empty. */
int ehlo_sasl_is_password(ehlo_str text);

/* 1 if it is visible ASCII, as tokens and host names are; or empty. */
int ehlo_sasl_is_visible(ehlo_str text);

/* 1 if it may be a trace of ANONYMOUS; or empty. */
int ehlo_sasl_is_trace(ehlo_str text);

/* 1 if what is known of TLS (NULL: nothing) is enough for the mechanism: a channel binding for a -PLUS (RFC 5802 6), a
 * certificate that was verified, with a subject that can be told, for EXTERNAL (RFC 4422 A). */
int ehlo_sasl_fits_tls(uint32_t mechanism, const ehlo_tls_facts *facts);

/* EHLO_OK if the credentials and the binding have the means for the mechanism; EHLO_ERR_ARG if it takes others,
 * EHLO_ERR_UNSUPPORTED if it is unknown, or there is no cryptography or no channel binding for it. */
int ehlo_sasl_has_means(uint32_t mechanism, const ehlo_credentials *credentials, const ehlo_tls_facts *facts);

enum { EHLO_CRAM_MD5_DIGEST = 32 };

/* The digest of a challenge, in hex (RFC 2195 2). Negative: the cryptography failed. */
int ehlo_cram_md5_digest(const ehlo_crypto *crypto, ehlo_str password, ehlo_str challenge,
                         char digest[EHLO_CRAM_MD5_DIGEST]);

/* Writes octets in lower-case hex. */
void ehlo_sasl_put_hex(ehlo_writer *writer, const uint8_t *octets, size_t count);

#endif
