/* lib/net/inbox.h - work that other threads post to a loop, and what wakes it. */
#ifndef EHLO_NET_INBOX_H
#define EHLO_NET_INBOX_H

#include "poller.h"

#include <pthread.h>

typedef struct ehlo_inbox {
    ehlo_source source; /* readable after a wake */
    int wake_fd;        /* what a wake writes to; may be source.fd */
    pthread_mutex_t lock;
    ehlo_item *first;
    ehlo_item *last;
} ehlo_inbox;

/* 0, or negative with errno. */
int ehlo_inbox_init(ehlo_inbox *inbox);
void ehlo_inbox_close(ehlo_inbox *inbox);

/* From any thread. item is the first member of what carries its arguments; run frees it, or sees to it. */
void ehlo_inbox_put(ehlo_inbox *inbox, ehlo_item *item);
/* From any thread, and from a signal handler. */
void ehlo_inbox_wake(const ehlo_inbox *inbox);

/* Runs all that was put before this call, in order. */
void ehlo_inbox_run(ehlo_inbox *inbox, ehlo_loop *loop);
/* Takes back the wakes that led here. */
void ehlo_inbox_quiet(const ehlo_inbox *inbox);

#endif
