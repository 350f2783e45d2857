/* toy_crypto.h - functions that are shaped like cryptography, and give the same on both sides: for tests of exchanges,
 * which then need no library, and are the same in every run. */
#ifndef EHLO_TESTS_TOY_CRYPTO_H
#define EHLO_TESTS_TOY_CRYPTO_H

#include <ehlo/sasl.h>

/* Octets of a hash. */
size_t toy_octets(ehlo_hash hash);

/* "Random" octets come of *drawn, which counts them. */
ehlo_crypto toy_crypto(unsigned *drawn);

/* All mechanisms: first those by which a secret is shown, of which the last need channel bindings. */
enum { TOY_WITHOUT_BINDING = 7, TOY_WITH_SECRET = 9, TOY_MECHANISMS = 11 };
extern const uint32_t toy_mechanisms[TOY_MECHANISMS];

/* What a server's application says to a step that asks: what is stored of the user is a password, NULL if there is no
 * such user; right: the verdict, where one is asked for. */
ehlo_sasl_step toy_answer(ehlo_sasl_server *x, ehlo_sasl_step step, const ehlo_crypto *crypto, const char *password,
                          int right, ehlo_str *challenge);

#endif
