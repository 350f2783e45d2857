/* lib/net/timer.c - the heap of timers. ehlo_timer.slot is the place in the heap plus one; 0: not running. */
#include "timer.h"

#include <stdlib.h>

void ehlo_timers_init(ehlo_timers *timers)
{
    *timers = (ehlo_timers){ .due = UINT64_MAX };
}

static void note_first(ehlo_timers *timers)
{
    timers->due = timers->count == 0 ? UINT64_MAX : timers->heap[0]->due;
}

static void put(ehlo_timers *timers, size_t place, ehlo_timer *timer)
{
    timers->heap[place] = timer;
    timer->slot = place + 1;
}

static void sift_up(ehlo_timers *timers, size_t place, ehlo_timer *timer)
{
    while (place > 0) {
        size_t parent = (place - 1) / 2;
        if (timers->heap[parent]->due <= timer->due) break;
        put(timers, place, timers->heap[parent]);
        place = parent;
    }
    put(timers, place, timer);
}

static void sift_down(ehlo_timers *timers, size_t place, ehlo_timer *timer)
{
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= timers->count) break;
        if (child + 1 < timers->count && timers->heap[child + 1]->due < timers->heap[child]->due) child++;
        if (timer->due <= timers->heap[child]->due) break;
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, timer);
}

static int reserve(ehlo_timers *timers)
{
    if (timers->count < timers->room) return EHLO_OK;
    size_t room = timers->room == 0 ? 16 : timers->room * 2;
    ehlo_timer **heap = realloc(timers->heap, room * sizeof *heap);
    if (heap == NULL) return EHLO_ERR_MEMORY;
    timers->heap = heap;
    timers->room = room;
    return EHLO_OK;
}

int ehlo_timers_start(ehlo_timers *timers, ehlo_timer *timer, uint64_t due)
{
    ehlo_timers_stop(timers, timer);
    int result = reserve(timers);
    if (result != EHLO_OK) return result;
    timer->due = due;
    sift_up(timers, timers->count++, timer);
    note_first(timers);
    return EHLO_OK;
}

void ehlo_timers_stop(ehlo_timers *timers, ehlo_timer *timer)
{
    if (!ehlo_timer_runs(timer)) return;
    size_t place = timer->slot - 1;
    timer->slot = 0;
    timer->due = UINT64_MAX;
    ehlo_timer *last = timers->heap[--timers->count];
    if (last != timer) {
        sift_down(timers, place, last);
        sift_up(timers, last->slot - 1, last);
    }
    note_first(timers);
}

ehlo_timer *ehlo_timers_pop(ehlo_timers *timers)
{
    ehlo_timer *timer = timers->heap[0];
    ehlo_timers_stop(timers, timer);
    return timer;
}

void ehlo_timers_free(ehlo_timers *timers)
{
    free(timers->heap);
}
