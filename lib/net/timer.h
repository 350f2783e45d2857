/* lib/net/timer.h - a heap of running timers, the one due first on top. */
#ifndef EHLO_NET_TIMER_H
#define EHLO_NET_TIMER_H

#include <ehlo/net.h>

typedef struct ehlo_timers {
    uint64_t due; /* when the first one is; UINT64_MAX: none runs */
    ehlo_timer **heap;
    size_t count;
    size_t room;
} ehlo_timers;

void ehlo_timers_init(ehlo_timers *timers);

/* Runs timer, whose fn and arg are set, until due. EHLO_ERR_MEMORY. */
int ehlo_timers_start(ehlo_timers *timers, ehlo_timer *timer, uint64_t due);
void ehlo_timers_stop(ehlo_timers *timers, ehlo_timer *timer);
/* Takes off the first one. One that was taken off or stopped is due at UINT64_MAX. */
ehlo_timer *ehlo_timers_pop(ehlo_timers *timers);
void ehlo_timers_free(ehlo_timers *timers);

static inline int ehlo_timer_runs(const ehlo_timer *timer)
{
    return timer->slot != 0;
}

#endif
