/* test_relay_poll.c - the tests of test_relay.c with what systems other than Linux get: poll, a pipe, accept.
 *
 * The sources that differ are compiled into this program, so that the library's own are not linked. */
#define EHLO_NET_POLL
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../lib/net/inbox.c"
#include "../lib/net/poller_poll.c"
#include "../lib/net/socket.c"

#include "test_relay.c"
