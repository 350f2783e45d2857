/* lib/net/loop.h - what an event loop consists of. */
#ifndef EHLO_NET_LOOP_H
#define EHLO_NET_LOOP_H

#include "inbox.h"
#include "poller.h"
#include "slots.h"
#include "timer.h"

#include <stdatomic.h>

/* Memory that somebody may still write to, first member of it. */
typedef struct ehlo_kept {
    struct ehlo_kept *next;
} ehlo_kept;

struct ehlo_loop {
    ehlo_poller *poller;
    ehlo_timers timers;
    ehlo_inbox inbox;
    ehlo_slots conns;
    ehlo_listener *listeners;
    ehlo_conn *driven; /* the connection whose session is running now, NULL if none is */
    int lent;          /* 1: another one is, further out: the input is not ours to read to */
    ehlo_source *dead; /* closed in this round */
    ehlo_kept *kept;   /* what ehlo_loop_keep was given */
    char *input;       /* the receive buffer; nothing in it outlives the handling of one event */
    size_t input_size;
    char *record; /* where small octets become one TLS record; NULL until it is needed */
    uint64_t now;
    unsigned depth;     /* how often ehlo_loop_enter was called */
    int stop_seen;      /* the grace that was acted upon; -1: none */
    atomic_int stop_ms; /* the grace that was asked for; -1: none */
    ehlo_timer grace;
    ehlo_resolver *resolver;                        /* over the system's files; NULL until it is needed */
    void (*resolver_free)(ehlo_resolver *resolver); /* set with it: who only serves is linked without a resolver */
};

/* Around all that runs callbacks: takes the time, makes the loop the one this thread is in, and at last frees what
 * was closed. Gives the loop to be handed to ehlo_loop_leave. */
ehlo_loop *ehlo_loop_enter(ehlo_loop *loop);
void ehlo_loop_leave(ehlo_loop *loop, ehlo_loop *outer);
/* 1 once ehlo_loop_stop has taken effect. */
static inline int ehlo_loop_stopping(const ehlo_loop *loop)
{
    return loop->stop_seen >= 0;
}
/* 1 if called from inside this loop, on its thread. */
int ehlo_loop_inside(const ehlo_loop *loop);

/* Runs timer until due, at the earliest a millisecond from now: a round must end. EHLO_ERR_MEMORY. */
int ehlo_loop_time(ehlo_loop *loop, ehlo_timer *timer, uint64_t due);

/* No more events from it; gives its descriptor back. */
int ehlo_loop_release_source(ehlo_loop *loop, ehlo_source *source);
/* The same, and its descriptor is closed. */
void ehlo_loop_close_source(ehlo_loop *loop, ehlo_source *source);
/* Frees the memory that starts at source, which is closed, after this round. */
void ehlo_loop_free_later(ehlo_loop *loop, ehlo_source *source);
/* Frees memory with the loop. */
void ehlo_loop_keep(ehlo_loop *loop, ehlo_kept *memory);

#endif
