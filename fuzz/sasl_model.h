/* What fuzz targets of SASL know by themselves: which mechanism is which, and what SCRAM (RFC 5802 3) comes to, from
 * the messages as they went over the wire. */
#ifndef EHLO_FUZZ_SASL_MODEL_H
#define EHLO_FUZZ_SASL_MODEL_H

#include <stdlib.h>

#include <ehlo/sasl.h>

#include "fake_crypto.h"
#include "text.h"

enum {
    MODEL_MAX = 1 << 14, /* octets of a message */
    MODEL_FILL = 0xA7,
    MODEL_PLUS = EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256_PLUS,
    MODEL_SHA_1 = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS,
    MODEL_SCRAM = MODEL_SHA_1 | EHLO_SASL_SCRAM_SHA_256 | EHLO_SASL_SCRAM_SHA_256_PLUS,
    MODEL_HASHED = MODEL_SCRAM | EHLO_SASL_CRAM_MD5,
    MODEL_ALL = (1 << 11) - 1
};

/* A text of its own, as a view of it would die. */
typedef struct octets {
    char bytes[MODEL_MAX];
    size_t len;
} octets;

/* 'a' is PLAIN, 'k' SCRAM-SHA-256-PLUS, 'l' nothing that anybody knows. */
static inline uint32_t model_mechanism(uint8_t letter)
{
    unsigned index = (unsigned)(uint8_t)(letter - 'a') % 12;
    return index < 11 ? 1u << index : MODEL_ALL;
}

static inline ehlo_str octets_view(const octets *o)
{
    return ehlo_str_make(o->bytes, o->len);
}

static inline void octets_add(octets *o, ehlo_str text)
{
    CHECK(text.len <= sizeof o->bytes - o->len);
    if (text.len > 0) memcpy(o->bytes + o->len, text.ptr, text.len);
    o->len += text.len;
}

static inline void octets_set(octets *o, ehlo_str text)
{
    o->len = 0;
    octets_add(o, text);
}

static inline void octets_add_base64(octets *o, ehlo_str text)
{
    size_t len;
    CHECK(ehlo_base64_encode(text, o->bytes + o->len, sizeof o->bytes - o->len, &len) == EHLO_OK);
    o->len += len;
}

/* 0 if it is no base64. */
static inline int octets_decode(octets *o, ehlo_str text)
{
    return ehlo_base64_decode(text, o->bytes, sizeof o->bytes, &o->len, NULL) == EHLO_OK;
}

/* 1 if UTF-8 without controls. */
static inline int is_clean(ehlo_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i], next = i + 1 < text.len ? (unsigned char)text.ptr[i + 1] : 0;
        if (c < ' ' || c == 0x7F || (c == 0xC2 && next >= 0x80 && next < 0xA0)) return 0;
    }
    return ehlo_utf8_valid(text, NULL);
}

/* Nothing is left of what was kept in memory that was filled before. */
static inline void check_wiped(const char *mem, size_t len)
{
    for (size_t i = 0; i < len; i++) CHECK(mem[i] == 0 || (unsigned char)mem[i] == MODEL_FILL);
}

/* -- SCRAM ------------------------------------------------------------------------------------------ */

typedef struct scram_model {
    ehlo_hash hash;
    ehlo_str password;
    octets gs2;  /* the header of the client's first message */
    octets bare; /* and the rest of it */
    octets server_first;
    octets client_final; /* without its proof */
    octets proof;        /* as it was said, base64 */
} scram_model;

static inline void scram_model_init(scram_model *m, uint32_t mechanism, ehlo_str password)
{
    memset(m, 0, sizeof *m);
    m->hash = mechanism & MODEL_SHA_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256;
    m->password = password;
}

/* "n,a=whom,n=user,r=nonce" */
static inline void scram_client_first(scram_model *m, ehlo_str text)
{
    size_t commas = 0, at = 0;
    while (at < text.len && commas < 2) commas += text.ptr[at++] == ',';
    octets_set(&m->gs2, ehlo_str_make(text.ptr, at));
    octets_set(&m->bare, ehlo_str_make(text.ptr + at, text.len - at));
}

/* "c=biws,r=nonce,p=proof" */
static inline void scram_client_final(scram_model *m, ehlo_str text)
{
    size_t at = text.len;
    while (at >= 3 && memcmp(text.ptr + at - 3, ",p=", 3) != 0) at--;
    m->client_final.len = m->proof.len = 0;
    if (at < 3) return;
    octets_set(&m->client_final, ehlo_str_make(text.ptr, at - 3));
    octets_set(&m->proof, ehlo_str_make(text.ptr + at, text.len - at));
}

/* The value of "name=" among what commas separate; empty if there is none. */
static inline ehlo_str scram_attribute(const octets *message, char name)
{
    const char *at = message->bytes, *end = at + message->len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        if (stop - at >= 2 && at[0] == name && at[1] == '=') return ehlo_str_make(at + 2, (size_t)(stop - at - 2));
        at = stop + 1;
    }
    return ehlo_str_make(NULL, 0);
}

