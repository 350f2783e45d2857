/* lib/net/resolver.h - what look-ups share. */
#ifndef EHLO_NET_RESOLVER_H
#define EHLO_NET_RESOLVER_H

#include "resolv_conf.h"

#include <ehlo/net.h>

struct ehlo_resolver {
    ehlo_loop *loop;
    ehlo_lookup *lookups; /* those that run */
    ehlo_nameservers servers;
    ehlo_str hosts; /* the text of the hosts file */
};

#endif
