/* tls_openssl.h - OpenSSL 3 as the TLS engine and the cryptography of libehlo. Copy both files and make them yours.
 *
 *     struct tls_openssl_config config = { .certificate_file = "chain.pem", .key_file = "key.pem" };
 *     struct tls_openssl_problem problem;
 *     const ehlo_tls_engine *engine = tls_openssl_new(&config, &problem);
 *     if (engine == NULL) fprintf(stderr, "%s: %s\n", problem.file, problem.text);
 *     listen_config.tls = engine;                             or connect_config.tls_engine
 *     credentials.crypto = tls_openssl_crypto();
 *     ...
 *     tls_openssl_free(engine);                               after the last loop that used it
 *
 * TLS 1.2 at least, without renegotiation or compression. A server keeps no sessions: clients may resume them by
 * tickets, which cost it no memory. One engine serves any number of connections, of any number of threads, as client
 * and as server. OpenSSL's error queue of the calling thread is cleared. */
#ifndef TLS_OPENSSL_H
#define TLS_OPENSSL_H

#include <ehlo/net.h>
#include <ehlo/sasl.h>

/* Files are PEM; NULL is none. */
struct tls_openssl_config {
    const char *certificate_file; /* ours, and behind it those that lead to its authority. A server needs one */
    const char *key_file;         /* its private key, not encrypted; NULL: in certificate_file too */
    const char *ca_file;          /* the authorities that we trust. NULL: a client trusts those of the system, a server
                                     asks for no certificate. A server with it asks: a client may come without one, and
                                     with one of another authority, which is not verified then (ehlo_tls_facts) */
    int trusts_nobody; /* 1, without a ca_file: nobody is to be verified, so the system's authorities, which take
                                     their time and memory, are not read */
};

struct tls_openssl_problem {
    const char *file; /* one of the three above, or NULL */
    char text[256];
};

/* NULL: problem says why. The files are read now. */
const ehlo_tls_engine *tls_openssl_new(const struct tls_openssl_config *config, struct tls_openssl_problem *problem);
/* NULL is fine. */
void tls_openssl_free(const ehlo_tls_engine *engine);

/* Static. */
const ehlo_crypto *tls_openssl_crypto(void);

#endif
