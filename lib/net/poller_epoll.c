/* lib/net/poller_epoll.c - the poller of Linux. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "clock.h"
#include "loop.h"

#if defined(__linux__) && !defined(EHLO_NET_POLL)

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_PER_WAIT = 256 };

_Static_assert((int)EPOLLIN == EHLO_POLL_READ && (int)EPOLLOUT == EHLO_POLL_WRITE, "events need no translation");
_Static_assert(((int)(EPOLLERR | EPOLLHUP) & ~(int)EHLO_POLL_GONE) == 0, "nor do those that come unasked");

struct ehlo_poller {
    int fd;
    struct epoll_event events[EVENTS_PER_WAIT];
};

ehlo_poller *ehlo_poller_new(void)
{
    ehlo_poller *poller = malloc(sizeof *poller);
    if (poller == NULL) return NULL;
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
    struct epoll_event event = { .events = interest, .data = { .ptr = source } };
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

int ehlo_poller_run(ehlo_poller *poller, ehlo_loop *loop, int ms)
{
    const struct epoll_event *event = poller->events;
    int count = epoll_wait(poller->fd, poller->events, EVENTS_PER_WAIT, ms);
    if (count < 0) {
        if (errno != EINTR) return -1;
        count = 0;
    }
    const struct epoll_event *end = event + count;
    loop->now = ehlo_clock_ms();
    for (; event < end; event++) {
        ehlo_source *source = event->data.ptr;
        if (source->fd >= 0) source->ready(loop, source, event->events);
    }
    return 0;
}

int ehlo_poller_fd(const ehlo_poller *poller)
{
    return poller->fd;
}

#else
typedef int ehlo_poller_epoll_is_not_built; /* a translation unit may not be empty */
#endif
