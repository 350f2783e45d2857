/* A server's exchange. */
#ifndef EHLO_SYNTAX_SASL_SERVER_H
#define EHLO_SYNTAX_SASL_SERVER_H

#include "scram.h"

/* Takes a response, decoded. */
typedef ehlo_sasl_step (*ehlo_sasl_server_next)(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge);

struct ehlo_sasl_server {
    const ehlo_sasl_server_config *config;
    uint32_t mechanism;
    uint8_t begun;              /* 1: it is past the initial response */
    ehlo_sasl_step question;    /* NEED_* that is to be answered, or 0 */
    ehlo_sasl_server_next next; /* NULL: no response is awaited */
    size_t size;                /* of all this, with the text behind it */
    ehlo_writer text;           /* what was said and heard, behind this struct */
    ehlo_str user;
    ehlo_str authzid;
    ehlo_str secret;
    ehlo_str challenge; /* CRAM-MD5: ours */
    ehlo_str digest;    /* CRAM-MD5: the client's */
    ehlo_scram scram;
    uint8_t stored_key[EHLO_HASH_MAX];
    uint8_t server_key[EHLO_HASH_MAX];
    uint8_t nobody; /* 1: SCRAM goes on for a user who does not exist */
};

/* Puts a question to the caller. */
static inline ehlo_sasl_step ehlo_sasl_server_ask(ehlo_sasl_server *x, ehlo_sasl_step question)
{
    x->question = question;
    return question;
}

/* 1 if that is the question; it is one no more. */
static inline int ehlo_sasl_server_was_asked(ehlo_sasl_server *x, ehlo_sasl_step question)
{
    if (x->question != question) return 0;
    x->question = (ehlo_sasl_step)0;
    return 1;
}

/* SCRAM: the client's first message. */
ehlo_sasl_step ehlo_scram_server_first(ehlo_sasl_server *x, ehlo_str response, ehlo_str *challenge);

/* The server's first message, with this nonce of ours behind the client's. */
ehlo_sasl_step ehlo_scram_server_challenge(ehlo_sasl_server *x, const ehlo_scram_keys *keys, ehlo_str nonce,
                                           ehlo_str *challenge);

#endif
