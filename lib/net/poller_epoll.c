/* lib/net/poller_epoll.c - the poller of Linux. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "poller.h"

#if defined(__linux__) && !defined(EHLO_NET_POLL)

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 256 };

struct ehlo_poller {
    int fd;
    int count;
    int next;
    struct epoll_event events[EVENTS_PER_WAIT];
};

ehlo_poller *ehlo_poller_new(void)
{
    ehlo_poller *poller = malloc(sizeof *poller);
    if (poller == NULL) return NULL;
    poller->count = poller->next = 0;
    poller->fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->fd >= 0) return poller;
    free(poller);
    return NULL;
}

void ehlo_poller_free(ehlo_poller *poller)
{
    close(poller->fd);
    free(poller);
}

static int control(const ehlo_poller *poller, int operation, ehlo_source *source, unsigned interest)
{
    struct epoll_event event = { .events = 0, .data = { .ptr = source } };
    if (interest & EHLO_POLL_READ) event.events |= EPOLLIN;
    if (interest & EHLO_POLL_WRITE) event.events |= EPOLLOUT;
    return epoll_ctl(poller->fd, operation, source->fd, &event);
}

int ehlo_poller_add(ehlo_poller *poller, ehlo_source *source, unsigned interest)
{
    source->interest = interest;
    return control(poller, EPOLL_CTL_ADD, source, interest);
}

void ehlo_poller_set(ehlo_poller *poller, ehlo_source *source, unsigned interest)
{
    source->interest = interest;
    control(poller, EPOLL_CTL_MOD, source, interest);
}

/* Closing alone is not enough: a forked child may still hold the descriptor. */
void ehlo_poller_remove(ehlo_poller *poller, ehlo_source *source)
{
    control(poller, EPOLL_CTL_DEL, source, 0);
}

int ehlo_poller_wait(ehlo_poller *poller, int ms)
{
    poller->next = 0;
    poller->count = epoll_wait(poller->fd, poller->events, EVENTS_PER_WAIT, ms);
    if (poller->count >= 0) return 0;
    poller->count = 0;
    return errno == EINTR ? 0 : -1;
}

ehlo_source *ehlo_poller_next(ehlo_poller *poller, unsigned *events)
{
    while (poller->next < poller->count) {
        const struct epoll_event *event = &poller->events[poller->next++];
        ehlo_source *source = event->data.ptr;
        if (source->fd < 0) continue;
        *events = 0;
        if (event->events & EPOLLIN) *events |= EHLO_POLL_READ;
        if (event->events & EPOLLOUT) *events |= EHLO_POLL_WRITE;
        if (event->events & (EPOLLERR | EPOLLHUP)) *events |= EHLO_POLL_GONE;
        return source;
    }
    return NULL;
}

int ehlo_poller_fd(const ehlo_poller *poller)
{
    return poller->fd;
}

#else
typedef int ehlo_poller_epoll_is_not_built; /* a translation unit may not be empty */
#endif
