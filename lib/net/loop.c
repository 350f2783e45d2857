/* lib/net/loop.c - rounds, timers, posted work and the end. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "loop.h"

#include "clock.h"
#include "conn.h"
#include "listener.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_SIZE = 262144, NOT_ASKED = -1 };

/* The loop that this thread is inside of. */
static _Thread_local ehlo_loop *inside;

/* -- life ------------------------------------------------------------------------------------------- */

static void inbox_ready(ehlo_loop *loop, ehlo_source *source, unsigned events);

static int loop_open(ehlo_loop *loop)
{
    if (ehlo_inbox_init(&loop->inbox) != 0) return EHLO_ERR_SYSTEM;
    loop->inbox.source.ready = inbox_ready;
    loop->poller = ehlo_poller_new();
    if (loop->poller != NULL) {
        if (ehlo_poller_add(loop->poller, &loop->inbox.source, EHLO_POLL_READ) == 0) return EHLO_OK;
        ehlo_poller_free(loop->poller);
    }
    ehlo_inbox_close(&loop->inbox);
    return EHLO_ERR_SYSTEM;
}

int ehlo_loop_new_sized(ehlo_loop **result, const ehlo_loop_config *cfg, size_t cfg_size)
{
    ehlo_loop_config own = { 0 };
    if (cfg != NULL) memcpy(&own, cfg, cfg_size < sizeof own ? cfg_size : sizeof own);
    ehlo_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return EHLO_ERR_MEMORY;
    loop->input_size = own.input_size != 0 ? own.input_size : INPUT_SIZE;
    loop->stop_seen = NOT_ASKED;
    atomic_init(&loop->stop_ms, NOT_ASKED);
    ehlo_timers_init(&loop->timers);
    loop->now = ehlo_clock_ms();
    loop->input = malloc(loop->input_size);
    int error = loop->input != NULL ? loop_open(loop) : EHLO_ERR_MEMORY;
    if (error != EHLO_OK) {
        free(loop->input);
        free(loop);
        return error;
    }
    *result = loop;
    return EHLO_OK;
}

static void close_listeners(ehlo_loop *loop)
{
    while (loop->listeners != NULL) ehlo_listener_close(loop->listeners);
}

static void end_connections(ehlo_loop *loop)
{
    for (size_t i = 0; i < loop->conns.room; i++) {
        ehlo_conn *conn = loop->conns.table[i].conn;
        if (conn != NULL) conn->driver->end(conn);
    }
}

static void free_kept(ehlo_loop *loop)
{
    while (loop->kept != NULL) {
        ehlo_kept *memory = loop->kept;
        loop->kept = memory->next;
        free(memory);
    }
}

void ehlo_loop_free(ehlo_loop *loop)
{
    if (loop == NULL) return;
    ehlo_loop *outer = ehlo_loop_enter(loop);
    loop->stop_seen = 0; /* what is called now begins nothing new */
    close_listeners(loop);
    end_connections(loop);
    while (loop->inbox.first != NULL) ehlo_inbox_run(&loop->inbox, loop);
    if (loop->resolver != NULL) loop->resolver_free(loop->resolver);
    ehlo_loop_leave(loop, outer);
    ehlo_inbox_close(&loop->inbox);
    ehlo_poller_free(loop->poller);
    ehlo_timers_free(&loop->timers);
    free_kept(loop);
    free(loop->conns.table);
    free(loop->record);
    free(loop->input);
    free(loop);
    ehlo_lender_forget();
}

ehlo_loop *ehlo_loop_enter(ehlo_loop *loop)
{
    ehlo_loop *outer = inside;
    inside = loop;
    if (loop->depth++ == 0) loop->now = ehlo_clock_ms();
    return outer;
}

static void free_dead(ehlo_loop *loop)
{
    while (loop->dead != NULL) {
        ehlo_source *source = loop->dead;
        loop->dead = source->next_dead;
        free(source);
    }
}

void ehlo_loop_leave(ehlo_loop *loop, ehlo_loop *outer)
{
    inside = outer;
    if (--loop->depth == 0) free_dead(loop);
}

int ehlo_loop_inside(const ehlo_loop *loop)
{
    return inside == loop;
}

void ehlo_loop_free_later(ehlo_loop *loop, ehlo_source *source)
{
    source->next_dead = loop->dead;
    loop->dead = source;
}

void ehlo_loop_keep(ehlo_loop *loop, ehlo_kept *memory)
{
    memory->next = loop->kept;
    loop->kept = memory;
}

int ehlo_loop_release_source(ehlo_loop *loop, ehlo_source *source)
{
    int fd = source->fd;
    ehlo_poller_remove(loop->poller, source);
    source->fd = -1;
    return fd;
}

void ehlo_loop_close_source(ehlo_loop *loop, ehlo_source *source)
{
    close(ehlo_loop_release_source(loop, source));
}

/* -- rounds ----------------------------------------------------------------------------------------- */

/* Milliseconds until the first timer is due, at most `most` of them. */
static int wait_ms(const ehlo_loop *loop, uint64_t now, int most)
{
    uint64_t due = loop->timers.due;
    uint64_t ms = due > now ? due - now : 0;
    return ms < (uint64_t)most ? (int)ms : most;
}

int ehlo_loop_timeout(const ehlo_loop *loop)
{
    return loop->timers.due == UINT64_MAX ? -1 : wait_ms(loop, ehlo_clock_ms(), INT32_MAX);
}

static void end_grace(ehlo_loop *loop, void *arg)
{
    (void)arg;
    end_connections(loop);
}

