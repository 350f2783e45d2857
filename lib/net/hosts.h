/* lib/net/hosts.h - the file of hosts that are known without asking. */
#ifndef EHLO_NET_HOSTS_H
#define EHLO_NET_HOSTS_H

#include <ehlo/types.h>

/* Takes lines from *text, such a file or the rest of one, up to the first that gives name an address: 1, with the
 * address, port 0; or 0, if none does. */
int ehlo_hosts_next(ehlo_str *text, ehlo_str name, ehlo_address *address);

#endif
