/* The same for what is said in an exchange of SASL: `wire` is lines, as the writers of syntax.h make them, or as a
 * session sends them. */
#ifndef EHLO_TESTS_INJECTION_SASL_H
#define EHLO_TESTS_INJECTION_SASL_H

#include "injection.h"

/* -- cryptography ----------------------------------------------------------------------------------- */

/* Results that are always the same: nobody looks at them here. */
static inline int still_digest(void *ctx, ehlo_hash hash, ehlo_str data, uint8_t *out)
{
    (void)ctx, (void)data;
    memset(out, 'd', hash == EHLO_HASH_SHA_256 ? 32 : 16);
    return EHLO_OK;
}

static inline int still_hmac(void *ctx, ehlo_hash hash, ehlo_str key, const ehlo_str *parts, size_t n, uint8_t *out)
{
    (void)key, (void)parts, (void)n;
    return still_digest(ctx, hash, GOOD(""), out);
}

static inline int still_pbkdf2(void *ctx, ehlo_hash hash, ehlo_str password, ehlo_str salt, uint32_t iterations,
                               uint8_t *out)
{
    (void)password, (void)salt, (void)iterations;
    return still_digest(ctx, hash, GOOD(""), out);
}

static inline int still_random(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    memset(out, 'r', len);
    return EHLO_OK;
}

static const ehlo_crypto still_crypto = { still_digest, still_hmac, still_pbkdf2, still_random, NULL };
static max_align_t sasl_memory[(1 << 20) / sizeof(max_align_t)];

/* -- a client's exchange ---------------------------------------------------------------------------- */

static inline uint32_t sasl_mechanism(const args *a)
{
    return ehlo_sasl_find(ehlo_str_from(a->event));
}

/* Adds a line that a writer made at the end of the wire. */
static inline int sasl_line(int result, const char *line, size_t len)
{
    if (result == EHLO_OK) wire_add(line, len);
    return result;
}

static inline int sasl_answer(ehlo_sasl_client *x, const char *challenge)
{
    static char line[1 << 17];
    char text[256];
    size_t len;
    ehlo_str response;
    assert_int_equal(ehlo_base64_encode(ehlo_str_from(challenge), text, sizeof text, &len), EHLO_OK);
    int result = ehlo_sasl_client_step(x, ehlo_str_make(text, len), &response);
    if (result != EHLO_OK) return result;
    result = ehlo_auth_response_write(response, line, sizeof line, &len);
    return sasl_line(result, line, len);
}

/* The server's first message of SCRAM, to the nonce that is `random` above. */
static inline int sasl_answer_scram(ehlo_sasl_client *x, ehlo_str initial)
{
    char challenge[256];
    const char *nonce = initial.ptr;
    while (memcmp(nonce, ",r=", 3) != 0) nonce++;
    nonce += 3;
    snprintf(challenge, sizeof challenge, "r=%.*smore,s=c2FsdA==,i=4096", (int)(initial.ptr + initial.len - nonce),
             nonce);
    return sasl_answer(x, challenge);
}

static inline int sasl_exchange(ehlo_sasl_client *x, uint32_t mechanism, ehlo_str initial)
{
    static char line[1 << 17], first[256];
    size_t len;
    int scram = mechanism == EHLO_SASL_SCRAM_SHA_256 || mechanism == EHLO_SASL_SCRAM_SHA_256_PLUS;
    ehlo_str name = ehlo_sasl_name(mechanism);
    int result = ehlo_auth_write(name, initial, line, sizeof line, &len, NULL);
    sasl_line(result, line, len);
    if (result == EHLO_OK && scram && initial.len < sizeof first) {
        memcpy(first, initial.ptr, initial.len);
        result = sasl_answer_scram(x, ehlo_str_make(first, initial.len));
    }
    if (mechanism == EHLO_SASL_CRAM_MD5) result = sasl_answer(x, "<1896.697170952@postoffice.example>");
    if (mechanism != EHLO_SASL_LOGIN) return result;
    if (result == EHLO_OK) result = sasl_answer(x, "Username:");
    return result == EHLO_OK ? sasl_answer(x, "Password:") : result;
}

/* All the lines of an exchange, or none. */
static int sasl_client(args *a)
{
    ehlo_sasl_client *x;
    ehlo_str initial;
    uint32_t mechanism = sasl_mechanism(a);
    a->credentials.crypto = &still_crypto;
    wire.len = 0;
    assert_true(ehlo_sasl_client_size(&a->credentials) <= sizeof sasl_memory);
    int result = ehlo_sasl_client_start(&x, sasl_memory, sizeof sasl_memory, mechanism, mechanism, &a->credentials,
                                        &a->facts, &initial);
    /* Without octets that may bind the channel it has no -PLUS. */
    if (result != EHLO_OK) return result == EHLO_ERR_UNSUPPORTED ? EHLO_ERR_ARG : result;
    result = sasl_exchange(x, mechanism, initial);
    if (result != EHLO_OK) wire.len = 0;
    ehlo_sasl_client_end(x);
    return result;
}

