/* SASL exchanges in tests: cryptography that is none but behaves, and either side in memory of the size that it says it
 * needs, flush against an unreadable page. */
#ifndef EHLO_TESTS_SASL_EXCHANGE_H
#define EHLO_TESTS_SASL_EXCHANGE_H

#include "table.h"

#include "arena.h"

#include <ehlo/sasl.h>

/* -- cryptography of the test ----------------------------------------------------------------------- */

/* Deterministic; fails at the fail_at-th call, counted from 1. */
typedef struct toy {
    unsigned calls;
    unsigned fail_at;
    unsigned randoms;
} toy;

static inline int toy_call(void *ctx)
{
    toy *t = ctx;
    return ++t->calls == t->fail_at ? EHLO_ERR_SYSTEM : EHLO_OK;
}

static inline uint64_t toy_mix(uint64_t state, ehlo_str octets)
{
    for (size_t i = 0; i < octets.len; i++) {
        state = (state ^ (unsigned char)octets.ptr[i]) * UINT64_C(0x100000001b3);
    }
    return state;
}

static inline void toy_squeeze(uint64_t state, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out[i] = (uint8_t)(state >> 56);
    }
}

static inline size_t toy_size(ehlo_hash hash)
{
    return hash == EHLO_HASH_MD5 ? 16 : hash == EHLO_HASH_SHA_1 ? 20 : 32;
}

static inline int toy_digest(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    toy_squeeze(toy_mix((uint64_t)hash, data), out, toy_size(hash));
    return toy_call(ctx);
}

static inline int toy_hmac(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    uint64_t state = toy_mix((uint64_t)hash + 100, key);
    state = toy_mix(state, ehlo_str_from("|"));
    for (size_t i = 0; i < n; i++) state = toy_mix(state, parts[i]);
    toy_squeeze(state, out, toy_size(hash));
    return toy_call(ctx);
}

static inline int toy_pbkdf2(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                             uint8_t *out)
{
    uint64_t state = toy_mix(iterations + (uint64_t)hash * 1000003, password);
    toy_squeeze(toy_mix(toy_mix(state, ehlo_str_from("|")), salt), out, toy_size(hash));
    return toy_call(ctx);
}

static inline int toy_random(void *ctx, uint8_t *out, size_t len)
{
    toy *t = ctx;
    toy_squeeze(++t->randoms, out, len);
    return toy_call(ctx);
}

static inline ehlo_crypto crypto_of(toy *t)
{
    return (ehlo_crypto){ toy_digest, toy_hmac, toy_pbkdf2, toy_random, t };
}

/* -- what the tests share --------------------------------------------------------------------------- */

enum { SCRAM_PLUS = EHLO_SASL_SCRAM_SHA_1_PLUS | EHLO_SASL_SCRAM_SHA_256_PLUS, ALL = (1 << 11) - 1 };

#define PASSWORD "pa55=\xC3\xA4,wo\trd"
#define BOTH .user = TEXT("u"), .password = TEXT("p")
#define TOKEN .user = TEXT("u"), .token = TEXT("t")
#define EXPORTER "0123456789abcdef0123456789abcdef"
#define END_POINT "the hash of a certificate"

static const ehlo_str none = { NULL, 0 };
static const ehlo_tls_facts both_bindings = { .exporter = TEXT(EXPORTER), .end_point = TEXT(END_POINT) };

static inline ehlo_str text(const char *zero_terminated)
{
    return ehlo_str_from(zero_terminated);
}

/* base64 of octets, guarded; unguard gives it back. */
static inline ehlo_str armoured(ehlo_str octets)
{
    char out[32 * 1024];
    size_t len;
    assert_int_equal(ehlo_base64_encode(octets, out, sizeof out, &len), EHLO_OK);
    return guarded(ehlo_str_make(out, len));
}

/* 1 if the octets of needle stand anywhere in memory. */
static inline int holds(const char *memory, size_t len, ehlo_str needle)
{
    for (size_t i = 0; i + needle.len <= len; i++) {
        if (memcmp(memory + i, needle.ptr, needle.len) == 0) return 1;
    }
    return 0;
}

/* A client's exchange in memory of the size that it says it needs. */
typedef struct client {
    arena memory;
    ehlo_sasl_client *x;
    ehlo_str said; /* a copy */
    char copy[32 * 1024];
} client;

static inline void client_keep(client *c, ehlo_str said)
{
    assert_true(said.len <= sizeof c->copy);
    if (said.len > 0) memcpy(c->copy, said.ptr, said.len);
    c->said = ehlo_str_make(said.ptr == NULL ? NULL : c->copy, said.len);
}

static inline int client_start(client *c, uint32_t mechanism, uint32_t offered, const ehlo_credentials *credentials,
                               const ehlo_tls_facts *facts)
{
    ehlo_str said;
    c->memory = arena_new(ehlo_sasl_client_size(credentials));
    int result =
        ehlo_sasl_client_start(&c->x, c->memory.start, c->memory.len, mechanism, offered, credentials, facts, &said);
    client_keep(c, said);
    if (result != EHLO_OK) {
        assert_null(c->x);
        arena_free(&c->memory);
    }
    return result;
}

