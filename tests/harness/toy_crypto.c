#include "toy_crypto.h"

#include <stdlib.h>

static const size_t octets[] = { 0, 16, 20, 32 };

size_t toy_octets(ehlo_hash hash)
{
    return octets[hash];
}

static uint64_t mix(uint64_t h, ehlo_str text)
{
    for (size_t i = 0; i < text.len; i++) h = (h ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    return h;
}

/* The length keeps "ab", "c" and "a", "bc" apart. */
static uint64_t mix_one(uint64_t h, ehlo_str text)
{
    return (mix(h, text) ^ text.len) * UINT64_C(1099511628211);
}

static int end(uint64_t h, ehlo_hash hash, uint8_t *out)
{
    for (size_t i = 0; i < octets[hash]; i++) {
        h = (h ^ h >> 29) * UINT64_C(0xBF58476D1CE4E5B9) + i;
        out[i] = (uint8_t)(h >> 40);
    }
    return EHLO_OK;
}

static int digest(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    (void)ctx;
    return end(mix_one(hash, data), hash, out);
}

/* Of the parts as if they were one. */
static int hmac(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    uint64_t h = mix_one(hash + 10, key);
    (void)ctx;
    for (size_t i = 0; i < n; i++) h = mix(h, parts[i]);
    return end(h, hash, out);
}

static int pbkdf2(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations, uint8_t *out)
{
    (void)ctx;
    return end(mix_one(mix_one(hash + iterations, password), salt), hash, out);
}

static int draw(void *ctx, uint8_t *out, size_t len)
{
    unsigned *drawn = ctx;
    for (size_t i = 0; i < len; i++) out[i] = (uint8_t)((*drawn)++ * 7 + 1);
    return EHLO_OK;
}

ehlo_crypto toy_crypto(unsigned *drawn)
{
    return (ehlo_crypto){ digest, hmac, pbkdf2, draw, drawn };
}

const uint32_t toy_mechanisms[TOY_MECHANISMS] = {
    EHLO_SASL_PLAIN,
    EHLO_SASL_LOGIN,
    EHLO_SASL_XOAUTH2,
    EHLO_SASL_OAUTHBEARER,
    EHLO_SASL_CRAM_MD5,
    EHLO_SASL_SCRAM_SHA_1,
    EHLO_SASL_SCRAM_SHA_256,
    EHLO_SASL_SCRAM_SHA_1_PLUS,
    EHLO_SASL_SCRAM_SHA_256_PLUS,
    EHLO_SASL_EXTERNAL,
    EHLO_SASL_ANONYMOUS,
};

ehlo_sasl_step toy_answer(ehlo_sasl_server *x, ehlo_sasl_step step, const ehlo_crypto *crypto, const char *password,
                          int right, ehlo_str *challenge)
{
    const uint32_t sha_1 = EHLO_SASL_SCRAM_SHA_1 | EHLO_SASL_SCRAM_SHA_1_PLUS;
    ehlo_str stored = ehlo_str_from(password);
    ehlo_scram_keys keys;
    if (step == EHLO_SASL_NEED_VERDICT) return ehlo_sasl_server_verdict(x, right, challenge);
    if (step == EHLO_SASL_NEED_PASSWORD) return ehlo_sasl_server_password(x, stored, challenge);
    if (step != EHLO_SASL_NEED_KEYS) return step;
    if (password == NULL) return ehlo_sasl_server_keys(x, NULL, challenge);
    ehlo_hash hash = ehlo_sasl_server_mechanism(x) & sha_1 ? EHLO_HASH_SHA_1 : EHLO_HASH_SHA_256;
    if (ehlo_scram_derive(crypto, hash, stored, ehlo_str_from("saltsalt"), 4096, &keys) != EHLO_OK) abort();
    return ehlo_sasl_server_keys(x, &keys, challenge);
}