/* -- an opening ------------------------------------------------------------------------------------- */

#define SASL_OFFER "250-mx.example\r\n250 AUTH PLAIN EXTERNAL ANONYMOUS XOAUTH2 OAUTHBEARER\r\n"

/* Of what was sent, AUTH alone is looked at: 1 if there was one. */
static inline int wire_keep_auth(void)
{
    for (size_t i = 0; i + 7 < wire.len; i++) {
        if (memcmp(wire.bytes + i, "\r\nAUTH ", 7) != 0) continue;
        wire.len -= i + 2;
        memmove(wire.bytes, wire.bytes + i + 2, wire.len);
        const char *end = memchr(wire.bytes, '\n', wire.len);
        if (end != NULL) wire.len = (size_t)(end - wire.bytes) + 1;
        return 1;
    }
    wire.len = 0;
    return 0;
}

static inline void on_opened(ehlo_client *c, const ehlo_opened *opened, void *user)
{
    (void)c;
    *(ehlo_stage *)user = opened->stage;
}

/* What an opening cannot say it does not say: the session has ended its part without AUTH. */
static int open_session(args *a)
{
    ehlo_client *c;
    ehlo_stage stage = EHLO_STAGE_NONE;
    ehlo_opening_config config = { .tls = EHLO_TLS_NONE, .credentials = &a->credentials };
    a->credentials.mechanisms = sasl_mechanism(a);
    wire.len = 0;
    assert_int_equal(ehlo_client_init(&c, client_memory, sizeof client_memory, &a->client, &client_callbacks, NULL),
                     EHLO_OK);
    assert_true(ehlo_opening_size(&config) <= sizeof sasl_memory);
    int result = ehlo_opening_start(sasl_memory, sizeof sasl_memory, c, 0, &config, on_opened, &stage);
    assert_int_equal(result, EHLO_OK);
    client_hears(c, DUMMY_GREETING);
    client_hears(c, SASL_OFFER);
    if (!wire_keep_auth()) {
        assert_int_equal(stage, EHLO_STAGE_AUTH);
        result = EHLO_ERR_ARG;
    }
    assert_int_equal(ehlo_client_close(c), EHLO_OK);
    return result;
}

/* -- a server's exchange ---------------------------------------------------------------------------- */

/* Gives what a step came to, or a challenge of the test's own. */
static inline int on_exchange(ehlo_server *s, ehlo_token token, ehlo_str mechanism, ehlo_str response, ehlo_reply *r,
                              void *user)
{
    args *a = user;
    ehlo_sasl_server *x;
    ehlo_str challenge = a->second;
    (void)s, (void)token;
    if (mechanism.len == 0) return EHLO_OK;
    if (strcmp(a->event, "ehlo_sasl_server_start") == 0) {
        a->sasl.crypto = &still_crypto;
        a->verb = EHLO_VERB_UNKNOWN;
        int result = ehlo_sasl_server_start(&x, sasl_memory, sizeof sasl_memory, EHLO_SASL_CRAM_MD5, &a->sasl);
        if (result != EHLO_OK) {
            r->code = 504;
            return EHLO_OK;
        }
        assert_int_equal(ehlo_sasl_server_step(x, response, &challenge), EHLO_SASL_CHALLENGE);
    }
    ehlo_sasl_reply(EHLO_SASL_CHALLENGE, challenge, r);
    return EHLO_OK;
}

/* The line that answers AUTH, where there is a challenge in it. */
static int sasl_server(args *a)
{
    static const ehlo_server_callbacks callbacks = { .write = server_write, .on_auth = on_exchange };
    ehlo_service *service;
    a->service.auth_mechanisms = GOOD("CRAM-MD5");
    assert_int_equal(ehlo_service_init(&service, service_memory, sizeof service_memory, &a->service, &callbacks),
                     EHLO_OK);
    ehlo_server *s = server_new(service, a);
    server_hears(s, "EHLO client.example\r\n");
    wire.len = 0;
    server_hears(s, "AUTH CRAM-MD5\r\n");
    size_t len = wire.len;
    assert_int_equal(ehlo_server_close(s), EHLO_OK);
    wire.len = len;
    if (memcmp(wire.bytes, "504 ", 4) != 0) return EHLO_OK;
    wire.len = 0;
    return EHLO_ERR_ARG;
}

#endif
