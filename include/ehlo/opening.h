/* ehlo/opening.h - how a client session begins: greeting, hello, STARTTLS and hello again, AUTH, under a policy.
 *
 * It calls the commands of client.h in their order and says once whether messages may be sent, or which step failed and
 * what that means for them. A server cannot talk it out of its policy: under `required` not an octet but hello,
 * STARTTLS and QUIT is sent in clear, and no secret ever is, unless the caller insisted (RFC 8314, RFC 3207 6).
 *
 *     ehlo_opening_config config = { .tls = EHLO_TLS_REQUIRED, .credentials = &credentials };
 *     ehlo_opening_start(mem, ehlo_opening_size(&config), c, now, &config, done, user);    instead of ehlo_client_start
 *     done: opened->stage is EHLO_STAGE_NONE: go on with transactions
 */
#ifndef EHLO_OPENING_H
#define EHLO_OPENING_H

#include <ehlo/client.h>
#include <ehlo/sasl.h>
#include <ehlo/transaction.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ehlo_tls_policy {
    EHLO_TLS_DEFAULT = 0,   /* REQUIRED with credentials, OPPORTUNISTIC without */
    EHLO_TLS_NONE,          /* never */
    EHLO_TLS_OPPORTUNISTIC, /* where the server offers it and goes along; whose certificate it is does not matter */
    EHLO_TLS_REQUIRED,      /* by STARTTLS, or the message is not sent */
    EHLO_TLS_WRAPPED        /* from the first octet on (RFC 8314 3.3), or the message is not sent */
} ehlo_tls_policy;

/* Zero members mean the default. What it points to is borrowed until `done`. */
typedef struct ehlo_opening_config {
    uint8_t tls;                         /* ehlo_tls_policy */
    const ehlo_credentials *credentials; /* NULL: no AUTH. A server that offers no mechanism for them fails */
} ehlo_opening_config;

/* What an opening came to. Lives for the call. */
typedef struct ehlo_opened {
    ehlo_stage stage;        /* NONE: the session is open. Else what failed: GREETING, HELLO, STARTTLS, AUTH */
    ehlo_outcome outcome;    /* for a message: NONE when open; REJECTED for 5yz, DEFERRED for 4yz, else NOT_SENT */
    uint32_t mechanism;      /* EHLO_SASL_* that was used, or 0 */
    const ehlo_reply *reply; /* the reply that decided, or NULL */
    ehlo_str problem;        /* in words; static storage; empty when open */
} ehlo_opened;

/* Once. The memory of the opening is the caller's again, and was overwritten. After a failure the session is for QUIT
 * alone, if it is not over: it takes no message and no other command. */
typedef void (*ehlo_on_opened)(ehlo_client *c, const ehlo_opened *opened, void *user);

/* Octets of an opening; 0 if config is not valid. */
#define ehlo_opening_size(config) ehlo_opening_size_sized((config), sizeof(ehlo_opening_config))
EHLO_API size_t ehlo_opening_size_sized(const ehlo_opening_config *config, size_t config_size);

/* Starts the session (as ehlo_client_start) and opens it. mem (aligned for anything) stays until `done`; until then
 * wants does not say NEXT, and commands are not to be called. For WRAPPED the transport is inside TLS already:
 * ehlo_client_tls_started comes before. EHLO_ERR_STATE: it was started before, or WRAPPED and not inside TLS.
 * EHLO_ERR_ARG; EHLO_ERR_SPACE. */
#define ehlo_opening_start(mem, len, c, now, config, done, user)                                                       \
    ehlo_opening_start_sized((mem), (len), (c), (now), (config), sizeof(ehlo_opening_config), (done), (user))
EHLO_API int ehlo_opening_start_sized(void *mem, size_t len, ehlo_client *c, uint64_t now,
                                      const ehlo_opening_config *config, size_t config_size, ehlo_on_opened done,
                                      void *user);

#ifdef __cplusplus
}
#endif
#endif
