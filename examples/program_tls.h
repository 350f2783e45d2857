/* program_tls.h - the TLS and the cryptography of a program, and how options speak of them. It includes program.h.
 *
 * OpenSSL is in some builds only; those without it have every option all the same, and say what is missing. */
#ifndef PROGRAM_TLS_H
#define PROGRAM_TLS_H

#include "program.h"

#ifdef EHLO_OPENSSL
#include "tls_openssl.h"
#else
#define EHLO_OPENSSL 0
#endif

/* A file, and the option that names it; path NULL: it was not given. */
struct program_file {
    const char *option;
    const char *path;
};

struct program_tls {
    struct program_file certificate, key, authorities;
    int trusts_nobody; /* see tls_openssl.h */
};

static const char program_no_tls[] = "this build has no TLS: OpenSSL 3 was not found when it was built";

/* A usage error, where this build cannot do what an option asks for. */
static inline void program_need_tls(const char *option)
{
    if (!EHLO_OPENSSL) program_usage_error("%s: %s", option, program_no_tls);
}

#if EHLO_OPENSSL

/* An engine with these files; a usage error if one of them is not what it should be. Free it. */
static inline const ehlo_tls_engine *program_tls_open(const struct program_tls *tls)
{
    struct tls_openssl_config config = { tls->certificate.path, tls->key.path, tls->authorities.path,
                                         tls->trusts_nobody };
    struct tls_openssl_problem problem;
    const ehlo_tls_engine *engine = tls_openssl_new(&config, &problem);
    if (engine != NULL) return engine;
    if (problem.file == NULL) program_fail("%s", problem.text);
    const char *option = problem.file == tls->key.path           ? tls->key.option
                         : problem.file == tls->authorities.path ? tls->authorities.option
                                                                 : tls->certificate.option;
    program_usage_error("%s %s: %s", option, problem.file, problem.text);
}

static inline void program_tls_free(const ehlo_tls_engine *engine)
{
    tls_openssl_free(engine);
}

/* NULL: this build has none. */
static inline const ehlo_crypto *program_crypto(void)
{
    return tls_openssl_crypto();
}

#else

static inline const ehlo_tls_engine *program_tls_open(const struct program_tls *tls)
{
    (void)tls;
    program_fail("%s", program_no_tls);
}

static inline void program_tls_free(const ehlo_tls_engine *engine)
{
    (void)engine;
}

static inline const ehlo_crypto *program_crypto(void)
{
    return NULL;
}

#endif

/* The names of these mechanisms (EHLO_SASL_*), a space between, the strongest first. Static storage. */
static inline const char *program_mechanism_names(uint32_t mechanisms)
{
    static char names[256];
    size_t len = 0;
    names[0] = '\0';
    for (uint32_t bit = 1U << 31; bit != 0; bit >>= 1) {
        ehlo_str name = ehlo_sasl_name(mechanisms & bit);
        if (name.len == 0 || len + name.len + 2 > sizeof names) continue;
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%.*s", len > 0 ? " " : "", (int)name.len, name.ptr);
    }
    return names;
}

/* The EHLO_SASL_* that name is; a usage error if it is none, or this build lacks what it needs. */
static inline uint32_t program_parse_mechanism(const char *option, ehlo_str name)
{
    const uint32_t plain = EHLO_SASL_PLAIN | EHLO_SASL_LOGIN | EHLO_SASL_EXTERNAL | EHLO_SASL_ANONYMOUS |
                           EHLO_SASL_XOAUTH2 | EHLO_SASL_OAUTHBEARER;
    uint32_t mechanism = ehlo_sasl_find(name);
    if (mechanism == 0) {
        program_usage_error("%s: \"%.*s\" is none of %s", option, (int)name.len, name.ptr,
                            program_mechanism_names(UINT32_MAX));
    }
    if (!EHLO_OPENSSL && (mechanism & plain) == 0) {
        program_usage_error("%s: %.*s takes cryptography, and %s", option, (int)name.len, name.ptr, program_no_tls);
    }
    return mechanism;
}

#endif