static void stop_connections(ehlo_loop *loop)
{
    close_listeners(loop);
    for (size_t i = 0; i < loop->conns.room; i++) {
        ehlo_conn *conn = loop->conns.table[i].conn;
        if (conn != NULL) conn->driver->stop(conn);
    }
}

/* Does what ehlo_loop_stop asked for; a later call may have asked for less grace. */
static void heed_stop(ehlo_loop *loop)
{
    int ms = atomic_load(&loop->stop_ms);
    if (ms == loop->stop_seen) return;
    int first = !ehlo_loop_stopping(loop);
    loop->stop_seen = ms;
    if (first) stop_connections(loop);
    uint64_t due = loop->now + (uint64_t)ms;
    if (ehlo_timer_runs(&loop->grace) && loop->grace.due <= due) return;
    loop->grace.fn = end_grace;
    if (ms == 0 || ehlo_loop_time(loop, &loop->grace, due) != EHLO_OK) end_connections(loop);
}

/* Whatever other threads want, they wake us for it: so nothing of it need be looked for in every round. */
static void inbox_ready(ehlo_loop *loop, ehlo_source *source, unsigned events)
{
    (void)source;
    (void)events;
    ehlo_inbox_quiet(&loop->inbox);
    ehlo_inbox_run(&loop->inbox, loop);
    heed_stop(loop);
}

static int is_done(const ehlo_loop *loop)
{
    return ehlo_loop_stopping(loop) && loop->conns.count == 0;
}

static void run_timers(ehlo_loop *loop)
{
    while (loop->timers.due <= loop->now) {
        ehlo_timer *timer = ehlo_timers_pop(&loop->timers);
        timer->fn(loop, timer->arg);
    }
}

/* The time by which the wait is reckoned is that of the round before, which is good enough: a timer comes no
 * later than that round was long. */
static int run_round(ehlo_loop *loop, int max_ms)
{
    if (is_done(loop)) return 0;
    if (ehlo_poller_run(loop->poller, loop, wait_ms(loop, loop->now, max_ms)) != 0) return EHLO_ERR_SYSTEM;
    run_timers(loop);
    free_dead(loop);
    return 1;
}

static int run_rounds(ehlo_loop *loop, int max_ms, int one)
{
    int result;
    if (loop->depth != 0) return EHLO_ERR_REENTRY;
    if (max_ms < 0) max_ms = INT32_MAX; /* a round in which nothing happens, once in many days, does no harm */
    ehlo_loop *outer = ehlo_loop_enter(loop);
    do {
        result = run_round(loop, max_ms);
    } while (result > 0 && !one);
    ehlo_loop_leave(loop, outer);
    return result > 0 && is_done(loop) ? 0 : result;
}

int ehlo_loop_step(ehlo_loop *loop, int max_ms)
{
    return run_rounds(loop, max_ms, 1);
}

int ehlo_loop_run(ehlo_loop *loop)
{
    int result = run_rounds(loop, -1, 0);
    ehlo_lender_forget(); /* this thread may be about to end, and another one to free the loop */
    return result;
}

int ehlo_loop_fd(const ehlo_loop *loop)
{
    return ehlo_poller_fd(loop->poller);
}

uint64_t ehlo_loop_now(const ehlo_loop *loop)
{
    return loop->now;
}

size_t ehlo_loop_connections(const ehlo_loop *loop)
{
    return loop->conns.count;
}

/* -- timers ----------------------------------------------------------------------------------------- */

int ehlo_loop_time(ehlo_loop *loop, ehlo_timer *timer, uint64_t due)
{
    return ehlo_timers_start(&loop->timers, timer, due > loop->now ? due : loop->now + 1);
}

/* Between rounds the loop's time stands still, but the caller's does not. */
int ehlo_timer_start(ehlo_loop *loop, ehlo_timer *timer, uint32_t ms, void (*fn)(ehlo_loop *loop, void *arg), void *arg)
{
    if (loop->depth == 0) loop->now = ehlo_clock_ms();
    timer->fn = fn;
    timer->arg = arg;
    return ehlo_loop_time(loop, timer, loop->now + ms);
}

void ehlo_timer_stop(ehlo_loop *loop, ehlo_timer *timer)
{
    ehlo_timers_stop(&loop->timers, timer);
}

/* -- from any thread -------------------------------------------------------------------------------- */

typedef struct posted_call {
    ehlo_item item;
    void (*fn)(ehlo_loop *loop, void *arg);
    void *arg;
} posted_call;

static void run_posted_call(ehlo_loop *loop, ehlo_item *item)
{
    posted_call call = *(posted_call *)item;
    free(item);
    call.fn(loop, call.arg);
}

int ehlo_loop_post(ehlo_loop *loop, void (*fn)(ehlo_loop *loop, void *arg), void *arg)
{
    posted_call *call = malloc(sizeof *call);
    if (call == NULL) return EHLO_ERR_MEMORY;
    call->item.run = run_posted_call;
    call->fn = fn;
    call->arg = arg;
    ehlo_inbox_put(&loop->inbox, &call->item);
    return EHLO_OK;
}

void ehlo_loop_stop(ehlo_loop *loop, int grace_ms)
{
    if (grace_ms < 0) grace_ms = 0;
    int asked = atomic_load(&loop->stop_ms);
    while (asked == NOT_ASKED || grace_ms < asked) {
        if (atomic_compare_exchange_weak(&loop->stop_ms, &asked, grace_ms)) break;
    }
    ehlo_inbox_wake(&loop->inbox);
}
