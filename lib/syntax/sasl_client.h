/* A client's exchange. */
#ifndef EHLO_SYNTAX_SASL_CLIENT_H
#define EHLO_SYNTAX_SASL_CLIENT_H

#include "scram.h"

/* Answers a challenge, decoded. */
typedef int (*ehlo_sasl_client_next)(ehlo_sasl_client *x, ehlo_str challenge, ehlo_str *response);

struct ehlo_sasl_client {
    const ehlo_credentials *credentials;
    const ehlo_tls_facts *facts;
    uint32_t mechanism;
    uint32_t offered;
    ehlo_sasl_client_next next; /* NULL: it has failed, or was ended */
    uint8_t may_succeed;        /* 1: the server may say now that we are authenticated */
    size_t size;                /* of all this, with the text behind it */
    size_t keep;                /* octets of text that the next step still needs */
    ehlo_writer text;           /* what was said and heard, behind this struct */
    ehlo_str problem;
    ehlo_scram scram;
    uint8_t server_signature[EHLO_HASH_MAX]; /* what a SCRAM server is to say */
};

/* Notes why the exchange has failed, and returns result. problem: a string literal. */
int ehlo_sasl_client_fail(ehlo_sasl_client *x, int result, const char *problem);

/* SCRAM: the initial response. Negative as of ehlo_sasl_client_start. */
int ehlo_scram_client_start(ehlo_sasl_client *x, ehlo_str *initial);

/* The same with this nonce. */
int ehlo_scram_client_first(ehlo_sasl_client *x, ehlo_str nonce, ehlo_str *initial);

#endif