static inline uint32_t scram_iterations(const scram_model *m)
{
    ehlo_str text = scram_attribute(&m->server_first, 'i');
    uint64_t number = 0;
    for (size_t i = 0; i < text.len && i < 9 && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++) {
        number = number * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return (uint32_t)number;
}

static inline void scram_hmac(const scram_model *m, const uint8_t *key, ehlo_str text, uint8_t *out)
{
    fake_hmac_of(m->hash, ehlo_str_make((const char *)key, fake_len(m->hash)), &text, 1, out);
}

static inline void scram_auth_message(const scram_model *m, octets *out)
{
    out->len = 0;
    octets_add(out, octets_view(&m->bare));
    octets_add(out, ehlo_str_from(","));
    octets_add(out, octets_view(&m->server_first));
    octets_add(out, ehlo_str_from(","));
    octets_add(out, octets_view(&m->client_final));
}

/* The proof that a client owes, and the signature that the server does: base64, into two of them. */
static inline void scram_compute(const scram_model *m, octets *proof, octets *signature)
{
    static octets auth, salt;
    uint8_t salted[EHLO_HASH_MAX], client_key[EHLO_HASH_MAX], stored[EHLO_HASH_MAX], mac[EHLO_HASH_MAX];
    size_t len = fake_len(m->hash);
    proof->len = signature->len = 0;
    if (m->server_first.len + m->bare.len + m->client_final.len + 2 > MODEL_MAX) return;
    if (!octets_decode(&salt, scram_attribute(&m->server_first, 's'))) salt.len = 0;
    scram_auth_message(m, &auth);
    fake_pbkdf2_of(m->hash, m->password, octets_view(&salt), scram_iterations(m), salted);
    scram_hmac(m, salted, ehlo_str_from("Client Key"), client_key);
    fake_hash_of(m->hash, ehlo_str_make((const char *)client_key, len), stored);
    scram_hmac(m, stored, octets_view(&auth), mac);
    for (size_t i = 0; i < len; i++) mac[i] ^= client_key[i];
    octets_add_base64(proof, ehlo_str_make((const char *)mac, len));
    scram_hmac(m, salted, ehlo_str_from("Server Key"), mac);
    scram_hmac(m, mac, octets_view(&auth), stored);
    octets_add_base64(signature, ehlo_str_make((const char *)stored, len));
}

/* -- inputs ----------------------------------------------------------------------------------------- */

/* What is still to come of an input: records, RS (0x1E) between them. */
typedef struct records {
    const uint8_t *at;
    size_t len;
} records;

static inline int records_next(records *r, ehlo_str *record)
{
    if (r->at == NULL) return 0;
    const uint8_t *end = r->len > 0 ? memchr(r->at, 0x1E, r->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - r->at) : r->len;
    *record = ehlo_str_make((const char *)r->at, len);
    r->len = end != NULL ? r->len - len - 1 : 0;
    r->at = end != NULL ? end + 1 : NULL;
    return 1;
}

/* Takes the first line off an input. */
static inline ehlo_str records_head(records *r, const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    size_t len = end != NULL ? (size_t)(end - data) : size;
    r->at = end != NULL ? end + 1 : NULL;
    r->len = end != NULL ? size - len - 1 : 0;
    return ehlo_str_make((const char *)data, len);
}

/* A copy whose end a sanitizer knows; free it. */
static inline ehlo_str copied(ehlo_str text)
{
    char *copy = malloc(text.len > 0 ? text.len : 1);
    CHECK(copy != NULL);
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    return ehlo_str_make(copy, text.len);
}

static inline void uncopied(ehlo_str text)
{
    free((char *)(uintptr_t)text.ptr);
}

/* Writes a message of an input out, where "$n" stands for what `value` gives for 'n'. 0 if it is too long. */
static inline int expand(octets *out, ehlo_str text, const octets *(*value)(void *ctx, char name), void *ctx)
{
    out->len = 0;
    for (size_t i = 0; i < text.len; i++) {
        const octets *found = text.ptr[i] == '$' && i + 1 < text.len ? value(ctx, text.ptr[i + 1]) : NULL;
        ehlo_str piece = found != NULL ? octets_view(found) : ehlo_str_make(text.ptr + i, 1);
        if (piece.len > sizeof out->bytes / 2 - out->len) return 0;
        octets_add(out, piece);
        i += found != NULL;
    }
    return 1;
}

/* -- TLS facts -------------------------------------------------------------------------------------- */

/* By letter: 't' both bindings, 'x' tls-exporter, 'e' tls-server-end-point, 'T' neither; 0 for another letter. */
static inline int model_facts(ehlo_tls_facts *facts, char letter)
{
    if (letter == '\0' || strchr("txeT", letter) == NULL) return 0;
    memset(facts, 0, sizeof *facts);
    facts->version = ehlo_str_from("TLSv1.3");
    facts->peer_subject = ehlo_str_from("CN=client.example");
    facts->peer_verified = 1;
    if (letter == 't' || letter == 'x') facts->exporter = ehlo_str_from("0123456789abcdef0123456789ABCDEF");
    if (letter == 't' || letter == 'e') facts->end_point = ehlo_str_from("the hash of the certificate, 32!");
    return 1;
}

#endif
