/* lib/net/timer.h - a heap of running timers, the one due first on top. */
#ifndef EHLO_NET_TIMER_H
#define EHLO_NET_TIMER_H

#include <ehlo/net.h>

typedef struct ehlo_timers {
    ehlo_timer **heap;
    size_t count;
    size_t room;
} ehlo_timers;

/* Runs timer, whose fn and arg are set, until due. EHLO_ERR_MEMORY. */
int ehlo_timers_start(ehlo_timers *timers, ehlo_timer *timer, uint64_t due);
void ehlo_timers_stop(ehlo_timers *timers, ehlo_timer *timer);
/* When the first one is due; UINT64_MAX for none. */
static inline uint64_t ehlo_timers_due(const ehlo_timers *timers)
{
    return timers->count == 0 ? UINT64_MAX : timers->heap[0]->due;
}
/* Takes that one off. */
ehlo_timer *ehlo_timers_pop(ehlo_timers *timers);
void ehlo_timers_free(ehlo_timers *timers);

static inline int ehlo_timer_runs(const ehlo_timer *timer)
{
    return timer->slot != 0;
}

#endif
