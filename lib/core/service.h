/* service.h - what sessions share: settings made whole, callbacks, and the rendered hello reply. */
#ifndef EHLO_CORE_SERVICE_H
#define EHLO_CORE_SERVICE_H

#include <ehlo/server.h>

#include "rules.h"

/* One line of the EHLO reply behind the first: where its text is, and the extension that must be offered. */
typedef struct ehlo_keyword {
    uint32_t offset;
    uint16_t len;
    uint32_t extension; /* 0: always */
} ehlo_keyword;

/* Fixed extensions, and this many lines of the application's own. */
#define EHLO_KEYWORDS_MAX 64

/* Octets of an application's text in the first line of a hello reply. */
#define EHLO_GREETS_MAX 128

struct ehlo_service {
    ehlo_server_callbacks callbacks;
    ehlo_service_config config; /* normalised: no zero means "default" any more; text points into `text` */
    ehlo_offer offer;
    ehlo_codec codec;
    ehlo_param_rules param_rules; /* leniencies and path limit; `offered` is the session's */
    uint64_t deliverby_min;
    size_t param_line_max; /* octets that RFC 5321 4.5.3.1.4 grants MAIL and RCPT for what is offered */
    size_t reply_max;
    size_t out_max;
    size_t input_min;
    uint32_t keyword_count;
    ehlo_keyword keywords[EHLO_KEYWORDS_MAX];
    char text[]; /* host name, greeting, mechanisms, keyword lines */
};

/* Renders the reply to EHLO or LHLO, listing the extensions in `offered`, or the one line for HELO; `greets`
 * goes behind the host name. facts: see below. At most service->reply_max octets; EHLO_ERR_ARG: greets is too long. */
int ehlo_service_hello(const ehlo_service *service, uint32_t offered, const ehlo_tls_facts *facts, int lines,
                       ehlo_str greets, char *out, size_t *len);

/* Takes the next mechanism off *rest, a list of them, that can work with what is known of TLS; facts NULL: nothing is.
 * 0 if there is none. */
int ehlo_service_next_mechanism(ehlo_str *rest, const ehlo_tls_facts *facts, ehlo_str *mechanism);

/* 1 if the mechanism is among those offered that can work. */
int ehlo_service_has_mechanism(const ehlo_service *service, const ehlo_tls_facts *facts, ehlo_str mechanism);

#endif
