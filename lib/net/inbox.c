/* lib/net/inbox.c - work that other threads post to a loop, and what wakes it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#if defined(__linux__) && !defined(EHLO_NET_POLL)
#include <sys/eventfd.h>
#endif

static int open_wake(int *read_end, int *write_end)
{
#if defined(__linux__) && !defined(EHLO_NET_POLL)
    *read_end = *write_end = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return *read_end < 0 ? -1 : 0;
#else
    int ends[2];
    if (pipe(ends) != 0) return -1;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    *read_end = ends[0];
    *write_end = ends[1];
    return 0;
#endif
}

int ehlo_inbox_init(ehlo_inbox *inbox)
{
    inbox->first = inbox->last = NULL;
    if (open_wake(&inbox->source.fd, &inbox->wake_fd) != 0) return -1;
    if (pthread_mutex_init(&inbox->lock, NULL) == 0) return 0;
    close(inbox->source.fd);
    if (inbox->wake_fd != inbox->source.fd) close(inbox->wake_fd);
    errno = ENOMEM;
    return -1;
}

void ehlo_inbox_close(ehlo_inbox *inbox)
{
    close(inbox->source.fd);
    if (inbox->wake_fd != inbox->source.fd) close(inbox->wake_fd);
    pthread_mutex_destroy(&inbox->lock);
}

/* Only the first item wakes: the loop takes those behind it along. */
void ehlo_inbox_put(ehlo_inbox *inbox, ehlo_item *item)
{
    item->next = NULL;
    pthread_mutex_lock(&inbox->lock);
    int first = inbox->first == NULL;
    if (first)
        inbox->first = item;
    else
        inbox->last->next = item;
    inbox->last = item;
    if (first) ehlo_inbox_wake(inbox); /* under the lock: once it is free, the loop may run the item and be freed */
    pthread_mutex_unlock(&inbox->lock);
}

/* A full pipe or counter means that a wake is on its way already. */
void ehlo_inbox_wake(const ehlo_inbox *inbox)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t written = write(inbox->wake_fd, &one, sizeof one);
    (void)written;
    errno = saved;
}

void ehlo_inbox_quiet(const ehlo_inbox *inbox)
{
    char bytes[64];
    while (read(inbox->source.fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes) continue;
}

void ehlo_inbox_run(ehlo_inbox *inbox, ehlo_loop *loop)
{
    pthread_mutex_lock(&inbox->lock);
    ehlo_item *item = inbox->first;
    inbox->first = inbox->last = NULL;
    pthread_mutex_unlock(&inbox->lock);
    while (item != NULL) {
        ehlo_item *next = item->next;
        item->run(loop, item);
        item = next;
    }
}
