/* lib/net/hosts.h - the file of hosts that are known without asking. */
#ifndef EHLO_NET_HOSTS_H
#define EHLO_NET_HOSTS_H

#include <ehlo/types.h>

/* Finds the addresses of that family that text, such a file, gives to name: at most max of them, in its order, port 0.
 * Returns their number. */
size_t ehlo_hosts_find(ehlo_str text, ehlo_str name, ehlo_family family, ehlo_address *addresses, size_t max);

#endif
