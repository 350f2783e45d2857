/* Cryptography for fuzz targets: cheap, the same in every run, and safe for nothing. A few multiplications stand for
 * each function, as all that a target needs is that other octets give another result. */
#ifndef EHLO_FUZZ_FAKE_CRYPTO_H
#define EHLO_FUZZ_FAKE_CRYPTO_H

#include <string.h>

#include <ehlo/sasl.h>

#include "check.h"

enum { FAKE_DIGEST = 1, FAKE_HMAC, FAKE_PBKDF2, FAKE_RANDOM };

typedef struct fake_crypto {
    ehlo_crypto table;
    unsigned calls, fail_at; /* the so-and-so-many-th call fails; 0: none */
    int failed;
    int lacks_hashes;
    uint64_t seed;                           /* of random */
    uint32_t iterations_min, iterations_max; /* that pbkdf2 may be asked for */
} fake_crypto;

typedef struct fake_state {
    uint64_t a, b;
} fake_state;

static inline size_t fake_len(ehlo_hash hash)
{
    return hash == EHLO_HASH_MD5 ? 16 : hash == EHLO_HASH_SHA_1 ? 20 : 32;
}

static inline void fake_absorb(fake_state *s, ehlo_str octets)
{
    for (size_t i = 0; i < octets.len; i++) {
        s->a = (s->a ^ (unsigned char)octets.ptr[i]) * 0x00000100000001B3u;
        s->b = (s->b + (s->a >> 29) + 1) * 0x9E3779B97F4A7C15u;
    }
}

static inline void fake_absorb_number(fake_state *s, uint64_t number)
{
    char octets[8];
    for (int i = 0; i < 8; i++) octets[i] = (char)(number >> 8 * i & 0xFF);
    fake_absorb(s, ehlo_str_make(octets, sizeof octets));
}

static inline fake_state fake_begin(int function, ehlo_hash hash)
{
    fake_state s = { 0xCBF29CE484222325u, 0x2545F4914F6CDD1Du };
    fake_absorb_number(&s, (uint64_t)function << 8 | (uint64_t)hash);
    return s;
}

static inline void fake_squeeze(fake_state *s, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        fake_absorb_number(s, i);
        out[i] = (uint8_t)((s->a ^ s->b) >> 40 & 0xFF);
    }
}

/* -- the functions ---------------------------------------------------------------------------------- */

static inline void fake_hash_of(ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    fake_state s = fake_begin(FAKE_DIGEST, hash);
    fake_absorb(&s, data);
    fake_squeeze(&s, out, fake_len(hash));
}

static inline void fake_hmac_of(ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    fake_state s = fake_begin(FAKE_HMAC, hash);
    fake_absorb_number(&s, key.len);
    fake_absorb(&s, key);
    for (size_t i = 0; i < n; i++) fake_absorb(&s, parts[i]);
    fake_squeeze(&s, out, fake_len(hash));
}

static inline void fake_pbkdf2_of(ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations, uint8_t *out)
{
    fake_state s = fake_begin(FAKE_PBKDF2, hash);
    fake_absorb_number(&s, password.len);
    fake_absorb(&s, password);
    fake_absorb_number(&s, salt.len);
    fake_absorb(&s, salt);
    fake_absorb_number(&s, iterations);
    fake_squeeze(&s, out, fake_len(hash));
}

/* -- the table -------------------------------------------------------------------------------------- */

static inline int fake_call(fake_crypto *f)
{
    if (++f->calls != f->fail_at) return EHLO_OK;
    f->failed = 1;
    return EHLO_ERR_SYSTEM;
}

static inline int fake_judge(fake_crypto *f, ehlo_hash hash)
{
    CHECK(hash == EHLO_HASH_MD5 || hash == EHLO_HASH_SHA_1 || hash == EHLO_HASH_SHA_256);
    if (f->lacks_hashes) {
        f->failed = 1;
        return EHLO_ERR_UNSUPPORTED;
    }
    return fake_call(f);
}

static inline int fake_digest(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    int result = fake_judge(ctx, hash);
    if (result == EHLO_OK) fake_hash_of(hash, data, out);
    return result;
}

static inline int fake_hmac(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    int result = fake_judge(ctx, hash);
    if (result == EHLO_OK) fake_hmac_of(hash, key, parts, n, out);
    return result;
}

static inline int fake_pbkdf2(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                              uint8_t *out)
{
    fake_crypto *f = ctx;
    int result = fake_judge(f, hash);
    CHECK(iterations >= f->iterations_min && iterations <= f->iterations_max && salt.len > 0);
    if (result == EHLO_OK) fake_pbkdf2_of(hash, password, salt, iterations, out);
    return result;
}

static inline int fake_random(void *ctx, uint8_t *out, size_t len)
{
    fake_crypto *f = ctx;
    fake_state s = fake_begin(FAKE_RANDOM, 0);
    fake_absorb_number(&s, f->seed++);
    if (fake_call(f) != EHLO_OK) return EHLO_ERR_SYSTEM;
    fake_squeeze(&s, out, len);
    return EHLO_OK;
}

static inline void fake_crypto_init(fake_crypto *f, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    f->table = (ehlo_crypto){ fake_digest, fake_hmac, fake_pbkdf2, fake_random, f };
    f->seed = seed;
    f->iterations_min = 1;
    f->iterations_max = UINT32_MAX;
}

#endif