static inline int client_hear_base64(client *c, ehlo_str challenge)
{
    ehlo_str said;
    int result = ehlo_sasl_client_step(c->x, challenge, &said);
    client_keep(c, said);
    return result;
}

static inline int client_hear(client *c, ehlo_str challenge)
{
    ehlo_str line = armoured(challenge);
    int result = client_hear_base64(c, line);
    unguard(line);
    return result;
}

/* Nothing of the exchange may be left in memory. */
static inline void client_end(client *c)
{
    ehlo_sasl_client_end(c->x);
    assert_zero(c->memory.start, c->memory.len, "client");
    arena_free(&c->memory);
}

static inline void assert_problem(const client *c, const char *expected, const char *name)
{
    assert_text(text(expected), ehlo_sasl_client_problem(c->x), "problem", name);
}

/* A server's likewise. */
typedef struct server {
    arena memory;
    ehlo_sasl_server *x;
    ehlo_str said;
    char copy[32 * 1024];
} server;

static inline int server_start(server *s, uint32_t mechanism, const ehlo_sasl_server_config *config)
{
    s->memory = arena_new(ehlo_sasl_server_size(0));
    int result = ehlo_sasl_server_start(&s->x, s->memory.start, s->memory.len, mechanism, config);
    if (result != EHLO_OK) {
        assert_null(s->x);
        arena_free(&s->memory);
    }
    return result;
}

static inline ehlo_sasl_step server_keep(server *s, ehlo_sasl_step step, ehlo_str said)
{
    if (step != EHLO_SASL_CHALLENGE) assert_int_equal(said.len, 0);
    assert_true(said.len <= sizeof s->copy);
    if (said.len > 0) memcpy(s->copy, said.ptr, said.len);
    s->said = ehlo_str_make(s->copy, said.len);
    return step;
}

static inline ehlo_sasl_step server_hear_base64(server *s, ehlo_str response)
{
    ehlo_str said;
    ehlo_sasl_step step = ehlo_sasl_server_step(s->x, response, &said);
    return server_keep(s, step, said);
}

static inline ehlo_sasl_step server_hear(server *s, ehlo_str response)
{
    ehlo_str line = armoured(response);
    ehlo_sasl_step step = server_hear_base64(s, line);
    unguard(line);
    return step;
}

static inline ehlo_sasl_step server_keys(server *s, const ehlo_scram_keys *keys)
{
    ehlo_str said;
    ehlo_sasl_step step = ehlo_sasl_server_keys(s->x, keys, &said);
    return server_keep(s, step, said);
}

static inline ehlo_sasl_step server_password(server *s, ehlo_str password)
{
    ehlo_str said;
    ehlo_sasl_step step = ehlo_sasl_server_password(s->x, password, &said);
    return server_keep(s, step, said);
}

static inline ehlo_sasl_step server_verdict(server *s, int right)
{
    ehlo_str said;
    ehlo_sasl_step step = ehlo_sasl_server_verdict(s->x, right, &said);
    return server_keep(s, step, said);
}

static inline void server_end(server *s)
{
    ehlo_sasl_server_end(s->x);
    assert_zero(s->memory.start, s->memory.len, "server");
    arena_free(&s->memory);
}

static inline ehlo_hash hash_of(uint32_t mechanism)
{
    int is_sha_1 = (mechanism & (EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS)) != 0;
    return is_sha_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256;
}

static inline ehlo_scram_keys keys_of(uint32_t mechanism, const char *password)
{
    toy t = { 0, 0, 0 };
    ehlo_crypto crypto = crypto_of(&t);
    ehlo_scram_keys keys;
    assert_int_equal(ehlo_scram_derive(&crypto, hash_of(mechanism), text(password), text("saltsalt"), 4096, &keys),
                     EHLO_OK);
    return keys;
}

/* The pattern with `what` for each $. */
static inline ehlo_str filled(ehlo_str pattern, ehlo_str what)
{
    static char out[4096];
    size_t len = 0;
    for (size_t i = 0; i < pattern.len; i++) {
        if (pattern.ptr[i] == '$') {
            memcpy(out + len, what.ptr, what.len);
            len += what.len;
        } else {
            out[len++] = pattern.ptr[i];
        }
    }
    return ehlo_str_make(out, len);
}

/* Both sides, up to the client's proof, which it has said. */
static inline void exchange_to_proof(client *c, server *s, uint32_t mechanism, const ehlo_credentials *credentials,
                                     const ehlo_sasl_server_config *config)
{
    ehlo_scram_keys keys = keys_of(mechanism, PASSWORD);
    assert_int_equal(server_start(s, mechanism, config), EHLO_OK);
    assert_int_equal(client_start(c, mechanism, ALL, credentials, config->facts), EHLO_OK);
    assert_int_equal(server_hear(s, c->said), EHLO_SASL_NEED_KEYS);
    assert_int_equal(server_keys(s, &keys), EHLO_SASL_CHALLENGE);
    assert_int_equal(client_hear(c, s->said), EHLO_OK);
}

#endif
