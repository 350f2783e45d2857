/* test_resolve_poll.c - the tests of test_resolve.c with what systems other than Linux get: poll, a pipe, fcntl. */
#define EHLO_NET_POLL

#include "test_resolve.c"
