/* lib/net/limits.h - connections counted in total and per remote address, for loops of many threads. */
#ifndef EHLO_NET_LIMITS_H
#define EHLO_NET_LIMITS_H

#include <ehlo/net.h>

/* Counts one more from this address: 1. 0 if that would be over a limit, or there is no memory to count with.
 * NULL limits nothing. */
int ehlo_limits_take(ehlo_limits *limits, const ehlo_address *remote);
/* One that was counted is gone. */
void ehlo_limits_give(ehlo_limits *limits, const ehlo_address *remote);

#endif
