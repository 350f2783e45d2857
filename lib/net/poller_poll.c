/* lib/net/poller_poll.c - the poller of every POSIX system. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "clock.h"
#include "loop.h"

#if !defined(__linux__) || defined(EHLO_NET_POLL)

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

struct ehlo_poller {
    struct pollfd *entries;
    ehlo_source **sources; /* sources[i] is watched by entries[i] */
    size_t count;
    size_t room;
};

ehlo_poller *ehlo_poller_new(void)
{
    return calloc(1, sizeof(ehlo_poller));
}

void ehlo_poller_free(ehlo_poller *poller)
{
    free(poller->entries);
    free(poller->sources);
    free(poller);
}

static int reserve(ehlo_poller *poller)
{
    if (poller->count < poller->room) return 0;
    size_t room = poller->room == 0 ? 16 : poller->room * 2;
    struct pollfd *entries = realloc(poller->entries, room * sizeof *entries);
    if (entries == NULL) return -1;
    poller->entries = entries;
    ehlo_source **sources = realloc(poller->sources, room * sizeof *sources);
    if (sources == NULL) return -1;
    poller->sources = sources;
    poller->room = room;
    return 0;
}

static short poll_events(unsigned interest)
{
    int events = 0;
    if (interest & EHLO_POLL_READ) events |= POLLIN;
    if (interest & EHLO_POLL_WRITE) events |= POLLOUT;
    return (short)events;
}

int ehlo_poller_add(ehlo_poller *poller, ehlo_source *source, unsigned interest)
{
    if (reserve(poller) != 0) return -1;
    source->interest = interest;
    source->index = (uint32_t)poller->count;
    poller->entries[poller->count] = (struct pollfd){ .fd = source->fd, .events = poll_events(interest) };
    poller->sources[poller->count++] = source;
    return 0;
}

void ehlo_poller_set(ehlo_poller *poller, ehlo_source *source, unsigned interest)
{
    source->interest = interest;
    poller->entries[source->index].events = poll_events(interest);
}

/* The last entry fills the hole. Events it had in this round may come a round later. */
void ehlo_poller_remove(ehlo_poller *poller, ehlo_source *source)
{
    size_t hole = source->index;
    size_t last = --poller->count;
    poller->entries[hole] = poller->entries[last];
    poller->sources[hole] = poller->sources[last];
    poller->sources[hole]->index = (uint32_t)hole;
}

static unsigned events_of(int ready)
{
    unsigned events = 0;
    if (ready & POLLIN) events |= EHLO_POLL_READ;
    if (ready & POLLOUT) events |= EHLO_POLL_WRITE;
    if (ready & (POLLERR | POLLHUP | POLLNVAL)) events |= EHLO_POLL_GONE;
    return events;
}

int ehlo_poller_run(ehlo_poller *poller, ehlo_loop *loop, int ms)
{
    int found = poll(poller->entries, (nfds_t)poller->count, ms);
    if (found < 0 && errno != EINTR) return -1;
    loop->now = ehlo_clock_ms();
    for (size_t i = 0; found > 0 && i < poller->count; i++) {
        int ready = poller->entries[i].revents;
        if (ready != 0) poller->sources[i]->ready(loop, poller->sources[i], events_of(ready));
    }
    return 0;
}

int ehlo_poller_fd(const ehlo_poller *poller)
{
    (void)poller;
    return EHLO_ERR_UNSUPPORTED;
}

#else
typedef int ehlo_poller_poll_is_not_built; /* a translation unit may not be empty */
#endif
