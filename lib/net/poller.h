/* lib/net/poller.h - which descriptors are ready: epoll on Linux, poll elsewhere.
 *
 * EHLO_NET_POLL builds what other systems get on Linux too, so that it can be tested.
 *
 * Level-triggered. A source may be added, changed or removed while events are being handed out; what it
 * points to must stay until the end of the round. */
#ifndef EHLO_NET_POLLER_H
#define EHLO_NET_POLLER_H

#include <ehlo/net.h>

/* The values are those of poll and epoll nearly everywhere: there is little to translate then. */
enum {
    EHLO_POLL_READ = 1,
    EHLO_POLL_WRITE = 4,
    EHLO_POLL_GONE = 8 | 16 | 32 /* any of these, reported unasked: the connection was reset, or both sides are shut */
};

/* Something with a descriptor. */
typedef struct ehlo_source {
    void (*ready)(ehlo_loop *loop, struct ehlo_source *source, unsigned events);
    struct ehlo_source *next_dead; /* the loop's list of sources to free after this round */
    int fd;                        /* -1: closed */
    uint32_t interest;             /* EHLO_POLL_* */
    uint32_t index;                /* poll: its place in the array */
} ehlo_source;

typedef struct ehlo_poller ehlo_poller;

/* NULL: errno. */
ehlo_poller *ehlo_poller_new(void);
void ehlo_poller_free(ehlo_poller *poller);

/* Watches source->fd; 0, or negative with errno. */
int ehlo_poller_add(ehlo_poller *poller, ehlo_source *source, unsigned interest);
void ehlo_poller_set(ehlo_poller *poller, ehlo_source *source, unsigned interest);
/* Before the descriptor is closed. */
void ehlo_poller_remove(ehlo_poller *poller, ehlo_source *source);

/* Waits at most ms, takes the time for the loop, and calls each source that is ready. Negative with
 * errno if waiting failed; an interrupted wait did not. */
int ehlo_poller_run(ehlo_poller *poller, ehlo_loop *loop, int ms);

/* A descriptor that is readable while a source is ready, or EHLO_ERR_UNSUPPORTED. */
int ehlo_poller_fd(const ehlo_poller *poller);

#endif
