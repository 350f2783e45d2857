/* sender.h - sends copies of one message, one behind the other over one connection. */
#ifndef SEND_SENDER_H
#define SEND_SENDER_H

#include "content.h"

#include <ehlo/net.h>

#include <signal.h>

/* What to send. It stays as it is while the sender runs. */
struct job {
    ehlo_connect_config connect;
    uint32_t timeout_ms; /* for answers of DNS servers; 0: the library's */
    ehlo_envelope envelope;
    struct content content;
    uint64_t copies;
    int trace;
    const volatile sig_atomic_t *signals; /* how many have come: after one, what has not left is not sent any more;
                                             after two, nothing is waited for */
};

/* Sends, and prints a line per recipient and copy. Returns the worst outcome, or a negative error: nothing was done. */
int sender_run(const struct job *job);

#endif
