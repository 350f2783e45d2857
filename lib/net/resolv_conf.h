/* lib/net/resolv_conf.h - which DNS servers to ask, and how. */
#ifndef EHLO_NET_RESOLV_CONF_H
#define EHLO_NET_RESOLV_CONF_H

#include <ehlo/types.h>

enum { EHLO_NAMESERVERS_MAX = 8, EHLO_NAMESERVER_PORT = 53 };

typedef struct ehlo_nameservers {
    ehlo_address address[EHLO_NAMESERVERS_MAX];
    size_t n;
    uint32_t try_ms; /* for one answer of one server */
    uint32_t tries;  /* rounds over all servers */
} ehlo_nameservers;

/* Reads text, a resolv.conf, as far as it speaks of servers. What it does not tell is 0; what it tells in a way that
 * cannot be read is as if it were not there. */
void ehlo_resolv_conf_parse(ehlo_str text, ehlo_nameservers *servers);

#endif
